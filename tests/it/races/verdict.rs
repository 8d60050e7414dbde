//! The verdict on a round, from what was said and told alone: HTTP answers, MQTT messages and the state
//! that the shop reads at the end. Nothing here knows how the gateway decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::book::{Attempt, Book, Outcome, Quote, milliseconds};
use super::door::Window;
use super::home::Ending;
use super::market::{DELIVERY, Ledger, OTHER, OWN};
use super::script::Act;

/// What became of homes, so that a run shows that it was worth it.
#[derive(Default, Debug)]
pub struct Tally(pub BTreeMap<String, usize>);

impl Tally {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
    pub fn of(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or(0)
    }
}

/// Goods that were put aside at some instant of a window, and what became of them.
struct Hold {
    qty: u32,
    taken: Window,
    freed: Option<Window>,
    gone: Option<Window>,
}

/// All that is wrong with a round.
pub fn faults(
    endings: &[Ending],
    ledger: &Ledger,
    orders: &[Value],
    stock: &Value,
    product: &Value,
    end: Window,
    tally: &mut Tally,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut holds: BTreeMap<&str, Vec<Hold>> = BTreeMap::new();
    let endings: Vec<&Ending> = endings.iter().filter(|ending| !ending.offer.is_null()).collect();
    for ending in &endings {
        let offer = ending.offer["offer"].as_str().unwrap();
        let of_offer: Vec<&Value> = orders.iter().filter(|order| order["offer"] == offer).collect();
        let book = ending.home.book.lock().unwrap();
        let mut wrong = of_home(&book, ending, &of_offer, ledger, tally, &mut holds);
        wrong.extend(book.faults.iter().cloned());
        drop(book);
        if !wrong.is_empty() {
            faults.push(ending.home.told(&wrong.join("\n")));
        }
    }
    let offers: BTreeSet<&str> = endings.iter().map(|ending| ending.offer["offer"].as_str().unwrap()).collect();
    for order in orders.iter().filter(|order| !offers.contains(order["offer"].as_str().unwrap())) {
        faults.push(format!("an order of an offer that nobody was told of: {order}"));
    }
    let tills =
        ledger.tills.iter().map(|till| Hold { qty: till.qty, taken: till.taken, freed: till.freed, gone: None });
    holds.entry(STORE).or_default().extend(tills);
    for (place, counts) in [(STORE, &ledger.in_store), (OTHER, &ledger.at_other)] {
        let holds = holds.remove(place).unwrap_or_default();
        for hold in &holds {
            let counted =
                counts.possible(hold.taken).map(|count| count.map_or(u64::MAX, u64::from)).max().unwrap_or(u64::MAX);
            let others = holds
                .iter()
                .filter(|other| !std::ptr::eq(*other, hold) && is_taken_throughout(other, hold.taken, counts.all()));
            let others: u64 = others.map(|other| u64::from(other.qty)).sum();
            if others + u64::from(hold.qty) > counted {
                faults.push(format!(
                    "{} were put aside at {place} in {:?} where {others} of {counted} were taken",
                    hold.qty, hold.taken
                ));
            }
        }
        if place == STORE {
            faults.extend(of_stock(stock, &holds, ledger, end));
        }
    }
    let price = product["price"]["minor"].as_i64();
    if !ledger.own.possible(end).any(|told| *told == price) {
        faults.push(format!("the shop's last word on the price was not {price:?}"));
    }
    let other = product["sellers"]
        .as_array()
        .and_then(|sellers| sellers.first())
        .and_then(|seller| seller["price"]["minor"].as_i64());
    if !ledger.other.possible(end).any(|told| *told == other) {
        faults.push(format!("the last word on the other seller was not {other:?}"));
    }
    faults
}

const STORE: &str = "st-1";

/// Whether goods are put aside in all of a window, whatever the instants were.
fn is_taken_throughout(hold: &Hold, window: Window, counts: &[(Option<u32>, Window)]) -> bool {
    // What left is off until the next count alone.
    let may_be_counted_out =
        |gone: Window| counts.iter().any(|(_, count)| count.to >= gone.from && count.from <= window.to);
    hold.taken.to <= window.from
        && hold.freed.is_none_or(|freed| freed.from >= window.to)
        && !hold.gone.is_some_and(may_be_counted_out)
}

