//! What an offer says: small templates by language, compiled and tried out before they are live.
//!
//! A text may name `product.name`, `price.total` (with a discount also `price.was` and `price.discount`, with a code pool `discount.code`), `slot.used|remaining|capacity|on_hand|flag`,
//! `telemetry.<field>` and `household.name`, with the filters `upper`, `lower`, `title`, `trim`
//! and `default`. There is no loader, no function and no file; fuel bounds the time that a text
//! takes, and a variable that is not there is an error, never an empty place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, filters};

use super::definition::TextDefinition;
use super::nearest::suggestion;
use super::plain::Plain;
use super::quantity::quantity_text;
use crate::id::{FieldName, UniqueCode};
use crate::model::{
    DeviceDescription, Evidence, Few, FieldType, Locale, OfferText, Reading, SlotState, Value, locale_chain,
};
use crate::money::Money;
use crate::time::{Timestamp, Zone};

/// Bytes of one template: a card shows a tenth of it.
pub const TEMPLATE_BYTES_MAX: usize = 2 * 1024;
/// Bytes of one rendered text: device payloads stay far below their 16 KiB.
pub const RENDERED_BYTES_MAX: usize = 2 * 1024;
/// Languages of one offer.
pub const LOCALES_MAX: usize = 32;
/// Steps that one text may take; a sentence with ten variables takes about fifty.
const FUEL: u64 = 2_000;

/// The template engine. A compiled template takes some ten kilobytes, so only texts that need it
/// keep theirs; it reads all others once, when they are checked, and again where one has to be told
/// what is missing.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// The compiled texts of an offer, by language.
#[derive(Debug)]
pub struct Texts {
    /// Those that say more than words and names; none where there is no such.
    templates: Option<Environment<'static>>,
    by_locale: BTreeMap<Locale, Parts>,
    /// Variables that are named somewhere, such as `slot.used`.
    named: BTreeSet<String>,
}

/// The texts of one language.
#[derive(Debug)]
struct Parts {
    title: Part,
    body: Part,
    short: Option<Part>,
    say: Option<Part>,
    why: Option<Part>,
}

/// One text.
#[derive(Debug)]
enum Part {
    /// Words and names alone, with the source.
    Plain(Plain, Box<str>),
    /// The name of its template.
    Template(String),
}

/// What a text may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextVars {
    /// The product, where there is one.
    pub product: Option<ProductVars>,
    /// Its price, where there is one.
    pub price: Option<PriceVars>,
    /// The waking slot's fields as people read them, such as `used` = `612 h`.
    pub slot: BTreeMap<String, String>,
    /// Last reported values as people read them, such as `temperature` = `16.4 °C`.
    pub telemetry: BTreeMap<String, String>,
    /// The home.
    pub household: Option<HouseholdVars>,
    /// The offer's unique code.
    pub code: Option<String>,
}

/// The product as a text names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductVars {
    /// Its name in the language of the text.
    pub name: String,
}

/// The price as a text names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVars {
    /// All together, such as `19.90 EUR`.
    pub total: String,
    /// Where something is taken off: what it would be, and how much that is.
    pub reduced: Option<ReducedVars>,
}

/// What is taken off the price, as a text names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReducedVars {
    /// All together without the discount.
    pub was: String,
    /// The discount.
    pub discount: String,
}

/// The home as a text names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HouseholdVars {
    /// Its display name.
    pub name: String,
}

