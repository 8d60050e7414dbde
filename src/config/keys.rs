//! Every key of the configuration on one page: kind, unit, limit, default and meaning.
//!
//! `config/gateway.toml` is rendered from this table, a file is checked against it, and a test
//! holds the structs of [`super`] to it. A key that is not here does not exist.

use std::fmt::Write as _;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its default, as written in TOML; none means that it may be left out and has no value then.
    pub default: Option<&'static str>,
    /// What it is for, in lines that fit a page.
    pub meaning: &'static str,
}

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An address and port; port 0 takes a free one.
    Bind,
    /// A path; a relative one counts from the working directory.
    Path,
    /// A host name or address that others reach this machine by.
    Host,
    /// Yes or no.
    Flag,
    /// A broker: `mqtt://host:1883` or `mqtts://host:8883`.
    Broker,
    /// Any text.
    Text,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A whole number in a unit, between two bounds.
    Count {
        /// Of what.
        unit: &'static str,
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
}

impl Kind {
    /// What values it takes, in words.
    pub fn in_words(self) -> String {
        match self {
            Kind::Bind => "address:port, such as \"127.0.0.1:8080\"; port 0 takes a free one".to_owned(),
            Kind::Path => "path; a relative one counts from the working directory".to_owned(),
            Kind::Host => "host name or address".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Broker => "mqtt://host:port or mqtts://host:port".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", words.join(", "))
            }
            Kind::Count { unit, min, max } => format!("{unit}, {min} to {max}"),
        }
    }
}

/// The sections in the order of the file, each with its heading.
pub const SECTIONS: &[(&str, &str)] = &[
    ("data", "Where the gateway keeps what it promised to keep."),
    ("http", "The API for retailers, makers and operators."),
    ("mqtt", "The endpoint that devices connect to."),
    (
        "mqtt.tls",
        "The same endpoint over TLS 1.2 and 1.3, on a port of its own. `hearthway pki init` makes\n# certificates to try it with.",
    ),
    ("mqtt.websocket", "The same endpoint in WebSocket frames: path `/mqtt`, subprotocol `mqtt`."),
    ("broker", "A broker that homes, makers or a cluster have already; see docs/broker-link.md."),
    ("limits", "What one connection, device or maker may take."),
    ("engine", "How inputs become decisions. The defaults fit 10 000 homes on two cores."),
    ("log", "How long the input log reaches back: as far as decisions can be recomputed."),
    ("webhooks", "Where events may go that shops and makers want to be told of."),
    ("privacy", "What is kept of customers, and for how long."),
    ("triggers", "Who may make triggers live."),
    ("samples", "A sample shop, for trying things out. `hearthway demo` always loads it."),
];

