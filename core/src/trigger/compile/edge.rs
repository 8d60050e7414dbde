//! The edge of a watched value: threshold, way back, and how long or how often.

use super::super::definition::{Amount, OnDefinition, Scalar};
use super::super::nearest::suggestion;
use super::super::quantity::{Per, parse_quantity, parse_rate};
use super::super::tree::Findings;
use super::super::{Count, Crossing, EdgeRule};
use super::on::{misplaced, missing};
use crate::model::{Unit, Value};
use crate::time::Span;

/// Share of a field's range by which a value must come back before an edge is ready again.
const REARM_SHARE: f64 = 0.02;

/// The same of a trend, whose range nobody declares: of its threshold.
const RATE_REARM_SHARE: f64 = 0.5;

/// The values of what is watched.
pub(super) enum Watched {
    Number {
        unit: Option<Unit>,
        min: Option<f64>,
        max: Option<f64>,
        /// Its range, where it is not from `min` to `max`.
        range: Option<f64>,
    },
    /// How fast a number in this unit rises or falls.
    Rate {
        unit: Option<Unit>,
    },
    Words(Vec<String>),
    Bool,
    Text,
    /// Whatever comes: a number, a text or a truth value.
    Any,
}

/// The edge that `on` describes.
pub(super) fn edge(on: &OnDefinition, watched: &Watched, findings: &mut Findings<'_>) -> Option<EdgeRule> {
    let changes = on.changes == Some(true);
    let crossings = [on.falls_below.is_some(), on.rises_above.is_some(), on.becomes.is_some(), changes];
    if crossings.iter().filter(|present| **present).count() != 1 {
        let help = Some("write one of `falls_below`, `rises_above`, `becomes` and `changes = true`".to_owned());
        let message = "this needs exactly one crossing";
        findings.error("trigger.crossing", "/on", message, help);
        return None;
    }
    let (stays, count) = (stays(on, findings), count(on, findings));
    let crossing = match (&on.falls_below, &on.rises_above, &on.becomes) {
        (Some(threshold), _, _) => level("falls_below", threshold, on.rearm.as_ref(), watched, findings)?,
        (_, Some(threshold), _) => level("rises_above", threshold, on.rearm.as_ref(), watched, findings)?,
        (_, _, Some(value)) => {
            misplaced(on.rearm.is_some(), "rearm", "`becomes` is ready again at any other value", findings);
            Crossing::Becomes(becomes(value, watched, findings)?)
        }
        (None, None, None) => change(on, watched, findings),
    };
    if crossing != Crossing::Changes {
        misplaced(
            on.broad.is_some(),
            "broad",
            "thresholds are indexed, nothing is looked at for each message",
            findings,
        );
    }
    if on.on_first == Some(true) && count.is_some_and(|count| count.is_some()) {
        misplaced(true, "on_first", "what is counted are crossings, a first report is none", findings);
    }
    if count.is_some_and(|count| count.is_some()) {
        misplaced(
            on.on_activate.is_some(),
            "on_activate",
            "what is counted are crossings, a value that stands is none",
            findings,
        );
    }
    Some(EdgeRule { crossing, on_first: on.on_first.unwrap_or(false), stays: stays?, count: count? })
}

