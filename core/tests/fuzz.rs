//! Replays the corpus of the fuzz targets (`fuzz/README.md`), each file also bent by a seeded mutator.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test reads its corpus; the rules do not")]

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
