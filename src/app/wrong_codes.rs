//! Who typed wrong codes, of claims and of invitations, and must wait. In memory only: a restart forgives, which costs an
//! attacker with 852 billion codes before them nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{ProfileId, RetailerId};
use hearthway_core::time::{Span, Timestamp};

use super::Failure;

/// Wrong codes after which a person must wait.
const WRONG_CODES_MAX: usize = 5;
/// Serial numbers that cannot be claimed after which a shop's token must wait, whoever its customers are.
const ASKED_BY_TOKEN_MAX: usize = 100;
/// In which stretch of time they are counted.
const WRONG_CODES_WITHIN: Span = Span::minutes(10);
/// Persons and tokens that are watched at once; the one that erred longest ago is forgotten first.
const WATCHED_MAX: usize = 10_000;
/// Codes that served lately and are remembered; the oldest are forgotten first.
const SERVED_MAX: usize = 10_000;

/// Whose tries are counted together. The calls of a shop's backend are its customers': one who mistypes locks nobody
/// else out. Where a call names nobody, they are its token's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tries {
    /// None where no codes serve.
    retailer: Option<RetailerId>,
    of: String,
    max: usize,
}

impl Tries {
    /// The tries of a customer.
    pub(crate) fn of_person(retailer: &RetailerId, profile: &ProfileId) -> Tries {
        Tries { retailer: Some(retailer.clone()), of: format!("profile {retailer} {profile}"), max: WRONG_CODES_MAX }
    }
    /// The tries of a call that names no customer.
    pub(crate) fn of_token(retailer: &RetailerId, token: &str) -> Tries {
        Tries { retailer: Some(retailer.clone()), of: format!("token {token}"), max: WRONG_CODES_MAX }
    }
    /// The questions about serial numbers of a call that names no customer.
    pub(crate) fn of_asker(token: &str) -> Tries {
        Tries { retailer: None, of: format!("serials {token}"), max: WRONG_CODES_MAX }
    }
    /// The questions of a shop's customer.
    pub(crate) fn of_buyer(retailer: &RetailerId, profile: &ProfileId) -> Tries {
        Tries { retailer: None, of: format!("serials {retailer} {profile}"), max: WRONG_CODES_MAX }
    }
    /// The questions of all customers of a token: whoever has it could call them by new names without an end.
    pub(crate) fn of_all_buyers(token: &str) -> Tries {
        Tries { retailer: None, of: format!("serials of all {token}"), max: ASKED_BY_TOKEN_MAX }
    }
}

/// Nobody guesses with an empty field: it is told, and not counted.
pub(crate) fn check_typed(code: &str) -> Result<(), Failure> {
    match code.is_empty() {
        true => Err(Failure::invalid("/code", "the code is empty; type the eight characters that the device shows")),
        false => Ok(()),
    }
}

/// Who tried wrong codes, and when; and which codes served lately.
#[derive(Default)]
pub(crate) struct WrongCodes(Mutex<Known>);

#[derive(Default)]
struct Known {
    wrong: BTreeMap<String, VecDeque<Timestamp>>,
    served: VecDeque<(RetailerId, String, Timestamp)>,
}

