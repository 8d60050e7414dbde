//! Who sells a product at which price: all sellers beside each other, the best first.

use crate::budget::Purse;
use crate::id::{ProductId, RetailerId, SellerId};
use crate::model::{Alternative, Condition, LeadDays, OfferPrice, Place, Product, RankBy, StoreChoice};
use crate::money::Money;
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp, Zone};
use crate::trigger::Discount;

/// Other sellers that are shown beside the one that is proposed: comparable at a glance.
pub const ALTERNATIVES_MAX: usize = 3;
/// Stores that are shown: as many as a small screen has room for.
const STORES_SHOWN_MAX: usize = 3;
/// How sellers are ranked where nobody says.
const POLICY_DEFAULT: [RankBy; 3] = [RankBy::OwnFirst, RankBy::TotalPrice, RankBy::Delay];

/// What is asked.
#[derive(Clone, Copy)]
pub struct Ask<'q> {
    /// As of which rules.
    pub rules: &'q RuleSet,
    /// Whose product.
    pub retailer: &'q RetailerId,
    /// Which.
    pub product: &'q Product,
    /// What a trigger takes off.
    pub discount: Option<&'q Discount>,
    /// How a trigger ranks sellers; else the retailer's way.
    pub policy: Option<&'q [RankBy]>,
    /// How many.
    pub qty: u32,
    /// When.
    pub now: Timestamp,
    /// Until when the price is held.
    pub lock_until: Timestamp,
}

/// What one seller asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SellerQuote {
    /// Who.
    pub seller: SellerId,
    /// As customers know them.
    pub sold_by: String,
    /// Whether it is the retailer itself.
    pub is_own: bool,
    /// The price of so many with delivery.
    pub price: OfferPrice,
    /// New, or not.
    pub condition: Condition,
    /// How long it takes.
    pub lead_days: Option<LeadDays>,
    /// How many it has, where that is counted.
    pub free: Option<u32>,
    /// Why it is passed over.
    pub passed_over: Option<PassedOver>,
}

/// Why a seller is not proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// It has not as many.
    SoldOut,
    /// The retailer does not list it.
    NotAllowed,
}

impl PassedOver {
    /// The reason as written.
    pub fn as_str(self) -> &'static str {
        match self {
            PassedOver::SoldOut => "sold_out",
            PassedOver::NotAllowed => "not_allowed",
        }
    }
}

impl SellerQuote {
    /// By when it should arrive, when it is ordered at an instant: nine of ten deliveries do.
    pub fn ships_by(&self, now: Timestamp) -> Option<Timestamp> {
        self.lead_days.map(|days| now + Span::days(days.p90.into()))
    }
    /// As one that is shown beside another.
    pub fn alternative(&self, now: Timestamp) -> Alternative {
        Alternative {
            seller: self.seller.clone(),
            sold_by: self.sold_by.clone(),
            price: self.price.clone(),
            condition: self.condition,
            ships_by: self.ships_by(now),
        }
    }
}

/// Who sells a product for its retailer.
pub fn own_seller(retailer: &RetailerId, product: &Product) -> SellerId {
    let named = SellerId::new(&product.seller).or_else(|_| SellerId::new(retailer.as_str()));
    named.expect("a retailer's id keeps to the grammar of sellers'")
}

/// Whether somebody sells a product for a retailer, and is listed by it.
pub(super) fn sells(rules: &RuleSet, retailer: &RetailerId, product: &Product, seller: &SellerId) -> bool {
    let ranking = rules.retailers.get(retailer).map(|retailer| &retailer.ranking);
    let is_listed = ranking.and_then(|ranking| ranking.sellers.as_ref()).is_none_or(|listed| listed.contains(seller));
    *seller == own_seller(retailer, product)
        || (is_listed && product.sellers.iter().any(|offer| offer.seller == *seller))
}

/// The seller as customers know it: the retailer's own name where it sells itself.
pub(super) fn seller_name(rules: &RuleSet, product: &Product) -> String {
    rules
        .retailers
        .get(product.seller.as_str())
        .map_or_else(|| product.seller.clone(), |retailer| retailer.name.clone())
}

