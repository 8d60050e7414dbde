//! The one entry and the pipeline.
//!
//! [`decide`] looks at what happened and hands it to the file that knows it: `device` (what
//! devices report), `claim` (who a device belongs to), `consent`, `offer` and `order` (what
//! people answer and shops do), `timer`. Those that may wake a trigger end in `pipeline`, which
//! holds the order of evaluation.

mod accept;
mod activate;
mod apply;
mod audiences;
mod budget;
mod choose;
mod claim;
mod consent;
mod context;
mod controls;
mod deadline;
mod device;
mod draft;
mod edge;
mod ended;
mod erase;
mod event_time;
mod forecast;
mod foreseen;
mod habit;
mod leave;
mod mandate;
mod members;
mod merge;
mod offer;
mod order;
mod pipeline;
mod purchases;
mod quote;
mod rank;
mod render;
mod said;
mod shared;
mod stay;
mod steps;
mod stolen;
mod supply;
mod sync;
mod telemetry;
mod timer;
mod trend;
mod wake;
mod watched;
mod why_not;

pub use activate::stands_beyond;

use crate::budget::{Purse, Unasked, Untouched};
use crate::code::{Code, Refusal};
use crate::decision::{Change, Decision, Reply};
use crate::id::{DeviceKey, ProfileId};
use crate::input::{Command, Input, What};
use crate::model::Household;
use crate::rules::RuleSet;
use crate::time::{Span, Timestamp};
use crate::trace::CandidateTrace;
use crate::trigger::Trigger;
use crate::wire::{DeviceMessage, EventUp, OrderOp};
use draft::Draft;
use ended::drop_ended;

pub use foreseen::{Basis, Foreseen, Unforeseen, foreseen};
pub use quote::{ALTERNATIVES_MAX, Ask, PassedOver, SellerQuote, compare, own_seller, stores};
pub use supply::cause as purchase_cause;

/// How long an answer to a device's own message is worth sending.
const REPLY_TTL: Span = Span::minutes(10);

/// What a handler answers.
type Answered = Result<Reply, Refusal>;

/// Decides what follows from one input in a home by itself: nothing is drawn yet from any budget.
pub fn decide(facts: &Household, input: &Input, rules: &RuleSet, now: Timestamp) -> Decision {
    decide_with(facts, input, rules, now, &Untouched)
}

/// Decides what follows from one input.
///
/// Pure: the same facts, input, rules, `now` and answers of the purse give the same decision, byte
/// for byte. The caller commits `changes` and `effects` together, and only then answers; what the
/// purse granted becomes true with that commit, or is given back.
pub fn decide_with(facts: &Household, input: &Input, rules: &RuleSet, now: Timestamp, purse: &dyn Purse) -> Decision {
    let mut draft = Draft::new(facts, input, rules, now, purse);
    let reply = match &input.what {
        What::Device(message) => from_device(&mut draft, message),
        What::Command(command) => from_command(&mut draft, command),
        What::Timer => timer::due(&mut draft),
        What::Reachable { waiting } => {
            with_device(&mut draft, |draft, device| offer::reachable(draft, &device, waiting))
        }
        What::ConnectionLost => with_device(&mut draft, |draft, device| device::connection_lost(draft, &device)),
    };
    draft.close(reply)
}

/// Why a trigger would, or would not, send for an input that did not wake it: every step looked
/// at, nothing changed or drawn.
pub fn why_not_candidate(facts: &Household, input: &Input, rules: &RuleSet, trigger: &Trigger) -> CandidateTrace {
    why_not_with(facts, input, rules, trigger, &Unasked)
}

/// The same with what is left of budgets.
pub fn why_not_with(
    facts: &Household,
    input: &Input,
    rules: &RuleSet,
    trigger: &Trigger,
    purse: &dyn Purse,
) -> CandidateTrace {
    why_not::why_not(facts, input, rules, trigger, purse)
}

