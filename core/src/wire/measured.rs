//! Bodies about what a device measures: telemetry, events, context, slots.

use super::fields::{
    Fields, INSTANT, Within, amount, count, flat, instant, invalid, missing, positive, some, text, word,
};
use super::read::{Json, place};
use super::{ContextUp, EventUp, Sample, SlotUp};
use crate::code::{Code, Refusal};
use crate::id::{FieldName, SlotId};
use crate::limits::{SAMPLE_FIELDS_MAX, SAMPLES_MAX};
use crate::model::{Evidence, SlotKind, Unit};

/// How long context is believed that does not say so: a quarter of an hour, in seconds.
const CONTEXT_TTL_DEFAULT_S: u32 = 900;
/// The longest that context may ask to be believed: a week, in seconds. It describes a passing state.
const CONTEXT_TTL_MAX_S: u32 = 7 * 86_400;

/// `up/telemetry`: a list of samples, or one sample as a flat object.
pub(super) fn telemetry(body: Fields<'_>) -> Result<Vec<Sample>, Refusal> {
    const SAMPLES: &str = r#"samples such as {"t":1774000000000,"f":{"temperature":16.4}}"#;
    let Some(list) = body.may_list("samples", SAMPLES)? else {
        let fields = body.values(&["samples"], |name| FieldName::new(name))?;
        return Ok(vec![Sample { t: None, fields }]);
    };
    if list.len() > SAMPLES_MAX {
        let message =
            format!("`samples` has {} entries, the limit is {SAMPLES_MAX}; send several messages", list.len());
        return Err(Refusal::new(Code::PayloadTooLarge, message).at("/samples"));
    }
    let mut samples = Vec::with_capacity(list.len());
    for (n, entry) in list.iter().enumerate() {
        samples.push(sample(entry).map_err(|refusal| refusal.within(&format!("/samples/{n}")))?);
    }
    Ok(samples)
}

