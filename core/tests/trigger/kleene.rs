//! Laws of three-valued logic, and that nothing from outside panics.

use hearthway_core::id::FieldName;
use hearthway_core::model::{Few, Reading, Value};
use hearthway_core::trigger::condition::Scope;
use hearthway_core::trigger::{SourceFile, Truth, check, check_json};
use proptest::prelude::*;

use crate::conditions::compile;
use crate::world::{home, now, rules, thermostat, world};

fn truths() -> impl Strategy<Value = Truth> {
    prop_oneof![Just(Truth::True), Just(Truth::False), Just(Truth::Unknown)]
}

/// A condition over three fields as text, with its truth by the tables.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(usize),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Tree::Leaf(i) => {
                ["telemetry.temperature < 17", "telemetry.window_open", "telemetry.mode == \"heat\""][*i].into()
            }
            Tree::Not(a) => format!("!({})", a.text()),
            Tree::And(a, b) => format!("({}) && ({})", a.text(), b.text()),
            Tree::Or(a, b) => format!("({}) || ({})", a.text(), b.text()),
        }
    }
    fn truth(&self, leaves: &[Truth; 3]) -> Truth {
        match self {
            Tree::Leaf(i) => leaves[*i],
            Tree::Not(a) => match a.truth(leaves) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
            },
            Tree::And(a, b) => rank_min(a.truth(leaves), b.truth(leaves)),
            Tree::Or(a, b) => rank_max(a.truth(leaves), b.truth(leaves)),
        }
    }
}

/// Kleene's tables by another road: false < unknown < true, and is the least, or the greatest.
fn rank(truth: Truth) -> u8 {
    match truth {
        Truth::False => 0,
        Truth::Unknown => 1,
        Truth::True => 2,
    }
}
fn rank_min(a: Truth, b: Truth) -> Truth {
    if rank(a) <= rank(b) { a } else { b }
}
fn rank_max(a: Truth, b: Truth) -> Truth {
    if rank(a) >= rank(b) { a } else { b }
}

fn trees() -> impl Strategy<Value = Tree> {
    (0..3usize).prop_map(Tree::Leaf).prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| Tree::Not(Box::new(a))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Tree::Or(Box::new(a), Box::new(b))),
        ]
    })
}

proptest! {
    #[test]
    fn and_or_not_keep_to_kleenes_laws(a in truths(), b in truths(), c in truths()) {
        prop_assert_eq!(a.and(b), b.and(a));
        prop_assert_eq!(a.or(b), b.or(a));
        prop_assert_eq!(!a.and(b), (!a).or(!b));
        prop_assert_eq!(!!a, a);
        prop_assert_eq!(a.and(b.or(c)), a.and(b).or(a.and(c)));
        prop_assert_eq!(a.and(b).and(c), a.and(b.and(c)));
        prop_assert_eq!(Truth::Unknown.or(Truth::True), Truth::True);
        prop_assert_eq!(a.and(b), rank_min(a, b));
        prop_assert_eq!(a.or(b), rank_max(a, b));
    }

    #[test]
    fn an_evaluated_condition_is_what_the_tables_say(tree in trees(), leaves in [truths(), truths(), truths()]) {
        // A tree that is too big, or that contradicts itself, is refused, and that is another test's matter.
        if let Ok(condition) = compile(&tree.text()) {
            let ((household, mut device), description) = (home(), thermostat());
            device.reported = Few::new();
            let values = [
                ("temperature", Value::Number(16.0), Value::Number(18.0)),
                ("window_open", Value::Bool(true), Value::Bool(false)),
                ("mode", Value::Text("heat".into()), Value::Text("off".into())),
            ];
            for ((field, yes, no), truth) in values.into_iter().zip(leaves) {
                let value = match truth {
                    Truth::True => yes,
                    Truth::False => no,
                    Truth::Unknown => continue,
                };
                device.reported.insert(FieldName::new(field).unwrap(), Reading { value, t: now() });
            }
            let (slot, event) = (None, None);
            let scope = Scope { household: &household, device: &device, description: &description, slot, event, now: now() };
            prop_assert_eq!(condition.truth(&scope), tree.truth(&leaves), "{}", tree.text());
        }
    }

    #[test]
    fn no_text_makes_the_condition_reader_panic(text in ".{0,200}") {
        let _ = compile(&text);
    }

    #[test]
    fn no_soup_of_tokens_makes_the_condition_reader_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "telemetry", ".", "temperature", "mode", "slot", "used", "local", "hour", "&&", "||", "!", "==", "<", "in",
            "(", ")", "[", "]", ",", "\"heat\"", "\"17 °C\"", "17", "-", "/", "?", ":", "has", "size", "context", "é",
            "presence", "profile", "segments", "true", "//", "\n", "household", "days_since_order", "event", "data",
        ]), 0..40),
        glue in prop::sample::select(vec!["", " "]),
    ) {
        if let Err(faults) = compile(&words.join(glue)) {
            let text = words.join(glue);
            for fault in faults {
                prop_assert!(text.get(fault.span.clone()).is_some(), "{:?} points outside {:?}", fault, text);
            }
        }
    }

    #[test]
    fn no_file_makes_the_check_panic(text in ".{0,300}") {
        let rules = rules();
        check(&[SourceFile { name: "a.toml".into(), text }], &world(&rules));
    }

    #[test]
    fn no_damage_to_a_good_file_makes_the_check_panic(
        at in 0..4_000usize, length in 0..40usize, put in "[\\[\\]\"'=.a-z0-9\\n{}%é \\\\]{0,6}",
    ) {
        let good = include_str!("../../../config/triggers/thermostat.toml");
        let mut chars: Vec<char> = good.chars().collect();
        let at = at.min(chars.len());
        let end = (at + length).min(chars.len());
        chars.splice(at..end, put.chars());
        let text: String = chars.into_iter().collect();
        let rules = rules();
        let checked = check(&[SourceFile { name: "a.toml".into(), text: text.clone() }], &world(&rules));
        for problem in checked.problems {
            prop_assert!(text.get(problem.span.clone()).is_some(), "{:?}", problem);
            let report = problem.report(&text);
            prop_assert!(!report.to_string().is_empty());
        }
    }

    #[test]
    fn no_json_makes_the_check_panic(key in "[a-z_]{1,8}", text in ".{0,20}", number in any::<f64>()) {
        let rules = rules();
        for at in ["on", "when", "offer", "audience", "limits", "test", "id", "priority"] {
            for value in [serde_json::json!(text), serde_json::json!(number), serde_json::json!({ &key: text }), serde_json::json!([text])] {
                let (trigger, problems) = check_json(&serde_json::json!({ at: value }), &world(&rules));
                prop_assert!(trigger.is_none() && !problems.is_empty());
            }
        }
    }
}
