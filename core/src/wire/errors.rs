//! Every code with its cause and its cure: the source of `docs/errors.md`.

use crate::code::Code;

/// The page that documents the codes.
pub const ERRORS_PAGE: &str = "docs/errors.md";

/// Where a code is documented: `docs/errors.md#slot-unknown`.
pub fn doc_anchor(code: Code) -> String {
    format!("{ERRORS_PAGE}#{}", anchor(code))
}

/// A code as the anchor of its heading: `slot.unknown` → `slot-unknown`.
fn anchor(code: Code) -> String {
    code.as_str().replace(['.', '_'], "-")
}

/// What leads to a code, and what its receiver does about it.
pub fn cause_and_cure(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::PayloadInvalid => (
            "The message is not valid JSON, nests deeper than 8, holds a key twice, or a member has not the shape that its message asks for. `pointer` names the place.",
            "Mend the member that `pointer` names, as `message` says. Sending the same again is refused again.",
        ),
        Code::PayloadTooLarge => (
            "The payload is above 16 KiB, a text above 1 KiB, a message above 200 samples, a sample above 64 fields, or all objects together above 2048 members.",
            "Split the message: several smaller ones, each with its own `id`.",
        ),
        Code::VersionUnsupported => (
            "`v` names a major version that this gateway does not serve on this topic root.",
            "Write `\"v\":\"1.0\"` on `chan/v1`, or update the gateway first.",
        ),
        Code::TopicNotAllowed => (
            "The topic is not the sender's own, or no message is defined on it.",
            "Publish below `chan/v1/{maker}/{device}/` with the names of your own user name: `presence`, `desc` and the messages below `up/`. Ten such publishes a minute end the connection.",
        ),
        Code::QosUnsupported => (
            "The quality of service is not served for this message.",
            "Publish with QoS 1; QoS 0 is for `up/telemetry` and `up/time`.",
        ),
        Code::DescInvalid => (
            "The description names a model that the maker has not registered, or contradicts itself: a name declared twice, `min` above `max`, an unknown unit, too many entries.",
            "Register the model with `PUT /v1/models/{model}` first, or correct what `pointer` names.",
        ),
        Code::FieldUnknown => (
            "A telemetry field is not declared by the device's description or model, or its value has another type than declared.",
            "Declare the field in `desc` or in the model, or send the declared name and type.",
        ),
        Code::DeviceUnknown => (
            "No device of this maker has this name.",
            "Provision the device, or register it with `POST /v1/devices:bulk`. A device is never made by its first message.",
        ),
        Code::DeviceSuspended => (
            "The operator, the maker or the retailer suspended the device, or its main connection was taken over more than 3 times a minute, as happens when two units share one identity; or its owner said that it was stolen.",
            "Find the reason in `GET /v1/devices/{device}`; resume it there once it is mended. What its owner said, they or their shop take back (`DELETE …/stolen`).",
        ),
        Code::DeviceNotLinked => (
            "The device belongs to no household, and the message needs one.",
            "Let a customer claim the device: send `up/claim` with `{\"op\":\"start\"}` and show the code.",
        ),
        Code::ProvSerialUnknown => (
            "The maker keeps a list of serials, and this one is not on it.",
            "Add the serial to the maker's list, or correct the serial in the firmware.",
        ),
        Code::ProvSerialTaken => (
            "A device with this serial has used its own credential already.",
            "Use the stored credential; where it is lost, the maker resets the serial and the device provisions again.",
        ),
        Code::ProvQuota => (
            "The maker has provisioned as many devices as its quota allows.",
            "Ask the operator for a larger quota, then try again; keep the same serial.",
        ),
        Code::ProvReplayed => (
            "The nonce was used before for another request.",
            "Draw a new random nonce of at least 22 characters for each request.",
        ),
        Code::ClaimExpired => (
            "The claim code is unknown, was used, or is older than 10 minutes.",
            "Start again on the device to show a fresh code, and enter it within 10 minutes.",
        ),
        Code::ClaimAlreadyLinked => (
            "The device is linked to a household, and nobody showed presence at the device.",
            "Reset the device locally and start with `\"presence\":true`, or let the owner release it.",
        ),
        Code::ClaimLocked => (
            "Five wrong codes were entered for one customer within 10 minutes, or by one token in previews that name no `profile`; or as many serial numbers were asked for that cannot be claimed.",
            "Wait as long as `retry_after_s` says, then enter the code that the device shows.",
        ),
        Code::SigMissing => (
            "The message orders, cancels, grants, resets or transfers over an external broker and has no `sig`.",
            "Sign it: HMAC-SHA256 with the device's secret as the contract describes.",
        ),
        Code::SigBad => (
            "`sig` does not match the message and the device's secret.",
            "Sign topic, epoch, seq, nonce and the SHA-256 of the very bytes of `body` that are sent; use the current secret; write lower-case hex.",
        ),
        Code::SeqReplayed => (
            "The sequence number or the nonce was used before.",
            "Raise `seq` by one for each message over the device's life, and draw a new nonce for each press.",
        ),
        Code::ClockUntrusted => (
            "The message needs a time that can be believed, and the device's clock is more than 120 s off.",
            "Set the clock from `down/time`, or send `up_ms` and leave `t` null.",
        ),
        Code::SlotUnknown => (
            "The device has no slot of this name, or it is of another kind.",
            "Declare the slot in `desc` or in the model, or send the declared `slot` and `kind`.",
        ),
        Code::UnitMismatch => (
            "The unit is not the declared one, or not one of the contract.",
            "Send the value in the declared unit, or leave `unit` out.",
        ),
        Code::StateVersionConflict => (
            "The desired state, or the order, has moved on since the version or `rev` that is named; or an order cannot get to the state that is asked for.",
            "Fetch what stands now, with `up/sync` or over HTTP, and change that version.",
        ),
        Code::OfferUnknown => (
            "The device has no offer or order with this id: it ended long ago, it was a former owner's, or the id is wrong.",
            "Drop the card, and fetch the current set with `up/sync`.",
        ),
        Code::OfferExpired => (
            "The offer ended before the answer arrived.",
            "Take the card down; a new offer comes if it is still wanted.",
        ),
        Code::OfferWithdrawn => (
            "The offer was taken back: consent ended, the shop recalled it, stock ran out, or a newer one replaced it.",
            "Take the card down.",
        ),
        Code::OfferAlreadyAccepted => (
            "The offer was accepted before, here or on another channel; there is one order.",
            "Show the order that came on `down/order`; do not ask again.",
        ),
        Code::OfferPriceChanged => (
            "The price changed after its lock ended, or the seller or store has none left and another one is asked about.",
            "Show the offer's new revision and let the person confirm again.",
        ),
        Code::OfferOutOfStock => (
            "Nobody who may sell the product has enough of it for what was asked at most, or it is not sold any more.",
            "Take the card down (a withdrawal of it comes too); nothing was ordered. A reservation in a store: ask for fewer, or another store.",
        ),
        Code::OfferBudgetExhausted => (
            "What the shop gives for this offer is used up: other homes were faster.",
            "Take the card down (a withdrawal of it comes too); nothing was ordered. The shop may raise `limits.budget`.",
        ),
        Code::OfferNotAllowed => (
            "The answer is not among the offer's `actions`, or this person may not give it.",
            "Offer only the buttons that `actions` lists; a buyer or owner of the household accepts.",
        ),
        Code::OrderNotCancellable => (
            "The order has left for the shop, or has ended.",
            "Send `withdraw` instead, or contact the shop. Show cancel only while `can` lists it.",
        ),
        Code::OrderInCancelWindow => (
            "The customer can still cancel, so the shop cannot drive the order yet.",
            "Try again after `cancel_until`.",
        ),
        Code::MandateLimit => (
            "An automatic order would exceed the price, number or time that the customer allowed.",
            "Ask the customer: the proposal travels as an ordinary offer.",
        ),
        Code::ConsentMissing => (
            "The customer has not given the consent that this needs, or has withdrawn it.",
            "Ask for the consent; without it nothing is sent.",
        ),
        Code::RateLimited => (
            "Too many messages in too little time.",
            "Wait as long as `retry_after_s` says, and send less often: several samples fit into one message.",
        ),
        Code::InternalRetry => (
            "The gateway could not make the message durable.",
            "Send the same message again, with the same `id`, after `retry_after_s`.",
        ),
    }
}

