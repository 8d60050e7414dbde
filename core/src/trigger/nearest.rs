//! The name that was probably meant.

/// Longest name for which a nearest one is looked for; longer ones are not typing slips.
const NAME_CHARS_MAX: usize = 64;

/// The candidate nearest to a misspelt name, where one is near enough to be worth saying.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > NAME_CHARS_MAX {
        return None;
    }
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// What to say after an unknown name: the nearest one, else all there are, else nothing.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    /// More names than this are no help in one line.
    const LISTED_MAX: usize = 12;
    if let Some(near) = nearest(name, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut names: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return None;
    }
    let left_out = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
    Some(format!("there is {}{more}", names.join(", ")))
}

/// Edits between two names: insertions, deletions, replacements, and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().take(2 * NAME_CHARS_MAX).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut edits = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_finds_none() {
        let fields = ["temperature", "setpoint", "mode", "runtime"];
        assert_eq!(nearest("temprature", fields), Some("temperature"));
        assert_eq!(nearest("setpiont", fields), Some("setpoint"));
        assert_eq!(nearest("Mode", fields), Some("mode"));
        assert_eq!(nearest("humidity", fields), None);
        assert_eq!(nearest("", fields), None);
    }

    #[test]
    fn without_a_near_name_all_are_listed() {
        assert_eq!(suggestion("x", ["long-one"]), Some("there is `long-one`".to_owned()));
        assert_eq!(suggestion("x", []), None);
    }
}
