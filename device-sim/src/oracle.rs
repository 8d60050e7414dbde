//! The oracle of obligations: what the gateway acknowledged must show an effect, and what it says
//! must have a cause. It knows the contract and what the homes did, and nothing of the gateway.
//!
//! It reads a history of [`Fact`]s in the order in which this side saw them and keeps what is
//! owed; [`Oracle::conclude`] names what is still owed at the end.

use std::collections::{BTreeMap, BTreeSet};

use hearthway_core::time::{DailyWindow, Span, Timestamp, Zone};
use serde::Serialize;
use serde_json::Value;

use crate::fleet::{Cause, Fleet};

/// How long an offer may still be under way to another device of the home when a withdrawal was
/// acknowledged on the first one.
const UNDER_WAY: Span = Span::minutes(2);
/// Findings kept; the rest is counted. A broken gateway makes one per message.
const FINDINGS_MAX: usize = 500;

/// What an up message obliges the gateway to.
#[derive(Debug, Clone, PartialEq)]
pub enum Duty {
    /// Nothing but the acknowledgement.
    Keep,
    /// A slot's evidence, which must be visible afterwards.
    Slot {
        /// Which slot.
        slot: String,
        /// `used` or `remaining`.
        field: String,
        /// The value.
        value: f64,
        /// When it was so.
        at: Timestamp,
    },
    /// Telemetry: only crossings of numbers count here.
    Telemetry {
        /// Each number, in order.
        numbers: Vec<(String, f64)>,
    },
    /// A claim, which must lead to a code or a refusal.
    Claim,
    /// A sync, which must be answered.
    Sync,
    /// An accept, which must lead to an order or a refusal.
    Accept {
        /// The offer.
        offer: String,
    },
    /// A purpose withdrawn on the device.
    Withdrawal {
        /// The purpose.
        purpose: String,
    },
}

/// Something this side did or saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A message left the device for the first time.
    Sent {
        /// Its id.
        id: String,
        /// What it obliges to.
        duty: Duty,
    },
    /// PUBACK.
    Acked {
        /// The message's id.
        id: String,
    },
    /// `down/error`, or an acknowledgement that refuses.
    Refused {
        /// The message's id, where the refusal names it.
        id: Option<String>,
    },
    /// The claim code came.
    Code,
    /// A claim was refused.
    ClaimRefused,
    /// The home confirms a code now, with these purposes.
    Consented {
        /// The purposes.
        purposes: Vec<String>,
    },
    /// The device belongs to the home.
    Linked,
    /// The link ended, by the gateway's word.
    Unlinked,
    /// `down/sync` came.
    Synced,
    /// An offer was put.
    Put {
        /// Its id.
        offer: String,
        /// Its kind.
        kind: String,
        /// Its article, where there is one.
        product: Option<String>,
        /// When it dies.
        expires_at: Option<Timestamp>,
        /// When the gateway sent it, by its own clock.
        sent_at: Timestamp,
        /// Whether it came in a sync: the current set, no new contact.
        in_sync: bool,
    },
    /// An offer was withdrawn.
    OfferWithdrawn {
        /// Its id.
        offer: String,
    },
    /// `down/order`.
    Order {
        /// Its id.
        order: String,
        /// The offer it comes from.
        offer: String,
    },
    /// A message came on a topic that is not this device's.
    Foreign {
        /// The topic.
        topic: String,
    },
}

/// A violation of the contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Which rule, such as `offer.without_cause`.
    pub rule: &'static str,
    /// In which home.
    pub home: String,
    /// On which device.
    pub device: String,
    /// The id it is about: of a message, an offer or an order.
    pub id: String,
    /// What happened, for people.
    pub what: String,
}

