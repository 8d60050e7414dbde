//! What cannot be understood is refused with its code, its place and a cure.

use super::super::*;
use super::{OFFER, enveloped, on, refused};
use crate::code::Code::{self, *};
use crate::id::ModelId;

fn at(code: Code, pointer: &str) -> (Code, Option<String>) {
    (code, Some(pointer.to_owned()))
}

#[test]
fn a_message_says_what_where_and_how_to_mend_it() {
    let rejected = on("up/slot", &enveloped(r#"{"slot":"f","kind":"usage","used":"612 h","unit":"h"}"#)).unwrap_err();
    assert_eq!(
        rejected.refusal.message,
        "`used` must be a number of hours such as 612, not negative; it is the text `612 h`"
    );
    assert_eq!(rejected.refusal.pointer.as_deref(), Some("/body/used"));
    assert_eq!(rejected.id.unwrap().as_str(), "01JD9ZK3", "the answer names the message");
}

#[test]
fn bodies_out_of_shape_are_refused_at_their_place() {
    let offer = |rest: &str| format!(r#"{{"offer":"{OFFER}",{rest}}}"#);
    let table: Vec<(&str, String, Code, &str)> = vec![
        ("presence", "{}".into(), PayloadInvalid, "/state"),
        ("presence", r#"{"state":"gone"}"#.into(), PayloadInvalid, "/state"),
        ("presence", r#"{"state":"online","epoch":-1}"#.into(), PayloadInvalid, "/epoch"),
        ("presence", r#"{"state":"online","epoch":1.5}"#.into(), PayloadInvalid, "/epoch"),
        ("presence", r#"{"state":"sleeping","wake_at":"soon"}"#.into(), PayloadInvalid, "/wake_at"),
        ("up/telemetry", r#"{"samples":5}"#.into(), PayloadInvalid, "/samples"),
        ("up/telemetry", r#"{"samples":[{"f":{}},5]}"#.into(), PayloadInvalid, "/samples/1"),
        ("up/telemetry", r#"{"samples":[{"t":1}]}"#.into(), PayloadInvalid, "/samples/0/f"),
        ("up/telemetry", r#"{"samples":[{"f":{"a":{"b":1}}}]}"#.into(), PayloadInvalid, "/samples/0/f/a"),
        ("up/telemetry", r#"{"samples":[{"f":{"a b":1}}]}"#.into(), PayloadInvalid, "/samples/0/f/a b"),
        ("up/telemetry", r#"{"samples":[{"t":1e300,"f":{}}]}"#.into(), PayloadInvalid, "/samples/0/t"),
        ("up/telemetry", r#"{"a":[1]}"#.into(), PayloadInvalid, "/a"),
        ("up/telemetry", r#"{"a/b":1}"#.into(), PayloadInvalid, "/a~1b"),
        ("up/event", r#"{"data":{}}"#.into(), PayloadInvalid, "/type"),
        ("up/event", r#"{"type":"a b"}"#.into(), PayloadInvalid, "/type"),
        ("up/event", r#"{"type":"a","data":[1]}"#.into(), PayloadInvalid, "/data"),
        ("up/context", r#"{"presence":"home","ttl_s":0}"#.into(), PayloadInvalid, "/ttl_s"),
        ("up/context", r#"{"presence":["home"]}"#.into(), PayloadInvalid, "/presence"),
        ("up/slot", r#"{"kind":"usage","used":1}"#.into(), PayloadInvalid, "/slot"),
        ("up/slot", r#"{"slot":"a","used":1}"#.into(), PayloadInvalid, "/kind"),
        ("up/slot", r#"{"slot":"a","kind":"usage"}"#.into(), PayloadInvalid, "/used"),
        ("up/slot", r#"{"slot":"a","kind":"usage","used":-1}"#.into(), PayloadInvalid, "/used"),
        ("up/slot", r#"{"slot":"a","kind":"level","remaining":-0.5}"#.into(), PayloadInvalid, "/remaining"),
        ("up/slot", r#"{"slot":"a","kind":"usage","used":1,"capacity":0}"#.into(), PayloadInvalid, "/capacity"),
        ("up/slot", r#"{"slot":"a","kind":"usage","used":1,"unit":"hours"}"#.into(), UnitMismatch, "/unit"),
        ("up/slot", r#"{"slot":"a","kind":"usage","used":1,"unit":5}"#.into(), PayloadInvalid, "/unit"),
        ("up/slot", r#"{"slot":"a","kind":"flag","flag":"melted"}"#.into(), PayloadInvalid, "/flag"),
        ("up/slot", r#"{"slot":"a","kind":"life","ends":"2026-02-30"}"#.into(), PayloadInvalid, "/ends"),
        ("up/slot", r#"{"slot":"a","kind":"life","ends":"20261201"}"#.into(), PayloadInvalid, "/ends"),
        ("up/slot", r#"{"slot":"a","kind":"usage","used":1,"on_hand":-2}"#.into(), PayloadInvalid, "/on_hand"),
        (
            "up/slot",
            r#"{"slot":"a","kind":"usage","used":1,"product_ref":{"type":"gtin"}}"#.into(),
            PayloadInvalid,
            "/product_ref/value",
        ),
        ("up/state", r#"{"reported":{"a":[]}}"#.into(), PayloadInvalid, "/reported/a"),
        ("up/state", r#"{"version":"3"}"#.into(), PayloadInvalid, "/version"),
        ("up/sync", r#"{"want":"offers"}"#.into(), PayloadInvalid, "/want"),
        ("up/sync", r#"{"want":["time",4]}"#.into(), PayloadInvalid, "/want/1"),
        ("up/sync", r#"{"have":{"offers":"of_1"}}"#.into(), PayloadInvalid, "/have/offers"),
        ("up/claim", r#"{"op":"begin"}"#.into(), PayloadInvalid, "/op"),
        ("up/claim", r#"{"op":"start","presence":"yes"}"#.into(), PayloadInvalid, "/presence"),
        ("up/offer/receipt", offer(r#""rev":1"#), PayloadInvalid, "/state"),
        ("up/offer/receipt", offer(r#""state":"shown""#), PayloadInvalid, "/rev"),
        ("up/offer/receipt", r#"{"offer":"of_1","rev":1,"state":"shown"}"#.into(), OfferUnknown, "/offer"),
        ("up/offer/answer", r#"{"offer":5,"rev":1,"answer":"why"}"#.into(), PayloadInvalid, "/offer"),
        ("up/offer/answer", r#"{"offer":"of_é","rev":1,"answer":"why"}"#.into(), OfferUnknown, "/offer"),
        ("up/offer/answer", offer(r#""rev":1,"answer":"maybe""#), PayloadInvalid, "/answer"),
        ("up/offer/answer", offer(r#""rev":4294967296,"answer":"why""#), PayloadInvalid, "/rev"),
        ("up/offer/answer", offer(r#""rev":1,"answer":"accept","choice":{"qty":0}"#), PayloadInvalid, "/choice/qty"),
        (
            "up/offer/answer",
            offer(r#""rev":1,"answer":"accept","choice":{"fulfil":"fly"}"#),
            PayloadInvalid,
            "/choice/fulfil",
        ),
        ("up/offer/answer", offer(r#""rev":1,"answer":"accept","choice":[]"#), PayloadInvalid, "/choice"),
        ("up/offer/answer", offer(r#""rev":1,"answer":"accept","nonce":"a\nb""#), PayloadInvalid, "/nonce"),
        ("up/offer/get", r#"{"placement":"a b"}"#.into(), PayloadInvalid, "/placement"),
        ("up/replenish", r#"{"op":"never"}"#.into(), PayloadInvalid, "/op"),
        ("up/order", r#"{"order":"of_1","op":"cancel"}"#.into(), PayloadInvalid, "/order"),
        ("up/order", format!(r#"{{"order":"{}","op":"eat"}}"#, super::ORDER), PayloadInvalid, "/op"),
        ("up/consent", "{}".into(), PayloadInvalid, "/set"),
        ("up/consent", r#"{"set":[{"purpose":"all","granted":true}]}"#.into(), PayloadInvalid, "/set/0/purpose"),
        ("up/consent", r#"{"set":[{"purpose":"auto_order","granted":1}]}"#.into(), PayloadInvalid, "/set/0/granted"),
        ("up/consent", r#"{"set":[],"pause_until":"later"}"#.into(), PayloadInvalid, "/pause_until"),
        ("up/lifecycle", r#"{"op":"explode"}"#.into(), PayloadInvalid, "/op"),
        ("up/lifecycle", r#"{"op":"reset","level":"full"}"#.into(), PayloadInvalid, "/level"),
        ("up/time", r#"{"t0":"now"}"#.into(), PayloadInvalid, "/t0"),
    ];
    for (below, body, code, pointer) in table {
        assert_eq!(refused(below, &body), at(code, pointer), "{below} {body}");
        assert_eq!(refused(below, &enveloped(&body)), at(code, &format!("/body{pointer}")), "{below} {body}");
    }
}

#[test]
fn a_faulty_envelope_is_refused_at_its_place() {
    for (head, code, pointer) in [
        (r#""v":"2.0","id":"a""#, VersionUnsupported, "/v"),
        (r#""v":"","id":"a""#, VersionUnsupported, "/v"),
        (r#""v":"10.0","id":"a""#, VersionUnsupported, "/v"),
        (r#""v":2,"id":"a""#, VersionUnsupported, "/v"),
        (r#""v":[1],"id":"a""#, PayloadInvalid, "/v"),
        (r#""v":"1.0","id":"a.b""#, PayloadInvalid, "/id"),
        (r#""v":"1.0","id":"""#, PayloadInvalid, "/id"),
        (r#""v":"1.0","id":7"#, PayloadInvalid, "/id"),
        (r#""id":"a","seq":-1"#, PayloadInvalid, "/seq"),
        (r#""id":"a","seq":18446744073709551615"#, PayloadInvalid, "/seq"),
        (r#""id":"a","epoch":"1""#, PayloadInvalid, "/epoch"),
        (r#""id":"a","t":"2026-01-01""#, PayloadInvalid, "/t"),
        (r#""id":"a","t":253402300800000"#, PayloadInvalid, "/t"),
        (r#""id":"a","up_ms":1.5"#, PayloadInvalid, "/up_ms"),
        (r#""id":"a","corr":1"#, PayloadInvalid, "/corr"),
        (r#""id":"a","sig":1"#, PayloadInvalid, "/sig"),
    ] {
        let payload = format!(r#"{{{head},"body":{{"op":"wiped"}}}}"#);
        assert_eq!(refused("up/lifecycle", &payload), at(code, pointer), "{payload}");
    }
    assert_eq!(refused("up/lifecycle", r#"{"v":"1.0","id":"a","body":5}"#), at(PayloadInvalid, "/body"));
    assert_eq!(refused("up/lifecycle", r#"{"v":"1.0","id":"a","body":null}"#), at(PayloadInvalid, "/body"));
    for payload in ["[]", "5", "\"x\"", "null", "", "not json", "{"] {
        let (code, _) = refused("up/telemetry", payload);
        assert_eq!(code, PayloadInvalid, "{payload}");
    }
    let long = format!(r#"{{"id":"{}","body":{{}}}}"#, "a".repeat(65));
    assert_eq!(refused("up/sync", &long), at(PayloadInvalid, "/id"));
}

#[test]
fn the_id_is_known_to_the_answer_even_when_the_message_breaks() {
    let id = |payload: &str| on("up/slot", payload).unwrap_err().id.map(|id| id.as_str().to_owned());
    assert_eq!(id(r#"{"id":"m-1","v":"9.0","body":{}}"#).as_deref(), Some("m-1"));
    assert_eq!(id(r#"{"v":"1.0","id":"m-1","body":{"slot":NaN}}"#).as_deref(), Some("m-1"));
    assert_eq!(id(r#"{"v":"1.0","id":"not ok","body":{"slot":NaN}}"#), None);
    assert_eq!(id(r#"{"slot":1}"#), None);
}

#[test]
fn bounds_are_exact() {
    let samples = |n: usize| enveloped(&format!(r#"{{"samples":[{}]}}"#, vec![r#"{"f":{"a":1}}"#; n].join(",")));
    assert!(on("up/telemetry", &samples(200)).is_ok());
    assert_eq!(refused("up/telemetry", &samples(201)), at(PayloadTooLarge, "/body/samples"));
    let fields = |n: usize| format!("{{{}}}", (0..n).map(|k| format!(r#""f{k}":1"#)).collect::<Vec<_>>().join(","));
    assert!(on("up/telemetry", &fields(64)).is_ok());
    assert_eq!(refused("up/telemetry", &fields(65)), (PayloadTooLarge, None));
    let sample = format!(r#"{{"samples":[{{"f":{}}}]}}"#, fields(65));
    assert_eq!(refused("up/telemetry", &sample), at(PayloadTooLarge, "/samples/0/f"));
    assert_eq!(refused("up/event", &format!(r#"{{"type":"a","data":{}}}"#, fields(65))), at(PayloadTooLarge, "/data"));
    let word = r#"{"purpose":"auto_order","granted":false}"#;
    let consents = |n: usize| format!(r#"{{"set":[{}]}}"#, vec![word; n].join(","));
    assert!(on("up/consent", &consents(32)).is_ok());
    assert_eq!(refused("up/consent", &consents(33)), at(PayloadTooLarge, "/set"));
    let big = format!(r#"{{"a":"{}"}}"#, "x".repeat(17_000));
    assert_eq!(refused("up/telemetry", &big), (PayloadTooLarge, None));
}

#[test]
fn a_topic_without_a_message_is_not_allowed_and_says_which_are() {
    for below in ["up/weather", "up", "up/", "down/offer", "up/telemetry/x", "up/offer", "presence/x"] {
        let rejected = on(below, &enveloped("{}")).unwrap_err();
        assert_eq!(rejected.refusal.code, TopicNotAllowed, "{below}");
        assert!(rejected.refusal.message.contains("up/telemetry"), "{}", rejected.refusal.message);
        assert_eq!(rejected.id.unwrap().as_str(), "01JD9ZK3");
    }
    for topic in
        ["", "chan/v1/acme", "other/topic", "chan/v2/acme/d-42/desc", "chan/v1/acme/_prov/0123456789abcdefABCDE_-/req"]
    {
        assert_eq!(decode(topic, b"{}").unwrap_err().refusal.code, TopicNotAllowed, "{topic}");
    }
}

#[test]
fn a_description_that_contradicts_itself_is_invalid() {
    let base = |rest: &str| format!(r#"{{"model":"th-200","kind":"thermostat",{rest}}}"#);
    for (rest, code, pointer) in [
        (r#""telemetry":{"a":{"type":"float"}}"#, PayloadInvalid, "/telemetry/a/type"),
        (r#""telemetry":{"a":5}"#, PayloadInvalid, "/telemetry/a"),
        (r#""telemetry":{"a b":{"type":"bool"}}"#, PayloadInvalid, "/telemetry/a b"),
        (r#""telemetry":[]"#, PayloadInvalid, "/telemetry"),
        (r#""telemetry":{"a":{"type":"number","unit":"lux"}}"#, DescInvalid, "/telemetry/a/unit"),
        (r#""telemetry":{"a":{"type":"number","min":5,"max":1}}"#, DescInvalid, "/telemetry/a/min"),
        (r#""telemetry":{"a":{"type":"enum"}}"#, DescInvalid, "/telemetry/a/values"),
        (r#""telemetry":{"a":{"type":"enum","values":["x",1]}}"#, PayloadInvalid, "/telemetry/a/values/1"),
        (r#""telemetry":{"a":{"type":"bool","max_age":"soon"}}"#, PayloadInvalid, "/telemetry/a/max_age"),
        (r#""telemetry":{"a":{"type":"bool","max_age":0}}"#, PayloadInvalid, "/telemetry/a/max_age"),
        (r#""slots":{}"#, PayloadInvalid, "/slots"),
        (r#""slots":[{"kind":"flag"}]"#, PayloadInvalid, "/slots/0/slot"),
        (r#""slots":[{"slot":"a","kind":"jar"}]"#, PayloadInvalid, "/slots/0/kind"),
        (r#""slots":[{"slot":"a","kind":"usage","unit":"hours"}]"#, DescInvalid, "/slots/0/unit"),
        (r#""slots":[{"slot":"a","kind":"usage","capacity":0}]"#, PayloadInvalid, "/slots/0/capacity"),
        (r#""slots":[{"slot":"a","kind":"flag"},{"slot":"a","kind":"flag"}]"#, DescInvalid, "/slots/1/slot"),
        (r#""placements":[{"id":"a"},{"id":"a"}]"#, DescInvalid, "/placements/1/id"),
        (r#""placements":[{"id":"a","title_max":0}]"#, PayloadInvalid, "/placements/0/title_max"),
        (r#""locales":["français"]"#, PayloadInvalid, "/locales/0"),
        (r#""confirm":[1]"#, PayloadInvalid, "/confirm/0"),
        (r#""buttons":"ok""#, PayloadInvalid, "/buttons"),
    ] {
        assert_eq!(refused("desc", &base(rest)), at(code, pointer), "{rest}");
        let value: serde_json::Value = serde_json::from_str(&base(rest)).unwrap();
        let refusal = read_description(&value, Some(ModelId::new("th-200").unwrap())).unwrap_err();
        assert_eq!((refusal.code, refusal.pointer), at(code, pointer), "the same over HTTP: {rest}");
    }
    assert_eq!(refused("desc", r#"{"kind":"thermostat"}"#), at(PayloadInvalid, "/model"));
    assert_eq!(refused("desc", r#"{"model":"TH 200","kind":"thermostat"}"#), at(PayloadInvalid, "/model"));
    assert_eq!(refused("desc", r#"{"model":"th-200"}"#), at(PayloadInvalid, "/kind"));
    let slots: Vec<String> = (0..17).map(|n| format!(r#"{{"slot":"s{n}","kind":"flag"}}"#)).collect();
    assert_eq!(refused("desc", &base(&format!(r#""slots":[{}]"#, slots.join(",")))), at(DescInvalid, "/slots"));
    assert_eq!(read_description(&serde_json::json!([]), None).unwrap_err().code, PayloadInvalid);
}

#[test]
fn a_faulty_provisioning_request_is_refused() {
    let topic = "chan/v1/acme/_prov/0123456789abcdefABCDE_-/req";
    let refused = |topic: &str, payload: &str| {
        let refusal = decode_provision(topic, payload.as_bytes()).unwrap_err().refusal;
        (refusal.code, refusal.pointer)
    };
    assert_eq!(refused(topic, &enveloped(r#"{"model":"th-200"}"#)), at(PayloadInvalid, "/body/serial"));
    assert_eq!(refused(topic, r#"{"serial":"","model":"th-200"}"#), at(PayloadInvalid, "/serial"));
    assert_eq!(refused(topic, r#"{"serial":"a"}"#), at(PayloadInvalid, "/model"));
    assert_eq!(refused(topic, r#"{"serial":"a","model":"TH 200"}"#), at(DescInvalid, "/model"));
    assert_eq!(refused(topic, r#"{"serial":"a","model":"b","fw":2}"#), at(PayloadInvalid, "/fw"));
    assert_eq!(refused(topic, "{").0, PayloadInvalid);
    for topic in
        ["chan/v1/acme/_prov/short/req", "chan/v1/acme/_prov/0123456789abcdefABCDE_-/res", "chan/v1/acme/d-42/desc"]
    {
        assert_eq!(refused(topic, "{}"), (TopicNotAllowed, None), "{topic}");
    }
}
