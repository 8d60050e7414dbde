//! What a stranger can say about the house from outside: what was asked of it, what it answered,
//! what it said to devices, and what is on its disk. Knows nothing of `decide`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthway::engine::Engine;
use hearthway::store::Store;
use hearthway::store::faults::FaultyStore;
use hearthway::store::keys::table;
use hearthway::store::memory::MemoryStore;
use hearthway_core::code::Refusal;
use hearthway_core::decision::Reply;
use hearthway_core::id::{DERIVED_BYTES, DeviceKey, HouseholdId, MessageId, OfferId, OrderId};
use hearthway_core::model::OrderState;

/// What a message or a command says, as far as promises hang on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Used(u32),
    Consent(bool),
    ShopConsent(String, bool),
    Linked(String),
    Released,
    Reset,
    Wiped,
}

/// Whether a device's household may be offered anything, as far as can be known from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Something that permits it was said, or may be on its way.
    Perhaps,
    /// The last word is a withdrawal or an end, it was acknowledged, and nothing that could
    /// permit it again has been tried since this moment of the link.
    NotSince(u64),
}

pub struct Witness {
    store: Arc<FaultyStore<MemoryStore>>,
    may: BTreeMap<DeviceKey, May>,
    /// Permissions tried and not answered, per device.
    open_permits: BTreeMap<DeviceKey, u32>,
    acknowledged: BTreeMap<(DeviceKey, MessageId), u32>,
    orders: BTreeMap<OfferId, OrderId>,
    put_at: BTreeMap<OfferId, DeviceKey>,
    pub offers_delivered: u64,
    pub acknowledgements: u64,
}

impl Witness {
    pub fn new(store: Arc<FaultyStore<MemoryStore>>) -> Witness {
        Witness {
            store,
            may: BTreeMap::new(),
            open_permits: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            orders: BTreeMap::new(),
            put_at: BTreeMap::new(),
            offers_delivered: 0,
            acknowledgements: 0,
        }
    }

    /// Something is asked for: from now on it may take effect at any moment.
    pub fn tries(&mut self, device: Option<&DeviceKey>, said: &Said) {
        match (said, device) {
            (Said::Consent(true) | Said::Linked(_), Some(device)) => {
                self.may.insert(device.clone(), May::Perhaps);
                // A link or grant gives its whole household a word.
                self.may.values_mut().for_each(|may| *may = May::Perhaps);
            }
            (Said::ShopConsent(_, true), _) => self.may.values_mut().for_each(|may| *may = May::Perhaps),
            _ => {}
        }
        if permits(said) {
            *self.open_permits.entry(key_of(device)).or_default() += 1;
        }
    }

    /// It was answered: by now it is in effect, if it was not refused.
    pub fn answered(&mut self, device: Option<&DeviceKey>, said: &Said, reply: &Result<Reply, Refusal>, moment: u64) {
        if permits(said) {
            self.open_permits.insert(key_of(device), 0);
        }
        let Some(device) = device.filter(|_| reply.is_ok()) else { return };
        let ends = matches!(said, Said::Consent(false) | Said::Released | Said::Reset);
        if ends && self.open_permits.values().all(|open| *open == 0) {
            self.may.insert(device.clone(), May::NotSince(moment));
        }
    }

    /// An acknowledgement leaves for a device: its message is on disk, or the promise is broken.
    pub fn acknowledged(&mut self, device: &DeviceKey, id: &MessageId, _: &Result<Reply, Refusal>) {
        self.acknowledgements += 1;
        assert!(self.rows_of(id) > 0, "{id} of {device} was acknowledged and is not on disk");
        *self.acknowledged.entry((device.clone(), id.clone())).or_default() += 1;
    }

    /// Rows of the input log that carry a message id, in what a crash would leave.
    fn rows_of(&self, id: &MessageId) -> usize {
        // A text is stored with its length before it, so that `m-1` is not found in `m-12`.
        let mut needle = vec![id.as_str().len() as u8];
        needle.extend_from_slice(id.as_str().as_bytes());
        let rows = self.store.durable().scan(&[table::INPUT], None, 10_000).unwrap();
        rows.iter().filter(|(_, value)| value.windows(needle.len()).any(|window| window == needle)).count()
    }