fn from_device(draft: &mut Draft<'_>, message: &DeviceMessage) -> Answered {
    let device = known_device(draft)?;
    let home = draft.before();
    let is_withdrawal =
        matches!(message, DeviceMessage::Consent(consent) if consent.set.iter().any(|word| !word.granted));
    if let Some(known) = home.devices.get(&device)
        && let Some(reason) = &known.suspended
        && !is_withdrawal
    {
        // Whoever holds a stolen device need not know more.
        let why = if known.is_stolen() { String::new() } else { format!(": {reason}") };
        return Err(Refusal::new(Code::DeviceSuspended, format!("this device is suspended{why}")));
    }
    device::count_sequence(draft, &device);
    let answered = match message {
        DeviceMessage::Presence(presence) => device::presence(draft, &device, presence),
        DeviceMessage::Desc(description) => device::describe(draft, &device, description),
        DeviceMessage::Telemetry(samples) => telemetry::samples(draft, &device, samples),
        DeviceMessage::Event(event) => device::event(draft, &device, event),
        DeviceMessage::Context(said) => context::of_device(draft, &device, said),
        DeviceMessage::Slot(slot) => telemetry::slot(draft, &device, slot),
        DeviceMessage::State(state) => telemetry::state(draft, &device, state),
        DeviceMessage::Sync(wanted) => sync::current_set(draft, &device, wanted),
        DeviceMessage::Claim(claim) => claim::asked(draft, &device, *claim),
        DeviceMessage::Receipt(receipt) => offer::receipt(draft, &device, receipt),
        DeviceMessage::Answer(answer) => offer::answered_on_device(draft, &device, answer),
        DeviceMessage::OfferGet { .. } => sync::offers_now(draft, &device),
        DeviceMessage::Replenish(said) => mandate::answered(draft, &device, said),
        DeviceMessage::ReplenishUnread { .. } => {
            Err(Refusal::new(Code::OrderNotCancellable, "there is no announced automatic order to answer"))
        }
        DeviceMessage::Order(order) => match order.op {
            OrderOp::Cancel => order::cancelled_on_device(draft, &device, order),
            OrderOp::Withdraw => order::withdrawn_on_device(draft, &device, order),
            OrderOp::Problem => order::told_to_the_shop(draft, &device, order),
        },
        DeviceMessage::Consent(consent) => consent::set_on_device(draft, &device, consent),
        DeviceMessage::Lifecycle(lifecycle) => leave::lifecycle(draft, &device, *lifecycle),
        DeviceMessage::Time { t0 } => device::time(draft, &device, *t0),
        DeviceMessage::Doctor { seen } => device::doctor(draft, &device, seen),
    }?;
    wake::armed(draft, &device);
    Ok(answered)
}

