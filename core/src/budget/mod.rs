//! What many homes draw from together: a trigger's budget, a pool of unique codes.
//!
//! A household is decided by itself, and a budget belongs to all of them. So a decision asks for it:
//! [`Purse`] says what is spent, and grants or refuses a draw at once, for all homes one after the
//! other. What it answered is part of what the decision read; with the same answers the decision
//! comes out the same.

mod all_drawn;
mod answers;
mod elsewhere;
mod sends;
mod stock;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::id::{OfferId, OrderId, PoolId, ProductId, RetailerId, StoreId, TriggerId, UniqueCode};
use crate::model::Place;
use crate::money::{Currency, Money};
use crate::time::Span;

pub use all_drawn::AllDrawn;
pub use answers::{Answer, Noting, Recalling};
pub use elsewhere::{Elsewhere, Heard, Hearing, Speaking};
pub use sends::{Sending, Sends, Sent, SharedCap};
pub use stock::{Level, Reserve, Stock};

/// The most that a cap of all homes may allow: what it counts is in memory, at 24 bytes each. More than
/// so many are a matter for a budget.
pub const SHARED_CAP_MAX: u32 = 100_000;
/// The longest stretch of time of such a cap.
pub const SHARED_CAP_WINDOW_MAX: Span = Span::days(31);

/// What may be drawn at most. An offer carries that of the trigger that made it, for the time when
/// the trigger is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// So many orders.
    pub count: Option<u32>,
    /// So much money.
    pub amount: Option<Money>,
    /// Whether an offer that the customer saw is honoured also beyond it.
    pub honour_shown: bool,
}

/// What is drawn so far, of all homes; of the money, what is in the currency that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Orders.
    pub count: u64,
    /// Minor units.
    pub minor: i64,
}

/// What an order drew. The order carries it until it gives it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// From the budget of this trigger, across its versions.
    pub trigger: TriggerId,
    /// The money; the order itself counts one.
    pub amount: Money,
}