impl Known {
    fn check(&self, tries: &Tries, now: Timestamp) -> Result<(), Failure> {
        let wrong = self.wrong.get(&tries.of).filter(|times| times.len() >= tries.max);
        let first = wrong.and_then(|times| times.get(times.len() - tries.max));
        match first.map(|first| *first + WRONG_CODES_WITHIN) {
            Some(at) if now < at => {
                let message = format!("{} wrong codes; the next try is possible at {at}", tries.max);
                let mut refusal = Refusal::new(Code::ClaimLocked, message);
                refusal.retry_after_seconds = u32::try_from((at - now).0 / 1000 + 1).ok();
                Err(refusal.into())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, tries: &Tries, now: Timestamp) {
        let times = self.wrong.entry(tries.of.clone()).or_default();
        times.push_back(now);
        if times.len() > tries.max {
            times.pop_front();
        }
        if self.wrong.len() > WATCHED_MAX {
            self.wrong.retain(|_, times| times.back().is_some_and(|last| now < *last + WRONG_CODES_WITHIN));
        }
        while self.wrong.len() > WATCHED_MAX {
            let oldest = self.wrong.iter().min_by_key(|(_, times)| times.back().copied()).map(|(who, _)| who.clone());
            oldest.map(|who| self.wrong.remove(&who));
        }
    }
}

impl WrongCodes {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Refuses whoever has used up their tries.
    pub(crate) fn check(&self, tries: &Tries, now: Timestamp) -> Result<(), Failure> {
        self.known().check(tries, now)
    }

    /// Takes a try of each before it is known how it ends, so that who tries at many places at once has no more of
    /// them; or refuses, and takes none.
    pub(crate) fn take(&self, all: &[Tries], now: Timestamp) -> Result<(), Failure> {
        let mut known = self.known();
        all.iter().try_for_each(|tries| known.check(tries, now))?;
        all.iter().for_each(|tries| known.count(tries, now));
        Ok(())
    }

    /// It ended well: what was taken at an instant is given back.
    pub(crate) fn give_back(&self, all: &[Tries], at: Timestamp) {
        let mut known = self.known();
        for tries in all {
            let Some(times) = known.wrong.get_mut(&tries.of) else { continue };
            if let Some(place) = times.iter().rposition(|time| *time == at) {
                times.remove(place);
            }
            if times.is_empty() {
                known.wrong.remove(&tries.of);
            }
        }
    }

    /// Counts a wrong code; one that has just served this shop was pressed twice, and is no guess.
    pub(crate) fn count(&self, tries: &Tries, code: &str, now: Timestamp) {
        let mut known = self.known();
        let just_served = |(retailer, served, at): &(RetailerId, String, Timestamp)| {
            Some(retailer) == tries.retailer.as_ref() && served == code && now < *at + WRONG_CODES_WITHIN
        };
        if known.served.iter().any(just_served) {
            return;
        }
        known.count(tries, now);
    }

    /// A person is erased: their tries are nobody's.
    pub(crate) fn forget(&self, retailer: &RetailerId, profile: &ProfileId) {
        let mut known = self.known();
        for tries in [Tries::of_person(retailer, profile), Tries::of_buyer(retailer, profile)] {
            known.wrong.remove(&tries.of);
        }
    }

    /// A code was right, and served: what was mistyped before it is forgiven.
    pub(crate) fn served(&self, tries: &Tries, code: &str, now: Timestamp) {
        let mut known = self.known();
        known.wrong.remove(&tries.of);
        while known.served.front().is_some_and(|(.., at)| *at + WRONG_CODES_WITHIN <= now) {
            known.served.pop_front();
        }
        if known.served.len() >= SERVED_MAX {
            known.served.pop_front();
        }
        if let Some(retailer) = &tries.retailer {
            known.served.push_back((retailer.clone(), code.to_owned(), now));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shop() -> RetailerId {
        RetailerId::new("shop-a").unwrap()
    }

    fn person(name: &str) -> Tries {
        Tries::of_person(&shop(), &ProfileId::new(name).unwrap())
    }

    #[test]
    fn five_wrong_codes_lock_one_customer_for_ten_minutes_from_the_first() {
        let wrong = WrongCodes::default();
        for minute in 0..5 {
            let now = Timestamp(0) + Span::minutes(minute);
            assert!(wrong.check(&person("p1"), now).is_ok());
            wrong.count(&person("p1"), "WRONGWRO", now);
        }
        let at_nine = Timestamp(0) + Span::minutes(9);
        let Err(Failure::Refused(refusal)) = wrong.check(&person("p1"), at_nine) else { panic!() };
        assert_eq!((refusal.code, refusal.retry_after_seconds), (Code::ClaimLocked, Some(61)));
        assert!(wrong.check(&person("p2"), at_nine).is_ok(), "the shop's other customers go on");
        assert!(wrong.check(&Tries::of_token(&shop(), "tk"), at_nine).is_ok());
        assert!(wrong.check(&person("p1"), Timestamp(0) + Span::minutes(10)).is_ok());
    }

    #[test]
    fn a_code_that_served_forgives_and_is_no_guess_when_it_comes_again() {
        let (wrong, now) = (WrongCodes::default(), Timestamp(0));
        (0..4).for_each(|_| wrong.count(&person("p1"), "WRONGWRO", now));
        wrong.served(&person("p1"), "7K4Q9XMP", now);
        (0..9).for_each(|_| wrong.count(&person("p1"), "7K4Q9XMP", now));
        (0..4).for_each(|_| wrong.count(&person("p1"), "WRONGWRO", now));
        assert!(wrong.check(&person("p1"), now).is_ok());
        wrong.count(&person("p1"), "WRONGWRO", now);
        assert!(wrong.check(&person("p1"), now).is_err());
        // What served one shop says nothing about another's guesses.
        let other = Tries::of_token(&RetailerId::new("shop-b").unwrap(), "tk");
        (0..5).for_each(|_| wrong.count(&other, "7K4Q9XMP", now));
        assert!(wrong.check(&other, now).is_err());
    }

    #[test]
    fn of_somebody_who_is_erased_no_try_is_remembered() {
        let (wrong, now) = (WrongCodes::default(), Timestamp(0));
        let (p1, p2) = (ProfileId::new("p1").unwrap(), ProfileId::new("p2").unwrap());
        for _ in 0..WRONG_CODES_MAX {
            for profile in [&p1, &p2] {
                wrong.count(&Tries::of_person(&shop(), profile), "WRONGWRO", now);
                wrong.count(&Tries::of_buyer(&shop(), profile), "WRONGWRO", now);
            }
        }
        wrong.forget(&shop(), &p1);
        assert!(wrong.known().wrong.keys().all(|who| !who.contains("p1")), "{:?}", wrong.known().wrong.keys());
        assert!(wrong.check(&person("p1"), now).is_ok() && wrong.check(&person("p2"), now).is_err());
    }

    #[test]
    fn the_memory_of_codes_is_bounded() {
        let wrong = WrongCodes::default();
        for n in 0..WATCHED_MAX + 10 {
            wrong.count(&Tries::of_token(&shop(), &format!("{n}")), "WRONGWRO", Timestamp(0));
            wrong.served(&person("p1"), "7K4Q9XMP", Timestamp(0));
        }
        assert!(wrong.known().wrong.len() <= WATCHED_MAX && wrong.known().served.len() <= SERVED_MAX);
    }
}
