//! Replays the corpus of the fuzz targets of the edges (`fuzz/README.md`), each file also bent by a
//! seeded mutator. The targets of the rules are replayed in `core`.

#[path = "../../fuzz/entries/corpus.rs"]
mod corpus;
#[path = "../../fuzz/entries/edges.rs"]
mod edges;
#[path = "../../fuzz/entries/mutate.rs"]
mod mutate;

macro_rules! targets {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            corpus::play(stringify!($name), edges::$name);
        }
    )*};
}
targets! { packets configuration quarantine http_body }