#[derive(Debug, Default)]
struct DeviceLedger {
    home: String,
    /// The name at the gateway.
    name: String,
    model: String,
    linked: bool,
    /// Messages that wait for their acknowledgement.
    sent: BTreeMap<String, Duty>,
    acked: BTreeSet<String>,
    /// Duties that wait for their effect, by message id.
    owed: BTreeMap<String, Duty>,
    /// Last value per (slot, field) as sent, for crossings.
    values: BTreeMap<(Option<String>, String), f64>,
    /// Crossings per cause, and offers already made of them.
    crossings: BTreeMap<usize, u32>,
    reports: u64,
    /// The acknowledged evidence that must be visible, by slot.
    evidence: BTreeMap<String, Evidence>,
    /// Messages whose answer overtook their acknowledgement.
    early: BTreeSet<String>,
    offers: BTreeMap<String, Vec<usize>>,
    withdrawn_offers: BTreeSet<String>,
    /// Purposes withdrawn here and acknowledged.
    silenced: BTreeSet<String>,
}

/// Evidence that the gateway acknowledged.
#[derive(Debug, Clone)]
struct Evidence {
    message: String,
    field: String,
    value: f64,
    at: Timestamp,
}

impl DeviceLedger {
    /// Notes a reported value and the crossings that it makes.
    fn crossed(&mut self, causes: &[Cause], slot: Option<String>, field: String, value: f64) {
        self.reports += 1;
        let last = self.values.insert((slot.clone(), field.clone()), value);
        for (n, cause) in causes.iter().enumerate() {
            let watched = cause.model == self.model && cause.slot == slot && cause.field == field;
            if watched && last.is_some_and(|last| cause.crossing.crosses(last, value)) {
                *self.crossings.entry(n).or_default() += 1;
            }
        }
    }
}

#[derive(Debug)]
struct HomeLedger {
    zone: Zone,
    quiet: Option<DailyWindow>,
    consents: BTreeSet<String>,
    /// When each purpose was withdrawn, by this side's clock at the acknowledgement.
    withdrawn: BTreeMap<String, Timestamp>,
}

/// Keeps what is owed and what was found.
#[derive(Debug)]
pub struct Oracle {
    causes: Vec<Cause>,
    /// Whether the gateway's clock is the homes' clock, so that the two can be compared.
    one_clock: bool,
    homes: BTreeMap<String, HomeLedger>,
    devices: BTreeMap<String, DeviceLedger>,
    /// Home of each offer, orders of each offer.
    offer_homes: BTreeMap<String, String>,
    orders: BTreeMap<String, BTreeSet<String>>,
    findings: BTreeSet<Finding>,
    /// Findings beyond the number kept.
    left_out: u64,
}

impl Oracle {
    /// An oracle for a fleet. Devices are named by their serial numbers.
    pub fn new(fleet: &Fleet, one_clock: bool) -> Oracle {
        let home = |home: &crate::fleet::Home| HomeLedger {
            zone: home.zone.clone(),
            quiet: home.quiet,
            consents: BTreeSet::new(),
            withdrawn: BTreeMap::new(),
        };
        let device = |home: &crate::fleet::Home, device: &crate::fleet::Device| DeviceLedger {
            home: home.id.clone(),
            name: device.serial.clone(),
            model: device.known.model.to_owned(),
            ..DeviceLedger::default()
        };
        Oracle {
            causes: fleet.causes.clone(),
            one_clock,
            homes: fleet.homes.iter().map(|it| (it.id.clone(), home(it))).collect(),
            devices: fleet
                .homes
                .iter()
                .flat_map(|at| at.devices.iter().map(move |it| (it.serial.clone(), device(at, it))))
                .collect(),
            offer_homes: BTreeMap::new(),
            orders: BTreeMap::new(),
            findings: BTreeSet::new(),
            left_out: 0,
        }
    }

    /// The gateway's name for a device, for the findings and the witness.
    pub fn named(&mut self, serial: &str, name: &str) {
        if let Some(device) = self.devices.get_mut(serial) {
            device.name = name.to_owned();
        }
    }

    /// Whether nothing is owed: every message acknowledged, every duty done.
    pub fn is_settled(&self) -> bool {
        self.devices.values().all(|device| device.sent.is_empty() && device.owed.is_empty())
    }

