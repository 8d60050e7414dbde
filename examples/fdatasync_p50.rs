//! How long this disk takes to keep 4 KiB: `cargo run --release --example fdatasync_p50 [directory]`.
//!
//! The floor under every acknowledgement. Without a directory it measures the current one.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

const WRITES: usize = 500;
const BYTES: usize = 4096;

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let mut file: File = tempfile::tempfile_in(&directory)?;
    let mut took = Vec::with_capacity(WRITES);
    for n in 0..WRITES {
        let started = Instant::now();
        file.write_all(&[n as u8; BYTES])?;
        file.sync_data()?;
        took.push(started.elapsed());
    }
    took.sort();
    let at = |percent: usize| milliseconds(took[(WRITES * percent / 100).min(WRITES - 1)]);
    println!("fdatasync of {BYTES} bytes, {WRITES} times: p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));
    Ok(())
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
