//! A small mutator with a seed: what the tests do to each file of the corpus, without a nightly
//! compiler. It knows no coverage; cargo-fuzz does.

/// Pieces that break texts, JSON, TOML and packets.
const PIECES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x92\xa5",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[[[[[[[[[[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-0",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"9223372036854775807",
    b"NaN",
    b"null",
    b"true",
    b"{{",
    b"}}",
    b"{% for a in 'xxxxxxxx' %}",
    b"+",
    b"#",
    b"/",
    b"$share/",
    b"((((((((((((((((((",
    b"!!!!!!!!",
    b"&& ",
    b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x01",
    b"2026-02-30",
    b"99999999999 h",
];

/// xorshift64*.
pub struct Mutator(u64);

impl Mutator {
    /// The same seed gives the same mutations.
    pub fn new(seed: u64) -> Mutator {
        Mutator(seed | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    /// A file with one to four things broken; `other` lends a part of itself.
    pub fn mutate(&mut self, file: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = file.to_vec();
        for _ in 0..=self.below(4) {
            let (from, piece) = (self.below(bytes.len() + 1), PIECES[self.below(PIECES.len())]);
            let to = (from + self.below(12)).min(bytes.len());
            match self.below(7) {
                0 => drop(bytes.splice(from..to, piece.iter().copied())),
                1 => drop(bytes.splice(from..from, piece.iter().copied())),
                2 => drop(bytes.drain(from..to)),
                3 => bytes.truncate(from),
                4 => {
                    if let Some(byte) = bytes.get_mut(from) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                5 => {
                    let again = bytes[from..to].repeat(1 + self.below(40));
                    drop(bytes.splice(from..from, again));
                }
                _ => {
                    let start = self.below(other.len() + 1);
                    let end = (start + self.below(40)).min(other.len());
                    drop(bytes.splice(from..to, other[start..end].iter().copied()));
                }
            }
        }
        bytes
    }
}
