//! Replays the corpus of the fuzz targets (`fuzz/README.md`), each file also bent by a seeded mutator.
#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/entries/corpus.rs"]
mod corpus;
#[path = "../../fuzz/entries/mutate.rs"]
mod mutate;
#[path = "../../fuzz/entries/rules.rs"]
mod rules;

macro_rules! targets {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            corpus::play(stringify!($name), rules::$name);
        }
    )*};
}
targets! { message provision topics condition trigger_file trigger_json template description }
