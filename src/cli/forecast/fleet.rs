//! A fleet of homes that live a year: what is used up, what the sensors say of it, what a policy
//! orders, and when it arrives. The same seed gives the same homes, whatever the policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use device_sim::model::{Appliance, KNOWN, Known, Remark, Reservoirs, SlotReading, Surroundings};
use device_sim::rng::Stream;
use hearthway_core::decide::decide;
use hearthway_core::decision::Change;
use hearthway_core::id::{
    DeviceKey, HouseholdId, InputId, LinkId, MandateId, ModelId, OrderId, ProductId, ProfileId, RetailerId, SlotId,
};
use hearthway_core::input::{Command, Input, Sender, What};
use hearthway_core::model::{
    ConsentRecord, ConsentSource, Device, DeviceModel, Evidence, Fit, Household, LeadDays, Link, Mandate, Member,
    OrderState, Product, Purpose, Retailer, Role,
};
use hearthway_core::money::{Currency, Money};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trigger::{SourceFile, TriggerSet, World, check};
use hearthway_core::wire::{DeviceMessage, SlotUp, read_description};

/// The appliances of every home.
const MODELS: [&str; 4] = ["pr-4", "ws-25", "pf-3", "fr-70"];
/// A new one is put in when so little is left of the old one.
const EMPTY_SHARE: f64 = 0.02;
/// The threshold rule orders one when so little is left.
const THRESHOLD_SHARE: f64 = 0.2;
/// Days from order to arrival, drawn evenly from these.
const LEAD_DAYS: [i64; 5] = [1, 2, 2, 3, 4];

/// Who decides what is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// One piece, when a reading falls to a fifth.
    Threshold,
    /// The gateway's triggers on forecasts, under the customer's mandate.
    Forecast,
}

/// What came of a policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    /// Reservoirs that were used up.
    pub(super) cycles: u64,
    /// Those for which no spare was at home then.
    pub(super) run_outs: u64,
    /// Days on which something was empty, over all reservoirs.
    pub(super) days_without: u64,
    /// Parcels.
    pub(super) parcels: u64,
    /// Pieces in them.
    pub(super) pieces: u64,
    /// Spares on shelves, summed over days.
    pub(super) spare_days: u64,
    /// Parcels by day.
    pub(super) by_day: Vec<u32>,
}

impl Outcome {
    /// Adds another home's.
    pub(super) fn add(&mut self, other: &Outcome) {
        self.cycles += other.cycles;
        self.run_outs += other.run_outs;
        self.days_without += other.days_without;
        self.parcels += other.parcels;
        self.pieces += other.pieces;
        self.spare_days += other.spare_days;
        self.by_day.resize(self.by_day.len().max(other.by_day.len()), 0);
        self.by_day.iter_mut().zip(&other.by_day).for_each(|(sum, more)| *sum += more);
    }
}

/// The shop in which all homes buy.
pub(super) struct Shop {
    rules: RuleSet,
    retailer: RetailerId,
    zone: Zone,
    start: Timestamp,
}

impl Shop {
    /// A shop with a product and a trigger for every reservoir.
    pub(super) fn open() -> anyhow::Result<Shop> {
        let retailer = RetailerId::new("shop-a")?;
        let zone = Zone::new("Europe/Paris").map_err(|error| anyhow!(error))?;
        let mut rules = RuleSet { version: 1, ..RuleSet::default() };
        let shop = Retailer {
            name: "Shop".into(),
            default_locale: "en".into(),
            zone: zone.clone(),
            ranking: Default::default(),
        };
        rules.retailers.insert(retailer.clone(), Arc::new(shop));
        let start = Timestamp::parse_rfc3339("2026-01-05T00:00:00+01:00").context("a fixed instant reads")?;
        let mut triggers = String::new();
        for known in MODELS.iter().filter_map(|model| Known::of(model)) {
            let appliance = build(known, start, 2, 0.0, Stream::of(0, &[known.model]), &zone);
            let description = read_description(&appliance.description(), None)?;
            for slot in description.slots.keys() {
                let product = product(known, slot)?;
                triggers.push_str(&trigger(known, slot));
                rules.products.listed.insert((retailer.clone(), product.id.clone()), Arc::new(product));
            }
            let model = DeviceModel { maker: known.maker.to_owned().try_into()?, description };
            rules.models.insert(model.description.model.clone(), Arc::new(model));
        }
        let catalogue = World {
            retailer: retailer.clone(),
            version: 1,
            models: &rules.models,
            products: &rules.products,
            default_locale: "en",
        };
        let checked = check(&[SourceFile { name: "fleet.toml".into(), text: triggers }], &catalogue);
        if let Some(problem) = checked.problems.iter().find(|problem| problem.is_error()) {
            return Err(anyhow!("the fleet's own triggers: {}", problem.message));
        }
        rules.triggers = TriggerSet::build(checked.triggers);
        Ok(Shop { rules, retailer, zone, start })
    }

