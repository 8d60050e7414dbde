//! Typed reading of an object's members, with messages for the person who mends them.

use std::fmt::Display;

use crate::code::{Code, Refusal};
use crate::id::NameError;
use crate::limits::SAMPLE_FIELDS_MAX;
use crate::model::Value;
use crate::time::Timestamp;

use super::read::{Json, Members, place, shortened};

/// The farthest instant served: the year 9999, the last that RFC 3339 can write.
const TIME_MS_MAX: i64 = 253_402_300_799_999;
/// The greatest whole number that every JSON library carries exactly (2^53).
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Characters of a word such as an event's type, a nonce or a correlation.
pub(super) const WORD_CHARS_MAX: usize = 128;

/// How a member is read: none when it is not of the wanted shape.
pub(super) type Read<'j, T> = fn(&'j Json<'j>) -> Option<T>;

/// An object's members, read by name. Pointers of refusals are relative to the object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'j>(pub(super) &'j Members<'j>);

impl<'j> Fields<'j> {
    /// The members, where the value is an object; `what` says what it stands for.
    pub(super) fn of(json: &'j Json<'j>, what: &str) -> Result<Fields<'j>, Refusal> {
        match json {
            Json::Object(members) => Ok(Fields(members)),
            other => Err(invalid(format!("{what} must be a JSON object; it is {}", other.describe()))),
        }
    }
    /// A member, where it is there, also when it is null.
    pub(super) fn get_or_null(&self, key: &str) -> Option<&'j Json<'j>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
    /// A member; null is as good as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'j Json<'j>> {
        self.get_or_null(key).filter(|value| **value != Json::Null)
    }
    /// A member that may be left out. `what` completes "must be", with an example; it is written out
    /// only where it is needed, since most messages are good.
    pub(super) fn may<T>(&self, key: &str, read: Read<'j, T>, what: impl Display) -> Result<Option<T>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(json) => read(json).map(Some).ok_or_else(|| wrong(key, what, json)),
        }
    }
    /// A member that must be there.
    pub(super) fn need<T>(&self, key: &str, read: Read<'j, T>, what: impl Display) -> Result<T, Refusal> {
        self.may(key, read, &what)?.ok_or_else(|| missing(key, what))
    }
    /// A member that names something by a grammar of `id.rs`.
    pub(super) fn need_name<T>(
        &self,
        key: &str,
        name: fn(&'j str) -> Result<T, NameError>,
        what: &str,
    ) -> Result<T, Refusal> {
        name(self.need(key, text, what)?).map_err(|error| invalid(error.to_string()).at(place(key)))
    }
    /// A member that is an object of its own; absent reads as none.
    pub(super) fn may_object(&self, key: &str) -> Result<Option<Fields<'j>>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Object(members)) => Ok(Some(Fields(members))),
            Some(other) => Err(wrong(key, "an object", other)),
        }
    }
    /// A member that is a list; absent reads as none.
    pub(super) fn may_list(&self, key: &str, of: &str) -> Result<Option<&'j [Json<'j>]>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::List(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(key, format_args!("a list of {of}"), other)),
        }
    }
    /// A member that is one of a few words.
    pub(super) fn need_word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<T, Refusal> {
        self.may_word(key, words)?.ok_or_else(|| missing(key, choice(words)))
    }
    /// A member that is one of a few words and may be left out.
    pub(super) fn may_word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let Some(json) = self.get(key) else { return Ok(None) };
        let found = text(json).and_then(|given| words.iter().find(|(word, _)| *word == given));
        found.map(|(_, value)| Some(*value)).ok_or_else(|| wrong(key, choice(words), json))
    }
    /// Every member as a flat value by its name; null is skipped, `skip` names those that are not values.
    pub(super) fn values<N>(
        &self,
        skip: &[&str],
        name: fn(&str) -> Result<N, NameError>,
    ) -> Result<Vec<(N, Value)>, Refusal> {
        if self.0.len() > SAMPLE_FIELDS_MAX {
            let message = format!("there are {} values, the limit is {SAMPLE_FIELDS_MAX}; send fewer", self.0.len());
            return Err(Refusal::new(Code::PayloadTooLarge, message));
        }
        let mut values = Vec::with_capacity(self.0.len());
        for (key, json) in self.0.iter().filter(|(key, _)| !skip.contains(&key.as_ref())) {
            let Some(value) = flat(json) else {
                if *json == Json::Null {
                    continue;
                }
                return Err(wrong(key, "a number, a text or a boolean", json));
            };
            let name = name(key).map_err(|error| invalid(error.to_string()).at(place(key)))?;
            values.push((name, value));
        }
        Ok(values)
    }
}