impl Budget {
    /// The currency in which it counts money.
    pub fn currency(&self) -> Option<Currency> {
        self.amount.map(|amount| amount.currency)
    }
    /// Whether one more order that draws so much fits. An amount in another currency never does.
    pub fn has_room(&self, spent: Spent, amount: Money) -> bool {
        self.holds(spent.plus(amount)) && self.currency().is_none_or(|currency| currency == amount.currency)
    }
    /// Whether so much is within its bounds.
    pub fn holds(&self, spent: Spent) -> bool {
        self.count.is_none_or(|max| spent.count <= u64::from(max))
            && self.amount.is_none_or(|max| spent.minor <= max.minor)
    }
    /// How much of it is used, in hundredths of its tighter bound.
    pub fn percent_used(&self, spent: Spent) -> u64 {
        let share = |part: i128, whole: i128| if whole <= 0 { 100 } else { part.max(0) * 100 / whole };
        let count = self.count.map(|max| share(spent.count.into(), max.into()));
        let amount = self.amount.map(|max| share(spent.minor.into(), max.minor.into()));
        u64::try_from(count.max(amount).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

impl Spent {
    /// One order more.
    pub fn plus(self, amount: Money) -> Spent {
        Spent { count: self.count.saturating_add(1), minor: self.minor.saturating_add(amount.minor) }
    }
}

/// The days over which a budget is spread evenly, counted in the retailer's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvenByDay {
    /// The first day.
    pub from: Date,
    /// How many there are.
    pub days: u32,
}

impl EvenByDay {
    /// From one day to another, both inside; none where that is no day at all.
    pub fn between(from: Date, until: Date) -> Option<EvenByDay> {
        let days = u32::try_from(from.until(until).ok()?.get_days()).ok()?.checked_add(1)?;
        Some(EvenByDay { from, days })
    }
    /// What may be drawn up to the end of a day: an even share for each day so far, rounded up, so
    /// that a small budget has one for its first day.
    pub fn share(&self, budget: &Budget, today: Date) -> Budget {
        let past = self.from.until(today).map_or(0, |span| i64::from(span.get_days()));
        let days = i128::from(self.days.max(1));
        let so_far = i128::from(past).clamp(0, days - 1) + 1;
        let share = |total: i128| (total * so_far + days - 1) / days;
        Budget {
            // A share is at most the total.
            count: budget.count.map(|total| u32::try_from(share(total.into())).unwrap_or(total)),
            amount: budget.amount.map(|total| {
                let minor = i64::try_from(share(total.minor.into())).unwrap_or(total.minor);
                Money::new(minor, total.currency)
            }),
            honour_shown: budget.honour_shown,
        }
    }
}

/// One order's draw.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'d> {
    /// Whose budget.
    pub retailer: &'d RetailerId,
    /// Of which trigger.
    pub trigger: &'d TriggerId,
    /// For which order.
    pub order: OrderId,
    /// How much money.
    pub amount: Money,
    /// Out of what.
    pub budget: Budget,
    /// Also beyond it: the offer was seen, and the retailer honours that.
    pub honoured: bool,
}

/// What decisions ask of what they share.
pub trait Purse {
    /// What is drawn from a trigger's budget, where anybody knows.
    fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Option<Spent>;
    /// AllDrawn, or refuses because there is no room. What is granted is the order's; who asked gives
    /// it back where the order does not come to be.
    fn draw(&self, draw: &Draw<'_>) -> bool;
    /// Takes a unique code from a pool for an offer. Who asked gives it back where no offer carries it.
    fn take_code(&self, retailer: &RetailerId, pool: &PoolId, offer: OfferId) -> TakenCode;
    /// How many a cap of all homes counts, where anybody knows.
    fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> Option<u32>;
    /// Notes an offer under the caps of all homes, or refuses because one is reached. Who asked takes it
    /// back where the offer does not leave.
    fn send(&self, sending: &Sending<'_>) -> bool;
    /// How often those people heard something in their other homes of whom that is most, where anybody knows.
    fn elsewhere(&self, _: &Hearing<'_>, _: &SharedCap) -> Option<u32> {
        Some(0)
    }
    /// Notes what people with several homes are about to hear, or says which of their caps is reached. Who asked takes
    /// it back where the offer does not leave.
    fn speak(&self, _: &Speaking<'_>) -> Result<(), usize> {
        Ok(())
    }
    /// How many of a product are free at a place; none where nobody counts, or nobody knows.
    fn free(&self, _: &RetailerId, _: &ProductId, _: &Place) -> Option<u32> {
        None
    }
    /// The stores that have so many of a product.
    fn stores_with(&self, _: &RetailerId, _: &ProductId, _: u32) -> Vec<StoreId> {
        Vec::new()
    }
    /// Puts goods aside for an order, or refuses because there are not enough. Who asked gives them back where
    /// the order does not come to be.
    fn reserve(&self, _: &Reserve<'_>) -> bool {
        true
    }
}

/// What became of the wish for a unique code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TakenCode {
    /// This one, and nobody else has it.
    Code(UniqueCode),
    /// There is none left.
    Empty,
    /// Nobody may ask.
    Unknown,
}

/// A purse from which nothing was drawn yet, and that grants everything: a home tried by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untouched;

impl Purse for Untouched {
    fn spent(&self, _: &RetailerId, _: &TriggerId, _: Option<Currency>) -> Option<Spent> {
        Some(Spent::default())
    }
    fn draw(&self, _: &Draw<'_>) -> bool {
        true
    }
    fn take_code(&self, _: &RetailerId, _: &PoolId, _: OfferId) -> TakenCode {
        TakenCode::Code(sample_code())
    }
    fn sent(&self, _: &RetailerId, _: &TriggerId, _: &SharedCap) -> Option<u32> {
        Some(0)
    }
    fn send(&self, _: &Sending<'_>) -> bool {
        true
    }
}

/// A code of no pool, of a usual length.
pub fn sample_code() -> UniqueCode {
    UniqueCode::new("CODE-0000").expect("it keeps to the grammar")
}

/// A purse that nobody may ask, as for a look back at what was not decided then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unasked;

impl Purse for Unasked {
    fn spent(&self, _: &RetailerId, _: &TriggerId, _: Option<Currency>) -> Option<Spent> {
        None
    }
    fn draw(&self, _: &Draw<'_>) -> bool {
        false
    }
    fn take_code(&self, _: &RetailerId, _: &PoolId, _: OfferId) -> TakenCode {
        TakenCode::Unknown
    }
    fn sent(&self, _: &RetailerId, _: &TriggerId, _: &SharedCap) -> Option<u32> {
        None
    }
    fn elsewhere(&self, _: &Hearing<'_>, _: &SharedCap) -> Option<u32> {
        None
    }
    /// Nothing leaves: that nobody was asked the step of the caps has said.
    fn send(&self, _: &Sending<'_>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn money(text: &str) -> Money {
        Money::parse(text).unwrap()
    }
    fn budget(count: Option<u32>, amount: Option<&str>) -> Budget {
        Budget { count, amount: amount.map(money), honour_shown: false }
    }

