//! How things look to the customer whose they are: their own part of a home, and nothing of the shop's or of
//! other people.

use hearthway_core::model::Offer;
use hearthway_core::rules::RuleSet;
use serde_json::{Value, json};

use super::customer_views;
use super::views::{device_slots, time, time_or_null};
use crate::app::grants::Grant;
use crate::app::me::{OwnDevice, Why};
use crate::app::offers::order_of;
use crate::app::profiles::Person;

/// What is known of the person; what stands in a profile for the shop's own use (who flagged them, with which
/// reason) is in the export alone.
pub fn person(person: &Person) -> Value {
    let mut whole = customer_views::person(person);
    let shown = [
        "profile",
        "display_name",
        "locale",
        "tz",
        "segments",
        "audiences",
        "loyalty",
        "identities",
        "preferences",
        "links",
        "consents",
    ];
    if let Some(object) = whole.as_object_mut() {
        object.retain(|part, _| shown.contains(&part.as_str()));
    }
    whole
}

/// Leave that somebody has to read what a device reports; its token is told once, and not here.
pub fn grant(id: &str, grant: &Grant) -> Value {
    json!({
        "grant": id, "device": grant.device.device.as_str(), "party": grant.party, "since": time(grant.since),
        "until": time(grant.until),
    })
}

/// A device with the person's own link to it.
pub fn device(own: &OwnDevice, rules: &RuleSet) -> Value {
    let OwnDevice { view, link } = own;
    json!({
        "device": view.key.device.as_str(),
        "maker": view.key.maker.as_str(),
        "model": view.device.model.as_str(),
        "kind": view.description().map(|description| description.kind.as_str()),
        "presence": {"state": view.device.presence.state.as_str(), "since": time(view.device.presence.since)},
        "link": link.id,
        "role": link.role.as_str(),
        "since": time(link.since),
        "stolen": view.device.is_stolen(),
        "stay_until": view.device.stay_until().map(time),
        "slots": device_slots(view, rules)["items"],
    })
}

/// An offer, as it speaks to the customer.
pub fn offer(this: &Offer) -> Value {
    let price = this.price.as_ref().map(|price| {
        json!({
            "item": price.item, "delivery": price.delivery, "total": price.total,
            "was": price.was.filter(|was| *was != price.total), "tax_incl": price.tax_incl,
            "lock_until": time(price.lock_until),
        })
    });
    json!({
        "offer": this.id,
        "rev": this.rev,
        "device": this.device.device.as_str(),
        "kind": &*this.kind,
        "state": this.state.as_str(),
        "title": this.text.title,
        "body": this.text.body,
        "why": this.text.why,
        "locale": this.text.locale,
        "item": this.item.as_ref().map(|item| json!({"product": item.product.as_str(), "name": item.name, "qty": item.qty})),
        "price": price,
        "sold_by": this.sold_by,
        "ships_by": time_or_null(this.ships_by),
        "code": this.code.as_ref().map(|code| code.code.as_str()),
        "withdraw_days": this.withdraw_days,
        "actions": this.actions.iter().map(|action| action.as_str()).collect::<Vec<_>>(),
        "expires_at": time(this.expires_at),
        "order": order_of(this),
    })
}

/// Why an offer was made, with what the person permits and where they change it.
pub fn why(why: &Why) -> Value {
    json!({
        "offer": why.offer.id,
        "device": why.offer.device.device.as_str(),
        "at": time(why.offer.history.first().map_or(why.offer.valid_from, |first| first.at)),
        "in_short": why.offer.text.why,
        "because": why.because,
        "consents": customer_views::consent_list(&why.person)["items"],
        "you_can": {
            "answer": format!("/v1/me/offers/{}/answer", why.offer.id),
            "be_left_alone": "/v1/me/preferences",
            "withdraw": "/v1/me/consents",
        },
    })
}
