//! The control group: households that a trigger would have spoken to and does not, so that its
//! effect can be told from what would have happened anyway.
//!
//! Who is in it follows from the household and the salt alone, so that anybody can recompute it:
//!
//! ```text
//! bucket = first 8 bytes, big-endian, of SHA-256("{salt}/{household}")  modulo 10 000
//! in the control group:  bucket < percent × 100
//! ```
//!
//! The same salt draws the same households for every trigger and every version that uses it.

use sha2::{Digest, Sha256};

use super::definition::HoldoutDefinition;
use crate::id::{HouseholdId, TriggerId};

/// Buckets that households fall into: a percent is a hundred of them.
pub const BUCKETS: u64 = 10_000;

/// Which households are in the control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdout {
    /// Buckets below this are in it.
    pub below: u64,
    /// With what it is drawn.
    pub salt: String,
}

impl Holdout {
    /// From its definition; none where nobody is in it. The salt is the trigger's id where not said.
    pub(super) fn of(definition: &HoldoutDefinition, trigger: &TriggerId) -> Option<Holdout> {
        let share = definition.percent.unwrap_or(0.0) / 100.0;
        let below = (share * BUCKETS as f64).round() as u64;
        let salt = definition.salt.clone().unwrap_or_else(|| trigger.to_string());
        (below > 0).then_some(Holdout { below, salt })
    }

    /// Whether a household is in the control group.
    pub fn holds_out(&self, household: HouseholdId) -> bool {
        self.bucket(household) < self.below
    }

    /// The bucket of a household, from 0 to 9 999.
    pub fn bucket(&self, household: HouseholdId) -> u64 {
        let digest = Sha256::digest(format!("{}/{household}", self.salt));
        let first = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        first % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::id::{ProfileId, RetailerId};

    fn holdout(percent: f64) -> Option<Holdout> {
        let definition = HoldoutDefinition {
            percent: Some(percent),
            salt: Some("heating-2026".into()),
            ..HoldoutDefinition::default()
        };
        Holdout::of(&definition, &TriggerId::new("t").unwrap())
    }

    #[test]
    fn the_published_vectors_hold() {
        // python3: int.from_bytes(hashlib.sha256(b"heating-2026/" + household).digest()[:8], "big") % 10000
        for (household, bucket) in VECTORS {
            assert_eq!(holdout(10.0).unwrap().bucket(household.parse().unwrap()), bucket, "{household}");
        }
    }

    #[test]
    fn a_tenth_is_a_tenth_and_nobody_is_nobody() {
        let holdout_of_ten = holdout(10.0).unwrap();
        let shop = RetailerId::new("shop-a").unwrap();
        let homes = (0..20_000).map(|n| HouseholdId::of_profile(&shop, &ProfileId::new(format!("p{n}")).unwrap()));
        let held_out = homes.filter(|home| holdout_of_ten.holds_out(*home)).count();
        // 2 000 expected, standard deviation 42.
        assert!((1_830..2_170).contains(&held_out), "{held_out} of 20 000");
        assert_eq!(holdout(0.0), None);
        assert_eq!(holdout(0.25).unwrap().below, 25);
    }

    const VECTORS: [(&str, u64); 3] = [
        ("hh_aaaaaaaaaaaaaaaaaaaaaaaa", 1882),
        ("hh_aebagbafaydqqcikbmga2dqp", 6017),
        ("hh_777777777777777777777777", 7163),
    ];
}
