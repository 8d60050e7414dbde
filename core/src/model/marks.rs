//! Marks among a person's segments: a segment is the shop's own word, a mark says that the person is on the
//! list of an audience. No segment begins like a mark.

use std::collections::BTreeSet;

use super::Profile;
use crate::id::AudienceId;

/// What a mark begins with; no segment does.
pub const LIST_MARK: char = '@';

/// The mark of who is on the list of an audience.
pub fn list_mark(audience: &AudienceId) -> String {
    format!("{LIST_MARK}{audience}")
}

/// Whether a word among the segments is a mark.
pub fn is_list_mark(segment: &str) -> bool {
    segment.starts_with(LIST_MARK)
}

impl Profile {
    /// The segments, without marks.
    pub fn own_segments(&self) -> impl Iterator<Item = &String> {
        self.segments.iter().filter(|segment| !is_list_mark(segment))
    }
    /// The audiences on whose lists the person is, by name.
    pub fn lists(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| segment.strip_prefix(LIST_MARK))
    }
    /// Replaces the segments and leaves the marks as they are.
    pub fn set_segments(&mut self, segments: BTreeSet<String>) {
        self.segments.retain(|segment| is_list_mark(segment));
        self.segments.extend(segments);
    }
}
