//! What the terminal shows while the homes live: one line per thing that matters, and one line at
//! the bottom that counts the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;

use device_sim::{Happening, Scene};
use hearthway_core::id::{DecisionId, DeviceKey, DeviceName, HouseholdId, MakerId};
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::{CandidateTrace, StepVerdict, Verdict};
use hearthway_core::words::Tongue;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::Engine;

/// Decisions of one household that are looked at after one of its reports.
const DECISIONS_LOOKED_AT: usize = 8;
/// Decisions remembered as told; a demo makes a few hundred.
const TOLD_MAX: usize = 100_000;

/// What has happened so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Count {
    pub(super) registered: u64,
    pub(super) linked: u64,
    pub(super) reports: u64,
    pub(super) sent: u64,
    pub(super) not_sent: u64,
    pub(super) offers: u64,
    pub(super) answers: u64,
    pub(super) orders: u64,
    pub(super) errors: u64,
}

/// A decision to explain afterwards.
#[derive(Debug, Clone)]
pub(super) struct Example {
    pub(super) household: HouseholdId,
    pub(super) trigger: String,
    pub(super) device: DeviceKey,
}

/// Tells the story.
pub(super) struct Story {
    engine: Engine,
    zone: Zone,
    start: Timestamp,
    length: Span,
    bar: ProgressBar,
    colours: bool,
    makers: BTreeMap<String, MakerId>,
    told: BTreeSet<DecisionId>,
    /// Why each home was last left in peace by a trigger: the same reason again is counted only.
    silences: BTreeMap<(String, String), String>,
    ordered: BTreeSet<String>,
    pub(super) count: Count,
    pub(super) example: Option<Example>,
}

impl Story {
    pub(super) fn begin(engine: Engine, zone: Zone, start: Timestamp, length: Span) -> Story {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let bar = ProgressBar::with_draw_target(Some(length.0.unsigned_abs()), ProgressDrawTarget::stderr_with_hz(8));
        let style = ProgressStyle::with_template("  {bar:24} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Story {
            engine,
            zone,
            start,
            length,
            bar,
            colours,
            makers: BTreeMap::new(),
            told: BTreeSet::new(),
            silences: BTreeMap::new(),
            ordered: BTreeSet::new(),
            count: Count::default(),
            example: None,
        }
    }

    /// Tells one thing that happened, and the decisions that followed from it.
    pub(super) fn tell(&mut self, happening: &Happening) {
        let Scene { at, device, .. } = happening.scene().clone();
        match happening {
            Happening::Registered { maker, .. } => {
                self.count.registered += 1;
                if let Ok(maker) = MakerId::new(maker) {
                    self.makers.insert(device.clone(), maker);
                }
                self.line(happening, "device", Tone::Plain);
            }
            Happening::ClaimCode { .. } => self.line(happening, "claim", Tone::Plain),
            Happening::Linked { .. } => {
                self.count.linked += 1;
                self.line(happening, "linked", Tone::Good);
            }
            Happening::Reported { .. } => {
                self.count.reports += 1;
                self.tell_decisions(happening.scene());
            }
            Happening::OfferShown { .. } => {
                self.count.offers += 1;
                // The decision stands above the offer that it made.
                self.tell_decisions(happening.scene());
                self.line(happening, "offer", Tone::Bright);
            }
            Happening::OfferWithdrawn { .. } => self.line(happening, "withdrawn", Tone::Plain),
            Happening::Answered { .. } => {
                self.count.answers += 1;
                self.line(happening, "answer", Tone::Plain);
            }
            Happening::OrderChanged { order, .. } => {
                if self.ordered.insert(order.clone()) {
                    self.count.orders += 1;
                }
                self.line(happening, "order", Tone::Good);
            }
            Happening::Replaced { .. } => self.line(happening, "replaced", Tone::Plain),
            Happening::Reset { .. } | Happening::Offline { .. } => self.line(happening, "device", Tone::Plain),
            Happening::Error { .. } => {
                self.count.errors += 1;
                self.line(happening, "refused", Tone::Bad);
            }
            Happening::Online { .. } => {}
        }
        self.show_progress(at);
    }

