//! Three-valued evaluation, and the explanation of each leaf.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use super::{Arithmetic, Comparison, Condition, Id, Node};
use crate::id::SlotId;
use crate::model::{Device, DeviceDescription, Household, Value, is_list_mark};
use crate::time::{Span, Timestamp};
use crate::wire::EventUp;

/// What a condition is evaluated against.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The home.
    pub household: &'a Household,
    /// The device that woke the trigger.
    pub device: &'a Device,
    /// What that device can do: its own description, else its model's.
    pub description: &'a DeviceDescription,
    /// The slot that woke the trigger, where one did.
    pub slot: Option<&'a SlotId>,
    /// The event that woke the trigger, where one did.
    pub event: Option<&'a EventUp>,
    /// The instant.
    pub now: Timestamp,
}

/// Kleene's three truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// What it needs is not known.
    Unknown,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

impl std::ops::Not for Truth {
    type Output = Truth;
    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

impl Truth {
    /// The word in a trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "true",
            Truth::False => "false",
            Truth::Unknown => "unknown",
        }
    }
    /// Both: false wins over unknown.
    pub fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
            (Truth::True, Truth::True) => Truth::True,
        }
    }
    /// Either: true wins over unknown.
    pub fn or(self, other: Truth) -> Truth {
        !(!self).and(!other)
    }
}

/// A condition's truth with each of its leaves.
#[derive(Debug, Clone)]
pub struct Evaluation<'c> {
    /// The whole.
    pub truth: Truth,
    /// Each comparison, in the order written.
    pub leaves: Vec<Leaf<'c>>,
    /// What was evaluated.
    condition: &'c Condition,
}

impl<'c> Evaluation<'c> {
    /// The leaves that made a condition fail or unknown, in the order written; none of one that holds. A leaf that
    /// does not hold is none of them where another stood in for it, and one that holds is where a `!` turns it.
    pub fn failing(&self) -> Vec<&Leaf<'c>> {
        match self.truth {
            Truth::True => Vec::new(),
            Truth::False | Truth::Unknown => self.condition.deciding(self.condition.root, &mut self.leaves.iter()).1,
        }
    }
}

/// One comparison of a condition, as it came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf<'c> {
    /// The comparison as written, on one line.
    pub text: Cow<'c, str>,
    /// How it came out.
    pub truth: Truth,
    /// The value it looked at; none when unknown.
    pub value: Option<Value>,
    /// What it looked at, such as `telemetry.temperature`.
    pub source: String,
    /// How old the value is, where its time is kept; also of a value too old to be believed.
    pub age: Option<Span>,
}

/// Room for what a leaf adds to its two texts: truth, value, age.
const VERDICT_BYTES: usize = 64;
/// Room for the name of most of what can be read.
const NAME_BYTES: usize = 40;

/// Something written out, into room that is there before: text that grows word by word is copied as often.
fn written(what: &impl fmt::Display, room: usize) -> String {
    let mut text = String::with_capacity(room);
    let _ = write!(text, "{what}");
    text
}

/// A part of a condition as written, its lines joined: most are on one already.
fn on_one_line(text: &str) -> Cow<'_, str> {
    let joined = |text: &str| text.bytes().all(|byte| byte == b' ' || !byte.is_ascii_whitespace());
    if text.is_ascii() && joined(text) && !text.contains("  ") && text.trim() == text {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    Cow::Owned(line)
}

impl Leaf<'_> {
    /// The leaf in words, as [`fmt::Display`] writes it.
    pub fn told(&self) -> String {
        written(self, self.text.len() + self.source.len() + VERDICT_BYTES)
    }
}

impl fmt::Display for Leaf<'_> {
    /// `telemetry.temperature < 17: false (telemetry.temperature = 18.2, 40 s old)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.text, ": ", self.truth.as_str(), " (", &self.source, " "] {
            f.write_str(part)?;
        }
        match (&self.value, self.age) {
            (Some(value), _) => write!(f, "= {value}")?,
            (None, Some(_)) => f.write_str("is no longer believed")?,
            (None, None) => f.write_str("was never said")?,
        }
        if let Some(age) = self.age {
            write!(f, ", {age} old")?;
        }
        f.write_str(")")
    }
}

