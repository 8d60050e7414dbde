//! Bytes ⇄ MQTT packets, 3.1.1 and 5. The only file that names the protocol library.
//!
//! Only the library's packet parsers are used: they are pure and total. Its stateful connection
//! is not, because it panics on a legal CONNECT (Topic Alias Maximum 0), counts 3.1.1 clients
//! against a receive maximum they cannot know, and keeps session state that the session table
//! owns. What its parsers let through and the standard forbids is checked here; every fault
//! closes the connection. Nothing in this file waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mqtt_protocol_core::mqtt::packet::{Properties, Property, Qos, SubEntry, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::reason;

/// Topic aliases that a v5 client may set up: one per topic of the contract that it repeats.
pub const TOPIC_ALIASES_MAX: u16 = 16;
/// Bytes of a fixed header: one byte of type and at most four of length.
const FIXED_HEADER_BYTES_MAX: usize = 5;

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// Bytes that are not MQTT, or not allowed. Always ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} (reason 0x{reason:02x})")]
pub struct Fault {
    /// The MQTT 5 reason code.
    pub reason: u8,
    /// What is wrong.
    pub what: &'static str,
}

impl Fault {
    fn malformed(what: &'static str) -> Fault {
        Fault { reason: reason::MALFORMED_PACKET, what }
    }
    fn protocol(what: &'static str) -> Fault {
        Fault { reason: reason::PROTOCOL_ERROR, what }
    }
}

impl From<MqttError> for Fault {
    fn from(error: MqttError) -> Fault {
        // The library's own codes above 0xff have no meaning on the wire.
        let reason = u8::try_from(error as u16).unwrap_or(reason::MALFORMED_PACKET);
        Fault { reason, what: "the packet does not parse" }
    }
}

/// What a client sent.
#[derive(Debug)]
pub enum Packet {
    /// CONNECT.
    Connect(Box<Connect>),
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK for a delivery of ours.
    Puback {
        /// Which.
        id: u16,
    },
    /// PUBREL: the second half of a QoS 2 publish.
    Pubrel {
        /// Which.
        id: u16,
    },
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// To be repeated in the answer.
        id: u16,
        /// The filters to forget.
        filters: Vec<String>,
    },
    /// PINGREQ.
    Pingreq,
    /// DISCONNECT.
    Disconnect {
        /// 0 in order, 4 in order but with the will.
        reason: u8,
        /// A new session expiry, in seconds.
        session_expiry_seconds: Option<u32>,
    },
}

/// CONNECT, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The client's protocol version.
    pub version: Version,
    /// May be empty.
    pub client_id: String,
    /// Forget what was.
    pub clean_start: bool,
    /// 0 means none.
    pub keep_alive_seconds: u16,
    /// `{maker}/{device}` and its like.
    pub username: Option<String>,
    /// The secret.
    pub password: Option<Vec<u8>>,
    /// What to publish when the connection breaks.
    pub will: Option<Will>,
    /// How long the session outlives the connection; `u32::MAX` means for ever.
    pub session_expiry_seconds: u32,
    /// Unacknowledged deliveries that the client takes at once.
    pub receive_max: u16,
    /// Bytes of a packet that the client takes.
    pub packet_bytes_max: Option<u32>,
    /// The client asks for enhanced authentication, which is not served.
    pub wants_enhanced_auth: bool,
}

/// A will, checked as far as the protocol goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// How surely.
    pub qos: u8,
    /// How long after the connection broke.
    pub delay_seconds: u32,
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// To be repeated in the answer.
    pub id: u16,
    /// Each filter with the QoS asked for.
    pub filters: Vec<(String, u8)>,
    /// A subscription identifier came along, which is not served.
    pub has_identifier: bool,
}

/// PUBLISH; topic and payload are read in place.
#[derive(Debug)]
pub struct Publish {
    /// 0 at QoS 0.
    pub id: u16,
    /// 0, 1 or 2.
    pub qos: u8,
    /// A redelivery.
    pub dup: bool,
    /// The topic behind an alias, where the packet has an alias only.
    aliased: Option<Arc<str>>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    V311(v3_1_1::Publish),
    V5(v5_0::Publish),
}

impl Publish {
    /// The topic, an alias resolved.
    pub fn topic(&self) -> &str {
        match (&self.aliased, &self.body) {
            (Some(topic), _) => topic,
            (None, Body::V311(publish)) => publish.topic_name(),
            (None, Body::V5(publish)) => publish.topic_name(),
        }
    }
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::V311(publish) => publish.payload().as_slice(),
            Body::V5(publish) => publish.payload().as_slice(),
        }
    }
    /// The v5 Correlation Data, where it is text.
    pub fn correlation(&self) -> Option<&str> {
        let Body::V5(publish) = &self.body else { return None };
        publish.props().iter().find_map(|property| match property {
            Property::CorrelationData(data) => std::str::from_utf8(data.val()).ok(),
            _ => None,
        })
    }
}

