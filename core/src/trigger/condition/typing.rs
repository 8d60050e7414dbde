//! Tree to typed nodes: every path is known, every operator gets what it can work with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::parser::{Expr, ExprKind, Op};
use super::path::{DAY_PARTS, LocalPart, Path, SlotField, WEEKDAYS};
use super::{Arithmetic, Comparison, Condition, Fault, Id, Node};
use crate::catalog::{FITTING_MAX, Products};
use crate::id::{FieldName, ProductId, RetailerId, SlotId};
use crate::model::{DeviceDescription, FieldType, SlotKind, Unit};
use crate::trigger::nearest::{nearest, suggestion};
use crate::trigger::quantity::parse_quantity;

/// What a condition may read: the device models that its trigger is on, what wakes it, and the
/// retailer's products.
#[derive(Debug, Clone, Default)]
pub struct Schema<'a> {
    /// The device models that the trigger is on.
    pub models: Vec<&'a DeviceDescription>,
    /// The slot that wakes it, where one does.
    pub slot: Option<&'a SlotId>,
    /// Whether an event wakes it.
    pub event: bool,
    /// The retailer's article numbers.
    pub products: Articles<'a>,
}

impl Schema<'_> {
    /// Whether the condition was published before: then what was sound once is, whatever else is told of a draft.
    pub(super) fn was_published(&self) -> bool {
        matches!(self.products, Articles::Any)
    }
}

/// Article numbers that a condition may name.
#[derive(Debug, Clone, Default)]
pub enum Articles<'a> {
    /// None.
    #[default]
    Nothing,
    /// These.
    Named(BTreeSet<&'a str>),
    /// A retailer's.
    Of(&'a Products, &'a RetailerId),
    /// Any: what was named once was ordered once, whether or not it is still sold.
    Any,
}

impl<'a, const N: usize> From<[&'a str; N]> for Articles<'a> {
    fn from(named: [&'a str; N]) -> Articles<'a> {
        Articles::Named(named.into())
    }
}

impl Articles<'_> {
    fn contains(&self, id: &str) -> bool {
        match self {
            Articles::Nothing => false,
            Articles::Any => true,
            Articles::Named(named) => named.contains(id),
            Articles::Of(products, retailer) => {
                ProductId::new(id).is_ok_and(|id| products.get(retailer, &id).is_some())
            }
        }
    }
    /// What is said about one that is not there.
    fn suggestion(&self, id: &str) -> Option<String> {
        match self {
            Articles::Nothing | Articles::Any => None,
            Articles::Named(named) => suggestion(id, named.iter().copied()),
            Articles::Of(products, retailer) => {
                let some = products.ids(retailer, None, FITTING_MAX);
                suggestion(id, some.iter().map(ProductId::as_str))
            }
        }
    }
}

/// The type of a part.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// With unit and declared range; `whole` for counts.
    Number {
        unit: Option<Unit>,
        min: f64,
        max: f64,
        whole: bool,
    },
    /// One of these.
    Words(Vec<String>),
    Text,
    Bool,
    Texts,
    Numbers,
    /// Context and event data: known only when it comes.
    Any,
}

/// A number of which nothing more is known.
const NUMBER: Type = Type::Number { unit: None, min: f64::NEG_INFINITY, max: f64::INFINITY, whole: false };

fn whole(min: f64, max: f64) -> Type {
    Type::Number { unit: None, min, max, whole: true }
}
fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Type {
    Type::Words(words.into_iter().map(str::to_owned).collect())
}

