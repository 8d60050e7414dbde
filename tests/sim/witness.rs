//! What a stranger can say about the house from outside: what was asked of it, what it answered,
//! what it said to devices, and what is on its disk. Knows nothing of `decide`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearthway::engine::Engine;
use hearthway::engine::reports::{Found, Question, ReportKind};
use hearthway::engine::rows::OrderRow;
use hearthway::store::Store;
use hearthway::store::codec::{self, Schema};
use hearthway::store::faults::FaultyStore;
use hearthway::store::keys::{self, Key, table};
use hearthway::store::memory::MemoryStore;
use hearthway_core::code::{Code, Refusal};
use hearthway_core::decision::Reply;
use hearthway_core::id::{DERIVED_BYTES, DeviceKey, HouseholdId, MessageId, OfferId, OrderId};
use hearthway_core::model::OrderState;
use hearthway_core::report::Asked;
use hearthway_core::time::Timestamp;
use hearthway_core::trace::Verdict;

use crate::log_index::LogIndex;
use crate::recount::{recounted, told};
use crate::shop;

/// Each so many-th stored trace of a home is asked for by its time, the newest first. It is dear:
/// where the clock went back, the home's log is decided again.
const EXPLAIN_EVERY: usize = 64;

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
    Suspended,
    Resumed,
}

impl Said {
    /// It may open what an end closed.
    fn permits(&self) -> bool {
        matches!(self, Said::Consent(true) | Said::ShopConsent(_, true) | Said::Linked(_))
    }
    /// After it no offer may reach the device that it is about.
    fn ends(&self) -> bool {
        matches!(self, Said::Consent(false) | Said::Released | Said::Reset)
    }
}

/// Whether a device may be offered anything, as far as can be known from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Something that permits it was said, or may be on its way.
    Perhaps,
    /// The last word is an end, it was acknowledged at this moment of the link, and nothing that
    /// could permit it again has been tried since the end was first tried.
    NotSince(u64),
}

/// What opens and what closes, in the order in which a stranger can know it.
///
/// Two words that are on their way together may take effect in either order, and their answers
/// tell nothing of it. So an end counts only if every permit was answered before the end was first
/// tried, and none was tried since; and a permit is on its way until its own answer comes, not
/// that of another of the same device.
#[derive(Default)]
struct Words {
    may: BTreeMap<DeviceKey, May>,
    /// Permits tried and not answered, by what they were said with.
    open: BTreeSet<String>,
    /// Permits tried so far.
    permits: u64,
    /// Ends tried and not answered, with the permits tried before; none where one was open.
    ends: BTreeMap<String, Option<u64>>,
}

impl Words {
    fn permit_tried(&mut self, cause: &str) {
        if self.open.insert(cause.to_owned()) {
            self.permits += 1;
        }
        // A link or a grant gives a whole household a word, and which homes it reaches is not
        // known here.
        self.may.values_mut().for_each(|may| *may = May::Perhaps);
    }
    fn end_tried(&mut self, cause: &str) {
        // What its first try found counts: that one may be the one that took effect.
        let found = self.open.is_empty().then_some(self.permits);
        self.ends.entry(cause.to_owned()).or_insert(found);
    }
    fn permit_answered(&mut self, cause: &str) {
        self.open.remove(cause);
    }
    /// Whether the end is known to be the last word.
    fn end_answered(&mut self, cause: &str, device: &DeviceKey, moment: u64) -> bool {
        let is_last = self.ends.remove(cause) == Some(Some(self.permits));
        if is_last {
            self.may.insert(device.clone(), May::NotSince(moment));
        }
        is_last
    }
    /// Whether what was handed over at this moment came after a known end.
    fn is_broken_by(&self, device: &DeviceKey, moment: u64) -> bool {
        matches!(self.may.get(device), Some(May::NotSince(end)) if moment >= *end)
    }
}

pub struct Witness {
    store: Arc<FaultyStore<MemoryStore>>,
    /// Links and consents.
    words: Words,
    /// Suspensions: `Resumed` permits, `Suspended` ends.
    sleeps: Words,
    /// Devices that were ever linked.
    linked: BTreeSet<DeviceKey>,
    log: LogIndex,
    acknowledged: BTreeMap<(DeviceKey, MessageId), u32>,
    orders: BTreeMap<OfferId, OrderId>,
    put_at: BTreeMap<OfferId, DeviceKey>,
    pub counts: Counts,
    tell: bool,
}

/// What happened in a world, so that a run can tell that it looked at something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub acknowledgements: u64,
    pub offers_delivered: u64,
    /// Ends after which silence was demanded.
    pub ends: u64,
    pub orders: u64,
    pub claims: u64,
    pub explained: u64,
    /// Accepts that a budget had no room for.
    pub exhausted: u64,
    pub reported: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.acknowledgements += more.acknowledgements;
        self.offers_delivered += more.offers_delivered;
        self.ends += more.ends;
        self.orders += more.orders;
        self.claims += more.claims;
        self.explained += more.explained;
        self.exhausted += more.exhausted;
        self.reported += more.reported;
    }
}

