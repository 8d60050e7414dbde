//! Money: integer minor units and a currency, never a float.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An ISO 4217 currency code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Currencies whose minor unit is not a hundredth (ISO 4217), with its number of digits.
const MINOR_DIGITS: &[(&str, u32)] = &[
    ("BHD", 3),
    ("CLP", 0),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("OMR", 3),
    ("TND", 3),
    ("VND", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// The currencies of ISO 4217 in which goods are sold.
const CODES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN \
    BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ \
    GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL \
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN \
    PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD \
    TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

impl Currency {
    /// Takes a code of three capital letters.
    pub fn new(code: &str) -> Result<Currency, String> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_uppercase) => Ok(Currency(bytes)),
            _ => {
                let shown: String = code.chars().take(20).collect();
                Err(format!("`{shown}` is not a currency code; write three capital letters such as `EUR`"))
            }
        }
    }
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a code is three ASCII capitals")
    }
    /// Whether ISO 4217 has it.
    pub fn is_known(&self) -> bool {
        CODES.split_ascii_whitespace().any(|code| code == self.as_str())
    }
    /// How many digits its minor unit has.
    pub fn minor_digits(&self) -> u32 {
        MINOR_DIGITS.iter().find(|(code, _)| *code == self.as_str()).map_or(2, |(_, digits)| *digits)
    }
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(code: String) -> Result<Currency, String> {
        Currency::new(&code)
    }
}
impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount: minor units (cents) of a currency. On the wire `{"minor":1990,"currency":"EUR"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units, such as cents.
    pub minor: i64,
    /// ISO 4217 code.
    pub currency: Currency,
}

impl Money {
    /// So many minor units.
    pub fn new(minor: i64, currency: Currency) -> Money {
        Money { minor, currency }
    }
    /// The sum, unless the currencies differ or it overflows.
    pub fn plus(self, other: Money) -> Option<Money> {
        (self.currency == other.currency)
            .then(|| self.minor.checked_add(other.minor))
            .flatten()
            .map(|minor| Money { minor, currency: self.currency })
    }
    /// The price of several, unless it overflows.
    pub fn times(self, count: u32) -> Option<Money> {
        self.minor.checked_mul(count.into()).map(|minor| Money { minor, currency: self.currency })
    }
    /// A share of it in hundredths of a percent: rounded to the nearest minor unit, a half to the even one, so
    /// that many small shares neither add up to a gift nor to a theft.
    pub fn share(self, hundredths: u32) -> Option<Money> {
        /// Hundredths of a percent in the whole.
        const WHOLE: i128 = 10_000;
        let share = i128::from(self.minor) * i128::from(hundredths);
        let (whole, rest) = (share.div_euclid(WHOLE), share.rem_euclid(WHOLE));
        let up = rest * 2 > WHOLE || (rest * 2 == WHOLE && whole % 2 == 1);
        i64::try_from(whole + i128::from(up)).ok().map(|minor| Money { minor, currency: self.currency })
    }
    /// Reads "4.00 EUR", the way amounts are written in files.
    pub fn parse(text: &str) -> Result<Money, String> {
        let bad = || format!("`{text}` is not an amount; write it as `4.00 EUR`");
        let (amount, code) = text.trim().split_once(' ').ok_or_else(bad)?;
        let currency = Currency::new(code.trim())?;
        let digits = currency.minor_digits() as usize;
        let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
        if !whole.bytes().all(|b| b.is_ascii_digit()) || whole.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        if part.len() > digits {
            return Err(format!("`{text}` has {} decimals, {currency} has {digits}", part.len()));
        }
        let minor = format!("{whole}{part:0<digits$}").parse().map_err(|_| bad())?;
        Ok(Money { minor, currency })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.minor_digits();
        if digits == 0 {
            return write!(f, "{} {}", self.minor, self.currency);
        }
        let unit = 10u64.pow(digits);
        let (sign, minor) = (if self.minor < 0 { "-" } else { "" }, self.minor.unsigned_abs());
        write!(f, "{sign}{}.{:0width$} {}", minor / unit, minor % unit, self.currency, width = digits as usize)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn amounts_read_and_print_with_the_digits_of_their_currency() {
        for text in ["4.00 EUR", "19.90 EUR", "500 JPY", "1.250 KWD", "0.05 USD"] {
            assert_eq!(Money::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Money::parse("4 EUR").unwrap().minor, 400);
        assert!(Money::parse("4.001 EUR").is_err());
        assert!(Money::parse("-4 EUR").is_err());
        assert!(Money::parse("4.00").is_err());
    }

    #[test]
    fn different_currencies_do_not_add_up() {
        let eur = Money::parse("1 EUR").unwrap();
        assert_eq!(eur.plus(Money::parse("1 USD").unwrap()), None);
        assert_eq!(eur.plus(Money::new(i64::MAX, eur.currency)), None);
    }
}
