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