impl TextVars {
    /// With a product and its total price.
    pub fn with_product(mut self, name: impl Into<String>, total: Money, locale: &str) -> TextVars {
        self.product = Some(ProductVars { name: name.into() });
        self.price = Some(PriceVars { total: money_text(total, locale), reduced: None });
        self
    }
    /// With what the total was before a discount.
    pub fn with_discount(mut self, was: Money, discount: Money, locale: &str) -> TextVars {
        if let Some(price) = &mut self.price {
            let (was, discount) = (money_text(was, locale), money_text(discount, locale));
            price.reduced = Some(ReducedVars { was, discount });
        }
        self
    }
    /// One value.
    pub(super) fn value(&self, group: &str, field: &str) -> Option<&str> {
        match (group, field) {
            ("product", "name") => self.product.as_ref().map(|product| product.name.as_str()),
            ("price", "total") => self.price.as_ref().map(|price| price.total.as_str()),
            ("price", "was") => self.reduced().map(|reduced| reduced.was.as_str()),
            ("price", "discount") => self.reduced().map(|reduced| reduced.discount.as_str()),
            ("discount", "code") => self.code.as_deref(),
            ("household", "name") => self.household.as_ref().map(|household| household.name.as_str()),
            ("slot", field) => self.slot.get(field).map(String::as_str),
            ("telemetry", field) => self.telemetry.get(field).map(String::as_str),
            _ => None,
        }
    }
    /// With the offer's unique code.
    pub fn with_code(mut self, code: &UniqueCode) -> TextVars {
        self.code = Some(code.as_str().to_owned());
        self
    }
    fn reduced(&self) -> Option<&ReducedVars> {
        self.price.as_ref()?.reduced.as_ref()
    }
    /// With the waking slot.
    pub fn with_slot(mut self, state: &SlotState) -> TextVars {
        for field in ["used", "remaining", "capacity"] {
            if let Some(number) = state.number(field) {
                self.slot.insert(field.to_owned(), quantity_text(number, state.unit));
            }
        }
        if let Some(on_hand) = state.on_hand {
            self.slot.insert("on_hand".to_owned(), on_hand.to_string());
        }
        if let Evidence::Flag { flag } = &state.evidence {
            self.slot.insert("flag".to_owned(), flag.clone());
        }
        self
    }
    /// With about when the slot is empty; where that is not sure, or not known, without a date.
    pub fn with_expected_empty(mut self, at: Option<Timestamp>, zone: Option<&Zone>, locale: &str) -> TextVars {
        let local = at.map(|at| zone.cloned().unwrap_or_else(Zone::utc).local(at).date());
        self.slot.insert("expected_empty".to_owned(), about_date(local, locale));
        self
    }
    /// With what the device last reported, as far as `texts` name it.
    pub fn with_telemetry(
        mut self,
        texts: &Texts,
        reported: &Few<FieldName, Reading>,
        description: &DeviceDescription,
    ) -> TextVars {
        for (field, reading) in reported {
            if !texts.name("telemetry", field.as_str()) {
                continue;
            }
            let unit = description.telemetry.get(field).and_then(|schema| match schema.r#type {
                FieldType::Number { unit, .. } => unit,
                FieldType::Enum { .. } | FieldType::Bool | FieldType::Text => None,
            });
            let text = match &reading.value {
                Value::Number(x) => quantity_text(*x, unit),
                Value::Text(_) | Value::Bool(_) => reading.value.to_string(),
            };
            self.telemetry.insert(field.as_str().to_owned(), text);
        }
        self
    }
    /// With the home's display name.
    pub fn with_household(mut self, display_name: impl Into<String>) -> TextVars {
        self.household = Some(HouseholdVars { name: display_name.into() });
        self
    }
}

/// "around 29 March", in French "vers le 29 mars"; without a date "soon".
fn about_date(date: Option<jiff::civil::Date>, locale: &str) -> String {
    const EN: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const FR: [&str; 12] = [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ];
    let is_french = locale_chain(locale).last() == Some("fr");
    let named = |names: [&'static str; 12], date: jiff::civil::Date| {
        names[usize::from(date.month().unsigned_abs().clamp(1, 12)) - 1]
    };
    match (date, is_french) {
        (Some(date), true) if date.day() == 1 => format!("vers le 1er {}", named(FR, date)),
        (Some(date), true) => format!("vers le {} {}", date.day(), named(FR, date)),
        (Some(date), false) => format!("around {} {}", date.day(), named(EN, date)),
        (None, true) => "bientôt".to_owned(),
        (None, false) => "soon".to_owned(),
    }
}

/// An amount as the language writes it: `19,90 €` in French, `19.90 EUR` elsewhere.
pub fn money_text(money: Money, locale: &str) -> String {
    let plain = money.to_string();
    match (locale_chain(locale).last(), plain.split_once(' ')) {
        (Some("fr"), Some((amount, code))) => {
            let sign = if code == "EUR" { "€" } else { code };
            format!("{} {sign}", amount.replace('.', ","))
        }
        _ => plain,
    }
}