impl Type {
    fn name(&self) -> String {
        match self {
            Type::Number { unit: Some(unit), .. } => format!("a number in {unit}"),
            Type::Number { unit: None, .. } => "a number".to_owned(),
            Type::Words(words) => format!("one of {}", quoted(words)),
            Type::Text => "a text".to_owned(),
            Type::Bool => "a truth value".to_owned(),
            Type::Texts => "a list of texts".to_owned(),
            Type::Numbers => "a list of numbers".to_owned(),
            Type::Any => "a value".to_owned(),
        }
    }
    fn is_textual(&self) -> bool {
        matches!(self, Type::Text | Type::Words(_) | Type::Any)
    }
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// The types of the nodes, for the lint.
pub(super) type Types = Vec<Type>;

/// Types and compiles a tree.
pub(super) fn compile(source: &str, expr: &Expr, schema: &Schema<'_>) -> Result<(Condition, Types), Vec<Fault>> {
    let mut typing = Typing { schema, nodes: Vec::new(), spans: Vec::new(), types: Vec::new(), faults: Vec::new() };
    let root = typing.expr(expr);
    if let Some(root) = root {
        typing.wants_bool(root);
    }
    match root {
        Some(root) if typing.faults.is_empty() => {
            let nodes = typing.nodes.into_boxed_slice();
            let spans = typing.spans.into_boxed_slice();
            Ok((Condition { source: source.into(), nodes, spans, root }, typing.types))
        }
        _ => Err(typing.faults),
    }
}

struct Typing<'a> {
    schema: &'a Schema<'a>,
    nodes: Vec<Node>,
    spans: Vec<Range<usize>>,
    types: Types,
    faults: Vec<Fault>,
}

