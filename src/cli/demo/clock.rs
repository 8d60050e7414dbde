//! The demo's time: simulated days in minutes while the story plays, the machine's own pace after.

use std::future::Future;
use std::pin::Pin;
use std::sync::{PoisonError, RwLock};

use hearthway_core::time::{Span, Timestamp};

use crate::clock::{Clock, FastClock, SystemClock};

/// The longest sleep at a time, so that a sleeper hears of a change of pace within this.
const NAP_REAL: std::time::Duration = std::time::Duration::from_millis(500);

/// A clock that runs fast until the story is over. The gateway and the homes share it.
#[derive(Debug)]
pub(super) struct StoryClock {
    pace: RwLock<Pace>,
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    clock: FastClock,
    speed: u32,
}

impl StoryClock {
    /// Starts now, `speed` times as fast as the machine's clock.
    pub(super) fn start(speed: u32) -> StoryClock {
        let clock = FastClock::start(SystemClock.now(), speed);
        StoryClock { pace: RwLock::new(Pace { clock, speed }) }
    }

    /// Goes on from here at the machine's pace, for people who type commands.
    pub(super) fn slow_down(&self) {
        let mut pace = self.pace.write().unwrap_or_else(PoisonError::into_inner);
        *pace = Pace { clock: FastClock::start(pace.clock.now(), 1), speed: 1 };
    }

    fn pace(&self) -> Pace {
        *self.pace.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, until: Timestamp) {
        loop {
            let Pace { clock, speed } = self.pace();
            let left = until - clock.now();
            if left <= Span::ZERO {
                return;
            }
            let nap = i64::try_from(NAP_REAL.as_millis()).unwrap_or(500).saturating_mul(i64::from(speed));
            clock.sleep_until(clock.now() + left.min(Span(nap))).await;
        }
    }
}

impl Clock for StoryClock {
    fn now(&self) -> Timestamp {
        self.pace().clock.now()
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.sleep(at))
    }
}

impl device_sim::SimClock for StoryClock {
    fn now(&self) -> Timestamp {
        self.pace().clock.now()
    }
    fn sleep_until(&self, at: Timestamp) -> device_sim::Soon<'_, ()> {
        Box::pin(self.sleep(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_reaches_an_hour_of_the_story_in_a_blink_and_time_never_goes_back() {
        let clock = StoryClock::start(1_000_000);
        let before = Clock::now(&clock);
        Clock::sleep_until(&clock, before + Span::hours(1)).await;
        assert!(Clock::now(&clock) >= before + Span::hours(1));
        let fast = Clock::now(&clock);
        clock.slow_down();
        let slow = Clock::now(&clock);
        assert!(slow >= fast);
        assert!(Clock::now(&clock) < slow + Span::minutes(5), "it goes at the machine's pace");
    }
}
