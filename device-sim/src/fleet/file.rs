//! Fleet files: TOML with unknown keys refused, and mistakes told with file, line, key and help.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hearthway_core::time::{DailyWindow, Span, Timestamp, Zone};
use serde::Deserialize;
use toml::Spanned;

use super::{
    Cause, Compare, Counted, Crossing, DEVICES_MAX, Device, Expect, Faults, Fleet, Home, Moment, Person, Window,
};
use crate::model::{KNOWN, Known};
use crate::rng::Stream;

/// One mistake in a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The key, where one is to blame.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        write!(f, "{}\n  help: {}", self.message, self.help)
    }
}

/// All mistakes of a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetErrors(pub Vec<Mistake>);

impl fmt::Display for FleetErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FleetErrors {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetFile {
    #[serde(default)]
    seed: u64,
    start: Option<Spanned<String>>,
    days: Spanned<f64>,
    #[serde(default)]
    home: Vec<HomeFile>,
    #[serde(default)]
    homes: Vec<HomeFile>,
    #[serde(default)]
    cause: Vec<Spanned<CauseFile>>,
    shop: Option<ShopFile>,
    #[serde(default)]
    expect: Vec<Spanned<ExpectFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HomeFile {
    id: Spanned<String>,
    /// Only in `[[homes]]`.
    count: Option<Spanned<u32>>,
    zone: Spanned<String>,
    locale: Option<String>,
    #[serde(default)]
    people: Vec<Spanned<PersonFile>>,
    consents: Option<Vec<Spanned<String>>>,
    quiet: Option<Spanned<QuietFile>>,
    claim_after: Option<Spanned<String>>,
    withdraw_at: Option<Spanned<String>>,
    #[serde(default)]
    device: Vec<DeviceFile>,
    #[serde(default)]
    devices: Vec<DeviceFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuietFile {
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonFile {
    id: String,
    role: String,
    #[serde(default)]
    accept: f64,
    #[serde(default)]
    snooze: f64,
    #[serde(default)]
    decline: f64,
    #[serde(default)]
    not_needed: f64,
    #[serde(default)]
    why: f64,
    #[serde(default)]
    cancel: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    persona: Spanned<String>,
    model: Spanned<String>,
    serial: Option<Spanned<String>>,
    wear: Option<Spanned<f64>>,
    /// How far the wear of each home of a group may lie from `wear`, to both sides.
    wear_spread: Option<Spanned<f64>>,
    report_every: Option<Spanned<String>>,
    session: Option<Spanned<String>>,
    faults: Option<FaultsFile>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FaultsFile {
    #[serde(default)]
    offline: Vec<Spanned<String>>,
    loss: Option<Spanned<f64>>,
    duplicate: Option<Spanned<f64>>,
    delay: Option<Spanned<f64>>,
    reorder: Option<Spanned<f64>>,
    skew_s: Option<i64>,
    reset_at: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CauseFile {
    model: String,
    slot: Option<String>,
    field: String,
    rises_above: Option<f64>,
    falls_below: Option<f64>,
    product: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShopFile {
    #[serde(default)]
    stock: BTreeMap<String, u64>,
    #[serde(default)]
    price_changes: Vec<Spanned<PriceChangeFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceChangeFile {
    at: String,
    product: String,
    minor: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectFile {
    that: String,
    home: Option<String>,
    from: Option<String>,
    to: Option<String>,
    op: String,
    value: u64,
}

/// Collects mistakes while the rest of the file is still looked at.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

type Range = std::ops::Range<usize>;

impl Reader<'_> {
    fn mistake(&mut self, at: Range, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let before = &self.text[..at.start.min(self.text.len())];
        self.mistakes.push(Mistake {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
            key: key.to_owned(),
            message: message.into(),
            help: help.into(),
        });
    }

    fn share(&mut self, value: Option<&Spanned<f64>>, key: &str, most: f64) -> f64 {
        let Some(value) = value else { return 0.0 };
        let given = *value.get_ref();
        if (0.0..=most).contains(&given) {
            return given;
        }
        self.mistake(value.span(), key, format!("{given} is outside 0 to {most}"), "write a share such as 0.05");
        0.0
    }

    /// A length of time: `P6D`, `PT30M`, `30 min`, `24h`.
    fn span(&mut self, text: &Spanned<String>, key: &str) -> Span {
        match length(text.get_ref()) {
            Ok(span) => span,
            Err(message) => {
                self.mistake(text.span(), key, message, "write `P6D`, `PT30M`, `30 min` or `24h`");
                Span::ZERO
            }
        }
    }

    /// A stretch: `2026-02-10/P6D`, `2026-02-10T08:00:00+01:00/PT4H`, `P3D/PT6H`.
    fn window(&mut self, text: &Spanned<String>, zone: Option<&Zone>) -> Option<Window> {
        let help = "write `2026-02-10/P6D`, or `P3D/PT6H` for three days after the start";
        let Some((from, length_text)) = text.get_ref().split_once('/') else {
            self.mistake(text.span(), "offline", "has no `/` between its beginning and its length", help);
            return None;
        };
        let from = match (Timestamp::parse_rfc3339(from), from.parse::<jiff::civil::Date>(), length(from)) {
            (Some(at), _, _) => Moment::At(at),
            (None, Ok(date), _) => Moment::At(midnight(date, zone)),
            (None, Err(_), Ok(span)) => Moment::After(span),
            (None, Err(_), Err(_)) => {
                self.mistake(text.span(), "offline", format!("`{from}` is neither a date nor a length of time"), help);
                return None;
            }
        };
        match length(length_text) {
            Ok(length) => Some(Window { from, length }),
            Err(message) => {
                self.mistake(text.span(), "offline", message, help);
                None
            }
        }
    }
}

fn length(text: &str) -> Result<Span, String> {
    Span::parse(text)
}

/// The start of a local day; a fleet without a valid zone has another mistake to show.
fn midnight(date: jiff::civil::Date, zone: Option<&Zone>) -> Timestamp {
    let utc = Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z")).unwrap_or_default();
    zone.map_or(utc, |zone| {
        let first = zone.next(utc - Span::hours(26), jiff::civil::time(0, 0, 0, 0));
        if zone.local(first).date() < date { zone.next(first, jiff::civil::time(0, 0, 0, 0)) } else { first }
    })
}

pub(super) fn parse(name: &str, text: &str) -> Result<Fleet, FleetErrors> {
    let mut reader = Reader { name, text, mistakes: Vec::new() };
    let file: FleetFile = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            let message = error.message().to_owned();
            let key = message.split('`').nth(1).unwrap_or("").to_owned();
            let help = help_for(&message);
            reader.mistake(error.span().unwrap_or(0..0), &key, message, help);
            return Err(FleetErrors(reader.mistakes));
        }
    };
    let fleet = reader.fleet(file);
    if reader.mistakes.is_empty() { Ok(fleet) } else { Err(FleetErrors(reader.mistakes)) }
}

/// What mends a mistake that the TOML reader found.
fn help_for(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = quoted.next().unwrap_or("");
    if message.starts_with("unknown field") {
        let known: Vec<&str> = quoted.collect();
        let close = known.iter().min_by_key(|known| distance(given, known));
        return match close {
            Some(close) if distance(given, close) <= 3 => format!("did you mean `{close}`?"),
            _ => format!("known keys here: {}", known.join(", ")),
        };
    }
    if message.starts_with("missing field") {
        return format!("add `{given} = …`; the file config/fleets/paris-2p.toml shows every key");
    }
    "config/fleets/paris-2p.toml shows every key with a value".to_owned()
}

/// Levenshtein distance, for short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

impl Reader<'_> {
    fn fleet(&mut self, file: FleetFile) -> Fleet {
        let start = file.start.and_then(|text| {
            let start = Timestamp::parse_rfc3339(text.get_ref());
            if start.is_none() {
                let help = "write it with its offset, such as `2026-02-01T06:00:00+01:00`";
                self.mistake(text.span(), "start", format!("`{}` is not an instant", text.get_ref()), help);
            }
            start
        });
        let days = *file.days.get_ref();
        if !(days > 0.0 && days <= 400.0) {
            self.mistake(
                file.days.span(),
                "days",
                format!("{days} is outside 0 to 400"),
                "write how many days to play",
            );
        }
        let mut homes = Vec::new();
        for home in &file.home {
            if let Some(count) = &home.count {
                self.mistake(count.span(), "count", "a single home has no count", "write `[[homes]]` for many alike");
            }
            homes.push(self.home(home, home.id.get_ref().clone(), file.seed));
        }
        for group in &file.homes {
            let count = group.count.as_ref().map_or(0, |count| *count.get_ref());
            if !(1..=DEVICES_MAX as u32).contains(&count) {
                let at = group.count.as_ref().map_or(group.id.span(), Spanned::span);
                self.mistake(at, "count", format!("a group needs a count of 1 to {DEVICES_MAX}"), "add `count = 12`");
                continue;
            }
            let first_mistake = self.mistakes.len();
            for n in 1..=count {
                homes.push(self.home(group, format!("{}-{n:02}", group.id.get_ref()), file.seed));
                if self.mistakes.len() > first_mistake {
                    // The others of the group have the same mistakes.
                    break;
                }
            }
        }
        if homes.is_empty() {
            self.mistake(0..0, "home", "the fleet has no home", "add a `[[home]]` or a `[[homes]]` table");
        }
        self.unique(&file.home, &homes);
        let causes = file.cause.iter().filter_map(|cause| self.cause(cause)).collect();
        let expects = file.expect.iter().filter_map(|expect| self.expect(expect, &homes)).collect();
        let notes = file.shop.map(|shop| self.shop(&shop)).unwrap_or_default();
        Fleet {
            seed: file.seed,
            start,
            length: Span((days * Span::days(1).0 as f64) as i64),
            homes,
            causes,
            expects,
            notes,
        }
    }

    fn unique(&mut self, written: &[HomeFile], homes: &[Home]) {
        let (mut ids, mut serials) = (BTreeSet::new(), BTreeSet::new());
        for home in homes {
            let at = written.iter().find(|w| *w.id.get_ref() == home.id).map_or(0..0, |w| w.id.span());
            if !ids.insert(&home.id) {
                self.mistake(at.clone(), "id", format!("`{}` is the id of two homes", home.id), "give each its own");
            }
            for device in &home.devices {
                if !serials.insert(&device.serial) {
                    let message = format!("`{}` is the serial of two devices", device.serial);
                    self.mistake(at.clone(), "serial", message, "leave it out, and each gets its own");
                }
            }
        }
        if serials.len() > DEVICES_MAX {
            let message = format!("{} devices are more than {DEVICES_MAX}", serials.len());
            self.mistake(0..0, "homes", message, "lower a `count`; `device-sim load` plays more");
        }
    }

    fn home(&mut self, home: &HomeFile, id: String, seed: u64) -> Home {
        if !(1..=48).contains(&id.len())
            || !id.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        {
            self.mistake(
                home.id.span(),
                "id",
                format!("`{id}` is not a home's name"),
                "take 1 to 48 of a-z, 0-9 and -",
            );
        }
        let zone = match Zone::new(home.zone.get_ref()) {
            Ok(zone) => Some(zone),
            Err(message) => {
                self.mistake(home.zone.span(), "zone", message, "take a name of the IANA database");
                None
            }
        };
        let people: Vec<Person> = home.people.iter().map(|person| self.person(person)).collect();
        if people.iter().all(|person| person.role != "owner") {
            self.mistake(home.id.span(), "people", "nobody here is the owner", "give one person `role = \"owner\"`");
        }
        let consents = home.consents.as_ref().map_or_else(
            || vec!["offers.device".to_owned(), "replenish.device".to_owned()],
            |given| given.iter().map(|purpose| self.purpose(purpose)).collect(),
        );
        let quiet = home.quiet.as_ref().and_then(|quiet| {
            let window = DailyWindow::parse(&quiet.get_ref().from, &quiet.get_ref().to);
            window
                .map_err(|message| {
                    self.mistake(quiet.span(), "quiet", message, "write `{ from = \"21:00\", to = \"08:00\" }`")
                })
                .ok()
        });
        let never = home.claim_after.as_ref().is_some_and(|text| text.get_ref() == "never");
        let claim_after = match &home.claim_after {
            Some(_) if never => None,
            Some(text) => Some(self.span(text, "claim_after")),
            None => Some(Span::minutes(10)),
        };
        let withdraw_at = home.withdraw_at.as_ref().map(|text| self.span(text, "withdraw_at"));
        let devices: Vec<Device> = home
            .device
            .iter()
            .chain(&home.devices)
            .enumerate()
            .filter_map(|(n, device)| self.device(device, &id, n, zone.as_ref(), seed))
            .collect();
        if home.device.is_empty() && home.devices.is_empty() {
            self.mistake(home.id.span(), "device", "the home has no device", "add a `[[home.device]]` table");
        }
        Home {
            zone: zone.unwrap_or_else(|| Zone::new("UTC").expect("UTC is in every zone database")),
            locale: home.locale.clone().unwrap_or_else(|| "fr-FR".into()),
            id,
            people,
            consents,
            quiet,
            claim_after,
            withdraw_at,
            devices,
        }
    }

    fn purpose(&mut self, purpose: &Spanned<String>) -> String {
        use hearthway_core::model::Purpose;
        let text = purpose.get_ref();
        if Purpose::parse(text).is_none() {
            let known: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
            self.mistake(
                purpose.span(),
                "consents",
                format!("`{text}` is not a purpose"),
                format!("take {}", known.join(", ")),
            );
        }
        text.clone()
    }

    fn person(&mut self, written: &Spanned<PersonFile>) -> Person {
        let person = written.get_ref();
        if !["owner", "buyer", "viewer", "child"].contains(&person.role.as_str()) {
            let message = format!("`{}` is not a role", person.role);
            self.mistake(written.span(), "role", message, "take owner, buyer, viewer or child");
        }
        let answers = [person.accept, person.snooze, person.decline, person.not_needed];
        let each = answers.iter().chain([&person.why, &person.cancel]).all(|share| (0.0..=1.0).contains(share));
        if !each || answers.iter().sum::<f64>() > 1.0 + 1e-9 {
            let message = "the probabilities of the answers are not between 0 and 1, or add up to more than 1";
            let help = "what accept, snooze, decline and not_needed leave is silence";
            self.mistake(written.span(), "people", message, help);
        }
        Person {
            id: person.id.clone(),
            role: person.role.clone(),
            accept: person.accept,
            snooze: person.snooze,
            decline: person.decline,
            not_needed: person.not_needed,
            why: person.why,
            cancel: person.cancel,
        }
    }

    fn device(&mut self, device: &DeviceFile, home: &str, n: usize, zone: Option<&Zone>, seed: u64) -> Option<Device> {
        let Some(known) = Known::of(device.model.get_ref()) else {
            let models: Vec<&str> = KNOWN.iter().map(|known| known.model).collect();
            let message = format!("`{}` is not a model that can be played", device.model.get_ref());
            self.mistake(device.model.span(), "model", message, format!("take one of {}", models.join(", ")));
            return None;
        };
        if device.persona.get_ref() != known.persona {
            let message = format!("`{}` does not play a {}", device.persona.get_ref(), known.model);
            self.mistake(device.persona.span(), "persona", message, format!("write `persona = \"{}\"`", known.persona));
        }
        let serial = device
            .serial
            .as_ref()
            .map_or_else(|| format!("{}-{home}-{}", known.serial, n + 1), |serial| serial.get_ref().clone());
        let wear = self.share(device.wear.as_ref(), "wear", 2.0);
        let spread = self.share(device.wear_spread.as_ref(), "wear_spread", 1.0);
        let drawn = wear + Stream::of(seed, &[home, &serial, "wear"]).between(-1.0, 1.0) * spread;
        let report_every =
            device.report_every.as_ref().map_or(Span::minutes(30), |text| self.span(text, "report_every"));
        if report_every < Span::minutes(1) {
            let at = device.report_every.as_ref().map_or(0..0, Spanned::span);
            self.mistake(at, "report_every", "is under a minute", "write `15 min`; `device-sim load` plays floods");
        }
        let persistent = match device.session.as_ref().map(|word| word.get_ref().as_str()) {
            None | Some("clean") => false,
            Some("persistent") => true,
            Some(other) => {
                let at = device.session.as_ref().map_or(0..0, Spanned::span);
                self.mistake(at, "session", format!("`{other}` is not a kind of session"), "take clean or persistent");
                false
            }
        };
        let faults = device.faults.as_ref().map(|faults| self.faults(faults, zone)).unwrap_or_default();
        Some(Device { known, serial, wear: drawn.max(0.0), report_every, persistent, faults })
    }

    fn faults(&mut self, faults: &FaultsFile, zone: Option<&Zone>) -> Faults {
        Faults {
            offline: faults.offline.iter().filter_map(|text| self.window(text, zone)).collect(),
            loss: self.share(faults.loss.as_ref(), "loss", 0.9),
            duplicate: self.share(faults.duplicate.as_ref(), "duplicate", 1.0),
            delay: self.share(faults.delay.as_ref(), "delay", 1.0),
            reorder: self.share(faults.reorder.as_ref(), "reorder", 1.0),
            skew: Span(faults.skew_s.unwrap_or(0).saturating_mul(1_000)),
            reset_at: faults.reset_at.as_ref().map(|text| self.span(text, "reset_at")),
        }
    }

    fn cause(&mut self, written: &Spanned<CauseFile>) -> Option<Cause> {
        let cause = written.get_ref();
        let crossing = match (cause.rises_above, cause.falls_below) {
            (Some(limit), None) => Crossing::RisesAbove(limit),
            (None, Some(limit)) => Crossing::FallsBelow(limit),
            (None, None) | (Some(_), Some(_)) => {
                let help = "add `rises_above = 600` or `falls_below = 20`";
                self.mistake(written.span(), "cause", "a cause has exactly one crossing", help);
                return None;
            }
        };
        let known = Known::of(&cause.model);
        let slot_known =
            known.is_some_and(|known| cause.slot.as_deref().is_none_or(|slot| known.slots.contains(&slot)));
        if !slot_known {
            let message = format!("`{}` has no slot `{}`", cause.model, cause.slot.as_deref().unwrap_or("…"));
            let slots: Vec<String> =
                KNOWN.iter().map(|known| format!("{}: {}", known.model, known.slots.join(", "))).collect();
            self.mistake(written.span(), "cause", message, format!("take one of {}", slots.join("; ")));
        }
        let cause = cause_of(cause, crossing);
        Some(cause)
    }

    fn shop(&mut self, shop: &ShopFile) -> Vec<String> {
        let mut notes = Vec::new();
        for change in &shop.price_changes {
            let change = (change.span(), change.get_ref());
            if let Err(message) = length(&change.1.at) {
                self.mistake(change.0.clone(), "at", message, "write `P9D`");
            }
            if change.1.minor < 0 || change.1.product.is_empty() {
                self.mistake(
                    change.0,
                    "price_changes",
                    "needs a product and a price in cents from 0",
                    "write `minor = 2290`",
                );
            }
        }
        if !shop.price_changes.is_empty() {
            notes.push("shop.price_changes is checked and not played: change prices with PUT /v1/products".to_owned());
        }
        if !shop.stock.is_empty() {
            notes.push("shop.stock is checked and not played: the gateway has no stock calls".to_owned());
        }
        notes
    }

    fn expect(&mut self, written: &Spanned<ExpectFile>, homes: &[Home]) -> Option<Expect> {
        let expect = written.get_ref();
        let Some(op) = Compare::parse(&expect.op) else {
            self.mistake(written.span(), "op", format!("`{}` does not compare", expect.op), "take == != < <= > or >=");
            return None;
        };
        if let Some(home) = &expect.home
            && homes.iter().all(|known| known.id != *home)
        {
            self.mistake(
                written.span(),
                "home",
                format!("there is no home `{home}`"),
                "name the id of a home, or leave it out",
            );
        }
        let that = match expect.that.as_str() {
            "devices.registered" => Counted::Registered,
            "devices.linked" => Counted::Linked,
            "offers.count" => Counted::Offers,
            "offers.shown" => Counted::Shown,
            "answers.count" => Counted::Answers,
            "orders.count" => Counted::Orders,
            "errors.count" => Counted::Errors,
            "personal_data.after_reset" => Counted::PersonalAfterReset,
            "offers.shown_between" => {
                let ends = (expect.from.as_deref().unwrap_or(""), expect.to.as_deref().unwrap_or(""));
                match DailyWindow::parse(ends.0, ends.1) {
                    Ok(window) => Counted::ShownBetween(window),
                    Err(message) => {
                        self.mistake(written.span(), "from", message, "add `from = \"21:00\"` and `to = \"08:00\"`");
                        return None;
                    }
                }
            }
            other => {
                let help = "take devices.registered, devices.linked, offers.count, offers.shown, offers.shown_between, \
                            answers.count, orders.count, errors.count or personal_data.after_reset";
                self.mistake(written.span(), "that", format!("`{other}` cannot be counted"), help);
                return None;
            }
        };
        Some(Expect { that, home: expect.home.clone(), op, value: expect.value })
    }
}

fn cause_of(cause: &CauseFile, crossing: Crossing) -> Cause {
    Cause {
        model: cause.model.clone(),
        slot: cause.slot.clone(),
        field: cause.field.clone(),
        crossing,
        product: cause.product.clone(),
    }
}
