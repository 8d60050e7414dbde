//! Packets to a client, written straight into the connection's out-buffer: no allocation per
//! packet, and one system call for all that is due.

use super::codec::{TOPIC_ALIASES_MAX, Version};
use super::reason;

/// What the CONNACK of an accepted v5 client says beyond "welcome".
#[derive(Debug, Clone, Copy)]
pub struct Welcome<'a> {
    /// The session of before is still here.
    pub session_present: bool,
    /// Unacknowledged publishes that the endpoint takes at once.
    pub receive_max: u16,
    /// Bytes of a packet that the endpoint takes.
    pub packet_bytes_max: u32,
    /// How long the session outlives the connection, where less than asked for.
    pub session_expiry_seconds: Option<u32>,
    /// The keep-alive to use, where other than asked for.
    pub keep_alive_seconds: Option<u16>,
    /// The client id, where the client left it to us.
    pub assigned_client_id: Option<&'a str>,
}

/// A PUBLISH to a client.
#[derive(Debug, Clone, Copy)]
pub struct Down<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// 0 or 1.
    pub qos: u8,
    /// A redelivery.
    pub dup: bool,
    /// 0 at QoS 0.
    pub id: u16,
    /// v5: how long it is still worth saying.
    pub expiry_seconds: Option<u32>,
    /// v5: user properties.
    pub user: &'a [(&'a str, &'a str)],
}

/// Writes packets of one protocol version.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    /// The client's version.
    pub version: Version,
}

impl Encoder {
    /// CONNACK of an accepted CONNECT.
    pub fn welcome(self, out: &mut Vec<u8>, welcome: &Welcome<'_>) {
        let present = u8::from(welcome.session_present);
        if self.version == Version::V311 {
            out.extend_from_slice(&[0x20, 2, present, 0]);
            return;
        }
        let mut properties = Vec::with_capacity(64);
        properties.push(0x21);
        properties.extend_from_slice(&welcome.receive_max.to_be_bytes());
        properties.extend_from_slice(&[0x24, 1]); // Maximum QoS
        properties.extend_from_slice(&[0x25, 0]); // Retain Available
        properties.push(0x27);
        properties.extend_from_slice(&welcome.packet_bytes_max.to_be_bytes());
        properties.push(0x22);
        properties.extend_from_slice(&TOPIC_ALIASES_MAX.to_be_bytes());
        properties.extend_from_slice(&[0x29, 0]); // Subscription Identifier Available
        properties.extend_from_slice(&[0x2a, 0]); // Shared Subscription Available
        if let Some(seconds) = welcome.session_expiry_seconds {
            properties.push(0x11);
            properties.extend_from_slice(&seconds.to_be_bytes());
        }
        if let Some(seconds) = welcome.keep_alive_seconds {
            properties.push(0x13);
            properties.extend_from_slice(&seconds.to_be_bytes());
        }
        if let Some(id) = welcome.assigned_client_id {
            properties.push(0x12);
            text(&mut properties, id);
        }
        out.push(0x20);
        length(out, 2 + length_bytes(properties.len()) + properties.len());
        out.extend_from_slice(&[present, reason::SUCCESS]);
        length(out, properties.len());
        out.extend_from_slice(&properties);
    }

    /// CONNACK of a refused CONNECT; v5 with the cause in words.
    pub fn refuse(self, out: &mut Vec<u8>, reason_code: u8, why: &str) {
        match self.version {
            Version::V311 => out.extend_from_slice(&[0x20, 2, 0, reason::connack_v311(reason_code)]),
            Version::V5 => {
                let properties = reason_string_bytes(why);
                out.push(0x20);
                length(out, 2 + length_bytes(properties) + properties);
                out.extend_from_slice(&[0, reason_code]);
                reason_string(out, why);
            }
        }
    }

    /// PUBACK; a reason other than success is said to v5 clients only, for 3.1.1 has no word for it.
    pub fn puback(self, out: &mut Vec<u8>, id: u16, reason_code: u8) {
        self.acknowledge(out, 0x40, id, reason_code);
    }

    /// PUBREC.
    pub fn pubrec(self, out: &mut Vec<u8>, id: u16, reason_code: u8) {
        self.acknowledge(out, 0x50, id, reason_code);
    }