/// Why a text could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("text `{part}` in `{locale}`: {message}")]
pub struct TextError {
    /// The language.
    pub locale: Locale,
    /// `title`, `body`, `short`, `say` or `why`.
    pub part: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Texts {
    /// Reads and compiles texts, and tries each with `sample`, which holds a value for each
    /// variable that there will be. All errors come at once.
    pub fn compile(
        texts: &BTreeMap<Locale, TextDefinition>,
        sample: impl Fn(&str) -> TextVars,
    ) -> Result<Texts, Vec<TextError>> {
        let mut compiled = Texts { templates: None, by_locale: BTreeMap::new(), named: BTreeSet::new() };
        let mut errors = Vec::new();
        for (locale, text) in texts {
            let vars = sample(locale);
            let mut add = |part: &'static str, source: Option<&String>| -> Option<Part> {
                match compiled.add(format!("{locale}/{part}"), source?, &vars) {
                    Ok(part) => Some(part),
                    Err((message, help)) => {
                        errors.push(TextError { locale: locale.clone(), part, message, help });
                        None
                    }
                }
            };
            let (title, body) = (add("title", text.title.as_ref()), add("body", text.body.as_ref()));
            let (short, say, why) =
                (add("short", text.short.as_ref()), add("say", text.say.as_ref()), add("why", text.why.as_ref()));
            if let (Some(title), Some(body)) = (title, body) {
                compiled.by_locale.insert(locale.clone(), Parts { title, body, short, say, why });
            }
        }
        if errors.is_empty() { Ok(compiled) } else { Err(errors) }
    }

    fn add(&mut self, name: String, source: &str, vars: &TextVars) -> Result<Part, (String, Option<String>)> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err((format!("it has {} bytes, at most {TEMPLATE_BYTES_MAX} are taken", source.len()), None));
        }
        let template = ENGINE
            .template_from_str(source)
            .map_err(|error| (said(&error), Some("a variable is written {{ product.name }}".to_owned())))?;
        let known = vars.names();
        let named: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
        for variable in &named {
            if !known.contains(variable) {
                let help = suggestion(variable, known.iter().map(String::as_str));
                return Err((format!("there is no variable `{variable}` here"), help));
            }
        }
        self.named.extend(named);
        let sample = finished(template.render(vars.to_value())).map_err(|message| (message, None))?;
        // What is taken for plain must come out as the engine writes it.
        let agrees = |plain: &Plain| plain.write(vars).is_some_and(|text| finished(Ok(text)).as_ref() == Ok(&sample));
        if let Some(plain) = Plain::read(source).filter(agrees) {
            return Ok(Part::Plain(plain, source.into()));
        }
        let templates = self.templates.get_or_insert_with(environment);
        let added = templates.add_template_owned(name.clone(), source.to_owned());
        added.map(|()| Part::Template(name)).map_err(|error| (said(&error), None))
    }

    /// Whether some text names a variable.
    pub(crate) fn name(&self, group: &str, field: &str) -> bool {
        let is_it = |name: &String| name.split_once('.') == Some((group, field));
        self.named.iter().any(is_it)
    }

    /// The languages there are.
    pub fn locales(&self) -> impl Iterator<Item = &str> {
        self.by_locale.keys().map(String::as_str)
    }
    /// The language that a preference gets: the first of the chain that there is (`fr-CA`, then
    /// `fr`), else the default's, else the first. None only when there are no texts at all.
    pub fn choose(&self, locales: &[&str], default: &str) -> Option<&str> {
        locales
            .iter()
            .copied()
            .chain([default])
            .flat_map(locale_chain)
            .find_map(|locale| self.by_locale.get_key_value(locale))
            .or_else(|| self.by_locale.first_key_value())
            .map(|(locale, _)| locale.as_str())
    }
    /// Writes the texts in the language that [`Texts::choose`] finds.
    pub fn render(&self, locales: &[&str], default: &str, vars: &TextVars) -> Result<OfferText, TextError> {
        let chosen = self.choose(locales, default).and_then(|locale| self.by_locale.get_key_value(locale));
        let Some((locale, parts)) = chosen else {
            let message = "there is no text in any language".to_owned();
            return Err(TextError { locale: default.to_owned(), part: "title", message, help: None });
        };
        let write = |part: &'static str, text: &Part| {
            self.write(text, vars).map_err(|message| TextError { locale: locale.clone(), part, message, help: None })
        };
        let optional = |part, text: &Option<Part>| text.as_ref().map(|text| write(part, text)).transpose();
        Ok(OfferText {
            locale: locale.clone(),
            title: write("title", &parts.title)?,
            body: write("body", &parts.body)?,
            short: optional("short", &parts.short)?,
            say: optional("say", &parts.say)?,
            why: optional("why", &parts.why)?,
        })
    }
    fn write(&self, part: &Part, vars: &TextVars) -> Result<String, String> {
        finished(match (part, &self.templates) {
            (Part::Plain(plain, source), _) => match plain.write(vars) {
                Some(text) => Ok(text),
                // A value that is missing is the engine's to tell.
                None => ENGINE.template_from_str(source).and_then(|template| template.render(vars.to_value())),
            },
            (Part::Template(name), Some(templates)) => {
                templates.get_template(name).and_then(|template| template.render(vars.to_value()))
            }
            (Part::Template(_), None) => return Err("its template is not there".to_owned()),
        })
    }
}

