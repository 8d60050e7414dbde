//! Bodies about the device itself: presence, state, sync, claim, consent, lifecycle, time.

use super::decode::Opened;
use super::fields::{BOOLEAN, COUNTER, Fields, INSTANT, Within, boolean, counter, instant, missing, text, word, wrong};
use super::read::Json;
use super::{ClaimUp, ConsentUp, ConsentWord, LifecycleUp, PresenceUp, PresenceWord, StateUp, SyncUp};
use crate::code::{Code, Refusal};
use crate::id::FieldName;
use crate::model::Purpose;
use crate::time::Timestamp;

/// Words that one consent message sets: each of the five purposes, with room for repeats made offline.
const CONSENT_WORDS_MAX: usize = 32;
/// Parts that a sync asks for; there are six, and unknown ones of later minor versions are borne.
const WANTED_MAX: usize = 16;
/// Offers that a device says it has: more than any surface holds.
const HAVE_OFFERS_MAX: usize = 64;

/// `presence`.
pub(super) fn presence(body: Fields<'_>, opened: &Opened<'_>) -> Result<PresenceUp, Refusal> {
    let state = body.need_word(
        "state",
        &[
            ("online", PresenceWord::Online),
            ("lost", PresenceWord::Lost),
            ("offline", PresenceWord::Offline),
            ("sleeping", PresenceWord::Sleeping),
        ],
    )?;
    let names_a_will = opened.id.as_ref().is_some_and(|id| id.as_str().starts_with("will-"));
    Ok(PresenceUp {
        state,
        epoch: body.may("epoch", counter, COUNTER)?.or(opened.sender.epoch),
        firmware: body.may("fw", word, "a firmware version such as `2.1.0`")?.map(str::to_owned),
        wake_at: body.may("wake_at", instant, INSTANT)?,
        is_will: names_a_will && state == PresenceWord::Lost,
    })
}

/// `up/state`.
pub(super) fn state(body: Fields<'_>) -> Result<StateUp, Refusal> {
    let reported = match body.may_object("reported")? {
        Some(reported) => reported.values(&[], |name| FieldName::new(name)).within("/reported")?,
        None => Vec::new(),
    };
    Ok(StateUp { reported, version: body.may("version", counter, COUNTER)? })
}

/// `up/sync`. Words that this version does not know and ids that no offer can have are passed over.
pub(super) fn sync(body: Fields<'_>) -> Result<SyncUp, Refusal> {
    let mut want = Vec::new();
    let wanted = body.may_list("want", "words such as `offers`")?.unwrap_or_default();
    for (n, part) in wanted.iter().take(WANTED_MAX).enumerate() {
        let part = text(part).ok_or_else(|| wrong(&n.to_string(), "a word such as `offers`", part).within("/want"))?;
        want.push(part.to_owned());
    }
    let have = match body.may_object("have")? {
        Some(have) => have.may_list("offers", "offer ids").within("/have")?.unwrap_or_default(),
        None => &[],
    };
    let ids = have.iter().take(HAVE_OFFERS_MAX).filter_map(text).filter_map(|id| id.parse().ok());
    Ok(SyncUp { want, have_offers: ids.collect() })
}

/// `up/claim`.
pub(super) fn claim(body: Fields<'_>) -> Result<ClaimUp, Refusal> {
    let presence = body.may("presence", boolean, BOOLEAN)?.unwrap_or(false);
    body.need_word("op", &[("start", ClaimUp::Start { presence }), ("cancel", ClaimUp::Cancel)])
}

/// `up/consent`.
pub(super) fn consent(body: Fields<'_>) -> Result<ConsentUp, Refusal> {
    let list = body.may_list("set", "consents")?.unwrap_or_default();
    if list.len() > CONSENT_WORDS_MAX {
        let message = format!("`set` has {} entries, the limit is {CONSENT_WORDS_MAX}; send fewer", list.len());
        return Err(Refusal::new(Code::PayloadTooLarge, message).at("/set"));
    }
    let mut set = Vec::with_capacity(list.len());
    for (n, entry) in list.iter().enumerate() {
        set.push(consent_word(entry).within(&format!("/set/{n}"))?);
    }
    let pause_until = match body.get_or_null("pause_until") {
        None => None,
        Some(Json::Null) => Some(None),
        Some(json) => Some(Some(instant(json).ok_or_else(|| wrong("pause_until", INSTANT, json))?)),
    };
    if body.get("set").is_none() && pause_until.is_none() {
        return Err(missing("set", r#"a list such as [{"purpose":"offers.device","granted":false}]"#));
    }
    Ok(ConsentUp { set, pause_until })
}

fn consent_word(entry: &Json<'_>) -> Result<ConsentWord, Refusal> {
    let entry = Fields::of(entry, "a consent")?;
    Ok(ConsentWord {
        purpose: entry.need_word("purpose", &Purpose::ALL.map(|purpose| (purpose.as_str(), purpose)))?,
        granted: entry.need("granted", boolean, BOOLEAN)?,
        t: entry.may("t", instant, INSTANT)?,
        method: entry.may("method", word, "a word such as `button`")?.map(str::to_owned),
        text_id: entry.may("text_id", word, "the id of the text that was shown, such as `t1`")?.map(str::to_owned),
    })
}

/// `up/lifecycle`.
pub(super) fn lifecycle(body: Fields<'_>) -> Result<LifecycleUp, Refusal> {
    #[derive(Clone, Copy)]
    enum Op {
        Reset,
        Wiped,
        Decommission,
    }
    let ops = [("reset", Op::Reset), ("wiped", Op::Wiped), ("decommission", Op::Decommission)];
    match body.need_word("op", &ops)? {
        Op::Wiped => Ok(LifecycleUp::Wiped),
        Op::Decommission => Ok(LifecycleUp::Decommission),
        Op::Reset => Ok(LifecycleUp::Reset {
            factory: body.may_word("level", &[("user", false), ("factory", true)])?.unwrap_or(false),
            presence: body.may("presence", boolean, BOOLEAN)?.unwrap_or(false),
        }),
    }
}

/// `up/time`: the device's clock, in the body or in the envelope.
pub(super) fn time(body: Fields<'_>, opened: &Opened<'_>) -> Result<Option<Timestamp>, Refusal> {
    let in_body = match body.may("t0", instant, INSTANT)? {
        Some(t0) => Some(t0),
        None => body.may("t", instant, INSTANT)?,
    };
    Ok(in_body.or(opened.sender.t))
}
