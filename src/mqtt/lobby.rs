//! Where clients are until they are known: from the accepted socket to the end of CONNECT.
//!
//! A bounded number at once, so that a storm of handshakes waits in the system's backlog instead
//! of in memory. When it is full and somebody has been in it for longer than an honest client
//! needs, that one is cut for the next: clients that only open sockets hold nobody up for long.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::observe::limits::{Limit, hit};

/// How long a client may keep its place while others wait: an honest handshake with a slow radio
/// takes two seconds.
pub const LOBBY_GRACE: Duration = Duration::from_secs(2);

/// See the module.
pub struct Lobby {
    max: usize,
    inner: Mutex<Inner>,
    freed: Notify,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// The oldest first. Dropping the sender cuts the client.
    inside: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// A client's place; given back when dropped.
pub struct Place {
    lobby: Arc<Lobby>,
    n: u64,
    cut: oneshot::Receiver<()>,
}

impl Lobby {
    /// An empty lobby for so many at once.
    pub fn new(max: usize) -> Lobby {
        Lobby { max: max.max(1), inner: Mutex::default(), freed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whole entries only: a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place.
    pub async fn enter(self: &Arc<Lobby>) -> Place {
        loop {
            match self.try_enter(Instant::now()) {
                Ok(place) => return place,
                Err(again) => tokio::select! {
                    () = self.freed.notified() => {}
                    () = sleep_until(again) => {}
                },
            }
        }
    }

    /// A place, at the cost of whoever has been here for too long; else when to look again.
    fn try_enter(self: &Arc<Lobby>, now: Instant) -> Result<Place, Instant> {
        let mut inner = self.lock();
        if inner.inside.len() >= self.max {
            let oldest = inner.inside.first_entry().filter(|oldest| oldest.get().0 + LOBBY_GRACE <= now);
            let Some(oldest) = oldest else {
                let since = inner.inside.first_key_value().map_or(now, |(_, (since, _))| *since);
                return Err(since + LOBBY_GRACE);
            };
            oldest.remove();
            hit(Limit::Handshakes);
        }
        let n = inner.next;
        inner.next += 1;
        let (alive, cut) = oneshot::channel();
        inner.inside.insert(n, (now, alive));
        Ok(Place { lobby: self.clone(), n, cut })
    }
}

impl Place {
    /// Does a part of the handshake; none when the place was taken away meanwhile.
    pub async fn within<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = &mut self.cut => None,
            done = step => Some(done),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.lock().inside.remove(&self.n);
        self.lobby.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_lobby_cuts_its_oldest_only_after_the_grace() {
        let lobby = Arc::new(Lobby::new(2));
        let begun = Instant::now();
        let mut first = lobby.try_enter(begun).expect("there is room");
        let second = lobby.try_enter(begun + LOBBY_GRACE / 2).expect("there is room");
        assert_eq!(lobby.try_enter(begun + LOBBY_GRACE / 2).err(), Some(begun + LOBBY_GRACE), "when to look again");
        assert_eq!(first.within(std::future::ready(7)).await, Some(7));
        let _third = lobby.try_enter(begun + LOBBY_GRACE).expect("the first has been here for too long");
        assert_eq!(first.within(std::future::pending::<()>()).await, None, "the first is cut");
        drop(first);
        assert!(lobby.try_enter(begun + LOBBY_GRACE).is_err(), "its place was given away, not given back twice");
        drop(second);
        assert!(lobby.try_enter(begun + LOBBY_GRACE).is_ok());
    }
}
