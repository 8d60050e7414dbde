//! Consents: given and withdrawn on the device or through the shop; a withdrawal reaches
//! everything that was decided under the old word.

use std::sync::Arc;

use super::draft::Draft;
use super::event_time::event_time;
use super::offer::{self, Welcome};
use super::{Answered, Refusal, habit};
use crate::code::Code;
use crate::decision::{Change, Reply};
use crate::id::{DeviceKey, OfferId, ProfileId};
use crate::model::{ConsentRecord, ConsentSource, Member, Purpose};
use crate::time::{Span, Timestamp, Zone};
use crate::wire::{ConsentUp, DownMessage};

/// How long the authoritative list is worth sending; the device asks `up/sync` at its birth anyway.
const LIST_TTL: Span = Span::days(1);

/// What a person set on the device. The latest word wins; a withdrawal that cannot be ordered
/// against an earlier grant wins.
pub(super) fn set_on_device(draft: &mut Draft<'_>, key: &DeviceKey, said: &ConsentUp) -> Answered {
    let now = draft.now;
    let home = draft.before();
    let (Some(device), Some(link)) = (home.devices.get(key), home.link_of(key)) else {
        return Err(Refusal::new(Code::DeviceNotLinked, "no household is linked, so there is nobody to consent"));
    };
    let profile = link.profile.clone();
    let mut unknown_text = None;
    for (at, word) in said.set.iter().enumerate() {
        // A withdrawal needs no text; a grant to a text that nobody has ever seen is none, nor one to nothing
        // where the shop has a text for it.
        if word.granted
            && let Some(refusal) = unread(draft, word.purpose, word.text_id.as_deref())
        {
            unknown_text = Some(refusal.at(format!("/body/set/{at}/text_id")));
            continue;
        }
        let time = event_time(device, &draft.input.sender, word.t, now);
        let known = draft.home().members.get(&profile).and_then(|member| member.consents.get(&word.purpose));
        let known_at = known.map_or(Timestamp(0), |known| known.at);
        let at = match (word.granted, time.trusted) {
            (_, true) => time.at,
            // Without a clock to order the words by, a withdrawal counts from its arrival, also
            // when the gateway's own clock went back meanwhile …
            (false, false) => time.at.max(known_at),
            // … and a grant that claims a time nobody can check beats nothing.
            (true, false) if word.t.is_some() => Timestamp(0),
            (true, false) => time.at,
        };
        let record = ConsentRecord {
            granted: word.granted,
            at,
            source: ConsentSource::Device,
            method: word.method.clone(),
            text_id: word.text_id.clone(),
            expires_at: None,
        };
        set(draft, &profile, word.purpose, record);
    }
    if let Some(until) = said.pause_until {
        let until = until.filter(|until| *until > now);
        draft.change(Change::PauseSet { until });
    }
    withdraw_unwelcome(draft);
    tell(draft, &profile);
    unknown_text.map_or(Ok(Reply::Done), Err)
}

/// Why a grant cannot rest on a text, or on none: its retailer has another for the purpose.
fn unread(draft: &Draft<'_>, purpose: Purpose, text: Option<&str>) -> Option<Refusal> {
    let why = draft.rules.refuses_grant(draft.before().retailer.as_ref()?, purpose, text)?;
    Some(Refusal::new(Code::PayloadInvalid, why))
}

pub(super) fn set_by_shop(
    draft: &mut Draft<'_>,
    profile: &ProfileId,
    records: &[(Purpose, ConsentRecord)],
) -> Answered {
    if !draft.before().members.contains_key(profile) {
        return Ok(Reply::Unchanged);
    }
    for (purpose, record) in records {
        set(draft, profile, *purpose, record.clone());
    }
    withdraw_unwelcome(draft);
    tell(draft, profile);
    Ok(Reply::Done)
}

fn set(draft: &mut Draft<'_>, profile: &ProfileId, purpose: Purpose, record: ConsentRecord) {
    let known = draft.home().members.get(profile).and_then(|member| member.consents.get(&purpose));
    if known.is_some_and(|known| !known.yields_to(&record)) {
        draft.note(format!("{}: an older word than the one known, ignored", purpose.as_str()));
        return;
    }
    draft.note(format!("{} {}", purpose.as_str(), if record.granted { "granted" } else { "withdrawn" }));
    draft.change(Change::ConsentSet { profile: profile.clone(), purpose, record });
}

/// Live offers that the present word does not cover are taken back, wherever they are: held in
/// the record, waiting in the outbox, or on the screen; and what may not be known any more is
/// forgotten. Open orders go on: they are a contract.
pub(super) fn withdraw_unwelcome(draft: &mut Draft<'_>) {
    let live: Vec<OfferId> =
        draft.home().offers.values().filter(|offer| offer.state.is_live()).map(|offer| offer.id).collect();
    for id in live {
        let Some(known) = draft.home().offers.get(&id).cloned() else { continue };
        if let Welcome::Unwanted(reason) = offer::welcome(draft, &known) {
            offer::withdraw(draft, id, reason);
        }
    }
    habit::forget_unwelcome(draft);
}

/// The authoritative list goes to every device that the person is linked with.
pub(super) fn tell(draft: &mut Draft<'_>, profile: &ProfileId) {
    let home = draft.home();
    let Some(member) = home.members.get(profile) else { return };
    let consents: Vec<_> = member.consents.iter().map(|(purpose, record)| (*purpose, record.clone())).collect();
    let pause_until = home.paused_until;
    let devices: Vec<DeviceKey> = home
        .links
        .values()
        .filter(|link| link.profile == *profile)
        .filter(|link| home.devices.get(&link.device).is_some_and(|device| !device.wipe_pending))
        .map(|link| link.device.clone())
        .collect();
    let until = draft.now + LIST_TTL;
    for device in devices {
        let (consents, profile) = (consents.clone(), Some(profile.clone()));
        let message = DownMessage::Consent { consents, pause_until, profile };
        draft.say(&device, message, Some(until));
    }
}

/// The retailer changed a profile: the household keeps what decisions read of it. Role and
/// consents are the household's own and stay.
pub(super) fn profile_changed(draft: &mut Draft<'_>, changed: &Member, zone: Option<&Zone>) -> Answered {
    let home = draft.before();
    let Some(known) = home.members.get(&changed.profile) else { return Ok(Reply::Unchanged) };
    let member = Member { role: known.role, consents: known.consents.clone(), ..changed.clone() };
    let zone = zone.or(home.zone.as_ref()).cloned();
    if zone != home.zone {
        draft.note("the home's time zone changed");
        draft.change(Change::HomeSet { retailer: home.retailer.clone(), zone, locale: home.locale.clone() });
    }
    draft.change(Change::MemberSet(Arc::new(member)));
    Ok(Reply::Done)
}