/// Every key.
pub const KEYS: &[Key] = &[
    Key {
        section: "data",
        name: "dir",
        kind: Kind::Path,
        default: Some("\"data\""),
        meaning: "Directory of the store. Made at the first start; a damaged one is refused, never\nreplaced. HEARTHWAY_DATA_DIR goes before it.",
    },
    Key {
        section: "data",
        name: "master_key_file",
        kind: Kind::Path,
        default: None,
        meaning: "File with the master key that all device secrets derive from. Made at the first start,\nreadable by its owner only. Left out: `master.key` in the data directory. Losing it\nmeans that every device must be provisioned again: back it up apart from the data.",
    },
    Key {
        section: "data",
        name: "customer_keys_file",
        kind: Kind::Path,
        default: None,
        meaning: "File with the customers' keys, which their values are sealed with. Made at the first start,\nreadable by its owner only. Left out: `customers.keys` in the data directory. No backup holds\nit: a copy of it brings back whoever was erased since, so keep the newest copy alone.",
    },
    Key {
        section: "data",
        name: "waiting_rows_mib_max",
        kind: Kind::Count { unit: "MiB", min: 1, max: 1024 },
        default: Some("32"),
        meaning: "Rows that are durable in the journal and not yet in the database: beyond it they are written.\nMemory has their keys only, about a sixth. More saves writing for homes that report often.",
    },
    Key {
        section: "http",
        name: "bind",
        kind: Kind::Bind,
        default: Some("\"127.0.0.1:8080\""),
        meaning: "Where HTTP listens. HEARTHWAY_HTTP_BIND goes before it.",
    },
    Key {
        section: "mqtt",
        name: "bind",
        kind: Kind::Bind,
        default: Some("\"127.0.0.1:1883\""),
        meaning: "Where MQTT 3.1.1 and 5 listen, plain. HEARTHWAY_MQTT_BIND goes before it.",
    },
    Key {
        section: "mqtt",
        name: "public_host",
        kind: Kind::Host,
        default: None,
        meaning: "The host that a provisioned device is told to connect to. Left out: the address of `bind`.",
    },
    Key {
        section: "mqtt",
        name: "telemetry_seconds",
        kind: Kind::Count { unit: "seconds", min: 1, max: 86_400 },
        default: Some("60"),
        meaning: "How often a provisioned device is told to report.",
    },
    Key {
        section: "mqtt.tls",
        name: "bind",
        kind: Kind::Bind,
        default: None,
        meaning: "Where MQTT over TLS listens, such as 127.0.0.1:8883. HEARTHWAY_MQTTS_BIND goes before it.\nLeft out: there is no TLS, and the other keys here are not used.",
    },
    Key {
        section: "mqtt.tls",
        name: "certificate_file",
        kind: Kind::Path,
        default: None,
        meaning: "PEM: the gateway's certificate, then those between it and its authority. Read again when\nit changes and on SIGHUP; live connections go on.",
    },
    Key {
        section: "mqtt.tls",
        name: "key_file",
        kind: Kind::Path,
        default: None,
        meaning: "PEM: the private key of that certificate. Refused while everybody can read it.",
    },
    Key {
        section: "mqtt.tls",
        name: "client_certificates",
        kind: Kind::Choice(&["off", "optional", "required"]),
        default: Some("\"off\""),
        meaning: "Whether devices show certificates. One that does is whom its certificate names, without a\nsecret.",
    },
    Key {
        section: "mqtt.tls",
        name: "client_ca_file",
        kind: Kind::Path,
        default: None,
        meaning: "PEM: authorities whose certificates may name devices of every maker.",
    },
    Key {
        section: "mqtt.tls",
        name: "client_ca_dir",
        kind: Kind::Path,
        default: None,
        meaning: "Directory with a file `{maker}.pem` for each maker that issues certificates itself:\nauthorities that may name devices of that maker only.",
    },
    Key {
        section: "mqtt.tls",
        name: "revoked_file",
        kind: Kind::Path,
        default: None,
        meaning: "Text: certificates that are not accepted any more, a line each, `sha256:…` or `serial:…`.\nLooked at twice a second; connections of what it names are ended. `hearthway pki revoke`\nadds to it.",
    },
    Key {
        section: "mqtt.websocket",
        name: "bind",
        kind: Kind::Bind,
        default: None,
        meaning: "Where MQTT over WebSocket listens, such as 127.0.0.1:8083. Left out: nowhere.",
    },
    Key {
        section: "mqtt.websocket",
        name: "tls",
        kind: Kind::Flag,
        default: Some("false"),
        meaning: "Whether it is served over TLS, with the certificate of `[mqtt.tls]`. Certificates of clients\nare not asked for here: a browser would show them on behalf of any page.",
    },
    Key {
        section: "broker",
        name: "url",
        kind: Kind::Broker,
        default: None,
        meaning: "The broker. Left out: devices reach the gateway by its own endpoint only.",
    },
    Key {
        section: "broker",
        name: "username",
        kind: Kind::Text,
        default: None,
        meaning: "The gateway's user name at the broker. The password is read from HEARTHWAY_BROKER_PASSWORD,\nor from the file that HEARTHWAY_BROKER_PASSWORD_FILE names.",
    },
    Key {
        section: "broker",
        name: "client_id",
        kind: Kind::Text,
        default: Some("\"hearthway\""),
        meaning: "The gateway's client id. Its session at the broker hangs on it: what devices send while\nthe gateway is away waits there. Several gateways need one each.",
    },
    Key {
        section: "broker",
        name: "group",
        kind: Kind::Text,
        default: Some("\"hearthway\""),
        meaning: "The shared subscription ($share) that gateways of one group divide among them. Empty: a\nsubscription of its own, for brokers without shared ones.",
    },
    Key {
        section: "broker",
        name: "session_seconds",
        kind: Kind::Count { unit: "seconds", min: 60, max: 4_294_967_294 },
        default: Some("604800"),
        meaning: "How long the broker keeps that session while the gateway is away.",
    },
    Key {
        section: "broker",
        name: "in_flight_max",
        kind: Kind::Count { unit: "publishes", min: 1, max: 10_000 },
        default: Some("100"),
        meaning: "Publishes that wait for the broker's acknowledgement. A lower limit of the broker holds.",
    },
    Key {
        section: "broker",
        name: "receive_max",
        kind: Kind::Count { unit: "messages", min: 1, max: 10_000 },
        default: Some("1000"),
        meaning: "Messages that the broker may send before the first is committed and acknowledged.",
    },
    Key {
        section: "broker",
        name: "unsigned_orders_where_acl_proved",
        kind: Kind::Flag,
        default: Some("false"),
        meaning: "Whether orders, consents and resets are taken without a signature while the self-test has\nproved that a device can publish as itself only.",
    },
    Key {
        section: "broker",
        name: "accounts",
        kind: Kind::Choice(&["operator", "dynsec", "http-hook"]),
        default: Some("\"operator\""),
        meaning: "Who keeps the accounts of devices at the broker: the operator; the gateway, over\nmosquitto's dynamic security plugin; or the gateway, asked by the broker over HTTP\n(POST /broker/auth and /broker/acl).",
    },
    Key {
        section: "broker",
        name: "probe_username",
        kind: Kind::Text,
        default: None,
        meaning: "With accounts = \"operator\": `maker/device` of an account like any device's, made for the\nself-test of the broker's access rules. Its password: HEARTHWAY_BROKER_PROBE_PASSWORD.",
    },
    Key {
        section: "broker",
        name: "ca_file",
        kind: Kind::Path,
        default: None,
        meaning: "For mqtts: PEM file of the authorities that the broker's certificate may come from.",
    },
    Key {
        section: "broker",
        name: "certificate_file",
        kind: Kind::Path,
        default: None,
        meaning: "For mqtts: PEM file of the gateway's own certificate chain, where the broker asks for one.",
    },
    Key {
        section: "broker",
        name: "key_file",
        kind: Kind::Path,
        default: None,
        meaning: "For mqtts: PEM file of that certificate's key.",
    },
    Key {
        section: "limits",
        name: "devices_per_maker_max",
        kind: Kind::Count { unit: "devices", min: 1, max: 100_000_000 },
        default: Some("1000000"),
        meaning: "Devices that one maker may have; one more is refused with `prov.quota`.",
    },
    Key {
        section: "limits",
        name: "mqtt_connections_max",
        kind: Kind::Count { unit: "connections", min: 1, max: 1_000_000 },
        default: Some("100000"),
        meaning: "MQTT connections at once, those before login included.",
    },
    Key {
        section: "limits",
        name: "mqtt_connect_seconds_max",
        kind: Kind::Count { unit: "seconds", min: 1, max: 60 },
        default: Some("10"),
        meaning: "How long a client may take to say CONNECT.",
    },
    Key {
        section: "limits",
        name: "mqtt_handshakes_max",
        kind: Kind::Count { unit: "connections", min: 16, max: 100_000 },
        default: Some("512"),
        meaning: "Clients at once that have not said who they are. Others wait; one that takes longer than\n2 s is cut for them.",
    },
    Key {
        section: "limits",
        name: "device_messages_per_second",
        kind: Kind::Count { unit: "messages per second", min: 1, max: 1_000_000 },
        default: Some("10"),
        meaning: "Messages of one device in the long run, over all its connections. Above it a device's own\nconnection is read more slowly (readings at QoS 0 are dropped and counted), and behind a\nbridge or broker its messages are refused with `rate.limited`: readings first, then\nevents, then answers; the withdrawal of a consent never.",
    },
    Key {
        section: "limits",
        name: "device_messages_burst",
        kind: Kind::Count { unit: "messages", min: 1, max: 1_000_000 },
        default: Some("100"),
        meaning: "Messages that one device may be ahead of that rate.",
    },
    Key {
        section: "limits",
        name: "maker_messages_per_second",
        kind: Kind::Count { unit: "messages per second", min: 0, max: 1_000_000 },
        default: Some("0"),
        meaning: "Messages of all devices of one maker at the device endpoint; above it its connections\nare read more slowly. 0: no limit.",
    },
    Key {
        section: "limits",
        name: "mqtt_publishes_per_second",
        kind: Kind::Count { unit: "publishes per second", min: 1, max: 10_000 },
        default: Some("100"),
        meaning: "Publishes of one device connection that are read at all, whatever becomes of them.\nAbove it the reading slows; nothing is dropped.",
    },
    Key {
        section: "limits",
        name: "mqtt_bridge_publishes_per_second",
        kind: Kind::Count { unit: "publishes per second", min: 1, max: 1_000_000 },
        default: Some("20000"),
        meaning: "The same for a bridge, which speaks for many devices.",
    },
    Key {
        section: "limits",
        name: "mqtt_connects_per_minute",
        kind: Kind::Count { unit: "connects per minute", min: 1, max: 60_000 },
        default: Some("5"),
        meaning: "Connects of one device in the long run. More are refused: 0x9F, in 3.1.1 code 3.",
    },
    Key {
        section: "limits",
        name: "mqtt_connects_burst",
        kind: Kind::Count { unit: "connects", min: 1, max: 60_000 },
        default: Some("30"),
        meaning: "Connects of one device ahead of that: a tool may connect for every message of a session.",
    },
    Key {
        section: "limits",
        name: "http_connections_max",
        kind: Kind::Count { unit: "connections", min: 1, max: 100_000 },
        default: Some("1000"),
        meaning: "HTTP connections at once; more wait. One that says nothing for ten seconds is closed.",
    },
    Key {
        section: "limits",
        name: "http_calls_per_second",
        kind: Kind::Count { unit: "calls per second", min: 1, max: 1_000_000 },
        default: Some("500"),
        meaning: "Calls of one token over HTTP, and two seconds' worth at once. More are answered with 429.",
    },
    Key {
        section: "engine",
        name: "shards",
        kind: Kind::Count { unit: "shards", min: 1, max: 256 },
        default: Some("2"),
        meaning: "Parts that households are spread over, each with a thread: as many as cores.",
    },
    Key {
        section: "engine",
        name: "group_commits_max",
        kind: Kind::Count { unit: "commits", min: 1, max: 4096 },
        default: Some("256"),
        meaning: "Commits that share one durable flush at most.",
    },
    Key {
        section: "engine",
        name: "shard_queue_inputs_max",
        kind: Kind::Count { unit: "inputs", min: 16, max: 65536 },
        default: Some("1024"),
        meaning: "Inputs that wait for one shard. A full queue slows its senders; nothing is dropped.",
    },
    Key {
        section: "engine",
        name: "cached_households_max",
        kind: Kind::Count { unit: "households", min: 16, max: 10_000_000 },
        default: Some("10000"),
        meaning: "Households kept in memory, most of them as the bytes of their record. Others are loaded when\nsomething happens in them.",
    },
    Key {
        section: "engine",
        name: "activate_homes_per_second",
        kind: Kind::Count { unit: "homes per second", min: 1, max: 1_000 },
        default: Some("50"),
        meaning: "Homes looked at when a trigger with `on_activate` goes live, for values that stand beyond\nits threshold already. More is sooner done, and speaks to more homes at once.",
    },
    Key {
        section: "log",
        name: "size_mib_max",
        kind: Kind::Count { unit: "MiB", min: 256, max: 16_777_216 },
        default: Some("4096"),
        meaning: "Size of the input log of all households together. Beyond it the oldest inputs go, and\nwhat they decided can no longer be recomputed; what customers were promised stays.",
    },
    Key {
        section: "log",
        name: "age_days_max",
        kind: Kind::Count { unit: "days", min: 1, max: 3650 },
        default: Some("400"),
        meaning: "How long inputs are kept, where their size does not end it sooner. What is older goes within\na week; caps, reports, orders and consents do not need it. A clock that leaps ahead takes\nnothing away.",
    },
    Key {
        section: "webhooks",
        name: "allow_loopback",
        kind: Kind::Flag,
        default: Some("false"),
        meaning: "For tests and the demo only: webhooks may go to this machine's loopback too, by http or\nhttps on any port. Elsewhere they go to public addresses over https.",
    },
    Key {
        section: "webhooks",
        name: "ca_file",
        kind: Kind::Path,
        default: None,
        meaning: "PEM file with authorities that webhooks' receivers are known by, beside the machine's own.",
    },
    Key {
        section: "privacy",
        name: "order_retention_days",
        kind: Kind::Count { unit: "days", min: 1, max: 36_525 },
        default: Some("3653"),
        meaning: "How long an order's lines, total and dates are kept after its buyer was erased, from the day\nof the order, of an open one from the day of the erasure. They name nobody. Ten years is\nwhat French commercial law wants of accounts; ask yours.",
    },
    Key {
        section: "triggers",
        name: "publish_reach_max_alone",
        kind: Kind::Count { unit: "homes", min: 0, max: 1_000_000_000 },
        default: Some("1000"),
        meaning: "Homes that a `marketer` may reach with a trigger alone; what reaches more is confirmed by somebody\nwith another token of the shop. 0: always by two.",
    },
    Key {
        section: "samples",
        name: "load",
        kind: Kind::Flag,
        default: Some("false"),
        meaning: "Whether the sample tenants, models, products and triggers are loaded at the start.",
    },
    Key {
        section: "samples",
        name: "dir",
        kind: Kind::Path,
        default: Some("\"config\""),
        meaning: "Directory with `catalog/*.toml` and `triggers/*.toml`.",
    },
];

