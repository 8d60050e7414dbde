//! Devices that guests share (a rental flat, a hotel room): a link of one has an end, and at that end it is given
//! back as at a release.

use super::draft::Draft;
use super::{Answered, Refusal, leave};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::DeviceKey;
use crate::model::{Device, SHARED_PUBLIC, Sharing};
use crate::time::{Span, Timestamp};

/// How long a stay may be: who stays longer lives there.
pub(super) const STAY_MAX: Span = Span::days(366);
const POINTER: &str = "/until";

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::PayloadInvalid, message).at(POINTER)
}

/// Whether a link of the device may be made with this end, or without one.
pub(super) fn check(device: &Device, until: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    match (device.is_shared_public(), until) {
        (false, None) => Ok(()),
        (true, Some(until)) => check_end(until, now),
        (true, None) => Err(invalid(
            "this device is in mode `shared_public`, guests come and go: say when the stay ends, as RFC 3339 has it",
        )),
        (false, Some(_)) => Err(invalid(
            "only a link of a device in mode `shared_public` has an end (`PUT /v1/devices/{device}/mode`); leave `until` out",
        )),
    }
}

fn check_end(until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if until <= now {
        return Err(invalid(format!("the stay would be over already: it is {now}; name a later instant")));
    }
    if until > now + STAY_MAX {
        return Err(invalid(format!("a stay takes at most {STAY_MAX}; name an earlier instant")));
    }
    Ok(())
}

fn set(draft: &mut Draft<'_>, key: &DeviceKey, sharing: Sharing) {
    let (name, entry) = (SHARED_PUBLIC.to_owned(), sharing.entry(draft.now));
    draft.change(Change::ContextSet { device: key.clone(), name, entry });
}

/// A guest takes the device until then.
pub(super) fn begins(draft: &mut Draft<'_>, key: &DeviceKey, until: Option<Timestamp>) {
    let Some(until) = until else { return };
    draft.note(format!("a stay until {until}"));
    set(draft, key, Sharing { goes_on: true, until: Some(until) });
}

/// Nobody has the device any more: the next guest brings an end of their own.
pub(super) fn ends(draft: &mut Draft<'_>, key: &DeviceKey) {
    match draft.device(key).and_then(Device::sharing) {
        Some(Sharing { goes_on: true, until: Some(_) }) => set(draft, key, Sharing { goes_on: true, until: None }),
        Some(Sharing { goes_on: false, .. }) => {
            draft.change(Change::ContextDropped { device: key.clone(), name: SHARED_PUBLIC.to_owned() });
        }
        Some(Sharing { goes_on: true, until: None }) | None => {}
    }
}

/// Another unit takes the place of a shared one, and the stay goes on there.
pub(super) fn carried(draft: &mut Draft<'_>, old: &DeviceKey, new: &DeviceKey) {
    if let Some(sharing) = draft.device(old).and_then(Device::sharing) {
        set(draft, new, sharing);
    }
}

/// The end of a stay has come: as a release, whatever is left of the link.
pub(super) fn over(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    let (home, now) = (draft.before(), draft.now);
    let is_over = home.devices.get(key).and_then(|device| device.stay_until()).is_some_and(|until| until <= now);
    if !is_over {
        return Ok(Reply::Unchanged);
    }
    draft.note("the stay is over");
    leave::given_back(draft, key)
}

/// Guests share it from here on. Who has it already needs an end too.
pub(super) fn shared(draft: &mut Draft<'_>, key: &DeviceKey, until: Option<Timestamp>) -> Answered {
    let home = draft.before();
    let known = home.devices.get(key).and_then(|device| device.sharing());
    let until = match (home.link_of(key), until, known) {
        (None, None, _) => None,
        (None, Some(_), _) => {
            return Err(invalid("nobody is linked to this device whose stay could end; leave `until` out"));
        }
        (Some(_), Some(until), _) => {
            check_end(until, draft.now)?;
            Some(until)
        }
        (Some(_), None, Some(Sharing { until: Some(until), .. })) => Some(until),
        (Some(_), None, _) => {
            return Err(invalid("somebody is linked to this device: say when their stay ends, or release it first"));
        }
    };
    let sharing = Sharing { goes_on: true, until };
    if known == Some(sharing) {
        return Ok(Reply::Unchanged);
    }
    draft.note("guests share it from here on");
    set(draft, key, sharing);
    Ok(Reply::Done)
}

/// No further guests. A stay that has begun still ends when it was to.
pub(super) fn not_shared(draft: &mut Draft<'_>, key: &DeviceKey) -> Answered {
    match draft.before().devices.get(key).and_then(|device| device.sharing()) {
        None | Some(Sharing { goes_on: false, .. }) => return Ok(Reply::Unchanged),
        Some(Sharing { until: None, .. }) => {
            draft.change(Change::ContextDropped { device: key.clone(), name: SHARED_PUBLIC.to_owned() });
        }
        Some(Sharing { until, .. }) => set(draft, key, Sharing { goes_on: false, until }),
    }
    draft.note("no further guests");
    Ok(Reply::Done)
}
