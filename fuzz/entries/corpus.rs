//! Walks the corpus: every file as it is, then bent by the mutator.

use std::path::{Path, PathBuf};

use super::mutate::Mutator;

/// Mutations of each file; `HEARTHWAY_FUZZ_ROUNDS` asks for more.
const ROUNDS: usize = 40;
/// Bytes of one input; what is longer is refused by size alone.
const BYTES_MAX: usize = 64 * 1024;

/// Plays the corpus of a target.
pub fn play(target: &str, entry: fn(&[u8])) {
    let folder = folder(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty: this test sees nothing", folder.display());
    let files: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let rounds = std::env::var("HEARTHWAY_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    for (n, (path, file)) in paths.iter().zip(&files).enumerate() {
        tried(path, file, file, entry);
        let mut mutator = Mutator::new(0x9e37_79b9_7f4a_7c15 ^ n as u64);
        for _ in 0..rounds {
            let other = &files[(n * 7 + 3) % files.len()];
            let mut bent = mutator.mutate(file, other);
            bent.truncate(BYTES_MAX);
            tried(path, file, &bent, entry);
        }
    }
}

fn folder(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The root package and `core` both play it.
    let found = root.ancestors().map(|above| above.join("fuzz/corpus").join(target)).find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("there is no corpus of {target}"))
}

/// Runs one input; one that fails is left beside the corpus, to be added to it with the fix.
fn tried(path: &Path, file: &[u8], bytes: &[u8], entry: fn(&[u8])) {
    let outcome = std::panic::catch_unwind(|| entry(bytes));
    if let Err(panic) = outcome {
        let kept = std::env::temp_dir().join(format!("hearthway-fuzz-{}", std::process::id()));
        let _ = std::fs::write(&kept, bytes);
        let bent = if file == bytes { "" } else { ", bent," };
        eprintln!("{}{bent} fails; the input is kept at {}", path.display(), kept.display());
        std::panic::resume_unwind(panic);
    }
}
