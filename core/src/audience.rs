//! An audience: a group of customers by name, which triggers ask for.
//!
//! A *rule* is a condition over what is known of the person and the home. A *list* says who is in it: each
//! person of it carries a mark among their segments, in their profile and in the homes they belong to, so
//! that a decision reads it where it reads all else about the person, and a replay reads what was so then.
//! Being in an audience permits nothing: consent is asked as ever.

use crate::id::AudienceId;
use crate::model::{DeviceDescription, list_mark};
use crate::trigger::condition::{Articles, Condition, Fault, Schema};
use crate::trigger::{Evaluation, Scope, Truth};

/// One audience of one retailer, compiled.
#[derive(Debug)]
pub struct Audience {
    /// Its version, from 1.
    pub version: u64,
    /// Who is in it.
    pub of: AudienceOf,
}

/// Who is in an audience.
#[derive(Debug)]
pub enum AudienceOf {
    /// Those who carry its mark.
    List {
        /// The mark.
        mark: String,
    },
    /// Those of whom this holds.
    Rule(Condition),
}

impl Audience {
    /// One whose members are named.
    pub fn list(id: &AudienceId, version: u64) -> Audience {
        Audience { version, of: AudienceOf::List { mark: list_mark(id) } }
    }

    /// One that a condition makes. All that is wrong with the condition comes at once.
    pub fn rule<'m>(
        source: &str,
        version: u64,
        models: impl Iterator<Item = &'m DeviceDescription>,
        products: Articles<'m>,
    ) -> Result<Audience, Vec<Fault>> {
        let schema = Schema { models: models.collect(), slot: None, event: false, products };
        let condition = Condition::compile_for_homes(source, &schema)?;
        let passing = condition.passing_facts();
        if !passing.is_empty() {
            return Err(passing);
        }
        Ok(Audience { version, of: AudienceOf::Rule(condition) })
    }

    /// Whether the people at a device are in it: for a list, anybody who is linked there.
    pub fn holds(&self, scope: &Scope<'_>) -> Truth {
        match &self.of {
            AudienceOf::Rule(condition) => condition.truth(scope),
            AudienceOf::List { mark } => {
                let links = scope.household.links.values().filter(|link| link.device == scope.device.key);
                let mut members = links.filter_map(|link| scope.household.members.get(&link.profile));
                members.any(|member| member.segments.contains(mark)).into()
            }
        }
    }

    /// How a rule came out, leaf by leaf; none for a list.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Option<Evaluation<'_>> {
        match &self.of {
            AudienceOf::Rule(condition) => Some(condition.evaluate(scope)),
            AudienceOf::List { .. } => None,
        }
    }
}
