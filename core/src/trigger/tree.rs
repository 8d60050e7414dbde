//! A file or a body as one tree, each value with its place: what the check reads, whether it
//! came as TOML or as JSON.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::condition::Fault;
use super::problem::{Problem, Severity};

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) value: Branch,
    pub(super) span: Range<usize>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Branch {
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    /// A TOML date; a text in JSON.
    Date(String),
    List(Vec<Tree>),
    /// In the order of the file.
    Table(Vec<(String, Range<usize>, Tree)>),
}

impl Branch {
    /// What it is, in words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Branch::Bool(_) => "true or false",
            Branch::Number(_) => "a number",
            Branch::Text(_) => "a text",
            Branch::Date(_) => "a date",
            Branch::List(_) => "a list",
            Branch::Table(_) => "a table",
        }
    }
}

impl Tree {
    /// Reads TOML as far as it can be read, with all its syntax errors.
    pub(super) fn from_toml(source: &str) -> (Tree, Vec<(Range<usize>, String)>) {
        let (table, errors) = DeTable::parse_recoverable(source);
        let errors = errors
            .iter()
            .map(|error| (error.span().unwrap_or(0..0), error.message().trim().replace('\n', ", ")))
            .collect();
        let span = table.span();
        (Tree { value: of_table(table.get_ref()), span }, errors)
    }
    /// Takes JSON; nulls are as if they were not there.
    pub(super) fn from_json(value: &serde_json::Value) -> Option<Tree> {
        let value = match value {
            serde_json::Value::Null => return None,
            serde_json::Value::Bool(b) => Branch::Bool(*b),
            serde_json::Value::Number(x) => Branch::Number(x.clone()),
            serde_json::Value::String(text) => Branch::Text(text.clone()),
            serde_json::Value::Array(items) => Branch::List(items.iter().filter_map(Tree::from_json).collect()),
            serde_json::Value::Object(members) => Branch::Table(
                members.iter().filter_map(|(name, v)| Some((name.clone(), 0..0, Tree::from_json(v)?))).collect(),
            ),
        };
        Some(Tree { value, span: 0..0 })
    }
    /// As JSON, places forgotten.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Branch::Bool(b) => (*b).into(),
            Branch::Number(x) => x.clone().into(),
            Branch::Text(text) | Branch::Date(text) => text.as_str().into(),
            Branch::List(items) => items.iter().map(Tree::to_json).collect(),
            Branch::Table(members) => members.iter().map(|(name, _, tree)| (name.clone(), tree.to_json())).collect(),
        }
    }
}

fn of_table(table: &DeTable<'_>) -> Branch {
    let mut members: Vec<_> = table
        .iter()
        .map(|(name, value)| {
            let tree = Tree { value: of_value(value.get_ref()), span: value.span() };
            (name.get_ref().to_string(), name.span(), tree)
        })
        .collect();
    members.sort_by_key(|(_, span, _)| span.start);
    Branch::Table(members)
}

fn of_value(value: &DeValue<'_>) -> Branch {
    match value {
        DeValue::String(text) => Branch::Text(text.to_string()),
        DeValue::Boolean(b) => Branch::Bool(*b),
        DeValue::Datetime(date) => Branch::Date(date.to_string()),
        DeValue::Integer(integer) => {
            let digits = integer.as_str().replace('_', "");
            match i64::from_str_radix(&digits, integer.radix()) {
                Ok(n) => Branch::Number(n.into()),
                Err(_) => Branch::Text(digits),
            }
        }
        // Infinite and not-a-number have no JSON; as texts they are refused where a number is due.
        DeValue::Float(float) => {
            let number = float.as_str().replace('_', "").parse().ok().and_then(serde_json::Number::from_f64);
            number.map_or_else(|| Branch::Text(float.as_str().to_owned()), Branch::Number)
        }
        DeValue::Array(items) => {
            Branch::List(items.iter().map(|item| Tree { value: of_value(item.get_ref()), span: item.span() }).collect())
        }
        DeValue::Table(table) => of_table(table),
    }
}

