//! The sample triggers in `config/triggers`.

use std::sync::Arc;

use hearthway_core::id::TriggerId;
use hearthway_core::time::Span;
use hearthway_core::trigger::{Checked, Crossing, Source, SourceFile, check, run_cases};

use crate::world::{retailer, rules, world};

pub fn samples() -> Vec<SourceFile> {
    [
        ("thermostat.toml", include_str!("../../../config/triggers/thermostat.toml")),
        ("coffee.toml", include_str!("../../../config/triggers/coffee.toml")),
    ]
    .map(|(name, text)| SourceFile { name: name.into(), text: text.into() })
    .into()
}

fn checked() -> Checked {
    let rules = rules();
    check(&samples(), &world(&rules))
}

#[test]
fn every_sample_checks_without_a_single_remark() {
    let checked = checked();
    assert_eq!(checked.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(checked.triggers.len(), 5);
}

#[test]
fn filter_worn_is_the_trigger_of_the_transcript() {
    let checked = checked();
    let id = TriggerId::new("filter-worn").unwrap();
    let trigger = checked.triggers.iter().find(|trigger| trigger.id == id).unwrap();
    let Source::Slot { slot, field, edge } = &trigger.on.source else { panic!() };
    assert_eq!((slot.as_str(), field.as_str()), ("air_filter", "used"));
    assert_eq!(edge.crossing, Crossing::RisesAbove { threshold: 600.0, rearm: 50.0 });
    assert!(trigger.quiet.is_none() && trigger.when.is_none());
    assert_eq!(trigger.offer.cancel_window, Span::ZERO);
    assert_eq!(trigger.offer.texts.locales().collect::<Vec<_>>(), ["en", "fr"]);
}

#[test]
fn every_case_of_every_sample_comes_out_as_it_says() {
    let (checked, rules) = (checked(), rules());
    assert_eq!(checked.triggers[0].retailer, retailer());
    let mut failures = Vec::new();
    for ((id, definition), trigger) in checked.definitions.iter().zip(&checked.triggers) {
        let outcomes = run_cases(&Arc::clone(trigger), definition, &rules, &|file| Err(format!("no {file}")));
        assert!(outcomes.len() >= 2, "{id} has {} cases", outcomes.len());
        for outcome in outcomes.into_iter().filter(|outcome| !outcome.passed()) {
            failures.push(format!(
                "{id}: {}: {:?}\n{}",
                outcome.name,
                outcome.differences,
                match outcome.trace {
                    Some(trace) => trace.to_string(),
                    None => String::new(),
                }
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