/// A refusal of the shape.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::PayloadInvalid, message)
}
/// A member that is there and not what it must be.
pub(super) fn wrong(key: &str, what: impl Display, got: &Json<'_>) -> Refusal {
    invalid(format!("`{}` must be {what}; it is {}", shortened(key), got.describe())).at(place(key))
}
/// A member that is not there and must be.
pub(super) fn missing(key: &str, what: impl Display) -> Refusal {
    invalid(format!("`{key}` is missing; it must be {what}")).at(place(key))
}
/// "`a`, `b` or `c`".
fn choice<T>(words: &[(&str, T)]) -> String {
    let mut text = String::new();
    for (n, (word, _)) in words.iter().enumerate() {
        text.push_str(match n {
            0 => "`",
            n if n + 1 == words.len() => "` or `",
            _ => "`, `",
        });
        text.push_str(word);
    }
    text.push('`');
    text
}

/// Puts a refusal's pointer below a place.
pub(super) trait Within {
    /// The same with its pointer below `place`, such as `/samples/3`.
    fn within(self, place: &str) -> Self;
}
impl Within for Refusal {
    fn within(mut self, place: &str) -> Refusal {
        self.pointer = Some(format!("{place}{}", self.pointer.unwrap_or_default()));
        self
    }
}
impl<T> Within for Result<T, Refusal> {
    fn within(self, place: &str) -> Result<T, Refusal> {
        self.map_err(|refusal| refusal.within(place))
    }
}

// The readers. Each takes exactly what its name says.

/// A text.
pub(super) fn text<'j>(json: &'j Json<'j>) -> Option<&'j str> {
    match json {
        Json::Text(text) => Some(text),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) | Json::List(_) | Json::Object(_) => None,
    }
}
/// A text of at least one and not too many characters without control characters.
pub(super) fn word<'j>(json: &'j Json<'j>) -> Option<&'j str> {
    text(json).filter(|word| {
        !word.is_empty() && word.chars().count() <= WORD_CHARS_MAX && !word.chars().any(char::is_control)
    })
}
/// Yes or no.
pub(super) fn boolean<'j>(json: &'j Json<'j>) -> Option<bool> {
    match json {
        Json::Bool(value) => Some(*value),
        Json::Null | Json::Integer(_) | Json::Number(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
    }
}
/// A number.
pub(super) fn number<'j>(json: &'j Json<'j>) -> Option<f64> {
    match json {
        Json::Integer(n) => Some(*n as f64),
        Json::Number(x) => Some(*x),
        Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
    }
}
/// A number that is not negative.
pub(super) fn amount<'j>(json: &'j Json<'j>) -> Option<f64> {
    number(json).filter(|x| *x >= 0.0)
}
/// A number above zero.
pub(super) fn positive<'j>(json: &'j Json<'j>) -> Option<f64> {
    number(json).filter(|x| *x > 0.0)
}
/// A whole number; `1.774e12` is one too.
fn whole<'j>(json: &'j Json<'j>) -> Option<i64> {
    match json {
        Json::Integer(n) => Some(*n),
        Json::Number(x) if x.fract() == 0.0 && x.abs() <= EXACT_MAX => Some(*x as i64),
        Json::Number(_) | Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
    }
}
/// A whole number from 0.
pub(super) fn counter<'j>(json: &'j Json<'j>) -> Option<u64> {
    whole(json).and_then(|n| u64::try_from(n).ok())
}
/// A whole number from 0 to 4 294 967 295.
pub(super) fn count<'j>(json: &'j Json<'j>) -> Option<u32> {
    whole(json).and_then(|n| u32::try_from(n).ok())
}
/// A whole number from 1.
pub(super) fn some<'j>(json: &'j Json<'j>) -> Option<u32> {
    count(json).filter(|n| *n > 0)
}
/// An instant in epoch milliseconds; how well it is believed is for `decide`.
pub(super) fn instant<'j>(json: &'j Json<'j>) -> Option<Timestamp> {
    whole(json).filter(|ms| ms.unsigned_abs() <= TIME_MS_MAX.unsigned_abs()).map(Timestamp)
}
/// A number, text or boolean as a value.
pub(super) fn flat(json: &Json<'_>) -> Option<Value> {
    match json {
        Json::Bool(b) => Some(Value::Bool(*b)),
        Json::Integer(n) => Some(Value::Number(*n as f64)),
        Json::Number(x) => Some(Value::Number(*x)),
        Json::Text(text) => Some(Value::Text(text.as_ref().into())),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

/// What an instant looks like, in words.
pub(super) const INSTANT: &str = "a time in epoch milliseconds such as 1774000000000";
/// What a yes or no looks like.
pub(super) const BOOLEAN: &str = "true or false";
/// What a counter looks like.
pub(super) const COUNTER: &str = "a whole number from 0 such as 17";
/// What a revision looks like.
pub(super) const REVISION: &str = "the revision that was shown, a whole number such as 1";
/// What a nonce looks like.
pub(super) const NONCE: &str = "a text of 1 to 128 characters such as `n-1`, another for each press";
