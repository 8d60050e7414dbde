//! What a purse answered, noted so that the same decision can be made again.

use std::cell::{Cell, RefCell};

use serde::{Deserialize, Serialize};

use super::{Draw, Hearing, Purse, Reserve, Sending, SharedCap, Speaking, Spent, TakenCode};
use crate::id::{OfferId, PoolId, ProductId, RetailerId, StoreId, TriggerId};
use crate::model::Place;
use crate::money::Currency;

/// One answer of a purse. Stored: new ones go at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What is drawn.
    Spent(Option<Spent>),
    /// Whether a draw was granted.
    Draw(bool),
    /// What became of the wish for a code.
    Code(TakenCode),
    /// How many a cap of all homes counts.
    Sent(Option<u32>),
    /// Whether an offer may leave under the caps of all homes.
    Sending(bool),
    /// How many are free at a place.
    Free(Option<u32>),
    /// The stores that have so many.
    Stores(Vec<StoreId>),
    /// Whether goods were put aside.
    Reserved(bool),
    /// How often people heard something in their other homes.
    Elsewhere(u32),
    /// Whether people with several homes may hear it.
    Speaking(bool),
    /// They may not: this cap of theirs is reached.
    Reached(u16),
}

/// A purse that notes what another one answers.
pub struct Noting<'p> {
    purse: &'p dyn Purse,
    answers: RefCell<Vec<Answer>>,
}

impl<'p> Noting<'p> {
    /// Over a purse.
    pub fn new(purse: &'p dyn Purse) -> Noting<'p> {
        Noting { purse, answers: RefCell::default() }
    }
    /// All answers, in order.
    pub fn into_answers(self) -> Vec<Answer> {
        self.answers.into_inner()
    }
}

impl Purse for Noting<'_> {
    fn spent(&self, retailer: &RetailerId, trigger: &TriggerId, currency: Option<Currency>) -> Option<Spent> {
        let spent = self.purse.spent(retailer, trigger, currency);
        self.answers.borrow_mut().push(Answer::Spent(spent));
        spent
    }
    fn draw(&self, draw: &Draw<'_>) -> bool {
        let granted = self.purse.draw(draw);
        self.answers.borrow_mut().push(Answer::Draw(granted));
        granted
    }
    fn take_code(&self, retailer: &RetailerId, pool: &PoolId, offer: OfferId) -> TakenCode {
        let taken = self.purse.take_code(retailer, pool, offer);
        self.answers.borrow_mut().push(Answer::Code(taken.clone()));
        taken
    }
    fn sent(&self, retailer: &RetailerId, trigger: &TriggerId, cap: &SharedCap) -> Option<u32> {
        let sent = self.purse.sent(retailer, trigger, cap);
        self.answers.borrow_mut().push(Answer::Sent(sent));
        sent
    }
    fn send(&self, sending: &Sending<'_>) -> bool {
        let may = self.purse.send(sending);
        self.answers.borrow_mut().push(Answer::Sending(may));
        may
    }
    fn elsewhere(&self, hearing: &Hearing<'_>, cap: &SharedCap) -> Option<u32> {
        let heard = self.purse.elsewhere(hearing, cap);
        // Where nobody knows, nothing is decided that is kept.
        self.answers.borrow_mut().extend(heard.map(Answer::Elsewhere));
        heard
    }
    fn speak(&self, speaking: &Speaking<'_>) -> Result<(), usize> {
        let may = self.purse.speak(speaking);
        self.answers.borrow_mut().push(match may {
            Ok(()) => Answer::Speaking(true),
            Err(reached) => Answer::Reached(u16::try_from(reached).unwrap_or(u16::MAX)),
        });
        may
    }
    fn free(&self, retailer: &RetailerId, product: &ProductId, place: &Place) -> Option<u32> {
        let free = self.purse.free(retailer, product, place);
        self.answers.borrow_mut().push(Answer::Free(free));
        free
    }
    fn stores_with(&self, retailer: &RetailerId, product: &ProductId, qty: u32) -> Vec<StoreId> {
        let stores = self.purse.stores_with(retailer, product, qty);
        self.answers.borrow_mut().push(Answer::Stores(stores.clone()));
        stores
    }
    fn reserve(&self, wanted: &Reserve<'_>) -> bool {
        let granted = self.purse.reserve(wanted);
        self.answers.borrow_mut().push(Answer::Reserved(granted));
        granted
    }
}

