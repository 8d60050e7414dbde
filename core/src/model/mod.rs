//! The nouns. [`Household`] is the unit of decision: all that is known about one home.
//!
//! Everything here is plain data that serialises both as JSON and as postcard, so: no
//! flattened, untagged or skipped fields.

mod consent;
pub(crate) mod contacts;
mod device;
mod few;
pub mod former;
mod habit;
mod household;
mod leaving;
mod mandate;
mod marks;
mod merge;
mod offer;
mod order;
mod product;
mod profile;
mod slot;
mod standing;
mod stay;
mod supply;
mod track;
mod trend;

pub use consent::{ConsentRecord, ConsentSource, ConsentText, Purpose};
pub use device::{
    Claim, ClockState, ContextEntry, Device, DeviceDescription, DeviceModel, Edge, EdgeState, FieldSchema, FieldType,
    Placement, Presence, PresenceState, Reading, Value,
};
pub use few::Few;
pub use habit::{HABIT_USES_MIN, Habit};
pub use household::{Contact, ContactState, Household};
pub use leaving::Leaving;
pub use mandate::{MANDATE_WINDOW, Mandate};
pub use marks::{LIST_MARK, is_list_mark, list_mark};
pub use merge::{Merge, Merged, Unmerge};
pub use offer::{
    Action, Alternative, CodeState, Fulfil, Offer, OfferCode, OfferItem, OfferPrice, OfferState, OfferText,
    StateChange, StoreChoice,
};
pub use order::{Held, Order, OrderLine, OrderState, Pickup, Place};
pub use product::{
    Category, Condition, Fit, LeadDays, ListedPrice, LocalisedText, PriceWindow, Product, Promotion, Reduction,
    SellerOffer, Store,
};
pub use profile::{
    FlagNote, Identity, IdentityKind, Link, Maker, Member, Profile, RankBy, Ranking, Retailer, Role, Tenant,
};
pub use slot::{Evidence, SlotKind, SlotSchema, SlotState, Unit};
pub use standing::{DEVICE_CHANNEL, Flag, Loyalty, Preferences, Standing};
pub(crate) use stay::SHARED_PUBLIC;
pub use stay::Sharing;
pub use supply::{Bought, Shelf, SlotKey, Supply};
pub use track::{Cycle, Foresight, Learned, Report, Track};
pub use trend::{TREND_READINGS_MIN, Trend, TrendKey, TrendReading};

/// A language tag such as `fr-FR`, kept as given.
pub type Locale = String;

/// The languages to try for a locale, nearest first: `fr-CA` → `fr-CA`, `fr`.
pub fn locale_chain(locale: &str) -> impl Iterator<Item = &str> {
    let base = locale.split(['-', '_']).next().filter(|base| *base != locale);
    std::iter::once(locale).chain(base)
}
