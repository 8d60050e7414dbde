//! How long the input log is kept: what is older goes, a piece at a time.
//!
//! The store knows no time. So it is told now and then to begin a new piece of its logs, and where that
//! was is noted with the hour. Of what is kept for longer nothing stands in the log alone: contacts that
//! caps count and refusals that silence stand in the household's record, what reports count in ledgers,
//! draws and sends in rows of their own. What goes is the power to decide it again.

use std::time::Duration;

use hearthway_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Engine, rows};
use crate::store::codec::Schema;
use crate::store::{Commit, Mark, StoreError, keys};

/// Pieces of the time that is kept: so much more than that may stand.
const PIECES: i64 = 16;
/// A piece is not shorter, so that files stay few, nor longer, so that what goes does not go at once.
const PIECE_MIN: Span = Span::hours(1);
const PIECE_MAX: Span = Span::days(7);
/// How often it is looked whether a piece is full: by real time, also where a clock runs fast.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where the pieces of the logs begin, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    begins: Vec<(Timestamp, u64)>,
}

impl Pieces {
    /// How long a piece is, where so much is kept.
    fn length(kept: Span) -> Span {
        Span((kept.0 / PIECES).clamp(PIECE_MIN.0, PIECE_MAX.0))
    }

    /// Whether a piece begins now: the last is full, or the clock has gone back behind it.
    fn is_due(&self, kept: Span, now: Timestamp) -> bool {
        let length = Pieces::length(kept);
        self.begins.last().is_none_or(|(last, _)| now >= *last + length || now + length < *last)
    }

    /// Where what is kept begins, if a piece begins now.
    ///
    /// By the hours that were noted a piece must be old enough, and as many pieces must stand behind it
    /// as make up the time that is kept: a clock that leaps ahead by a month makes one piece, not
    /// thirty days of them, and takes nothing away.
    fn keep_from(&self, kept: Span, now: Timestamp) -> Option<(Timestamp, u64)> {
        let behind = usize::try_from(kept.0 / Pieces::length(kept).0).unwrap_or(usize::MAX);
        let old = self.begins.iter().filter(|(begins, _)| *begins <= now - kept).max_by_key(|(_, mark)| *mark)?;
        let place = self.begins.iter().position(|known| known == old)?;
        let most = self.begins.len().checked_sub(behind)?;
        self.begins.get(place.min(most)).copied()
    }

    /// A piece begins here, and what lies before another is gone.
    fn begin(&mut self, now: Timestamp, mark: Mark, kept_from: Option<(Timestamp, u64)>) {
        if let Some((_, kept)) = kept_from {
            self.begins.retain(|(_, begins)| *begins >= kept);
        }
        self.begins.push((now, mark.0));
    }
}

impl Engine {
    /// Lets what is older than so long go from the log, if a piece of it is full. Whether one was.
    pub async fn age_log(&self, kept: Span) -> Result<bool, StoreError> {
        let key = keys::log_pieces();
        let mut pieces = rows::get::<Pieces>(&**self.store(), Schema::LogPieces, &key)?.unwrap_or_default();
        let now = self.clock().now();
        if !pieces.is_due(kept, now) {
            return Ok(false);
        }
        let keep_from = pieces.keep_from(kept, now);
        let mark = self.store().divide_logs(keep_from.map(|(_, mark)| Mark(mark)))?;
        if let Some((at, _)) = keep_from {
            tracing::info!(kept_from = %at, "The input log of before {at} goes");
        }
        pieces.begin(now, mark, keep_from);
        let write = rows::put(Schema::LogPieces, key, &pieces);
        self.write(Commit { preconditions: Vec::new(), writes: vec![write] }).await?;
        Ok(true)
    }

    /// Keeps the log as long as it is to be kept, until the engine is closed.
    pub async fn keep_log(&self, kept: Span) {
        while !self.is_closed() {
            if let Err(error) = self.age_log(kept).await {
                tracing::warn!(%error, "The age of the input log waits for the store");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEPT: Span = Span::days(16);

    /// Looks once an hour from one hour to another; gives the marks (hours of work) that were let go.
    fn passes(pieces: &mut Pieces, hours: impl Iterator<Item = i64>, work: &mut u64) -> Vec<u64> {
        let mut gone = Vec::new();
        for hour in hours {
            *work += 1;
            let now = Timestamp(0) + Span::hours(hour);
            if pieces.is_due(KEPT, now) {
                let keep_from = pieces.keep_from(KEPT, now);
                gone.extend(keep_from.map(|(_, mark)| mark));
                pieces.begin(now, Mark(*work), keep_from);
            }
        }
        gone
    }

    #[test]
    fn what_is_older_goes_a_piece_at_a_time_and_what_is_younger_stays() {
        let (mut pieces, mut work) = (Pieces::default(), 0);
        let hours = 24 * 60;
        let gone = passes(&mut pieces, 0..hours, &mut work);
        // One mark is one hour here: of 60 days the last 16 are kept, and one piece more at most.
        let kept = work - gone.last().unwrap();
        assert!((24 * 16..=24 * 18).contains(&kept), "{kept} hours");
        assert!(pieces.begins.len() <= 18, "{}", pieces.begins.len());
    }

    #[test]
    fn a_clock_that_leaps_ahead_takes_nothing_away_and_one_that_comes_back_goes_on() {
        let (mut pieces, mut work) = (Pieces::default(), 0);
        passes(&mut pieces, 0..24 * 10, &mut work);
        let ahead = 24 * 1_000;
        assert_eq!(passes(&mut pieces, ahead..ahead + 5, &mut work), [0u64; 0], "ten days stand, however late it is");
        let gone = passes(&mut pieces, 24 * 10..24 * 14, &mut work);
        assert_eq!(gone, [0u64; 0], "back again, and younger than sixteen days");
        let gone = passes(&mut pieces, 24 * 14..24 * 60, &mut work);
        let kept = work - gone.last().unwrap();
        assert!((24 * 16..=24 * 18).contains(&kept), "{kept} hours");
    }

    #[test]
    fn a_clock_that_stays_ahead_keeps_for_as_long_again_at_most() {
        let (mut pieces, mut work) = (Pieces::default(), 0);
        passes(&mut pieces, 0..24 * 20, &mut work);
        let ahead = 24 * 1_000;
        let gone = passes(&mut pieces, ahead..ahead + 24 * 18, &mut work);
        let kept = work - gone.last().unwrap();
        assert!((24 * 15..=24 * 18).contains(&kept), "{kept} hours");
    }
}
