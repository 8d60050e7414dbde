//! What happened with a person, on all channels, in one ordered list: read from the logs of their homes.

use hearthway_core::id::{DeviceKey, HouseholdId, OfferId, OrderId, ProductId, ProfileId};
use hearthway_core::input::{Answer, Command, What};
use hearthway_core::time::Timestamp;
use hearthway_core::trace::Verdict;
use hearthway_core::wire::{DeviceMessage, LifecycleUp};

use super::profiles::Person;
use super::tenure::Tenure;
use super::tokens::{Caller, Scope};
use super::{App, Failure, Page, PageQuery};
use crate::engine::rows::{LogRow, LogVerdict};
use crate::store::StoreError;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// When the gateway heard of it.
    pub at: Timestamp,
    /// In which home.
    pub household: HouseholdId,
    /// The number of the input in the home's log.
    pub seq: u64,
    /// Several things of one input stand in this order.
    pub part: u32,
    /// On or about which device.
    pub device: Option<DeviceKey>,
    /// From where: `device`, `app`, `shop`, ….
    pub channel: String,
    /// What, such as `offer.sent`.
    pub what: &'static str,
    /// A word more: the answer, the state, the product, the trigger.
    pub detail: Option<String>,
    /// The offer it is about.
    pub offer: Option<OfferId>,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// In whose name; the name that was used then, also where profiles were merged since.
    pub profile: Option<ProfileId>,
}

/// Where a page begins: everything that happened before this.
type Place = (Timestamp, HouseholdId, u64, u32);

impl Happened {
    fn place(&self) -> Place {
        (self.at, self.household, self.seq, self.part)
    }
    fn cursor(&self) -> String {
        format!("{}.{}.{}.{}", self.at.0, self.household, self.seq, self.part)
    }
}

fn place_of(cursor: &str) -> Option<Place> {
    let [at, household, seq, part]: [&str; 4] = cursor.split('.').collect::<Vec<_>>().try_into().ok()?;
    Some((Timestamp(at.parse().ok()?), household.parse().ok()?, seq.parse().ok()?, part.parse().ok()?))
}

impl App {
    /// What happened with a person, newest first.
    pub async fn timeline(&self, who: &Caller, id: &str, page: &PageQuery) -> Result<Page<Happened>, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        let person = self.person(retailer, id).await?;
        let before = match &page.cursor {
            Some(cursor) => Some(
                place_of(cursor).ok_or_else(|| Failure::invalid("", "the parameter `cursor` is not one of ours"))?,
            ),
            None => None,
        };
        let (engine, limit) = (self.engine.clone(), page.limit);
        let read = tokio::task::spawn_blocking(move || happened(&engine, &person, before, limit + 1));
        let broken = |_| StoreError::Failed { doing: "reading a timeline", cause: "it broke off".to_owned() };
        let mut items = read.await.map_err(broken)??;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(Happened::cursor);
        Ok(Page { items, next })
    }
}

/// The last things that happened with a person before a place, newest first.
pub(super) fn happened(
    engine: &crate::engine::Engine,
    person: &Person,
    before: Option<Place>,
    limit: usize,
) -> Result<Vec<Happened>, StoreError> {
    let mut all = Vec::new();
    for home in &person.homes {
        // Where the log does not show how they came, all of it is later.
        let since = Tenure::read(engine, home, person)?.since().unwrap_or(Timestamp(0));
        let mut of_home = Vec::new();
        engine.inputs_back(home.id, |row| {
            if row.input.received_at < since {
                return false;
            }
            let found = read(&row, home.id).into_iter().rev();
            of_home.extend(
                found.filter(|item| concerns(item, person)).filter(|item| before.is_none_or(|b| item.place() < b)),
            );
            of_home.len() < limit
        })?;
        all.extend(of_home);
    }
    all.sort_by_key(|item| std::cmp::Reverse(item.place()));
    all.truncate(limit);
    Ok(all)
}

/// Whether it is this person's business: what another one of the home said or permitted is not.
fn concerns(item: &Happened, person: &Person) -> bool {
    let names = |profile: &ProfileId| *profile == person.profile.id || person.profile.merged_from.contains(profile);
    item.profile.as_ref().is_none_or(names)
}

