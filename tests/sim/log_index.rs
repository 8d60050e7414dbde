//! Which messages the input log holds, in what a crash would leave: read on from where the last
//! look ended, because the log only grows.

use std::collections::BTreeMap;

use hearthway::engine::rows::LogItem;
use hearthway::store::Mark;
use hearthway::store::codec::{self, Schema};
use hearthway::store::faults::FaultyStore;
use hearthway::store::keys::{self, Key, table};
use hearthway::store::memory::MemoryStore;
use hearthway_core::id::{HouseholdId, MessageId};

#[derive(Default)]
pub struct LogIndex {
    /// The last item seen of each household's log.
    ends: BTreeMap<Key, Option<Mark>>,
    /// Items that carry each message id.
    items: BTreeMap<MessageId, usize>,
}

impl LogIndex {
    /// Whether a durable item carries a message id.
    pub fn holds(&mut self, store: &FaultyStore<MemoryStore>, id: &MessageId) -> bool {
        // A durable item stays: what was seen once need not be looked for again.
        self.items.contains_key(id) || self.items_of(store, id) > 0
    }

    /// How many durable items carry a message id.
    pub fn items_of(&mut self, store: &FaultyStore<MemoryStore>, id: &MessageId) -> usize {
        self.read_on(store);
        self.items.get(id).copied().unwrap_or(0)
    }

    fn read_on(&mut self, store: &FaultyStore<MemoryStore>) {
        self.find_households(store);
        for (log, end) in &mut self.ends {
            let mut before = None;
            let mut newest = None;
            loop {
                let page = store.back_durable(log, before, 16).unwrap();
                newest = newest.or(page.first().map(|(mark, _)| *mark));
                let new = page.iter().take_while(|(mark, _)| end.is_none_or(|end| *mark > end));
                let new: Vec<_> = new.collect();
                for id in new.iter().filter_map(|(_, item)| input_in(log, item)) {
                    *self.items.entry(id).or_default() += 1;
                }
                if new.len() < 16 {
                    break;
                }
                before = new.last().map(|(mark, _)| *mark);
            }
            *end = newest.or(*end);
        }
    }

    /// Every household has a record; a tail behind it has a longer key.
    fn find_households(&mut self, store: &FaultyStore<MemoryStore>) {
        for (key, _) in store.scan_durable(&[table::HOUSEHOLD], None, usize::MAX).unwrap() {
            if let Ok(id) = key.0[1..].try_into() {
                self.ends.entry(keys::log(HouseholdId(id))).or_default();
            }
        }
    }
}

/// The message id of the input in an item, none in a snapshot.
fn input_in(log: &Key, item: &[u8]) -> Option<MessageId> {
    match codec::decode(Schema::Log, log, item).expect("an item of a log") {
        LogItem::Input(row) => row.input.message,
        LogItem::Snapshot(_) => None,
    }
}
