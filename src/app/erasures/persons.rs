//! Who is being erased, and about whom something is at work: neither begins before the other is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::id::{DERIVED_BYTES, ProfileId, RetailerId};
use tokio::sync::Notify;

use crate::app::Failure;

/// Erasures at work at once. One at a time goes through the store, and a shop that is asked by many at once
/// is not kept waiting for an answer.
const AT_WORK_MAX: usize = 64;
/// How long an erasure waits for what is at work about its person: longer than a call may last.
const BUSY_MAX: Duration = Duration::from_secs(40);

/// A person as a retailer names them.
type Whom = (RetailerId, ProfileId);
/// An erasure's id.
pub(super) type ErasureId = [u8; DERIVED_BYTES];

/// All persons of whom either is true.
#[derive(Default)]
pub(super) struct Persons {
    now: Mutex<Now>,
    freed: Notify,
}

#[derive(Default)]
struct Now {
    /// Every name of a person who is being erased, with the erasure.
    leaving: BTreeMap<Whom, ErasureId>,
    /// How much is at work about whom.
    busy: BTreeMap<Whom, usize>,
}

/// Something about a person is at work: as long as this is held their erasure does not begin.
#[must_use = "a person is erased while this is at work where it is not held"]
pub(crate) struct Busy<'p> {
    persons: &'p Persons,
    whom: Whom,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut now = self.persons.now();
        if let Some(busy) = now.busy.get_mut(&self.whom) {
            *busy -= 1;
            if *busy == 0 {
                now.busy.remove(&self.whom);
            }
        }
        drop(now);
        self.persons.freed.notify_waiters();
    }
}

/// Names that are taken for an erasure; free again where it does not come to be.
pub(super) struct Departure<'p> {
    persons: &'p Persons,
    id: ErasureId,
    begun: bool,
}

impl Departure<'_> {
    /// The erasure stands: the names are free when it says so.
    pub(super) fn begun(mut self) {
        self.begun = true;
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if !self.begun {
            self.persons.over(&self.id);
        }
    }
}

impl Persons {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something begins about a person, unless they are being erased.
    pub(super) fn busy(&self, retailer: &RetailerId, profile: &ProfileId) -> Result<Busy<'_>, Failure> {
        let whom = (retailer.clone(), profile.clone());
        let mut now = self.now();
        if now.leaving.contains_key(&whom) {
            return Err(Failure::Conflict(format!("`{profile}` is being erased; come again when that is done")));
        }
        *now.busy.entry(whom.clone()).or_default() += 1;
        Ok(Busy { persons: self, whom })
    }

    /// An erasure takes all names of its person, and waits until nothing is at work about them.
    pub(super) async fn depart(
        &self,
        retailer: &RetailerId,
        names: &[ProfileId],
        id: ErasureId,
    ) -> Result<Departure<'_>, Failure> {
        {
            let mut now = self.now();
            if now.leaving.values().collect::<BTreeSet<_>>().len() >= AT_WORK_MAX {
                return Err(Failure::Conflict(format!("{AT_WORK_MAX} erasures are at work; come again later")));
            }
            let whom = |name: &ProfileId| (retailer.clone(), name.clone());
            if let Some(name) = names.iter().find(|name| now.leaving.contains_key(&whom(name))) {
                return Err(Failure::Conflict(format!("`{name}` is being erased already")));
            }
            now.leaving.extend(names.iter().map(|name| (whom(name), id)));
        }
        let departure = Departure { persons: self, id, begun: false };
        let quiet = async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                // Before the look, so that what ends between the two is heard.
                freed.as_mut().enable();
                if !names.iter().any(|name| self.now().busy.contains_key(&(retailer.clone(), name.clone()))) {
                    return;
                }
                freed.await;
            }
        };
        let busy = |_| Failure::Conflict("the person is being changed at this moment; come again".to_owned());
        tokio::time::timeout(BUSY_MAX, quiet).await.map_err(busy)?;
        Ok(departure)
    }

    /// The same of an erasure that a stop cut short: nothing is at work yet.
    pub(super) fn departs(&self, retailer: &RetailerId, names: &[ProfileId], id: ErasureId) {
        self.now().leaving.extend(names.iter().map(|name| ((retailer.clone(), name.clone()), id)));
    }

    /// An erasure is over: whoever comes by its names from here on is somebody new.
    pub(super) fn over(&self, id: &ErasureId) {
        self.now().leaving.retain(|_, whose| whose != id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> ProfileId {
        ProfileId::new(text).unwrap()
    }

    #[tokio::test]
    async fn an_erasure_waits_for_what_is_at_work_and_nothing_new_begins_meanwhile() {
        let (persons, shop) = (Persons::default(), RetailerId::new("shop-a").unwrap());
        let names = [name("p1"), name("p2")];
        let busy = persons.busy(&shop, &names[1]).unwrap();
        let again = persons.busy(&shop, &names[1]).unwrap();
        let mut departing = std::pin::pin!(persons.depart(&shop, &names, [1; 15]));
        assert!(by_now(departing.as_mut()).await.is_none(), "somebody is at work about one of the names");
        for taken in &names {
            assert!(matches!(persons.busy(&shop, taken), Err(Failure::Conflict(_))), "{taken}");
        }
        assert!(persons.busy(&RetailerId::new("shop-b").unwrap(), &names[0]).is_ok(), "another shop's is another one");
        drop(again);
        assert!(by_now(departing.as_mut()).await.is_none());
        drop(busy);
        let departure = by_now(departing.as_mut()).await.unwrap().unwrap();
        assert!(persons.depart(&shop, &names[..1], [2; 15]).await.is_err(), "nobody is erased twice at once");
        departure.begun();
        assert!(persons.busy(&shop, &names[0]).is_err(), "it goes on after the call");
        persons.over(&[1; 15]);
        assert!(persons.busy(&shop, &names[0]).is_ok());
    }

    #[tokio::test]
    async fn an_erasure_that_does_not_come_to_be_frees_its_names() {
        let (persons, shop) = (Persons::default(), RetailerId::new("shop-a").unwrap());
        drop(persons.depart(&shop, &[name("p1")], [1; 15]).await.unwrap());
        assert!(persons.busy(&shop, &name("p1")).is_ok());
    }

    /// One poll: what there is by now.
    async fn by_now<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(done) => Some(done),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
