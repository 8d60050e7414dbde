//! How persons, their homes and their words look over HTTP.

use hearthway_core::id::ProfileId;
use hearthway_core::model::{ConsentRecord, Device, Household, Preferences, Purpose};
use hearthway_core::time::DailyWindow;
use hearthway_core::wire::body_json;
use serde_json::{Value, json};

use super::request::Language;
use super::views::{
    decision, mandate as mandate_view, offer, order, slot, steps, time, time_or_null, usage, whole_list, whole_offer,
};
use crate::app::consent_texts::ConsentTextView;
use crate::app::consents;
use crate::app::devices::DeviceView;
use crate::app::export::PersonExport;
use crate::app::members::Invitation;
use crate::app::merges::MergeRow;
use crate::app::profiles::Person;
use crate::app::timeline::Happened;
use crate::engine::rows::ConsentSaid;

fn consent(who: &ProfileId, purpose: Purpose, record: &ConsentRecord) -> Value {
    json!({
        "purpose": purpose.as_str(), "granted": record.granted, "at": time(record.at),
        "source": record.source.as_str(), "method": record.method, "text_id": record.text_id,
        "expires_at": time_or_null(record.expires_at), "receipt": record.receipt(who, purpose),
    })
}

fn consent_items(person: &Person) -> Vec<Value> {
    let who = &person.profile.id;
    let item = |(purpose, record): (&Purpose, &ConsentRecord)| {
        let mut item = consent(who, *purpose, record);
        item["counts"] = person.permits.contains(purpose).into();
        item
    };
    consents::latest(who, &person.homes).iter().map(item).collect()
}

/// A person's consents.
pub fn consent_list(person: &Person) -> Value {
    whole_list(consent_items(person))
}

/// One word on a consent in the history.
pub fn consent_said(who: &ProfileId, said: &ConsentSaid) -> Value {
    let mut json = consent(who, said.purpose, &said.record);
    json["profile"] = who.as_str().into();
    json["heard_at"] = time(said.heard_at);
    json
}

/// A person: everything in one read.
pub fn person(person: &Person) -> Value {
    let profile = &person.profile;
    let links = person.homes.iter().flat_map(|home| {
        home.links.values().filter(|link| link.profile == profile.id).map(|link| {
            json!({
                "link": link.id, "device": link.device.device.as_str(), "maker": link.device.maker.as_str(),
                "household": home.id, "role": link.role.as_str(), "since": time(link.since),
            })
        })
    });
    let offers = person.homes.iter().flat_map(|home| home.offers.values().map(|this| offer(home.id, this)));
    let orders = person.homes.iter().flat_map(|home| home.orders.values().map(|this| order(home.id, this)));
    let flags = profile.flags.iter().map(
        |(flag, note)| json!({"flag": flag.as_str(), "since": time(note.at), "reason": note.reason, "by": note.by}),
    );
    json!({
        "profile": profile.id.as_str(),
        "display_name": profile.display_name,
        "locale": profile.locale,
        "tz": profile.zone.as_ref().map(|zone| zone.as_str()),
        "segments": profile.own_segments().collect::<Vec<_>>(),
        "audiences": profile.lists().collect::<Vec<_>>(),
        "loyalty": profile.loyalty.as_ref().map(|it| json!({"tier": it.tier, "points": it.points})),
        "identities": identities(person),
        "preferences": preferences(&profile.preferences),
        "flags": flags.collect::<Vec<_>>(),
        "merged_from": profile.merged_from.iter().map(ProfileId::as_str).collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "households": person.homes.iter().map(|home| home_of(person, home)).collect::<Vec<_>>(),
        "consents": consent_items(person),
        "offers": offers.collect::<Vec<_>>(),
        "orders": orders.collect::<Vec<_>>(),
    })
}

/// By what a person is recognised: the kinds, since the values are not kept.
fn identities(person: &Person) -> Vec<Value> {
    let known = &person.profile.identities;
    known.iter().map(|(identity, since)| json!({"type": identity.kind.as_str(), "since": time(*since)})).collect()
}

fn home_of(person: &Person, home: &Household) -> Value {
    json!({
        "household": home.id,
        "role": home.members.get(&person.profile.id).map(|member| member.role.as_str()),
        "tz": home.zone.as_ref().map(|zone| zone.as_str()),
        "locale": home.locale,
        "paused_until": time_or_null(home.paused_until),
        "devices": home.devices.keys().map(|key| key.device.as_str()).collect::<Vec<_>>(),
    })
}

/// What a person decides about being spoken to.
pub fn preferences(preferences: &Preferences) -> Value {
    let Preferences { quiet, per_day, per_week, channels, devices, pause_until, no_auto_order, unattended_max } =
        preferences;
    let window = |window: &DailyWindow| json!({"from": minute(window.from_minute), "to": minute(window.to_minute)});
    json!({
        "quiet": quiet.iter().map(window).collect::<Vec<_>>(),
        "frequency": {"per_day": per_day, "per_week": per_week},
        "channels": channels,
        "devices": devices.as_ref().map(|keys| keys.iter().map(|key| key.device.as_str()).collect::<Vec<_>>()),
        "pause_until": time_or_null(*pause_until),
        "auto_order": !no_auto_order,
        "unattended_max": unattended_max,
    })
}

fn minute(of_day: u16) -> String {
    format!("{:02}:{:02}", of_day / 60, of_day % 60)
}