/// What is counted, put aside and left belong together at the end.
fn of_stock(stock: &Value, holds: &[Hold], ledger: &Ledger, end: Window) -> Vec<String> {
    let on_hand = stock["on_hand"].as_u64();
    let reserved = stock["reserved"].as_u64().unwrap();
    let mut faults = Vec::new();
    if !ledger.in_store.possible(end).any(|count| count.map(u64::from) == on_hand) {
        faults.push(format!("the shop's last count was not {on_hand:?}"));
    }
    if stock["free"].as_u64() != on_hand.map(|on_hand| on_hand.saturating_sub(reserved)) {
        faults.push(format!("what is left is not what was counted without what is put aside: {stock}"));
    }
    let held = holds.iter().filter(|hold| hold.freed.is_none());
    let surely = |hold: &&Hold| is_taken_throughout(hold, end, ledger.in_store.all());
    let possibly = |hold: &&Hold| {
        let counted_out = |gone: Window| ledger.in_store.all().iter().any(|(_, count)| count.from >= gone.to);
        !hold.gone.is_some_and(counted_out)
    };
    let sum = |holds: Vec<&Hold>| holds.iter().map(|hold| u64::from(hold.qty)).sum::<u64>();
    let least = sum(held.clone().filter(surely).collect());
    let most = sum(held.filter(possibly).collect()) + ledger.ghosts;
    if !(least..=most).contains(&reserved) {
        faults.push(format!("{reserved} are put aside; by what was told it is {least} to {most}: {stock}"));
    }
    faults
}

fn of_home<'e>(
    book: &Book,
    ending: &'e Ending,
    of_offer: &[&'e Value],
    ledger: &Ledger,
    tally: &mut Tally,
    holds: &mut BTreeMap<&'e str, Vec<Hold>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let state = ending.offer["state"].as_str().unwrap();
    tally.count(format!("offer {state}"));
    if of_offer.len() > 1 {
        faults.push(format!("{} orders of one offer", of_offer.len()));
    }
    let named: BTreeSet<&String> = book.orders.iter().map(|(_, order)| order).collect();
    if named.len() > 1 {
        faults.push(format!("channels were told of different orders: {:?}", book.orders));
    }
    let presses = book.attempts.iter().filter(|one| {
        book.attempts.iter().any(|other| {
            other.channel != one.channel && one.window.from <= other.window.to && other.window.from <= one.window.to
        })
    });
    if presses.count() > 0 {
        tally.count("pressed on two channels at once");
    }
    for attempt in &book.attempts {
        if let Outcome::Refused { code, .. } = &attempt.outcome {
            tally.count(code.clone());
        }
    }
    let Some(order) = of_offer.first() else {
        if state == "accepted" || !named.is_empty() {
            faults.push(format!("the offer is {state}, order {named:?} was told of, and there is none"));
        }
        return faults;
    };
    tally.count(format!("order {}", order["state"].as_str().unwrap()));
    if state != "accepted" || ending.offer["order"] != order["order"] {
        faults.push(format!("an order of an offer that is {state}"));
    }
    if named.iter().any(|named| order["order"] != ***named) {
        faults.push(format!("there is another order than was told: {named:?}"));
    }
    if ending.order.as_ref() != Some(order) {
        faults.push(format!("the list of orders has it otherwise: {order}"));
    }
    for done in book.done.iter().filter(|done| done.act == Act::Decline && done.state == "declined") {
        faults.push(format!("an order though {} declined: {done:?}", done.channel.word()));
    }
    faults.extend(of_course(book, order));
    let candidates: Vec<&Attempt> = book.attempts.iter().filter(|attempt| may_have_made(attempt, order)).collect();
    let why: Vec<String> = candidates.iter().filter_map(|attempt| unlawful(book, attempt, order, ledger)).collect();
    if why.len() == candidates.len() {
        faults.push(format!("nobody's accept can have made {order}: {why:?}"));
    }
    let taken = Window {
        from: candidates.iter().map(|attempt| attempt.window.from).min().unwrap_or_default(),
        to: candidates.iter().map(|attempt| attempt.window.to).max().unwrap_or_default(),
    };
    let place = match order["pickup"]["store"].as_str() {
        Some(store) => Some(store),
        None => order["sold_by"].as_str().filter(|seller| *seller == OTHER),
    };
    if let Some(place) = place {
        let qty = u32::try_from(order["lines"][0]["qty"].as_u64().unwrap()).unwrap();
        let done = |states: &[&str]| {
            let of_order = book.done.iter().filter(|done| done.act != Act::Decline || done.state == "accepted");
            let found = of_order.filter(|done| states.contains(&done.state.as_str()) || done.act == Act::Decline);
            found.map(|done| done.window).reduce(|a, b| Window { from: a.from.min(b.from), to: a.to.max(b.to) })
        };
        let undone = (order["state"] == "cancelled")
            .then(|| done(&["cancelled"]).unwrap_or(Window { from: taken.from, to: Duration::MAX }));
        // Who was told that it is cancelled may have come second.
        let first = book.not_wanted_on_device.iter().map(|window| window.from).min();
        let undone =
            undone.map(|undone| Window { from: first.map_or(undone.from, |first| first.min(undone.from)), ..undone });
        let gone = (order["state"] == "shipped")
            .then(|| done(&["shipped"]).unwrap_or(Window { from: taken.from, to: Duration::MAX }));
        holds.entry(place).or_default().push(Hold { qty, taken, freed: undone, gone });
    }
    faults
}

