use std::fmt;

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What an event is about, by the word that its receiver looks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum EventType { $($(#[$doc])* $name,)* }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [EventType] = &[$(EventType::$name,)*];
            /// The type as written.
            pub const fn as_str(self) -> &'static str { match self { $(EventType::$name => $text,)* } }
            /// Reads the written form.
            pub fn parse(text: &str) -> Option<EventType> {
                EventType::ALL.iter().copied().find(|known| known.as_str() == text)
            }
        }
    };
}

event_types! {
    /// A device is known to the gateway.
    DeviceRegistered = "device.registered";
    /// A device joined a home.
    DeviceLinked = "device.linked";
    /// A device left its home.
    DeviceReleased = "device.released";
    /// A device is gone without a word.
    DeviceLost = "device.lost";
    /// What somebody should look at about a device changed.
    DeviceHealthChanged = "device.health_changed";
    /// A slot came down to its last tenth, or says so.
    SlotLow = "slot.low";
    /// A slot was filled, or its consumable replaced.
    SlotRefilled = "slot.refilled";
    /// A slot's counter started again without a new consumable.
    SlotReset = "slot.reset";
    /// An offer left for its device.
    OfferSent = "offer.sent";
    /// A person saw an offer.
    OfferShown = "offer.shown";
    /// A person accepted, declined or put off an offer.
    OfferAnswered = "offer.answered";
    /// An offer ended by time.
    OfferExpired = "offer.expired";
    /// An offer was taken back.
    OfferWithdrawn = "offer.withdrawn";
    /// A replenishment was suggested.
    ReplenishSuggested = "replenish.suggested";
    /// A replenishment was ordered, by its reader or under a mandate.
    ReplenishConfirmed = "replenish.confirmed";
    /// The order of a replenishment was cancelled.
    ReplenishCancelled = "replenish.cancelled";
    /// The shop is to fulfil an order.
    OrderRequested = "order.requested";
    /// The customer cancelled an order.
    OrderCancelled = "order.cancelled";
    /// The customer withdrew from an order.
    OrderWithdrawn = "order.withdrawn";
    /// An order stands elsewhere than before.
    OrderStatus = "order.status";
    /// A word on a consent.
    ConsentChanged = "consent.changed";
    /// Two profiles became one.
    ProfileMerged = "profile.merged";
    /// A person was forgotten.
    ProfileErased = "profile.erased";
    /// A trigger is live in a new version.
    TriggerPublished = "trigger.published";
    /// A trigger stopped itself.
    TriggerAutoStopped = "trigger.auto_stopped";
    /// A budget is used up to a threshold.
    BudgetThreshold = "budget.threshold";
    /// A word of the gateway to see whether a webhook hears.
    WebhookTest = "webhook.test";
}

impl EventType {
    /// Whether it may go to a device's maker, who never hears of a customer.
    pub fn is_for_makers(self) -> bool {
        matches!(
            self,
            EventType::DeviceRegistered
                | EventType::DeviceLinked
                | EventType::DeviceReleased
                | EventType::DeviceLost
                | EventType::DeviceHealthChanged
        )
    }
    /// Whether a shop would owe somebody something without it: never left out for want of room.
    pub fn is_about_an_order(self) -> bool {
        matches!(
            self,
            EventType::OrderRequested | EventType::OrderCancelled | EventType::OrderWithdrawn | EventType::OrderStatus
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of event types, in a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventTypes(u32);

impl EventTypes {
    /// No type.
    pub const NONE: EventTypes = EventTypes(0);

    /// All that a retailer may hear.
    pub fn of_retailers() -> EventTypes {
        EventType::ALL.iter().copied().filter(|kind| *kind != EventType::WebhookTest).collect()
    }
    /// All that a maker may hear.
    pub fn of_makers() -> EventTypes {
        EventType::ALL.iter().copied().filter(|kind| kind.is_for_makers()).collect()
    }
    /// Whether a type is in it.
    pub fn has(self, kind: EventType) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
    /// Whether it has no type.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// What is in either.
    pub fn or(self, other: EventTypes) -> EventTypes {
        EventTypes(self.0 | other.0)
    }
    /// The types, in their order.
    pub fn iter(self) -> impl Iterator<Item = EventType> {
        EventType::ALL.iter().copied().filter(move |kind| self.has(*kind))
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(kinds: I) -> EventTypes {
        kinds.into_iter().fold(EventTypes::NONE, |types, kind| EventTypes(types.0 | 1 << kind as u8))
    }
}

// A set is a word of 32 bits.
const _: () = assert!(EventType::ALL.len() <= 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_and_fits_a_set() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(*kind));
        }
        let all: EventTypes = EventType::ALL.iter().copied().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), EventType::ALL);
        let two: EventTypes = [EventType::OrderRequested, EventType::SlotLow].into_iter().collect();
        assert_eq!(two.iter().collect::<Vec<_>>(), [EventType::SlotLow, EventType::OrderRequested]);
        assert!(!two.has(EventType::SlotReset) && two.has(EventType::SlotLow));
    }

    #[test]
    fn makers_hear_of_devices_and_of_nothing_else() {
        assert!(EventTypes::of_makers().iter().all(|kind| kind.as_str().starts_with("device.")));
        assert_eq!(EventTypes::of_makers().iter().count(), 5);
        assert!(!EventTypes::of_retailers().has(EventType::WebhookTest));
    }
}