/// A purse that answers as another one did. Who asks it otherwise gets nothing: the decision comes
/// out otherwise, and that is seen.
pub struct Recalling<'a> {
    answers: &'a [Answer],
    next: Cell<usize>,
}

impl<'a> Recalling<'a> {
    /// With these answers, in order.
    pub fn new(answers: &'a [Answer]) -> Recalling<'a> {
        Recalling { answers, next: Cell::new(0) }
    }
    /// The next answer, if it is one to this. What was decided before anybody counted stock, or people's other homes,
    /// was not asked about it.
    fn next_if(&self, is_meant: impl Fn(&Answer) -> bool) -> Option<&Answer> {
        let answer = self.answers.get(self.next.get()).filter(|answer| is_meant(answer))?;
        self.next.set(self.next.get() + 1);
        Some(answer)
    }
    fn next(&self) -> Option<&Answer> {
        let at = self.next.replace(self.next.get() + 1);
        self.answers.get(at)
    }
}

impl Purse for Recalling<'_> {
    fn spent(&self, _: &RetailerId, _: &TriggerId, _: Option<Currency>) -> Option<Spent> {
        match self.next() {
            Some(Answer::Spent(spent)) => *spent,
            Some(_) | None => None,
        }
    }
    fn draw(&self, _: &Draw<'_>) -> bool {
        matches!(self.next(), Some(Answer::Draw(true)))
    }
    fn take_code(&self, _: &RetailerId, _: &PoolId, _: OfferId) -> TakenCode {
        match self.next() {
            Some(Answer::Code(taken)) => taken.clone(),
            Some(_) | None => TakenCode::Unknown,
        }
    }
    fn sent(&self, _: &RetailerId, _: &TriggerId, _: &SharedCap) -> Option<u32> {
        match self.next() {
            Some(Answer::Sent(sent)) => *sent,
            Some(_) | None => None,
        }
    }
    fn send(&self, _: &Sending<'_>) -> bool {
        matches!(self.next(), Some(Answer::Sending(true)))
    }
    fn elsewhere(&self, _: &Hearing<'_>, _: &SharedCap) -> Option<u32> {
        match self.next_if(|answer| matches!(answer, Answer::Elsewhere(_))) {
            Some(Answer::Elsewhere(heard)) => Some(*heard),
            Some(_) | None => Some(0),
        }
    }
    fn speak(&self, _: &Speaking<'_>) -> Result<(), usize> {
        match self.next_if(|answer| matches!(answer, Answer::Speaking(_) | Answer::Reached(_))) {
            // Earlier releases noted no cap, and named the first.
            Some(Answer::Speaking(false)) => Err(0),
            Some(Answer::Reached(reached)) => Err(usize::from(*reached)),
            Some(_) | None => Ok(()),
        }
    }
    fn free(&self, _: &RetailerId, _: &ProductId, _: &Place) -> Option<u32> {
        match self.next_if(|answer| matches!(answer, Answer::Free(_))) {
            Some(Answer::Free(free)) => *free,
            Some(_) | None => None,
        }
    }
    fn stores_with(&self, _: &RetailerId, _: &ProductId, _: u32) -> Vec<StoreId> {
        match self.next_if(|answer| matches!(answer, Answer::Stores(_))) {
            Some(Answer::Stores(stores)) => stores.clone(),
            Some(_) | None => Vec::new(),
        }
    }
    fn reserve(&self, _: &Reserve<'_>) -> bool {
        !matches!(self.next_if(|answer| matches!(answer, Answer::Reserved(_))), Some(Answer::Reserved(false)))
    }
}
