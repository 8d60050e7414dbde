//! Conditions that say nothing: always true, always false, contradicting themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::typing::{Type, Types};
use super::{Comparison, Condition, Fault, Id, Node, Truth};

/// What is wrong with a condition that is well typed.
pub(super) fn lint(condition: &Condition, types: &Types) -> Vec<Fault> {
    let mut faults = Vec::new();
    constants(condition, condition.root, &mut faults);
    if faults.is_empty() {
        ranges(condition, types, &mut faults);
    }
    faults
}

/// Parts whose truth does not depend on anything, the outermost of each.
fn constants(condition: &Condition, id: Id, faults: &mut Vec<Fault>) {
    let truth = condition.constant(id);
    if truth != Truth::Unknown {
        let text = condition.text(id);
        faults.push(constant(condition, id, format!("`{text}` is always {truth}"), None));
        return;
    }
    match &condition.nodes[id] {
        Node::Not(inner) => constants(condition, *inner, faults),
        Node::And(parts) | Node::Or(parts) => parts.iter().for_each(|part| constants(condition, *part, faults)),
        Node::If(test, yes, no) => [test, yes, no].into_iter().for_each(|part| constants(condition, *part, faults)),
        _ => {}
    }
}

fn constant(condition: &Condition, id: Id, message: String, help: Option<&str>) -> Fault {
    Fault::new("condition.constant", condition.spans[id].clone(), message).helped(help)
}

/// Each comparison against the declared range of its field, and all that must hold together
/// against each other.
fn ranges(condition: &Condition, types: &Types, faults: &mut Vec<Fault>) {
    let together: Vec<Id> = match &condition.nodes[condition.root] {
        Node::And(parts) => parts.to_vec(),
        _ => vec![condition.root],
    };
    let mut left: BTreeMap<String, Possible> = BTreeMap::new();
    for id in &together {
        let Some((path, claim)) = claim(condition, *id) else {
            alone(condition, types, *id, faults);
            continue;
        };
        let declared = Possible::of(&types[path]);
        if let Some(fault) = declared.verdict(&claim, condition, *id) {
            faults.push(fault);
            continue;
        }
        let key = condition.text(path).split_whitespace().collect::<String>();
        let possible = left.entry(key).or_insert(declared);
        possible.narrow(&claim);
        if possible.is_empty() {
            let message = format!("`{}` contradicts what comes before it: both never hold", condition.text(*id));
            faults.push(constant(condition, *id, message, Some("join alternatives with `||`")));
            return;
        }
    }
}

/// Comparisons below `||`, `!` and `?:`: only against the declared range.
fn alone(condition: &Condition, types: &Types, id: Id, faults: &mut Vec<Fault>) {
    match &condition.nodes[id] {
        Node::Not(inner) => alone(condition, types, *inner, faults),
        Node::And(parts) | Node::Or(parts) => {
            parts.iter().for_each(|part| alone(condition, types, *part, faults));
        }
        Node::If(test, yes, no) => {
            [test, yes, no].into_iter().for_each(|part| alone(condition, types, *part, faults));
        }
        _ => {
            if let Some((path, claim)) = claim(condition, id) {
                faults.extend(Possible::of(&types[path]).verdict(&claim, condition, id));
            }
        }
    }
}

