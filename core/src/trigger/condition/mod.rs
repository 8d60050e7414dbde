//! The condition language: a typed subset of Google's CEL with three-valued logic.
//!
//! Syntax: `&& || ! == != < <= > >= in + - * / ?:`, parentheses, lists of literals,
//! `startsWith` `endsWith` `contains` `size` `has`, and
//! `household.days_since_order(product, if_never)`. No comprehensions, no user functions.
//!
//! | path | type |
//! |---|---|
//! | `telemetry.<field>` | as the device models declare it |
//! | `slot.used` `remaining` `capacity` `on_hand` `flag` | of the slot that woke the trigger |
//! | `event.type`, `event.data.<name>` | of the event that woke it |
//! | `context.<name>` | what is said about the device's surroundings, by itself or by a feed: `presence`, `weather`, `tariff` |
//! | `local.hour` `minute` `weekday` `day` `month` | the household's local time; weekdays are `mon` to `sun` |
//! | `local.part` | `morning` from 6, `afternoon` from 12, `evening` from 18, `night` from 22 |
//! | `profile.segments` `locale` `role` `loyalty_tier` `loyalty_points` | of the person linked to the device, else of the owner |
//! | `household.size` `devices` `zone` | people, devices, IANA name |
//! | `device.model` `kind` `presence` | of the device itself |
//!
//! There is one way to write each: a telemetry field is never `device.<field>`.
//!
//! A value that was never reported, is older than its field's `max_age`, or is past its end is
//! *unknown*; so is everything computed from it, except where the rest decides alone
//! (`unknown || true` is true). Unknown never sends, also not under `!`.
//!
//! A [`Condition`] is a flat array of nodes; evaluating its truth allocates nothing.

mod evaluate;
mod lexer;
mod lint;
mod parser;
mod path;
mod typing;

use std::ops::Range;

use jiff::civil;

pub use evaluate::{Evaluation, Leaf, Scope, Truth};
pub use typing::{Articles, Schema};

use crate::model::Household;
use crate::time::{Span, Timestamp, Zone};
use path::{LocalPart, Path};
pub(crate) use path::{WEEKDAYS, weekday};

/// Bytes of one condition: far more than 64 parts need, little enough to read at once.
pub const CONDITION_BYTES_MAX: usize = 8 * 1024;
/// Parts of one condition: what a person can still explain.
pub const NODES_MAX: usize = 64;
/// Nesting of one condition; also bounds the stack that reading and evaluating it takes.
pub const DEPTH_MAX: usize = 16;
/// Items of one list: segments and words are few, and each is compared at each evaluation.
pub const LIST_MAX: usize = 256;

/// What is wrong with a condition, at which bytes of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the condition's text.
    pub span: Range<usize>,
    /// A stable word for the kind of fault.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Fault {
    fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Fault {
        Fault { span, code, message: message.into(), help: None }
    }
    fn syntax(span: Range<usize>, message: impl Into<String>) -> Fault {
        Fault::new("condition.syntax", span, message)
    }
    fn bound(span: Range<usize>, message: impl Into<String>) -> Fault {
        Fault::new("condition.too_large", span, message)
    }
    fn helped(mut self, help: Option<impl Into<String>>) -> Fault {
        self.help = help.map(Into::into);
        self
    }
}

/// Place of a node in its condition's array.
type Id = usize;

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    source: Box<str>,
    nodes: Box<[Node]>,
    /// Where each node stands in the source.
    spans: Box<[Range<usize>]>,
    root: Id,
}

/// One compiled part.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Text(Box<str>),
    Bool(bool),
    Numbers(Box<[f64]>),
    Texts(Box<[Box<str>]>),
    Path(Path),
    DaysSinceOrder { product: Box<str>, if_never: f64 },
    Not(Id),
    Negate(Id),
    And(Box<[Id]>),
    Or(Box<[Id]>),
    If(Id, Id, Id),
    Compare(Comparison, Id, Id),
    Arithmetic(Arithmetic, Id, Id),
    In(Id, Id),
    Has(Id),
    Size(Id),
    StartsWith(Id, Id),
    EndsWith(Id, Id),
    Contains(Id, Id),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

