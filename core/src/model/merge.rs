use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ConsentRecord, Few, Link, Member, Purpose, Standing};
use crate::id::{LinkId, MandateId, MergeId, OrderId, ProfileId};
use crate::time::Timestamp;

/// Two profiles turn out to be one person: what one home of theirs is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The merge.
    pub id: MergeId,
    /// Who ends.
    pub from: ProfileId,
    /// Who stays, as the profile is after it. Role and consents are the home's own.
    pub into: Member,
    /// What is known of who stays, after it.
    pub standing: Standing,
    /// The purposes that one of the two withdrew in any of their homes: they are withdrawn in all.
    pub withdrawn: Vec<Purpose>,
}

/// A merge is taken back: both profiles as they are after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmerge {
    /// The merge.
    pub id: MergeId,
    /// Who is there again.
    pub from: Member,
    /// What is known of them.
    pub from_standing: Standing,
    /// Who stays.
    pub into: Member,
    /// What is known of them.
    pub into_standing: Standing,
}

/// What a merge changed in one home, so that it can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// The merge.
    pub id: MergeId,
    /// When.
    pub at: Timestamp,
    /// Who ended.
    pub from: ProfileId,
    /// Who stayed.
    pub into: ProfileId,
    /// Who ended, as they were here; none where they did not live here.
    pub from_member: Option<Arc<Member>>,
    /// Who stayed, as they were here before.
    pub into_member: Option<Arc<Member>>,
    /// The words of who stayed, as the merge made them.
    pub made: Few<Purpose, ConsentRecord>,
    /// Links that were those of who ended.
    pub links: Vec<LinkId>,
    /// Mandates that were theirs.
    pub mandates: Vec<MandateId>,
    /// Orders that were theirs.
    pub orders: Vec<OrderId>,
}

impl Merged {
    /// Whether it is about a person.
    pub fn names(&self, profile: &ProfileId) -> bool {
        self.from == *profile || self.into == *profile
    }
}

impl Merged {
    /// Whether what is said over this link rests on the merge.
    pub fn concerns(&self, link: &Link) -> bool {
        link.profile == self.into
    }
}
