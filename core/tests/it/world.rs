//! A whole world of households without a gateway: every effect of a decision is carried out at
//! once, in memory. What an engine does with queues and disks happens here in a few lines, so
//! that the rules can be told as stories on virtual time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use hearthway_core::budget::{AllDrawn, Noting, Recalling};
use hearthway_core::code::Code;
use hearthway_core::decide::decide_with;
use hearthway_core::decision::{Decision, Effect, Reply};
use hearthway_core::event_out::{EventOut, EventTypes, Wanted, events};
use hearthway_core::id::{DeviceKey, HouseholdId, InputId, LinkId, MakerId, ProfileId, RetailerId};
use hearthway_core::input::{Command, Input, Join, Sender, What};
use hearthway_core::model::{
    ConsentRecord, ConsentSource, DeviceModel, Household, Maker, Member, Offer, OfferState, Order, Product, Purpose,
    Retailer, Role,
};
use hearthway_core::money::{Currency, Money};
use hearthway_core::report::{Counts, Ledger, Month, notes};
use hearthway_core::rules::RuleSet;
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::CandidateTrace;
use hearthway_core::trigger::{SourceFile, TriggerSet, World as Catalogue, check};
use hearthway_core::wire::{DownMessage, decode, read_description};

/// 2026-03-18T10:00:00+01:00, a Wednesday morning in Paris.
pub const MORNING: &str = "2026-03-18T10:00:00+01:00";

/// The thermostat of the stories.
pub fn thermostat() -> DeviceKey {
    "acme/d-42".parse().unwrap()
}

/// Who wants to hear everything that they may.
struct Everybody;

impl Wanted for Everybody {
    fn by_retailer(&self, _: &RetailerId) -> EventTypes {
        EventTypes::of_retailers()
    }
    fn by_maker(&self, _: &MakerId) -> EventTypes {
        EventTypes::of_makers()
    }
}

/// The retailer of the stories.
pub fn shop() -> RetailerId {
    RetailerId::new("shop-a").unwrap()
}

/// All households, and what was said to devices.
pub struct World {
    pub rules: RuleSet,
    pub now: Timestamp,
    pub homes: BTreeMap<HouseholdId, Household>,
    pub routes: BTreeMap<DeviceKey, HouseholdId>,
    /// What was said to devices and not yet taken by the story.
    pub said: Vec<(DeviceKey, DownMessage)>,
    /// Everything that was ever said, with its time.
    pub ever_said: Vec<(Timestamp, DownMessage)>,
    /// Every decision's candidates, in order.
    pub traces: Vec<CandidateTrace>,
    /// What reports count, as the engine keeps it.
    pub ledgers: BTreeMap<(HouseholdId, RetailerId, Month), Ledger>,
    /// Everything that happened, for replays.
    pub log: Vec<(HouseholdId, Input)>,
    /// Everything that was told to systems outside, where everybody wants to hear everything.
    pub told: Vec<EventOut>,
    /// What is drawn from budgets.
    pub draws: RefCell<AllDrawn>,
    count: u64,
}

impl World {
    /// A world with the sample shop and these triggers; nothing is registered.
    pub fn with(triggers: &str) -> World {
        World {
            rules: rules(triggers),
            now: Timestamp::parse_rfc3339(MORNING).unwrap(),
            homes: BTreeMap::new(),
            routes: BTreeMap::new(),
            said: Vec::new(),
            ever_said: Vec::new(),
            traces: Vec::new(),
            ledgers: BTreeMap::new(),
            log: Vec::new(),
            told: Vec::new(),
            draws: RefCell::default(),
            count: 0,
        }
    }

    /// The same, with the thermostat registered, born and linked to profile `p1` with consent to
    /// offers.
    pub fn at_home(triggers: &str) -> World {
        let mut world = World::with(triggers);
        world.register(&thermostat());
        world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
        world.link(&thermostat(), "p1", &[Purpose::OffersDevice]);
        world.said.clear();
        world
    }

