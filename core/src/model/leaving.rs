use serde::{Deserialize, Serialize};

use super::{Household, OfferText};
use crate::id::ProfileId;

/// A person who is erased: by every name that a shop knows them by, and as they were called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leaving {
    /// Their own name, then those that were merged into it.
    pub names: Vec<ProfileId>,
    /// What devices showed as the name of their home, now and before.
    pub called: Vec<String>,
}

impl Leaving {
    /// Whether this is one of their names.
    pub fn is(&self, profile: &ProfileId) -> bool {
        self.names.contains(profile)
    }
    /// Whether a text calls them by name: in whole words, in capitals or not. `Al` is not called by `Also`.
    pub fn is_called_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.called.iter().any(|name| has_words(&text, name.trim().to_lowercase().as_str()))
    }
    /// Whether any text of an offer does.
    pub fn is_called_in_offer(&self, text: &OfferText) -> bool {
        let more = [&text.short, &text.say, &text.why].into_iter().flatten();
        [&text.title, &text.body].into_iter().chain(more).any(|text| self.is_called_in(text))
    }
    /// Whether anything that a home knows names them.
    pub fn is_known_in(&self, home: &Household) -> bool {
        home.members.keys().any(|member| self.is(member))
            || home.links.values().any(|link| self.is(&link.profile))
            || home.supply.mandates.values().any(|mandate| self.is(&mandate.profile))
            || home.orders.values().any(|order| order.profile.as_ref().is_some_and(|buyer| self.is(buyer)))
            || home.standings.keys().any(|known| self.is(known))
            || home.merges.iter().any(|merged| self.names.iter().any(|name| merged.names(name)))
    }
}

/// Whether these words stand in a text, neither the first nor the last of them a part of a longer one.
fn has_words(text: &str, words: &str) -> bool {
    let ends = |at: Option<char>| !at.is_some_and(char::is_alphanumeric);
    let stands = |(at, found): (usize, &str)| {
        ends(text[..at].chars().next_back()) && ends(text[at + found.len()..].chars().next())
    };
    !words.is_empty() && text.match_indices(words).any(stands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_whole_words_however_it_is_written() {
        let leaving = Leaving { names: Vec::new(), called: vec!["Al".to_owned(), "Chez Éloïse ".to_owned()] };
        for text in ["Al, your filter", "for AL!", "(al)", "CHEZ ÉLOÏSE: worn", "it is «chez éloïse»"] {
            assert!(leaving.is_called_in(text), "{text}");
        }
        for text in ["Also worn", "normal", "Chez Éloïses", "chez", ""] {
            assert!(!leaving.is_called_in(text), "{text}");
        }
        let nobody = Leaving { names: Vec::new(), called: vec![" ".to_owned()] };
        assert!(!nobody.is_called_in("any text at all"), "a name of blanks is nobody's");
    }
}