/// What an input meant to a person; telemetry and the like mean nothing.
fn read(row: &LogRow, household: HouseholdId) -> Vec<Happened> {
    if matches!(row.verdict, LogVerdict::Refused(_)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let blank = |channel: &str, what| Happened {
        at: row.input.received_at,
        household,
        seq: row.seq,
        part: 0,
        device: row.input.device.clone(),
        channel: channel.to_owned(),
        what,
        detail: None,
        offer: None,
        order: None,
        profile: None,
    };
    match &row.input.what {
        What::Device(message) => found.extend(of_device(message, blank("device", ""))),
        What::Command(command) => found.extend(of_command(command, blank("shop", ""))),
        What::Timer | What::Reachable { .. } | What::ConnectionLost => {}
    }
    let sent = row.candidates.iter().filter(|candidate| candidate.verdict == Verdict::Sent);
    found.extend(sent.map(|candidate| Happened {
        detail: Some(candidate.trigger.to_string()),
        offer: candidate.offer,
        ..blank("device", "offer.sent")
    }));
    for (part, item) in (0..).zip(&mut found) {
        item.part = part;
    }
    found
}

fn of_device(message: &DeviceMessage, blank: Happened) -> Option<Happened> {
    Some(match message {
        DeviceMessage::Receipt(said) => Happened {
            what: "offer.receipt",
            detail: Some(format!("{:?}", said.state).to_lowercase()),
            offer: Some(said.offer),
            ..blank
        },
        DeviceMessage::Answer(said) => answered(&said.answer, said.offer, blank),
        DeviceMessage::Order(said) => Happened {
            what: "order.asked",
            detail: Some(format!("{:?}", said.op).to_lowercase()),
            order: Some(said.order),
            ..blank
        },
        DeviceMessage::Replenish(said) => Happened { what: "order.asked", order: said.order, ..blank },
        DeviceMessage::Consent(said) => {
            let words = said.set.iter().map(|word| {
                format!("{} {}", word.purpose.as_str(), if word.granted { "granted" } else { "withdrawn" })
            });
            let pause = said.pause_until.is_some().then(|| "pause".to_owned());
            let words: Vec<String> = words.chain(pause).collect();
            Happened { what: "consent.set", detail: Some(words.join(", ")), ..blank }
        }
        DeviceMessage::Lifecycle(LifecycleUp::Reset { .. }) => Happened { what: "device.reset", ..blank },
        DeviceMessage::Lifecycle(LifecycleUp::Decommission) => Happened { what: "device.decommissioned", ..blank },
        DeviceMessage::Lifecycle(LifecycleUp::Wiped) => Happened { what: "device.wiped", ..blank },
        DeviceMessage::Event(said) => Happened { what: "device.event", detail: Some(said.r#type.to_string()), ..blank },
        DeviceMessage::Presence(_)
        | DeviceMessage::Desc(_)
        | DeviceMessage::Telemetry(_)
        | DeviceMessage::Context(_)
        | DeviceMessage::Slot(_)
        | DeviceMessage::State(_)
        | DeviceMessage::Sync(_)
        | DeviceMessage::Claim(_)
        | DeviceMessage::OfferGet { .. }
        | DeviceMessage::ReplenishUnread { .. }
        | DeviceMessage::Time { .. }
        | DeviceMessage::Doctor { .. } => return None,
    })
}

/// How many of what.
fn in_words(lines: &[(ProductId, u32)]) -> String {
    lines.iter().map(|(product, qty)| format!("{qty} {product}")).collect::<Vec<_>>().join(", ")
}

fn answered(answer: &Answer, offer: OfferId, blank: Happened) -> Happened {
    Happened { what: "offer.answered", detail: Some(answer.as_str().to_owned()), offer: Some(offer), ..blank }
}

fn of_command(command: &Command, blank: Happened) -> Option<Happened> {
    let by = |profile: &ProfileId, what| Happened { what, profile: Some(profile.clone()), ..blank.clone() };
    Some(match command {
        Command::AnswerOffer { offer, answer, channel, profile, .. } => {
            Happened { channel: channel.clone(), profile: profile.clone(), ..answered(answer, *offer, blank) }
        }
        Command::SetOrderStatus { order, state, .. } => {
            Happened { what: "order.status", detail: Some(state.as_str().to_owned()), order: Some(*order), ..blank }
        }
        Command::CancelOrder { order, channel } => {
            Happened { what: "order.cancelled", order: Some(*order), channel: channel.clone(), ..blank }
        }
        Command::WithdrawOrder { order, channel } => {
            Happened { what: "order.withdrawn", order: Some(*order), channel: channel.clone(), ..blank }
        }
        Command::RefundOrder { order, lines, .. } => {
            Happened { what: "order.refunded", detail: Some(in_words(lines)), order: Some(*order), ..blank }
        }
        Command::ShipLines { order, lines, .. } => {
            Happened { what: "order.shipped", detail: Some(in_words(lines)), order: Some(*order), ..blank }
        }
        Command::WithdrawOffer { offer, reason } => {
            Happened { what: "offer.withdrawn", detail: Some(reason.clone()), offer: Some(*offer), ..blank }
        }
        Command::SetConsents { profile, records } => {
            let words = records.iter().map(|(purpose, record)| {
                format!("{} {}", purpose.as_str(), if record.granted { "granted" } else { "withdrawn" })
            });
            Happened { detail: Some(words.collect::<Vec<_>>().join(", ")), ..by(profile, "consent.set") }
        }
        Command::JoinForStay { join, until, .. } => {
            Happened { detail: Some(format!("until {until}")), ..by(&join.member.profile, "device.linked") }
        }
        Command::ConfirmClaim { join, .. } | Command::LinkDirectly { join } => {
            by(&join.member.profile, "device.linked")
        }
        Command::Arrive { join: Some(join), .. } | Command::ArriveKnown { join: Some(join), .. } => {
            by(&join.member.profile, "device.linked")
        }
        Command::AddMember { join } => {
            Happened { detail: Some(join.role().as_str().to_owned()), ..by(&join.member.profile, "member.joined") }
        }
        Command::SetRole { profile, role } => {
            Happened { detail: Some(role.as_str().to_owned()), ..by(profile, "member.role") }
        }
        Command::RemoveMember { profile } => by(profile, "member.left"),
        Command::EndStay => Happened {
            channel: "gateway".to_owned(),
            what: "device.released",
            detail: Some("the stay is over".to_owned()),
            ..blank
        },
        Command::ShareWithGuests { .. } => Happened { what: "device.shared", ..blank },
        Command::EndSharing => Happened { what: "device.not_shared", ..blank },
        Command::Release => Happened { what: "device.released", ..blank },
        Command::Suspend { reason } => Happened { what: "device.suspended", detail: Some(reason.clone()), ..blank },
        Command::Resume => Happened { what: "device.resumed", ..blank },
        Command::FlagStolen => Happened { what: "device.stolen", ..blank },
        Command::EndStolen => Happened { what: "device.found", ..blank },
        Command::Replace { old } => Happened { what: "device.replaced", detail: Some(old.device.to_string()), ..blank },
        Command::Purchased { product, .. } => {
            Happened { what: "purchase", channel: "elsewhere".to_owned(), detail: Some(product.to_string()), ..blank }
        }
        Command::ElsewhereSaid { profile, event, .. } => Happened {
            channel: "elsewhere".to_owned(),
            detail: Some(event.r#type.clone()),
            ..by(profile, "channel.event")
        },
        Command::GiveMandate(mandate) => {
            Happened { detail: Some(mandate.id.to_string()), ..by(&mandate.profile, "mandate.given") }
        }
        Command::EndMandate(id) => Happened { what: "mandate.ended", detail: Some(id.to_string()), ..blank },
        Command::SetStanding { profile, .. } => by(profile, "preferences.changed"),
        Command::Merge(merge) => {
            Happened { detail: Some(merge.from.to_string()), ..by(&merge.into.profile, "profile.merged") }
        }
        Command::Unmerge(undo) => {
            Happened { detail: Some(undo.from.profile.to_string()), ..by(&undo.into.profile, "profile.parted") }
        }
        Command::Register { .. }
        | Command::ForgetPerson(_)
        | Command::CredentialUsed
        | Command::Arrive { join: None, .. }
        | Command::ArriveKnown { join: None, .. }
        | Command::ProfileChanged { .. }
        | Command::SetContext { .. }
        | Command::SetSteadyContext { .. }
        | Command::Activated { .. } => return None,
    })
}