    /// Devices whose acknowledged evidence a witness can check: gateway name and serial.
    pub fn to_witness(&self) -> Vec<(String, String)> {
        let with_evidence = self.devices.iter().filter(|(_, device)| !device.evidence.is_empty());
        with_evidence.map(|(serial, device)| (serial.clone(), device.name.clone())).collect()
    }

    /// Reads one fact about the device with this serial number.
    pub fn observe(&mut self, serial: &str, now: Timestamp, fact: Fact) {
        if !self.devices.contains_key(serial) {
            return;
        }
        match fact {
            Fact::Sent { id, duty } => self.sent(serial, id, duty),
            Fact::Acked { id } => self.acked(serial, now, id),
            Fact::Refused { id } => self.refused(serial, id),
            Fact::Code | Fact::ClaimRefused => self.settle(serial, |duty| matches!(duty, Duty::Claim)),
            Fact::Synced => self.settle(serial, |duty| matches!(duty, Duty::Sync)),
            Fact::Consented { purposes } => self.consented(serial, purposes),
            Fact::Linked => self.link(serial, true),
            Fact::Unlinked => self.link(serial, false),
            Fact::Put { offer, kind, product, expires_at, sent_at, in_sync } => {
                let put = Put { offer, kind, product, expires_at, sent_at, in_sync };
                self.put(serial, &put);
            }
            Fact::OfferWithdrawn { offer } => {
                self.device(serial).withdrawn_offers.insert(offer);
            }
            Fact::Order { order, offer } => self.order(serial, order, offer),
            Fact::Foreign { topic } => {
                self.find("message.misrouted", serial, &topic, "a message for another device arrived here");
            }
        }
    }

    /// The device's ledger; `observe` has checked that it exists.
    fn device(&mut self, serial: &str) -> &mut DeviceLedger {
        self.devices.entry(serial.to_owned()).or_default()
    }

    fn sent(&mut self, serial: &str, id: String, duty: Duty) {
        let Some(device) = self.devices.get_mut(serial) else { return };
        match &duty {
            Duty::Slot { slot, field, value, .. } => {
                device.crossed(&self.causes, Some(slot.clone()), field.clone(), *value);
            }
            Duty::Telemetry { numbers } => {
                for (field, value) in numbers {
                    device.crossed(&self.causes, None, field.clone(), *value);
                }
            }
            Duty::Keep | Duty::Claim | Duty::Sync | Duty::Accept { .. } | Duty::Withdrawal { .. } => {}
        }
        device.sent.insert(id, duty);
    }

    fn acked(&mut self, serial: &str, now: Timestamp, id: String) {
        let Some(device) = self.devices.get_mut(serial) else { return };
        if !device.acked.insert(id.clone()) {
            return;
        }
        let home = device.home.clone();
        let Some(duty) = device.sent.remove(&id) else { return };
        match duty {
            Duty::Keep | Duty::Telemetry { .. } => {}
            Duty::Slot { slot, field, value, at } => {
                // Where devices stamp, their time orders; else the gateway orders by arrival, which it acknowledges in.
                if !self.one_clock || device.evidence.get(&slot).is_none_or(|known| known.at <= at) {
                    device.evidence.insert(slot, Evidence { message: id, field, value, at });
                }
            }
            // An order that came before the acknowledgement of its accept has settled it.
            Duty::Accept { offer } if self.orders.contains_key(&offer) => {}
            Duty::Claim | Duty::Sync if device.early.remove(&id) => {}
            duty @ (Duty::Claim | Duty::Sync | Duty::Accept { .. }) => {
                device.owed.insert(id, duty);
            }
            Duty::Withdrawal { purpose } => {
                device.silenced.insert(purpose.clone());
                if let Some(home) = self.homes.get_mut(&home) {
                    home.withdrawn.insert(purpose, now);
                }
            }
        }
    }

    fn refused(&mut self, serial: &str, id: Option<String>) {
        let device = self.device(serial);
        let Some(id) = id else { return };
        device.owed.remove(&id);
        // Refused before it was acknowledged: the acknowledgement that follows owes nothing more.
        if let Some(duty) = device.sent.get_mut(&id) {
            *duty = Duty::Keep;
        }
        // Refused after it was acknowledged: evidence that was not taken need not be visible.
        device.evidence.retain(|_, evidence| evidence.message != id);
    }

