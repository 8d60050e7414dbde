//! A trigger as it is written: the same keys in TOML files and as JSON over the API.
//!
//! Everything is optional here, because this is what was *written*; what is required, and the
//! defaults, are the check's and the compiler's business. Durations, money and amounts stay
//! text, so that a definition reads back as it was sent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Locale;

macro_rules! written {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {$(
            $(#[$field_doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,
        )*}
    )*};
}

written! {
    /// A whole trigger.
    TriggerDefinition {
        /// Its id, stable across versions.
        id: String,
        /// `offer`, `replenish`, `tip` or `service`.
        kind: String,
        /// A label that groups triggers.
        campaign: String,
        /// 0 to 100; 50 where not said.
        priority: u8,
        /// First and last day.
        valid: ValidDefinition,
        /// An older event never sends; `2h` where not said.
        max_event_age: String,
        /// What wakes it.
        on: OnDefinition,
        /// What must hold as well.
        when: WhenDefinition,
        /// Whom it is for.
        audience: AudienceDefinition,
        /// What it proposes.
        offer: OfferDefinition,
        /// Where it shows.
        channel: ChannelDefinition,
        /// How often, and when not.
        limits: LimitsDefinition,
        /// How it replenishes.
        replenish: ReplenishDefinition,
        /// To how many it goes.
        rollout: RolloutDefinition,
        /// Cases that must come out as they say.
        test: Vec<CaseDefinition>,
    }
    /// First and last local day, both inside.
    ValidDefinition {
        /// First day, `2026-09-01`.
        from: String,
        /// Last day.
        until: String,
    }
    /// What wakes a trigger.
    OnDefinition {
        /// `telemetry`, `slot`, `forecast`, `event`, `context`, `presence`, `link`, `order`, `channel`, `schedule` or
        /// `refill`.
        event: String,
        /// On which devices.
        device: DeviceFilter,
        /// The watched field of telemetry or slot, or the entry of context; of a forecast
        /// `expected_empty.p1` to `expected_empty.p99`, or `order_by`.
        field: String,
        /// The watched slot.
        slot: String,
        /// The awaited event, such as `cycle_done`; what another channel tells, such as `store.visit`; `linked` of a
        /// link; the state of an order; `elsewhere` of a refill.
        r#type: String,
        /// Fires when the value falls below.
        falls_below: Amount,
        /// Fires when the value rises above.
        rises_above: Amount,
        /// Fires when the value becomes this.
        becomes: Scalar,
        /// Where it gets ready again; 2 % of the field's range where not said.
        rearm: Amount,
        /// Whether a first report beyond the threshold fires.
        on_first: bool,
        /// Whether it fires on values that are beyond when it is published, home by home.
        on_activate: bool,
        /// That it is looked at for every message: asked of `changes` on a number.
        broad: bool,
        /// Watches how fast the value rises or falls over so long, per hour, instead of the value.
        trend_over: String,
        /// How long the value must stay.
        r#for: String,
        /// Fires when nothing came for so long while the device is connected.
        absent_for: String,
        /// Fires only at so many; needs `within`.
        count: u32,
        /// The elapsed time in which `count` are counted.
        within: String,
        /// Fires at any change.
        changes: bool,
        /// The home's local time of a schedule, `18:30`.
        at: String,
        /// Its days, `mon` to `sun`; every day where not said.
        days: Vec<String>,
    }
    /// Which devices.
    DeviceFilter {
        /// One kind or several.
        kind: Names,
        /// One model or several.
        model: Names,
    }
    /// What must hold as well.
    WhenDefinition {
        /// A condition.
        all: String,
    }
    /// Whom it is for.
    AudienceDefinition {
        /// Segments of which one is needed.
        include: Vec<String>,
        /// Segments of which none may be.
        exclude: Vec<String>,
        /// Who may see it.
        roles: Vec<String>,
        /// Purposes that must be consented to.
        consent: Vec<String>,
        /// `required` or `anonymous_ok`.
        link: String,
        /// Audiences, by name, of which one is needed.
        audience: Names,
        /// Audiences of which none may be.
        except: Names,
    }
    /// What it proposes.
    OfferDefinition {
        /// Which product.
        product: ProductDefinition,
        /// Among which sellers.
        sellers: SellersDefinition,
        /// What is taken off.
        discount: DiscountDefinition,
        /// How long the price holds; as long as the offer lives (`expires`) where not said.
        price_lock: String,
        /// How long the offer lives; `48h` where not said.
        expires: String,
        /// How long an order can be cancelled; `30 min` where not said.
        cancel_window: String,
        /// What can be answered.
        actions: Vec<String>,
        /// How it may be had.
        fulfil: Vec<String>,
        /// The confirmation strength asked for.
        confirm: String,
        /// What it says, by language.
        text: BTreeMap<Locale, TextDefinition>,
    }
    /// Which product, found by rule.
    ProductRule {
        /// `slot_compatible`.
        by: String,
        /// Which of those that fit rather than the first, the weightiest wish first: `own`, what the shop sells
        /// itself; `same_as_last`, what the home bought last for this slot.
        prefer: Vec<String>,
        /// Where none fits, and where no slot wakes the trigger.
        fallback: String,
    }
    /// Among which sellers.
    SellersDefinition {
        /// In which order.
        policy: Vec<String>,
        /// How many others are shown.
        max_alternatives: u32,
    }
    /// What is taken off.
    DiscountDefinition {
        /// Of the price of a piece.
        percent: f64,
        /// At most so much for a piece.
        max: String,
        /// Where codes come from.
        code_pool: String,
    }
    /// The texts in one language.
    TextDefinition {
        /// Headline.
        title: String,
        /// Body.
        body: String,
        /// For a display of a few letters.
        short: String,
        /// To be read aloud.
        say: String,
        /// Why the customer sees it.
        why: String,
    }
    /// Where it shows.
    ChannelDefinition {
        /// Best first: `device:<placement>`.
        order: Vec<String>,
        /// Where else, when it was not seen.
        fallback: FallbackDefinition,
    }
    /// Where else, when it was not seen.
    FallbackDefinition {
        /// What did not happen.
        if_not: String,
        /// How long to wait.
        after: String,
    }
    /// How often, and when not.
    LimitsDefinition {
        /// Frequency caps.
        caps: Vec<CapDefinition>,
        /// Silence after an answer.
        after: AfterDefinition,
        /// Quiet hours.
        quiet: QuietDefinition,
        /// `of_use`: what is decided waits for an hour in which the device is usually used, a day at most.
        hour: String,
        /// What may be spent.
        budget: BudgetDefinition,
    }
    /// A frequency cap.
    CapDefinition {
        /// At most so many; 1000 of one home, 100 000 of all.
        max: u32,
        /// `offer`, `all`, `channel:device` or `channel:webhook`.
        per: String,
        /// `household`, `profile`, `device`, or `global`: all homes of the retailer together.
        scope: String,
        /// In so much elapsed time.
        within: String,
        /// `day`: the local calendar day, of all homes the retailer's.
        each: String,
    }
    /// Silence after an answer or an order.
    AfterDefinition {
        /// After a refusal.
        declined: String,
        /// After "not needed".
        not_needed: String,
        /// After an order of the same product.
        ordered: String,
    }
    /// Quiet hours in the household's zone.
    QuietDefinition {
        /// First quiet minute, `21:00`.
        from: String,
        /// First loud minute, `08:00`.
        to: String,
        /// `hold`: what is decided in between waits for the end.
        when_quiet: String,
    }
    /// What may be spent.
    BudgetDefinition {
        /// Money: what the discounts of all orders give; without a discount, what the orders cost.
        amount: String,
        /// Orders.
        count: u32,
        /// `even_by_day`: each day of `valid` has an even share; `none` where not said.
        pace: String,
        /// Whether an offer that was shown is honoured also when the budget is used up.
        honour_shown: bool,
    }
    /// How it replenishes.
    ReplenishDefinition {
        /// `ask` or `auto`.
        mode: String,
        /// Slack before the run-out.
        safety: String,
        /// How much.
        quantity: QuantityDefinition,
        /// How long before an automatic order it is announced.
        notice: String,
        /// What being without costs against having it too early.
        cost: CostDefinition,
        /// Spares that the home keeps: it is asked when no more than these are left; 0 where not said.
        keep: u32,
        /// How much too early it joins the delivery of something else that is ordered for the home; not at
        /// all where not said.
        join: String,
    }
    /// What being without costs against having it too early.
    CostDefinition {
        /// A day without; 9 where not said.
        without: f64,
        /// A day too early; 1 where not said.
        early: f64,
    }
    /// How much is ordered.
    QuantityDefinition {
        /// For how long it should last.
        cover: String,
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    }
    /// To how many it goes.
    RolloutDefinition {
        /// Who gets nothing, to compare with.
        holdout: HoldoutDefinition,
        /// Shares in percent, step by step.
        ramp: Vec<f64>,
        /// When it stops by itself.
        guard: GuardDefinition,
    }
    /// Who gets nothing, to compare with.
    HoldoutDefinition {
        /// Share.
        percent: f64,
        /// By what it is drawn.
        unit: String,
        /// With what it is drawn.
        salt: String,
    }
    /// When it stops by itself.
    GuardDefinition {
        /// Share of opt-outs.
        opt_out_rate: f64,
        /// After so many.
        min_sends: u32,
        /// What happens then.
        action: String,
    }
    /// One case: in this home, at this hour, this comes in; what follows?
    CaseDefinition {
        /// Which rule it tells.
        name: String,
        /// The home as it is; the default home where not said.
        given: GivenDefinition,
        /// What comes in: a file's name, or the body itself.
        input: serde_json::Value,
        /// How much time passes after the input; what becomes due in it is decided too.
        after: String,
        /// What must follow.
        expect: ExpectDefinition,
    }
    /// The home as it is before the input.
    GivenDefinition {
        /// A file with these same keys, as the ground under those written here.
        household: String,
        /// When the input comes: RFC 3339, also with a zone in brackets.
        now: String,
        /// The home's zone; `Europe/Paris` where not said.
        zone: String,
        /// The home's language.
        locale: String,
        /// The device's model; the trigger's first where not said.
        model: String,
        /// The person's role; `owner` where not said, `none` for nobody.
        role: String,
        /// Purposes consented to; those that the trigger needs where not said.
        consents: Vec<String>,
        /// The person's segments.
        segments: Vec<String>,
        /// The audiences on whose lists the person is.
        lists: Vec<String>,
        /// What the device says about its surroundings.
        context: BTreeMap<String, Scalar>,
        /// What it reported last, a minute ago.
        telemetry: BTreeMap<String, Scalar>,
        /// What its slots hold, by what it said a minute ago.
        slots: BTreeMap<String, SlotGiven>,
        /// Times the home was spoken to by this trigger, as durations before now.
        contacts: Vec<String>,
    }
    /// A slot before the input.
    SlotGiven {
        /// Used so much.
        used: f64,
        /// So much remains.
        remaining: f64,
        /// A word.
        flag: String,
        /// The full amount.
        capacity: f64,
        /// Spares at home.
        on_hand: u32,
        /// How much was used of it each of the last thirty days.
        per_day: f64,
    }
    /// What must follow.
    ExpectDefinition {
        /// Whether an offer leaves.
        send: bool,
        /// The first step that stops it: `quiet`, or with what it names: `conditions: context.presence`.
        first_block: String,
        /// The language of the offer.
        locale: String,
        /// Its product.
        product: String,
        /// Its headline.
        title: String,
    }
}

/// A number, or text with its unit such as `17 °C`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// In the field's unit.
    Number(f64),
    /// With its unit.
    Text(String),
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Names {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Names::One(name) => std::slice::from_ref(name).iter(),
            Names::Many(names) => names.iter(),
        }
        .map(String::as_str)
    }
    /// All of them, each with its JSON pointer: one name stands at `pointer` itself.
    pub fn places(&self, pointer: &str) -> Vec<(String, &str)> {
        match self {
            Names::One(name) => vec![(pointer.to_owned(), name)],
            Names::Many(names) => {
                names.iter().enumerate().map(|(i, name)| (format!("{pointer}/{i}"), name.as_str())).collect()
            }
        }
    }
}

/// A number, a text or a truth value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Scalar {
    /// As a measured value.
    pub fn to_value(&self) -> crate::model::Value {
        match self {
            Scalar::Bool(b) => crate::model::Value::Bool(*b),
            Scalar::Number(x) => crate::model::Value::Number(*x),
            Scalar::Text(text) => crate::model::Value::Text(text.as_str().into()),
        }
    }
}

/// Which product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ProductDefinition {
    /// This one.
    Fixed(String),
    /// Found by rule.
    Rule(ProductRule),
}