/// `docs/errors.md` as a whole: every code with its HTTP status, cause and cure.
pub fn errors_page() -> String {
    let mut page = String::from(
        "# Error codes\n\n\
         Every refusal carries one of these stable codes: on `down/error` as `code`, over HTTP as `code` of the \
         problem body with the status given here.\n",
    );
    for code in Code::ALL {
        let (cause, cure) = cause_and_cure(*code);
        page.push_str(&format!(
            "\n<a id=\"{}\"></a>\n## `{code}`\n\nHTTP {}.\n\n**Cause.** {cause}\n\n**Cure.** {cure}\n",
            anchor(*code),
            code.http_status(),
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_cause_and_a_cure_of_its_own() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let (cause, cure) = cause_and_cure(*code);
            assert!(cause.len() > 15 && cause.ends_with('.'), "{code}: {cause}");
            assert!(cure.len() > 15 && cure.ends_with('.'), "{code}: {cure}");
            assert!(seen.insert(cause), "{code} repeats a cause");
        }
    }

    #[test]
    fn the_page_has_the_anchor_that_errors_point_to() {
        let page = errors_page();
        assert_eq!(doc_anchor(Code::SlotUnknown), "docs/errors.md#slot-unknown");
        for code in Code::ALL {
            let (file, anchor) =
                doc_anchor(*code).split_once('#').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("an anchor");
            assert_eq!(file, ERRORS_PAGE);
            assert!(page.contains(&format!("<a id=\"{anchor}\"></a>\n## `{code}`\n")), "{code}");
        }
    }
}