/// Any change. Of a number that is nearly every message, which its author must have meant.
fn change(on: &OnDefinition, watched: &Watched, findings: &mut Findings<'_>) -> Crossing {
    const NONE: &str = "a change is over at once and needs a value before it";
    misplaced(on.rearm.is_some(), "rearm", NONE, findings);
    misplaced(on.on_first.is_some(), "on_first", NONE, findings);
    misplaced(on.on_activate.is_some(), "on_activate", NONE, findings);
    misplaced(on.r#for.is_some(), "for", NONE, findings);
    if matches!(watched, Watched::Number { .. }) && on.broad != Some(true) {
        let help = Some("write `broad = true` too, or a threshold instead".to_owned());
        findings.key_error("trigger.broad", "/on/changes", "a number changes with nearly every message", help);
    }
    Crossing::Changes
}

/// A length of time in which something lasts: some.
pub(super) fn lasting(text: &str, pointer: &str, findings: &mut Findings<'_>) -> Option<Span> {
    // A text that is no duration was told of by its form.
    let span = Span::parse(text).ok()?;
    if span == Span::ZERO {
        findings.error("trigger.value", pointer, "no time is no length of time", None);
        return None;
    }
    Some(span)
}

/// `Some(None)` is an edge that fires at once, `None` one whose time is faulty.
fn stays(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Option<Span>> {
    match &on.r#for {
        None => Some(None),
        Some(text) => lasting(text, "/on/for", findings).map(Some),
    }
}

/// How many within which time; `Some(None)` where nothing is counted.
pub(super) fn count(on: &OnDefinition, findings: &mut Findings<'_>) -> Option<Option<Count>> {
    match (on.count, &on.within) {
        (None, None) => Some(None),
        (Some(times), Some(within)) => {
            let within = lasting(within, "/on/within", findings)?;
            if on.r#for.is_some() {
                misplaced(true, "for", "what is counted are crossings, not how long each lasts", findings);
                return None;
            }
            Some(Some(Count { times, within }))
        }
        // What was written wrongly was told, and is not missing.
        (Some(_), None) if findings.blamed("/on/within") => None,
        (None, Some(_)) if findings.blamed("/on/count") => None,
        (Some(_), None) => {
            missing("within", "in how much time are they counted, such as `24h`", findings);
            None
        }
        (None, Some(_)) => {
            missing("count", "how many within this time", findings);
            None
        }
    }
}

fn level(
    key: &str,
    threshold: &Amount,
    rearm: Option<&Amount>,
    watched: &Watched,
    findings: &mut Findings<'_>,
) -> Option<Crossing> {
    let pointer = format!("/on/{key}");
    if let Watched::Rate { unit } = watched {
        return rate_level(key, threshold, rearm, *unit, findings);
    }
    let any = Watched::Number { unit: None, min: None, max: None, range: None };
    let watched = if matches!(watched, Watched::Any) { &any } else { watched };
    let Watched::Number { unit, min, max, range } = watched else {
        let help = Some("write `becomes`".to_owned());
        findings.key_error("trigger.type", &pointer, format!("`{key}` needs a number, the field is none"), help);
        return None;
    };
    // Both are read before either can end this, so that both are told.
    let given_rearm = rearm.map(|rearm| amount(rearm, *unit, "/on/rearm", findings));
    let threshold = amount(threshold, *unit, &pointer, findings)?;
    let falls = key == "falls_below";
    let below_min = min.is_some_and(|min| if falls { threshold <= min } else { threshold < min });
    let above_max = max.is_some_and(|max| if falls { threshold > max } else { threshold >= max });
    if below_min || above_max {
        let range = format!("{} to {}", bound(*min), bound(*max));
        let help = Some(format!("the field lies within {range}"));
        findings.error("trigger.value", &pointer, "no value ever crosses this", help);
        return None;
    }
    let span = range.or_else(|| Some(max.as_ref()? - min.as_ref()?)).unwrap_or(threshold.abs());
    // Near the end of the range there is less room for the way back: half of it.
    let room = match falls {
        true => max.map(|max| max - threshold),
        false => min.map(|min| threshold - min),
    };
    let back = room.map_or(span * REARM_SHARE, |room| (span * REARM_SHARE).min(room / 2.0));
    let rearm = match given_rearm {
        Some(rearm) => rearm?,
        None if falls => threshold + back,
        None => threshold - back,
    };
    if if falls { max.is_some_and(|max| rearm > max) } else { min.is_some_and(|min| rearm < min) } {
        let help = Some(format!("the field lies within {} to {}", bound(*min), bound(*max)));
        findings.error("trigger.value", "/on/rearm", "no value ever comes back to this, it would fire only once", help);
        return None;
    }
    between(key, threshold, rearm, findings)
}

/// A level and its way back, which must not lie beyond it.
fn between(key: &str, threshold: f64, rearm: f64, findings: &mut Findings<'_>) -> Option<Crossing> {
    let falls = key == "falls_below";
    if (falls && rearm < threshold) || (!falls && rearm > threshold) {
        let side = if falls { "at or above" } else { "at or below" };
        let message = format!("`rearm` must lie {side} the threshold, else it is ready while still beyond");
        findings.error("trigger.value", "/on/rearm", message, None);
        return None;
    }
    Some(if falls { Crossing::FallsBelow { threshold, rearm } } else { Crossing::RisesAbove { threshold, rearm } })
}