    /// Lives so many days of one home.
    pub(super) fn live(&self, policy: Policy, seed: u64, home: u32, days: u32) -> anyhow::Result<Outcome> {
        let mut life = Life::new(self, policy, seed, home)?;
        for day in 1..=days {
            life.day(i64::from(day))?;
        }
        Ok(life.outcome)
    }
}

fn build(known: Known, at: Timestamp, people: u32, wear: f64, luck: Stream, zone: &Zone) -> Appliance {
    let around = Surroundings { zone: zone.clone(), people, wear, report_every: Span::hours(24) };
    known.build(at, around, luck)
}

fn product(known: Known, slot: &SlotId) -> anyhow::Result<Product> {
    let eur = Currency::new("EUR").map_err(|error| anyhow!("{error}"))?;
    let id = product_id(known.model, slot.as_str())?;
    Ok(Product {
        name: [("en".to_owned(), id.to_string())].into(),
        id,
        gtin: None,
        price: Money::new(1_500, eur),
        delivery: Money::new(0, eur),
        tax_incl: true,
        seller: "shop-a".into(),
        withdraw_days: 14,
        fits: vec![Fit { model: ModelId::new(known.model)?, slot: slot.clone() }],
        lead_days: Some(LeadDays { p10: 1, p50: 2, p90: 4 }),
        ..Product::plain(product_id(known.model, slot.as_str())?, Default::default(), Money::new(1_500, eur), "shop-a")
    })
}

fn product_id(model: &str, slot: &str) -> anyhow::Result<ProductId> {
    Ok(ProductId::new(format!("{model}.{slot}"))?)
}

/// Orders for two months at once, joins what goes anyhow, and is safe by two days.
fn trigger(known: Known, slot: &SlotId) -> String {
    format!(
        r#"
[[trigger]]
id = "restock-{model}-{slot}"
kind = "replenish"
on = {{ event = "forecast", device = {{ model = "{model}" }}, slot = "{slot}", field = "order_by" }}
[trigger.offer]
product = {{ by = "slot_compatible" }}
actions = ["order", "decline"]
text.en = {{ title = "Restock", body = "Empty {{{{ slot.expected_empty }}}}." }}
[trigger.replenish]
mode = "auto"
safety = "6d"
notice = "12h"
quantity = {{ cover = "75d", min = 1, max = 3 }}
join = "14d"
"#,
        model = known.model
    )
}

/// One reservoir as the home sees it.
#[derive(Default)]
struct Stock {
    spares: u32,
    is_empty: bool,
    /// Ordered by the threshold rule and not here yet.
    is_ordered: bool,
}

struct Parcel {
    arrives: i64,
    pieces: BTreeMap<ProductId, u32>,
    orders: Vec<OrderId>,
}

/// One home in one policy.
struct Life<'s> {
    shop: &'s Shop,
    policy: Policy,
    devices: Vec<(DeviceKey, &'static str, Box<Reservoirs>)>,
    stock: BTreeMap<ProductId, Stock>,
    parcels: Vec<Parcel>,
    post: Stream,
    home: Household,
    inputs: u64,
    outcome: Outcome,
}