/// Cuts packets out of a stream and parses them. One per connection.
#[derive(Debug)]
pub struct Decoder {
    version: Option<Version>,
    packet_bytes_max: usize,
    aliases: Vec<Option<Arc<str>>>,
}

impl Decoder {
    /// A decoder for a connection of which nothing is known; packets above the bound are refused
    /// as soon as their length is read.
    pub fn new(packet_bytes_max: usize) -> Decoder {
        Decoder { version: None, packet_bytes_max, aliases: Vec::new() }
    }

    /// The version that the CONNECT named.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Another bound, from the next packet on.
    pub fn set_packet_bytes_max(&mut self, packet_bytes_max: usize) {
        self.packet_bytes_max = packet_bytes_max;
    }

    /// Reads the first packet in `bytes`. `None` when it is not complete yet; else the packet and
    /// its length.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<(Packet, usize)>, Fault> {
        let Some((start, length)) = self.frame(bytes)? else { return Ok(None) };
        let header = bytes[0];
        let body = &bytes[start..start + length];
        // The parsers are total as far as known; a fault of theirs must end one connection, not all.
        let packet = catch_unwind(AssertUnwindSafe(|| self.parse(header, body)))
            .unwrap_or(Err(Fault::malformed("the packet broke its parser")))?;
        Ok(Some((packet, start + length)))
    }

    /// Where the body starts and how long it is; `None` while bytes are missing.
    fn frame(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
        let mut length = 0usize;
        for (place, byte) in bytes.iter().skip(1).take(FIXED_HEADER_BYTES_MAX - 1).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 != 0 {
                continue;
            }
            let start = place + 2;
            if start + length > self.packet_bytes_max {
                return Err(Fault { reason: reason::PACKET_TOO_LARGE, what: "the packet is above the bound" });
            }
            return Ok((bytes.len() >= start + length).then_some((start, length)));
        }
        if bytes.len() >= FIXED_HEADER_BYTES_MAX {
            return Err(Fault::malformed("the length takes more than four bytes"));
        }
        Ok(None)
    }

    fn parse(&mut self, header: u8, body: &[u8]) -> Result<Packet, Fault> {
        let kind = header >> 4;
        let flags = header & 0x0f;
        let flags_wanted = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
        if kind != 3 && flags != flags_wanted {
            return Err(Fault::malformed("reserved flags of the fixed header are set"));
        }
        let Some(version) = self.version else {
            return match kind {
                1 => self.connect(body),
                _ => Err(Fault::protocol("the first packet is not CONNECT")),
            };
        };
        match kind {
            1 => Err(Fault::protocol("a second CONNECT")),
            3 => self.publish(version, flags, body).map(Packet::Publish),
            4 => puback(version, body),
            6 => pubrel(version, body),
            8 => subscribe(version, body).map(Packet::Subscribe),
            10 => unsubscribe(version, body),
            12 if body.is_empty() => Ok(Packet::Pingreq),
            14 => disconnect(version, body),
            5 | 7 => Err(Fault::protocol("an answer to a QoS 2 delivery, of which there are none")),
            15 => Err(Fault::protocol("AUTH without enhanced authentication")),
            _ => Err(Fault::malformed("not a packet that a client sends")),
        }
    }

    fn connect(&mut self, body: &[u8]) -> Result<Packet, Fault> {
        let unsupported = Fault { reason: reason::UNSUPPORTED_VERSION, what: "not MQTT 3.1.1 or 5" };
        let version = match (body.get(..6), body.get(6)) {
            (Some(b"\0\x04MQTT"), Some(4)) => Version::V311,
            (Some(b"\0\x04MQTT"), Some(5)) => Version::V5,
            (Some(b"\0\x04MQTT"), Some(_)) | (Some(b"\0\x06MQIs"), _) => return Err(unsupported),
            _ => return Err(Fault::malformed("not an MQTT CONNECT")),
        };
        let flags = *body.get(7).ok_or(Fault::malformed("the CONNECT is cut"))?;
        if flags & 0x01 != 0 {
            return Err(Fault::malformed("the reserved flag of CONNECT is set"));
        }
        if flags & 0x04 == 0 && flags & 0x38 != 0 {
            return Err(Fault::malformed("will flags without a will"));
        }
        if flags & 0x18 == 0x18 {
            return Err(Fault::malformed("the will asks for QoS 3"));
        }
        self.version = Some(version);
        let connect = match version {
            Version::V311 => connect_v311(body)?,
            Version::V5 => connect_v5(body)?,
        };
        let texts =
            [Some(&connect.client_id), connect.username.as_ref(), connect.will.as_ref().map(|will| &will.topic)];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(Fault::malformed("a text holds U+0000"));
        }
        if connect.will.as_ref().is_some_and(|will| !is_topic_name(&will.topic)) {
            return Err(Fault {
                reason: reason::TOPIC_NAME_INVALID,
                what: "the will's topic is empty or has wildcards",
            });
        }
        Ok(Packet::Connect(Box::new(connect)))
    }

    fn publish(&mut self, version: Version, flags: u8, body: &[u8]) -> Result<Publish, Fault> {
        let dup = flags & 0x08 != 0;
        let (id, qos, topic_bytes, body) = match version {
            Version::V311 => {
                let (publish, _) = v3_1_1::Publish::parse(flags, Arc::from(body))?;
                (publish.packet_id(), publish.qos(), publish.topic_name().len(), Body::V311(publish))
            }
            Version::V5 => {
                let (publish, _) = v5_0::Publish::parse(flags, Arc::from(body))?;
                let topic_bytes = publish.topic_name().len();
                let fixed = 2 + topic_bytes + if publish.qos() == Qos::AtMostOnce { 0 } else { 2 };
                if body.len() <= fixed {
                    return Err(Fault::malformed("a v5 PUBLISH without a property length"));
                }
                (publish.packet_id(), publish.qos(), topic_bytes, Body::V5(publish))
            }
        };
        let qos = qos as u8;
        if qos > 0 && id.unwrap_or(0) == 0 {
            return Err(Fault::malformed("a PUBLISH with packet id 0"));
        }
        if qos == 0 && dup {
            return Err(Fault::malformed("a redelivery at QoS 0"));
        }
        let mut publish = Publish { id: id.unwrap_or(0), qos, dup, aliased: None, body };
        self.resolve_alias(&mut publish, topic_bytes)?;
        if !is_topic_name(publish.topic()) {
            return Err(Fault { reason: reason::TOPIC_NAME_INVALID, what: "the topic is empty or has wildcards" });
        }
        Ok(publish)
    }

    fn resolve_alias(&mut self, publish: &mut Publish, topic_bytes: usize) -> Result<(), Fault> {
        let Body::V5(packet) = &publish.body else { return Ok(()) };
        let alias = packet.props().iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias.val()),
            _ => None,
        });
        if packet.props().iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_))) {
            return Err(Fault::protocol("a client's PUBLISH has a subscription identifier"));
        }
        let invalid =
            Fault { reason: reason::TOPIC_ALIAS_INVALID, what: "the topic alias is 0, above the bound or unknown" };
        match alias {
            None if topic_bytes == 0 => Err(Fault::protocol("neither topic nor alias")),
            None => Ok(()),
            Some(alias) if alias == 0 || alias > TOPIC_ALIASES_MAX => Err(invalid),
            Some(alias) => {
                let place = usize::from(alias) - 1;
                if self.aliases.is_empty() {
                    self.aliases.resize(usize::from(TOPIC_ALIASES_MAX), None);
                }
                if topic_bytes == 0 {
                    publish.aliased = Some(self.aliases[place].clone().ok_or(invalid)?);
                } else {
                    self.aliases[place] = Some(Arc::from(packet.topic_name()));
                }
                Ok(())
            }
        }
    }
}

