//! The world's article numbers (GS1): the last digit checks the others.

/// Why a text is no GTIN.
pub(super) fn fault(gtin: &str) -> Option<String> {
    if !matches!(gtin.len(), 8 | 12 | 13 | 14) || !gtin.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("a GTIN has 8, 12, 13 or 14 digits, and its last digit checks the others".to_owned());
    }
    let (body, last) = gtin.split_at(gtin.len() - 1);
    let right = check_digit(body);
    (last != right.to_string())
        .then(|| format!("the last digit checks the others: after `{body}` it is {right}, not {last}"))
}

/// From the right, every second digit counts three times; what is missing to the next ten is the check.
fn check_digit(body: &str) -> u32 {
    let weighted = body.bytes().rev().enumerate().map(|(at, digit)| u32::from(digit - b'0') * [3, 1][at % 2]);
    (10 - weighted.sum::<u32>() % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digit_of_a_gtin_checks_the_others() {
        for valid in ["4006381333931", "96385074", "614141007349", "10614141000415"] {
            assert_eq!(fault(valid), None, "{valid}");
        }
        for invalid in ["40063813339", "", "4006381333931x", "abcdefgh", "４００６３８１３３３９３１"] {
            assert!(fault(invalid).is_some_and(|why| why.contains("8, 12, 13 or 14")), "{invalid}");
        }
        assert_eq!(
            fault("4006381333932").as_deref(),
            Some("the last digit checks the others: after `400638133393` it is 1, not 2")
        );
    }
}