impl Condition {
    /// Reads, checks and compiles a condition. All type errors come at once.
    pub fn compile(source: &str, schema: &Schema<'_>) -> Result<Condition, Vec<Fault>> {
        let expr = parser::parse(source).map_err(|fault| vec![fault])?;
        let (condition, types) = typing::compile(source, &expr, schema)?;
        let mut faults = lint::lint(&condition, &types);
        if faults.is_empty() && !schema.was_published() {
            faults = lint::beside(&condition, &types);
        }
        if faults.is_empty() { Ok(condition) } else { Err(faults) }
    }
    /// The same for what is asked of all homes, whatever device they have: models come by and by, so that what
    /// is true of every model of today says something all the same.
    pub fn compile_for_homes(source: &str, schema: &Schema<'_>) -> Result<Condition, Vec<Fault>> {
        let expr = parser::parse(source).map_err(|fault| vec![fault])?;
        let (condition, mut types) = typing::compile(source, &expr, schema)?;
        for (node, kind) in condition.nodes.iter().zip(types.iter_mut()) {
            if let (Node::Path(Path::DeviceModel | Path::DeviceKind), typing::Type::Words(words)) = (node, kind) {
                words.push("one to come".to_owned());
            }
        }
        let faults = lint::lint(&condition, &types);
        if faults.is_empty() { Ok(condition) } else { Err(faults) }
    }
    /// The condition as written.
    pub fn source(&self) -> &str {
        &self.source
    }
    /// Whether it reads the household's local time.
    pub fn uses_local_time(&self) -> bool {
        self.local_parts().next().is_some()
    }
    /// The next instant, strictly after `now`, at which a bound on time can turn: a minute, hour or day begins in the
    /// home, whichever is the finest that it reads, or another whole day since an order is over. None when it reads
    /// no time.
    pub fn next_turn(&self, home: &Household, now: Timestamp) -> Option<Timestamp> {
        let of_the_clock = home.zone.as_ref().and_then(|zone| self.next_local_turn(zone, now));
        let orders = self.nodes.iter().filter_map(|node| match node {
            Node::DaysSinceOrder { product, .. } => evaluate::last_order(home, product, now),
            _ => None,
        });
        let days = orders.map(|at| at + Span::days((now - at).0 / Span::days(1).0 + 1));
        days.chain(of_the_clock).min()
    }
    fn next_local_turn(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        let finest = self.local_parts().min()?;
        let local = zone.local(now);
        let into_minute = Span(i64::from(local.second()) * 1_000 + i64::from(local.millisecond()));
        let next_minute = now - into_minute + Span::minutes(1);
        Some(match finest {
            LocalPart::Minute => next_minute,
            LocalPart::Hour | LocalPart::Part => next_minute + Span::minutes(59 - i64::from(local.minute())),
            LocalPart::Weekday | LocalPart::Day | LocalPart::Month => zone.next(now, civil::Time::midnight()),
        })
    }
    /// What it reads that is no lasting fact about a person and their home, as faults: a measurement, the
    /// surroundings, the hour. Who is in a group does not change from one message to the next.
    pub(crate) fn passing_facts(&self) -> Vec<Fault> {
        let passes = |(node, span): (&Node, &Range<usize>)| match node {
            Node::Path(path) if !path.is_lasting() => {
                let message =
                    format!("`{path}` changes by itself: an audience is of who somebody is and what they have");
                let help = "write it in the trigger, under `when`";
                Some(Fault::new("audience.passing", span.clone(), message).helped(Some(help)))
            }
            _ => None,
        };
        self.nodes.iter().zip(&self.spans).filter_map(passes).collect()
    }
    fn local_parts(&self) -> impl Iterator<Item = LocalPart> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Path(Path::Local(part)) => Some(*part),
            _ => None,
        })
    }
    /// The text of a node.
    fn text(&self, id: Id) -> &str {
        self.source.get(self.spans[id].clone()).unwrap_or_default()
    }
}
