//! Who may publish and subscribe what, against a slow reference written from the MQTT standard.

use proptest::prelude::*;

use super::super::topic::*;
use crate::id::{DeviceKey, MakerId};

const NONCE: &str = "0123456789abcdefABCDE_-";

fn device() -> DeviceKey {
    "acme/d-42".parse().unwrap()
}
fn everyone() -> [Who; 3] {
    let maker = MakerId::new("acme").unwrap();
    [Who::Device(device()), Who::Bridge(maker.clone()), Who::Bootstrap(maker)]
}

#[test]
fn a_topic_reads_back_from_its_parts() {
    let topic = "chan/v1/acme/d-42/up/offer/receipt";
    let parsed = Topic::parse(topic).unwrap();
    assert_eq!(parsed, Topic::Device { device: device(), below: "up/offer/receipt" });
    assert_eq!(parsed.to_string(), topic);
    let topic = format!("chan/v1/acme/_prov/{NONCE}/req");
    assert_eq!(Topic::parse(&topic).unwrap().to_string(), topic);
    let answer = provisioning_response_topic(&MakerId::new("acme").unwrap(), NONCE);
    assert_eq!(answer, format!("chan/v1/acme/_prov/{NONCE}/res"));
}

#[test]
fn what_is_not_of_the_contract_is_no_topic() {
    for topic in [
        "",
        "chan",
        "chan/v1/acme",
        "chan/v1/acme/d-42",
        "chan/v1/acme/d-42/",
        "chan/v2/acme/d-42/desc",
        "chan/v1/Acme/d-42/desc",
        "chan/v1//d-42/desc",
        "chan/v1/acme/_bridge/desc",
        "/chan/v1/acme/d-42/desc",
        "chan/v1/acme/d-42/up/+",
        "chan/v1/acme/_prov/short/req",
        "chan/v1/acme/_prov/0123456789abcdefABCDE_-/req/x",
        "chan/v1/acme/_prov/0123456789abcdefABCDE.-/req",
    ] {
        assert_eq!(Topic::parse(topic), None, "{topic}");
    }
}

#[test]
fn a_device_publishes_upward_on_its_own_topics_only() {
    let [me, bridge, bootstrap] = everyone();
    for below in ["presence", "desc", "up/telemetry", "up/offer/answer", "up/what/ever"] {
        let topic = device_topic(&device(), below);
        assert!(may_publish(&me, &topic), "{below}");
        assert!(may_publish(&bridge, &topic), "{below}");
        assert!(!may_publish(&bootstrap, &topic), "{below}");
        assert!(!may_publish(&me, &format!("chan/v1/acme/d-43/{below}")));
        assert!(may_publish(&bridge, &format!("chan/v1/acme/d-43/{below}")));
        assert!(!may_publish(&bridge, &format!("chan/v1/other/d-42/{below}")));
    }
    for below in ["down/offer", "presence/x", "upwards", "description", "UP/telemetry"] {
        assert!(!may_publish(&me, &device_topic(&device(), below)), "{below}");
        assert!(!may_publish(&bridge, &device_topic(&device(), below)), "{below}");
    }
}

#[test]
fn bootstrap_asks_and_hears_exactly_one_nonce() {
    let [me, bridge, bootstrap] = everyone();
    let (ask, hear) = (format!("chan/v1/acme/_prov/{NONCE}/req"), format!("chan/v1/acme/_prov/{NONCE}/res"));
    assert!(may_publish(&bootstrap, &ask) && may_subscribe(&bootstrap, &hear));
    assert!(!may_publish(&bootstrap, &hear) && !may_subscribe(&bootstrap, &ask));
    for who in [&me, &bridge] {
        assert!(!may_publish(who, &ask) && !may_subscribe(who, &hear));
    }
    for filter in ["chan/v1/acme/_prov/+/res", "chan/v1/acme/_prov/#", "chan/v1/acme/_prov/short/res", "#"] {
        assert!(!may_subscribe(&bootstrap, filter), "{filter}");
    }
}