fn sample(entry: &Json<'_>) -> Result<Sample, Refusal> {
    let entry = Fields::of(entry, "a sample")?;
    let t = entry.may("t", instant, INSTANT)?;
    let values =
        entry.may_object("f")?.ok_or_else(|| missing("f", r#"the values by field, such as {"temperature":16.4}"#))?;
    Ok(Sample { t, fields: values.values(&[], |name| FieldName::new(name)).map_err(|refusal| refusal.within("/f"))? })
}

/// `up/event`. Only flat values of `data` are kept; what else comes with an event is the maker's own affair.
pub(super) fn event(body: Fields<'_>) -> Result<EventUp, Refusal> {
    const TYPE: &str = "the event's name such as `cycle_done`";
    let name = body.need_name("type", FieldName::new, TYPE)?;
    let mut data = Vec::new();
    if let Some(members) = body.may_object("data")? {
        if members.0.len() > SAMPLE_FIELDS_MAX {
            let message =
                format!("`data` has {} values, the limit is {SAMPLE_FIELDS_MAX}; send fewer", members.0.len());
            return Err(Refusal::new(Code::PayloadTooLarge, message).at("/data"));
        }
        for (key, json) in members.0 {
            let Some(value) = flat(json) else { continue };
            let key =
                FieldName::new(key).map_err(|error| invalid(error.to_string()).at(format!("/data{}", place(key))))?;
            data.push((key, value));
        }
    }
    Ok(EventUp { r#type: name.into(), t: body.may("t", instant, INSTANT)?, data })
}

/// `up/context`: every entry other than `ttl_s` is a class of the surroundings.
pub(super) fn context(body: Fields<'_>) -> Result<ContextUp, Refusal> {
    const TTL: &str = "whole seconds from 1 to 604800, such as 900";
    let ttl_s = body.may("ttl_s", |json| some(json).filter(|s| *s <= CONTEXT_TTL_MAX_S), TTL)?;
    Ok(ContextUp {
        entries: body.values(&["ttl_s"], |name| FieldName::new(name))?,
        ttl_s: ttl_s.unwrap_or(CONTEXT_TTL_DEFAULT_S),
    })
}

/// The kinds of slots by their words.
pub(super) const KINDS: [(&str, SlotKind); 5] = [
    ("usage", SlotKind::Usage),
    ("level", SlotKind::Level),
    ("countdown", SlotKind::Countdown),
    ("flag", SlotKind::Flag),
    ("life", SlotKind::Life),
];

/// `up/slot`. Whether the device has such a slot, of that kind and unit, is for `decide`.
pub(super) fn slot(body: Fields<'_>) -> Result<SlotUp, Refusal> {
    const SLOT: &str = "the slot's name as in `desc`, such as `air_filter`";
    let slot = body.need_name("slot", SlotId::new, SLOT)?;
    let kind = body.need_word("kind", &KINDS)?;
    let unit = unit(body)?;
    let evidence = match kind {
        SlotKind::Usage => Evidence::Usage { used: body.need("used", amount, Quantity { unit, example: "612" })? },
        SlotKind::Level => {
            Evidence::Level { remaining: body.need("remaining", amount, Quantity { unit, example: "180" })? }
        }
        SlotKind::Countdown => {
            Evidence::Countdown { remaining: body.need("remaining", amount, Quantity { unit, example: "48" })? }
        }
        SlotKind::Flag => {
            let flag = body.need_word("flag", &[("ok", "ok"), ("low", "low"), ("empty", "empty")])?;
            Evidence::Flag { flag: flag.to_owned() }
        }
        SlotKind::Life => {
            Evidence::Life { ends: body.need("ends", date, "a calendar date such as `2026-12-01`")?.to_owned() }
        }
    };
    if let Some(product) = body.may_object("product_ref")? {
        product.need("type", word, "the kind of number, such as `gtin`").within("/product_ref")?;
        product.need("value", word, "the product's number, such as `4006381333931`").within("/product_ref")?;
    }
    Ok(SlotUp {
        slot,
        evidence,
        capacity: body.may("capacity", positive, "the full amount, a number above 0 such as 720")?,
        unit,
        changed_at: body.may("changed_at", instant, INSTANT)?,
        on_hand: body.may("on_hand", count, "the number of spares at home, such as 2")?,
        t: body.may("t", instant, INSTANT)?,
    })
}

/// A unit of the contract, where one is said.
fn unit(body: Fields<'_>) -> Result<Option<Unit>, Refusal> {
    let Some(given) = body.may("unit", text, "a unit such as `h`")? else { return Ok(None) };
    Unit::parse(given).map(Some).ok_or_else(|| Refusal::new(Code::UnitMismatch, unit_unknown(given)).at("/unit"))
}

/// Says that a unit is not one of the contract, and which are.
pub(super) fn unit_unknown(given: &str) -> String {
    let all: Vec<&str> = Unit::ALL.iter().map(|unit| unit.as_str()).collect();
    format!("`{}` is not a unit of the contract; write one of {}", super::read::shortened(given), all.join(" "))
}

/// What an amount looks like: "a number of hours such as 612".
struct Quantity {
    unit: Option<Unit>,
    example: &'static str,
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = match self.unit {
            None => "",
            Some(Unit::Percent) => " of percent",
            Some(Unit::Count) => " of pieces",
            Some(Unit::Gram) => " of grams",
            Some(Unit::Kilogram) => " of kilograms",
            Some(Unit::Millilitre) => " of millilitres",
            Some(Unit::Litre) => " of litres",
            Some(Unit::Minute) => " of minutes",
            Some(Unit::Hour) => " of hours",
            Some(Unit::Day) => " of days",
            Some(Unit::Celsius) => " of degrees",
            Some(Unit::Watt) => " of watts",
            Some(Unit::KilowattHour) => " of kilowatt hours",
        };
        write!(f, "a number{of} such as {}, not negative", self.example)
    }
}

/// A day that the calendar has, as `YYYY-MM-DD`.
fn date<'j>(json: &'j Json<'j>) -> Option<&'j str> {
    let given = text(json)?;
    let is_shaped = given.len() == 10
        && given.bytes().enumerate().all(|(n, c)| if n == 4 || n == 7 { c == b'-' } else { c.is_ascii_digit() });
    (is_shaped && given.parse::<jiff::civil::Date>().is_ok()).then_some(given)
}