/// An order moves on by one revision at a time, ends once, and its device was told the same.
fn of_course(book: &Book, order: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let state = order["state"].as_str().unwrap();
    let rev = order["rev"].as_u64().unwrap();
    for done in &book.done {
        let ends = matches!(
            (done.act, done.state.as_str()),
            (Act::Cancel | Act::Withdraw, "cancelled") | (Act::Ship, "shipped")
        );
        if ends && state != done.state {
            faults.push(format!("{} was told {}, and the order is {state}", done.channel.word(), done.state));
        }
        if done.act == Act::Decline && done.state == "accepted" && state != "cancelled" {
            faults.push(format!("who declines what was accepted cancels it; the order is {state}"));
        }
    }
    let mut told: BTreeMap<u32, (&String, i64)> = BTreeMap::new();
    for (rev, state, total) in &book.order_on_device {
        if told.insert(*rev, (state, *total)).is_some_and(|known| known != (state, *total)) {
            faults.push(format!("the device was told two things of revision {rev}"));
        }
    }
    let last = told.last_key_value().map(|(rev, (state, total))| (u64::from(*rev), state.as_str(), *total));
    if last != Some((rev, state, order["total"]["minor"].as_i64().unwrap())) {
        faults.push(format!("the device was last told {last:?}, and it stands {order}"));
    }
    faults
}

/// Whether this accept can be the one.
fn may_have_made(attempt: &Attempt, order: &Value) -> bool {
    let by = order["history"][0]["cause"].as_str().unwrap();
    let is_ours = match &attempt.outcome {
        Outcome::Taken => true,
        Outcome::Order(told) => order["order"] == **told,
        Outcome::Refused { may_be_ours, code, .. } => *may_be_ours && code == "offer.already_accepted",
    };
    is_ours && by == attempt.channel.word()
}

/// Why this accept cannot have made this order: no quote that was told and held makes it so.
fn unlawful(book: &Book, attempt: &Attempt, order: &Value, ledger: &Ledger) -> Option<String> {
    // The customer shows at the counter what the app showed, and answers on the device what both did.
    let Some(quote) = book.on_device.get(&attempt.rev).or_else(|| book.in_app.get(&attempt.rev)) else {
        return Some(format!("revision {} was told to nobody", attempt.rev));
    };
    if attempt.rev != book.last_rev {
        return Some(format!("it is to revision {}, and {} was told", attempt.rev, book.last_rev));
    }
    let minor = |money: &Value| money["minor"].as_i64().unwrap();
    let line = &order["lines"][0];
    let (piece, qty) = (minor(&line["price"]), line["qty"].as_i64().unwrap());
    let made_at = milliseconds(&order["created_at"]);
    if made_at >= quote.expires_at {
        return Some("the offer had ended".to_owned());
    }
    if qty != i64::from(attempt.choice.qty) || (order["fulfil"] == "collect") != attempt.choice.collect {
        return Some("it is not what was chosen".to_owned());
    }
    let (sold_by, quoted) = match quoted(quote, attempt) {
        Some(quoted) => quoted,
        None => return Some("there was no such alternative".to_owned()),
    };
    if order["sold_by"] != *sold_by {
        return Some(format!("{sold_by} was accepted"));
    }
    let is_own = sold_by == OWN;
    let delivery = if is_own && !attempt.choice.collect { DELIVERY } else { 0 };
    if minor(&order["total"]) != piece * qty + delivery {
        return Some(format!("the total is not {qty} × {piece} + {delivery}"));
    }
    let present = if is_own { &ledger.own } else { &ledger.other };
    if !ledger.own.possible(attempt.window).any(Option::is_some)
        || !present.possible(attempt.window).any(Option::is_some)
    {
        return Some("it was not sold any more".to_owned());
    }
    if made_at < quote.lock_until {
        return (piece != quoted).then(|| format!("inside its lock the price is {quoted}"));
    }
    if piece > quoted {
        return Some(format!("behind its lock it is higher than the {quoted} that was seen"));
    }
    let is_present = present.possible(attempt.window).any(|known| *known == Some(piece));
    (!is_present).then(|| "behind its lock it is not the present one".to_owned())
}

/// Who sells, and what a piece was said to cost.
fn quoted<'q>(quote: &'q Quote, attempt: &Attempt) -> Option<(&'q str, i64)> {
    match &attempt.alternative {
        None => Some((&quote.sold_by, quote.piece)),
        Some(id) => {
            let (_, total, sold_by) = quote.alternatives.iter().find(|(known, ..)| known == id)?;
            // The alternative's total is of one piece, brought home.
            Some((sold_by, total - if sold_by == OWN { DELIVERY } else { 0 }))
        }
    }
}