    fn settle(&mut self, serial: &str, kind: fn(&Duty) -> bool) {
        let device = self.device(serial);
        device.owed.retain(|_, duty| !kind(duty));
        // The answer may overtake the acknowledgement: what is not acknowledged yet is answered too.
        let early: Vec<String> = device.sent.iter().filter(|(_, duty)| kind(duty)).map(|(id, _)| id.clone()).collect();
        device.early.extend(early);
    }

    fn consented(&mut self, serial: &str, purposes: Vec<String>) {
        let home = self.device(serial).home.clone();
        if let Some(home) = self.homes.get_mut(&home) {
            for purpose in purposes {
                home.withdrawn.remove(&purpose);
                home.consents.insert(purpose);
            }
        }
    }

    fn link(&mut self, serial: &str, linked: bool) {
        let device = self.device(serial);
        device.linked = linked;
        if linked {
            device.silenced.clear();
        }
    }

    fn put(&mut self, serial: &str, put: &Put) {
        self.put_is_permitted(serial, put);
        let home = self.device(serial).home.clone();
        let first_home = self.offer_homes.entry(put.offer.clone()).or_insert_with(|| home.clone()).clone();
        if first_home != home {
            let what = format!("the offer was put to the home {first_home} before");
            self.find("offer.misrouted", serial, &put.offer, &what);
        }
        if self.device(serial).withdrawn_offers.contains(&put.offer) {
            self.find("offer.after_withdrawal", serial, &put.offer, "it was put again after the gateway withdrew it");
        }
        if put.expires_at.is_some_and(|end| put.sent_at >= end) {
            self.find("offer.after_expiry", serial, &put.offer, "it was sent at or after its own end");
        }
        if !self.device(serial).offers.contains_key(&put.offer) {
            self.put_has_a_cause(serial, put);
        }
    }

    /// Link, consent and quiet hours.
    fn put_is_permitted(&mut self, serial: &str, put: &Put) {
        let one_clock = self.one_clock;
        let device = self.device(serial);
        let purpose = if put.kind == "replenish" { "replenish.device" } else { "offers.device" };
        let (linked, silenced, home) = (device.linked, device.silenced.contains(purpose), device.home.clone());
        let Some(home) = self.homes.get(&home) else { return };
        let consented = home.consents.contains(purpose);
        // The clocks compare only where they are one; on the same connection the order is enough.
        let late = one_clock && home.withdrawn.get(purpose).is_some_and(|at| put.sent_at > *at + UNDER_WAY);
        let quiet = !put.in_sync && home.quiet.is_some_and(|quiet| quiet.contains(home.zone.local(put.sent_at)));
        let local = home.zone.local(put.sent_at);
        if !linked {
            self.find("offer.without_link", serial, &put.offer, "the device belongs to nobody");
        } else if !consented {
            self.find("offer.without_consent", serial, &put.offer, &format!("nobody consented to {purpose}"));
        } else if silenced || late {
            self.find(
                "offer.without_consent",
                serial,
                &put.offer,
                &format!("{purpose} was withdrawn and acknowledged"),
            );
        }
        if quiet {
            let what = format!("it was sent at {} local time, in the home's quiet hours", local.time());
            self.find("offer.in_quiet_hours", serial, &put.offer, &what);
        }
    }