impl Witness {
    /// `tell` prints what is seen, for whoever looks at one seed.
    pub fn new(store: Arc<FaultyStore<MemoryStore>>, tell: bool) -> Witness {
        Witness {
            store,
            words: Words::default(),
            sleeps: Words::default(),
            linked: BTreeSet::new(),
            log: LogIndex::default(),
            acknowledged: BTreeMap::new(),
            orders: BTreeMap::new(),
            put_at: BTreeMap::new(),
            counts: Counts::default(),
            tell,
        }
    }

    /// A line of the story.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if self.tell {
            println!("{}", line());
        }
    }

    /// Something is asked for: from now on it may take effect at any moment. `cause` is the same
    /// at each try of the same thing.
    pub fn tries(&mut self, cause: &str, device: Option<&DeviceKey>, said: &Said) {
        self.tell(|| format!("  {cause} is tried: {said:?} {}", shown(device)));
        match said {
            Said::Resumed => self.sleeps.permit_tried(cause),
            Said::Suspended => self.sleeps.end_tried(cause),
            _ if said.permits() => {
                self.words.permit_tried(cause);
                if let (Said::Linked(_), Some(device)) = (said, device) {
                    self.linked.insert(device.clone());
                }
            }
            _ if said.ends() => self.words.end_tried(cause),
            _ => {}
        }
    }

    /// It was answered: by now it is in effect, if it was not refused.
    pub fn answered(
        &mut self,
        cause: &str,
        device: Option<&DeviceKey>,
        said: &Said,
        reply: &Result<Reply, Refusal>,
        moment: u64,
    ) {
        self.tell(|| format!("  {cause} is answered: {said:?} {} {reply:?}", shown(device)));
        match said {
            Said::Resumed => self.sleeps.permit_answered(cause),
            _ if said.permits() => self.words.permit_answered(cause),
            _ => {}
        }
        let Some(device) = device.filter(|_| reply.is_ok()) else { return };
        let words = match said {
            Said::Suspended => &mut self.sleeps,
            _ if said.ends() => &mut self.words,
            _ => return,
        };
        self.counts.ends += u64::from(words.end_answered(cause, device, moment));
    }

    /// An acknowledgement leaves for a device: its message is on disk, or the promise is broken.
    pub fn acknowledged(&mut self, device: &DeviceKey, id: &MessageId, reply: &Result<Reply, Refusal>) {
        self.counts.acknowledgements += 1;
        let is_exhausted = |refusal: &Refusal| refusal.code == Code::OfferBudgetExhausted;
        self.counts.exhausted += u64::from(reply.as_ref().is_err_and(is_exhausted));
        assert!(self.log.holds(&self.store, id), "{id} of {device} was acknowledged and is not on disk");
        *self.acknowledged.entry((device.clone(), id.clone())).or_default() += 1;
    }

    /// Something reached a device.
    pub fn delivered(&mut self, device: &DeviceKey, topic: &str, body: &serde_json::Value, moment: u64) {
        match topic {
            "down/offer" if body["op"] == "put" => {
                self.counts.offers_delivered += 1;
                self.tell(|| format!("  {device} is offered {}", body["offer"]["id"]));
                let words = [("end", &self.words), ("suspension", &self.sleeps)];
                for (end, words) in words {
                    let broken = words.is_broken_by(device, moment);
                    assert!(!broken, "{device} was offered something after an acknowledged {end}: {body}");
                }
                assert!(self.linked.contains(device), "{device} was offered something and nobody ever linked it");
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

    /// Never more orders than the budget pays for; and what a gateway that has just started thinks is
    /// drawn is what they hold.
    pub fn check_budget(&self, engine: &Engine) {
        let rows = self.store.scan(&[table::ORDER], None, 10_000).unwrap();
        let order = |(key, value): &(Key, Vec<u8>)| codec::decode::<OrderRow>(Schema::Order, key, value).unwrap().order;
        let sold = rows.iter().map(order).filter(|order| !order.state.is_undone()).count();
        assert!(sold <= shop::BUDGET, "{sold} orders on a budget of {}", shop::BUDGET);
        let trigger = "filter-worn".parse().unwrap();
        let spent = engine.spent(&shop::retailer(), &trigger, None).count;
        assert_eq!(spent, sold as u64, "what is drawn beside the orders");
    }

    /// No promise is broken that shows at any time.
    pub fn check(&self) {
        assert_eq!(crate::errors(), 0, "an ERROR was logged");
    }

    /// After the calm: nothing is left open.
    pub fn check_ended(&mut self, engine: &Engine) {
        for id in self.households() {
            let Some(home) = crate::ready(engine.facts(id)).unwrap() else { continue };
            let live: Vec<_> =
                home.offers.values().filter(|offer| offer.state.is_live()).map(|offer| offer.id).collect();
            assert!(live.is_empty(), "offers that never end: {live:?}");
            let confirmed = home.orders.values().any(|order| order.state == OrderState::Confirmed);
            assert!(!confirmed, "a cancel window that never closes");
        }
        self.check_orders();
        self.check_budget(engine);
        let mut waiting = self.store.scan(&[table::OUTBOX], None, 10_000).unwrap();
        waiting.retain(|(key, _)| *key != keys::outbox_numbers());
        assert!(waiting.is_empty(), "the outbox does not drain: {} rows, the first {}", waiting.len(), waiting[0].0);
        assert!(self.store.scan(&[table::MOVE], None, 10).unwrap().is_empty(), "a move that never arrives");
    }

    /// The orders on disk: each that somebody was told of is there, and no offer was sold twice,
    /// whether anybody was told or not.
    fn check_orders(&mut self) {
        let mut sold: BTreeMap<OfferId, OrderId> = BTreeMap::new();
        for (key, value) in self.store.scan(&[table::ORDER], None, 10_000).unwrap() {
            let order = codec::decode::<OrderRow>(Schema::Order, &key, &value).unwrap().order;
            let first = sold.insert(order.offer, order.id);
            assert!(first.is_none(), "offer {} was sold twice: {first:?} and {}", order.offer, order.id);
        }
        self.counts.orders += sold.len() as u64;
        for (offer, order) in &self.orders {
            assert_eq!(sold.get(offer), Some(order), "order {order} of offer {offer} was confirmed and is gone");
        }
    }

    /// The log holds each acknowledged message once, replays to the stored traces, and each stored
    /// trace explains itself.
    pub fn check_log(&mut self, engine: &Engine, devices: &[DeviceKey]) {
        for (device, id) in self.acknowledged.keys() {
            assert!(devices.contains(device));
            assert_eq!(self.log.items_of(&self.store, id), 1, "{id} of {device} took effect more than once");
        }
        for id in self.households() {
            let replayed = engine.replay(id).unwrap();
            assert!(replayed.differences.is_empty(), "{id} does not replay: {:#?}", replayed.differences);
            self.check_explains(engine, id);
        }
        self.check_report(engine);
    }

    /// The funnel counts what the log, the offers and the orders have, each once: whatever crashed.
    fn check_report(&mut self, engine: &Engine) {
        let (past, shop) = (engine.past(), crate::shop::retailer());
        let recounted = recounted(&past, &*self.store, &shop);
        let question = Question { kind: ReportKind::Funnel, asked: Asked::default(), window: None };
        let report = past.report(&shop, &question, Timestamp(0)).unwrap();
        let Found::Funnel(funnel) = &report.found else { unreachable!("another report") };
        assert_eq!(report.uncounted, 0);
        assert_eq!(told(funnel), recounted);
        self.counts.reported += recounted.values().map(|(decisions, _)| decisions).sum::<u64>();
    }

    /// Asked for the latest word on a trigger, and for the word at the time of some traces, the
    /// house gives the stored trace, and its first block or its offer says why.
    fn check_explains(&mut self, engine: &Engine, household: HouseholdId) {
        let traces = engine.decisions(household, None, 10_000).unwrap();
        let mut latest = BTreeSet::new();
        for (n, (at, input, candidate)) in traces.iter().enumerate() {
            let (trigger, verdict, block) = (&candidate.trigger, candidate.verdict, candidate.first_block);
            self.tell(|| format!("  at {at}: {trigger} {verdict:?} {block:?}"));
            match candidate.verdict {
                Verdict::Sent => {
                    assert!(candidate.offer.is_some() && candidate.first_block.is_none(), "{candidate:#?}")
                }
                Verdict::Held => assert!(candidate.first_block.is_some(), "silence without a reason: {candidate:#?}"),
            }
            if latest.insert(candidate.trigger.clone()) {
                let known = crate::ready(engine.explain(household, &candidate.trigger, None)).unwrap().unwrap();
                assert!(!known.recomputed && known.input == *input && known.candidate == *candidate, "{known:#?}");
                self.counts.explained += 1;
            }
            if n % EXPLAIN_EVERY == 0 {
                let known = crate::ready(engine.explain(household, &candidate.trigger, Some(*at))).unwrap();
                let known = known.expect("an input that left a trace is known at its time");
                // The gateway's clock goes back at times: then a later input stands at that time.
                // And one input may wake a trigger twice: the word is one of its own then.
                let is_stored = traces.iter().any(|(_, of, stored)| of == input && *stored == known.candidate);
                assert!(known.input != *input || is_stored, "{known:#?}\n{candidate:#?}");
                assert!(!known.candidate.steps.is_empty(), "{known:#?}");
                self.counts.explained += 1;
            }
        }
    }

    fn households(&self) -> Vec<HouseholdId> {
        let rows = self.store.scan(&[table::HOUSEHOLD], None, 10_000).unwrap();
        // The key of a record; a tail behind it has a longer one.
        let id = |key: &Key| <[u8; DERIVED_BYTES]>::try_from(&key.0[1..]).ok().map(HouseholdId);
        rows.iter().filter_map(|(key, _)| id(key)).collect()
    }
}

fn shown(device: Option<&DeviceKey>) -> String {
    device.map_or_else(|| "by the shop".to_owned(), DeviceKey::to_string)
}
