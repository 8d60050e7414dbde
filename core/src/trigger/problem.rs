//! What is wrong with a trigger: where, why, and how to mend it.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource};
use serde::Serialize;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The trigger cannot be published.
    Error,
    /// It can, and probably does not do what was meant.
    Warning,
}

/// The code of what is understood and not served by this version of the gateway.
pub const NOT_SERVED_YET: &str = "trigger.not_served_yet";

/// One thing that is wrong with one trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file; empty for JSON.
    pub file: String,
    /// Bytes of the file; empty for JSON.
    pub span: Range<usize>,
    /// Line in the file, from 1; 0 for JSON.
    pub line: usize,
    /// Character in the line, from 1; 0 for JSON.
    pub column: usize,
    /// JSON pointer of the value, in the file or in the body.
    pub pointer: String,
    /// A stable word for the kind of problem.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Problem {
    /// Whether it keeps the trigger from being published.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
    /// Whether the trigger is well written and only asks for more than this version serves.
    /// Such a trigger may be kept as a draft.
    pub fn is_not_served_yet(&self) -> bool {
        self.code == NOT_SERVED_YET
    }
    /// The problem with its source, to be rendered with the lines and a caret.
    pub fn report<'a>(&'a self, source: &str) -> ProblemReport<'a> {
        ProblemReport { problem: self, source: NamedSource::new(&self.file, source.to_owned()) }
    }
}

impl fmt::Display for Problem {
    /// `triggers/a.toml:3:9: error[trigger.unknown_key]: … (help)`, or with the pointer for JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        } else {
            write!(f, "{}: ", if self.pointer.is_empty() { "/" } else { &self.pointer })?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// A problem beside its source.
#[derive(Debug)]
pub struct ProblemReport<'a> {
    problem: &'a Problem,
    source: NamedSource<String>,
}

impl fmt::Display for ProblemReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}
impl std::error::Error for ProblemReport<'_> {}
impl Diagnostic for ProblemReport<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        // The label is the caret; the words stand above it.
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, self.problem.span.clone()))))
    }
}