/// A value during evaluation, borrowed from the condition or from the facts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Val<'a> {
    Unknown,
    Number(f64),
    Text(&'a str),
    Bool(bool),
    Numbers(&'a [f64]),
    Texts(&'a [Box<str>]),
    Segments(&'a BTreeSet<String>),
}

impl Val<'_> {
    fn truth(self) -> Truth {
        match self {
            Val::Bool(holds) => holds.into(),
            _ => Truth::Unknown,
        }
    }
    fn owned(self) -> Option<Value> {
        match self {
            Val::Unknown => None,
            Val::Number(x) => Some(Value::Number(x)),
            Val::Text(text) => Some(Value::Text(text.into())),
            Val::Bool(b) => Some(Value::Bool(b)),
            Val::Numbers(items) => Some(Value::Text(format!("{items:?}").into())),
            Val::Texts(items) => Some(Value::Text(items.join(", ").into())),
            Val::Segments(items) => Some(Value::Text(own(items).cloned().collect::<Vec<_>>().join(", ").into())),
        }
    }
}

impl From<Truth> for Val<'_> {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::True => Val::Bool(true),
            Truth::False => Val::Bool(false),
            Truth::Unknown => Val::Unknown,
        }
    }
}

impl Condition {
    /// Whether it holds. Allocates nothing.
    pub fn truth(&self, scope: &Scope<'_>) -> Truth {
        self.value(self.root, Some(scope)).truth()
    }
    /// Whether it holds, with every leaf: what a trace shows.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Evaluation<'_> {
        let mut leaves = Vec::new();
        let truth = self.leaves(self.root, scope, &mut leaves);
        Evaluation { truth, leaves, condition: self }
    }
    /// A node's truth when nothing at all is known: what remains is constant.
    pub(super) fn constant(&self, id: Id) -> Truth {
        self.value(id, None).truth()
    }

    /// The value of a node. Without a scope every path is unknown.
    fn value<'a>(&'a self, id: Id, scope: Option<&Scope<'a>>) -> Val<'a> {
        let of = |id: Id| self.value(id, scope);
        match &self.nodes[id] {
            Node::Number(x) => Val::Number(*x),
            Node::Text(text) => Val::Text(text),
            Node::Bool(b) => Val::Bool(*b),
            Node::Numbers(items) => Val::Numbers(items),
            Node::Texts(items) => Val::Texts(items),
            Node::Path(path) => scope.map_or(Val::Unknown, |scope| path.value(scope)),
            Node::DaysSinceOrder { product, if_never } => {
                scope.map_or(Val::Unknown, |scope| Val::Number(days_since_order(scope, product).unwrap_or(*if_never)))
            }
            Node::Not(inner) => (!of(*inner).truth()).into(),
            Node::Negate(inner) => match of(*inner) {
                Val::Number(x) => Val::Number(-x),
                _ => Val::Unknown,
            },
            Node::And(parts) => fold(parts, Truth::True, Truth::False, |id| of(id).truth(), Truth::and),
            Node::Or(parts) => fold(parts, Truth::False, Truth::True, |id| of(id).truth(), Truth::or),
            Node::If(condition, yes, no) => match of(*condition).truth() {
                Truth::True => of(*yes),
                Truth::False => of(*no),
                Truth::Unknown => Val::Unknown,
            },
            Node::Compare(comparison, left, right) => compare(*comparison, of(*left), of(*right)),
            Node::Arithmetic(operation, left, right) => match (of(*left), of(*right)) {
                (Val::Number(a), Val::Number(b)) => arithmetic(*operation, a, b),
                _ => Val::Unknown,
            },
            Node::In(item, list) => contained(of(*item), of(*list)),
            Node::Has(path) => {
                if scope.is_none() {
                    return Val::Unknown;
                }
                Val::Bool(of(*path) != Val::Unknown)
            }
            Node::Size(of_what) => match of(*of_what) {
                Val::Text(text) => Val::Number(text.chars().count() as f64),
                Val::Texts(items) => Val::Number(items.len() as f64),
                Val::Numbers(items) => Val::Number(items.len() as f64),
                Val::Segments(items) => Val::Number(own(items).count() as f64),
                Val::Unknown | Val::Number(_) | Val::Bool(_) => Val::Unknown,
            },
            Node::StartsWith(text, part) => text_test(of(*text), of(*part), |text, part| text.starts_with(part)),
            Node::EndsWith(text, part) => text_test(of(*text), of(*part), |text, part| text.ends_with(part)),
            Node::Contains(text, part) => text_test(of(*text), of(*part), |text, part| text.contains(part)),
        }
    }

    /// A node's truth, joined from its leaves, each of which is told, also where those before it decide alone.
    fn leaves<'c>(&'c self, id: Id, scope: &Scope<'_>, told: &mut Vec<Leaf<'c>>) -> Truth {
        match &self.nodes[id] {
            Node::Not(inner) => !self.leaves(*inner, scope, told),
            Node::And(parts) => parts.iter().fold(Truth::True, |all, part| all.and(self.leaves(*part, scope, told))),
            Node::Or(parts) => parts.iter().fold(Truth::False, |any, part| any.or(self.leaves(*part, scope, told))),
            Node::If(condition, yes, no) => {
                let condition = self.leaves(*condition, scope, told);
                let (yes, no) = (self.leaves(*yes, scope, told), self.leaves(*no, scope, told));
                match condition {
                    Truth::True => yes,
                    Truth::False => no,
                    Truth::Unknown => Truth::Unknown,
                }
            }
            _ => {
                let leaf = self.leaf(id, scope);
                let truth = leaf.truth;
                told.push(leaf);
                truth
            }
        }
    }
    /// A node's truth, and which of its leaves made it so: those of the parts that came out as the whole did. Takes
    /// the leaves as [`Condition::leaves`] told them.
    fn deciding<'e, 'c>(&self, id: Id, told: &mut impl Iterator<Item = &'e Leaf<'c>>) -> (Truth, Vec<&'e Leaf<'c>>)
    where
        'c: 'e,
    {
        match &self.nodes[id] {
            Node::Not(inner) => {
                let (truth, leaves) = self.deciding(*inner, told);
                (!truth, leaves)
            }
            Node::And(parts) | Node::Or(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.deciding(*part, told)).collect();
                let truths = parts.iter().map(|(truth, _)| *truth);
                let whole = match &self.nodes[id] {
                    Node::And(_) => truths.fold(Truth::True, Truth::and),
                    _ => truths.fold(Truth::False, Truth::or),
                };
                let alike = parts.into_iter().filter(|(truth, _)| *truth == whole);
                (whole, alike.flat_map(|(_, leaves)| leaves).collect())
            }
            Node::If(condition, yes, no) => {
                let condition = self.deciding(*condition, told);
                let (yes, no) = (self.deciding(*yes, told), self.deciding(*no, told));
                match condition.0 {
                    Truth::True => yes,
                    Truth::False => no,
                    Truth::Unknown => condition,
                }
            }
            _ => told.next().map_or((Truth::Unknown, Vec::new()), |leaf| (leaf.truth, vec![leaf])),
        }
    }
    fn leaf(&self, id: Id, scope: &Scope<'_>) -> Leaf<'_> {
        let text = on_one_line(self.text(id));
        let truth = self.value(id, Some(scope)).truth();
        let is_unknown = |source: Id| self.value(source, Some(scope)) == Val::Unknown;
        let unknown = if truth == Truth::Unknown { self.source_of(id, &is_unknown) } else { None };
        let source = unknown.or_else(|| self.source_of(id, &|_| true));
        let (value, name, age) = match source.map(|source| (source, &self.nodes[source])) {
            Some((source, Node::Path(path))) => {
                (self.value(source, Some(scope)).owned(), written(path, NAME_BYTES), path.age(scope))
            }
            Some((source, _)) => (self.value(source, Some(scope)).owned(), self.text(source).to_owned(), None),
            None => (None, "constant".to_owned(), None),
        };
        Leaf { text, truth, value, source: name, age }
    }
    /// The first thing a leaf reads that is so.
    fn source_of(&self, id: Id, is_so: &dyn Fn(Id) -> bool) -> Option<Id> {
        let of = |id: &Id| self.source_of(*id, is_so);
        match &self.nodes[id] {
            Node::Path(_) | Node::DaysSinceOrder { .. } => is_so(id).then_some(id),
            Node::Number(_) | Node::Text(_) | Node::Bool(_) | Node::Numbers(_) | Node::Texts(_) => None,
            Node::Not(a) | Node::Negate(a) | Node::Has(a) | Node::Size(a) => of(a),
            Node::And(parts) | Node::Or(parts) => parts.iter().find_map(of),
            Node::If(a, b, c) => [a, b, c].into_iter().find_map(of),
            Node::Compare(_, a, b)
            | Node::Arithmetic(_, a, b)
            | Node::In(a, b)
            | Node::StartsWith(a, b)
            | Node::EndsWith(a, b)
            | Node::Contains(a, b) => of(a).or_else(|| of(b)),
        }
    }
}