/// A text within its bound and without space around it, or what is wrong with it.
fn finished(written: Result<String, minijinja::Error>) -> Result<String, String> {
    match written {
        Ok(text) if text.len() > RENDERED_BYTES_MAX => {
            Err(format!("it becomes {} bytes long, at most {RENDERED_BYTES_MAX} are taken", text.len()))
        }
        Ok(text) => Ok(trimmed(text)),
        Err(error) => Err(said(&error)),
    }
}

impl TextVars {
    fn to_value(&self) -> minijinja::Value {
        let one = |name: &'static str, text: &str| minijinja::Value::from_pairs([(name, text)]);
        let all = |map: &BTreeMap<String, String>| {
            minijinja::Value::from_pairs(map.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        };
        let mut groups = vec![("slot", all(&self.slot)), ("telemetry", all(&self.telemetry))];
        groups.extend(self.product.as_ref().map(|product| ("product", one("name", &product.name))));
        groups.extend(self.price.as_ref().map(|price| {
            let reduced = price.reduced.iter().flat_map(|it| [("was", &*it.was), ("discount", &*it.discount)]);
            ("price", minijinja::Value::from_pairs([("total", &*price.total)].into_iter().chain(reduced)))
        }));
        groups.extend(self.code.as_ref().map(|code| ("discount", one("code", code))));
        groups.extend(self.household.as_ref().map(|household| ("household", one("name", &household.name))));
        minijinja::Value::from_pairs(groups)
    }
    /// The names that a text may use with these values.
    fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        names.extend(self.product.is_some().then(|| "product.name".to_owned()));
        names.extend(self.price.is_some().then(|| "price.total".to_owned()));
        let reduced = self.reduced().is_some();
        names.extend(["price.was", "price.discount"].into_iter().filter(|_| reduced).map(str::to_owned));
        names.extend(self.code.is_some().then(|| "discount.code".to_owned()));
        names.extend(self.household.is_some().then(|| "household.name".to_owned()));
        names.extend(self.slot.keys().map(|field| format!("slot.{field}")));
        names.extend(self.telemetry.keys().map(|field| format!("telemetry.{field}")));
        names
    }
}

/// An environment that can do what this page names, and nothing else.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // A device's display is no web page: `&` stays `&`.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("default", filters::default);
    environment
}

/// Without space around it.
fn trimmed(text: String) -> String {
    if text.trim().len() == text.len() { text } else { text.trim().to_owned() }
}

/// The template engine's error in one line.
fn said(error: &minijinja::Error) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps to write".to_owned(),
        ErrorKind::UndefinedError => format!("a variable has no value{detail}"),
        kind => format!("{kind}{detail}"),
    }
}
