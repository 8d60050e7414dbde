//! Fleet files: the samples are valid, and mistakes are told with their place.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use device_sim::Fleet;
use device_sim::fleet::Moment;
use hearthway_core::time::{Span, Timestamp};

const HOME: &str = r#"days = 3
[[home]]
id = "one"
zone = "Europe/Paris"
people = [{ id = "p1", role = "owner" }]
[[home.device]]
persona = "thermostat"
model = "th-200"
"#;

fn sample(name: &str) -> Fleet {
    Fleet::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/fleets").join(name)).unwrap()
}

/// The place, key and help of the only mistake.
fn mistake(text: &str) -> (usize, String, String) {
    let errors = Fleet::parse("f.toml", text).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    let it = &errors.0[0];
    assert!(errors.to_string().starts_with(&format!("f.toml:{}:", it.line)));
    (it.line, it.key.clone(), it.help.clone())
}

#[test]
fn the_sample_fleets_are_valid() {
    let quick = sample("quick.toml");
    assert!(quick.homes.len() >= 20, "{}", quick.homes.len());
    let makers: Vec<&str> =
        quick.homes.iter().flat_map(|home| &home.devices).map(|device| device.known.maker).collect();
    assert!(makers.contains(&"acme") && makers.contains(&"brewco"));
    let paris = sample("paris-2p.toml");
    assert_eq!((paris.length, paris.homes.len(), paris.notes.len()), (Span::days(60), 1, 2));
    let offline = paris.homes[0].devices[0].faults.offline[0];
    assert_eq!(offline.from, Moment::At(Timestamp::parse_rfc3339("2026-02-10T00:00:00+01:00").unwrap()));
    assert_eq!(offline.length, Span::days(6));
}

#[test]
fn a_group_becomes_homes_of_their_own_and_the_seed_fixes_their_wear() {
    let text = HOME
        .replace("[[home]]", "[[homes]]\ncount = 3")
        .replace("home.device", "homes.devices")
        .replace("model = \"th-200\"", "model = \"th-200\"\nwear = 0.5\nwear_spread = 0.1");
    let fleet = Fleet::parse("f.toml", &text).unwrap();
    let ids: Vec<&str> = fleet.homes.iter().map(|home| home.id.as_str()).collect();
    assert_eq!(ids, ["one-01", "one-02", "one-03"]);
    let wear: Vec<f64> = fleet.homes.iter().map(|home| home.devices[0].wear).collect();
    assert!(wear[0] != wear[1] && wear.iter().all(|wear| (0.4..=0.6).contains(wear)), "{wear:?}");
    assert_eq!(Fleet::parse("f.toml", &text).unwrap().homes, fleet.homes);
}

#[test]
fn an_unknown_key_is_refused_with_the_key_that_was_meant() {
    let text = HOME.replace("role = \"owner\"", "role = \"owner\", acept = 0.3");
    assert_eq!(mistake(&text), (5, "acept".into(), "did you mean `accept`?".into()));
    let text = HOME.replace("zone =", "time_zone =");
    assert_eq!(mistake(&text).0, 4);
}

#[test]
fn each_mistake_names_its_line_and_key() {
    for (from, to, line, key) in [
        ("Europe/Paris", "Europe/Pariss", 4, "zone"),
        ("role = \"owner\"", "role = \"child\"", 3, "people"),
        ("role = \"owner\"", "role = \"owner\", accept = 0.8, decline = 0.4", 5, "people"),
        ("th-200", "th-900", 8, "model"),
        ("\"thermostat\"", "\"kettle\"", 7, "persona"),
        ("days = 3", "days = 0", 1, "days"),
        ("days = 3", "days = 3\nstart = \"yesterday\"", 2, "start"),
        ("id = \"one\"", "id = \"One!\"", 3, "id"),
        ("model = \"th-200\"", "model = \"th-200\"\nfaults = { loss = 2.0 }", 9, "loss"),
        ("model = \"th-200\"", "model = \"th-200\"\nfaults = { offline = [\"soon\"] }", 9, "offline"),
        ("model = \"th-200\"", "model = \"th-200\"\nreport_every = \"5 s\"", 9, "report_every"),
        ("id = \"one\"", "id = \"one\"\nconsents = [\"everything\"]", 4, "consents"),
    ] {
        let (at, of, help) = mistake(&HOME.replace(from, to));
        assert_eq!((at, of.as_str()), (line, key), "{to}");
        assert!(!help.is_empty());
    }
}

#[test]
fn expectations_and_causes_are_checked_too_and_all_mistakes_come_in_one_pass() {
    let text = format!(
        "{HOME}[[expect]]\nthat = \"orders.number\"\nop = \"==\"\nvalue = 1\n\
         [[expect]]\nthat = \"orders.count\"\nhome = \"two\"\nop = \"==\"\nvalue = 1\n\
         [[expect]]\nthat = \"offers.shown_between\"\nfrom = \"21:00\"\nop = \"==\"\nvalue = 0\n\
         [[cause]]\nmodel = \"th-200\"\nslot = \"beans\"\nfield = \"used\"\nrises_above = 1.0\n\
         [[cause]]\nmodel = \"th-200\"\nfield = \"used\"\n"
    );
    let errors = Fleet::parse("f.toml", &text).unwrap_err();
    let keys: Vec<&str> = errors.0.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys.len(), 5, "{errors}");
    for key in ["that", "home", "from", "cause"] {
        assert!(keys.contains(&key), "{key} is missing in {keys:?}");
    }
}

#[test]
fn broken_toml_is_a_mistake_and_not_a_panic() {
    for text in ["", "days", "days = 3\n[[home", "days = 3", "days = \"three\"", "\u{0}"] {
        assert!(Fleet::parse("f.toml", text).is_err(), "{text:?}");
    }
}