/// The home of a device, with its people.
pub fn household(view: &DeviceView) -> Value {
    let home = &view.home;
    json!({
        "household": home.id,
        "tz": home.zone.as_ref().map(|zone| zone.as_str()),
        "locale": home.locale,
        "paused_until": time_or_null(home.paused_until),
        "devices": home.devices.values().map(|device| json!({
            "device": device.key.device.as_str(), "maker": device.key.maker.as_str(), "model": device.model.as_str(),
        })).collect::<Vec<_>>(),
        "members": home.members.values().map(|member| {
            let links = home.links.values().filter(|link| link.profile == member.profile);
            json!({
                "profile": member.profile.as_str(), "display_name": member.display_name,
                "role": member.role.as_str(),
                "links": links.map(|link| json!({
                    "link": link.id, "device": link.device.device.as_str(), "role": link.role.as_str(),
                    "since": time(link.since),
                })).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
    })
}

/// The people who are linked to a device.
pub fn members(view: &DeviceView) -> Value {
    let links = view.home.links.values().filter(|link| link.device == view.key);
    let items = links.map(|link| {
        json!({
            "profile": link.profile.as_str(), "role": link.role.as_str(), "link": link.id, "since": time(link.since),
        })
    });
    whole_list(items.collect())
}

/// An invitation, with its code: it is told once.
pub fn invitation(invitation: &Invitation) -> Value {
    let (first, second) = invitation.code.split_at(invitation.code.len() / 2);
    json!({
        "code": format!("{first}-{second}"), "device": invitation.device.device.as_str(),
        "role": invitation.role.as_str(), "expires_at": time(invitation.expires_at),
    })
}

/// A merge.
pub fn merge(row: &MergeRow) -> Value {
    json!({
        "merge": row.id, "from": row.from.as_str(), "into": row.into.as_str(), "at": time(row.at),
        "by": row.by, "state": row.state.as_str(), "households": row.homes, "undone_at": time_or_null(row.undone_at),
    })
}

/// A consent text in one version.
pub fn consent_text(view: &ConsentTextView) -> Value {
    let asks_since = (view.text.asks_since.0 > 0).then_some(view.text.asks_since);
    json!({
        "id": view.id, "version": view.version, "at": time(view.at), "purposes": view.text.purposes,
        "text": view.text.text, "asks_since": time_or_null(asks_since),
    })
}

/// One thing that happened.
pub fn happened(item: &Happened) -> Value {
    json!({
        "at": time(item.at), "what": item.what, "channel": item.channel, "detail": item.detail,
        "household": item.household, "device": item.device.as_ref().map(|key| key.device.as_str()),
        "offer": item.offer, "order": item.order, "profile": item.profile.as_ref().map(ProfileId::as_str),
    })
}

/// Everything about a person as JSON Lines; the last line says how many came before it.
pub fn export(all: &PersonExport, language: Language) -> String {
    let mut lines: Vec<Value> = Vec::new();
    let mut add = |kind: &str, mut value: Value| {
        if let Some(object) = value.as_object_mut() {
            object.insert("kind".into(), kind.into());
        }
        lines.push(value);
    };
    let parts = person(&all.person);
    let mut whole = parts.clone();
    if let Some(object) = whole.as_object_mut() {
        // These have lines of their own.
        object.retain(|part, _| !["offers", "orders", "identities", "links", "consents"].contains(&part.as_str()));
        object.insert("at".into(), time(all.at));
    }
    add("profile", whole);
    for (kind, part) in [("identity", "identities"), ("link", "links"), ("consent", "consents")] {
        for value in parts[part].as_array().into_iter().flatten() {
            add(kind, value.clone());
        }
    }
    for (who, said) in &all.said {
        add("consent_said", consent_said(who, said));
    }
    for (id, given) in &all.grants {
        add("grant", super::own_views::grant(id, given));
    }
    for home in &all.person.homes {
        let given = home.supply.mandates.values().filter(|mandate| mandate.profile == all.person.profile.id);
        for mandate in given {
            add("mandate", mandate_view(mandate));
        }
        let own = home.links.values().filter(|link| link.profile == all.person.profile.id);
        for device in own.filter_map(|link| home.devices.get(&link.device)) {
            add("device", device_data(device));
            if let Some(habit) = home.habits.get(&device.key) {
                let mut value = usage(habit, all.at);
                value["device"] = device.key.device.as_str().into();
                add("usage", value);
            }
        }
    }
    for (home, this) in &all.offers {
        add("offer", whole_offer(*home, this));
    }
    for (home, this) in &all.orders {
        add("order", order(*home, this));
    }
    for (home, at, input, candidate) in &all.decisions {
        let candidate = candidate.of_this_home();
        let mut value = decision(*at, *input, &candidate);
        value["household"] = home.to_string().into();
        value["steps"] = steps(&candidate, language).into();
        add("decision", value);
    }
    for (device, at, message) in &all.messages {
        add(
            "message",
            json!({
                "device": device.device.as_str(), "at": time(*at), "topic": message.topic(), "body": body_json(message),
            }),
        );
    }
    for item in &all.happened {
        add("happened", happened(item));
    }
    let count = lines.len();
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    text.push_str(&format!("{}\n", json!({"kind": "end", "lines": count})));
    text
}

/// What is known of a device itself.
fn device_data(device: &Device) -> Value {
    let reported = device
        .reported
        .iter()
        .map(|(field, reading)| (field.to_string(), json!({"value": reading.value.to_json(), "t": time(reading.t)})));
    json!({
        "device": device.key.device.as_str(), "maker": device.key.maker.as_str(), "model": device.model.as_str(),
        "serial": device.serial, "firmware": device.firmware,
        "reported": reported.collect::<serde_json::Map<_, _>>(),
        "slots": device.slots.iter().map(|(id, state)| slot(id.as_str(), state)).collect::<Vec<_>>(),
    })
}