fn bound(bound: Option<f64>) -> String {
    bound.map_or("any".to_owned(), |bound| bound.to_string())
}

fn amount(amount: &Amount, unit: Option<Unit>, pointer: &str, findings: &mut Findings<'_>) -> Option<f64> {
    let text = match amount {
        Amount::Number(x) => return Some(*x),
        Amount::Text(text) => text,
    };
    let Ok((number, given)) = parse_quantity(text) else {
        let help = Some("add `trend_over = \"2h\"` to watch how fast it changes, or leave the time out".to_owned());
        findings.error("trigger.unit", pointer, "this is so much in so much time, the value here is none", help);
        return None;
    };
    if given.is_some() && given != unit {
        let name = |unit: Option<Unit>| unit.map_or("a plain number".to_owned(), |unit| unit.to_string());
        let message = format!("the unit here is {}, not {}", name(unit), name(given));
        let help = Some(format!("write the amount in {}", name(unit)));
        findings.error("trigger.unit", pointer, message, help);
        return None;
    }
    Some(number)
}

/// The level of a trend; it is ready again half the threshold nearer to standing still, or beyond that.
fn rate_level(
    key: &str,
    threshold: &Amount,
    rearm: Option<&Amount>,
    unit: Option<Unit>,
    findings: &mut Findings<'_>,
) -> Option<Crossing> {
    let given_rearm = rearm.map(|rearm| rate(rearm, unit, "/on/rearm", findings));
    let threshold = rate(threshold, unit, &format!("/on/{key}"), findings)?;
    let away = threshold.abs() * RATE_REARM_SHARE;
    let rearm = match given_rearm {
        Some(rearm) => rearm?,
        None if key == "falls_below" => threshold + away,
        None => threshold - away,
    };
    between(key, threshold, rearm, findings)
}

/// So much of the field's unit in an hour, in a minute or in a day.
fn rate(amount: &Amount, unit: Option<Unit>, pointer: &str, findings: &mut Findings<'_>) -> Option<f64> {
    let text = match amount {
        Amount::Number(per_hour) => return Some(*per_hour),
        Amount::Text(text) => text,
    };
    let (number, given, per) = parse_rate(text).ok()?;
    let name = unit.map_or_else(|| "/h".to_owned(), |unit| format!(" {unit}/h"));
    let per = per.or((given.is_none()).then_some(Per::Hour));
    let Some(per) = per.filter(|_| given.is_none() || given == unit) else {
        let message = format!("a trend is so much of the field in some time, `{text}` is not");
        findings.error("trigger.unit", pointer, message, Some(format!("write it as `{number}{name}`")));
        return None;
    };
    Some(number * per.in_an_hour())
}

fn becomes(value: &Scalar, watched: &Watched, findings: &mut Findings<'_>) -> Option<Value> {
    let wanted = match (watched, value) {
        (Watched::Words(words), Scalar::Text(text)) if words.contains(text) => return Some(value.to_value()),
        (Watched::Words(words), Scalar::Text(text)) => {
            let help = suggestion(text, words.iter().map(String::as_str));
            findings.error("trigger.value", "/on/becomes", format!("`{text}` is not among its values"), help);
            return None;
        }
        (Watched::Number { unit, .. }, Scalar::Text(text)) => {
            return amount(&Amount::Text(text.clone()), *unit, "/on/becomes", findings).map(Value::Number).or_else(
                || {
                    if parse_quantity(text).is_err() {
                        findings.error("trigger.type", "/on/becomes", "the field is a number, this is a text", None);
                    }
                    None
                },
            );
        }
        (Watched::Number { .. }, Scalar::Number(_))
        | (Watched::Any, _)
        | (Watched::Bool, Scalar::Bool(_))
        | (Watched::Text, Scalar::Text(_)) => return Some(value.to_value()),
        (Watched::Number { .. }, Scalar::Bool(_)) | (Watched::Rate { .. }, _) => "a number",
        (Watched::Words(_) | Watched::Text, Scalar::Bool(_) | Scalar::Number(_)) => "a text",
        (Watched::Bool, Scalar::Text(_) | Scalar::Number(_)) => "true or false",
    };
    findings.error("trigger.type", "/on/becomes", format!("the field is {wanted}"), None);
    None
}
