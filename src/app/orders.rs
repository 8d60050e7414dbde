//! Orders: what the shop reads, and how it drives them on.

use hearthway_core::id::{HouseholdId, OrderId, ProductId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::model::{Order, OrderState};

use super::offers::{check_own_channel, cursor, page_of};
use super::profiles::settled;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery, rows};
use crate::engine::Target;
use crate::engine::rows::OrderRow;
use crate::store::codec::Schema;
use crate::store::keys::{self, KeyBuilder, table};

/// An order that was moved on.
#[derive(Debug, Clone, PartialEq)]
pub enum Moved {
    /// In a home.
    Home(HouseholdId, Order),
    /// Apart: its buyer was erased.
    Locked(Order),
}

/// Characters of the shop's word on the arrival.
const ETA_CHARS_MAX: usize = 64;
/// Lines of one call: an order has fewer.
const LINES_MAX: usize = 20;

impl App {
    /// The caller's orders, all or in one state.
    pub fn orders(
        &self,
        who: &Caller,
        state: Option<OrderState>,
        page: &PageQuery,
    ) -> Result<Page<(HouseholdId, Order)>, Failure> {
        let retailer = who.retailer(Scope::OrdersRead)?;
        let prefix = KeyBuilder::table(table::ORDER).name(retailer.as_str()).prefix();
        let after = cursor(page, |text| text.parse().ok().map(|id| keys::order(retailer, id)))?;
        let wanted = |row: &OrderRow| state.is_none_or(|state| row.order.state == state);
        let (found, next) = page_of(&**self.engine.store(), Schema::Order, &prefix, after, page.limit, wanted)?;
        let next = next.map(|row: OrderRow| row.order.id.to_string());
        Ok(Page { items: found.into_iter().map(|row| (row.household, row.order)).collect(), next })
    }

    /// One order of the caller's.
    pub fn order(&self, who: &Caller, id: &str) -> Result<(HouseholdId, Order), Failure> {
        let retailer = who.retailer(Scope::OrdersRead)?;
        self.find_order(retailer, id)
    }

    /// The shop moves an order on; `rev` is the order's plus one.
    pub async fn set_order_status(
        &self,
        who: &Caller,
        id: &str,
        rev: u32,
        state: OrderState,
        eta: Option<String>,
    ) -> Result<Moved, Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        check_eta(eta.as_deref())?;
        let what = |order| Command::SetOrderStatus { order, rev, state, eta };
        self.moved_by_shop(retailer, id, "status", what).await
    }

    /// The shop or the customer's app cancels an order.
    pub async fn cancel_order(&self, who: &Caller, id: &str, channel: &str) -> Result<(HouseholdId, Order), Failure> {
        let retailer = who.retailer(Scope::OrdersCancel)?;
        check_own_channel(channel)?;
        let (household, order) = self.find_order(retailer, id)?;
        let what = Command::CancelOrder { order: order.id, channel: channel.to_owned() };
        self.move_order(retailer, household, &order, "cancel", what).await
    }

    /// The customer withdraws from an order, by another channel than the device.
    pub async fn withdraw_order(&self, who: &Caller, id: &str, channel: &str) -> Result<(HouseholdId, Order), Failure> {
        let retailer = who.retailer(Scope::OrdersCancel)?;
        check_own_channel(channel)?;
        let (household, order) = self.find_order(retailer, id)?;
        let what = Command::WithdrawOrder { order: order.id, channel: channel.to_owned() };
        self.move_order(retailer, household, &order, "withdraw", what).await
    }

    /// The shop gives money back for some of the goods.
    pub async fn refund_order(
        &self,
        who: &Caller,
        id: &str,
        rev: Option<u32>,
        lines: Vec<(ProductId, u32)>,
    ) -> Result<Moved, Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        check_lines(&lines)?;
        self.moved_by_shop(retailer, id, "refund", |order| Command::RefundOrder { order, rev, lines }).await
    }

    /// The shop sends some of the goods.
    pub async fn ship_lines(
        &self,
        who: &Caller,
        id: &str,
        rev: u32,
        lines: Vec<(ProductId, u32)>,
        eta: Option<String>,
    ) -> Result<Moved, Failure> {
        let retailer = who.retailer(Scope::OrdersStatus)?;
        check_eta(eta.as_deref())?;
        check_lines(&lines)?;
        self.moved_by_shop(retailer, id, "ship", |order| Command::ShipLines { order, rev, lines, eta }).await
    }

    /// What the shop does with an order, also with one whose buyer was erased: it is owed all the same.
    async fn moved_by_shop(
        &self,
        retailer: &RetailerId,
        id: &str,
        word: &str,
        what: impl FnOnce(OrderId) -> Command,
    ) -> Result<Moved, Failure> {
        let missing = match self.find_order(retailer, id) {
            Ok((household, order)) => {
                let (household, order) = self.move_order(retailer, household, &order, word, what(order.id)).await?;
                return Ok(Moved::Home(household, order));
            }
            Err(missing @ Failure::NotFound { .. }) => missing,
            Err(failure) => return Err(failure),
        };
        let Ok(id) = id.parse() else { return Err(missing) };
        self.move_locked(retailer, id, word, what(id)).await?.map(Moved::Locked).ok_or(missing)
    }

    async fn move_order(
        &self,
        retailer: &RetailerId,
        household: HouseholdId,
        order: &Order,
        word: &str,
        what: Command,
    ) -> Result<(HouseholdId, Order), Failure> {
        // While its buyer is being erased it is in no home, and not yet apart.
        let _busy = match &order.profile {
            Some(buyer) => Some(self.erasures.check(retailer, buyer)?),
            None => None,
        };
        let input = self.command(Some(&order.device), word, order.id.bytes(), what);
        settled(self.engine.call(Target::Household(household), input).await)?;
        self.find_order(retailer, &order.id.to_string())
    }

    fn find_order(&self, retailer: &RetailerId, id: &str) -> Result<(HouseholdId, Order), Failure> {
        let missing = || Failure::not_found("order", id.chars().take(80).collect::<String>());
        let id: OrderId = id.parse().map_err(|_| missing())?;
        let row: Option<OrderRow> = rows::get(&**self.engine.store(), Schema::Order, &keys::order(retailer, id))?;
        row.map(|row| (row.household, row.order)).ok_or_else(missing)
    }
}

fn check_eta(eta: Option<&str>) -> Result<(), Failure> {
    if eta.is_some_and(|eta| eta.is_empty() || eta.chars().count() > ETA_CHARS_MAX) {
        return Err(Failure::invalid("/eta", format!("1 to {ETA_CHARS_MAX} characters, such as `2026-12-01`")));
    }
    Ok(())
}

/// Each product once, and one at least.
fn check_lines(lines: &[(ProductId, u32)]) -> Result<(), Failure> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(Failure::invalid("/lines", format!("1 to {LINES_MAX} lines")));
    }
    match lines.iter().enumerate().find(|(n, (product, _))| lines[..*n].iter().any(|(other, _)| other == product)) {
        Some((n, (product, _))) => {
            Err(Failure::invalid(&format!("/lines/{n}/product"), format!("`{product}` stands twice")))
        }
        None => Ok(()),
    }
}
