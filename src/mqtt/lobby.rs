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
            done = step => Some(done),
            _ = &mut self.cut => None,
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

    #[tokio::test(start_paused = true)]
    async fn a_full_lobby_cuts_its_oldest_only_after_the_grace() {
        let lobby = Arc::new(Lobby::new(2));
        let mut first = lobby.enter().await;
        let _second = lobby.enter().await;
        let begun = Instant::now();
        let third = lobby.enter().await;
        assert!(begun.elapsed() >= LOBBY_GRACE, "the third waited for the grace of the first");
        assert!(first.within(std::future::pending::<()>()).await.is_none(), "the first is cut");
        drop(third);
        let begun = Instant::now();
        let _fourth = lobby.enter().await;
        assert!(begun.elapsed() < LOBBY_GRACE, "a place that is given back is free at once");
    }
}
