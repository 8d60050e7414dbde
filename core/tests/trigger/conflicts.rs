//! What is sound by itself and looks wrong beside the rest.

use std::sync::Arc;

use hearthway_core::model::SlotKind;
use hearthway_core::rules::RuleSet;
use hearthway_core::trigger::{SourceFile, check, conflicts};

use crate::world::{rules, world};

/// A sound trigger on the air filter, with lines for its parts.
fn filter(id: &str, crossing: &str, more: &str) -> String {
    format!(
        "[[trigger]]\nid = \"{id}\"\nkind = \"offer\"\n{more}\n[trigger.on]\nevent = \"slot\"\n\
         device = {{ kind = \"thermostat\" }}\nslot = \"air_filter\"\nfield = \"used\"\n{crossing}\n\
         [trigger.offer]\nproduct = \"flt-20x25\"\n[trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n\
         [trigger.offer.text.en]\ntitle = \"a\"\nbody = \"b\"\n"
    )
}

/// The findings' codes, with the triggers that each is about.
fn found(text: &str) -> Vec<String> {
    found_in(&rules(), text)
}

fn found_in(rules: &RuleSet, text: &str) -> Vec<String> {
    let world = world(rules);
    let checked = check(&[SourceFile { name: "t.toml".into(), text: text.into() }], &world);
    assert!(checked.is_sound(), "{:#?}", checked.problems);
    let told = |of: &hearthway_core::trigger::Conflict| {
        let names: Vec<&str> = of.triggers.iter().map(|id| id.as_str()).collect();
        format!("{} {}", of.code, names.join("+"))
    };
    conflicts(&checked.triggers, &world).iter().map(told).collect()
}

const UP: &str = "rises_above = \"600 h\"\nrearm = \"50 h\"";

#[test]
fn two_triggers_on_one_slot_and_audience_are_told() {
    let pair = |one: &str, other: &str| found(&format!("{}{}", filter("a", UP, one), filter("b", UP, other)));
    assert_eq!(pair("", ""), ["trigger.same_slot a+b"]);
    let segment = |words: &str| format!("[trigger.audience]\n{words}\n");
    let (eco, vip) = (segment("include = [\"eco\"]"), segment("include = [\"vip\"]"));
    assert_eq!(pair(&eco, &vip), [""; 0], "other homes");
    assert_eq!(pair(&eco, &segment("exclude = [\"eco\"]")), [""; 0], "the others");
    assert_eq!(pair(&eco, ""), ["trigger.same_slot a+b"], "some are in both");
    let dates = |words: &str| format!("[trigger.valid]\n{words}\n");
    assert_eq!(pair(&dates("until = 2026-03-01"), &dates("from = 2026-03-02")), [""; 0], "other days");
    let down = "falls_below = \"20 h\"\nrearm = \"50 h\"";
    assert_eq!(found(&format!("{}{}", filter("a", UP, ""), filter("b", down, ""))), [""; 0], "the other way");
}

#[test]
fn whatever_tells_that_one_slot_runs_out_is_one_moment() {
    // A sound trigger on the slot, by what wakes it.
    let waking = |id: &str, on: &str| {
        let text = filter(id, "", "");
        let (head, rest) = text.split_once("event = \"slot\"").unwrap();
        let (_, offer) = rest.split_once("[trigger.offer]").unwrap();
        let device = "device = { kind = \"thermostat\" }\nslot = \"air_filter\"";
        format!("{head}{on}\n{device}\n[trigger.offer]{offer}")
    };
    let field = |field: &str, crossing: &str| format!("event = \"slot\"\nfield = \"{field}\"\n{crossing}");
    let order_by = "event = \"forecast\"\nfield = \"order_by\"\nfalls_below = \"3d\"".to_owned();
    let worn = field("used", UP);
    let scarce = field("remaining", "falls_below = \"20 h\"\nrearm = \"50 h\"");
    let any = field("used", "changes = true\nbroad = true");
    let fresh = field("used", "falls_below = \"20 h\"\nrearm = \"50 h\"");
    let refill = "event = \"refill\"".to_owned();
    let spares = field("on_hand", "falls_below = 1\nrearm = 2");
    let same = ["trigger.same_slot a+b"];
    let ends = [&worn, &scarce, &order_by];
    let begins = [&fresh, &refill];
    for (group, others) in [(&ends[..], &begins[..]), (&begins[..], &ends[..])] {
        for one in group {
            let pair = |other: &str| found(&format!("{}{}", waking("a", one), waking("b", other)));
            group.iter().for_each(|other| assert_eq!(pair(other), same, "{one}\n{other}"));
            others.iter().for_each(|other| assert_eq!(pair(other), [""; 0], "{one}\n{other}"));
            assert_eq!(pair(&any), same, "{one}: any change is this one too");
            assert_eq!(pair(&spares), [""; 0], "{one}: another word");
        }
    }
    assert_eq!(found(&format!("{}{}", waking("a", &spares), waking("b", &spares))), same);

    // A slot that knows three words only.
    let mut rules = rules();
    let model = Arc::make_mut(rules.models.get_mut("th-200").unwrap());
    model.description.slots.values_mut().for_each(|slot| slot.kind = SlotKind::Flag);
    let word = |word: &str| field("flag", &format!("becomes = \"{word}\""));
    for (one, other, wanted) in [
        (word("low"), word("low"), &same[..]),
        (word("low"), word("empty"), &[]),
        (word("low"), word("ok"), &[]),
        (word("empty"), order_by.clone(), &same[..]),
        (word("ok"), refill.clone(), &same[..]),
        (word("ok"), order_by, &[]),
        (word("ok"), field("flag", "changes = true"), &same[..]),
    ] {
        assert_eq!(
            found_in(&rules, &format!("{}{}", waking("a", &one), waking("b", &other))),
            wanted,
            "{one}\n{other}"
        );
    }
}

#[test]
fn a_cap_that_never_binds_is_told() {
    let caps = |caps: &str| found(&format!("{}[trigger.limits]\ncaps = [{caps}]\n", filter("a", UP, "")));
    let idle = ["trigger.idle_cap a"];
    assert_eq!(
        caps("{ max = 1, per = \"offer\", within = \"21d\" }, { max = 2, per = \"offer\", within = \"7d\" }"),
        idle
    );
    assert_eq!(caps("{ max = 1, per = \"all\", within = \"7d\" }, { max = 1, per = \"offer\", each = \"day\" }"), idle);
    assert_eq!(caps("{ max = 65, per = \"offer\", within = \"300d\" }"), idle, "more than is remembered");
    for sound in [
        "{ max = 1, per = \"offer\", within = \"21d\" }, { max = 2, per = \"all\", within = \"7d\" }",
        "{ max = 1, per = \"offer\", within = \"7d\" }, { max = 2, per = \"offer\", within = \"21d\" }",
        "{ max = 1, per = \"all\", scope = \"device\", within = \"7d\" }, { max = 2, per = \"all\", within = \"7d\" }",
    ] {
        assert_eq!(caps(sound), [""; 0], "{sound}");
    }
}

#[test]
fn a_language_that_devices_show_and_no_text_has_is_told() {
    let both = filter("a", UP, "");
    assert_eq!(found(&both), [""; 0]);
    let french = both.replace("[trigger.offer.text.en]\ntitle = \"a\"\nbody = \"b\"\n", "");
    assert_eq!(found(&french), ["trigger.missing_locale a"]);
}
