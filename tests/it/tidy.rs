//! Rules of the house that no compiler checks: each test walks the sources and names the place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the repository with one of these endings; `target` is not ours.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" && name != "proptest-regressions" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let all = folders.iter().flat_map(|folder| files(folder, &[".rs"]));
    let read = all.map(|path| (shown(&path), std::fs::read_to_string(&path).unwrap()));
    read.filter(|(path, _)| path != "tests/it/tidy.rs").collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The code of a line: what stands before a comment. Text in quotes counts as code.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Every line of the sources whose code has a text, as `path:line`.
fn lines_with(sources: &[(String, String)], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let hits = sources.iter().flat_map(|(path, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| wanted(code(line)));
        lines.map(move |(n, line)| format!("{path}:{}: {}", n + 1, line.trim()))
    });
    hits.collect()
}

/// Whether a word stands alone in a line, as a path or a name.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_name)
            && !line[at + word.len()..].chars().next().is_some_and(is_name)
    })
}

#[test]
fn the_sources_are_found() {
    assert!(sources(&["src"]).len() > 10, "the walk found next to nothing; every other test here would pass");
    assert!(sources(&["core/src"]).len() > 10);
}

#[test]
fn each_replaceable_library_is_named_in_one_file_per_package() {
    for (library, used_by) in
        [("sled", "src"), ("mqtt_protocol_core", "src"), ("rumqttc", "src"), ("rumqttc", "device-sim/src")]
    {
        let paths = |hits: Vec<String>| -> BTreeSet<String> {
            hits.iter().map(|hit| hit.split(':').next().unwrap_or_default().to_owned()).collect()
        };
        let named = paths(lines_with(&sources(&[used_by]), |line| names_library(line, library)));
        assert!(!named.is_empty(), "`{library}` is not found in `{used_by}`: this test sees nothing");
        assert!(named.len() <= 1, "`{library}` is named in {named:?}; it must be replaceable in one file");
    }
}

/// Whether a line names a library; `store::sled::` is our own module of that name.
fn names_library(line: &str, library: &str) -> bool {
    line.match_indices(&format!("{library}::")).any(|(at, _)| match line[..at].strip_suffix("::") {
        // From the root of all crates, `::sled::`, or from one of our own modules.
        Some(before) => !before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_'),
        None => !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_'),
    })
}

#[test]
fn no_queue_is_without_a_bound() {
    let hits = lines_with(&sources(&["src", "core/src", "device-sim/src", "tests"]), |line| line.contains("unbounded"));
    assert!(hits.is_empty(), "every queue has a named bound:\n{}", hits.join("\n"));
}

#[test]
fn only_the_clock_asks_for_the_time() {
    let all = sources(&["src", "core/src"]);
    let gateway: Vec<_> = all.into_iter().filter(|(path, _)| path != "src/clock.rs").collect();
    let hits = lines_with(&gateway, |line| line.contains("SystemTime::now") || line.contains("Timestamp::now("));
    assert!(hits.is_empty(), "take the time as an argument or from `Clock`:\n{}", hits.join("\n"));
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    for path in
        files("src", &[".rs"]).into_iter().chain(files("core/src", &[".rs"])).chain(files("device-sim/src", &[".rs"]))
    {
        let path = shown(&path);
        let parts = path.trim_end_matches(".rs").split('/');
        for word in parts.flat_map(|part| part.split('_')) {
            let empty = ["util", "utils", "common", "manager", "helper", "helpers", "misc"].contains(&word);
            assert!(!empty, "{path}: `{word}` says nothing about what is inside");
        }
    }
}

#[test]
fn handlers_hold_no_rules() {
    let handlers = sources(&["src/http"]);
    let hits = lines_with(&handlers, |line| {
        line.contains("hearthway_core::decide") || line.contains("hearthway_core::trigger") || has_word(line, "decide")
    });
    let calls: Vec<_> = hits.into_iter().filter(|hit| hit.contains("::decide") || hit.contains("trigger::")).collect();
    assert!(calls.is_empty(), "parse, call `app`, map the answer:\n{}", calls.join("\n"));
}