impl Typing<'_> {
    fn fault(&mut self, code: &'static str, span: Range<usize>, message: String, help: Option<String>) -> Option<Id> {
        self.faults.push(Fault::new(code, span, message).helped(help));
        None
    }
    fn mixed(&mut self, span: Range<usize>, message: String, help: Option<&str>) -> Option<Id> {
        self.fault("condition.type", span, message, help.map(str::to_owned))
    }
    fn node(&mut self, node: Node, r#type: Type, span: &Range<usize>) -> Option<Id> {
        self.nodes.push(node);
        self.types.push(r#type);
        self.spans.push(span.clone());
        Some(self.nodes.len() - 1)
    }
    fn wants_bool(&mut self, id: Id) -> bool {
        let fits = matches!(self.types[id], Type::Bool | Type::Any);
        if !fits {
            let (span, name) = (self.spans[id].clone(), self.types[id].name());
            self.mixed(span, format!("this is {name}, a truth value is needed"), Some("compare it with something"));
        }
        fits
    }

    fn expr(&mut self, expr: &Expr) -> Option<Id> {
        let span = &expr.span;
        match &expr.kind {
            ExprKind::Number(x) => self.node(Node::Number(*x), NUMBER, span),
            ExprKind::Text(text) => self.node(Node::Text(text.as_str().into()), Type::Text, span),
            ExprKind::Bool(b) => self.node(Node::Bool(*b), Type::Bool, span),
            ExprKind::List(_) => self.mixed(span.clone(), "a list stands only to the right of `in`".to_owned(), None),
            ExprKind::Path(names) => {
                let (path, r#type) = self.path(names, span)?;
                self.node(Node::Path(path), r#type, span)
            }
            ExprKind::Call { target, name, args } => self.call(target.as_deref(), name, args, span),
            ExprKind::Not(inner) => {
                let inner = self.expr(inner)?;
                self.wants_bool(inner).then_some(())?;
                self.node(Node::Not(inner), Type::Bool, span)
            }
            ExprKind::Negate(inner) => {
                let inner = self.expr(inner)?;
                let r#type = self.number(inner)?;
                self.node(Node::Negate(inner), r#type, span)
            }
            ExprKind::And(parts) => {
                let parts = self.bools(parts)?;
                self.node(Node::And(parts), Type::Bool, span)
            }
            ExprKind::Or(parts) => {
                let parts = self.bools(parts)?;
                self.node(Node::Or(parts), Type::Bool, span)
            }
            ExprKind::If(condition, yes, no) => self.choice(condition, yes, no, span),
            ExprKind::Binary(op, left, right) => match op {
                Op::In => self.contained(left, right, span),
                Op::Eq => self.comparison(Comparison::Eq, *op, left, right, span),
                Op::Ne => self.comparison(Comparison::Ne, *op, left, right, span),
                Op::Lt => self.comparison(Comparison::Lt, *op, left, right, span),
                Op::Le => self.comparison(Comparison::Le, *op, left, right, span),
                Op::Gt => self.comparison(Comparison::Gt, *op, left, right, span),
                Op::Ge => self.comparison(Comparison::Ge, *op, left, right, span),
                Op::Add => self.arithmetic(Arithmetic::Add, *op, left, right, span),
                Op::Sub => self.arithmetic(Arithmetic::Sub, *op, left, right, span),
                Op::Mul => self.arithmetic(Arithmetic::Mul, *op, left, right, span),
                Op::Div => self.arithmetic(Arithmetic::Div, *op, left, right, span),
            },
        }
    }

    /// All parts are typed, so that the faults of each are told.
    fn bools(&mut self, parts: &[Expr]) -> Option<Box<[Id]>> {
        let ids: Vec<Option<Id>> = parts
            .iter()
            .map(|part| {
                let id = self.expr(part)?;
                self.wants_bool(id).then_some(id)
            })
            .collect();
        ids.into_iter().collect()
    }

    /// The type of a number, its range forgotten: what is computed may lie elsewhere.
    fn number(&mut self, id: Id) -> Option<Type> {
        if let Type::Number { unit, .. } = self.types[id] {
            return Some(Type::Number { unit, min: f64::NEG_INFINITY, max: f64::INFINITY, whole: false });
        }
        if self.types[id] == Type::Any {
            return Some(NUMBER);
        }
        let message = format!("this is {}, a number is needed", self.types[id].name());
        self.mixed(self.spans[id].clone(), message, None);
        None
    }

    fn choice(&mut self, condition: &Expr, yes: &Expr, no: &Expr, span: &Range<usize>) -> Option<Id> {
        let condition = self.expr(condition);
        let (yes, no) = (self.expr(yes), self.expr(no));
        let (condition, yes, no) = (condition?, yes?, no?);
        self.wants_bool(condition).then_some(())?;
        let r#type = match (&self.types[yes], &self.types[no]) {
            (Type::Number { unit: a, .. }, Type::Number { unit: b, .. }) if a == b || a.is_none() || b.is_none() => {
                Type::Number { unit: a.or(*b), min: f64::NEG_INFINITY, max: f64::INFINITY, whole: false }
            }
            (a, b) if a.is_textual() && b.is_textual() => Type::Text,
            (Type::Bool | Type::Any, Type::Bool | Type::Any) => Type::Bool,
            (a, b) => {
                let message = format!("the two branches differ: {} and {}", a.name(), b.name());
                return self.mixed(span.clone(), message, None);
            }
        };
        self.node(Node::If(condition, yes, no), r#type, span)
    }

    fn arithmetic(
        &mut self,
        operation: Arithmetic,
        op: Op,
        left: &Expr,
        right: &Expr,
        span: &Range<usize>,
    ) -> Option<Id> {
        let (left, right) = (self.expr(left), self.expr(right));
        let (left, right) = (left?, right?);
        let (a, b) = (self.number(left), self.number(right));
        let (Type::Number { unit: a, .. }, Type::Number { unit: b, .. }) = (a?, b?) else { return None };
        let unit = match (operation, a, b) {
            (Arithmetic::Add | Arithmetic::Sub, Some(a), Some(b)) if a != b => {
                return self.fault(
                    "condition.unit",
                    span.clone(),
                    format!("`{}` mixes {a} and {b}", op.as_str()),
                    None,
                );
            }
            (Arithmetic::Mul | Arithmetic::Div, Some(_), Some(_)) => None,
            (Arithmetic::Add | Arithmetic::Sub | Arithmetic::Mul, a, b) => a.or(b),
            (Arithmetic::Div, a, b) => a.filter(|_| b.is_none()),
        };
        let r#type = Type::Number { unit, min: f64::NEG_INFINITY, max: f64::INFINITY, whole: false };
        self.node(Node::Arithmetic(operation, left, right), r#type, span)
    }

    fn comparison(
        &mut self,
        comparison: Comparison,
        op: Op,
        left: &Expr,
        right: &Expr,
        span: &Range<usize>,
    ) -> Option<Id> {
        let (left, right) = (self.expr(left), self.expr(right));
        let (left, right) = (left?, right?);
        self.fit_literal(left, right)?;
        self.fit_literal(right, left)?;
        let ordered = !matches!(comparison, Comparison::Eq | Comparison::Ne);
        match (&self.types[left], &self.types[right]) {
            (Type::Number { unit: Some(a), .. }, Type::Number { unit: Some(b), .. }) if a != b => {
                let message = format!("`{}` compares {a} with {b}", op.as_str());
                return self.fault("condition.unit", span.clone(), message, None);
            }
            (Type::Number { .. } | Type::Any, Type::Number { .. } | Type::Any) => {}
            (a, b) if ordered => {
                let other = if matches!(a, Type::Number { .. } | Type::Any) { b } else { a };
                let message = format!("`{}` orders numbers, this is {}", op.as_str(), other.name());
                return self.mixed(span.clone(), message, None);
            }
            (Type::Bool | Type::Any, Type::Bool | Type::Any) => {}
            (a, b) if a.is_textual() && b.is_textual() => {}
            (a, b) => {
                let message = format!("`{}` compares {} with {}", op.as_str(), a.name(), b.name());
                let lists = matches!(a, Type::Texts | Type::Numbers) || matches!(b, Type::Texts | Type::Numbers);
                return self.mixed(span.clone(), message, lists.then_some("`in` looks into a list"));
            }
        }
        self.node(Node::Compare(comparison, left, right), Type::Bool, span)
    }

    /// Makes a text literal fit the other side: an amount with unit becomes a number, a word must
    /// be among the words. None when it cannot fit; then a fault was told.
    fn fit_literal(&mut self, literal: Id, other: Id) -> Option<()> {
        let Node::Text(text) = &self.nodes[literal] else { return Some(()) };
        let (text, span, other) = (text.clone(), self.spans[literal].clone(), self.types[other].clone());
        let number = self.literal_as(&text, &span, &other)?;
        if let Some(x) = number {
            self.nodes[literal] = Node::Number(x);
            self.types[literal] = NUMBER;
        }
        Some(())
    }
    /// A text literal beside a type: the number it stands for, where it stands for one.
    fn literal_as(&mut self, text: &str, span: &Range<usize>, other: &Type) -> Option<Option<f64>> {
        match other {
            Type::Number { unit, .. } => match parse_quantity(text) {
                Ok((x, given)) if given == *unit || given.is_none() => Some(Some(x)),
                Ok((_, given)) => {
                    let (given, unit) = (unit_name(given), unit_name(*unit));
                    let message = format!("the unit here is {unit}, not {given}");
                    let help = format!("write the amount in {unit}");
                    self.fault("condition.unit", span.clone(), message, Some(help));
                    None
                }
                Err(_) => {
                    let message = format!("{} is compared with the text \"{text}\"", other.name());
                    self.mixed(span.clone(), message, Some("write a number, or an amount such as \"17 °C\""));
                    None
                }
            },
            Type::Words(words) if !words.iter().any(|word| word == text) => {
                let message = match words.is_empty() {
                    true => format!("\"{text}\" is none of its words: no device model is declared yet that has any"),
                    false => format!("\"{text}\" is not among {}", quoted(words)),
                };
                let help =
                    nearest(text, words.iter().map(String::as_str)).map(|near| format!("did you mean \"{near}\"?"));
                self.fault("condition.value", span.clone(), message, help);
                None
            }
            _ => Some(None),
        }
    }

    fn contained(&mut self, item: &Expr, list: &Expr, span: &Range<usize>) -> Option<Id> {
        let item_id = self.expr(item);
        let ExprKind::List(items) = &list.kind else {
            let list_id = self.expr(list);
            let (item, list) = (item_id?, list_id?);
            if self.types[list] != Type::Texts {
                let message = format!("`in` needs a list, this is {}", self.types[list].name());
                return self.mixed(
                    self.spans[list].clone(),
                    message,
                    Some("write [\"a\", \"b\"], or `==` for one value"),
                );
            }
            if !self.types[item].is_textual() {
                let message = format!("this list holds texts, this is {}", self.types[item].name());
                return self.mixed(self.spans[item].clone(), message, None);
            }
            return self.node(Node::In(item, list), Type::Bool, span);
        };
        let item_id = item_id?;
        let of = self.types[item_id].clone();
        if items.is_empty() {
            let message = "nothing is in an empty list".to_owned();
            return self.fault("condition.constant", list.span.clone(), message, None);
        }
        let list_id = self.list(items, &of, &list.span)?;
        self.node(Node::In(item_id, list_id), Type::Bool, span)
    }
    /// A list of literals that fit `of`.
    fn list(&mut self, items: &[Expr], of: &Type, span: &Range<usize>) -> Option<Id> {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        let mut fits = true;
        for item in items {
            match (&item.kind, of) {
                (ExprKind::Number(x), Type::Number { .. } | Type::Any) => numbers.push(*x),
                (ExprKind::Text(text), Type::Any) => texts.push(text.as_str().into()),
                (ExprKind::Text(text), _) => match self.literal_as(text, &item.span, of) {
                    Some(Some(x)) => numbers.push(x),
                    Some(None) if of.is_textual() => texts.push(text.as_str().into()),
                    Some(None) => {
                        self.mixed(item.span.clone(), format!("a text cannot equal {}", of.name()), None);
                        fits = false;
                    }
                    None => fits = false,
                },
                _ => {
                    self.mixed(item.span.clone(), format!("this cannot equal {}", of.name()), None);
                    fits = false;
                }
            }
        }
        if !fits {
            return None;
        }
        if !numbers.is_empty() && !texts.is_empty() {
            return self.mixed(span.clone(), "this list mixes numbers and texts".to_owned(), None);
        }
        if texts.is_empty() {
            return self.node(Node::Numbers(numbers.into()), Type::Numbers, span);
        }
        self.node(Node::Texts(texts.into()), Type::Texts, span)
    }

    fn call(&mut self, target: Option<&Expr>, name: &str, args: &[Expr], span: &Range<usize>) -> Option<Id> {
        match (target, name) {
            (None, "has") => self.has(args, span),
            (None, "size") => match args {
                [of] => self.size(of, span),
                _ => self.arguments(name, "a text or a list: size(x)", span),
            },
            (Some(target), "size") if args.is_empty() => self.size(target, span),
            (Some(target), "startsWith" | "endsWith" | "contains") => {
                let [part] = args else { return self.arguments(name, "one text: x.startsWith(\"a\")", span) };
                let (target, part) = (self.expr(target), self.expr(part));
                let (target, part) = (target?, part?);
                for id in [target, part] {
                    if !self.types[id].is_textual() {
                        let help = (self.types[id] == Type::Texts).then_some("`in` looks into a list");
                        let message = format!("`{name}` works on texts, this is {}", self.types[id].name());
                        return self.mixed(self.spans[id].clone(), message, help);
                    }
                }
                let node = match name {
                    "startsWith" => Node::StartsWith(target, part),
                    "endsWith" => Node::EndsWith(target, part),
                    _ => Node::Contains(target, part),
                };
                self.node(node, Type::Bool, span)
            }
            (Some(Expr { kind: ExprKind::Path(path), .. }), "days_since_order")
                if path.len() == 1 && path[0].0 == "household" =>
            {
                self.days_since_order(args, span)
            }
            _ => {
                const FUNCTIONS: [&str; 6] = ["has", "size", "startsWith", "endsWith", "contains", "days_since_order"];
                let help = suggestion(name, FUNCTIONS);
                self.fault("condition.unknown_function", span.clone(), format!("there is no function `{name}`"), help)
            }
        }
    }
    fn arguments(&mut self, name: &str, wanted: &str, span: &Range<usize>) -> Option<Id> {
        self.mixed(span.clone(), format!("`{name}` takes {wanted}"), None)
    }
    fn has(&mut self, args: &[Expr], span: &Range<usize>) -> Option<Id> {
        let [Expr { kind: ExprKind::Path(_), .. }] = args else {
            return self.arguments("has", "one path: has(telemetry.temperature)", span);
        };
        let path = self.expr(&args[0])?;
        self.node(Node::Has(path), Type::Bool, span)
    }
    fn size(&mut self, of: &Expr, span: &Range<usize>) -> Option<Id> {
        let of = self.expr(of)?;
        match &self.types[of] {
            Type::Text | Type::Words(_) | Type::Texts | Type::Any => {}
            other => {
                let message = format!("`size` takes a text or a list, this is {}", other.name());
                return self.mixed(self.spans[of].clone(), message, None);
            }
        }
        self.node(Node::Size(of), whole(0.0, f64::INFINITY), span)
    }
    fn days_since_order(&mut self, args: &[Expr], span: &Range<usize>) -> Option<Id> {
        let [Expr { kind: ExprKind::Text(product), span: product_span }, Expr { kind: ExprKind::Number(if_never), .. }] =
            args
        else {
            return self.arguments(
                "days_since_order",
                "a product and the days to take when it was never ordered: \
                 household.days_since_order(\"flt-20x25\", 9999)",
                span,
            );
        };
        if !self.schema.products.contains(product.as_str()) {
            let help = self.schema.products.suggestion(product);
            let message = format!("there is no product `{product}`");
            return self.fault("condition.unknown_product", product_span.clone(), message, help);
        }
        let node = Node::DaysSinceOrder { product: product.as_str().into(), if_never: *if_never };
        self.node(node, Type::Number { unit: None, min: f64::NEG_INFINITY, max: f64::INFINITY, whole: true }, span)
    }

    fn path(&mut self, names: &[(String, Range<usize>)], span: &Range<usize>) -> Option<(Path, Type)> {
        let parts: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        // The part to blame: the first that is not known.
        let place = |i: usize| names.get(i).map_or(span.clone(), |(_, span)| span.clone());
        const ROOTS: [&str; 8] = ["telemetry", "slot", "event", "context", "local", "profile", "household", "device"];
        let unknown = |typing: &mut Self, i: usize, of: &[&str]| {
            let Some(name) = names.get(i).map(|(name, _)| name.as_str()) else {
                let message = format!("`{}` alone is no value", parts.join("."));
                typing.fault("condition.unknown_field", span.clone(), message, suggestion("", of.iter().copied()));
                return None;
            };
            let shown = parts[..=i].join(".");
            let help = suggestion(name, of.iter().copied());
            typing.fault("condition.unknown_field", place(i), format!("there is no `{shown}`"), help);
            None
        };
        match *parts.as_slice() {
            ["telemetry", field] => self.telemetry(field, place(1)),
            ["telemetry"] => {
                let fields = fields(self.schema);
                unknown(self, 1, &fields)
            }
            ["slot", field] => self.slot(field, place(1)),
            ["slot"] => unknown(self, 1, &SlotField::ALL.map(SlotField::as_str)),
            ["event", "type"] => self.event(Path::EventType, Type::Text, span),
            ["event", "data", name] => {
                let name = FieldName::new(name).ok()?;
                self.event(Path::EventData(name), Type::Any, span)
            }
            ["event", "data"] => unknown(self, 2, &[]),
            ["event", ..] => unknown(self, 1, &["type", "data"]),
            ["context", name] => Some((Path::Context(name.to_owned()), Type::Any)),
            ["context"] => unknown(self, 1, &["presence", "activity", "weather", "tariff", "season"]),
            ["local", part] => match LocalPart::ALL.into_iter().find(|known| known.as_str() == part) {
                Some(LocalPart::Minute) => Some((Path::Local(LocalPart::Minute), whole(0.0, 59.0))),
                Some(LocalPart::Hour) => Some((Path::Local(LocalPart::Hour), whole(0.0, 23.0))),
                Some(LocalPart::Part) => Some((Path::Local(LocalPart::Part), words(DAY_PARTS))),
                Some(LocalPart::Weekday) => Some((Path::Local(LocalPart::Weekday), words(WEEKDAYS))),
                Some(LocalPart::Day) => Some((Path::Local(LocalPart::Day), whole(1.0, 31.0))),
                Some(LocalPart::Month) => Some((Path::Local(LocalPart::Month), whole(1.0, 12.0))),
                None => unknown(self, 1, &LocalPart::ALL.map(LocalPart::as_str)),
            },
            ["local"] => unknown(self, 1, &LocalPart::ALL.map(LocalPart::as_str)),
            ["profile", "segments"] => Some((Path::Segments, Type::Texts)),
            ["profile", "locale"] => Some((Path::ProfileLocale, Type::Text)),
            ["profile", "role"] => Some((Path::ProfileRole, words(["owner", "buyer", "viewer", "child"]))),
            ["profile", "loyalty_tier"] => Some((Path::LoyaltyTier, Type::Text)),
            ["profile", "loyalty_points"] => Some((Path::LoyaltyPoints, whole(f64::NEG_INFINITY, f64::INFINITY))),
            ["profile"] | ["profile", _] => {
                unknown(self, 1, &["segments", "locale", "role", "loyalty_tier", "loyalty_points"])
            }
            ["household", "size"] => Some((Path::HouseholdSize, whole(0.0, f64::INFINITY))),
            ["household", "devices"] => Some((Path::HouseholdDevices, whole(1.0, f64::INFINITY))),
            ["household", "zone"] => Some((Path::HouseholdZone, Type::Text)),
            ["household"] | ["household", _] => unknown(self, 1, &["size", "devices", "zone"]),
            ["device", "model"] => {
                let models: Vec<&str> = self.schema.models.iter().map(|model| model.model.as_str()).collect();
                Some((Path::DeviceModel, words(models)))
            }
            ["device", "kind"] => {
                let kinds: BTreeSet<&str> = self.schema.models.iter().map(|model| model.kind.as_str()).collect();
                Some((Path::DeviceKind, words(kinds)))
            }
            ["device", "presence"] => {
                Some((Path::DevicePresence, words(["unseen", "online", "sleeping", "lost", "offline"])))
            }
            ["device", "usual_hour"] => Some((Path::UsualHour, whole(0.0, 23.0))),
            ["device", "uses_per_day"] => {
                Some((Path::UsesPerDay, Type::Number { unit: None, min: 0.0, max: 24.0, whole: false }))
            }
            ["device", field] if fields(self.schema).contains(&field) => {
                let message = format!("there is no `device.{field}`");
                let help = Some(format!("did you mean `telemetry.{field}`?"));
                self.fault("condition.unknown_field", span.clone(), message, help);
                None
            }
            ["device"] | ["device", _] => {
                unknown(self, 1, &["model", "kind", "presence", "usual_hour", "uses_per_day"])
            }
            [root, ..] if ROOTS.contains(&root) => {
                let last = parts.len() - 1;
                unknown(self, last, &[])
            }
            _ => unknown(self, 0, &ROOTS),
        }
    }

    fn telemetry(&mut self, field: &str, place: Range<usize>) -> Option<(Path, Type)> {
        let declared: Vec<(&str, &FieldType)> = self
            .schema
            .models
            .iter()
            .filter_map(|model| Some((model.model.as_str(), &model.telemetry.get(field)?.r#type)))
            .collect();
        let Some(((first_model, first), others)) = declared.split_first() else {
            let help = suggestion(field, fields(self.schema));
            let message = format!("there is no `telemetry.{field}`");
            self.fault("condition.unknown_field", place, message, help);
            return None;
        };
        let mut r#type = type_of(first);
        for (model, other) in others {
            match joined(r#type, type_of(other)) {
                Some(both) => r#type = both,
                None => {
                    let message = format!("models {first_model} and {model} declare `{field}` differently");
                    let help = Some("narrow `on.device.model` to models that agree".to_owned());
                    self.fault("condition.type", place, message, help);
                    return None;
                }
            }
        }
        let field = FieldName::new(field).ok()?;
        Some((Path::Telemetry(field), r#type))
    }
    fn slot(&mut self, field: &str, place: Range<usize>) -> Option<(Path, Type)> {
        let Some(slot) = self.schema.slot else {
            let help = Some("it is the slot of `on`: only a trigger with `event = \"slot\"` has one".to_owned());
            self.fault("condition.not_here", place, "no slot wakes this trigger".to_owned(), help);
            return None;
        };
        let Some(known) = SlotField::ALL.into_iter().find(|known| known.as_str() == field) else {
            let help = suggestion(field, SlotField::ALL.map(SlotField::as_str));
            self.fault("condition.unknown_field", place, format!("there is no `slot.{field}`"), help);
            return None;
        };
        let schemas: BTreeMap<&str, _> = self
            .schema
            .models
            .iter()
            .filter_map(|model| Some((model.model.as_str(), model.slots.get(slot)?)))
            .collect();
        if !schemas.is_empty() && !schemas.values().any(|schema| has_field(schema.kind, known)) {
            let kinds: BTreeSet<&str> = schemas.values().map(|schema| schema.kind.as_str()).collect();
            let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("a slot of kind {kinds} never reports `{field}`");
            self.fault("condition.not_here", place, message, None);
            return None;
        }
        if known == SlotField::Flag {
            return Some((Path::Slot(known), words(["ok", "low", "empty"])));
        }
        let unit = schemas.values().find_map(|schema| schema.unit).filter(|_| known != SlotField::OnHand);
        let r#type = Type::Number { unit, min: 0.0, max: f64::INFINITY, whole: known == SlotField::OnHand };
        Some((Path::Slot(known), r#type))
    }
    fn event(&mut self, path: Path, r#type: Type, span: &Range<usize>) -> Option<(Path, Type)> {
        if self.schema.event {
            return Some((path, r#type));
        }
        let help = Some("only a trigger with `event = \"event\"` or `\"channel\"` has one".to_owned());
        self.fault("condition.not_here", span.clone(), "no event wakes this trigger".to_owned(), help);
        None
    }
}

/// Fields that any of the models declares.
fn fields<'a>(schema: &'a Schema<'a>) -> Vec<&'a str> {
    let fields: BTreeSet<&str> =
        schema.models.iter().flat_map(|model| model.telemetry.keys()).map(FieldName::as_str).collect();
    fields.into_iter().collect()
}

fn unit_name(unit: Option<Unit>) -> String {
    unit.map_or("a plain number".to_owned(), |unit| unit.to_string())
}

/// Whether a kind of slot has a field.
fn has_field(kind: SlotKind, field: SlotField) -> bool {
    match field {
        SlotField::Used => kind == SlotKind::Usage,
        SlotField::Remaining => matches!(kind, SlotKind::Usage | SlotKind::Level | SlotKind::Countdown),
        SlotField::Capacity => matches!(kind, SlotKind::Usage | SlotKind::Level | SlotKind::Countdown),
        SlotField::OnHand => true,
        SlotField::Flag => kind == SlotKind::Flag,
    }
}

fn type_of(declared: &FieldType) -> Type {
    match declared {
        FieldType::Number { unit, min, max } => Type::Number {
            unit: *unit,
            min: min.unwrap_or(f64::NEG_INFINITY),
            max: max.unwrap_or(f64::INFINITY),
            whole: false,
        },
        FieldType::Enum { values } => Type::Words(values.clone()),
        FieldType::Bool => Type::Bool,
        FieldType::Text => Type::Text,
    }
}

/// A type that covers two models' declarations, where there is one.
fn joined(a: Type, b: Type) -> Option<Type> {
    match (a, b) {
        (Type::Number { unit: a, min, max, whole }, Type::Number { unit: b, min: low, max: high, .. }) if a == b => {
            Some(Type::Number { unit: a, min: min.min(low), max: max.max(high), whole })
        }
        (Type::Words(mut a), Type::Words(b)) => {
            for word in b {
                if !a.contains(&word) {
                    a.push(word);
                }
            }
            Some(Type::Words(a))
        }
        (a, b) if a == b => Some(a),
        _ => None,
    }
}