    pub fn register(&mut self, device: &DeviceKey) {
        let model = hearthway_core::id::ModelId::new("th-200").unwrap();
        let what = What::Command(Command::Register { model, serial: None, generation: 1 });
        self.input(device, what).unwrap();
    }

    pub fn link(&mut self, device: &DeviceKey, profile: &str, consents: &[Purpose]) {
        let join = self.join(profile, consents);
        self.input(device, What::Command(Command::LinkDirectly { join })).unwrap();
    }

    pub fn join(&self, profile: &str, consents: &[Purpose]) -> Join {
        let profile = ProfileId::new(profile).unwrap();
        let household = HouseholdId::of_profile(&shop(), &profile);
        let consents = consents.iter().map(|purpose| (*purpose, self.word(true))).collect();
        Join {
            household,
            retailer: shop(),
            link: LinkId::derived(&[household.bytes()]),
            member: Member {
                profile,
                display_name: "Maison".into(),
                locale: Some("fr-FR".into()),
                role: Role::Owner,
                segments: ["eco".to_owned()].into(),
                consents,
            },
            zone: Zone::new("Europe/Paris").unwrap(),
            locale: Some("fr-FR".into()),
        }
    }

    pub fn word(&self, granted: bool) -> ConsentRecord {
        ConsentRecord {
            granted,
            at: self.now,
            source: ConsentSource::Shop,
            method: None,
            text_id: Some("t1".into()),
            expires_at: None,
        }
    }

