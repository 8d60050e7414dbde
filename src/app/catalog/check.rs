//! What is wrong with a product, and where.

use hearthway_core::code::{Code, Refusal};
use hearthway_core::model::{LeadDays, PriceWindow, Product, Promotion, Reduction};
use hearthway_core::money::{Currency, Money};
use hearthway_core::time::Timestamp;

use super::super::Failure;
use super::kept::PRODUCT_BYTES_MAX;
use super::{check_locale, gtin};

/// Days that a delivery may take.
const LEAD_DAYS_MAX: u16 = 180;
/// Slots that one product may fit.
const FITS_MAX: usize = 500;
/// Languages of one name.
const LANGUAGES_MAX: usize = 40;
/// Characters of a product's name in one language.
const PRODUCT_NAME_CHARS_MAX: usize = 200;
/// The longest right of withdrawal that a shop may grant, days.
const WITHDRAW_DAYS_MAX: u32 = 3650;
/// Price windows of a product: a change a week over two years.
const WINDOWS_MAX: usize = 104;
/// Promotions of a product at a time.
const PROMOTIONS_MAX: usize = 32;
/// What tells one variant from others: colour, size, and a few more.
const ATTRIBUTES_MAX: usize = 16;
/// Characters of an attribute's name and value, and of a category.
const WORD_CHARS_MAX: usize = 60;
/// Sellers of one product beside the retailer: what a customer could still compare.
pub(super) const SELLERS_MAX: usize = 20;

/// Checks a product as a whole; nothing of one that is wrong is taken.
pub(super) fn check(product: &Product) -> Result<(), Failure> {
    check_name(product)?;
    if let Some(fault) = product.gtin.as_deref().and_then(gtin::fault) {
        return Err(Failure::invalid("/gtin", fault));
    }
    check_terms("", product.price, product.delivery)?;
    if product.seller.trim().is_empty() || product.seller.len() > 120 {
        return Err(Failure::invalid("/seller", "the seller takes 1 to 120 characters"));
    }
    if product.withdraw_days > WITHDRAW_DAYS_MAX {
        return Err(Failure::invalid("/withdraw_days", format!("at most {WITHDRAW_DAYS_MAX} days")));
    }
    check_lead_days("/lead_days", product.lead_days)?;
    if let Some(margin) = product.margin {
        if margin.currency != product.price.currency {
            return Err(Failure::invalid("/margin/currency", "price and margin are in one currency"));
        }
        if !(0..=product.price.minor).contains(&margin.minor) {
            return Err(Failure::invalid("/margin/minor", "a margin is between nothing and the price"));
        }
    }
    if product.fits.len() > FITS_MAX {
        return Err(Failure::invalid("/fits", format!("a product fits at most {FITS_MAX} slots")));
    }
    for (pointer, other) in [("/variant_of", &product.variant_of), ("/successor", &product.successor)] {
        if other.as_ref() == Some(&product.id) {
            return Err(Failure::invalid(pointer, "a product is not its own; name another one, or leave it out"));
        }
    }
    check_sellers(product)?;
    check_listed(product)?;
    check_attributes(product)?;
    check_prices(&product.prices, product.price.currency)?;
    check_promotions(product)
}

fn check_name(product: &Product) -> Result<(), Failure> {
    if product.name.is_empty() || product.name.len() > LANGUAGES_MAX {
        return Err(Failure::invalid("/name", format!("give the name in 1 to {LANGUAGES_MAX} languages")));
    }
    for (language, name) in &product.name {
        let pointer = format!("/name/{}", escaped(language));
        check_locale(&pointer, language)?;
        if name.trim().is_empty() || name.chars().count() > PRODUCT_NAME_CHARS_MAX {
            return Err(Failure::invalid(&pointer, format!("a name takes 1 to {PRODUCT_NAME_CHARS_MAX} characters")));
        }
    }
    Ok(())
}

/// A price with its delivery.
pub(super) fn check_terms(within: &str, price: Money, delivery: Money) -> Result<(), Failure> {
    check_currency(&format!("{within}/price/currency"), price.currency)?;
    if price.minor <= 0 {
        return Err(Failure::invalid(&format!("{within}/price/minor"), "a price is above zero"));
    }
    if delivery.minor < 0 {
        return Err(Failure::invalid(&format!("{within}/delivery/minor"), "delivery costs nothing or more"));
    }
    if delivery.currency != price.currency {
        let message = "price and delivery are in one currency";
        return Err(Failure::invalid(&format!("{within}/delivery/currency"), message));
    }
    if price.plus(delivery).is_none() {
        let message = "price and delivery together are too large a number";
        return Err(Failure::invalid(&format!("{within}/price/minor"), message));
    }
    Ok(())
}

fn check_currency(pointer: &str, currency: Currency) -> Result<(), Failure> {
    if currency.is_known() {
        return Ok(());
    }
    let message = format!("`{currency}` is no currency of ISO 4217; write one such as `EUR`");
    Err(Failure::invalid(pointer, message))
}

/// How long a delivery takes.
pub(super) fn check_lead_days(pointer: &str, lead_days: Option<LeadDays>) -> Result<(), Failure> {
    match lead_days {
        Some(LeadDays { p10, p50, p90 }) if !(p10 <= p50 && p50 <= p90 && p90 <= LEAD_DAYS_MAX) => {
            let message = format!("write `p10` <= `p50` <= `p90`, at most {LEAD_DAYS_MAX} days");
            Err(Failure::invalid(pointer, message))
        }
        Some(_) | None => Ok(()),
    }
}

