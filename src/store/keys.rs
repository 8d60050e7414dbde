//! Every key of the store on one page: a table byte, then fixed-width or terminated parts.
//!
//! Parts of variable length (names) are terminated by a zero byte, which no name contains;
//! numbers are big-endian, so that order of keys is order of numbers.

use hearthway_core::id::{
    DERIVED_BYTES, DeviceKey, HouseholdId, MakerId, MergeId, MoveId, OfferId, OrderId, PoolId, ProductId, ReceiptId,
    RetailerId, SellerId, StoreId, TriggerId, UniqueCode, WebhookId,
};
use hearthway_core::model::{Place, Tenant};
use hearthway_core::report::Month;
use hearthway_core::time::Timestamp;

/// A key: its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Vec<u8>);

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Key {
    /// Readable where it is text: `R acme\0kettle-1\0`, with other bytes as `\x1f`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((&table, rest)) = self.0.split_first() else { return f.write_str("(no key)") };
        write!(f, "{} {}", [table].escape_ascii(), rest.escape_ascii())
    }
}

/// The number at the end of a key.
pub fn number_of(key: &Key) -> u64 {
    key.0.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The tables, one byte each.
pub mod table {
    /// Rows of the engine itself: out of reach of commits and scans.
    pub const ENGINE: u8 = 0;
    /// Household records and their tails.
    pub const HOUSEHOLD: u8 = b'H';
    /// Input logs, one per household.
    pub const LOG: u8 = b'L';
    /// What repeats of a device's messages are told.
    pub const TOLD: u8 = b'M';
    /// Message ids seen, in pages per device.
    pub const SEEN: u8 = b'J';
    /// Where each device lives.
    pub const ROUTE: u8 = b'R';
    /// The outbox of messages to devices.
    pub const OUTBOX: u8 = b'O';
    /// Moves on their way between households.
    pub const MOVE: u8 = b'V';
    /// Offers as other channels see them.
    pub const OFFER: u8 = b'F';
    /// Orders as other channels see them.
    pub const ORDER: u8 = b'B';
    /// Documents of tenants, in versions.
    pub const DOCUMENT: u8 = b'D';
    /// Profiles of retailers.
    pub const PROFILE: u8 = b'P';
    /// Access tokens and keys, hashed.
    pub const TOKEN: u8 = b'K';
    /// Answers kept for `Idempotency-Key`.
    pub const IDEMPOTENCY: u8 = b'Y';
    /// Provisioning: serials and nonces.
    pub const PROVISION: u8 = b'N';
    /// What could not be understood, kept for makers.
    pub const QUARANTINE: u8 = b'Q';
    /// What orders hold of budgets.
    pub const DRAW: u8 = b'G';
    /// Unique codes of retailers' pools.
    pub const CODE: u8 = b'C';
    /// What reports count, by retailer, home and month.
    pub const LEDGER: u8 = b'T';
    /// What was sent under caps of all homes, by retailer and time.
    pub const SENT: u8 = b'S';
    /// How far the gateway's own long works came: sweeps of triggers that went live, the log's age.
    pub const SWEEP: u8 = b'A';
    /// In which home each mandate stands.
    pub const MANDATE: u8 = b'I';
    /// Webhooks of tenants.
    pub const WEBHOOK: u8 = b'W';
    /// Events on their way to webhooks, and those that were told lately.
    pub const EVENT: u8 = b'E';
    /// Who changed what.
    pub const AUDIT: u8 = b'U';
    /// Products, in packs of those that changed together.
    pub const PRODUCT: u8 = b'X';
    /// What stands in stores and at sellers, and how far imports came.
    pub const STOCK: u8 = b'x';
    /// Goods that are put aside, and those that left since they were counted.
    pub const RESERVATION: u8 = b'y';
    /// Reservations that end by themselves, by when.
    pub const RESERVATION_END: u8 = b'g';
    /// Whose an identity is, by retailer and keyed hash.
    pub const IDENTITY: u8 = b'i';
    /// Merges of profiles.
    pub const MERGE: u8 = b'm';
    /// Every word on a consent, by person and time.
    pub const CONSENT_SAID: u8 = b'h';
    /// Erasures at work and done.
    pub const ERASURE: u8 = b'e';
    /// Orders whose buyers were erased, as long as the law wants them kept.
    pub const KEPT_ORDER: u8 = b'o';
    /// Where orders are kept whose buyers were erased, by order and by erasure.
    pub const KEPT_AT: u8 = b'q';
    /// Homes of people who have another one too.
    pub const WATCHED_HOME: u8 = b'p';
    /// What people heard in homes that they left.
    pub const TAKEN_ALONG: u8 = b'u';
    /// Which file holds the customers' keys.
    pub const KEYS_FILE: u8 = b'k';
    /// A row that stands for a moment only, see [`super::probe`].
    pub const PROBE: u8 = b'Z';
}

/// Builds keys part by part.
#[derive(Debug, Clone)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    /// Begins in a table.
    pub fn table(table: u8) -> Self {
        Self(vec![table])
    }
    /// A name, terminated.
    pub fn name(mut self, name: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self
    }
    /// Bytes of a fixed width.
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    /// A number, big-endian.
    pub fn number(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    /// The key.
    pub fn key(self) -> Key {
        Key(self.0)
    }
    /// The bytes, as a prefix for a scan.
    pub fn prefix(self) -> Vec<u8> {
        self.0
    }
}

fn device(table: u8, key: &DeviceKey) -> KeyBuilder {
    KeyBuilder::table(table).name(key.maker.as_str()).name(key.device.as_str())
}

/// A household's record.
pub fn household(id: HouseholdId) -> Key {
    KeyBuilder::table(table::HOUSEHOLD).fixed(id.bytes()).key()
}
/// What happened to a household since its record was written: the row right behind the record.
pub fn household_tail(id: HouseholdId) -> Key {
    KeyBuilder::table(table::HOUSEHOLD).fixed(id.bytes()).fixed(b"t").key()
}
/// Whether a key is that of a tail.
pub fn is_household_tail(key: &Key) -> bool {
    key.0.len() == 1 + DERIVED_BYTES + 1 && key.0.first() == Some(&table::HOUSEHOLD)
}
/// The input log of a household.
pub fn log(id: HouseholdId) -> Key {
    KeyBuilder::table(table::LOG).fixed(id.bytes()).key()
}
/// What repeats of a message are told, by the first 8 bytes of its id's hash.
pub fn told(key: &DeviceKey, id_hash: u64) -> Key {
    device(table::TOLD, key).number(id_hash).key()
}
/// A page of message ids of a device.
pub fn seen(key: &DeviceKey, page: u64) -> Key {
    device(table::SEEN, key).number(page).key()
}
/// All pages of message ids of a device.
pub fn all_seen(key: &DeviceKey) -> Vec<u8> {
    device(table::SEEN, key).prefix()
}
/// Where a device lives.
pub fn route(key: &DeviceKey) -> Key {
    device(table::ROUTE, key).key()
}
/// A message waiting for a device. `n` is unique and grows over the gateway's life.
pub fn outbox(key: &DeviceKey, n: u64) -> Key {
    device(table::OUTBOX, key).number(n).key()
}
/// All that waits for a device.
pub fn outbox_of(key: &DeviceKey) -> Vec<u8> {
    device(table::OUTBOX, key).prefix()
}
/// The outboxes of all devices, and first the counter of their numbers.
pub fn all_outbox() -> Vec<u8> {
    KeyBuilder::table(table::OUTBOX).prefix()
}
/// A row that is put and deleted to see whether the disk takes writes.
pub fn probe() -> Key {
    KeyBuilder::table(table::PROBE).key()
}
/// Below which number outbox rows may have been numbered.
pub fn outbox_numbers() -> Key {
    KeyBuilder::table(table::OUTBOX).key()
}
/// A device on its way between households.
pub fn move_between(id: MoveId) -> Key {
    KeyBuilder::table(table::MOVE).fixed(id.bytes()).key()
}
/// All devices on their way.
pub fn moves() -> Vec<u8> {
    KeyBuilder::table(table::MOVE).prefix()
}
/// All household records, each with its tail behind it.
pub fn households() -> Vec<u8> {
    KeyBuilder::table(table::HOUSEHOLD).prefix()
}
/// Where all devices live.
pub fn routes() -> Vec<u8> {
    KeyBuilder::table(table::ROUTE).prefix()
}
/// The device that a key of the tables `ROUTE`, `SEEN`, `TOLD` and `OUTBOX` begins with.
pub fn device_of(key: &Key) -> Option<DeviceKey> {
    let mut parts = key.0.get(1..)?.split(|byte| *byte == 0).map(std::str::from_utf8);
    let (maker, device) = (parts.next()?.ok()?, parts.next()?.ok()?);
    Some(DeviceKey::new(maker.parse().ok()?, device.parse().ok()?))
}
/// An offer of a retailer.
pub fn offer(retailer: &RetailerId, id: OfferId) -> Key {
    KeyBuilder::table(table::OFFER).name(retailer.as_str()).fixed(id.bytes()).key()
}
/// An order of a retailer.
pub fn order(retailer: &RetailerId, id: OrderId) -> Key {
    KeyBuilder::table(table::ORDER).name(retailer.as_str()).fixed(id.bytes()).key()
}
/// What an order holds of a trigger's budget.
pub fn draw(retailer: &RetailerId, trigger: &TriggerId, order: OrderId) -> Key {
    KeyBuilder::table(table::DRAW).name(retailer.as_str()).name(trigger.as_str()).fixed(order.bytes()).key()
}
/// What all orders hold of all budgets.
pub fn draws() -> Vec<u8> {
    KeyBuilder::table(table::DRAW).prefix()
}
/// The retailer that a key of the tables `DRAW`, `SENT` and `PRODUCT` begins with.
pub fn retailer_of(key: &Key) -> Option<RetailerId> {
    let name = key.0.get(1..)?.split(|byte| *byte == 0).next()?;
    RetailerId::new(std::str::from_utf8(name).ok()?).ok()
}
/// A unique code of a retailer's pool.
pub fn code(retailer: &RetailerId, pool: &PoolId, code: &UniqueCode) -> Key {
    KeyBuilder::table(table::CODE).name(retailer.as_str()).name(pool.as_str()).name(code.as_str()).key()
}
/// In which home a mandate stands, by its hidden name: a shop may name it after a person.
pub fn mandate(retailer: &RetailerId, name: &[u8; DERIVED_BYTES]) -> Key {
    KeyBuilder::table(table::MANDATE).name(retailer.as_str()).fixed(name).key()
}
/// All codes of a pool.
pub fn codes_of(retailer: &RetailerId, pool: &PoolId) -> Vec<u8> {
    KeyBuilder::table(table::CODE).name(retailer.as_str()).name(pool.as_str()).prefix()
}
/// All codes of all pools.
pub fn codes() -> Vec<u8> {
    KeyBuilder::table(table::CODE).prefix()
}
/// The retailer, pool and code that a key of the table `CODE` is made of.
pub fn code_of(key: &Key) -> Option<(RetailerId, PoolId, UniqueCode)> {
    let mut parts = key.0.get(1..)?.split(|byte| *byte == 0).map(std::str::from_utf8);
    let (retailer, pool, code) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some((RetailerId::new(retailer).ok()?, PoolId::new(pool).ok()?, UniqueCode::new(code).ok()?))
}
/// An offer that left under a cap of all homes.
pub fn sent(retailer: &RetailerId, at: Timestamp, offer: OfferId) -> Key {
    let at = u64::try_from(at.0).unwrap_or(0);
    KeyBuilder::table(table::SENT).name(retailer.as_str()).number(at).fixed(offer.bytes()).key()
}
/// All of them of all retailers.
pub fn all_sent() -> Vec<u8> {
    KeyBuilder::table(table::SENT).prefix()
}
/// The retailer, instant and offer that a key of the table `SENT` is made of.
pub fn sent_of(key: &Key) -> Option<(RetailerId, Timestamp, OfferId)> {
    let (rest, offer) = key.0.split_last_chunk::<DERIVED_BYTES>()?;
    let at = i64::try_from(u64::from_be_bytes(*rest.last_chunk::<8>()?)).ok()?;
    Some((retailer_of(key)?, Timestamp(at), OfferId(*offer)))
}
/// Where the pieces of all input logs begin, with their hours. No sweep has a key without a retailer.
pub fn log_pieces() -> Key {
    KeyBuilder::table(table::SWEEP).key()
}
/// How far the sweep of a trigger came.
pub fn sweep(retailer: &RetailerId, trigger: &TriggerId) -> Key {
    KeyBuilder::table(table::SWEEP).name(retailer.as_str()).name(trigger.as_str()).key()
}
/// A tenant's document in one version.
pub fn document(kind: &str, tenant: &str, id: &str, version: u64) -> Key {
    KeyBuilder::table(table::DOCUMENT).name(kind).name(tenant).name(id).number(version).key()
}
/// A pack of a retailer's products: those that changed in a version of the rules, in as many parts as it takes.
pub fn product_pack(retailer: &RetailerId, version: u64, part: u16) -> Key {
    KeyBuilder::table(table::PRODUCT).name(retailer.as_str()).number(version).fixed(&part.to_be_bytes()).key()
}
/// All packs of a retailer, by version.
pub fn product_packs_of(retailer: &RetailerId) -> Vec<u8> {
    KeyBuilder::table(table::PRODUCT).name(retailer.as_str()).prefix()
}
/// All packs of all retailers.
pub fn product_packs() -> Vec<u8> {
    KeyBuilder::table(table::PRODUCT).prefix()
}
/// The retailer, version and part that a pack's key is made of.
pub fn pack_of(key: &Key) -> Option<(RetailerId, u64, u16)> {
    let (rest, part) = key.0.split_last_chunk::<2>()?;
    let version = u64::from_be_bytes(*rest.last_chunk::<8>()?);
    Some((retailer_of(key)?, version, u16::from_be_bytes(*part)))
}
fn place(key: KeyBuilder, place: &Place) -> KeyBuilder {
    match place {
        Place::Store(store) => key.name("store").name(store.as_str()),
        Place::Seller(seller) => key.name("seller").name(seller.as_str()),
    }
}
/// What a shop counted of a product at a place.
pub fn stock(retailer: &RetailerId, product: &ProductId, at: &Place) -> Key {
    let key = KeyBuilder::table(table::STOCK).name("stock").name(retailer.as_str()).name(product.as_str());
    place(key, at).key()
}
/// All that all shops counted.
pub fn all_stock() -> Vec<u8> {
    KeyBuilder::table(table::STOCK).name("stock").prefix()
}
/// The retailer, product and place that such a key is made of.
pub fn stock_of(key: &Key) -> Option<(RetailerId, ProductId, Place)> {
    let mut parts = key.0.get(1..)?.split(|byte| *byte == 0).skip(1).map(std::str::from_utf8);
    goods_of(&mut parts)
}
fn goods_of<'k>(
    parts: &mut impl Iterator<Item = Result<&'k str, std::str::Utf8Error>>,
) -> Option<(RetailerId, ProductId, Place)> {
    let mut next = || parts.next()?.ok();
    let (retailer, product) = (RetailerId::new(next()?).ok()?, ProductId::new(next()?).ok()?);
    let (kind, id) = (next()?, next()?);
    let place = match kind {
        "store" => Place::Store(StoreId::new(id).ok()?),
        _ => Place::Seller(SellerId::new(id).ok()?),
    };
    Some((retailer, product, place))
}
/// Goods of a product at a place that are put aside for an order, or left with it.
pub fn reservation(retailer: &RetailerId, product: &ProductId, at: &Place, order: OrderId) -> Key {
    Key(reservations_at(retailer, product, at).into_iter().chain(order.bytes().iter().copied()).collect())
}
/// All of them of a product at a place.
pub fn reservations_at(retailer: &RetailerId, product: &ProductId, at: &Place) -> Vec<u8> {
    let key = KeyBuilder::table(table::RESERVATION).name(retailer.as_str()).name(product.as_str());
    place(key, at).prefix()
}
/// All of them of a retailer.
pub fn reservations_of(retailer: &RetailerId) -> Vec<u8> {
    KeyBuilder::table(table::RESERVATION).name(retailer.as_str()).prefix()
}
/// All of them of all.
pub fn all_reservations() -> Vec<u8> {
    KeyBuilder::table(table::RESERVATION).prefix()
}
/// The retailer, product, place and order that such a key is made of.
pub fn reservation_of(key: &Key) -> Option<(RetailerId, ProductId, Place, OrderId)> {
    let (rest, order) = key.0.split_last_chunk::<DERIVED_BYTES>()?;
    let mut parts = rest.get(1..)?.split(|byte| *byte == 0).map(std::str::from_utf8);
    let (retailer, product, place) = goods_of(&mut parts)?;
    Some((retailer, product, place, OrderId(*order)))
}
/// When a reservation ends by itself: the first to end stands first.
pub fn reservation_end(at: Timestamp, reservation: &Key) -> Key {
    let of = reservation.0.get(1..).unwrap_or_default();
    KeyBuilder::table(table::RESERVATION_END).number(u64::try_from(at.0).unwrap_or(0)).fixed(of).key()
}
/// All of them, in order of their ends.
pub fn reservation_ends() -> Vec<u8> {
    KeyBuilder::table(table::RESERVATION_END).prefix()
}
/// The end that such a key names, and the reservation.
pub fn reservation_end_of(key: &Key) -> Option<(Timestamp, Key)> {
    let (at, of) = key.0.get(1..)?.split_first_chunk::<8>()?;
    let at = i64::try_from(u64::from_be_bytes(*at)).ok()?;
    Some((Timestamp(at), KeyBuilder::table(table::RESERVATION).fixed(of).key()))
}
/// How far an import of products came.
pub fn product_import(retailer: &RetailerId, import: &str) -> Key {
    KeyBuilder::table(table::STOCK).name("import").name(retailer.as_str()).name(import).key()
}
/// How far all imports of all retailers came.
pub fn product_imports() -> Vec<u8> {
    KeyBuilder::table(table::STOCK).name("import").prefix()
}
/// How far all imports of a retailer came.
pub fn product_imports_of(retailer: &RetailerId) -> Vec<u8> {
    KeyBuilder::table(table::STOCK).name("import").name(retailer.as_str()).prefix()
}
/// The retailer and the name that such a key is made of.
pub fn product_import_of(key: &Key) -> Option<(RetailerId, String)> {
    let mut parts = key.0.get(1..)?.split(|byte| *byte == 0).skip(1).map(std::str::from_utf8);
    Some((RetailerId::new(parts.next()?.ok()?).ok()?, parts.next()?.ok()?.to_owned()))
}
/// When an import was used last.
pub fn product_import_at(retailer: &RetailerId, import: &str) -> Key {
    KeyBuilder::table(table::STOCK).name("import-at").name(retailer.as_str()).name(import).key()
}
/// An entry of a maker's quarantine: by time, and a number that tells two of one instant apart.
pub fn quarantine(maker: &MakerId, at: u64, n: u64) -> Key {
    KeyBuilder::table(table::QUARANTINE).name(maker.as_str()).number(at).number(n).key()
}
/// All entries of a maker's quarantine.
pub fn quarantine_of(maker: &MakerId) -> Vec<u8> {
    KeyBuilder::table(table::QUARANTINE).name(maker.as_str()).prefix()
}
/// All entries of all makers.
pub fn quarantines() -> Vec<u8> {
    KeyBuilder::table(table::QUARANTINE).prefix()
}
/// What is counted of a home in a month for a retailer. A home's months stand side by side.
pub fn ledger(retailer: &RetailerId, household: HouseholdId, month: Month) -> Key {
    let home = KeyBuilder::table(table::LEDGER).name(retailer.as_str()).fixed(household.bytes());
    home.fixed(&month.0.to_be_bytes()).key()
}
/// All months of a home.
pub fn ledgers_of_home(retailer: &RetailerId, household: HouseholdId) -> Vec<u8> {
    KeyBuilder::table(table::LEDGER).name(retailer.as_str()).fixed(household.bytes()).prefix()
}
/// All months of all homes of a retailer.
pub fn ledgers(retailer: &RetailerId) -> Vec<u8> {
    KeyBuilder::table(table::LEDGER).name(retailer.as_str()).prefix()
}
/// All months of all homes of all retailers.
pub fn all_ledgers() -> Vec<u8> {
    KeyBuilder::table(table::LEDGER).prefix()
}
/// The home and the month that a ledger's key ends with.
pub fn home_and_month(key: &Key) -> Option<(HouseholdId, Month)> {
    let (rest, month) = key.0.split_last_chunk::<4>()?;
    let household = rest.last_chunk::<DERIVED_BYTES>()?;
    Some((HouseholdId(*household), Month(u32::from_be_bytes(*month))))
}
/// A retailer's profile, by its hidden name (see [`super::sealed::blind`]).
pub fn profile(retailer: &RetailerId, name: &[u8; DERIVED_BYTES]) -> Key {
    KeyBuilder::table(table::PROFILE).name(retailer.as_str()).fixed(name).key()
}
/// An erasure of a retailer's.
pub fn erasure(retailer: &RetailerId, id: &[u8; DERIVED_BYTES]) -> Key {
    KeyBuilder::table(table::ERASURE).name(retailer.as_str()).fixed(id).key()
}
/// All erasures.
pub fn erasures() -> Vec<u8> {
    KeyBuilder::table(table::ERASURE).prefix()
}
/// An order that is kept for the law: by the instant at which it goes.
pub fn kept_order(until: Timestamp, retailer: &RetailerId, id: OrderId) -> Key {
    let until = u64::try_from(until.0).unwrap_or(0);
    KeyBuilder::table(table::KEPT_ORDER).number(until).name(retailer.as_str()).fixed(id.bytes()).key()
}
/// All of them, those that go first first.
pub fn kept_orders() -> Vec<u8> {
    KeyBuilder::table(table::KEPT_ORDER).prefix()
}
/// The instant, retailer and order that a kept order's key is made of.
pub fn kept_order_of(key: &Key) -> Option<(Timestamp, RetailerId, OrderId)> {
    let (rest, order) = key.0.split_last_chunk::<DERIVED_BYTES>()?;
    let (name, 0) = rest.get(9..)?.split_last().map(|(end, name)| (name, *end))? else { return None };
    let retailer = RetailerId::new(std::str::from_utf8(name).ok()?).ok()?;
    Some((kept_until(key)?, retailer, OrderId(*order)))
}
/// Where an order is kept.
pub fn kept_at(retailer: &RetailerId, order: OrderId) -> Key {
    KeyBuilder::table(table::KEPT_AT).name("order").name(retailer.as_str()).fixed(order.bytes()).key()
}
/// That an erasure keeps an order.
pub fn kept_by(retailer: &RetailerId, erasure: &[u8; DERIVED_BYTES], order: OrderId) -> Key {
    Key(all_kept_by(retailer, erasure).into_iter().chain(order.bytes().iter().copied()).collect())
}
/// All orders that an erasure keeps.
pub fn all_kept_by(retailer: &RetailerId, erasure: &[u8; DERIVED_BYTES]) -> Vec<u8> {
    KeyBuilder::table(table::KEPT_AT).name("erasure").name(retailer.as_str()).fixed(erasure).prefix()
}
/// The order that such a key ends with.
pub fn kept_by_of(key: &Key) -> Option<OrderId> {
    key.0.last_chunk::<DERIVED_BYTES>().map(|id| OrderId(*id))
}
/// The instant at which a kept order goes.
pub fn kept_until(key: &Key) -> Option<Timestamp> {
    let at = u64::from_be_bytes(*key.0.get(1..)?.first_chunk::<8>()?);
    i64::try_from(at).ok().map(Timestamp)
}
/// That a home is watched.
pub fn watched_home(id: HouseholdId) -> Key {
    KeyBuilder::table(table::WATCHED_HOME).fixed(id.bytes()).key()
}
/// All homes that are watched.
pub fn watched_homes() -> Vec<u8> {
    KeyBuilder::table(table::WATCHED_HOME).prefix()
}
/// The home that such a key names.
pub fn watched_home_of(key: &Key) -> Option<HouseholdId> {
    key.0.last_chunk::<DERIVED_BYTES>().map(|id| HouseholdId(*id))
}
/// What a person, by their hidden name, heard in a home that they left.
pub fn taken_along(retailer: &RetailerId, person: &[u8], home: HouseholdId) -> Key {
    KeyBuilder::table(table::TAKEN_ALONG).name(retailer.as_str()).fixed(person).fixed(home.bytes()).key()
}
/// The same of everybody.
pub fn all_taken_along() -> Vec<u8> {
    KeyBuilder::table(table::TAKEN_ALONG).prefix()
}
/// Which file holds the customers' keys.
pub fn keys_file() -> Key {
    KeyBuilder::table(table::KEYS_FILE).key()
}
fn of_tenant(table: u8, tenant: &Tenant) -> KeyBuilder {
    let (word, name) = match tenant {
        Tenant::Operator => ("operator", ""),
        Tenant::Maker(maker) => ("maker", maker.as_str()),
        Tenant::Retailer(retailer) => ("retailer", retailer.as_str()),
    };
    KeyBuilder::table(table).name(word).name(name)
}
/// A webhook of a tenant.
pub fn webhook(tenant: &Tenant, id: &WebhookId) -> Key {
    of_tenant(table::WEBHOOK, tenant).name(id.as_str()).key()
}
/// All webhooks of all tenants.
pub fn webhooks() -> Vec<u8> {
    KeyBuilder::table(table::WEBHOOK).prefix()
}
/// All webhooks of a tenant.
pub fn webhooks_of(tenant: &Tenant) -> Vec<u8> {
    of_tenant(table::WEBHOOK, tenant).prefix()
}
/// The tenant and the webhook that a key of the tables `WEBHOOK` and `EVENT` begins with.
pub fn webhook_of(key: &Key) -> Option<(Tenant, WebhookId)> {
    let mut parts = key.0.get(1..)?.split(|byte| *byte == 0).map(std::str::from_utf8);
    let (word, name, id) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let tenant = match word {
        "maker" => Tenant::Maker(MakerId::new(name).ok()?),
        "retailer" => Tenant::Retailer(RetailerId::new(name).ok()?),
        _ => return None,
    };
    Some((tenant, WebhookId::new(id).ok()?))
}
/// An event of a webhook. `n` grows from event to event.
pub fn event(tenant: &Tenant, webhook: &WebhookId, n: u64) -> Key {
    of_tenant(table::EVENT, tenant).name(webhook.as_str()).number(n).key()
}
/// All events of a webhook, in their order.
pub fn events_of(tenant: &Tenant, webhook: &WebhookId) -> Vec<u8> {
    of_tenant(table::EVENT, tenant).name(webhook.as_str()).prefix()
}
/// An entry of the audit trail.
pub fn audit(n: u64) -> Key {
    KeyBuilder::table(table::AUDIT).number(n).key()
}
/// All entries, oldest first.
pub fn audits() -> Vec<u8> {
    KeyBuilder::table(table::AUDIT).prefix()
}
/// The end of the audit trail: a row before all entries.
pub fn audit_head() -> Key {
    KeyBuilder::table(table::AUDIT).key()
}
/// Whose an identity is: by its kind's word and the keyed hash of its value.
pub fn identity(retailer: &RetailerId, kind: &str, mark: &[u8; 32]) -> Key {
    KeyBuilder::table(table::IDENTITY).name(retailer.as_str()).name(kind).fixed(mark).key()
}
/// A merge of two profiles.
pub fn merge(retailer: &RetailerId, id: MergeId) -> Key {
    KeyBuilder::table(table::MERGE).name(retailer.as_str()).fixed(id.bytes()).key()
}
/// All merges of all retailers.
pub fn merges() -> Vec<u8> {
    KeyBuilder::table(table::MERGE).prefix()
}
/// One word of a person on a consent, by the person's hidden name.
pub fn consent_said(retailer: &RetailerId, name: &[u8; DERIVED_BYTES], at: Timestamp, receipt: ReceiptId) -> Key {
    let at = u64::try_from(at.0).unwrap_or(0);
    let of_person = KeyBuilder::table(table::CONSENT_SAID).name(retailer.as_str()).fixed(name);
    of_person.number(at).fixed(receipt.bytes()).key()
}
/// All words of a person on consents, oldest first.
pub fn consents_said(retailer: &RetailerId, name: &[u8; DERIVED_BYTES]) -> Vec<u8> {
    KeyBuilder::table(table::CONSENT_SAID).name(retailer.as_str()).fixed(name).prefix()
}
