//! Topics and filters: who may publish and subscribe what, decided by text alone.
//!
//! Every function here is total: any text gets an answer, and what is not a topic or filter
//! of the contract gets `false` or `None`.

use std::borrow::Cow;

use crate::id::{DeviceKey, DeviceName, MakerId};

/// What all topics of this major version begin with.
pub const ROOT: &str = "chan/v1";
/// The level that stands where a device's name would, in provisioning topics. No device can be
/// called so: `_` is not in the grammar of device names.
const PROVISIONING: &str = "_prov";
/// Bytes of a topic or filter: what MQTT's own length field can say.
const TOPIC_BYTES_MAX: usize = 65_535;
/// Fewest characters of a provisioning nonce: 22 of base64url carry 128 bits, so nobody guesses one.
pub const NONCE_CHARS_MIN: usize = 22;
/// Most characters of a provisioning nonce.
pub const NONCE_CHARS_MAX: usize = 64;

/// A topic of the contract, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic<'t> {
    /// `chan/v1/{maker}/{device}/{below}`.
    Device {
        /// Whose topic it is.
        device: DeviceKey,
        /// What stands below the device's root, such as `up/telemetry`; never empty.
        below: &'t str,
    },
    /// `chan/v1/{maker}/_prov/{nonce}/req` or `…/res`.
    Provisioning {
        /// Whose devices are provisioned.
        maker: MakerId,
        /// Chosen by the device; ties the answer to the request.
        nonce: Cow<'t, str>,
        /// Which way.
        leg: ProvisioningLeg,
    },
}

/// Which way a provisioning message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvisioningLeg {
    /// From the device.
    Request,
    /// To the device.
    Response,
}

impl ProvisioningLeg {
    /// The last level of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            ProvisioningLeg::Request => "req",
            ProvisioningLeg::Response => "res",
        }
    }
}

impl<'t> Topic<'t> {
    /// Takes a topic apart; none when it is not one of the contract.
    pub fn parse(topic: &'t str) -> Option<Topic<'t>> {
        let (maker, device, below) = split(topic)?;
        let maker = MakerId::new(maker).ok()?;
        if device == PROVISIONING {
            let (nonce, leg) = below.split_once('/')?;
            let leg = match leg {
                "req" => ProvisioningLeg::Request,
                "res" => ProvisioningLeg::Response,
                _ => return None,
            };
            return is_nonce(nonce).then_some(Topic::Provisioning { maker, nonce: Cow::Borrowed(nonce), leg });
        }
        Some(Topic::Device { device: DeviceKey::new(maker, DeviceName::new(device).ok()?), below })
    }
}

/// Maker, device level and what stands below it, where the topic begins as all do.
fn split(topic: &str) -> Option<(&str, &str, &str)> {
    if !is_topic(topic) {
        return None;
    }
    let (maker, rest) = topic.strip_prefix(ROOT)?.strip_prefix('/')?.split_once('/')?;
    let (device, below) = rest.split_once('/')?;
    (!below.is_empty()).then_some((maker, device, below))
}

impl std::fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Topic::Device { device, below } => write!(f, "{ROOT}/{device}/{below}"),
            Topic::Provisioning { maker, nonce, leg } => {
                write!(f, "{ROOT}/{maker}/{PROVISIONING}/{nonce}/{}", leg.as_str())
            }
        }
    }
}

/// The full topic of a device for what stands below its root: `down/offer` → `chan/v1/acme/d-42/down/offer`.
pub fn device_topic(device: &DeviceKey, below: &str) -> String {
    Topic::Device { device: device.clone(), below }.to_string()
}

/// The topic on which a provisioning request is answered.
pub fn provisioning_response_topic(maker: &MakerId, nonce: &str) -> String {
    Topic::Provisioning { maker: maker.clone(), nonce: nonce.into(), leg: ProvisioningLeg::Response }.to_string()
}

