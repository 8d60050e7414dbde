//! The MQTT 5 reason codes that the endpoint uses, and what becomes of them in 3.1.1.

/// Done.
pub const SUCCESS: u8 = 0x00;
/// A DISCONNECT that asks for the will.
pub const DISCONNECT_WITH_WILL: u8 = 0x04;
/// UNSUBSCRIBE of a filter that was not subscribed.
pub const NO_SUBSCRIPTION: u8 = 0x11;
/// Not MQTT.
pub const MALFORMED_PACKET: u8 = 0x81;
/// MQTT, but not allowed here.
pub const PROTOCOL_ERROR: u8 = 0x82;
/// Allowed by the standard, not by this endpoint.
pub const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
/// Not 3.1.1 or 5.
pub const UNSUPPORTED_VERSION: u8 = 0x84;
/// The client id is too long or not allowed.
pub const CLIENT_ID_INVALID: u8 = 0x85;
/// Wrong user name or secret.
pub const BAD_CREDENTIALS: u8 = 0x86;
/// Not this client's to do.
pub const NOT_AUTHORIZED: u8 = 0x87;
/// The gateway cannot do it at this moment.
pub const SERVER_UNAVAILABLE: u8 = 0x88;
/// The gateway has too much to do.
pub const SERVER_BUSY: u8 = 0x89;
/// The gateway stops.
pub const SERVER_SHUTTING_DOWN: u8 = 0x8b;
/// Enhanced authentication is not served.
pub const BAD_AUTH_METHOD: u8 = 0x8c;
/// Silent for too long.
pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
/// A newer connection of the same client.
pub const SESSION_TAKEN_OVER: u8 = 0x8e;
/// The filter is not one.
pub const TOPIC_FILTER_INVALID: u8 = 0x8f;
/// The topic is not one.
pub const TOPIC_NAME_INVALID: u8 = 0x90;
/// A packet id that is not known.
pub const PACKET_ID_NOT_FOUND: u8 = 0x92;
/// More unacknowledged publishes than announced.
pub const RECEIVE_MAX_EXCEEDED: u8 = 0x93;
/// An alias that is not known or not allowed.
pub const TOPIC_ALIAS_INVALID: u8 = 0x94;
/// Above the bound.
pub const PACKET_TOO_LARGE: u8 = 0x95;
/// A quota is used up.
pub const QUOTA_EXCEEDED: u8 = 0x97;
/// An operator's or the gateway's decision.
pub const ADMINISTRATIVE_ACTION: u8 = 0x98;
/// The payload is not what it must be.
pub const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
/// QoS 2 in v5.
pub const QOS_NOT_SUPPORTED: u8 = 0x9b;
/// Shared subscriptions are not served.
pub const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: u8 = 0x9e;
/// Too many connects.
pub const CONNECTION_RATE_EXCEEDED: u8 = 0x9f;
/// Subscription identifiers are not served.
pub const SUBSCRIPTION_IDS_NOT_SUPPORTED: u8 = 0xa1;

/// The 3.1.1 return code of a refused CONNECT.
pub fn connack_v311(reason: u8) -> u8 {
    match reason {
        SUCCESS => 0,
        UNSUPPORTED_VERSION => 1,
        CLIENT_ID_INVALID => 2,
        SERVER_UNAVAILABLE | SERVER_BUSY | CONNECTION_RATE_EXCEEDED | QUOTA_EXCEEDED | SERVER_SHUTTING_DOWN => 3,
        BAD_CREDENTIALS => 4,
        _ => 5,
    }
}