    /// A message of the device as it comes over the wire, in the envelope.
    pub fn up(&mut self, device: &DeviceKey, topic: &str, body: &str) -> Result<Reply, Code> {
        self.count += 1;
        let payload = format!(r#"{{"v":"1.0","id":"m-{}","body":{body}}}"#, self.count);
        self.up_raw(device, topic, &payload)
    }

    /// A message of the device as it comes over the wire.
    pub fn up_raw(&mut self, device: &DeviceKey, topic: &str, payload: &str) -> Result<Reply, Code> {
        let topic = format!("chan/v1/{device}/{topic}");
        let envelope = decode(&topic, payload.as_bytes()).map_err(|rejected| rejected.refusal.code)?;
        let mut input = self.make(device, What::Device(envelope.message));
        input.message = envelope.id;
        input.sender = envelope.sender;
        self.run(input).map_err(|refusal| refusal.code)
    }

    pub fn command(&mut self, device: &DeviceKey, command: Command) -> Result<Reply, Code> {
        self.input(device, What::Command(command))
    }

    pub fn input(&mut self, device: &DeviceKey, what: What) -> Result<Reply, Code> {
        let input = self.make(device, what);
        self.run(input).map_err(|refusal| refusal.code)
    }

    pub fn make(&mut self, device: &DeviceKey, what: What) -> Input {
        self.count += 1;
        Input {
            id: InputId::derived(&[device.to_string().as_bytes(), &self.count.to_be_bytes()]),
            message: None,
            received_at: self.now,
            device: Some(device.clone()),
            entropy: self.count.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            payload_bytes: 0,
            sender: Sender::default(),
            what,
        }
    }

    fn run(&mut self, input: Input) -> Result<Reply, hearthway_core::code::Refusal> {
        let device = input.device.clone().expect("every input of a story names its device");
        let home = self.routes.get(&device).copied().unwrap_or_else(|| HouseholdId::prospect(&device));
        self.run_in(home, input)
    }

    /// Decides, applies, and carries out what follows; checks that the same facts give the same
    /// decision.
    pub fn run_in(&mut self, id: HouseholdId, input: Input) -> Result<Reply, hearthway_core::code::Refusal> {
        let home = self.homes.entry(id).or_insert_with(|| Household::empty(id));
        let asked = Noting::new(&self.draws);
        let decision: Decision = decide_with(home, &input, &self.rules, self.now, &asked);
        let answers = asked.into_answers();
        let again = decide_with(home, &input, &self.rules, self.now, &Recalling::new(&answers));
        assert_eq!(decision, again, "a decision is a function of its arguments");
        for note in notes(home, &decision, &self.rules) {
            self.ledgers.entry((id, note.retailer, note.month)).or_default().take(&note.what);
        }
        let told = events(home, &input, &decision, &self.rules, &Everybody);
        assert_eq!(told, events(home, &input, &decision, &self.rules, &Everybody), "the same again, with the same ids");
        self.told.extend(told);
        for change in &decision.changes {
            home.apply(change);
        }
        home.seq += 1;
        for device in home.devices.keys() {
            self.routes.insert(device.clone(), id);
        }
        self.log.push((id, input));
        self.traces.extend(decision.trace.candidates.iter().cloned());
        let mut reply = decision.reply;
        for effect in decision.effects {
            match effect {
                Effect::Down { device, message, .. } => {
                    self.ever_said.push((self.now, (*message).clone()));
                    self.said.push((device, *message));
                }
                Effect::DropOffer { device, offer } => self.said.retain(|(to, message)| {
                    *to != device || !matches!(message, DownMessage::OfferPut(put) if put.id == offer)
                }),
                Effect::DropAll { device } => self.said.retain(|(to, _)| *to != device),
                Effect::Disconnect { .. } => {}
                Effect::GiveBack { retailer, drawn, .. } => self.draws.get_mut().give_back(&retailer, &drawn),
                Effect::GivePartBack { retailer, left, back, .. } => {
                    self.draws.get_mut().give_part_back(&retailer, &left.trigger, back);
                }
                Effect::FreeStock { retailer, held, .. } => {
                    self.draws.get_mut().stock.give_back(&retailer, &held.product, &held.place, held.qty);
                }
                Effect::StockLeft { .. } => {}
                Effect::StockParted { retailer, rest, free, .. } => {
                    self.draws.get_mut().stock.give_back(&retailer, &rest.product, &rest.place, free);
                }
                Effect::Unsent { retailer, trigger, offer, at } => {
                    let sent = hearthway_core::budget::Sent { at, offer };
                    self.draws.get_mut().sends.give_back(&retailer, &trigger, &sent);
                }
                Effect::Move { id: move_id, to, device, join, contacts } => {
                    self.routes.insert(device.key.clone(), to);
                    let (from, device_there) = (id, device.clone());
                    let arrive = Command::ArriveKnown { id: move_id, from, device: device_there, join, contacts };
                    let input = self.make(&device.key, What::Command(arrive));
                    reply = self.run_in(to, input);
                }
            }
        }
        reply
    }

    /// Lets time pass; every deadline on the way is kept at its instant.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        for _ in 0..10_000 {
            let due = self.homes.values().filter_map(|home| Some((home.next_deadline()?, home.id))).min();
            let Some((at, id)) = due.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            let mut input = self.make(&thermostat(), What::Timer);
            input.device = None;
            let _ = self.run_in(id, input);
        }
        self.now = end;
    }

    /// What was said to a device since the story last looked.
    pub fn heard(&mut self, device: &DeviceKey) -> Vec<DownMessage> {
        let (mine, others) = self.said.drain(..).partition(|(to, _)| to == device);
        self.said = others;
        let mine: Vec<(DeviceKey, DownMessage)> = mine;
        mine.into_iter().map(|(_, message)| message).collect()
    }

    /// The offers put on a device since the story last looked; all else that was said is dropped.
    pub fn offers_put(&mut self, device: &DeviceKey) -> Vec<Offer> {
        self.heard(device)
            .into_iter()
            .filter_map(|message| match message {
                DownMessage::OfferPut(offer) => Some((*offer).clone()),
                _ => None,
            })
            .collect()
    }

    /// What a report counts of a retailer's homes, each with its months in order.
    pub fn counted<C: Counts>(&self, retailer: &RetailerId, mut counts: C) -> C {
        for id in self.homes.keys() {
            let months =
                self.ledgers.range((*id, retailer.clone(), Month(0))..=(*id, retailer.clone(), Month(u32::MAX)));
            let months: Vec<Ledger> = months.map(|(_, ledger)| ledger.clone()).collect();
            if !months.is_empty() {
                counts.add(&months).unwrap();
            }
        }
        counts
    }

    pub fn home_of(&self, device: &DeviceKey) -> &Household {
        &self.homes[&self.routes[device]]
    }

    pub fn offer_states(&self, device: &DeviceKey) -> Vec<OfferState> {
        self.home_of(device).offers.values().map(|offer| offer.state).collect()
    }

    pub fn orders(&self) -> Vec<&Order> {
        self.homes.values().flat_map(|home| home.orders.values().map(|order| &**order)).collect()
    }

    pub fn last_trace(&self) -> &CandidateTrace {
        self.traces.last().expect("a trigger was a candidate")
    }
}