impl<'s> Life<'s> {
    fn new(shop: &'s Shop, policy: Policy, seed: u64, number: u32) -> anyhow::Result<Life<'s>> {
        let name = format!("home-{number}");
        let mut luck = Stream::of(seed, &[&name]);
        let profile = ProfileId::new(&name)?;
        let mut home = Household::empty(HouseholdId::of_profile(&shop.retailer, &profile));
        let granted = ConsentRecord {
            granted: true,
            at: shop.start,
            source: ConsentSource::Shop,
            method: None,
            text_id: None,
            expires_at: None,
        };
        let consents = [Purpose::ReplenishDevice, Purpose::AutoOrder].map(|purpose| (purpose, granted.clone()));
        let member = Member {
            profile: profile.clone(),
            display_name: name.clone(),
            locale: Some("en".into()),
            role: Role::Owner,
            segments: Default::default(),
            consents: consents.into_iter().collect(),
        };
        let zone = Some(shop.zone.clone());
        home.apply(&Change::HomeSet { retailer: Some(shop.retailer.clone()), zone, locale: Some("en".into()) });
        home.apply(&Change::MemberSet(Arc::new(member)));
        let people = 1 + luck.below(4) as u32;
        let mut devices = Vec::new();
        let products = shop.rules.products.listed.keys().map(|(_, product)| product.clone()).collect();
        for known in KNOWN.into_iter().filter(|known| MODELS.contains(&known.model)) {
            let wear = luck.between(0.0, 0.8);
            let stream = Stream::of(seed, &[&name, known.model]);
            let Appliance::Reservoirs(appliance) = build(known, shop.start, people, wear, stream, &shop.zone) else {
                return Err(anyhow!("{} has no reservoirs", known.model));
            };
            let key: DeviceKey = format!("{}/{name}-{}", known.maker, known.model).parse()?;
            let device = Device::registered(key.clone(), ModelId::new(known.model)?, None, shop.start);
            home.apply(&Change::DeviceSet(Box::new(device)));
            let link = Link {
                id: LinkId::derived(&[key.to_string().as_bytes()]),
                device: key.clone(),
                profile: profile.clone(),
                role: Role::Owner,
                since: shop.start,
            };
            home.apply(&Change::LinkSet(link));
            let mandate = Mandate {
                id: MandateId::new(known.model)?,
                profile: profile.clone(),
                device: key.clone(),
                slot: None,
                products: std::clone::Clone::clone(&products),
                max_price: Money::new(100_000, Currency::new("EUR").map_err(|error| anyhow!("{error}"))?),
                max_per_30d: 30,
                expires_at: shop.start + Span::days(10_000),
                given_at: shop.start,
                ordered: Vec::new(),
            };
            home.apply(&Change::MandateSet(Box::new(mandate)));
            devices.push((key, known.model, appliance));
        }
        let stock = products.into_iter().map(|product| (product, Stock::default())).collect();
        let post = Stream::of(seed, &[&name, "post"]);
        let outcome = Outcome::default();
        Ok(Life { shop, policy, devices, stock, parcels: Vec::new(), post, home, inputs: 0, outcome })
    }

    /// One day: the post comes, people refill what is empty, the appliances are used and report,
    /// and what was ordered leaves the shop.
    fn day(&mut self, day: i64) -> anyhow::Result<()> {
        self.receive(day)?;
        self.refill()?;
        let now = self.shop.start + Span::days(day);
        let mut wanted: BTreeMap<ProductId, u32> = BTreeMap::new();
        for at in 0..self.devices.len() {
            let (key, model, appliance) = &mut self.devices[at];
            let (key, model) = (key.clone(), *model);
            let remarks = appliance.advance(now);
            let up_ms = (now - appliance.up_since()).0.unsigned_abs();
            for remark in remarks {
                let Remark::Slot { at, reading } = remark else { continue };
                match self.policy {
                    Policy::Forecast => self.hear(&key, at, &reading, up_ms)?,
                    Policy::Threshold => {
                        let product = product_id(model, reading.slot)?;
                        let stock = self.stock.entry(product.clone()).or_default();
                        if 1.0 - reading.worn() <= THRESHOLD_SHARE && stock.spares == 0 && !stock.is_ordered {
                            stock.is_ordered = true;
                            *wanted.entry(product).or_default() += 1;
                        }
                    }
                }
            }
        }
        if self.policy == Policy::Forecast {
            self.due(now);
        }
        self.send(day, wanted);
        let spares: u32 = self.stock.values().map(|stock| stock.spares).sum();
        self.outcome.spare_days += u64::from(spares);
        Ok(())
    }

    fn receive(&mut self, day: i64) -> anyhow::Result<()> {
        let (come, wait): (Vec<Parcel>, Vec<Parcel>) =
            std::mem::take(&mut self.parcels).into_iter().partition(|parcel| parcel.arrives <= day);
        self.parcels = wait;
        let now = self.shop.start + Span::days(day) - Span::hours(8);
        for parcel in come {
            for (product, pieces) in parcel.pieces {
                let stock = self.stock.entry(product).or_default();
                stock.spares += pieces;
                stock.is_ordered = false;
            }
            for order in parcel.orders {
                let Some(rev) = self.home.orders.get(&order).map(|order| order.rev + 1) else { continue };
                let what = Command::SetOrderStatus { order, rev, state: OrderState::Delivered, eta: None };
                self.decide(None, What::Command(what), now, None);
            }
        }
        Ok(())
    }

    fn refill(&mut self) -> anyhow::Result<()> {
        for (_, model, appliance) in &mut self.devices {
            for (slot, left) in appliance.truly_left() {
                if left > EMPTY_SHARE {
                    continue;
                }
                let stock = self.stock.entry(product_id(model, slot)?).or_default();
                if !stock.is_empty {
                    self.outcome.cycles += 1;
                    self.outcome.run_outs += u64::from(stock.spares == 0);
                }
                stock.is_empty = stock.spares == 0;
                if stock.spares > 0 {
                    stock.spares -= 1;
                    appliance.replace(slot);
                } else {
                    self.outcome.days_without += 1;
                }
            }
        }
        Ok(())
    }

    /// What the shop has to send leaves today in one parcel.
    fn send(&mut self, day: i64, mut pieces: BTreeMap<ProductId, u32>) {
        let lead = LEAD_DAYS[self.post.below(LEAD_DAYS.len() as u64) as usize];
        let mut orders = Vec::new();
        for order in self.home.orders.values().filter(|order| order.state == OrderState::Submitted) {
            if self.parcels.iter().any(|parcel| parcel.orders.contains(&order.id)) {
                continue;
            }
            orders.push(order.id);
            for line in &order.lines {
                *pieces.entry(line.product.clone()).or_default() += line.qty;
            }
        }
        let parcels = u32::from(!pieces.is_empty());
        self.outcome.by_day.push(parcels);
        if parcels > 0 {
            self.outcome.parcels += 1;
            self.outcome.pieces += pieces.values().map(|pieces| u64::from(*pieces)).sum::<u64>();
            self.parcels.push(Parcel { arrives: day + lead, pieces, orders });
        }
    }

    fn hear(&mut self, device: &DeviceKey, at: Timestamp, reading: &SlotReading, up_ms: u64) -> anyhow::Result<()> {
        let evidence = match reading.field {
            "used" => Evidence::Usage { used: reading.value },
            _ => Evidence::Level { remaining: reading.value },
        };
        let slot = SlotUp {
            slot: SlotId::new(reading.slot)?,
            evidence,
            capacity: Some(reading.capacity),
            unit: None,
            changed_at: None,
            on_hand: None,
            t: None,
        };
        self.decide(Some(device.clone()), What::Device(DeviceMessage::Slot(slot)), at, Some(up_ms));
        Ok(())
    }

    /// Deadlines of the day: cancel windows that close, forecasts that came near.
    fn due(&mut self, now: Timestamp) {
        for _ in 0..DEADLINES_A_DAY_MAX {
            match self.home.next_deadline() {
                Some(at) if at <= now => self.decide(None, What::Timer, now, None),
                _ => return,
            }
        }
    }

    fn decide(&mut self, device: Option<DeviceKey>, what: What, at: Timestamp, up_ms: Option<u64>) {
        self.inputs += 1;
        let input = Input {
            id: InputId::derived(&[self.home.id.bytes(), &self.inputs.to_be_bytes()]),
            message: None,
            received_at: at,
            device,
            entropy: 0,
            payload_bytes: 0,
            sender: Sender { up_ms, ..Sender::default() },
            what,
        };
        let decision = decide(&self.home, &input, &self.shop.rules, at);
        for change in &decision.changes {
            self.home.apply(change);
        }
        self.home.seq += 1;
    }
}

/// Each deadline moves on when it is looked at; more than this many in one home and day would be a fault.
const DEADLINES_A_DAY_MAX: usize = 32;