    #[test]
    fn a_budget_has_room_up_to_its_last_unit_and_its_last_cent() {
        let spent = |count, minor| Spent { count, minor };
        assert!(budget(Some(50), None).has_room(spent(49, 0), money("4.00 EUR")));
        assert!(!budget(Some(50), None).has_room(spent(50, 0), money("4.00 EUR")));
        assert!(budget(None, Some("10.00 EUR")).has_room(spent(9, 600), money("4.00 EUR")));
        assert!(!budget(None, Some("10.00 EUR")).has_room(spent(9, 601), money("4.00 EUR")));
        assert!(!budget(None, Some("10.00 EUR")).has_room(spent(0, 0), money("4.00 USD")));
        assert!(!budget(Some(9), Some("10.00 EUR")).has_room(spent(9, 0), money("1.00 EUR")), "both must hold");
    }

    #[test]
    fn an_even_share_grows_by_the_day_and_is_the_whole_on_the_last() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        let even = EvenByDay::between(day("2026-03-01"), day("2026-03-10")).unwrap();
        let share = |total, today: &str| {
            let share = even.share(&budget(Some(total), Some("10.00 EUR")), day(today));
            (share.count.unwrap(), share.amount.unwrap().minor)
        };
        assert_eq!(share(50, "2026-03-01"), (5, 100));
        assert_eq!(share(50, "2026-03-04"), (20, 400));
        assert_eq!(share(50, "2026-03-10"), (50, 1000));
        assert_eq!(share(3, "2026-03-01"), (1, 100), "rounded up");
        assert_eq!(share(50, "2026-02-01"), (5, 100), "before the first day as on it");
        assert_eq!(share(50, "2026-04-01"), (50, 1000), "after the last as on it");
        assert_eq!(EvenByDay::between(day("2026-03-01"), day("2026-03-01")).unwrap().days, 1);
        assert!(EvenByDay::between(day("2026-03-02"), day("2026-02-01")).is_none());
        // Over the end of a month it is still days that are counted.
        assert_eq!(EvenByDay::between(day("2026-01-20"), day("2026-04-19")).unwrap().days, 90);
    }

    #[test]
    fn how_much_is_used_goes_by_the_tighter_bound() {
        let of = budget(Some(10), Some("10.00 EUR"));
        assert_eq!(of.percent_used(Spent { count: 3, minor: 950 }), 95);
        assert_eq!(of.percent_used(Spent { count: 12, minor: 0 }), 120);
        assert_eq!(budget(None, None).percent_used(Spent { count: 12, minor: 0 }), 0);
    }
}
