//! Which of the times that a home was spoken to are remembered, for caps.

use crate::id::TriggerId;
use crate::limits::{CONTACTS_KEPT_MAX, CONTACTS_MAX, CONTACTS_OF_TRIGGER_KEPT};

/// Adds one to those that are there, oldest first. The newest are all kept; of the others the last ones of each
/// trigger, since a cap of one offer may look back over a year in which others spoke.
pub(crate) fn remember<T>(known: &mut Vec<T>, new: T, trigger: impl Fn(&T) -> &TriggerId) {
    known.push(new);
    let older = known.len().saturating_sub(CONTACTS_MAX);
    let is_left = |at: &usize| {
        let later = known[at + 1..].iter().filter(|later| trigger(later) == trigger(&known[*at]));
        later.count() >= CONTACTS_OF_TRIGGER_KEPT
    };
    if let Some(at) = (0..older).find(is_left) {
        known.remove(at);
    } else if known.len() > CONTACTS_KEPT_MAX {
        known.remove(0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_the_last_ones_of_each_trigger() {
        let id = |name: &str| TriggerId::new(name).unwrap();
        let mut known: Vec<(TriggerId, u32)> = Vec::new();
        let mut say = |trigger: &str, at: u32| remember(&mut known, (id(trigger), at), |(trigger, _)| trigger);
        (0..6).for_each(|at| say("seldom", at));
        (6..206).for_each(|at| say("often", at));
        let of = |known: &[(TriggerId, u32)], trigger: &str| -> Vec<u32> {
            known.iter().filter(|(of, _)| *of == id(trigger)).map(|(_, at)| *at).collect()
        };
        assert_eq!(of(&known, "seldom"), [2, 3, 4, 5]);
        assert_eq!(of(&known, "often").len(), CONTACTS_MAX);
        (0..500).for_each(|n| remember(&mut known, (id(&format!("t-{n}")), 1_000 + n), |(trigger, _)| trigger));
        assert_eq!(known.len(), CONTACTS_KEPT_MAX, "however many triggers there are");
        assert_eq!(known.last().unwrap().1, 1_499);
    }
}