/// What is compared is in one currency.
fn check_sellers(product: &Product) -> Result<(), Failure> {
    let currency = product.price.currency;
    let others = product.sellers.iter().filter(|offer| offer.price.currency != currency);
    let others: Vec<String> = others.map(|offer| format!("{} ({})", offer.seller, offer.price.currency)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let message =
        format!("its sellers ask for another currency than {currency}, end these first: {}", others.join(", "));
    Err(Failure::invalid("/price/currency", message))
}

/// What price lists say of it is in its currency, and not more than a product may have.
fn check_listed(product: &Product) -> Result<(), Failure> {
    let currency = product.price.currency;
    let mut others: Vec<String> = Vec::new();
    for listed in product.listed.iter().filter(|listed| listed.window.price.currency != currency) {
        let other = format!("`{}` ({})", listed.list, listed.window.price.currency);
        if !others.contains(&other) {
            others.push(other);
        }
    }
    if !others.is_empty() {
        let lists = others.join(", ");
        let message = format!(
            "price lists have its prices in another currency than {currency}, take it out of these first: {lists}"
        );
        return Err(Failure::invalid("/price/currency", message));
    }
    if product.listed.len() > WINDOWS_MAX {
        let message = format!("a product has at most {WINDOWS_MAX} price windows in all lists together");
        return Err(Failure::invalid("/prices", message));
    }
    Ok(())
}

/// A product that would not fit in a row; the bytes of one that does.
pub(super) fn check_size(product: &Product) -> Result<usize, Failure> {
    let bytes = postcard::to_allocvec(product).map_or(usize::MAX, |bytes| bytes.len());
    if bytes > PRODUCT_BYTES_MAX {
        let message = format!("the product has {bytes} bytes, at most {PRODUCT_BYTES_MAX} are kept");
        return Err(Refusal::new(Code::PayloadTooLarge, message).into());
    }
    Ok(bytes)
}

fn check_attributes(product: &Product) -> Result<(), Failure> {
    let is_word = |text: &str| !text.trim().is_empty() && text.chars().count() <= WORD_CHARS_MAX;
    if product.attributes.len() > ATTRIBUTES_MAX {
        return Err(Failure::invalid("/attributes", format!("a product has at most {ATTRIBUTES_MAX} attributes")));
    }
    for (name, value) in &product.attributes {
        if !is_word(name) || !is_word(value) {
            let message = format!("an attribute and its value take 1 to {WORD_CHARS_MAX} characters");
            return Err(Failure::invalid(&format!("/attributes/{}", escaped(name)), message));
        }
    }
    if product.category.as_ref().is_some_and(|category| !is_word(&category.id)) {
        return Err(Failure::invalid("/category/id", format!("a category takes 1 to {WORD_CHARS_MAX} characters")));
    }
    Ok(())
}

/// Windows hold by themselves: no two at one instant.
fn check_prices(prices: &[PriceWindow], currency: Currency) -> Result<(), Failure> {
    if prices.len() > WINDOWS_MAX {
        return Err(Failure::invalid("/prices", format!("a product has at most {WINDOWS_MAX} price windows")));
    }
    for (n, window) in prices.iter().enumerate() {
        check_stretch(&format!("/prices/{n}"), window.from, window.until)?;
        if window.price.minor <= 0 {
            return Err(Failure::invalid(&format!("/prices/{n}/price/minor"), "a price is above zero"));
        }
        if window.price.currency != currency {
            let message = format!("the product's price is in {currency}; its windows are too");
            return Err(Failure::invalid(&format!("/prices/{n}/price/currency"), message));
        }
    }
    let mut by_start: Vec<(usize, &PriceWindow)> = prices.iter().enumerate().collect();
    by_start.sort_by_key(|(_, window)| window.from);
    for pair in by_start.windows(2) {
        let [(first, before), (second, after)] = pair else { continue };
        if before.until.is_none_or(|until| after.from < until) {
            let ends = before.until.map_or_else(|| "has no end".to_owned(), |until| format!("ends at {until}"));
            let message = format!(
                "price windows {first} and {second} overlap: {first} {ends}, and {second} begins at {}",
                after.from
            );
            return Err(Failure::invalid(&format!("/prices/{second}/from"), message));
        }
    }
    Ok(())
}

fn check_promotions(product: &Product) -> Result<(), Failure> {
    if product.promotions.len() > PROMOTIONS_MAX {
        return Err(Failure::invalid("/promotions", format!("a product has at most {PROMOTIONS_MAX} promotions")));
    }
    let lowest = product.windows().map(|window| window.price.minor).chain([product.price.minor]).min();
    for (n, promotion) in product.promotions.iter().enumerate() {
        let Promotion { from, until, off } = promotion;
        check_stretch(&format!("/promotions/{n}"), *from, *until)?;
        match off {
            Reduction::Percent(hundredths) if !(1..10_000).contains(hundredths) => {
                let message = "write more than 0 and less than 100, with at most two decimals";
                return Err(Failure::invalid(&format!("/promotions/{n}/percent"), message));
            }
            Reduction::Amount(amount) if amount.currency != product.price.currency => {
                let message = format!("the product's price is in {}", product.price.currency);
                return Err(Failure::invalid(&format!("/promotions/{n}/amount/currency"), message));
            }
            Reduction::Amount(amount) if amount.minor <= 0 || lowest.is_some_and(|lowest| amount.minor >= lowest) => {
                let message = "it is above zero, and below every price of the product";
                return Err(Failure::invalid(&format!("/promotions/{n}/amount/minor"), message));
            }
            Reduction::Percent(_) | Reduction::Amount(_) => {}
        }
    }
    Ok(())
}

pub(super) fn check_stretch(within: &str, from: Timestamp, until: Option<Timestamp>) -> Result<(), Failure> {
    if until.is_some_and(|until| until <= from) {
        return Err(Failure::invalid(
            &format!("{within}/until"),
            "`until` must be later than `from`; leave it out where there is no end",
        ));
    }
    Ok(())
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
