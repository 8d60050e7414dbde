//! What is kept of one home in one month for one retailer: small enough to be written with every
//! decision that adds to it.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::note::{Fate, Noted, OptOutKind};
use super::period::Day;
use crate::time::Timestamp;

// With all of them full a ledger still fits into a row of the store (64 KiB), as a test proves; a
// home that is spoken to twice a day has sixty offers a month.

/// Different ends of looks that one ledger counts: fifty a day.
pub const LOOKS_MAX: usize = 1_536;
/// Offers that one ledger follows: twelve a day.
pub const SPOKEN_MAX: usize = 384;
/// Orders that one ledger has.
pub const ORDERS_MAX: usize = 128;
/// Opt-outs that one ledger has.
pub const OPT_OUTS_MAX: usize = 64;
/// Different names in one ledger: triggers, reasons, products, kinds, models.
pub const WORDS_MAX: usize = 224;

/// A name in a ledger. The same few are in the ledgers of all homes: in memory there is one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word(Arc<str>);

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
        crate::shared::deserialize(from).map(Word)
    }
}

/// The place of a name among a ledger's words.
type Place = u16;

/// Which side of a comparison a home is on, at one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Group {
    /// The trigger holds nobody out: there is nothing to compare with.
    NotDrawn,
    /// Drawn, and spoken to.
    Treated,
    /// Drawn, and held out: the offer would have left.
    HeldOut,
}

/// An offer that left, or would have left. `Name` is a text, or its place in a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken<Name> {
    /// The first bytes of the offer's id; of one held out, of its decision's.
    pub offer: u64,
    /// What woke it.
    pub trigger: Name,
    /// What was proposed; a tip has none.
    pub product: Option<Name>,
    /// The device's kind.
    pub kind: Option<Name>,
    /// Its model.
    pub model: Option<Name>,
    /// When.
    pub at: Timestamp,
    /// On which day, in the retailer's zone.
    pub day: Day,
    /// At which hour, in the home's zone.
    pub hour: u8,
    /// Which side.
    pub group: Group,
    /// A bit for each [`Fate`] so far.
    pub fates: u16,
}

impl<Name> Spoken<Name> {
    /// Whether this became of it.
    pub fn became(&self, fate: Fate) -> bool {
        self.fates & bit(fate) != 0
    }
    /// Whether it left and was not put back before it reached the device.
    pub fn was_sent(&self) -> bool {
        self.group != Group::HeldOut && !self.became(Fate::PutBack)
    }
}

fn bit(fate: Fate) -> u16 {
    match fate {
        Fate::Delivered => 1,
        // Who saw it has it.
        Fate::Shown => 1 << 1 | 1,
        Fate::Accepted => 1 << 2,
        Fate::Declined => 1 << 3,
        Fate::Snoozed => 1 << 4,
        Fate::Expired => 1 << 5,
        Fate::Withdrawn => 1 << 6,
        Fate::PutBack => 1 << 7,
    }
}

/// How often looks at a trigger ended in one way on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look<Name> {
    /// The trigger.
    pub trigger: Name,
    /// The step that stopped it and its reason, as `consent:no_consent`; none: held.
    pub stopped_by: Option<Name>,
    /// On which day.
    pub day: Day,
    /// How often.
    pub times: u32,
}

/// Something was bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered<Name> {
    /// The first bytes of the order's id.
    pub order: u64,
    /// The first bytes of the offer's.
    pub offer: u64,
    /// What.
    pub product: Name,
    /// When.
    pub at: Timestamp,
    /// Whether it counts: neither cancelled nor refused.
    pub stands: bool,
}

/// The home withdrew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOut {
    /// When.
    pub at: Timestamp,
    /// How.
    pub kind: OptOutKind,
}

/// What is kept of one home in one month for one retailer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    words: Vec<Word>,
    looks: Vec<Look<Place>>,
    spoken: Vec<Spoken<Place>>,
    orders: Vec<Ordered<Place>>,
    opt_outs: Vec<OptOut>,
    /// What found no room and is not counted.
    beyond: u32,
}

impl Ledger {
    /// Counts one thing more; says whether anything changed. What finds no room is only numbered.
    pub fn take(&mut self, noted: &Noted) -> bool {
        let has_room = match noted {
            Noted::Looked { trigger, day, stopped_by } => self.look(trigger.as_str(), *day, stopped_by.as_deref()),
            Noted::Spoke(spoken) => self.spoke(spoken),
            Noted::Became { offer, fate } => return self.became(*offer, *fate),
            Noted::Ordered { order, offer, product, at, stands } => {
                self.ordered(*order, *offer, product.as_str(), *at, *stands)
            }
            Noted::OptedOut { at, kind } => {
                let has_room = self.opt_outs.len() < OPT_OUTS_MAX;
                if has_room {
                    self.opt_outs.push(OptOut { at: *at, kind: *kind });
                }
                has_room
            }
        };
        if !has_room {
            self.beyond = self.beyond.saturating_add(1);
        }
        true
    }