/// Joins truths, ending at the first that decides alone.
fn fold<'a>(
    parts: &[Id],
    neutral: Truth,
    decisive: Truth,
    truth: impl Fn(Id) -> Truth,
    join: impl Fn(Truth, Truth) -> Truth,
) -> Val<'a> {
    let mut all = neutral;
    for part in parts {
        all = join(all, truth(*part));
        if all == decisive {
            break;
        }
    }
    all.into()
}

fn compare<'a>(comparison: Comparison, left: Val<'_>, right: Val<'_>) -> Val<'a> {
    let holds = match (left, right) {
        (Val::Number(a), Val::Number(b)) => match comparison {
            Comparison::Eq => a == b,
            Comparison::Ne => a != b,
            Comparison::Lt => a < b,
            Comparison::Le => a <= b,
            Comparison::Gt => a > b,
            Comparison::Ge => a >= b,
        },
        (Val::Text(a), Val::Text(b)) => match comparison {
            Comparison::Eq => a == b,
            Comparison::Ne => a != b,
            Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge => return Val::Unknown,
        },
        (Val::Bool(a), Val::Bool(b)) => match comparison {
            Comparison::Eq => a == b,
            Comparison::Ne => a != b,
            Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge => return Val::Unknown,
        },
        // Something is unknown, or context and event data came in another type than expected.
        _ => return Val::Unknown,
    };
    Val::Bool(holds)
}

