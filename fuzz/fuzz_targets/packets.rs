#![no_main]

#[path = "../entries/edges.rs"]
#[allow(dead_code)]
mod edges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| edges::packets(data));
