//! The scorer's figures: mean absolute error, pinball loss in shares of a cycle, coverage of the 80 % interval.

use super::track::{Answer, Kind, Track};

#[derive(Default)]
pub struct Score {
    pub answers: usize,
    pub open: usize,
    mae: f64,
    spinball: f64,
    covered: f64,
    below: f64,
    bias: f64,
    width: f64,
}

impl Score {
    fn add(&mut self, origin: f64, truth: f64, scale: f64, answer: &Answer) {
        let low = answer.p10.max(origin);
        let pinball = |q: f64, p: f64| (p * (truth - q)).max((p - 1.0) * (truth - q));
        self.answers += 1;
        self.mae += (answer.p50 - truth).abs();
        self.bias += answer.p50 - truth;
        self.spinball += (pinball(low, 0.1) + pinball(answer.p50, 0.5) + pinball(answer.p90, 0.9)) / 3.0 / scale;
        self.covered += f64::from(u8::from((low..=answer.p90).contains(&truth)));
        self.below += f64::from(u8::from(truth < low));
        self.width += answer.p90 - low;
    }

    /// Pinball loss in shares of a cycle: the headline.
    pub fn spinball(&self) -> f64 {
        self.spinball / self.answers.max(1) as f64
    }

    /// How often the truth lay in the 80 % interval.
    pub fn covered(&self) -> f64 {
        self.covered / self.answers.max(1) as f64
    }

    pub fn line(&self, name: &str) -> String {
        let n = self.answers.max(1) as f64;
        format!(
            "{name:24} {:7} {:7} {:9.2} {:9.4} {:7.3} {:7.3} {:7.3} {:8.2} {:8.2}",
            self.answers,
            self.open,
            self.mae / n,
            self.spinball(),
            self.covered(),
            self.below / n,
            (n - self.covered - self.below) / n,
            self.bias / n,
            self.width / n
        )
    }
}

pub const HEADING: &str =
    "track                    answers    open     MAE d  spinball   cov80   below   above   bias d  width d";

/// What is to be foretold: run-outs where they are known, else refills, else purchases.
fn target(track: &Track) -> Kind {
    let has = |kind: Kind| track.series.iter().any(|series| series.rows.iter().any(|row| row.kind == kind));
    [Kind::TruthRunOut, Kind::Refill].into_iter().find(|kind| has(*kind)).unwrap_or(Kind::Purchase)
}

/// The score of all answers, and of those with so much history: at most 1, 2-3, 4-7, more.
pub fn score(track: &Track, answers: &[Answer]) -> (Score, [Score; 4]) {
    let target = target(track);
    let truths: Vec<Vec<f64>> = track
        .series
        .iter()
        .map(|series| {
            let mut days: Vec<f64> = series.rows.iter().filter(|row| row.kind == target).map(|row| row.day).collect();
            days.dedup();
            days
        })
        .collect();
    let cycle = |days: &[f64]| (days[days.len() - 1] - days[0]) / (days.len() - 1) as f64;
    let cycles: Vec<f64> = truths.iter().filter(|days| days.len() > 1).map(|days| cycle(days)).collect();
    let usual = cycles.iter().sum::<f64>() / cycles.len().max(1) as f64;
    let (mut all, mut parts) = (Score::default(), <[Score; 4]>::default());
    for answer in answers {
        let (series, days) = (&track.series[answer.series], &truths[answer.series]);
        let origin = &series.origins[answer.origin];
        let part = match origin.seen {
            0..=1 => 0,
            2..=3 => 1,
            4..=7 => 2,
            _ => 3,
        };
        let Some(truth) = days.iter().find(|day| **day > origin.day + 1e-9) else {
            all.open += 1;
            parts[part].open += 1;
            continue;
        };
        let scale = if days.len() > 1 { cycle(days) } else { usual }.max(1.0);
        all.add(origin.day, *truth, scale, answer);
        parts[part].add(origin.day, *truth, scale, answer);
    }
    (all, parts)
}