/// Whether a text is a provisioning nonce: 22 to 64 of `A-Z a-z 0-9 _ -`.
pub fn is_nonce(text: &str) -> bool {
    (NONCE_CHARS_MIN..=NONCE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

/// Who a connection speaks as; its topics follow from this alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// One device, by its own credential.
    Device(DeviceKey),
    /// A maker's bridge, for all devices of the maker.
    Bridge(MakerId),
    /// A maker's bootstrap credential: may ask for a device's own credential, nothing else.
    Bootstrap(MakerId),
}

/// Whether `who` may publish to a topic.
pub fn may_publish(who: &Who, topic: &str) -> bool {
    let Some((maker, device, below)) = split(topic) else { return false };
    match who {
        Who::Device(me) => me.maker.as_str() == maker && me.device.as_str() == device && is_upward(below),
        Who::Bridge(me) => me.as_str() == maker && is_upward(below) && DeviceName::new(device).is_ok(),
        Who::Bootstrap(me) => {
            me.as_str() == maker && device == PROVISIONING && below.strip_suffix("/req").is_some_and(is_nonce)
        }
    }
}

/// Whether what stands below a device's root is the device's to publish: `presence`, `desc`, `up/#`.
fn is_upward(below: &str) -> bool {
    matches!(below, "presence" | "desc" | "up") || below.starts_with("up/")
}

/// Whether `who` may subscribe to a filter: everything that the filter could ever match must be
/// `who`'s to read. `$share/…` and `$SYS/…` never are.
pub fn may_subscribe(who: &Who, filter: &str) -> bool {
    if !is_filter(filter) {
        return false;
    }
    match who {
        Who::Device(device) => is_within_down(filter, device.maker.as_str(), Some(device.device.as_str())),
        Who::Bridge(maker) => is_within_down(filter, maker.as_str(), None),
        Who::Bootstrap(me) => matches!(
            Topic::parse(filter),
            Some(Topic::Provisioning { maker, leg: ProvisioningLeg::Response, .. }) if maker == *me
        ),
    }
}

/// Whether a valid filter is a subset of `chan/v1/{maker}/{device}/down/#`, where no device means
/// `+`. A literal level is a subset of itself and of `+`; `+` only of `+`; what stands below
/// `down` is a subset of `#` whatever it is.
fn is_within_down(filter: &str, maker: &str, device: Option<&str>) -> bool {
    let mut levels = filter.split('/');
    levels.next() == Some("chan")
        && levels.next() == Some("v1")
        && levels.next() == Some(maker)
        && levels.next().is_some_and(|level| device.map_or(level != "#", |device| level == device))
        && levels.next() == Some("down")
}

/// Whether a subscription covers a device's topic below its root, such as `down/offer`.
pub fn covers(filter: &str, device: &DeviceKey, below: &str) -> bool {
    matches(filter, &device_topic(device, below))
}

/// Whether a subscription covers all that can ever be sent to a device: its whole `down/#`.
pub fn covers_all_down(filter: &str, device: &DeviceKey) -> bool {
    // Only a filter that ends in `#` matches levels without end; and one that does, and matches
    // `…/down` itself, matches everything below.
    filter.ends_with('#') && matches(filter, &device_topic(device, "down"))
}

/// Whether a filter matches a topic, by the rules of MQTT. An invalid filter or topic never matches.
pub fn matches(filter: &str, topic: &str) -> bool {
    if !is_filter(filter) || !is_topic(topic) {
        return false;
    }
    // A wildcard in front does not reach the server's own topics.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true; // also when the topic has ended: `a/#` matches `a`
        }
        match topic.next() {
            Some(name) if level == "+" || level == name => {}
            Some(_) | None => return false,
        }
    }
    topic.next().is_none()
}

/// Whether a text is a topic that one may publish to: not empty, no wildcard, no NUL.
pub fn is_topic(text: &str) -> bool {
    has_topic_length(text) && !text.bytes().any(|c| matches!(c, b'+' | b'#' | 0))
}

/// Whether a text is a filter that one may subscribe to: wildcards fill whole levels, `#` the last.
pub fn is_filter(text: &str) -> bool {
    if !has_topic_length(text) || text.contains('\0') {
        return false;
    }
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_valid = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            name => !name.contains(['+', '#']),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

fn has_topic_length(text: &str) -> bool {
    (1..=TOPIC_BYTES_MAX).contains(&text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

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
            found = found
                .iter()
                .flat_map(|head| choices.iter().map(move |tail| [head.as_slice(), *tail].concat()))
                .collect();
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
            let expected = !f.is_empty() && !t.is_empty() && !wild(&topic) && !hash_inside
                && !(topic[0] == "$SYS" && matches!(filter[0], "+" | "#"))
                && reference_matches(&filter, &topic);
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
}
