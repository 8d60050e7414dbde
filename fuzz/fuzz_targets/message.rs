#![no_main]

#[path = "../entries/rules.rs"]
#[allow(dead_code)]
mod rules;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rules::message(data));