#[test]
fn knowledge_points_inward() {
    for (room, stranger) in [
        (
            "src/store",
            &["crate::engine", "crate::app", "crate::http", "crate::mqtt", "crate::broker", "crate::cli"][..],
        ),
        (
            "src/engine",
            &["crate::app", "crate::http", "crate::mqtt", "crate::broker", "crate::webhook", "crate::cli"][..],
        ),
        ("src/webhook", &["crate::http", "crate::mqtt", "crate::broker", "crate::cli"][..]),
        ("src/app", &["crate::http", "crate::broker", "crate::cli"][..]),
        ("core/src", &["tokio", "axum", "rumqttc", "sled::"][..]),
        ("device-sim/src", &["hearthway::"][..]),
    ] {
        let hits = lines_with(&sources(&[room]), |line| {
            stranger
                .iter()
                .any(|name| line.contains(name) && (line.trim_start().starts_with("use ") || line.contains("::")))
        });
        assert!(hits.is_empty(), "{room} must not know {stranger:?}:\n{}", hits.join("\n"));
    }
}

#[test]
fn no_file_names_a_machine() {
    let kept = [".rs", ".toml", ".md", ".json", ".py", ".yml", "run"];
    let folders = ["src", "core", "device-sim", "tests", "docs", "config", ".ci"];
    let mut paths: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder, &kept)).collect();
    paths.extend(["README.md", "Cargo.toml", "deny.toml"].map(|name| root().join(name)));
    for path in paths {
        if shown(&path) == "tests/it/tidy.rs" {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (n, line) in text.lines().enumerate() {
            let machine =
                ["/home/", "/root/", "/Users/", "/work/", "C:\\Users"].iter().find(|place| line.contains(**place));
            assert!(
                machine.is_none(),
                "{}:{}: `{}` exists on one machine only",
                shown(&path),
                n + 1,
                machine.unwrap_or(&"")
            );
        }
    }
}

#[test]
fn every_link_in_the_documents_resolves() {
    let mut documents = files("docs", &[".md"]);
    documents.push(root().join("README.md"));
    let mut links = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") || target.starts_with('#') {
                continue;
            }
            links += 1;
            let file = document.parent().unwrap().join(target.split('#').next().unwrap_or_default());
            assert!(file.exists(), "{}: the link to `{target}` leads nowhere", shown(&document));
        }
        // A path in backquotes is a promise, too.
        for path in text.split('`').skip(1).step_by(2).filter(|quoted| is_repository_path(quoted)) {
            assert!(root().join(path).exists(), "{}: `{path}` does not exist", shown(&document));
        }
    }
    assert!(links > 0, "the walk found no link at all");
}

/// Whether a quoted text claims to be a path of this repository: it has a slash, an ending and no
/// placeholder.
fn is_repository_path(quoted: &str) -> bool {
    let rooms = ["src/", "core/", "config/", "docs/", "tests/", "device-sim/", ".ci/"];
    rooms.iter().any(|room| quoted.starts_with(room)) && !quoted.contains(['*', '{', '<', ' ', '…', ','])
}

#[test]
fn every_metric_that_is_counted_is_declared() {
    let declared: BTreeSet<&str> = hearthway::observe::ALL.iter().copied().flatten().map(|(name, ..)| *name).collect();
    for (path, text) in sources(&["src"]) {
        let counted = ["counter!(", "gauge!(", "histogram!("].into_iter().flat_map(|call| text.split(call).skip(1));
        let literal = counted.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        let named = text.split('"').filter(|word| is_metric_name(word));
        for name in literal.chain(named) {
            assert!(declared.contains(name), "{path}: the metric `{name}` is in no METRICS declaration");
        }
    }
}

/// Whether a text in quotes can only be a metric's name.
fn is_metric_name(word: &str) -> bool {
    let plain = word.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
    plain && word.ends_with("_total") && word.matches('_').count() >= 2
}
