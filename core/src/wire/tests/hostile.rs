//! Whatever arrives, an answer leaves: no panic, no pointer to nowhere, no unbounded work.

use proptest::prelude::*;

use super::super::*;
use super::{enveloped, examples};
use crate::code::Code;

/// Checks that an answer holds what every answer must hold.
fn check(topic: &str, payload: &[u8]) -> Result<(), TestCaseError> {
    match decode(topic, payload) {
        Ok(envelope) => {
            prop_assert!(payload.len() <= crate::limits::PAYLOAD_BYTES_MAX);
            prop_assert!(topic.ends_with(envelope.message.topic()));
        }
        Err(rejected) => {
            let allowed = [
                Code::PayloadInvalid,
                Code::PayloadTooLarge,
                Code::VersionUnsupported,
                Code::TopicNotAllowed,
                Code::UnitMismatch,
                Code::DescInvalid,
                Code::OfferUnknown,
            ];
            prop_assert!(allowed.contains(&rejected.refusal.code), "{}", rejected.refusal);
            prop_assert!(!rejected.refusal.message.is_empty());
            if let Some(pointer) = &rejected.refusal.pointer {
                prop_assert!(pointer.starts_with('/'), "{}", pointer);
            }
        }
    }
    Ok(())
}

/// Pieces that break JSON, its types or its bounds, put in the place of any value or text.
const POISON: &[&str] = &[
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1e308",
    "-0",
    "00",
    "0x10",
    "18446744073709551616",
    "-9223372036854775809",
    "9223372036854775807",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u0000\"",
    "\"\\x\"",
    "\"unterminated",
    "[[[[[[[[[[[[1]]]]]]]]]]]]",
    "{\"a\":1,\"a\":2}",
    "{\"body\":{}}",
    "\u{feff}",
    "\"💥\"",
    "'x'",
    "/*x*/",
    "",
    ",",
    "}",
    "]",
];

/// A valid message with something broken in it.
fn mutated() -> impl Strategy<Value = (String, Vec<u8>)> {
    let message = (prop::sample::select(examples()), any::<bool>());
    let change =
        (0u8..6, any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::sample::select(POISON), any::<u8>());
    (message, prop::collection::vec(change, 1..4)).prop_map(|(((below, body), is_short), changes)| {
        let text = if is_short { body } else { enveloped(&body) };
        let mut bytes = text.into_bytes();
        for (kind, from, to, poison, byte) in changes {
            let (a, b) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            match kind {
                0 => bytes.truncate(a),
                1 => drop(bytes.drain(a..b)),
                2 => drop(bytes.splice(a..a, poison.bytes())),
                3 => replace_value(&mut bytes, a, poison),
                4 => drop(bytes.splice(a..a, [byte])),
                _ => {
                    let piece = bytes[a..b].to_vec();
                    drop(bytes.splice(b..b, piece));
                }
            }
        }
        (format!("chan/v1/acme/d-42/{below}"), bytes)
    })
}

/// Puts `poison` in the place of the first value after `from`, so that the rest stays valid.
fn replace_value(bytes: &mut Vec<u8>, from: usize, poison: &str) {
    let Some(colon) = bytes[from..].iter().position(|c| *c == b':') else { return };
    let start = from + colon + 1;
    let length = bytes[start..].iter().position(|c| matches!(c, b',' | b'}' | b']')).unwrap_or(0);
    drop(bytes.splice(start..start + length, poison.bytes()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn random_bytes_get_an_answer(topic in prop::sample::select(UP_TOPICS.to_vec()), payload in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&format!("chan/v1/acme/d-42/{topic}"), &payload)?;
    }

    #[test]
    fn random_json_like_text_gets_an_answer(
        topic in prop::sample::select(UP_TOPICS.to_vec()), payload in r#"[{}\[\]",:0-9a-fnulrt\\. -]{0,120}"#
    ) {
        check(&format!("chan/v1/acme/d-42/{topic}"), payload.as_bytes())?;
    }

    #[test]
    fn broken_messages_get_an_answer((topic, payload) in mutated()) {
        check(&topic, &payload)?;
    }

    #[test]
    fn random_topics_get_an_answer(topic in ".{0,60}", payload in prop::collection::vec(any::<u8>(), 0..50)) {
        let _ = decode(&topic, &payload);
        let _ = decode_provision(&topic, &payload);
    }

    #[test]
    fn broken_provisioning_gets_an_answer((_, payload) in mutated(), cut in any::<prop::sample::Index>()) {
        let topic = "chan/v1/acme/_prov/0123456789abcdefABCDE_-/req";
        let _ = decode_provision(topic, &payload);
        let good = enveloped(r#"{"serial":"TH-0001","model":"th-200","hw":"b","fw":"2.1.0","proof":null}"#);
        let cut = cut.index(good.len());
        let outcome = decode_provision(topic, &good.as_bytes()[..cut]);
        prop_assert!(outcome.is_err(), "a cut message is never whole");
    }

    #[test]
    fn unknown_members_are_borne_everywhere_but_where_names_are_free(n in any::<prop::sample::Index>()) {
        let all = examples();
        let (below, body) = &all[n.index(all.len())];
        prop_assume!(!matches!(*below, "up/telemetry" | "up/context" | "up/doctor"));
        let more = if body == "{}" { r#"{"x_later":{"deep":[1]}}"#.to_owned() } else { body.replacen('{', r#"{"x_later":{"deep":[1]},"#, 1) };
        let topic = format!("chan/v1/acme/d-42/{below}");
        let plain = decode(&topic, enveloped(body).as_bytes()).unwrap();
        let extended = decode(&topic, enveloped(&more).as_bytes()).unwrap();
        prop_assert_eq!(plain, extended);
    }
}

#[test]
fn every_prefix_of_every_example_gets_an_answer_and_none_is_taken_for_the_whole() {
    for (below, body) in examples() {
        let payload = enveloped(&body);
        let topic = format!("chan/v1/acme/d-42/{below}");
        for end in 0..payload.len() {
            assert!(decode(&topic, &payload.as_bytes()[..end]).is_err(), "{below} cut at {end}");
        }
    }
}

#[test]
fn the_known_poisons_are_refused_with_a_place() {
    for poison in ["NaN", "Infinity", "1e999", "\"\\ud800\"", "{\"a\":1,\"a\":2}", "[[[[[[[[[1]]]]]]]]]"] {
        let payload = enveloped(&format!(r#"{{"temperature":{poison}}}"#));
        let refusal = decode("chan/v1/acme/d-42/up/telemetry", payload.as_bytes()).unwrap_err().refusal;
        assert_eq!(refusal.code, Code::PayloadInvalid, "{poison}: {refusal}");
        assert!(refusal.pointer.is_some_and(|pointer| pointer.starts_with("/body/temperature")), "{poison}");
    }
}