    /// PUBCOMP.
    pub fn pubcomp(self, out: &mut Vec<u8>, id: u16, reason_code: u8) {
        self.acknowledge(out, 0x70, id, reason_code);
    }

    fn acknowledge(self, out: &mut Vec<u8>, header: u8, id: u16, reason_code: u8) {
        let [high, low] = id.to_be_bytes();
        if self.version == Version::V311 || reason_code == reason::SUCCESS {
            out.extend_from_slice(&[header, 2, high, low]);
        } else {
            out.extend_from_slice(&[header, 3, high, low, reason_code]);
        }
    }

    /// SUBACK: a granted QoS or a reason per filter.
    pub fn suback(self, out: &mut Vec<u8>, id: u16, reasons: &[u8]) {
        self.per_filter(out, 0x90, id, reasons);
    }

    /// UNSUBACK.
    pub fn unsuback(self, out: &mut Vec<u8>, id: u16, reasons: &[u8]) {
        match self.version {
            Version::V311 => self.per_filter(out, 0xb0, id, &[]),
            Version::V5 => self.per_filter(out, 0xb0, id, reasons),
        }
    }

    fn per_filter(self, out: &mut Vec<u8>, header: u8, id: u16, reasons: &[u8]) {
        out.push(header);
        length(out, 2 + usize::from(self.version == Version::V5) + reasons.len());
        out.extend_from_slice(&id.to_be_bytes());
        match self.version {
            Version::V311 => out.extend(reasons.iter().map(|reason| if *reason >= 0x80 { 0x80 } else { *reason })),
            Version::V5 => {
                out.push(0);
                out.extend_from_slice(reasons);
            }
        }
    }

    /// PINGRESP.
    pub fn pingresp(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0xd0, 0]);
    }

    /// DISCONNECT, which only v5 lets a server send.
    pub fn disconnect(self, out: &mut Vec<u8>, reason_code: u8, why: &str) {
        if self.version == Version::V311 {
            return;
        }
        let properties = reason_string_bytes(why);
        out.push(0xe0);
        length(out, 1 + length_bytes(properties) + properties);
        out.push(reason_code);
        reason_string(out, why);
    }

    /// PUBLISH, unless it is larger than the client takes. Says whether it was written.
    pub fn publish(self, out: &mut Vec<u8>, down: &Down<'_>, packet_bytes_max: usize) -> bool {
        let properties = match self.version {
            Version::V311 => 0,
            Version::V5 => {
                let user: usize = down.user.iter().map(|(key, value)| 5 + key.len() + value.len()).sum();
                user + if down.expiry_seconds.is_some() { 5 } else { 0 }
            }
        };
        let property_part = if self.version == Version::V5 { length_bytes(properties) + properties } else { 0 };
        let id_part = if down.qos > 0 { 2 } else { 0 };
        let body = 2 + down.topic.len() + id_part + property_part + down.payload.len();
        if 1 + length_bytes(body) + body > packet_bytes_max {
            return false;
        }
        out.reserve(body + 5);
        out.push(0x30 | (u8::from(down.dup) << 3) | (down.qos << 1));
        length(out, body);
        text(out, down.topic);
        if down.qos > 0 {
            out.extend_from_slice(&down.id.to_be_bytes());
        }
        if self.version == Version::V5 {
            length(out, properties);
            if let Some(seconds) = down.expiry_seconds {
                out.push(0x02);
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            for (key, value) in down.user {
                out.push(0x26);
                text(out, key);
                text(out, value);
            }
        }
        out.extend_from_slice(down.payload);
        true
    }
}

/// A length as MQTT writes it. All lengths here are far below its limit of 256 MB.
fn length(out: &mut Vec<u8>, mut rest: usize) {
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// How many bytes such a length takes.
fn length_bytes(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Topics, ids and our own sentences are all far below 64 KiB.
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn reason_string_bytes(why: &str) -> usize {
    if why.is_empty() { 0 } else { 3 + why.len() }
}

fn reason_string(out: &mut Vec<u8>, why: &str) {
    length(out, reason_string_bytes(why));
    if !why.is_empty() {
        out.push(0x1f);
        text(out, why);
    }
}
