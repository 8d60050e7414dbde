//! Fits priors on one directory of series and predicts another strictly in the order of time:
//!
//! ```sh
//! cargo run --release -p hearthway-core --example forecast_eval -- --train DIR --test DIR --out DIR
//! ```
//!
//! Every `<name>.csv` with `<name>.meta.csv` and `<name>.origins.csv` beside it is a track; `docs/forecast.md` tells
//! the layout. `--method reference` uses the constants of the published reference, `best` (the default) those that
//! this implementation chose; `--cross` fits on the other folds of the test directory instead.
// An example is a program: it reads the files that it is asked to, and prints.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod method;
mod score;
mod track;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::method::Method;

const USAGE: &str =
    "usage: forecast_eval --train DIR --test DIR --out DIR [--method reference|best] [--cross] [--detail]";

struct Asked {
    train: PathBuf,
    test: PathBuf,
    out: PathBuf,
    method: Method,
    cross: bool,
    detail: bool,
}

fn asked() -> Result<Asked, String> {
    let (mut train, mut test, mut out, mut method) = (None, None, None, Method::Best);
    let (mut cross, mut detail) = (false, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value\n{USAGE}"));
        match word.as_str() {
            "--train" => train = Some(PathBuf::from(value()?)),
            "--test" => test = Some(PathBuf::from(value()?)),
            "--out" => out = Some(PathBuf::from(value()?)),
            "--method" => {
                method = match value()?.as_str() {
                    "reference" => Method::Reference,
                    "best" => Method::Best,
                    other => return Err(format!("`{other}` is no method; write `reference` or `best`")),
                }
            }
            "--cross" => cross = true,
            "--detail" => detail = true,
            other => return Err(format!("`{other}` is not known\n{USAGE}")),
        }
    }
    let needed = |path: Option<PathBuf>, name: &str| path.ok_or_else(|| format!("`{name} DIR` is missing\n{USAGE}"));
    Ok(Asked {
        train: needed(train, "--train")?,
        test: needed(test, "--test")?,
        out: needed(out, "--out")?,
        method,
        cross,
        detail,
    })
}

fn main() -> ExitCode {
    match asked().and_then(|asked| run(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) -> Result<(), String> {
    let (names, mut notes) = track::names(&asked.test)?;
    let (trained, _) = track::names(&asked.train)?;
    if names.is_empty() {
        return Err(format!("{}: no `<name>.csv` with its meta and origins", asked.test.display()));
    }
    let bar = ProgressBar::new(100 * names.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} % {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut lines = Vec::new();
    for (n, name) in names.iter().enumerate() {
        bar.set_message(name.clone());
        if !trained.contains(name) {
            notes.push(format!("{name}: nothing to fit on in {}; neutral priors", asked.train.display()));
        }
        let train = if trained.contains(name) { track::read(&asked.train, name)? } else { track::Track::empty() };
        let done = |share: f64| bar.set_position((100.0 * (n as f64 + share)) as u64);
        predict(asked, name, &train, &done, &mut lines)?;
    }
    bar.finish_and_clear();
    println!("{}", score::HEADING);
    for line in lines {
        println!("{line}");
    }
    for note in notes {
        println!("note: {note}");
    }
    Ok(())
}

fn predict(
    asked: &Asked,
    name: &str,
    train: &track::Track,
    done: &dyn Fn(f64),
    lines: &mut Vec<String>,
) -> Result<(), String> {
    let test = track::read(&asked.test, name)?;
    let (trained, tested): (Vec<_>, Vec<_>) = (train.series.iter().collect(), test.series.iter().collect());
    let answers = match asked.cross {
        true => method::crossed(asked.method, &test.series, done),
        false => method::answers(asked.method, &trained, &tested, done),
    };
    track::write(Path::new(&asked.out), name, &test, &answers)?;
    let (all, parts) = score::score(&test, &answers);
    lines.push(all.line(name));
    if asked.detail {
        for (part, seen) in parts.iter().zip(["at most 1", "2-3", "4-7", "8 or more"]) {
            lines.push(part.line(&format!("  seen {seen}")));
        }
    }
    Ok(())
}