/// One name as a JSON pointer's part.
pub(super) fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The problems of one file or body, and the places to blame.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    file: &'a str,
    source: &'a str,
    /// Of each value, by pointer: its key's place where it has one, and its own.
    places: BTreeMap<String, (Option<Range<usize>>, Range<usize>)>,
    /// Pointer of the trigger that is being looked at.
    pub(super) base: String,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a str, source: &'a str, tree: &Tree) -> Findings<'a> {
        let mut places = BTreeMap::new();
        place(tree, None, String::new(), &mut places);
        Findings { file, source, places, base: String::new(), problems: Vec::new() }
    }
    /// Tells of an error in a value.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        pointer: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let span = self.value_span(pointer);
        self.tell(Severity::Error, code, pointer, span, message.into(), help);
    }
    /// Tells of an error in a key.
    pub(super) fn key_error(
        &mut self,
        code: &'static str,
        pointer: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let span = self.key_span(pointer);
        self.tell(Severity::Error, code, pointer, span, message.into(), help);
    }
    /// Tells of something that is probably not meant.
    pub(super) fn warning(
        &mut self,
        code: &'static str,
        pointer: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let span = self.value_span(pointer);
        self.tell(Severity::Warning, code, pointer, span, message.into(), help);
    }
    /// Tells of a fault inside a text value, at its place in the file.
    pub(super) fn fault(&mut self, pointer: &str, decoded: &str, fault: &Fault) {
        let value = self.value_span(pointer);
        let raw = self.source.get(value.clone()).unwrap_or_default();
        let inside = |at: usize| raw_offset(raw, decoded, at).map(|offset| value.start + offset);
        let span = match (inside(fault.span.start), inside(fault.span.end)) {
            (Some(start), Some(end)) if start <= end => start..end,
            _ => value,
        };
        self.tell(Severity::Error, fault.code, pointer, span, fault.message.clone(), fault.help.clone());
    }
    /// Tells of an error at bytes of the file.
    pub(super) fn at(&mut self, code: &'static str, span: Range<usize>, message: String, help: Option<String>) {
        self.tell(Severity::Error, code, "", span, message, help);
    }
    /// Whether something in a value was told of already.
    pub(super) fn blamed(&self, pointer: &str) -> bool {
        let pointer = format!("{}{pointer}", self.base);
        self.problems.iter().any(|problem| {
            problem.pointer.strip_prefix(&pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
    /// How many errors there are so far.
    pub(super) fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.is_error()).count()
    }

    fn place(&self, pointer: &str) -> Option<&(Option<Range<usize>>, Range<usize>)> {
        // What is missing is blamed on what it should be in.
        let mut pointer = format!("{}{pointer}", self.base);
        loop {
            if let Some(place) = self.places.get(&pointer) {
                return Some(place);
            }
            pointer.truncate(pointer.rfind('/')?);
        }
    }
    fn value_span(&self, pointer: &str) -> Range<usize> {
        self.place(pointer).map_or(0..0, |(_, value)| value.clone())
    }
    fn key_span(&self, pointer: &str) -> Range<usize> {
        self.place(pointer).map_or(0..0, |(key, value)| key.clone().unwrap_or(value.clone()))
    }
    fn tell(
        &mut self,
        severity: Severity,
        code: &'static str,
        pointer: &str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        let (line, column) = if self.file.is_empty() { (0, 0) } else { line_and_column(self.source, span.start) };
        let (file, pointer) = (self.file.to_owned(), format!("{}{pointer}", self.base));
        self.problems.push(Problem { severity, file, span, line, column, pointer, code, message, help });
    }
}

fn place(
    tree: &Tree,
    key: Option<Range<usize>>,
    pointer: String,
    places: &mut BTreeMap<String, (Option<Range<usize>>, Range<usize>)>,
) {
    match &tree.value {
        Branch::List(items) => {
            for (i, item) in items.iter().enumerate() {
                place(item, None, format!("{pointer}/{i}"), places);
            }
        }
        Branch::Table(members) => {
            for (name, key, member) in members {
                place(member, Some(key.clone()), format!("{pointer}/{}", pointer_part(name)), places);
            }
        }
        Branch::Bool(_) | Branch::Number(_) | Branch::Text(_) | Branch::Date(_) => {}
    }
    places.insert(pointer, (key, tree.span.clone()));
}

/// Line and character of a byte, both from 1.
pub(super) fn line_and_column(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte.min(source.len())).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Where byte `at` of a decoded TOML string stands in its raw form, quotes and escapes included.
fn raw_offset(raw: &str, decoded: &str, at: usize) -> Option<usize> {
    let quotes = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quotes| raw.starts_with(quotes))?;
    let mut rest = &raw[quotes.len()..];
    if quotes.len() == 3 {
        rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest);
    }
    for c in decoded.get(..at)?.chars() {
        if rest.starts_with(c) {
            rest = &rest[c.len_utf8()..];
        } else if c == '\n' && rest.starts_with("\r\n") {
            rest = &rest[2..];
        } else if quotes.starts_with('"') && rest.starts_with('\\') {
            let length = match rest.as_bytes().get(1)? {
                b'u' => 6,
                b'U' => 10,
                b'x' => 4,
                // A line's end after a backslash is left out with the blanks after it.
                b'\n' | b'\r' | b' ' | b'\t' => return None,
                _ => 2,
            };
            rest = rest.get(length..)?;
        } else {
            return None;
        }
    }
    Some(raw.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_inside_a_text_is_found_in_all_four_kinds_of_quotes() {
        for (raw, decoded) in [
            ("'a && b'", "a && b"),
            ("\"a && b\"", "a && b"),
            ("'''\na && b'''", "a && b"),
            ("\"\"\"\r\na && b\"\"\"", "a && b"),
        ] {
            let offset = raw_offset(raw, decoded, 5);
            assert_eq!(offset.map(|offset| &raw[offset..=offset]), Some("b"), "{raw}");
        }
        assert_eq!(raw_offset("\"x == \\\"a\\\"\"", "x == \"a\"", 6), Some(8));
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_and_column("é = 1\n  ü", 9), (2, 3));
        assert_eq!(line_and_column("", 5), (1, 1));
    }
}
