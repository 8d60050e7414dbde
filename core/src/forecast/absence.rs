//! Whether somebody is at home, from presence where it is known, else from the silence of all slots together.
//!
//! One slot that is not used for days tells little; all slots of a home unused tell much. Each quiet day of a slot that
//! is used so many times a day weighs as many nats (the logarithm of how improbable it is), and at
//! [`AWAY_NATS`] the home is taken as empty since its last sign of life. A sensor that does not report is missing, not quiet.

use serde::{Deserialize, Serialize};

/// So much silence happens to a home with somebody in it once in a thousand times.
pub const AWAY_NATS: f64 = 7.0;

/// The share of the usual use that goes on in an empty home: a tap drips, a cleaner comes.
pub const AWAY_USE: f64 = 0.1;

/// No slot's day weighs more, so that one busy slot does not empty the home overnight.
const NATS_A_DAY_MAX: f64 = 2.0;

/// What is known of a home's absence: 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Absence {
    /// The last sign of life, in days since 1970; 0 before the first.
    since: f64,
    /// Days of absence before it, each by the share of use that fell away.
    settled: f64,
    nats: f64,
}

impl Absence {
    /// Somebody used something, bought something, pressed something, or came home.
    pub fn sign_of_life(&mut self, day: f64) {
        if !day.is_finite() || day <= self.since {
            return;
        }
        self.settled = self.away_days(day);
        self.since = day;
        self.nats = 0.0;
    }

    /// A slot reported that it was not used for so many days, where it is used so many times a day.
    pub fn quiet(&mut self, uses_a_day: f64, days: f64) {
        let nats = uses_a_day.clamp(0.0, NATS_A_DAY_MAX) * days;
        if nats.is_finite() && nats > 0.0 {
            self.nats = (self.nats + nats).min(10.0 * AWAY_NATS);
        }
    }

    /// Presence or the thermostat says that everybody left.
    pub fn left(&mut self, day: f64) {
        self.sign_of_life(day);
        self.nats = AWAY_NATS;
    }

    /// Whether one more sign of life of that day would teach nothing new: there was one within a day, and no
    /// silence since.
    pub fn is_fresh(&self, day: f64) -> bool {
        self.nats == 0.0 && self.since > 0.0 && (0.0..1.0).contains(&(day - self.since))
    }

    /// Whether nobody is at home.
    pub fn is_away(&self) -> bool {
        self.since > 0.0 && self.nats >= AWAY_NATS
    }

    /// Days of absence up to a moment, for [`super::Moment::with_away`]. It never falls.
    pub fn away_days(&self, day: f64) -> f64 {
        if !self.is_away() || !day.is_finite() {
            return self.settled;
        }
        self.settled + (1.0 - AWAY_USE) * (day - self.since).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_quiet_slot_is_not_an_empty_home_but_three_for_a_week_are() {
        let mut home = Absence::default();
        home.sign_of_life(100.0);
        for _ in 0..7 {
            home.quiet(0.5, 1.0);
        }
        assert!(!home.is_away());
        assert_eq!(home.away_days(107.0), 0.0);
        for _ in 0..14 {
            home.quiet(0.5, 1.0);
        }
        assert!(home.is_away());
        assert!((home.away_days(107.0) - 6.3).abs() < 1e-9);
        home.sign_of_life(110.0);
        assert!(!home.is_away());
        assert!((home.away_days(120.0) - 9.0).abs() < 1e-9);
    }

    #[test]
    fn a_sign_of_life_from_before_changes_nothing() {
        let mut home = Absence::default();
        home.left(100.0);
        let before = home;
        home.sign_of_life(99.0);
        home.sign_of_life(f64::NAN);
        home.quiet(f64::NAN, 1.0);
        assert_eq!(home, before);
    }
}