fn arithmetic<'a>(operation: Arithmetic, a: f64, b: f64) -> Val<'a> {
    let result = match operation {
        Arithmetic::Add => a + b,
        Arithmetic::Sub => a - b,
        Arithmetic::Mul => a * b,
        Arithmetic::Div => a / b,
    };
    // Division by zero and overflow have no value; no comparison with them may hold.
    if result.is_finite() { Val::Number(result) } else { Val::Unknown }
}

/// The segments among what stands with a person; marks of lists are none.
fn own(items: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    items.iter().filter(|item| !is_list_mark(item))
}

fn contained<'a>(item: Val<'_>, list: Val<'_>) -> Val<'a> {
    match (item, list) {
        (Val::Text(text), Val::Texts(items)) => Val::Bool(items.iter().any(|item| **item == *text)),
        (Val::Text(text), Val::Segments(items)) => Val::Bool(!is_list_mark(text) && items.contains(text)),
        (Val::Number(x), Val::Numbers(items)) => Val::Bool(items.contains(&x)),
        _ => Val::Unknown,
    }
}

fn text_test<'a>(text: Val<'_>, part: Val<'_>, test: impl Fn(&str, &str) -> bool) -> Val<'a> {
    match (text, part) {
        (Val::Text(text), Val::Text(part)) => Val::Bool(test(text, part)),
        _ => Val::Unknown,
    }
}

/// Whole days since the household last ordered a product.
fn days_since_order(scope: &Scope<'_>, product: &str) -> Option<f64> {
    last_order(scope.household, product, scope.now).map(|at| ((scope.now - at).0 / Span::days(1).0) as f64)
}

/// When a household last ordered a product; orders that came to nothing do not count.
pub(super) fn last_order(home: &Household, product: &str, now: Timestamp) -> Option<Timestamp> {
    let orders = home.orders.values().filter(|order| order.state.is_purchase() && order.created_at <= now);
    orders
        .filter(|order| order.lines.iter().any(|line| line.product.as_str() == product))
        .map(|order| order.created_at)
        .max()
}