#[test]
fn a_filter_is_allowed_when_all_it_can_match_is_the_subscribers() {
    let [me, bridge, _] = everyone();
    for filter in ["down/#", "down/offer", "down/+", "down/+/x", "down/offer/#", "down"] {
        let filter = format!("chan/v1/acme/d-42/{filter}");
        assert!(may_subscribe(&me, &filter) && may_subscribe(&bridge, &filter), "{filter}");
    }
    for filter in ["chan/v1/acme/+/down/#", "chan/v1/acme/+/down/offer", "chan/v1/acme/d-43/down/#"] {
        assert!(!may_subscribe(&me, filter) && may_subscribe(&bridge, filter), "{filter}");
    }
    for filter in [
        "#",
        "+/v1/acme/d-42/down/#",
        "chan/v1/acme/d-42/#",
        "chan/v1/acme/d-42/+",
        "chan/v1/acme/#",
        "chan/v1/+/d-42/down/#",
        "chan/v1/acme/d-42/up/#",
        "$share/g/chan/v1/acme/d-42/down/#",
        "$SYS/#",
        "chan/v1/acme/d-42/down/#/x",
        "chan/v1/acme/d-42/down/of#",
        "",
    ] {
        assert!(!may_subscribe(&me, filter) && !may_subscribe(&bridge, filter), "{filter}");
    }
}

#[test]
fn a_device_that_hears_only_offers_does_not_hear_all() {
    for filter in ["chan/v1/acme/d-42/down/#", "chan/v1/acme/+/down/#"] {
        assert!(covers_all_down(filter, &device()), "{filter}");
        assert!(covers(filter, &device(), "down/offer"), "{filter}");
    }
    for filter in ["chan/v1/acme/d-42/down/offer", "chan/v1/acme/d-42/down/offer/#", "chan/v1/acme/d-43/down/#"] {
        assert!(!covers_all_down(filter, &device()), "{filter}");
    }
    assert!(covers("chan/v1/acme/d-42/down/+", &device(), "down/offer"));
    assert!(!covers_all_down("chan/v1/acme/d-42/down/+", &device()));
}

/// The slow reference: MQTT's matching as a recursion over lists of levels, written from the
/// standard and sharing nothing with the code above.
fn reference_matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([], []) => true,
        (["#"], _) => true,
        (["+", f @ ..], [_, t @ ..]) => reference_matches(f, t),
        ([a, f @ ..], [b, t @ ..]) => a == b && reference_matches(f, t),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// Topics that stand for all that a filter matches: each `+` becomes a word of the contract or
/// one that nobody else uses, each `#` nothing, one level or two.
fn witnesses(filter: &str) -> Vec<String> {
    let mut found: Vec<Vec<&str>> = vec![vec![]];
    for level in filter.split('/') {
        let choices: &[&[&str]] = match level {
            "+" => &[&["acme"], &["d-42"], &["down"], &["v1"], &["chan"], &["nobody-else"]],
            "#" => &[&[], &["down"], &["down", "x"], &["nobody-else"], &["d-42", "down"]],
            name => &[&[name]],
        };
        found =
            found.iter().flat_map(|head| choices.iter().map(move |tail| [head.as_slice(), *tail].concat())).collect();
    }
    found.into_iter().filter(|levels| !levels.is_empty()).map(|levels| levels.join("/")).collect()
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "chan", "v1", "acme", "d-42", "d-43", "down", "up", "offer", "_prov", "res", "+", "#", "", "$SYS",
    ])
}