/// Whether there is a section of that name.
pub fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(known, _)| *known == name)
}

/// The key of that name in that section.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The file with every key at its default: what `config/gateway.toml` holds.
pub fn render() -> String {
    let mut text = String::from(
        "# Hearthway: every key of the gateway, with its default, unit and limit.\n\
         # A key that is left out has the value shown here; an unknown key is refused.\n\
         # The environment goes before this file: HEARTHWAY_DATA_DIR, HEARTHWAY_HTTP_BIND,\n\
         # HEARTHWAY_MQTT_BIND and HEARTHWAY_MQTTS_BIND. HEARTHWAY_OPERATOR_TOKEN (at least 16 characters) is read from the\n\
         # environment only, or from the file that HEARTHWAY_OPERATOR_TOKEN_FILE names; without it a token is drawn and\n\
         # printed once, at the first start.\n",
    );
    for (section, heading) in SECTIONS {
        let _ = write!(text, "\n# {heading}\n[{section}]\n");
        for key in KEYS.iter().filter(|key| key.section == *section) {
            for line in key.meaning.lines() {
                let _ = writeln!(text, "# {line}");
            }
            let _ = writeln!(text, "# ({})", key.kind.in_words());
            let _ = match key.default {
                Some(default) => writeln!(text, "{} = {default}", key.name),
                None => writeln!(text, "# {} = \"…\"", key.name),
            };
        }
    }
    text
}