/// All sellers of a product: those that sell, best first by the policy, then those that are passed over. None
/// that has no price that can be told.
pub fn compare(ask: &Ask<'_>, purse: &dyn Purse) -> Vec<SellerQuote> {
    let Ask { rules, retailer, product, now, qty, .. } = *ask;
    let ranking = rules.retailers.get(retailer).map(|retailer| &retailer.ranking);
    let listed = |seller: &SellerId| {
        ranking.and_then(|ranking| ranking.sellers.as_ref()).is_none_or(|allowed| allowed.contains(seller))
    };
    let own = own_seller(retailer, product);
    let mut found = Vec::with_capacity(1 + product.sellers.len());
    let mut add = |seller: SellerId, sold_by, terms: Terms, is_own: bool| {
        let Some(price) = priced(ask, &terms) else { return };
        let free = purse.free(retailer, &product.id, &Place::Seller(seller.clone()));
        let passed_over = if !is_own && !listed(&seller) {
            Some(PassedOver::NotAllowed)
        } else if free.is_some_and(|free| free < qty) {
            Some(PassedOver::SoldOut)
        } else {
            None
        };
        let Terms { condition, lead_days, .. } = terms;
        found.push(SellerQuote { seller, sold_by, is_own, price, condition, lead_days, free, passed_over });
    };
    let terms = Terms {
        list: product.price_at(now),
        piece: product.piece_at(now),
        delivery: product.delivery,
        lead_days: product.lead_days,
        condition: Condition::New,
    };
    if !product.sellers.iter().any(|offer| offer.seller == own) {
        add(own.clone(), seller_name(rules, product), terms, true);
    }
    for offer in &product.sellers {
        let is_own = offer.seller == own;
        let named = || offer.name.clone().unwrap_or_else(|| offer.seller.to_string());
        let name = if is_own { seller_name(rules, product) } else { named() };
        let terms = Terms {
            list: offer.price,
            piece: offer.price,
            delivery: offer.delivery,
            lead_days: offer.lead_days,
            condition: offer.condition,
        };
        add(offer.seller.clone(), name, terms, is_own);
    }
    let policy = ask.policy.or(ranking.map(|ranking| ranking.policy.as_slice())).filter(|policy| !policy.is_empty());
    let policy = policy.unwrap_or(&POLICY_DEFAULT);
    let key = |quote: &SellerQuote| -> Vec<i64> {
        let by = policy.iter().map(|by| match by {
            RankBy::OwnFirst => i64::from(!quote.is_own),
            RankBy::TotalPrice => quote.price.total.minor,
            RankBy::Delay => quote.lead_days.map_or(i64::from(u16::MAX), |days| days.p50.into()),
        });
        by.collect()
    };
    found.sort_by_cached_key(|quote| (quote.passed_over.is_some(), key(quote), quote.seller.clone()));
    found
}

/// What a seller asks.
struct Terms {
    list: Money,
    piece: Money,
    delivery: Money,
    lead_days: Option<LeadDays>,
    condition: Condition,
}

fn priced(ask: &Ask<'_>, terms: &Terms) -> Option<OfferPrice> {
    let Terms { list, piece, delivery, .. } = *terms;
    let off = match ask.discount {
        Some(discount) => Some(discount.off(piece)?),
        None => None,
    };
    let item = Money { minor: piece.minor.checked_sub(off.map_or(0, |off| off.minor))?, ..piece };
    let was = match off {
        None if list == piece => None,
        _ => Some(total(list, delivery, ask.qty)?),
    };
    let reduced = match off {
        Some(off) => Some(off.times(ask.qty)?),
        None => None,
    };
    Some(OfferPrice {
        item,
        delivery,
        total: total(item, delivery, ask.qty)?,
        tax_incl: ask.product.tax_incl,
        lock_until: ask.lock_until,
        was,
        reduced,
    })
}

/// What so many cost with delivery.
pub(super) fn total(item: Money, delivery: Money, qty: u32) -> Option<Money> {
    item.times(qty)?.plus(delivery)
}

/// Stores where so many can be collected: those of the home's own region first.
pub fn stores(
    rules: &RuleSet,
    retailer: &RetailerId,
    product: &ProductId,
    qty: u32,
    zone: Option<&Zone>,
    purse: &dyn Purse,
) -> Vec<StoreChoice> {
    if rules.stores_of(retailer).next().is_none() {
        return Vec::new();
    }
    let with = purse.stores_with(retailer, product, qty);
    let known = with.into_iter().filter_map(|id| rules.store(retailer, &id).map(|store| (id, store)));
    let mut open: Vec<_> = known.filter(|(_, store)| store.collects).collect();
    open.sort_by_key(|(_, store)| store.region.is_none() || store.region.as_deref() != zone.map(Zone::as_str));
    open.truncate(STORES_SHOWN_MAX);
    open.into_iter()
        .map(|(id, store)| StoreChoice { store: id, name: store.name.clone(), ready: store.ready.clone() })
        .collect()
}
