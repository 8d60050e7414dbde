//! What the people of one home do, drawn from a seed.

use std::time::Duration;

/// SplitMix64: the same seed draws the same again.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
    pub fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
    pub fn milliseconds(&mut self, bound: u64) -> Duration {
        Duration::from_micros(self.below(bound * 1_000))
    }
}

/// How the offer of a home lives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// A price for a day, minutes to cancel.
    Calm,
    /// A price for a moment, which must be confirmed again; an order is the shop's at once.
    Brief,
    /// It ends within the race, and so does the time to cancel.
    Fleeting,
}

impl Pace {
    pub const ALL: [Pace; 3] = [Pace::Calm, Pace::Brief, Pace::Fleeting];
    pub fn word(self) -> &'static str {
        ["calm", "brief", "fleeting"][self as usize]
    }
    /// `price_lock`, `expires`, `cancel_window`.
    pub fn terms(self) -> [&'static str; 3] {
        match self {
            Pace::Calm => ["24h", "48h", "10 min"],
            Pace::Brief => ["120ms", "48h", "0 s"],
            Pace::Fleeting => ["300ms", "1500ms", "250ms"],
        }
    }
    /// Over how long people take their time, milliseconds.
    fn span(self) -> u64 {
        match self {
            Pace::Calm => 60,
            Pace::Brief => 400,
            Pace::Fleeting => 1_500,
        }
    }
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Channel {
    Device,
    App,
    Store,
}

impl Channel {
    pub const ALL: [Channel; 3] = [Channel::Device, Channel::App, Channel::Store];
    pub fn word(self) -> &'static str {
        ["device", "app", "store"][self as usize]
    }
}

/// How an accept is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub qty: u32,
    pub alternative: bool,
    pub collect: bool,
    /// The person looks at an offer from before it was told again.
    pub is_behind: bool,
}

/// One thing that somebody does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Accept(Choice),
    Decline,
    Cancel,
    /// The customer withdraws from the order.
    Withdraw,
    /// The shop takes the offer back.
    TakeBack,
    /// The shop says that it is on its way.
    Ship,
    /// The device is gone and comes back.
    Leave,
}

/// What one channel does, each after a pause.
pub type Script = Vec<(Duration, Act)>;

/// The story of a home: three channels that know nothing of each other.
#[derive(Debug)]
pub struct Story {
    pub pace: Pace,
    pub scripts: [Script; 3],
}

impl Story {
    pub fn of(seed: u64) -> Story {
        let mut draw = Draw::new(seed);
        let pace = Pace::ALL[draw.below(3) as usize];
        // A third of the homes press all at once.
        let span = if draw.one_in(3) { 4 } else { pace.span() };
        let scripts = Channel::ALL.map(|channel| {
            let steps = 1 + draw.below(3);
            let mut script: Script = Vec::new();
            for _ in 0..steps {
                // What comes late comes after all the others of its channel.
                let pause = draw.milliseconds(span) / u32::try_from(steps).unwrap();
                script.push((pause, act(channel, &mut draw)));
            }
            script
        });
        Story { pace, scripts }
    }
}

fn act(channel: Channel, draw: &mut Draw) -> Act {
    match (channel, draw.below(20)) {
        (_, 0..=10) => Act::Accept(Choice {
            qty: 1 + u32::try_from(draw.below(2)).unwrap(),
            alternative: draw.one_in(4),
            collect: draw.one_in(3),
            is_behind: draw.one_in(12),
        }),
        (_, 11..=12) => Act::Decline,
        (Channel::Device, 13..=14) => Act::Leave,
        (Channel::Store, 13..=15) => Act::Ship,
        (Channel::Store, 16) => Act::TakeBack,
        (_, 17) => Act::Withdraw,
        _ => Act::Cancel,
    }
}
