//! When the people of a home use a device: learned only while they permit it, and forgotten with that word.

use super::draft::Draft;
use super::steps::Look;
use crate::decision::Change;
use crate::id::DeviceKey;
use crate::input::What;
use crate::limits::QUIET_END_JITTER;
use crate::model::{Habit, Household, Purpose};
use crate::rules::RuleSet;
use crate::time::{DailyWindow, Span, Timestamp, Zone};
use crate::wire::DeviceMessage;

/// Somebody used the device.
pub(super) fn learn(draft: &mut Draft<'_>, key: &DeviceKey, at: Timestamp) {
    let (rules, now) = (draft.rules, draft.now);
    let home = draft.home();
    let Some(zone) = &home.zone else { return };
    if !may_learn(home, rules, key, now) {
        return;
    }
    let known = home.habits.get(key).map_or_else(Default::default, |habit| (**habit).clone());
    if let Some(habit) = known.with(at, zone) {
        draft.change(Change::HabitSet { device: key.clone(), habit: Some(Box::new(habit)) });
    }
}

/// What nobody permits to know any more is forgotten.
pub(super) fn forget_unwelcome(draft: &mut Draft<'_>) {
    let (rules, now) = (draft.rules, draft.now);
    let home = draft.home();
    let unwelcome = home.habits.keys().filter(|key| !may_learn(home, rules, key, now));
    let unwelcome: Vec<DeviceKey> = unwelcome.cloned().collect();
    for device in unwelcome {
        draft.change(Change::HabitSet { device, habit: None });
    }
}

fn may_learn(home: &Household, rules: &RuleSet, key: &DeviceKey, now: Timestamp) -> bool {
    home.consent_for(rules, key, Purpose::ProfilingUsage, now).is_some()
}

/// What is known of when the device is used, where it says anything and may be read.
fn known<'a>(look: &Look<'a>) -> Option<&'a Habit> {
    let habit = look.home.habits.get(&look.device.key).filter(|habit| habit.is_known(look.now))?;
    may_learn(look.home, look.rules, &look.device.key, look.now).then_some(&**habit)
}

/// When an offer should leave that waits for an hour in which the device is used.
pub(super) enum HourOfUse {
    /// The trigger does not wait for one.
    NotAsked,
    /// None is known, or none comes in time: now is as good as later.
    Unknown,
    /// Somebody is there now.
    Now,
    /// At the next one.
    At {
        /// When it begins.
        at: Timestamp,
        /// The hour at which the device is used most.
        usual: u8,
    },
}

/// The first instant from `from` on at which the device is usually used, outside `quiet`: within a day, and before the
/// offer ends.
pub(super) fn hour_of_use(look: &Look<'_>, zone: &Zone, quiet: &[DailyWindow], from: Timestamp) -> HourOfUse {
    let is_used_now = matches!(look.input.what, What::Device(DeviceMessage::Event(_)));
    let (Some(habit), false) = (known(look), is_used_now) else {
        return if is_used_now { HourOfUse::Now } else { HourOfUse::Unknown };
    };
    let is_good = |at: &Timestamp| {
        let local = zone.local(*at);
        // The cast keeps all of 0 to 23.
        habit.is_habitual(local.hour() as u8, look.now) == Some(true) && !quiet.iter().any(|it| it.contains(local))
    };
    let minute = i64::from(zone.local(from).minute());
    let next_hour = Timestamp(from.0 - from.0.rem_euclid(60_000)) + Span::minutes(60 - minute);
    let mut hours = std::iter::once(from).chain((0..24).map(|hour| next_hour + Span::hours(hour)));
    let ends_at = match look.wake.cause.held().and_then(|held| look.home.offers.get(&held)) {
        Some(held) => held.expires_at,
        None => look.now + look.trigger.offer.expires,
    };
    match (hours.find(is_good), habit.usual_hour(look.now)) {
        (Some(at), _) if at == look.now => HourOfUse::Now,
        (Some(at), Some(usual)) if at + QUIET_END_JITTER < ends_at => HourOfUse::At { at, usual },
        _ => HourOfUse::Unknown,
    }
}
