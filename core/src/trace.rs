//! Why: the ordered steps of a decision, with their verdicts, reasons and numbers.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{DecisionId, InputId, OfferId, TriggerId};
use crate::time::Timestamp;
use crate::words::Reason;

/// Words of a trace: mostly the same ones in every trace, and then no copy of them.
pub type Phrase = Cow<'static, str>;

macro_rules! steps {
    ($($name:ident = $text:literal, $doc:literal;)*) => {
        /// A step of the evaluation, in its fixed order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Step { $(#[doc = $doc] #[serde(rename = $text)] $name,)* }
        impl Step {
            /// All steps in the order of evaluation.
            pub const ALL: &'static [Step] = &[$(Step::$name,)*];
            /// The step's id as printed in traces.
            pub fn as_str(self) -> &'static str {
                match self { $(Step::$name => $text,)* }
            }
        }
    };
}

steps! {
    Dedup = "dedup", "Was this message seen before?";
    Age = "age", "Is the event recent enough to act on?";
    Validity = "validity", "Is the trigger live and inside its dates?";
    Suspension = "suspension", "Is the device suspended?";
    Link = "link", "Does the device belong to a household of this retailer?";
    Consent = "consent", "Is each needed purpose consented to at this instant?";
    Controls = "controls", "Do the customer's own controls allow it?";
    Audience = "audience", "Is the household in the audience?";
    Conditions = "conditions", "Does what must hold, hold?";
    Suppression = "suppression", "Was it just bought, refused, or is an order open?";
    Caps = "caps", "Is there room under every frequency cap?";
    Offer = "offer", "Is there a product with a seller and a price?";
    Content = "content", "Can the text be written in the customer's language?";
    Placement = "placement", "Is there a surface on the device for it?";
    Quiet = "quiet", "Is this a quiet hour?";
    Budget = "budget", "Is there budget left?";
    Holdout = "holdout", "Is the household in the control group?";
    Send = "send", "The offer leaves, or is held.";
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a step said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepVerdict {
    /// Nothing against it.
    #[serde(rename = "pass")]
    Pass,
    /// The offer may not leave.
    #[serde(rename = "block")]
    Block,
    /// The offer waits for a later instant.
    #[serde(rename = "hold")]
    Hold,
    /// The trigger does not ask for this step.
    #[serde(rename = "not_configured")]
    NotConfigured,
    /// Could not be looked at, because an earlier step gave it nothing to look at.
    #[serde(rename = "skipped")]
    Skipped,
}

/// A number, text or truth value that a step looked at; JSON at the edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// Whole number: counts, minor units, milliseconds.
    Int(i64),
    /// Measured value.
    Real(f64),
    /// Text.
    Text(Phrase),
    /// Truth value.
    Bool(bool),
    /// An instant.
    At(Timestamp),
}

impl Fact {
    /// The value as JSON; instants as RFC 3339.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Fact::Int(n) => (*n).into(),
            Fact::Real(x) => (*x).into(),
            Fact::Text(text) => (**text).into(),
            Fact::Bool(b) => (*b).into(),
            Fact::At(at) => at.to_string().into(),
        }
    }
}

/// One step as taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTrace {
    /// Which step.
    pub step: Step,
    /// What it said.
    pub verdict: StepVerdict,
    /// Why, in one phrase that begins with a stable reason word.
    pub reason: Phrase,
    /// The numbers it looked at, by name, in a fixed order.
    pub numbers: Vec<(Phrase, Fact)>,
}

impl StepTrace {
    /// The stable word that its reason begins with.
    pub fn code(&self) -> &str {
        self.reason.split_once(':').map_or(&*self.reason, |(code, _)| code)
    }
    /// Whether this is its reason.
    pub fn says(&self, reason: Reason) -> bool {
        self.code() == reason.code()
    }
}

impl CandidateTrace {
    /// Whether an edge that was crossed before was looked at again: with each input of its device,
    /// for as long as it holds and waits.
    pub fn is_another_look(&self) -> bool {
        self.steps.iter().any(|step| step.says(Reason::EdgeHolds))
    }
}

/// How the look at one trigger ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The offer left.
    #[serde(rename = "sent")]
    Sent,
    /// It did not, or not yet.
    #[serde(rename = "held")]
    Held,
}

/// One trigger that was looked at, step by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateTrace {
    /// Id of this decision.
    pub decision: DecisionId,
    /// The trigger.
    pub trigger: TriggerId,
    /// Its version.
    pub trigger_version: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// The first step that blocked or held, if one did.
    pub first_block: Option<Step>,
    /// The offer, where one was made.
    pub offer: Option<OfferId>,
    /// All steps in order.
    pub steps: Vec<StepTrace>,
}

/// Why a decision is what it is. Only `decide` makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "an unread trace explains nothing"]
pub struct Trace {
    /// What happened.
    pub input: InputId,
    /// When it was decided.
    pub at: Timestamp,
    /// What was understood of the input, in short notes such as `slot air_filter used 590 → 612 h`.
    pub notes: Vec<String>,
    /// Every trigger that was a candidate.
    pub candidates: Vec<CandidateTrace>,
}

impl fmt::Display for CandidateTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Sent => "sent",
            Verdict::Held => "held",
        };
        writeln!(f, "{} v{}: {verdict} ({})", self.trigger, self.trigger_version, self.decision)?;
        for step in &self.steps {
            let mark = match step.verdict {
                StepVerdict::Pass => "✓",
                StepVerdict::Block => "✗",
                StepVerdict::Hold => "…",
                StepVerdict::NotConfigured => "·",
                StepVerdict::Skipped => "-",
            };
            let words = step.in_words(crate::words::Tongue::En);
            writeln!(f, "  {mark} {:<11} {words}", step.step.as_str())?;
        }
        Ok(())
    }
}
