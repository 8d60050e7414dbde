//! A device of a rental flat or a hotel: whoever has it has it for a stay, and the stay has an end.
//!
//! It is kept with the device as an entry of its context, whose end is the stay's: so it goes where the device goes,
//! and records of every release hold it. Its name has a space: no device can say it, no feed, and no condition.

use std::sync::Arc;

use super::{ContextEntry, Device, Value};
use crate::time::Timestamp;

/// The entry's name.
pub(crate) const SHARED_PUBLIC: &str = "shared public";
/// Guests come and go.
const SHARED: &str = "shared_public";
/// It is no longer shared, and the last guest is still there.
const LAST_STAY: &str = "last_stay";
/// Nobody is there who would leave.
const NO_END: Timestamp = Timestamp(i64::MAX);

/// Where a device stands that is, or was until the last guest leaves, shared by people who do not know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Whether further guests may come, each with the end of their stay.
    pub goes_on: bool,
    /// When the stay of who has it ends.
    pub until: Option<Timestamp>,
}

impl Sharing {
    /// As it is kept.
    pub(crate) fn entry(self, now: Timestamp) -> ContextEntry {
        let word = if self.goes_on { SHARED } else { LAST_STAY };
        ContextEntry { value: Value::Text(Arc::from(word)), t: now, until: self.until.unwrap_or(NO_END) }
    }
}

impl Device {
    /// Whether it is shared, and until when by whom it has now.
    pub fn sharing(&self) -> Option<Sharing> {
        let entry = self.context.get(SHARED_PUBLIC)?;
        let goes_on = matches!(&entry.value, Value::Text(word) if **word == *SHARED);
        Some(Sharing { goes_on, until: Some(entry.until).filter(|until| *until != NO_END) })
    }
    /// Whether it is in mode `shared_public`: who links it says when they leave.
    pub fn is_shared_public(&self) -> bool {
        self.sharing().is_some_and(|sharing| sharing.goes_on)
    }
    /// When the stay of who has it ends.
    pub fn stay_until(&self) -> Option<Timestamp> {
        self.sharing().and_then(|sharing| sharing.until)
    }
}
