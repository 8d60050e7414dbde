//! Documents whose lines work as pasted: what a shell runs of them, and what it must show.

use std::path::Path;
use std::process::{Command, Output};

/// Longer than all lines of a document take on a busy machine; a shell that waits for ever ends then.
const SHELL_SECONDS_MAX: u32 = 240;
/// What stands in a document for anything, or alone on a line for any number of lines.
const ANYTHING: &str = "…";
/// Comes before what each block shows; no answer holds it.
const BLOCK_BEGINS: char = '\u{1e}';

/// Some lines that are pasted together, and what they show where the document says it.
pub struct Block {
    /// The lines.
    pub lines: String,
    /// What stands under them.
    pub shown: Option<String>,
}

/// The blocks of a document that a shell runs, in their order.
pub fn blocks(document: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let until_fence = |rest: &str| rest.split("```").next().unwrap_or_default().to_owned();
    let block = |rest: &str| {
        let shown = rest.split_once("```text\n").map(|(_, shown)| until_fence(shown));
        Block { lines: until_fence(rest), shown }
    };
    text.split("```sh\n").skip(1).map(block).collect()
}

/// Whether all of these programs are here. In CI they must be.
pub fn are_there(programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |program: &&&str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let Some(missing) = programs.iter().find(|program| !is_there(program)) else { return true };
    assert!(std::env::var_os("CI").is_none(), "`{missing}` must be there in CI");
    eprintln!("SKIPPED: the document's lines need `{missing}` (`.ci/run` installs it)");
    false
}

/// Runs lines in a folder, with the gateway's program and its samples at hand. The first line that fails ends it.
pub fn run(lines: &str, folder: &Path) -> Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    std::os::unix::fs::symlink(config, folder.join("config")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_hearthway")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    // Each line is shown before it runs, so that a failure has a place. What still runs at the end is ended.
    let script = format!("set -euxo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{lines}");
    let mut command = Command::new("timeout");
    command.args([&SHELL_SECONDS_MAX.to_string(), "bash", "-c", &script]);
    command.current_dir(folder).env("PATH", path).env("NO_COLOR", "1").output().unwrap()
}

/// Runs all blocks in one shell, and holds what each shows against the document. Gives all that was shown.
pub fn run_and_compare(document: &str, folder: &Path) -> String {
    let blocks = blocks(document);
    let marked = blocks.iter().map(|block| format!("printf '{BLOCK_BEGINS}'\n{}", block.lines));
    let output = run(&marked.collect::<String>(), folder);
    let (said, noise) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let parts: Vec<&str> = said.split(BLOCK_BEGINS).skip(1).collect();
    for (block, part) in blocks.iter().zip(&parts) {
        if let Some(wanted) = &block.shown
            && let Err(line) = compare(wanted, part)
        {
            panic!("{document} says of\n{}that it shows\n{line}\nand it showed\n{part}\n{noise}", block.lines);
        }
    }
    assert!(output.status.success() && parts.len() == blocks.len(), "{document} broke off:\n{said}\n{noise}");
    said.into_owned()
}

/// Whether a text is what a document says, line by line. Else the first line of the document that is not there.
fn compare<'w>(wanted: &'w str, shown: &str) -> Result<(), &'w str> {
    let (wanted, shown): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), shown.lines().collect());
    fits(&wanted, &shown).map_err(|at| wanted.get(at).copied().unwrap_or("nothing more"))
}

/// The number of lines of the document that could be found, where not all could.
fn fits(wanted: &[&str], shown: &[&str]) -> Result<(), usize> {
    match (wanted, shown) {
        ([], []) => Ok(()),
        ([], _) => Err(0),
        ([any, rest @ ..], _) if any.trim() == ANYTHING => {
            let from = (0..=shown.len()).map(|skipped| fits(rest, &shown[skipped..]));
            let mut furthest = 0;
            for found in from {
                match found {
                    Ok(()) => return Ok(()),
                    Err(at) => furthest = furthest.max(at),
                }
            }
            Err(furthest + 1)
        }
        ([line, rest @ ..], [first, others @ ..]) if line_fits(line, first) => fits(rest, others).map_err(|at| at + 1),
        _ => Err(0),
    }
}

/// Whether the parts of a line between what stands for anything come one after the other, from its beginning to its end.
fn line_fits(wanted: &str, shown: &str) -> bool {
    let parts: Vec<&str> = wanted.trim_end().split(ANYTHING).collect();
    let [first, between @ .., last] = parts.as_slice() else { return wanted.trim_end() == shown.trim_end() };
    let Some(mut rest) = shown.trim_end().strip_prefix(first) else { return false };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn what_a_document_says_is_compared_line_by_line() {
    for (wanted, shown) in
        [("a\n", "a\n"), ("", ""), ("{…,\"b\":2}\n", "{\"a\":1,\"b\":2}"), ("a\n…\nz\n", "a\nb\nc\nz\n"), ("…", "a\nb")]
    {
        assert_eq!(compare(wanted, shown), Ok(()), "{wanted} is {shown}");
    }
    for (wanted, shown, line) in [
        ("a\nb\n", "a\nc\n", "b"),
        ("a\n", "a\nb\n", "nothing more"),
        ("a\nb\n", "a\n", "b"),
        ("{…,\"b\":2}\n", "{\"a\":1,\"b\":23}", "{…,\"b\":2}"),
        ("x…y…x\n", "xx", "x…y…x"),
        ("…\nz\n", "a\nb\n", "z"),
    ] {
        assert_eq!(compare(wanted, shown), Err(line), "{wanted} is not {shown}");
    }
}