/// Filters near the border between allowed and not: a good one with one or two levels replaced.
fn near_filter() -> impl Strategy<Value = String> {
    let good = prop::sample::select(vec![
        vec!["chan", "v1", "acme", "d-42", "down", "#"],
        vec!["chan", "v1", "acme", "+", "down", "#"],
        vec!["chan", "v1", "acme", "d-42", "down", "offer"],
        vec!["chan", "v1", "acme", "_prov", NONCE, "res"],
    ]);
    (good, prop::collection::vec((0usize..6, level()), 0..3), 1usize..=6).prop_map(|(mut levels, changes, keep)| {
        for (at, level) in changes {
            levels[at] = level;
        }
        levels.truncate(keep.max(3));
        levels.join("/")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn matching_agrees_with_the_slow_reference(
        filter in prop::collection::vec(level(), 1..6), topic in prop::collection::vec(level(), 1..6)
    ) {
        let (f, t) = (filter.join("/"), topic.join("/"));
        let wild = |levels: &[&str]| levels.iter().any(|level| matches!(*level, "+" | "#"));
        let hash_inside = filter[..filter.len() - 1].contains(&"#");
        let is_one_of_each = !f.is_empty() && !t.is_empty() && !wild(&topic) && !hash_inside;
        let is_the_servers_own = topic[0] == "$SYS" && matches!(filter[0], "+" | "#");
        let expected = is_one_of_each && !is_the_servers_own && reference_matches(&filter, &topic);
        prop_assert_eq!(matches(&f, &t), expected, "{} {}", f, t);
    }

    #[test]
    fn a_subscription_is_allowed_exactly_when_every_witness_is_the_subscribers(filter in near_filter()) {
        for who in everyone() {
            let response = format!("chan/v1/acme/_prov/{NONCE}/res");
            let allowed: Vec<&str> = match &who {
                Who::Device(_) => vec!["chan/v1/acme/d-42/down/#"],
                Who::Bridge(_) => vec!["chan/v1/acme/+/down/#"],
                Who::Bootstrap(_) => vec![&response],
            };
            let is_valid = filter.split('/').rev().skip(1).all(|level| level != "#") && !filter.is_empty();
            let expected = is_valid && witnesses(&filter).iter().all(|topic| {
                let topic: Vec<&str> = topic.split('/').collect();
                allowed.iter().any(|f| reference_matches(&f.split('/').collect::<Vec<_>>(), &topic))
            });
            prop_assert_eq!(may_subscribe(&who, &filter), expected, "{:?} {}", who, filter);
        }
    }

    #[test]
    fn a_publish_is_allowed_exactly_when_the_reference_finds_it_upward(
        mut levels in prop::sample::select(vec![
            vec!["chan", "v1", "acme", "d-42", "up", "telemetry"], vec!["chan", "v1", "acme", "d-43", "presence"],
            vec!["chan", "v1", "acme", "d-42", "desc"], vec!["chan", "v1", "acme", "_prov", NONCE, "req"],
        ]),
        at in 0usize..6, level in level(), keep in 3usize..=6,
    ) {
        if at < levels.len() {
            levels[at] = level;
        }
        levels.truncate(keep);
        let topic = levels.join("/");
        for who in everyone() {
            let upward = |device: &'static str| {
                let root = ["chan", "v1", "acme", device];
                [[&root[..], &["presence"]].concat(), [&root[..], &["desc"]].concat(), [&root[..], &["up", "#"]].concat()]
            };
            let allowed = match &who {
                Who::Device(_) => upward("d-42").to_vec(),
                // The bridge speaks for every name that the grammar allows.
                Who::Bridge(_) => ["d-42", "d-43", "chan", "v1", "acme", "down", "up", "offer", "res"].into_iter().flat_map(upward).collect(),
                Who::Bootstrap(_) => vec![vec!["chan", "v1", "acme", "_prov", NONCE, "req"]],
            };
            let is_plain = !levels.iter().any(|level| matches!(*level, "+" | "#"));
            let expected = is_plain && allowed.iter().any(|filter| reference_matches(filter, &levels));
            prop_assert_eq!(may_publish(&who, &topic), expected, "{:?} {}", who, topic);
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in ".{0,80}", other in ".{0,80}") {
        for who in everyone() {
            // Whatever may be published never lies outside the sender's own tree.
            prop_assert!(!may_publish(&who, &text) || text.starts_with("chan/v1/acme/"));
            may_subscribe(&who, &text);
        }
        matches(&text, &other);
    }
}
