//! Amounts with their unit as text: "17 °C", "600 h".

use crate::model::Unit;

/// Reads a number and, where one follows, its unit.
pub fn parse_quantity(text: &str) -> Result<(f64, Option<Unit>), String> {
    let text = text.trim();
    let bad = || format!("`{}` is not an amount; write a number, or one with its unit such as `600 h`", shown(text));
    let number_ends = text
        .char_indices()
        .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && matches!(c, '-' | '+'))))
        .map_or(text.len(), |(i, _)| i);
    let (number, unit) = text.split_at(number_ends);
    let number = number.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(bad)?;
    match unit.trim() {
        "" => Ok((number, None)),
        unit => match Unit::parse(unit) {
            Some(unit) => Ok((number, Some(unit))),
            None => {
                let units: Vec<&str> = Unit::ALL.iter().map(|unit| unit.as_str()).collect();
                Err(format!("`{}` is not a unit; the units are {}", shown(unit), units.join(" ")))
            }
        },
    }
}

/// In how much time an amount comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// In a minute.
    Minute,
    /// In an hour.
    Hour,
    /// In 24 hours.
    Day,
}

impl Per {
    /// By what an amount is multiplied to be that of an hour.
    pub fn in_an_hour(self) -> f64 {
        match self {
            Per::Minute => 60.0,
            Per::Hour => 1.0,
            Per::Day => 1.0 / 24.0,
        }
    }
}

/// Reads an amount with or without its unit and, where one follows, the time that it takes: `-1 °C/h`.
pub fn parse_rate(text: &str) -> Result<(f64, Option<Unit>, Option<Per>), String> {
    let Some((amount, per)) = text.split_once('/') else {
        return parse_quantity(text).map(|(number, unit)| (number, unit, None));
    };
    let per = match per.trim() {
        "min" => Per::Minute,
        "h" => Per::Hour,
        "d" => Per::Day,
        other => return Err(format!("`/{}` is not a time here; write `/min`, `/h` or `/d`", shown(other))),
    };
    parse_quantity(amount).map(|(number, unit)| (number, unit, Some(per)))
}

/// An amount as people read it: `612 h`, `16.4 °C`, `48` for counts.
pub fn quantity_text(number: f64, unit: Option<Unit>) -> String {
    // Two decimals are more than any text for people needs; adding 0.0 turns -0 into 0.
    let rounded = (number * 100.0).round() / 100.0 + 0.0;
    match unit {
        None | Some(Unit::Count) => format!("{rounded}"),
        Some(unit) => format!("{rounded} {unit}"),
    }
}

/// Text from outside, cut for a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_amount_is_a_number_with_or_without_its_unit() {
        assert_eq!(parse_quantity("17 °C").unwrap(), (17.0, Some(Unit::Celsius)));
        assert_eq!(parse_quantity("600h").unwrap(), (600.0, Some(Unit::Hour)));
        assert_eq!(parse_quantity("-4.5").unwrap(), (-4.5, None));
        for bad in ["", "h", "1.2.3 h", "12 hours", "NaN", "1e400", "∞ h"] {
            assert!(parse_quantity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rate_is_an_amount_in_a_minute_an_hour_or_a_day() {
        assert_eq!(parse_rate("-1 °C/h").unwrap(), (-1.0, Some(Unit::Celsius), Some(Per::Hour)));
        assert_eq!(parse_rate("0.5 / min").unwrap(), (0.5, None, Some(Per::Minute)));
        assert_eq!(parse_rate("24 W/d").unwrap().2.unwrap().in_an_hour() * 24.0, 1.0);
        assert_eq!(parse_rate("17 °C").unwrap(), (17.0, Some(Unit::Celsius), None));
        for bad in ["1 °C/s", "1/h/h", "/h", "1 °C/"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn people_read_counts_without_a_unit() {
        assert_eq!(quantity_text(612.0, Some(Unit::Hour)), "612 h");
        assert_eq!(quantity_text(16.428, Some(Unit::Celsius)), "16.43 °C");
        assert_eq!(quantity_text(48.0, Some(Unit::Count)), "48");
        assert_eq!(quantity_text(-0.001, None), "0");
    }
}