/// Whether a text may stand as the topic of a PUBLISH.
fn is_topic_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
}

fn whole<T>((packet, used): (T, usize), body: &[u8]) -> Result<T, Fault> {
    if used == body.len() { Ok(packet) } else { Err(Fault::malformed("bytes after the packet's end")) }
}

fn connect_v311(body: &[u8]) -> Result<Connect, Fault> {
    let packet = whole(v3_1_1::Connect::parse(body)?, body)?;
    Ok(Connect {
        version: Version::V311,
        client_id: packet.client_id().to_owned(),
        clean_start: packet.clean_session(),
        keep_alive_seconds: packet.keep_alive(),
        username: packet.user_name().map(str::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will: packet.will_flag().then(|| Will {
            topic: packet.will_topic().unwrap_or_default().to_owned(),
            payload: packet.will_payload().unwrap_or_default().to_vec(),
            qos: packet.will_qos() as u8,
            delay_seconds: 0,
        }),
        session_expiry_seconds: if packet.clean_session() { 0 } else { u32::MAX },
        receive_max: u16::MAX,
        packet_bytes_max: None,
        wants_enhanced_auth: false,
    })
}

fn connect_v5(body: &[u8]) -> Result<Connect, Fault> {
    let packet = whole(v5_0::Connect::parse(body)?, body)?;
    let mut connect = Connect {
        version: Version::V5,
        client_id: packet.client_id().to_owned(),
        clean_start: packet.clean_start(),
        keep_alive_seconds: packet.keep_alive(),
        username: packet.user_name().map(str::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will: packet.will_flag().then(|| Will {
            topic: packet.will_topic().unwrap_or_default().to_owned(),
            payload: packet.will_payload().unwrap_or_default().to_vec(),
            qos: packet.will_qos() as u8,
            delay_seconds: will_delay(packet.will_props()),
        }),
        session_expiry_seconds: 0,
        receive_max: u16::MAX,
        packet_bytes_max: None,
        wants_enhanced_auth: false,
    };
    for property in packet.props() {
        match property {
            Property::SessionExpiryInterval(v) => connect.session_expiry_seconds = v.val(),
            Property::ReceiveMaximum(v) => connect.receive_max = v.val(),
            Property::MaximumPacketSize(v) => connect.packet_bytes_max = Some(v.val()),
            Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => connect.wants_enhanced_auth = true,
            // Aliases are not used towards clients; the rest informs and asks for nothing.
            _ => {}
        }
    }
    if connect.receive_max == 0 || connect.packet_bytes_max == Some(0) {
        return Err(Fault::protocol("a maximum of 0"));
    }
    Ok(connect)
}

fn will_delay(properties: &Properties) -> u32 {
    let delay = properties.iter().find_map(|property| match property {
        Property::WillDelayInterval(v) => Some(v.val()),
        _ => None,
    });
    delay.unwrap_or(0)
}

fn puback(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    let id = match version {
        Version::V311 if body.len() != 2 => return Err(Fault::malformed("a PUBACK of another length than 2")),
        Version::V311 => v3_1_1::Puback::parse(body)?.0.packet_id(),
        Version::V5 => whole(v5_0::Puback::parse(body)?, body)?.packet_id(),
    };
    Ok(Packet::Puback { id })
}

fn pubrel(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    let id = match version {
        Version::V311 if body.len() != 2 => return Err(Fault::malformed("a PUBREL of another length than 2")),
        Version::V311 => v3_1_1::Pubrel::parse(body)?.0.packet_id(),
        Version::V5 => whole(v5_0::Pubrel::parse(body)?, body)?.packet_id(),
    };
    nonzero(id)?;
    Ok(Packet::Pubrel { id })
}

fn nonzero(id: u16) -> Result<(), Fault> {
    if id == 0 { Err(Fault::malformed("packet id 0")) } else { Ok(()) }
}

fn subscribe(version: Version, body: &[u8]) -> Result<Subscribe, Fault> {
    let subscribe = match version {
        Version::V311 => {
            let packet = whole(v3_1_1::Subscribe::parse(body)?, body)?;
            if packet.entries().iter().any(|entry| entry.sub_opts().to_buffer()[0] > 2) {
                return Err(Fault::malformed("reserved bits of a subscription are set"));
            }
            Subscribe { id: packet.packet_id(), filters: filters_of(packet.entries()), has_identifier: false }
        }
        Version::V5 => {
            let packet = whole(v5_0::Subscribe::parse(body)?, body)?;
            let has_identifier =
                packet.props().iter().any(|property| matches!(property, Property::SubscriptionIdentifier(_)));
            Subscribe { id: packet.packet_id(), filters: filters_of(packet.entries()), has_identifier }
        }
    };
    nonzero(subscribe.id)?;
    Ok(subscribe)
}

fn filters_of(entries: &[SubEntry]) -> Vec<(String, u8)> {
    entries.iter().map(|entry| (entry.topic_filter().to_owned(), entry.sub_opts().qos() as u8)).collect()
}

fn unsubscribe(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    let (id, filters) = match version {
        Version::V311 => {
            let packet = whole(v3_1_1::Unsubscribe::parse(body)?, body)?;
            (packet.packet_id(), packet.entries().iter().map(|filter| filter.as_str().to_owned()).collect())
        }
        Version::V5 => {
            let packet = whole(v5_0::Unsubscribe::parse(body)?, body)?;
            (packet.packet_id(), packet.entries().iter().map(|filter| filter.as_str().to_owned()).collect())
        }
    };
    nonzero(id)?;
    Ok(Packet::Unsubscribe { id, filters })
}

fn disconnect(version: Version, body: &[u8]) -> Result<Packet, Fault> {
    if version == Version::V311 {
        return match body {
            [] => Ok(Packet::Disconnect { reason: 0, session_expiry_seconds: None }),
            _ => Err(Fault::malformed("a DISCONNECT with a body")),
        };
    }
    let packet = whole(v5_0::Disconnect::parse(body)?, body)?;
    let session_expiry_seconds = packet.props().iter().flatten().find_map(|property| match property {
        Property::SessionExpiryInterval(v) => Some(v.val()),
        _ => None,
    });
    Ok(Packet::Disconnect { reason: packet.reason_code().map_or(0, |code| code as u8), session_expiry_seconds })
}
