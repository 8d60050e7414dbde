//! What a trigger takes off a price.

use super::definition::DiscountDefinition;
use super::tree::Findings;
use crate::model::Product;
use crate::money::Money;

/// A share of the price of one piece, up to a bound. Delivery is never reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discount {
    /// Hundredths of a percent: 1250 is 12.5 %.
    pub hundredths: u32,
    /// At most so much for a piece.
    pub max: Option<Money>,
}

impl Discount {
    /// What it takes off a piece, rounded as [`Money::share`] does. None where its bound is in another currency
    /// than the price.
    pub fn off(&self, price: Money) -> Option<Money> {
        if self.max.is_some_and(|max| max.currency != price.currency) {
            return None;
        }
        let off = price.share(self.hundredths)?.minor;
        let off = self.max.map_or(off, |max| off.min(max.minor));
        Some(Money::new(off, price.currency))
    }
}

/// Compiles a discount; `products` are those that may be proposed. None when it cannot be used; the
/// reasons were told.
pub(super) fn compile<'p>(
    written: &DiscountDefinition,
    mut products: impl Iterator<Item = &'p Product>,
    findings: &mut Findings<'_>,
) -> Option<Discount> {
    let Some(percent) = written.percent else {
        if written.code_pool.is_some() {
            if written.max.is_some() {
                let message = "there is no `percent` of which this would be the most";
                findings.warning("trigger.no_effect", "/offer/discount/max", message, None);
            }
        } else if !findings.blamed("/offer/discount/percent") {
            let help = Some("write `discount = { percent = 10 }`, or name a `code_pool`".to_owned());
            findings.error("trigger.missing_key", "/offer/discount", "`percent` is missing", help);
        }
        return None;
    };
    let hundredths = percent * 100.0;
    if (hundredths - hundredths.round()).abs() > 1e-6 || hundredths.round() < 1.0 {
        let help = Some("write more than 0 with at most two decimals, such as 12.5".to_owned());
        let message = format!("`{percent}` is not a share that can be taken off");
        findings.error("trigger.value", "/offer/discount/percent", message, help);
        return None;
    }
    let max = written.max.as_deref().and_then(|max| Money::parse(max).ok());
    if let Some(max) = max
        && let Some(other) = products.find(|product| product.price.currency != max.currency)
    {
        let message = format!("the price of `{}` is in {}, not in {}", other.id, other.price.currency, max.currency);
        findings.error("trigger.currency", "/offer/discount/max", message, None);
        return None;
    }
    // Between 0 and 100 %, as the form of the key asks.
    Some(Discount { hundredths: hundredths.round() as u32, max })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn off(hundredths: u32, max: Option<&str>, price: &str) -> Option<String> {
        let max = max.map(|max| Money::parse(max).unwrap());
        Discount { hundredths, max }.off(Money::parse(price).unwrap()).map(|off| off.to_string())
    }

    #[test]
    fn a_discount_is_rounded_to_the_even_cent_and_bounded() {
        assert_eq!(off(1000, None, "19.90 EUR").unwrap(), "1.99 EUR");
        assert_eq!(off(1250, None, "19.90 EUR").unwrap(), "2.49 EUR", "2.4875");
        assert_eq!(off(5000, None, "0.01 EUR").unwrap(), "0.00 EUR", "a half to the even one: down");
        assert_eq!(off(5000, None, "0.03 EUR").unwrap(), "0.02 EUR", "a half to the even one: up");
        assert_eq!(off(1000, Some("1.50 EUR"), "19.90 EUR").unwrap(), "1.50 EUR");
        assert_eq!(off(10_000, None, "19.90 EUR").unwrap(), "19.90 EUR");
        assert_eq!(off(1000, None, "500 JPY").unwrap(), "50 JPY");
        assert_eq!(off(1000, Some("1.50 USD"), "19.90 EUR"), None);
    }
}
