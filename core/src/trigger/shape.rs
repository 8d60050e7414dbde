//! Which keys a trigger has, and of what form: one table for TOML and JSON.
//!
//! The walk tells of every unknown key, wrong form and missing key, leaves the faulty values out,
//! and gives back what is sound, so that the check goes on with the rest.

use super::condition::WEEKDAYS;
use super::nearest::suggestion;
use super::problem::NOT_SERVED_YET;
use super::quantity::parse_rate;
use super::tree::{Branch, Findings, Tree, pointer_part};
use crate::budget::SHARED_CAP_MAX;
use crate::id::{AudienceId, FieldName, KindId, ModelId, NameError, PlacementId, PoolId, ProductId, SlotId, TriggerId};
use crate::limits::{ORDER_QTY_MAX, TIMES_COUNTED_MAX};
use crate::model::Purpose;
use crate::money::Money;
use crate::time::{DailyWindow, Span};

/// The form of a value.
pub(super) enum Shape {
    /// Any text up to so many bytes.
    Text(usize),
    /// A text that something can read.
    Read(fn(&str) -> Result<(), String>),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number in a range.
    Whole(u32, u32),
    /// A number in a range.
    Number(f64, f64),
    Bool,
    /// A number, or a text with unit.
    Amount,
    /// A number, a text or a truth value.
    Scalar,
    /// At most so many.
    List(&'static Shape, usize),
    /// One text, or a list.
    OneOrMany(&'static Shape, usize),
    Table(&'static [Key]),
    /// Names of one kind to values of one form, at most so many.
    Map(fn(&str) -> Result<(), String>, &'static Shape, usize),
    /// A text of the first form or a table of the second.
    TextOr(&'static Shape, &'static Shape),
    Any,
}

/// One key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// Why it is not served yet, where it is not.
    pub(super) later: Option<&'static str>,
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: false, later: None }
}
impl Key {
    const fn required(self) -> Key {
        Key { name: self.name, shape: self.shape, required: true, later: self.later }
    }
    const fn later(self, why: &'static str) -> Key {
        Key { name: self.name, shape: self.shape, required: self.required, later: Some(why) }
    }
}

fn name<T>(read: Result<T, NameError>) -> Result<(), String> {
    read.map(|_| ()).map_err(|error| error.to_string())
}
fn duration(text: &str) -> Result<(), String> {
    Span::parse(text).map(|_| ())
}
fn money(text: &str) -> Result<(), String> {
    Money::parse(text).map(|_| ())
}
fn time_of_day(text: &str) -> Result<(), String> {
    DailyWindow::parse(text, text).map(|_| ())
}
fn date(text: &str) -> Result<(), String> {
    let read = text.parse::<jiff::civil::Date>();
    read.map(|_| ()).map_err(|_| format!("`{}` is not a date; write it as `2026-09-01`", shown(text)))
}
fn trigger_id(text: &str) -> Result<(), String> {
    name(TriggerId::new(text))
}
fn kind_id(text: &str) -> Result<(), String> {
    name(KindId::new(text))
}
fn model_id(text: &str) -> Result<(), String> {
    name(ModelId::new(text))
}
fn slot_id(text: &str) -> Result<(), String> {
    name(SlotId::new(text))
}
fn product_id(text: &str) -> Result<(), String> {
    name(ProductId::new(text))
}
fn audience_id(text: &str) -> Result<(), String> {
    name(AudienceId::new(text))
}
fn code_pool(text: &str) -> Result<(), String> {
    name(PoolId::new(text))
}
fn field_name(text: &str) -> Result<(), String> {
    name(FieldName::new(text))
}
fn purpose(text: &str) -> Result<(), String> {
    if Purpose::parse(text).is_some() {
        return Ok(());
    }
    let help = suggestion(text, Purpose::ALL.map(Purpose::as_str)).unwrap_or_default();
    Err(format!("there is no purpose `{}`; {help}", shown(text)))
}
/// The channels that the design knows; only devices are served.
fn channel(text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some(("device", placement)) => name(PlacementId::new(placement)),
        Some(("webhook", rest)) if !rest.is_empty() => Ok(()),
        _ => Err(format!("`{}` is not a channel; write `device:<placement>`", shown(text))),
    }
}
/// What a cap counts: a trigger's offers, all, or those on a channel.
fn cap_per(text: &str) -> Result<(), String> {
    let known = ["offer", "all", "channel:device", "channel:webhook"];
    if known.contains(&text) {
        return Ok(());
    }
    let help = suggestion(text, known).unwrap_or_else(|| format!("write one of {}", known.join(", ")));
    Err(format!("a cap does not count per `{}`; {help}", shown(text)))
}
fn locale(text: &str) -> Result<(), String> {
    let mut parts = text.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    let sound = (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if sound { Ok(()) } else { Err(format!("`{}` is not a language; write one such as `fr` or `fr-CA`", shown(text))) }
}
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A label, a segment, a name of a case.
const LABEL: Shape = Shape::Text(128);
/// A template or a condition; each has its own, smaller bound.
const LONG: Shape = Shape::Text(16 * 1024);
const DURATION: Shape = Shape::Read(duration);

/// A trigger.
pub(super) const TRIGGER: Shape = Shape::Table(&[
    key("id", Shape::Read(trigger_id)).required(),
    key("kind", Shape::OneOf(&["offer", "replenish", "tip", "service"])).required(),
    key("campaign", LABEL),
    key("priority", Shape::Whole(0, 100)),
    key("valid", Shape::Table(&[key("from", Shape::Read(date)), key("until", Shape::Read(date))])),
    key("max_event_age", DURATION),
    key("on", ON).required(),
    key("when", Shape::Table(&[key("all", LONG).required()])),
    key("audience", AUDIENCE),
    key("offer", OFFER).required(),
    key("channel", CHANNEL),
    key("limits", LIMITS),
    key("replenish", REPLENISH),
    key("rollout", ROLLOUT),
    key("test", Shape::List(&CASE, 64)),
]);

const ON: Shape = Shape::Table(&[
    key(
        "event",
        Shape::OneOf(&[
            "telemetry",
            "slot",
            "event",
            "forecast",
            "context",
            "presence",
            "link",
            "order",
            "channel",
            "schedule",
            "refill",
        ]),
    )
    .required(),
    key(
        "device",
        Shape::Table(&[
            key("kind", Shape::OneOrMany(&Shape::Read(kind_id), 32)),
            key("model", Shape::OneOrMany(&Shape::Read(model_id), 64)),
        ]),
    ),
    key("field", Shape::Read(field_name)),
    key("slot", Shape::Read(slot_id)),
    key("type", Shape::Text(64)),
    key("falls_below", Shape::Amount),
    key("rises_above", Shape::Amount),
    key("becomes", Shape::Scalar),
    key("rearm", Shape::Amount),
    key("on_first", Shape::Bool),
    key("on_activate", Shape::Bool),
    key("broad", Shape::Bool),
    key("trend_over", DURATION),
    key("for", DURATION),
    key("absent_for", DURATION),
    key("count", Shape::Whole(2, TIMES_COUNTED_MAX)),
    key("within", DURATION),
    key("changes", Shape::Bool),
    key("at", Shape::Read(time_of_day)),
    key("days", Shape::List(&Shape::OneOf(&WEEKDAYS), 7)),
]);

const AUDIENCE: Shape = Shape::Table(&[
    key("include", Shape::List(&LABEL, 64)),
    key("exclude", Shape::List(&LABEL, 64)),
    key("roles", Shape::List(&Shape::OneOf(&["owner", "buyer", "viewer"]), 3)),
    key("consent", Shape::List(&Shape::Read(purpose), 5)),
    key("link", Shape::OneOf(&["required", "anonymous_ok"])),
    key("audience", Shape::OneOrMany(&Shape::Read(audience_id), 16)),
    key("except", Shape::OneOrMany(&Shape::Read(audience_id), 16)),
]);

const OFFER: Shape = Shape::Table(&[
    key(
        "product",
        Shape::TextOr(
            &Shape::Read(product_id),
            &Shape::Table(&[
                key("by", Shape::OneOf(&["slot_compatible"])).required(),
                key("prefer", Shape::List(&Shape::OneOf(&["own", "same_as_last"]), 2)),
                key("fallback", Shape::Read(product_id)),
            ]),
        ),
    ),
    key(
        "sellers",
        Shape::Table(&[
            key("policy", Shape::List(&Shape::OneOf(&["own_first", "total_price", "delay"]), 3)),
            key("max_alternatives", Shape::Whole(0, 3)),
        ]),
    ),
    key(
        "discount",
        Shape::Table(&[
            key("percent", Shape::Number(0.0, 100.0)),
            key("max", Shape::Read(money)),
            key("code_pool", Shape::Read(code_pool)),
        ]),
    ),
    key("price_lock", DURATION),
    key("expires", DURATION),
    key("cancel_window", DURATION),
    key("actions", Shape::List(&Shape::OneOf(&["order", "snooze", "decline", "why", "open_app", "inform"]), 6)),
    key("fulfil", Shape::List(&Shape::OneOf(&["deliver", "collect"]), 2)),
    key("confirm", LABEL),
    key("text", Shape::Map(locale, &TEXT, super::text::LOCALES_MAX)).required(),
]);

const TEXT: Shape = Shape::Table(&[
    key("title", LONG).required(),
    key("body", LONG).required(),
    key("short", LONG),
    key("say", LONG),
    key("why", LONG),
]);

const CHANNEL: Shape = Shape::Table(&[
    key("order", Shape::List(&Shape::Read(channel), 16)),
    key("fallback", Shape::Table(&[key("if_not", Shape::OneOf(&["delivered", "shown"])), key("after", DURATION)]))
        .later("only the device is a channel"),
]);

const LIMITS: Shape = Shape::Table(&[
    key(
        "caps",
        Shape::List(
            &Shape::Table(&[
                key("max", Shape::Whole(1, SHARED_CAP_MAX)).required(),
                key("per", Shape::Read(cap_per)),
                key("scope", Shape::OneOf(&["household", "profile", "device", "global"])),
                key("within", DURATION),
                key("each", Shape::OneOf(&["day"])),
            ]),
            16,
        ),
    ),
    key("after", Shape::Table(&[key("declined", DURATION), key("not_needed", DURATION), key("ordered", DURATION)])),
    key(
        "quiet",
        Shape::Table(&[
            key("from", Shape::Read(time_of_day)).required(),
            key("to", Shape::Read(time_of_day)).required(),
            key("when_quiet", Shape::OneOf(&["hold"])),
        ]),
    ),
    key("hour", Shape::OneOf(&["of_use"])),
    key(
        "budget",
        Shape::Table(&[
            key("amount", Shape::Read(money)),
            key("count", Shape::Whole(1, u32::MAX)),
            key("pace", Shape::OneOf(&["none", "even_by_day"])),
            key("honour_shown", Shape::Bool),
        ]),
    ),
]);

const REPLENISH: Shape = Shape::Table(&[
    key("mode", Shape::OneOf(&["ask", "auto"])),
    key("safety", DURATION),
    key(
        "quantity",
        Shape::Table(&[
            key("cover", DURATION),
            key("min", Shape::Whole(1, ORDER_QTY_MAX)),
            key("max", Shape::Whole(1, ORDER_QTY_MAX)),
        ]),
    ),
    key("notice", DURATION),
    key(
        "cost",
        Shape::Table(&[key("without", Shape::Number(0.1, 1_000.0)), key("early", Shape::Number(0.1, 1_000.0))]),
    ),
    key("keep", Shape::Whole(0, 20)),
    key("join", DURATION),
]);

const ROLLOUT: Shape = Shape::Table(&[
    key(
        "holdout",
        Shape::Table(&[
            key("percent", Shape::Number(0.0, 90.0)).required(),
            key("unit", Shape::OneOf(&["household"])),
            key("salt", LABEL),
        ]),
    ),
    key("ramp", Shape::List(&Shape::Number(0.0, 100.0), 16)).later("a published trigger is live for everybody"),
    key(
        "guard",
        Shape::Table(&[
            key("opt_out_rate", Shape::Number(0.0, 1.0)),
            key("min_sends", Shape::Whole(0, u32::MAX)),
            key("action", Shape::OneOf(&["pause"])),
        ]),
    )
    .later("nothing would stop it"),
]);

const SLOT_GIVEN: Shape = Shape::Table(&[
    key("used", Shape::Number(0.0, 1e12)),
    key("remaining", Shape::Number(0.0, 1e12)),
    key("flag", Shape::OneOf(&["ok", "low", "empty"])),
    key("capacity", Shape::Number(0.0, 1e12)),
    key("on_hand", Shape::Whole(0, 1_000)),
    key("per_day", Shape::Number(0.0, 1e12)),
]);

/// What a case finds before its input.
pub(super) const GIVEN: Shape = Shape::Table(&[
    key("household", LABEL),
    key("now", LABEL),
    key("zone", LABEL),
    key("locale", Shape::Read(locale)),
    key("model", Shape::Read(model_id)),
    key("role", Shape::OneOf(&["owner", "buyer", "viewer", "child", "none"])),
    key("consents", Shape::List(&Shape::Read(purpose), 5)),
    key("segments", Shape::List(&LABEL, 64)),
    key("lists", Shape::List(&Shape::Read(audience_id), 16)),
    key("context", Shape::Map(field_name, &Shape::Scalar, 64)),
    key("telemetry", Shape::Map(field_name, &Shape::Scalar, 64)),
    key("slots", Shape::Map(slot_id, &SLOT_GIVEN, 16)),
    key("contacts", Shape::List(&DURATION, 64)),
]);

const CASE: Shape = Shape::Table(&[
    key("name", LABEL).required(),
    key("given", GIVEN),
    key("input", Shape::Any).required(),
    key("after", DURATION),
    key(
        "expect",
        Shape::Table(&[
            key("send", Shape::Bool),
            key("first_block", LABEL),
            key("locale", Shape::Read(locale)),
            key("product", Shape::Read(product_id)),
            key("title", Shape::Text(512)),
        ]),
    )
    .required(),
]);

impl Shape {
    /// What it wants, in words.
    fn wanted(&self) -> String {
        match self {
            Shape::Text(_) | Shape::Read(_) => "a text".to_owned(),
            Shape::OneOf(words) => format!("one of {}", words.join(", ")),
            Shape::Whole(min, max) => format!("a whole number from {min} to {max}"),
            Shape::Number(min, max) => format!("a number from {min} to {max}"),
            Shape::Bool => "true or false".to_owned(),
            Shape::Amount => "a number, or an amount such as \"17 °C\"".to_owned(),
            Shape::Scalar => "a number, a text, true or false".to_owned(),
            Shape::List(..) => "a list".to_owned(),
            Shape::OneOrMany(..) => "a text or a list of texts".to_owned(),
            Shape::Table(_) | Shape::Map(..) => "a table".to_owned(),
            Shape::TextOr(..) => "a text or a table".to_owned(),
            Shape::Any => "a value".to_owned(),
        }
    }

    /// Tells what does not fit, and gives back what does.
    pub(super) fn sound(&self, tree: &Tree, pointer: &str, findings: &mut Findings<'_>) -> Option<serde_json::Value> {
        match (self, &tree.value) {
            (Shape::Text(max), Branch::Text(text)) if text.len() <= *max => Some(tree.to_json()),
            (Shape::Text(max), Branch::Text(text)) => {
                let message = format!("this has {} bytes, at most {max} are taken", text.len());
                findings.error("trigger.too_large", pointer, message, None);
                None
            }
            (Shape::Read(read), Branch::Text(text) | Branch::Date(text)) => match read(text) {
                Ok(()) => Some(tree.to_json()),
                Err(message) => {
                    findings.error("trigger.value", pointer, message, None);
                    None
                }
            },
            (Shape::OneOf(words), Branch::Text(text)) => {
                if words.contains(&text.as_str()) {
                    return Some(tree.to_json());
                }
                let help = suggestion(text, words.iter().copied());
                findings.error("trigger.value", pointer, format!("`{}` is not known here", shown(text)), help);
                None
            }
            (Shape::Whole(min, max), Branch::Number(x)) => match x.as_u64() {
                Some(n) if (u64::from(*min)..=u64::from(*max)).contains(&n) => Some(tree.to_json()),
                _ => self.outside(x, pointer, findings),
            },
            (Shape::Number(min, max), Branch::Number(x)) => match x.as_f64() {
                Some(n) if (*min..=*max).contains(&n) => Some(tree.to_json()),
                _ => self.outside(x, pointer, findings),
            },
            (Shape::Bool, Branch::Bool(_)) => Some(tree.to_json()),
            (Shape::Amount, Branch::Number(x)) => {
                if x.as_f64().is_some_and(f64::is_finite) {
                    Some(tree.to_json())
                } else {
                    self.outside(x, pointer, findings)
                }
            }
            (Shape::Amount, Branch::Text(text)) => match parse_rate(text) {
                Ok(_) => Some(tree.to_json()),
                Err(message) => {
                    findings.error("trigger.value", pointer, message, None);
                    None
                }
            },
            (Shape::Scalar, Branch::Bool(_) | Branch::Number(_) | Branch::Text(_)) => Some(tree.to_json()),
            (Shape::List(item, max) | Shape::OneOrMany(item, max), Branch::List(items)) => {
                if items.len() > *max {
                    let message = format!("this list has {} items, at most {max} are taken", items.len());
                    findings.error("trigger.too_large", pointer, message, None);
                }
                let textual = matches!(item, Shape::Text(_) | Shape::Read(_) | Shape::OneOf(_));
                let sound = |(i, tree): (usize, &Tree)| {
                    let sound = item.sound(tree, &format!("{pointer}/{i}"), findings);
                    // A faulty text keeps its place, so that those after it keep theirs.
                    sound.or_else(|| (textual && matches!(tree.value, Branch::Text(_))).then(|| tree.to_json()))
                };
                Some(items.iter().take(*max).enumerate().filter_map(sound).collect())
            }
            (Shape::OneOrMany(item, _), Branch::Text(_)) => item.sound(tree, pointer, findings),
            (Shape::Table(keys), Branch::Table(members)) => Some(table(keys, members, pointer, findings)),
            (Shape::Map(read, of, max), Branch::Table(members)) => {
                if members.len() > *max {
                    let message = format!("this table has {} entries, at most {max} are taken", members.len());
                    findings.error("trigger.too_large", pointer, message, None);
                }
                let mut sound = serde_json::Map::new();
                for (name, _, member) in members.iter().take(*max) {
                    let pointer = format!("{pointer}/{}", pointer_part(name));
                    if let Err(message) = read(name) {
                        findings.key_error("trigger.value", &pointer, message, None);
                    } else if let Some(value) = of.sound(member, &pointer, findings) {
                        sound.insert(name.clone(), value);
                    }
                }
                Some(sound.into())
            }
            (Shape::TextOr(text, _), Branch::Text(_)) => text.sound(tree, pointer, findings),
            (Shape::TextOr(_, table), Branch::Table(_)) => table.sound(tree, pointer, findings),
            (Shape::Any, _) => Some(tree.to_json()),
            (_, found) => {
                let message = format!("this is {}, {} is needed", found.name(), self.wanted());
                findings.error("trigger.type", pointer, message, self.as_member(found, pointer));
                None
            }
        }
    }

    /// How a number is written where a table with one number is needed: `holdout = { percent = 10 }`.
    fn as_member(&self, found: &Branch, pointer: &str) -> Option<String> {
        let (Shape::Table(keys), Branch::Number(x)) = (self, found) else { return None };
        let mut required = keys.iter().filter(|key| key.required);
        let (Some(key), None) = (required.next(), required.next()) else { return None };
        let name = pointer.rsplit('/').next().unwrap_or_default();
        matches!(key.shape, Shape::Number(..) | Shape::Whole(..))
            .then(|| format!("write `{name} = {{ {} = {x} }}`", key.name))
    }

    fn outside(&self, x: &serde_json::Number, pointer: &str, findings: &mut Findings<'_>) -> Option<serde_json::Value> {
        findings.error("trigger.value", pointer, format!("`{x}` does not fit: {} is needed", self.wanted()), None);
        None
    }
}

fn table(
    keys: &[Key],
    members: &[(String, std::ops::Range<usize>, Tree)],
    pointer: &str,
    findings: &mut Findings<'_>,
) -> serde_json::Value {
    let mut sound = serde_json::Map::new();
    for (name, _, member) in members {
        let pointer = format!("{pointer}/{}", pointer_part(name));
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let help = suggestion(name, keys.iter().map(|key| key.name));
            findings.key_error(
                "trigger.unknown_key",
                &pointer,
                format!("there is no key `{}` here", shown(name)),
                help,
            );
            continue;
        };
        if let Some(why) = key.later {
            let message = format!("`{name}` is not served yet");
            findings.key_error(NOT_SERVED_YET, &pointer, message, Some(format!("leave it out: {why}")));
        }
        if let Some(value) = key.shape.sound(member, &pointer, findings) {
            sound.insert(name.clone(), value);
        }
    }
    for key in keys.iter().filter(|key| key.required) {
        if !members.iter().any(|(name, _, _)| name == key.name) {
            let message = format!("`{}` is missing", key.name);
            let missing = format!("{pointer}/{}", key.name);
            findings.key_error(
                "trigger.missing_key",
                &missing,
                message,
                Some(format!("it takes {}", key.shape.wanted())),
            );
        }
    }
    sound.into()
}
