//! What an offer says, in which language.

use std::collections::BTreeMap;

use hearthway_core::money::Money;
use hearthway_core::trigger::definition::TextDefinition;
use hearthway_core::trigger::{TextVars, Texts, money_text};

fn text(title: &str) -> TextDefinition {
    TextDefinition { title: Some(title.into()), body: Some("b".into()), ..TextDefinition::default() }
}
fn vars() -> TextVars {
    TextVars::default().with_product("Filter & Co", Money::parse("19.90 EUR").unwrap(), "en")
}
fn texts(entries: &[(&str, &str)]) -> Texts {
    let entries: BTreeMap<_, _> = entries.iter().map(|(locale, title)| ((*locale).to_owned(), text(title))).collect();
    Texts::compile(&entries, |_| vars()).unwrap()
}

#[test]
fn the_nearest_language_is_taken_and_said() {
    let texts = texts(&[("en", "Hello"), ("fr", "Bonjour"), ("fr-CA", "Allô")]);
    let said = |locales: &[&str], default: &str| {
        let said = texts.render(locales, default, &vars()).unwrap();
        assert_eq!(texts.choose(locales, default), Some(said.locale.as_str()));
        (said.locale, said.title)
    };
    assert_eq!(said(&["fr-CA"], "en"), ("fr-CA".into(), "Allô".into()));
    assert_eq!(said(&["fr-FR"], "en"), ("fr".into(), "Bonjour".into()));
    assert_eq!(said(&["de", "en-GB"], "fr"), ("en".into(), "Hello".into()));
    assert_eq!(said(&["de"], "fr-FR"), ("fr".into(), "Bonjour".into()));
    assert_eq!(said(&["de"], "it"), ("en".into(), "Hello".into()));
}

#[test]
fn a_text_is_for_people_not_for_browsers() {
    let said = texts(&[("en", "{{ product.name | upper }}: {{ price.total }}")]).render(&[], "en", &vars()).unwrap();
    assert_eq!(said.title, "FILTER & CO: 19.90 EUR");
}

#[test]
fn a_variable_without_a_value_is_an_error_never_an_empty_place() {
    let texts = texts(&[("en", "{{ product.name }}")]);
    let error = texts.render(&[], "en", &TextVars::default()).unwrap_err();
    assert_eq!((error.locale.as_str(), error.part), ("en", "title"));
    assert!(error.to_string().contains("no value"), "{error}");
}

#[test]
fn a_text_can_neither_run_long_nor_grow_big() {
    let refused = |title: &str| Texts::compile(&[("en".to_owned(), text(title))].into(), |_| vars()).unwrap_err();
    let nested = "{% for a in 'xxxxxxxxxxxxxxxx' %}".repeat(6) + "x" + &"{% endfor %}".repeat(6);
    assert!(refused(&nested)[0].message.contains("too many steps"), "{:?}", refused(&nested));
    assert!(refused(&"x".repeat(3_000))[0].message.contains("at most"));
    assert!(refused("{% include 'secret' %}")[0].part == "title");
    assert!(refused("{{ range(10) }}")[0].message.contains("`range`"));
}

#[test]
fn french_writes_amounts_its_own_way() {
    let money = Money::parse("19.90 EUR").unwrap();
    assert_eq!((money_text(money, "fr-FR").as_str(), money_text(money, "en").as_str()), ("19,90 €", "19.90 EUR"));
    assert_eq!(money_text(Money::parse("5.00 CHF").unwrap(), "fr"), "5,00 CHF");
}
