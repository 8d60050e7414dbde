//! Every bound that the core keeps, with its unit and its reason.

use crate::time::Span;

/// Bytes of one device message: small appliances send less, and 16 KiB keeps a poison message cheap.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Samples of one telemetry message.
pub const SAMPLES_MAX: usize = 200;
/// Fields of one telemetry sample.
pub const SAMPLE_FIELDS_MAX: usize = 64;
/// Nesting of a JSON payload.
pub const JSON_DEPTH_MAX: usize = 8;
/// Bytes of one JSON string.
pub const STRING_BYTES_MAX: usize = 1024;
/// Members of all JSON objects of one payload together: 200 samples of `t`, `f` and eight fields
/// are within the contract, and fill the payload's bytes.
pub const JSON_KEYS_MAX: usize = 2048;
/// Telemetry fields that a device may declare.
pub const FIELDS_MAX: usize = 64;
/// Slots that a device may declare.
pub const SLOTS_MAX: usize = 16;
/// Placements that a device may declare.
pub const PLACEMENTS_MAX: usize = 8;

/// Message ids remembered per device.
pub const SEEN_IDS_PER_DEVICE: usize = 1024;
/// How long a message id is remembered.
pub const SEEN_AGE_MAX: Span = Span::days(7);
/// Skew below which a device's clock is trusted.
pub const CLOCK_SKEW_TRUSTED: Span = Span::seconds(120);
/// How far back a trusted sample is history.
pub const HISTORY_AGE_MAX: Span = Span::days(35);
/// How far ahead of the gateway a trusted sample may be.
pub const FUTURE_MAX: Span = Span::minutes(2);

/// Life of a claim code.
pub const CLAIM_TTL: Span = Span::minutes(10);
/// Live offers of one device; the oldest is withdrawn for the next. A card holds few, and the
/// household's record, rewritten at every message, stays small.
pub const LIVE_OFFERS_PER_DEVICE_MAX: usize = 4;
/// Ended offers and orders kept in the household's record, for repeats and suppression.
pub const ENDED_KEPT_MAX: usize = 8;
/// Ended orders kept beside these because something may still follow: a withdrawal, a refund, a silence. Each takes
/// some 400 bytes, and two dozen within two weeks are more than homes order.
pub const ORDERS_NEEDED_MAX: usize = 24;
/// Refusals kept beside these because they still silence something: the newest of each trigger and product. An offer
/// takes up to 1 KB, and the home is not spoken to by more triggers than this.
pub const REFUSALS_NEEDED_MAX: usize = 16;
/// Contacts remembered per household for caps.
pub const CONTACTS_MAX: usize = 64;
/// Contacts of one trigger that are remembered however many others came after them: its own caps ask far back.
pub const CONTACTS_OF_TRIGGER_KEPT: usize = 4;
/// Contacts remembered in all, with those.
pub const CONTACTS_KEPT_MAX: usize = 96;
/// Triggers that may be armed on one device.
pub const ARMED_PER_DEVICE_MAX: usize = 32;
/// Edges remembered of one device: where a shop has more triggers on one model than this crossed at
/// once, the others fire without waiting and without hysteresis, and the household's record, which is
/// written again and again, stays below some 20 KiB a device.
pub const EDGES_PER_DEVICE_MAX: usize = 256;
/// Trends kept of one device, at most 250 bytes each: as many as a shop may ask about several fields
/// over several stretches of time; more triggers over the same ones cost nothing more.
pub const TRENDS_PER_DEVICE_MAX: usize = 16;
/// Times of one trigger remembered to be counted within a window: exact, and a record of 200 bytes.
pub const TIMES_COUNTED_MAX: u32 = 32;
/// Looks at triggers that one input may cause, which take some milliseconds: the largest set has
/// far fewer that one reading crosses.
pub const LOOKS_PER_INPUT_MAX: usize = 1_000;
/// A deadline kept later than this is called overdue: the timers look every second, a busy shard
/// takes some more.
pub const OVERDUE_AFTER: Span = Span::minutes(1);
/// Products of which a home's shelf is counted.
pub const SHELVES_MAX: usize = 32;
/// Evidence of a slot older than this is too old to order by without asking: a device that reports
/// at all does so daily, and a week covers a holiday of its network.
pub const SLOT_STALE_AFTER: Span = Span::days(7);
/// Purchases from elsewhere, and calls about orders that their callers named, that are remembered by a home as told,
/// against repeats.
pub const PURCHASES_HEARD_MAX: usize = 128;
/// A purchase older than this is no spare any more: it says only how often the home buys.
pub const SPARE_AGE_MAX: Span = Span::days(35);
/// Pieces of a product that one order may have.
pub const ORDER_QTY_MAX: u32 = 20;
/// Slots of one home that are foreseen: each takes some 250 bytes of its record.
pub const TRACKS_MAX: usize = 64;
/// Mandates of one home.
pub const MANDATES_MAX: usize = 32;
/// Purchases of one product that are remembered: with a forgetting of 7 % a purchase, what is older
/// weighs less than a third.
pub const BOUGHT_KEPT_MAX: usize = 16;
/// Entries kept in the history of one offer.
pub const HISTORY_ENTRIES_MAX: usize = 32;
/// Times that a shop may say that an order is late: who would say it again gives up or sends.
pub const DELAYS_MAX: usize = 8;
/// Entries kept in the history of one order: its pieces sent and refunded one by one, the delays, the parts said
/// without pieces between them, and the ten stations of the road. None of it is ever cut.
pub const ORDER_ENTRIES_MAX: usize = 2 * ORDER_QTY_MAX as usize + 2 * DELAYS_MAX + 12;
/// Devices of one household.
pub const DEVICES_PER_HOUSEHOLD_MAX: usize = 64;
/// Profiles of one household.
pub const MEMBERS_PER_HOUSEHOLD_MAX: usize = 16;
/// Two same answers from one device within this time are one (a bouncing button).
pub const ANSWER_BOUNCE: Span = Span::seconds(5);
/// Jitter window over which held offers leave at the end of quiet hours.
pub const QUIET_END_JITTER: Span = Span::minutes(5);
/// People of whom a home knows something beside who they are: its members, and those who are about to join.
pub const STANDINGS_MAX: usize = 2 * MEMBERS_PER_HOUSEHOLD_MAX;
/// Merges of one home that can be taken back: each keeps two people as they were, about 500 bytes.
pub const MERGES_KEPT_MAX: usize = 8;
/// Offers a day or a week that a person may permit at most: the home remembers its last contacts, and a bound
/// above that could not be kept.
pub const PREFERRED_OFFERS_MAX: u8 = 50;
