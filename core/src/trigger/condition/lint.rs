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

/// What says nothing beside the rest of a condition that [`lint`] found nothing in: a part of `&&` that holds wherever
/// the others do, and alternatives of `||` of which one always holds.
pub(super) fn beside(condition: &Condition, types: &Types) -> Vec<Fault> {
    let mut faults = Vec::new();
    beside_below(condition, types, condition.root, &mut faults);
    faults
}

fn beside_below(condition: &Condition, types: &Types, id: Id, faults: &mut Vec<Fault>) {
    match &condition.nodes[id] {
        Node::Not(inner) => beside_below(condition, types, *inner, faults),
        Node::And(parts) => {
            faults.extend(idle_parts(condition, types, parts));
            parts.iter().for_each(|part| beside_below(condition, types, *part, faults));
        }
        Node::Or(parts) if leaves_nothing(condition, types, parts) => {
            let message = format!("one of `{}` always holds", condition.text(id));
            faults.push(constant(
                condition,
                id,
                message,
                Some("leave it out; `has(…)` asks whether a value is known at all"),
            ));
        }
        Node::Or(parts) => parts.iter().for_each(|part| beside_below(condition, types, *part, faults)),
        Node::If(test, yes, no) => {
            [test, yes, no].into_iter().for_each(|part| beside_below(condition, types, *part, faults));
        }
        _ => {}
    }
}

/// Parts of `&&` that hold wherever the other parts about the same value do; of two that say the same, the later.
fn idle_parts(condition: &Condition, types: &Types, parts: &[Id]) -> Vec<Fault> {
    let mut kept: Vec<(String, Id, Id, Claim<'_>)> = Vec::new();
    for id in parts {
        if let Some((path, claim)) = claim(condition, *id) {
            kept.push((name_of(condition, path), *id, path, claim));
        }
    }
    let mut faults = Vec::new();
    for at in (0..kept.len()).rev() {
        let (name, id, path, claim) = &kept[at];
        let mut left = Possible::of(&types[*path]);
        for (_, (_, _, _, other)) in kept.iter().enumerate().filter(|(i, (of, ..))| *i != at && of == name) {
            left.narrow(other);
        }
        if left.all_within(claim) {
            let message = format!("`{}` holds wherever the rest does: it says nothing", condition.text(*id));
            faults.push(constant(condition, *id, message, Some("leave it out")));
            kept.remove(at);
        }
    }
    faults.reverse();
    faults
}

/// Whether no value is left for which none of the alternatives holds.
fn leaves_nothing(condition: &Condition, types: &Types, parts: &[Id]) -> bool {
    let mut left: BTreeMap<String, Possible> = BTreeMap::new();
    for id in parts {
        let Some((path, claim)) = claim(condition, *id) else { continue };
        let possible = left.entry(name_of(condition, path)).or_insert_with(|| Possible::of(&types[path]));
        possible.narrow_to_others(&claim);
    }
    left.values().any(Possible::is_empty)
}

/// A value by its text, however it is spaced.
fn name_of(condition: &Condition, path: Id) -> String {
    condition.text(path).split_whitespace().collect()
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
        let possible = left.entry(name_of(condition, path)).or_insert(declared);
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

/// The comparison that holds where this one does not.
fn opposite(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Ne,
        Comparison::Ne => Comparison::Eq,
        Comparison::Lt => Comparison::Ge,
        Comparison::Le => Comparison::Gt,
        Comparison::Gt => Comparison::Le,
        Comparison::Ge => Comparison::Lt,
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
    /// Leaves what a claim is not true of. Where a hole in a range cannot be kept, it is left in.
    fn narrow_to_others(&mut self, claim: &Claim<'_>) {
        match claim {
            Claim::Number(comparison, x) => self.narrow(&Claim::Number(opposite(*comparison), *x)),
            Claim::OneOfNumbers(items) => items.iter().for_each(|x| self.narrow(&Claim::Number(Comparison::Ne, *x))),
            Claim::Is(text) => self.narrow(&Claim::IsNot(text)),
            Claim::IsNot(text) => self.narrow(&Claim::Is(text)),
            Claim::OneOf(texts) => texts.iter().for_each(|text| self.narrow(&Claim::IsNot(text))),
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
            Claim::Number(Comparison::Lt, x) => self.max < *x || (self.max == *x && self.open.1),
            Claim::Number(Comparison::Le, x) => self.max <= *x,
            Claim::Number(Comparison::Gt, x) => self.min > *x || (self.min == *x && self.open.0),
            Claim::Number(Comparison::Ge, x) => self.min >= *x,
            Claim::Number(Comparison::Eq, x) => self.min == *x && self.max == *x,
            Claim::Number(Comparison::Ne, x) => !self.has(*x),
            // A list that names every whole number of a range is rare enough to let pass.
            Claim::OneOfNumbers(_) => false,
            Claim::Is(text) => self.words.as_ref().is_some_and(|words| words.iter().all(|word| word == text)),
            // A word outside of an enumeration was refused before: one that is not left was taken out by another part.
            Claim::IsNot(text) => {
                self.not.contains(*text) || self.words.as_ref().is_some_and(|words| !words.contains(*text))
            }
            Claim::OneOf(texts) => {
                self.words.as_ref().is_some_and(|words| words.iter().all(|word| texts.contains(word.as_str())))
            }
        }
    }
}
