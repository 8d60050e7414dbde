//! Unique codes: each on one offer, whatever happens to offers and to the disk.

use std::collections::BTreeSet;

use hearthway_core::input::Answer;
use hearthway_core::trace::Step;
use hearthway_core::wire::{ReceiptUp, ReceiptWord};

use super::budgets::{Street, shop, worn};
use super::*;
use crate::engine::codes::PoolCounts;
use crate::engine::rows::{self, CodeRow};

fn pool() -> PoolId {
    PoolId::new("HEAT26").unwrap()
}

impl Street {
    fn with_codes(codes: &[&str]) -> Street {
        let street = Street::of(worn("discount = { code_pool = \"HEAT26\" }", "Votre code : {{ discount.code }}", ""));
        let codes: Vec<_> = codes.iter().map(|code| UniqueCode::new(code).unwrap()).collect();
        let free = CodeRow { state: CodeState::Free, offer: None };
        let put = |code| rows::put(Schema::Code, keys::code(&shop(), &pool(), code), &free);
        let writes = codes.iter().map(put).collect();
        street.home.store.commit(&[Commit { preconditions: Vec::new(), writes }]).unwrap();
        street.home.engine.codes_imported(&shop(), &pool(), codes);
        street
    }

    fn counts(&self) -> PoolCounts {
        let counts = self.home.engine.pool_counts(&shop(), &pool()).unwrap();
        assert_eq!(counts.free, self.home.engine.codes_left(&shop(), &pool()), "memory and disk agree: {counts:?}");
        counts
    }

    fn command_of(&self, device: &DeviceKey, command: Command) {
        self.home.command(device, command);
        self.home.settle();
    }

    fn receipt(&self, device: &DeviceKey, offer: OfferId, state: ReceiptWord) {
        let said = ReceiptUp { offer, rev: 1, state, t: None };
        self.home.say(device, "receipt", DeviceMessage::Receipt(said));
        self.home.settle();
    }
}

fn answer(offer: OfferId, answer: Answer) -> Command {
    Command::AnswerOffer { offer, rev: 1, answer, channel: "app".into(), profile: None }
}

fn withdraw(offer: OfferId) -> Command {
    Command::WithdrawOffer { offer, reason: "a mistake".into() }
}

fn code_of(offer: &Offer) -> String {
    offer.code.as_ref().unwrap().code.to_string()
}

#[test]
fn every_offer_has_a_code_of_its_own_and_without_one_none_leaves() {
    let street = Street::with_codes(&["A-1", "A-2"]);
    let devices: Vec<_> = (0..3).map(|n| street.moves_in(n)).collect();
    // Decided before anything is on disk: two homes never see the same code as free.
    devices.iter().for_each(|device| street.wears(device));
    street.home.settle();
    let offers: Vec<Offer> = devices.iter().filter_map(|device| street.offer_of(device)).collect();
    let codes: BTreeSet<String> = offers.iter().map(code_of).collect();
    assert_eq!((offers.len(), codes.len()), (2, 2));
    for offer in &offers {
        assert_eq!(offer.text.body, format!("Votre code : {}", code_of(offer)));
    }
    let silent = devices.iter().find(|device| street.offer_of(device).is_none()).unwrap();
    let household = street.home.engine.route(silent).unwrap().household;
    let rows = street.home.log(household);
    let trace = rows.iter().flat_map(|row| &row.candidates).next_back().unwrap();
    let step = trace.steps.iter().find(|step| step.step == Step::Budget).unwrap();
    assert_eq!((trace.first_block, step.code()), (Some(Step::Budget), "code_pool_empty"));
    assert_eq!(street.counts(), PoolCounts { reserved: 2, ..PoolCounts::default() });
    for device in &devices {
        let household = street.home.engine.route(device).unwrap().household;
        assert_eq!(street.home.engine.replay(household).unwrap().differences, []);
    }
}

#[test]
fn a_code_goes_back_only_where_nobody_can_have_seen_it() {
    let mut street = Street::with_codes(&["A-1", "A-2", "A-3", "A-4"]);
    let devices: Vec<_> = (0..5).map(|n| street.moves_in(n)).collect();
    let offers: Vec<Offer> = devices[..4].iter().map(|device| street.wears_out(device).unwrap()).collect();
    street.command_of(&devices[0], answer(offers[0].id, Answer::Accept { qty: None, fulfil: None }));
    street.receipt(&devices[1], offers[1].id, ReceiptWord::Shown);
    street.command_of(&devices[1], withdraw(offers[1].id));
    street.command_of(&devices[2], answer(offers[2].id, Answer::Decline));
    assert_eq!(street.counts(), PoolCounts { free: 0, reserved: 1, shown: 2, used: 1 }, "declined is seen");
    street.command_of(&devices[3], withdraw(offers[3].id));
    assert_eq!(street.counts(), PoolCounts { free: 1, reserved: 0, shown: 2, used: 1 });
    street.again();
    assert_eq!(street.counts(), PoolCounts { free: 1, reserved: 0, shown: 2, used: 1 });
    let next = street.wears_out(&devices[4]).unwrap();
    assert_eq!(code_of(&next), code_of(&offers[3]));
}

#[test]
fn a_code_whose_offer_is_not_on_disk_is_free_again() {
    let street = Street::with_codes(&["A-1"]);
    let devices: Vec<_> = (0..2).map(|n| street.moves_in(n)).collect();
    street.wears(&devices[0]);
    assert_eq!(street.home.engine.codes_left(&shop(), &pool()), 0, "taken when it is decided");
    street.home.store.fails.store(true, Ordering::Relaxed);
    while street.home.engine.step_writer() {}
    assert_eq!(street.home.engine.codes_left(&shop(), &pool()), 1);
    street.home.store.fails.store(false, Ordering::Relaxed);
    assert!(street.wears_out(&devices[1]).is_some());
    // A store that kept what it said it had not: the offer is there, and its code is its own.
    let street = Street::with_codes(&["A-1"]);
    let device = street.moves_in(0);
    street.wears(&device);
    street.home.store.lies.store(true, Ordering::Relaxed);
    while street.home.engine.step_writer() {}
    assert_eq!(street.home.engine.codes_left(&shop(), &pool()), 0);
}

#[test]
fn an_offer_whose_code_went_back_cannot_be_accepted_late() {
    let street = Street::with_codes(&["A-1"]);
    let device = street.moves_in(0);
    let offer = street.wears_out(&device).unwrap();
    street.home.turn_clock(Span::days(3));
    street.home.engine.step_time();
    street.home.settle();
    assert_eq!(street.counts(), PoolCounts { free: 1, ..PoolCounts::default() });
    // Pressed in time, on a device that was offline: without a code that would be honoured.
    let said = hearthway_core::wire::AnswerUp {
        offer: offer.id,
        rev: 1,
        t: Some(START + Span::hours(1)),
        answer: Answer::Accept { qty: None, fulfil: None },
        nonce: Some("n-1".into()),
    };
    let outcome = street.home.say(&device, "late", DeviceMessage::Answer(said));
    street.home.settle();
    let Outcome::Committed(Err(refusal)) = taken(outcome) else { panic!("it is refused") };
    assert_eq!(refusal.code, Code::OfferExpired);
    assert_eq!(street.counts(), PoolCounts { free: 1, ..PoolCounts::default() });
}
