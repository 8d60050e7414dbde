//! Reads a configuration file and says everything that is wrong with it, each at its place.

use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, Kind};

/// Bytes of a configuration file at most: ours has 3 KB, and a wrong path should not read a disk.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why the gateway cannot start with the configuration that it was given.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading the configuration `{path}`: {cause}")]
    #[diagnostic(help("copy config/gateway.toml, or leave `--config` out to start with the defaults"))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// The file has mistakes: all of them.
    #[error("{count} in the configuration `{path}`", count = counted(mistakes.len()))]
    Mistaken {
        /// Which file.
        path: PathBuf,
        /// Each mistake at its place.
        #[related]
        mistakes: Vec<Mistake>,
    },
    /// Keys of one section do not fit together.
    #[error("in the section [{section}] of the configuration, {problem}")]
    Section {
        /// Which.
        section: &'static str,
        /// What does not fit.
        problem: String,
        /// How to mend it.
        #[help]
        help: String,
    },
    /// An environment variable has a value that cannot be.
    #[error("the environment variable {name} {problem}")]
    Environment {
        /// Which.
        name: &'static str,
        /// What is wrong with it; never its value where that is a secret.
        problem: String,
        /// How to mend it.
        #[help]
        help: String,
    },
}

fn counted(n: usize) -> String {
    if n == 1 { "1 mistake".to_owned() } else { format!("{n} mistakes") }
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Where, in bytes.
    pub span: Range<usize>,
    source: NamedSource<String>,
}

impl Mistake {
    /// Line and column, both from 1.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.inner().get(..self.span.start).unwrap_or_default();
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Mistake {}
impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::from(self.span.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), span))))
    }
}

/// Reads a file that exists and is of a sensible size.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |cause: String| ConfigError::Unreadable { path: path.to_owned(), cause };
    let bytes = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has {bytes} bytes, more than the {FILE_BYTES_MAX} of a configuration")));
    }
    std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))
}

/// Checks a text against the table of keys and fills the structs. All mistakes in one pass.
pub fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    let mut found = Found { path, text, mistakes: Vec::new() };
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        found.add(error.span().unwrap_or_default(), error.message(), None);
    }
    if found.mistakes.is_empty() {
        found.check_sections(document.get_ref());
    }
    if found.mistakes.is_empty() {
        match toml::from_str(text) {
            Ok(config) => return Ok(config),
            Err(error) => found.add(error.span().unwrap_or_default(), error.message(), None),
        }
    }
    Err(ConfigError::Mistaken { path: path.to_owned(), mistakes: found.mistakes })
}

struct Found<'a> {
    path: &'a Path,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Found<'_> {
    fn add(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let source = NamedSource::new(self.path.display().to_string(), self.text.to_owned());
        self.mistakes.push(Mistake { message: message.into(), help, span, source });
    }

    fn check_sections(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let section = name.get_ref().as_ref();
            let sections = keys::SECTIONS.iter().map(|(name, _)| *name);
            match value.get_ref() {
                _ if !sections.clone().any(|known| known == section) => {
                    let help = nearest(section, sections);
                    self.add(name.span(), format!("there is no section or key `{section}`"), Some(help));
                }
                DeValue::Table(table) => self.check_section(section, table),
                other => {
                    let message = format!("`{section}` is a section, not a {}", other.type_str());
                    self.add(value.span(), message, Some(format!("write `[{section}]` and its keys below")));
                }
            }
        }
    }

    fn check_section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let within = format!("{section}.{}", name.get_ref());
            if let (DeValue::Table(table), true) = (value.get_ref(), keys::is_section(&within)) {
                self.check_section(&within, table);
                continue;
            }
            let Some(key) = keys::find(section, name.get_ref()) else {
                let known = keys::KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
                let message = format!("there is no key `{}` in `[{section}]`", name.get_ref());
                self.add(name.span(), message, Some(nearest(name.get_ref(), known)));
                continue;
            };
            if let Err(message) = check_value(key, value) {
                self.add(value.span(), message, Some(format!("it takes {}", key.kind.in_words())));
            }
        }
    }
}

fn check_value(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    let Key { name, kind, .. } = key;
    let value = value.get_ref();
    let wrong_type = || format!("`{name}` cannot be a {}", value.type_str());
    match kind {
        Kind::Flag => value.as_bool().map(|_| ()).ok_or_else(wrong_type),
        Kind::Path | Kind::Host => match value.as_str().ok_or_else(wrong_type)? {
            "" => Err(format!("`{name}` is empty")),
            _ => Ok(()),
        },
        Kind::Text => value.as_str().map(|_| ()).ok_or_else(wrong_type),
        Kind::Choice(words) => match value.as_str().ok_or_else(wrong_type)? {
            word if words.contains(&word) => Ok(()),
            word => Err(format!("`{name}` cannot be \"{}\"", word.chars().take(80).collect::<String>())),
        },
        Kind::Broker => {
            let text = value.as_str().ok_or_else(wrong_type)?;
            text.parse::<crate::broker::Address>().map(|_| ()).map_err(|problem| format!("`{name}` {problem}"))
        }
        Kind::Bind => {
            let text = value.as_str().ok_or_else(wrong_type)?;
            super::parse_bind(text).map(|_| ()).map_err(|problem| format!("`{name}` {problem}"))
        }
        Kind::Count { min, max, .. } => {
            let digits = value.as_integer().ok_or_else(wrong_type)?;
            let number = i64::from_str_radix(digits.as_str(), digits.radix());
            match number {
                Ok(n) if (*min..=*max).contains(&n) => Ok(()),
                _ => Err(format!("`{name}` is {}, outside {min} to {max}", digits.as_str())),
            }
        }
    }
}

/// A help that names the nearest of the known names, or all of them where none is near.
fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|name| (distance(given, name), *name)).min();
    match near {
        Some((steps, name)) if steps <= 1 + name.len() / 3 => format!("did you mean `{name}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

/// Letters to insert, delete or change to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