fn from_command(draft: &mut Draft<'_>, command: &Command) -> Answered {
    match command {
        Command::Register { model, serial, generation } => {
            claim::register(draft, model, serial.as_deref(), *generation)
        }
        Command::CredentialUsed => with_device(draft, |draft, device| device::credential_used(draft, &device)),
        Command::ConfirmClaim { code, join } => {
            with_device(draft, |draft, device| claim::confirmed(draft, &device, code, join, None))
        }
        Command::LinkDirectly { join } => {
            with_device(draft, |draft, device| claim::linked_directly(draft, &device, join, None))
        }
        Command::Arrive { id, device, join, .. } => claim::arrived(draft, *id, device, join.as_deref(), &[]),
        Command::ArriveKnown { id, device, join, contacts, .. } => {
            claim::arrived(draft, *id, device, join.as_deref(), contacts)
        }
        Command::Release => with_device(draft, |draft, device| leave::released(draft, &device)),
        Command::Suspend { reason } => with_device(draft, |draft, device| device::suspend(draft, &device, reason)),
        Command::Resume => with_device(draft, |draft, device| device::resume(draft, &device)),
        Command::SetConsents { profile, records } => consent::set_by_shop(draft, profile, records),
        Command::ProfileChanged { member, zone } => consent::profile_changed(draft, member, zone.as_ref()),
        Command::AnswerOffer { offer, rev, answer, channel, profile } => {
            offer::answered_elsewhere(draft, *offer, *rev, answer, channel, profile.as_ref())
        }
        Command::SetOrderStatus { order, rev, state, eta } => {
            order::once(draft, *order, |draft| order::moved_by_shop(draft, *order, *rev, *state, eta.as_deref()))
        }
        Command::CancelOrder { order, channel } => order::cancelled_elsewhere(draft, *order, channel),
        Command::WithdrawOrder { order, channel } => order::withdraw(draft, *order, channel),
        Command::RefundOrder { order, rev, lines } => {
            order::once(draft, *order, |draft| order::refund(draft, *order, *rev, lines))
        }
        Command::ShipLines { order, rev, lines, eta } => {
            order::once(draft, *order, |draft| order::ship_lines(draft, *order, *rev, lines, eta.as_deref()))
        }
        Command::WithdrawOffer { offer, reason } => offer::taken_back(draft, *offer, reason),
        Command::SetContext { name, value, until } => context::of_home(draft, name, value, *until),
        Command::Purchased { product, bought } => supply::bought_elsewhere(draft, product, *bought),
        Command::ElsewhereSaid { profile, event, cause } => elsewhere(draft, profile, event, *cause),
        Command::GiveMandate(given) => mandate::given(draft, given),
        Command::EndMandate(id) => mandate::ended(draft, id),
        Command::ForgetPerson(leaving) => erase::forgotten(draft, leaving),
        Command::Activated { trigger, version } => {
            with_device(draft, |draft, device| activate::activated(draft, &device, trigger, *version))
        }
        Command::SetStanding { profile, standing } => members::standing_set(draft, profile, standing),
        Command::AddMember { join } => with_device(draft, |draft, device| members::added(draft, &device, join)),
        Command::SetRole { profile, role } => members::role_set(draft, profile, *role),
        Command::RemoveMember { profile } => members::removed(draft, profile),
        Command::Replace { old } => with_device(draft, |draft, device| members::replaced(draft, &device, old)),
        Command::Merge(merge) => merge::merged(draft, merge),
        Command::Unmerge(undo) => merge::unmerged(draft, undo),
        Command::FlagStolen => with_device(draft, |draft, device| stolen::flagged(draft, &device)),
        Command::EndStolen => with_device(draft, |draft, device| stolen::found(draft, &device)),
        Command::JoinForStay { code, join, until } => with_device(draft, |draft, device| match code {
            Some(code) => claim::confirmed(draft, &device, code, join, Some(*until)),
            None => claim::linked_directly(draft, &device, join, Some(*until)),
        }),
        Command::ShareWithGuests { until } => with_device(draft, |draft, device| stay::shared(draft, &device, *until)),
        Command::EndSharing => with_device(draft, |draft, device| stay::not_shared(draft, &device)),
        Command::SetSteadyContext { name, value, step_max, until } => {
            context::steady(draft, name, *value, *step_max, *until)
        }
        Command::EndStay => with_device(draft, |draft, device| stay::over(draft, &device)),
    }
}

/// The device that the input is about, if it lives here.
fn known_device(draft: &Draft<'_>) -> Result<DeviceKey, Refusal> {
    let unknown =
        |shown: String| Refusal::new(Code::DeviceUnknown, format!("no device `{shown}` lives in this household"));
    match &draft.input.device {
        Some(device) if draft.before().devices.contains_key(device) => Ok(device.clone()),
        Some(device) => Err(unknown(device.to_string())),
        None => Err(unknown("(none named)".to_owned())),
    }
}

fn with_device(draft: &mut Draft<'_>, act: impl FnOnce(&mut Draft<'_>, DeviceKey) -> Answered) -> Answered {
    let device = known_device(draft)?;
    act(draft, device)
}

/// Something that a person did on another channel, taken once.
fn elsewhere(draft: &mut Draft<'_>, profile: &ProfileId, event: &EventUp, cause: u64) -> Answered {
    if draft.before().supply.heard.contains(&cause) {
        draft.note("this was told before");
        return Ok(Reply::Unchanged);
    }
    draft.change(Change::PurchaseHeard(cause));
    draft.note(format!("{} did {} on another channel", profile, event.r#type));
    let at = event.t.unwrap_or(draft.now);
    wake::by_channel(draft, profile, event, at);
    Ok(Reply::Done)
}