/// What a comparison of one path with literals says about the path.
enum Claim<'a> {
    Number(Comparison, f64),
    OneOfNumbers(&'a [f64]),
    Is(&'a str),
    IsNot(&'a str),
    OneOf(BTreeSet<&'a str>),
}

fn claim(condition: &Condition, id: Id) -> Option<(Id, Claim<'_>)> {
    let node = |id: Id| &condition.nodes[id];
    let is_value = |id: Id| matches!(node(id), Node::Path(_) | Node::DaysSinceOrder { .. });
    match node(id) {
        Node::Compare(comparison, a, b) => {
            let (path, literal, comparison) = match (is_value(*a), is_value(*b)) {
                (true, false) => (*a, *b, *comparison),
                (false, true) => (*b, *a, mirrored(*comparison)),
                _ => return None,
            };
            match (node(literal), comparison) {
                (Node::Number(x), comparison) => Some((path, Claim::Number(comparison, *x))),
                (Node::Text(text), Comparison::Eq) => Some((path, Claim::Is(text))),
                (Node::Text(text), Comparison::Ne) => Some((path, Claim::IsNot(text))),
                _ => None,
            }
        }
        Node::In(path, list) if is_value(*path) => match node(*list) {
            Node::Texts(items) => Some((*path, Claim::OneOf(items.iter().map(|item| &**item).collect()))),
            Node::Numbers(items) => Some((*path, Claim::OneOfNumbers(items))),
            _ => None,
        },
        _ => None,
    }
}

/// The comparison with its sides exchanged.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Eq,
        Comparison::Ne => Comparison::Ne,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// The values that a path can still have.
#[derive(Debug, Clone)]
struct Possible {
    min: f64,
    max: f64,
    /// Whether `min` and `max` themselves are out.
    open: (bool, bool),
    whole: bool,
    /// None means any text.
    words: Option<BTreeSet<String>>,
    /// Texts that are out.
    not: BTreeSet<String>,
}

impl Possible {
    fn of(r#type: &Type) -> Possible {
        let (min, max, whole) = match r#type {
            Type::Number { min, max, whole, .. } => (*min, *max, *whole),
            Type::Words(_) | Type::Text | Type::Bool | Type::Texts | Type::Numbers | Type::Any => {
                (f64::NEG_INFINITY, f64::INFINITY, false)
            }
        };
        let words = match r#type {
            Type::Words(words) => Some(words.iter().cloned().collect()),
            _ => None,
        };
        Possible { min, max, open: (false, false), whole, words, not: BTreeSet::new() }
    }
    fn narrow(&mut self, claim: &Claim<'_>) {
        match claim {
            Claim::Number(Comparison::Eq, x) => {
                self.at_least(*x, false);
                self.at_most(*x, false);
            }
            Claim::Number(Comparison::Ne, x) if *x == self.min => self.at_least(*x, true),
            Claim::Number(Comparison::Ne, x) if *x == self.max => self.at_most(*x, true),
            Claim::Number(Comparison::Ne, _) => {}
            Claim::Number(Comparison::Lt, x) => self.at_most(*x, true),
            Claim::Number(Comparison::Le, x) => self.at_most(*x, false),
            Claim::Number(Comparison::Gt, x) => self.at_least(*x, true),
            Claim::Number(Comparison::Ge, x) => self.at_least(*x, false),
            Claim::OneOfNumbers(items) => {
                let still: Vec<f64> = items.iter().copied().filter(|x| self.has(*x)).collect();
                self.at_least(still.iter().copied().fold(f64::INFINITY, f64::min), false);
                self.at_most(still.iter().copied().fold(f64::NEG_INFINITY, f64::max), false);
            }
            Claim::Is(text) => self.only(&BTreeSet::from([*text])),
            Claim::OneOf(texts) => self.only(texts),
            Claim::IsNot(text) => {
                self.not.insert((*text).to_owned());
                if let Some(words) = &mut self.words {
                    words.remove(*text);
                }
            }
        }
    }
    fn has(&self, x: f64) -> bool {
        let above = if self.open.0 { x > self.min } else { x >= self.min };
        let below = if self.open.1 { x < self.max } else { x <= self.max };
        above && below && (!self.whole || x.fract() == 0.0)
    }
    fn at_least(&mut self, x: f64, open: bool) {
        let (x, open) = match (self.whole, open) {
            (true, true) => (x.floor() + 1.0, false),
            (true, false) => (x.ceil(), false),
            (false, open) => (x, open),
        };
        if x > self.min || (x == self.min && open) {
            (self.min, self.open.0) = (x, open);
        }
    }
    fn at_most(&mut self, x: f64, open: bool) {
        let (x, open) = match (self.whole, open) {
            (true, true) => (x.ceil() - 1.0, false),
            (true, false) => (x.floor(), false),
            (false, open) => (x, open),
        };
        if x < self.max || (x == self.max && open) {
            (self.max, self.open.1) = (x, open);
        }
    }
    fn only(&mut self, texts: &BTreeSet<&str>) {
        let not = &self.not;
        let kept = match self.words.take() {
            Some(words) => words.into_iter().filter(|word| texts.contains(word.as_str())).collect(),
            None => texts.iter().filter(|text| !not.contains(**text)).map(|text| (*text).to_owned()).collect(),
        };
        self.words = Some(kept);
    }
    fn is_empty(&self) -> bool {
        self.min > self.max
            || (self.min == self.max && (self.open.0 || self.open.1))
            || self.words.as_ref().is_some_and(BTreeSet::is_empty)
    }
    /// Whether a claim about the declared values says nothing.
    fn verdict(&self, claim: &Claim<'_>, condition: &Condition, id: Id) -> Option<Fault> {
        let mut narrowed = self.clone();
        narrowed.narrow(claim);
        let always = if narrowed.is_empty() {
            Truth::False
        } else if self.all_within(claim) {
            Truth::True
        } else {
            return None;
        };
        let help = match (self.min.is_finite() || self.max.is_finite(), &self.words) {
            (_, Some(words)) => Some(format!("it is one of {}", words.iter().cloned().collect::<Vec<_>>().join(", "))),
            (true, None) => Some(format!("it lies between {} and {}", self.min, self.max)),
            (false, None) => None,
        };
        let message = format!("`{}` is always {always}", condition.text(id));
        Some(constant(condition, id, message, help.as_deref()))
    }
    /// Whether every declared value satisfies a claim.
    fn all_within(&self, claim: &Claim<'_>) -> bool {
        match claim {
            Claim::Number(Comparison::Lt, x) => self.max < *x,
            Claim::Number(Comparison::Le, x) => self.max <= *x,
            Claim::Number(Comparison::Gt, x) => self.min > *x,
            Claim::Number(Comparison::Ge, x) => self.min >= *x,
            Claim::Number(Comparison::Eq, x) => self.min == *x && self.max == *x,
            Claim::Number(Comparison::Ne, x) => !self.has(*x),
            // A list that names every whole number of a range is rare enough to let pass.
            Claim::OneOfNumbers(_) => false,
            Claim::Is(text) => self.words.as_ref().is_some_and(|words| words.iter().all(|word| word == text)),
            // A word outside was refused before.
            Claim::IsNot(_) => false,
            Claim::OneOf(texts) => {
                self.words.as_ref().is_some_and(|words| words.iter().all(|word| texts.contains(word.as_str())))
            }
        }
    }
}