/// The sample shop with these triggers.
pub fn rules(triggers: &str) -> RuleSet {
    let mut rules = RuleSet { version: 1, ..RuleSet::default() };
    rules.makers.insert("acme".to_owned().try_into().unwrap(), Arc::new(Maker { name: "Acme".into() }));
    let retailer = Retailer {
        name: "Enseigne X".into(),
        default_locale: "fr-FR".into(),
        zone: Zone::new("Europe/Paris").unwrap(),
        ranking: Default::default(),
    };
    rules.retailers.insert(shop(), Arc::new(retailer));
    let description = serde_json::json!({
        "model": "th-200", "kind": "thermostat",
        "telemetry": {
            "temperature": {"type": "number", "unit": "°C", "min": -40, "max": 80},
            "mode": {"type": "enum", "values": ["off", "heat"]}
        },
        "slots": [{"slot": "air_filter", "kind": "usage", "unit": "h", "capacity": 720}],
        "placements": [{"id": "home.card", "title_max": 40, "body_max": 160}],
        "locales": ["fr", "en"], "confirm": ["press2s"], "buttons": ["ok", "later"]
    });
    let description = read_description(&description, None).unwrap();
    let model = DeviceModel { maker: "acme".to_owned().try_into().unwrap(), description };
    rules.models.insert(model.description.model.clone(), Arc::new(model));
    let eur = Currency::new("EUR").unwrap();
    let product = Product {
        id: "flt-20x25".to_owned().try_into().unwrap(),
        name: [("fr".to_owned(), "Filtre 20×25".to_owned()), ("en".to_owned(), "Filter 20×25".to_owned())].into(),
        gtin: None,
        price: Money::new(1990, eur),
        delivery: Money::new(0, eur),
        tax_incl: true,
        seller: "shop-a".into(),
        withdraw_days: 14,
        fits: vec![hearthway_core::model::Fit {
            model: "th-200".to_owned().try_into().unwrap(),
            slot: "air_filter".to_owned().try_into().unwrap(),
        }],
        lead_days: None,
        ..Product::plain(
            "flt-20x25".to_owned().try_into().unwrap(),
            Default::default(),
            Money::new(1990, eur),
            "shop-a",
        )
    };
    rules.products.listed.insert((shop(), product.id.clone()), Arc::new(product));
    set_triggers(&mut rules, triggers);
    rules
}

/// Publishes these triggers instead of those that are live.
pub fn set_triggers(rules: &mut RuleSet, text: &str) {
    let catalogue = Catalogue {
        retailer: shop(),
        version: rules.version,
        models: &rules.models,
        products: &rules.products,
        default_locale: "fr-FR",
    };
    let checked = check(&[SourceFile { name: "story.toml".into(), text: text.into() }], &catalogue);
    assert!(checked.problems.is_empty(), "{:#?}", checked.problems);
    rules.triggers = TriggerSet::build(checked.triggers);
}
