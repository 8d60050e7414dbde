//! The range of keys that a scan covers, the same for every engine.

use std::ops::Bound;

use super::keys::{Key, table};

/// From and to, never upside down: a range that a sorted map accepts.
pub(super) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys under `prefix`, beyond `after` where given; none when there cannot be any.
pub(super) fn forward(prefix: &[u8], after: Option<&Key>) -> Option<Range> {
    let (first, end) = under(prefix)?;
    let from = match after {
        Some(after) if after.0 >= first => Bound::Excluded(after.0.clone()),
        _ => Bound::Included(first),
    };
    upright(from, end.map_or(Bound::Unbounded, Bound::Excluded))
}

/// The keys under `prefix`, short of `before` where given; none when there cannot be any.
pub(super) fn backward(prefix: &[u8], before: Option<&Key>) -> Option<Range> {
    let (first, end) = under(prefix)?;
    let end = match (end, before) {
        (Some(end), Some(before)) => Some(end.min(before.0.clone())),
        (end, before) => end.or_else(|| before.map(|before| before.0.clone())),
    };
    upright(Bound::Included(first), end.map_or(Bound::Unbounded, Bound::Excluded))
}

/// The first key under a prefix, and the first beyond it. The engine's own table is out of reach.
fn under(prefix: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    match prefix.first() {
        Some(&table::ENGINE) => None,
        Some(_) => Some((prefix.to_vec(), beyond(prefix))),
        None => Some((vec![table::ENGINE + 1], None)),
    }
}

/// The first key after all that begin with the prefix; none when they are the last.
fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

fn upright(from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Option<Range> {
    let is_empty = match (&from, &to) {
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        _ => false,
    };
    (!is_empty).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_carries_over_full_bytes() {
        assert_eq!(beyond(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(beyond(&[b'a', 0xff, 0xff]), Some(b"b".to_vec()));
        assert_eq!(beyond(&[0xff, 0xff]), None);
        assert_eq!(beyond(&[]), None);
    }

    #[test]
    fn a_range_is_never_upside_down() {
        let far = Key(b"z".to_vec());
        let near = Key(b"a".to_vec());
        assert_eq!(forward(b"m", Some(&far)), None);
        assert_eq!(backward(b"m", Some(&near)), None);
        assert_eq!(forward(b"m", Some(&near)), Some((Bound::Included(b"m".to_vec()), Bound::Excluded(b"n".to_vec()))));
        assert_eq!(backward(b"m", Some(&far)), Some((Bound::Included(b"m".to_vec()), Bound::Excluded(b"n".to_vec()))));
    }

    #[test]
    fn no_scan_reaches_the_table_of_the_engine() {
        assert_eq!(forward(&[table::ENGINE], None), None);
        assert_eq!(forward(&[], None), Some((Bound::Included(vec![1]), Bound::Unbounded)));
    }
}