    /// A new offer uses up one crossing on its device.
    fn put_has_a_cause(&mut self, serial: &str, put: &Put) {
        let fitting: Vec<usize> = {
            let causes = &self.causes;
            let fits = |cause: &Cause| cause.product.is_none() || cause.product == put.product;
            causes.iter().enumerate().filter(|(_, cause)| fits(cause)).map(|(n, _)| n).collect()
        };
        let stated = !self.causes.is_empty();
        let device = self.device(serial);
        let used =
            |device: &DeviceLedger, cause: usize| device.offers.values().filter(|of| of.contains(&cause)).count();
        let crossed: Vec<usize> = fitting.into_iter().filter(|n| device.crossings.contains_key(n)).collect();
        let free = crossed.iter().copied().find(|n| (used(device, *n) as u32) < device.crossings[n]);
        device.offers.insert(put.offer.clone(), free.into_iter().collect());
        let (reports, crossings) = (device.reports, crossed.len());
        match free {
            Some(_) => {}
            None if stated && crossings > 0 => {
                self.find("offer.doubled", serial, &put.offer, "its crossing has led to another offer before");
            }
            None if stated => {
                self.find("offer.without_cause", serial, &put.offer, "no known threshold was crossed on this device");
            }
            None if reports == 0 => {
                self.find("offer.without_cause", serial, &put.offer, "the device has not reported anything");
            }
            None => {}
        }
    }

    fn order(&mut self, serial: &str, order: String, offer: String) {
        let settled = |duty: &Duty| matches!(duty, Duty::Accept { offer: of } if *of == offer);
        self.device(serial).owed.retain(|_, duty| !settled(duty));
        let orders = self.orders.entry(offer.clone()).or_default();
        if orders.insert(order.clone()) && orders.len() > 1 {
            let what = format!("the offer {offer} has led to {} orders", orders.len());
            self.find("order.doubled", serial, &order, &what);
        }
    }

    /// What a witness sees in the slots of a device: `items` of `GET …/slots`.
    pub fn witnessed(&mut self, serial: &str, items: &[Value]) {
        let evidence = self.device(serial).evidence.clone();
        for (slot, Evidence { field, value, at, .. }) in evidence {
            let seen = items.iter().find(|item| item["slot"] == slot.as_str()).and_then(|item| item[&field].as_f64());
            if seen.is_none_or(|seen| (seen - value).abs() > 1e-6) {
                let seen = seen.map_or("nothing".to_owned(), |seen| seen.to_string());
                let what = format!("{field} {value} of {at} was acknowledged, the gateway shows {seen}");
                self.find("report.lost", serial, &slot, &what);
            }
        }
    }

    /// Names what is still owed and gives back all findings, with the number of those left out.
    pub fn conclude(mut self) -> (Vec<Finding>, u64) {
        let owed: Vec<(String, String, &'static str, &'static str)> = self
            .devices
            .iter()
            .flat_map(|(serial, device)| {
                let silent = device.sent.keys().map(|id| (id, "message.unacknowledged", "it was never acknowledged"));
                let broken = device.owed.iter().map(|(id, duty)| match duty {
                    Duty::Claim => (id, "claim.unanswered", "acknowledged, and neither a code nor a refusal came"),
                    Duty::Sync => (id, "sync.unanswered", "acknowledged, and no current set came"),
                    Duty::Accept { .. } => {
                        (id, "accept.unanswered", "acknowledged, and neither an order nor a refusal came")
                    }
                    Duty::Keep | Duty::Slot { .. } | Duty::Telemetry { .. } | Duty::Withdrawal { .. } => {
                        (id, "message.unanswered", "acknowledged, and its effect is missing")
                    }
                });
                silent
                    .chain(broken)
                    .map(|(id, rule, what)| (serial.clone(), id.clone(), rule, what))
                    .collect::<Vec<_>>()
            })
            .collect();
        for (serial, id, rule, what) in owed {
            self.find(rule, &serial, &id, what);
        }
        (self.findings.into_iter().collect(), self.left_out)
    }

    fn find(&mut self, rule: &'static str, serial: &str, id: &str, what: &str) {
        if self.findings.len() >= FINDINGS_MAX {
            self.left_out += 1;
            return;
        }
        let device = self.device(serial);
        let finding = Finding {
            rule,
            home: device.home.clone(),
            device: device.name.clone(),
            id: id.to_owned(),
            what: what.to_owned(),
        };
        self.findings.insert(finding);
    }
}

/// An offer as it was put.
struct Put {
    offer: String,
    kind: String,
    product: Option<String>,
    expires_at: Option<Timestamp>,
    sent_at: Timestamp,
    in_sync: bool,
}