    /// Something reached a device.
    pub fn delivered(&mut self, device: &DeviceKey, topic: &str, body: &serde_json::Value, moment: u64) {
        match topic {
            "down/offer" if body["op"] == "put" => {
                self.offers_delivered += 1;
                let ended = match self.may.get(device) {
                    Some(May::Perhaps) => false,
                    Some(May::NotSince(end)) => moment >= *end,
                    None => true,
                };
                assert!(!ended, "{device} was offered something after an acknowledged end: {body}");
                let offer: OfferId = body["offer"]["id"].as_str().unwrap().parse().unwrap();
                let first = self.put_at.entry(offer).or_insert_with(|| device.clone());
                assert_eq!(first, device, "one offer on two devices");
            }
            "down/order" => {
                let order: OrderId = body["order"].as_str().unwrap().parse().unwrap();
                let offer: OfferId = body["offer"].as_str().unwrap().parse().unwrap();
                self.accepted(offer, order);
            }
            _ => {}
        }
    }

    /// One order per offer, whoever tells.
    pub fn accepted(&mut self, offer: OfferId, order: OrderId) {
        let known = *self.orders.entry(offer).or_insert(order);
        assert_eq!(known, order, "two orders of one offer");
    }

    /// No promise is broken that shows at any time.
    pub fn check(&self) {
        assert_eq!(crate::errors(), 0, "an ERROR was logged");
    }

    /// After the calm: nothing is left open.
    pub fn check_ended(&self, engine: &Engine) {
        for id in self.households() {
            let Some(home) = crate::ready(engine.facts(id)).unwrap() else { continue };
            let live: Vec<_> =
                home.offers.values().filter(|offer| offer.state.is_live()).map(|offer| offer.id).collect();
            assert!(live.is_empty(), "offers that never end: {live:?}");
            let confirmed = home.orders.values().any(|order| order.state == OrderState::Confirmed);
            assert!(!confirmed, "a cancel window that never closes");
        }
        let retailer = crate::shop::retailer();
        for order in self.orders.values() {
            let row = self.store.get(&hearthway::store::keys::order(&retailer, *order)).unwrap();
            assert!(row.is_some(), "order {order} was confirmed and is gone");
        }
        let waiting = self.store.scan(&[table::OUTBOX], None, 10_000).unwrap();
        assert!(waiting.len() < 100, "the outbox does not drain: {} rows", waiting.len());
        assert!(self.store.scan(&[table::MOVE], None, 10).unwrap().is_empty(), "a move that never arrives");
    }

    /// The log holds each acknowledged message once, and replays to the stored traces.
    pub fn check_log(&self, engine: &Engine, devices: &[DeviceKey]) {
        for (device, id) in self.acknowledged.keys() {
            assert!(devices.contains(device));
            assert_eq!(self.rows_of(id), 1, "{id} of {device} took effect more than once");
        }
        for id in self.households() {
            let replayed = engine.replay(id).unwrap();
            assert!(replayed.differences.is_empty(), "{id} does not replay: {:#?}", replayed.differences);
        }
    }

    fn households(&self) -> Vec<HouseholdId> {
        let rows = self.store.scan(&[table::HOUSEHOLD], None, 10_000).unwrap();
        rows.iter().map(|(key, _)| HouseholdId(<[u8; DERIVED_BYTES]>::try_from(&key.0[1..]).unwrap())).collect()
    }
}

fn permits(said: &Said) -> bool {
    matches!(said, Said::Consent(true) | Said::ShopConsent(_, true) | Said::Linked(_))
}

fn key_of(device: Option<&DeviceKey>) -> DeviceKey {
    device.cloned().unwrap_or_else(|| "acme/shop".parse().unwrap())
}