    fn tell_decisions(&mut self, scene: &Scene) {
        let Some(device) = self.key_of(&scene.device) else { return };
        let Some(route) = self.engine.route(&device) else { return };
        let Ok(mut decisions) = self.engine.decisions(route.household, None, DECISIONS_LOOKED_AT) else { return };
        decisions.reverse();
        for (at, _, candidate) in decisions {
            if self.told.len() < TOLD_MAX && self.told.insert(candidate.decision) {
                self.tell_decision(at, scene, &candidate);
                // The retailer's guide goes on with a home that was offered an air filter, else with any.
                let is_best = candidate.verdict == Verdict::Sent && candidate.trigger.as_str() == "filter-worn";
                if self.example.is_none() || is_best {
                    let trigger = candidate.trigger.to_string();
                    self.example = Some(Example { household: route.household, trigger, device: device.clone() });
                }
            }
        }
    }

    fn tell_decision(&mut self, at: Timestamp, scene: &Scene, candidate: &CandidateTrace) {
        let trigger = candidate.trigger.to_string();
        let silence = (scene.home.clone(), trigger.clone());
        if candidate.verdict == Verdict::Sent {
            self.count.sent += 1;
            self.silences.remove(&silence);
            let passed = candidate.steps.iter().filter(|step| step.verdict == StepVerdict::Pass).count();
            return self.write(
                at,
                &scene.home,
                "decision",
                &format!("{trigger}: sent, {passed} steps passed"),
                Tone::Good,
            );
        }
        self.count.not_sent += 1;
        let blocking = candidate.steps.iter().find(|step| Some(step.step) == candidate.first_block);
        let why = blocking.map_or_else(|| "no reason given".to_owned(), |step| step.in_words(Tongue::En));
        if self.silences.insert(silence, why.clone()).as_ref() != Some(&why) {
            self.write(at, &scene.home, "decision", &format!("{trigger}: not sent, {why}"), Tone::Quiet);
        }
    }

    fn key_of(&self, device: &str) -> Option<DeviceKey> {
        let maker = self.makers.get(device)?;
        Some(DeviceKey::new(maker.clone(), DeviceName::new(device).ok()?))
    }

    fn line(&self, happening: &Happening, word: &str, tone: Tone) {
        let scene = happening.scene();
        self.write(scene.at, &scene.home, word, &happening.to_string(), tone);
    }

    fn write(&self, at: Timestamp, home: &str, word: &str, text: &str, tone: Tone) {
        let local = self.zone.local(at);
        let first = self.zone.local(self.start).date();
        let day = 1 + local.date().since(first).map_or(0, |passed| passed.get_days());
        let line = format!("day {day:>2} {:02}:{:02}  {home:<12} {word:<10} {text}", local.hour(), local.minute());
        let line = if self.colours { tone.paint(&line) } else { line };
        self.bar.suspend(|| println!("{line}"));
    }

    fn show_progress(&self, at: Timestamp) {
        let Count { linked, reports, sent, not_sent, offers, orders, .. } = self.count;
        let passed = (at - self.start).0.clamp(0, self.length.0);
        self.bar.set_position(passed.unsigned_abs());
        self.bar.set_message(format!(
            "{linked} linked · {reports} reports · {sent} sent, {not_sent} not sent · {offers} offers · {orders} orders"
        ));
    }

    /// Takes the progress line away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// How a line looks.
#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Quiet,
    Good,
    Bright,
    Bad,
}

impl Tone {
    fn paint(self, line: &str) -> String {
        let code = match self {
            Tone::Plain => return line.to_owned(),
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Bright => "1;36",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{line}\x1b[0m")
    }
}