    fn look(&mut self, trigger: &str, day: Day, stopped_by: Option<&str>) -> bool {
        let Some(trigger) = self.place(trigger) else { return false };
        let Some(stopped_by) = stopped_by.map(|reason| self.place(reason)).map_or(Some(None), |at| at.map(Some)) else {
            return false;
        };
        let is_same =
            |look: &&mut Look<Place>| look.trigger == trigger && look.stopped_by == stopped_by && look.day == day;
        // The same again is mostly the latest.
        if let Some(known) = self.looks.iter_mut().rev().find(is_same) {
            known.times = known.times.saturating_add(1);
            return true;
        }
        let has_room = self.looks.len() < LOOKS_MAX;
        if has_room {
            self.looks.push(Look { trigger, stopped_by, day, times: 1 });
        }
        has_room
    }

    fn spoke(&mut self, said: &Spoken<String>) -> bool {
        if self.spoken.len() >= SPOKEN_MAX {
            return false;
        }
        let Some(trigger) = self.place(&said.trigger) else { return false };
        let mut place = |name: &Option<String>| name.as_deref().and_then(|name| self.place(name));
        let (product, kind, model) = (place(&said.product), place(&said.kind), place(&said.model));
        let Spoken { offer, at, day, hour, group, fates, .. } = *said;
        self.spoken.push(Spoken { offer, trigger, product, kind, model, at, day, hour, group, fates });
        true
    }

    /// Of an offer that found no room, or whose month is gone, nothing follows.
    fn became(&mut self, offer: u64, fate: Fate) -> bool {
        let is_it = |spoken: &&mut Spoken<Place>| spoken.offer == offer && spoken.was_sent();
        let Some(spoken) = self.spoken.iter_mut().rev().find(is_it) else { return false };
        let before = spoken.fates;
        spoken.fates |= bit(fate);
        before != spoken.fates
    }

    fn ordered(&mut self, order: u64, offer: u64, product: &str, at: Timestamp, stands: bool) -> bool {
        let Some(product) = self.place(product) else { return false };
        let is_it = |known: &&mut Ordered<Place>| known.order == order && known.product == product;
        if let Some(known) = self.orders.iter_mut().rev().find(is_it) {
            known.stands = stands;
            return true;
        }
        let has_room = self.orders.len() < ORDERS_MAX;
        if has_room {
            self.orders.push(Ordered { order, offer, product, at, stands });
        }
        has_room
    }

    fn place(&mut self, name: &str) -> Option<Place> {
        let known = self.words.iter().position(|word| *word.0 == *name);
        let at = known.or_else(|| {
            (self.words.len() < WORDS_MAX).then(|| {
                self.words.push(Word(crate::shared::shared(name)));
                self.words.len() - 1
            })
        })?;
        Place::try_from(at).ok()
    }

    fn word(&self, at: Place) -> &str {
        self.words.get(usize::from(at)).map_or("", |word| &word.0)
    }

    /// How looks ended that sent nothing.
    pub fn looks(&self) -> impl Iterator<Item = Look<&str>> {
        self.looks.iter().map(|look| Look {
            trigger: self.word(look.trigger),
            stopped_by: look.stopped_by.map(|at| self.word(at)),
            day: look.day,
            times: look.times,
        })
    }
    /// Offers that left, or would have, in their order.
    pub fn spoken(&self) -> impl Iterator<Item = Spoken<&str>> {
        self.spoken.iter().map(|said| {
            let name = |at: Option<Place>| at.map(|at| self.word(at));
            let (product, kind, model) = (name(said.product), name(said.kind), name(said.model));
            let Spoken { offer, at, day, hour, group, fates, .. } = *said;
            Spoken { offer, trigger: self.word(said.trigger), product, kind, model, at, day, hour, group, fates }
        })
    }
    /// What was bought.
    pub fn orders(&self) -> impl Iterator<Item = Ordered<&str>> {
        self.orders.iter().map(|bought| {
            let Ordered { order, offer, at, stands, .. } = *bought;
            Ordered { order, offer, product: self.word(bought.product), at, stands }
        })
    }
    /// When the home withdrew.
    pub fn opt_outs(&self) -> &[OptOut] {
        &self.opt_outs
    }
    /// How much found no room.
    pub fn beyond(&self) -> u64 {
        self.beyond.into()
    }
}
