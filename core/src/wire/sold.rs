//! Bodies about what is offered and sold: receipts, answers, orders.

use super::fields::{Fields, INSTANT, NONCE, REVISION, Within, count, instant, invalid, some, text, word};
use super::read::shortened;
use super::{AnswerUp, OrderOp, OrderUp, ReceiptUp, ReceiptWord, ReplenishOp, ReplenishUp};
use crate::code::{Code, Refusal};
use crate::id::{OfferId, OrderId, PlacementId, StoreId};
use crate::input::{Answer, Choice};
use crate::model::Fulfil;

/// The offer that a message is about. A text that cannot be an offer's id names no offer we know.
fn offer(body: Fields<'_>) -> Result<OfferId, Refusal> {
    let given = body.need("offer", text, "the offer's id as it came in `down/offer`")?;
    given.parse().map_err(|_| {
        let message = format!("there is no offer `{}`; repeat the id as it came in `down/offer`", shortened(given));
        Refusal::new(Code::OfferUnknown, message).at("/offer")
    })
}

/// What a device does with an offer, by its words.
pub(super) const RECEIPTS: [(&str, ReceiptWord); 5] = [
    ("delivered", ReceiptWord::Delivered),
    ("shown", ReceiptWord::Shown),
    ("hidden", ReceiptWord::Hidden),
    ("suppressed_on_device", ReceiptWord::SuppressedOnDevice),
    ("expired", ReceiptWord::Expired),
];

/// `up/offer/receipt`.
pub(super) fn receipt(body: Fields<'_>) -> Result<ReceiptUp, Refusal> {
    Ok(ReceiptUp {
        offer: offer(body)?,
        rev: body.need("rev", count, REVISION)?,
        state: body.need_word("state", &RECEIPTS)?,
        t: body.may("t", instant, INSTANT)?,
    })
}

/// `up/offer/answer`.
pub(super) fn answer(body: Fields<'_>) -> Result<AnswerUp, Refusal> {
    #[derive(Clone, Copy)]
    enum Word {
        Accept,
        Decline,
        Snooze,
        NotNeeded,
        Why,
    }
    let offer = offer(body)?;
    let rev = body.need("rev", count, REVISION)?;
    let words = [
        ("accept", Word::Accept),
        ("decline", Word::Decline),
        ("snooze", Word::Snooze),
        ("not_needed", Word::NotNeeded),
        ("why", Word::Why),
    ];
    let answer = match body.need_word("answer", &words)? {
        Word::Accept => accept(body)?,
        Word::Decline => Answer::Decline,
        Word::Snooze => Answer::Snooze { until: body.may("until", instant, INSTANT)? },
        Word::NotNeeded => {
            let reason = body.may("reason", word, "a word such as `have_spare`")?;
            Answer::NotNeeded { reason: reason.map(str::to_owned) }
        }
        Word::Why => Answer::Why,
    };
    Ok(AnswerUp { offer, rev, answer, nonce: nonce(body)?, t: body.may("t", instant, INSTANT)? })
}

fn accept(body: Fields<'_>) -> Result<Answer, Refusal> {
    let Some(choice) = body.may_object("choice")? else { return Ok(Answer::accept(Choice::default())) };
    let qty = choice.may("qty", some, "a whole number from 1").within("/choice")?;
    let ways = [("deliver", Fulfil::Deliver), ("collect", Fulfil::Collect)];
    let fulfil = choice.may_word("fulfil", &ways).within("/choice")?;
    let store = match choice.get("store") {
        Some(_) => {
            Some(choice.need_name("store", StoreId::new, "a store of the offer, such as `st-12`").within("/choice")?)
        }
        None => None,
    };
    let alternative = choice.may("alternative", word, "an alternative of the offer, such as `a1`").within("/choice")?;
    Ok(Answer::accept(Choice { qty, fulfil, store, alternative: alternative.map(str::to_owned) }))
}

/// What makes a repeated press harmless.
fn nonce(body: Fields<'_>) -> Result<Option<String>, Refusal> {
    Ok(body.may("nonce", word, NONCE)?.map(str::to_owned))
}

/// `up/offer/get`.
pub(super) fn get(body: Fields<'_>) -> Result<Option<PlacementId>, Refusal> {
    if body.get("placement").is_none() {
        return Ok(None);
    }
    body.need_name("placement", PlacementId::new, "a placement as in `desc`, such as `home.card`").map(Some)
}

/// `up/replenish`.
pub(super) fn replenish(body: Fields<'_>) -> Result<ReplenishUp, Refusal> {
    let order = match body.get("order") {
        Some(_) => Some(order_id(body, "the order's id as it came in `down/replenish`")?),
        None => None,
    };
    let words = [("cancel", "cancel"), ("later", "later"), ("not_needed", "not_needed")];
    let op = match body.need_word("op", &words)? {
        "later" => ReplenishOp::Later { until: body.may("until", instant, INSTANT)? },
        "not_needed" => {
            let reason = body.may("reason", word, "a word such as `have_spare`")?;
            ReplenishOp::NotNeeded { reason: reason.map(str::to_owned) }
        }
        _ => ReplenishOp::Cancel,
    };
    Ok(ReplenishUp { order, op, nonce: nonce(body)? })
}

/// `up/order`.
pub(super) fn order(body: Fields<'_>) -> Result<OrderUp, Refusal> {
    let order = order_id(body, "the order's id as it came in `down/order`")?;
    let ops = [("cancel", OrderOp::Cancel), ("withdraw", OrderOp::Withdraw), ("problem", OrderOp::Problem)];
    Ok(OrderUp { order, op: body.need_word("op", &ops)?, nonce: nonce(body)? })
}

fn order_id(body: Fields<'_>, expected: &'static str) -> Result<OrderId, Refusal> {
    let given = body.need("order", text, expected)?;
    given.parse().map_err(|_| {
        let message = format!("`{}` is no order's id; write {expected}", shortened(given));
        invalid(message).at("/order")
    })
}
