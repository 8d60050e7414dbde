//! What the host is told while the story goes on, such as to print it in a terminal.

use std::fmt;

use hearthway_core::time::Timestamp;
use serde::Serialize;

/// Where and when something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scene {
    /// When, in the homes.
    pub at: Timestamp,
    /// In which home.
    pub home: String,
    /// Which device: its name at the gateway once it has one, before that its serial.
    pub device: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happening {
    /// A device got its own credential.
    Registered {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Who made it.
        maker: String,
        /// Which model it is.
        model: String,
        /// Its serial number.
        serial: String,
    },
    /// A device is connected and has said who it is.
    Online {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
    },
    /// A device lost its connection or its network.
    Offline {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Why.
        why: String,
    },
    /// A device shows a claim code; somebody confirms it.
    ClaimCode {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// The code.
        code: String,
    },
    /// A device belongs to somebody.
    Linked {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// The name of the home.
        display_name: String,
    },
    /// A device reports; `what` is short and for people.
    Reported {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// What it reports.
        report: String,
        /// Whether it is a consumable's evidence rather than telemetry.
        slot: bool,
    },
    /// An offer is shown on a device.
    OfferShown {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Its id.
        offer: String,
        /// Its title.
        title: String,
        /// The article, where there is one.
        product: Option<String>,
        /// The price, where there is one.
        price: Option<String>,
    },
    /// An offer was taken back by the gateway.
    OfferWithdrawn {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Its id.
        offer: String,
    },
    /// A person answered an offer.
    Answered {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Which offer.
        offer: String,
        /// Who.
        person: String,
        /// What.
        answer: String,
    },
    /// An order has a new state.
    OrderChanged {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Which order.
        order: String,
        /// Its state.
        state: String,
    },
    /// A person put a new consumable in.
    Replaced {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// Which slot.
        slot: String,
    },
    /// A device was reset by a person.
    Reset {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
    },
    /// Something was refused or failed.
    Error {
        /// Where and when.
        #[serde(flatten)]
        scene: Scene,
        /// The stable code, or a word for a failure on this side.
        code: String,
        /// What is wrong.
        message: String,
    },
}

impl Happening {
    /// Where and when it happened.
    pub fn scene(&self) -> &Scene {
        match self {
            Happening::Registered { scene, .. }
            | Happening::Online { scene }
            | Happening::Offline { scene, .. }
            | Happening::ClaimCode { scene, .. }
            | Happening::Linked { scene, .. }
            | Happening::Reported { scene, .. }
            | Happening::OfferShown { scene, .. }
            | Happening::OfferWithdrawn { scene, .. }
            | Happening::Answered { scene, .. }
            | Happening::OrderChanged { scene, .. }
            | Happening::Replaced { scene, .. }
            | Happening::Reset { scene }
            | Happening::Error { scene, .. } => scene,
        }
    }

    /// One word for what it is, for counting.
    pub fn word(&self) -> &'static str {
        match self {
            Happening::Registered { .. } => "registered",
            Happening::Online { .. } => "online",
            Happening::Offline { .. } => "offline",
            Happening::ClaimCode { .. } => "claim_code",
            Happening::Linked { .. } => "linked",
            Happening::Reported { .. } => "reported",
            Happening::OfferShown { .. } => "offer_shown",
            Happening::OfferWithdrawn { .. } => "offer_withdrawn",
            Happening::Answered { .. } => "answered",
            Happening::OrderChanged { .. } => "order_changed",
            Happening::Replaced { .. } => "replaced",
            Happening::Reset { .. } => "reset",
            Happening::Error { .. } => "error",
        }
    }
}

impl fmt::Display for Happening {
    /// What happened, for people, without where and when.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::Registered { maker, model, serial, .. } => {
                write!(f, "registered as {model} of {maker} ({serial})")
            }
            Happening::Online { .. } => f.write_str("online"),
            Happening::Offline { why, .. } => write!(f, "offline: {why}"),
            Happening::ClaimCode { code, .. } => write!(f, "shows the claim code {code}"),
            Happening::Linked { display_name, .. } => write!(f, "belongs to {display_name}"),
            Happening::Reported { report, .. } => f.write_str(report),
            Happening::OfferShown { title, price, .. } => match price {
                Some(price) => write!(f, "shows “{title}”, {price}"),
                None => write!(f, "shows “{title}”"),
            },
            Happening::OfferWithdrawn { offer, .. } => write!(f, "offer {offer} withdrawn"),
            Happening::Answered { person, answer, .. } => write!(f, "{person} answers {answer}"),
            Happening::OrderChanged { order, state, .. } => write!(f, "order {order} is {state}"),
            Happening::Replaced { slot, .. } => write!(f, "new {slot} put in"),
            Happening::Reset { .. } => f.write_str("reset by a person"),
            Happening::Error { code, message, .. } => write!(f, "{code}: {message}"),
        }
    }
}
