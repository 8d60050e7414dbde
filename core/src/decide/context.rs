//! What is said about the surroundings of a device: by itself, or by a feed for the whole home. Each
//! word has an end; past it, what it was about is unknown.

use super::draft::Draft;
use super::edge::Seen;
use super::event_time::{event_time, is_older};
use super::{Answered, Refusal, wake};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::forecast::Moment;
use crate::id::{DeviceKey, FieldName};
use crate::model::{ContextEntry, Device, SHARED_PUBLIC, Value};
use crate::time::{Span, Timestamp};
use crate::trigger::Watched;
use crate::wire::ContextUp;

/// Entries of context that one device may keep: people, activity, tariff, weather, and as many again.
const CONTEXT_ENTRIES_MAX: usize = 16;

/// The entry that says whether people are at home, and its word for nobody.
const PRESENCE: &str = "presence";
const AWAY: &str = "away";

/// A device speaks of its surroundings.
pub(super) fn of_device(draft: &mut Draft<'_>, key: &DeviceKey, said: &ContextUp) -> Answered {
    let Some(device) = draft.before().devices.get(key) else { return Ok(Reply::Unchanged) };
    let at = event_time(device, &draft.input.sender, None, draft.now).at;
    let until = at + Span::seconds(i64::from(said.ttl_s));
    // All of a message or nothing of it.
    let is_said = |known: &String| said.entries.iter().any(|(name, _)| name.as_str() == known);
    let others = device.context.iter().filter(|(name, entry)| entry.until > draft.now && !is_said(name)).count();
    if let Some((name, _)) = said.entries.get(CONTEXT_ENTRIES_MAX.saturating_sub(others)) {
        let message = format!("a device keeps at most {CONTEXT_ENTRIES_MAX} entries of context");
        return Err(Refusal::new(Code::PayloadInvalid, message).at(format!("/body/{name}")));
    }
    for (name, value) in &said.entries {
        takes(draft, key, name, value, at, until);
    }
    Ok(Reply::Done)
}

/// A feed speaks of the surroundings of a home: every device in it knows.
pub(super) fn of_home(draft: &mut Draft<'_>, name: &FieldName, value: &Value, until: Timestamp) -> Answered {
    let home = draft.before();
    heard(draft, name, value, until, home.devices.keys());
    Ok(Reply::Done)
}

/// A feed speaks of a number that changes slowly. Where it lies further from the word before than it may, one of the
/// two is wrong, and until two words agree nobody knows which: what depends on it is unknown.
pub(super) fn steady(draft: &mut Draft<'_>, name: &FieldName, value: f64, step_max: f64, until: Timestamp) -> Answered {
    let (home, now) = (draft.before(), draft.now);
    let is_doubtful = |device: &Device| {
        let known = device.context.get(name.as_str());
        let known = known.filter(|known| now < known.until || is_doubted(known));
        known.is_some_and(|known| matches!(known.value, Value::Number(before) if (value - before).abs() > step_max))
    };
    let (doubted, believed): (Vec<_>, Vec<_>) = home.devices.iter().partition(|(_, device)| is_doubtful(device));
    for (key, _) in &doubted {
        draft
            .note(format!("context {name} = {value}: too far from the word before, not believed until another agrees"));
        let entry = ContextEntry { value: Value::Number(value), t: now, until: now };
        draft.change(Change::ContextSet { device: (*key).clone(), name: name.to_string(), entry });
    }
    heard(draft, name, &Value::Number(value), until, believed.into_iter().map(|(key, _)| key));
    Ok(if doubted.is_empty() { Reply::Done } else { Reply::Doubted })
}

/// Whether a word was heard and never believed.
fn is_doubted(word: &ContextEntry) -> bool {
    word.until == word.t
}

/// These devices of the home take a feed's word.
fn heard<'h>(
    draft: &mut Draft<'h>,
    name: &FieldName,
    value: &Value,
    until: Timestamp,
    keys: impl Iterator<Item = &'h DeviceKey>,
) {
    let (home, now) = (draft.before(), draft.now);
    for key in keys {
        if !takes(draft, key, name, value, now, until) {
            draft
                .note(format!("{key} keeps {CONTEXT_ENTRIES_MAX} other entries of context and does not take `{name}`"));
        }
    }
    for key in home.devices.keys() {
        wake::armed(draft, key);
    }
}

/// Lets the entry go that ended first, where there are as many as a device keeps.
fn makes_room(draft: &mut Draft<'_>, key: &DeviceKey) -> bool {
    let now = draft.now;
    let Some(device) = draft.device(key) else { return false };
    if device.context.len() < CONTEXT_ENTRIES_MAX {
        return true;
    }
    let ended = device
        .context
        .iter()
        .filter(|(name, entry)| entry.until <= now && *name != SHARED_PUBLIC)
        .min_by_key(|(_, entry)| entry.until);
    let Some(name) = ended.map(|(name, _)| name.to_string()) else { return false };
    draft.change(Change::ContextDropped { device: key.clone(), name });
    true
}

/// Keeps the newest word, and wakes what its edge wakes. `false` where there is no room for one more.
fn takes(
    draft: &mut Draft<'_>,
    key: &DeviceKey,
    name: &FieldName,
    value: &Value,
    at: Timestamp,
    until: Timestamp,
) -> bool {
    let Some(device) = draft.before().devices.get(key) else { return true };
    let known = device.context.get(name.as_str());
    if known.is_some_and(|known| is_older(at, known.t, draft.now)) {
        draft.note(format!("context {name}: an older word came later, ignored"));
        return true;
    }
    // What is kept now: an entry before it in this message may have taken its place.
    let is_kept = draft.device(key).is_some_and(|device| device.context.contains_key(name.as_str()));
    if !is_kept && !makes_room(draft, key) {
        return false;
    }
    draft.note(format!("context {name} = {value}"));
    let entry = ContextEntry { value: value.clone(), t: at, until };
    draft.change(Change::ContextSet { device: key.clone(), name: name.to_string(), entry });
    count_absence(draft, name, value, at);
    let previous = known.map(|known| (&known.value, known.t));
    let seen = Seen { previous, value, at, fresh_until: known.map(|known| known.until) };
    wake::by_edge(draft, key, Watched::Context(name.as_str()), seen);
    true
}

/// Days of absence are days of little use: forecasts count them out.
fn count_absence(draft: &mut Draft<'_>, name: &FieldName, value: &Value, at: Timestamp) {
    let Value::Text(word) = value else { return };
    if name.as_str() != PRESENCE {
        return;
    }
    let before = draft.home().supply.absence;
    let (mut after, day) = (before, Moment::at(at).day);
    if **word == *AWAY {
        after.left(day);
    } else {
        after.sign_of_life(day);
    }
    if after != before {
        draft.change(Change::AbsenceSet(after));
    }
}
