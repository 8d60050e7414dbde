//! What the people of a home decide about being spoken to, and what a prospect brings along.

use hearthway_core::id::{LinkId, OfferId, ProfileId, TriggerId};
use hearthway_core::input::{Command, What};
use hearthway_core::model::{Contact, ContactState, Flag, OfferState, Preferences, Purpose, Role, Standing};
use hearthway_core::time::{DailyWindow, Span, Timestamp, Zone};
use hearthway_core::wire::DownMessage;
use proptest::prelude::*;

use crate::transcript::FILTER_WORN;
use crate::world::{World, thermostat};

fn p(name: &str) -> ProfileId {
    ProfileId::new(name).unwrap()
}

fn wish(world: &mut World, profile: &str, preferences: Preferences) {
    let standing = Box::new(Standing { preferences, ..Standing::default() });
    world.command(&thermostat(), Command::SetStanding { profile: p(profile), standing }).unwrap();
}

fn joins(world: &mut World, profile: &str, role: Role, consents: &[Purpose]) {
    let mut join = world.join(profile, consents);
    join.household = world.routes[&thermostat()];
    join.link = LinkId::derived(&[profile.as_bytes()]);
    join.member.role = role;
    world.command(&thermostat(), Command::AddMember { join: Box::new(join) }).unwrap();
}

fn used(world: &mut World, hours: u32) {
    let body = format!(r#"{{"slot":"air_filter","kind":"usage","used":{hours},"capacity":720,"unit":"h"}}"#);
    let _ = world.up(&thermostat(), "up/slot", &body);
}

fn worn(world: &mut World) -> usize {
    used(world, 20);
    used(world, 612);
    world.offers_put(&thermostat()).len()
}

fn blocked_by(world: &World) -> String {
    let trace = world.last_trace();
    let step = trace.steps.iter().find(|step| Some(step.step) == trace.first_block).expect("a step blocks");
    step.code().to_owned()
}

#[test]
fn the_strictest_wish_of_those_who_may_buy_counts_and_a_viewers_does_not() {
    let mut world = World::at_home(FILTER_WORN);
    joins(&mut world, "p2", Role::Viewer, &[]);
    let silent = Preferences { channels: Some(Default::default()), ..Preferences::default() };
    wish(&mut world, "p2", silent.clone());
    assert_eq!(worn(&mut world), 1, "a viewer does not speak for the home");
    world.command(&thermostat(), Command::SetRole { profile: p("p2"), role: Role::Buyer }).unwrap();
    assert_eq!(worn(&mut world), 0);
    assert_eq!(blocked_by(&world), "channel_not_chosen");
    world.command(&thermostat(), Command::RemoveMember { profile: p("p2") }).unwrap();
    assert_eq!(worn(&mut world), 1, "their wish left with them");
}

#[test]
fn a_flag_of_anybody_at_the_device_ends_marketing_there() {
    let mut world = World::at_home(FILTER_WORN);
    assert_eq!(worn(&mut world), 1);
    joins(&mut world, "p2", Role::Viewer, &[]);
    let standing = Box::new(Standing { flags: [Flag::Vulnerable].into(), ..Standing::default() });
    world.command(&thermostat(), Command::SetStanding { profile: p("p2"), standing }).unwrap();
    assert!(world.offer_states(&thermostat()).iter().all(|state| *state == OfferState::Withdrawn));
    assert_eq!((worn(&mut world), blocked_by(&world).as_str()), (0, "marketing_off"));
}

#[test]
fn with_guests_a_device_offers_nothing() {
    let mut world = World::at_home(FILTER_WORN);
    world.up(&thermostat(), "up/context", r#"{"guest":true,"ttl_s":3600}"#).unwrap();
    assert_eq!((worn(&mut world), blocked_by(&world).as_str()), (0, "guests"));
    world.pass(Span::hours(2));
    assert_eq!(worn(&mut world), 1, "when they are gone it speaks again");
}

#[test]
fn a_child_alone_at_a_device_is_offered_nothing() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    let mut join = world.join("p1", &[Purpose::OffersDevice]);
    join.member.role = Role::Child;
    world.command(&thermostat(), Command::LinkDirectly { join }).unwrap();
    assert_eq!((worn(&mut world), blocked_by(&world).as_str()), (0, "no_consent"));
}

#[test]
fn the_customers_own_quiet_hours_hold_until_the_last_of_them_ends() {
    let mut world = World::at_home(FILTER_WORN);
    let window = |from, to| DailyWindow::parse(from, to).unwrap();
    let quiet = vec![window("09:30", "10:30"), window("10:15", "11:00")];
    wish(&mut world, "p1", Preferences { quiet, ..Preferences::default() });
    assert_eq!(worn(&mut world), 0, "it is ten o'clock");
    assert!(matches!(world.offer_states(&thermostat())[..], [OfferState::Queued { .. }]));
    world.pass(Span::minutes(50));
    assert!(world.offers_put(&thermostat()).is_empty(), "the second window goes on");
    world.pass(Span::minutes(30));
    assert_eq!(world.offers_put(&thermostat()).len(), 1);
}

#[test]
fn what_waits_in_the_outbox_is_looked_at_again_before_it_is_delivered() {
    let mut world = World::at_home(FILTER_WORN);
    assert_eq!(worn(&mut world), 1);
    let offer = *world.home_of(&thermostat()).offers.keys().next().unwrap();
    let window = DailyWindow::parse("09:00", "12:00").unwrap();
    wish(&mut world, "p1", Preferences { quiet: vec![window], ..Preferences::default() });
    world.input(&thermostat(), What::Reachable { waiting: vec![offer] }).unwrap();
    assert!(world.offers_put(&thermostat()).is_empty());
    world.pass(Span::hours(3));
    assert_eq!(world.offers_put(&thermostat()).len(), 1, "after the quiet hours");
}

fn receipt(world: &mut World, offer: OfferId, state: &str) {
    let body = format!(r#"{{"offer":"{offer}","rev":1,"state":"{state}"}}"#);
    world.up(&thermostat(), "up/offer/receipt", &body).unwrap();
}

#[test]
fn what_somebody_has_seen_counts_also_when_quiet_hours_begin() {
    let mut world = World::at_home(FILTER_WORN);
    assert_eq!(worn(&mut world), 1);
    let offer = *world.home_of(&thermostat()).offers.keys().next().unwrap();
    receipt(&mut world, offer, "shown");
    let window = DailyWindow::parse("09:00", "12:00").unwrap();
    wish(&mut world, "p1", Preferences { quiet: vec![window], ..Preferences::default() });
    world.input(&thermostat(), What::Reachable { waiting: vec![offer] }).unwrap();
    assert!(world.offers_put(&thermostat()).is_empty());
    assert_eq!(world.offer_states(&thermostat()), [OfferState::Shown], "it stays on the screen");
    assert_eq!(world.home_of(&thermostat()).contacts.len(), 1);
}

#[test]
fn what_ended_on_the_device_counts_where_somebody_had_seen_it() {
    for (seen, contacts) in [(true, 1), (false, 0)] {
        let mut world = World::at_home(FILTER_WORN);
        assert_eq!(worn(&mut world), 1);
        let offer = *world.home_of(&thermostat()).offers.keys().next().unwrap();
        receipt(&mut world, offer, if seen { "shown" } else { "delivered" });
        receipt(&mut world, offer, "expired");
        assert_eq!(world.home_of(&thermostat()).contacts.len(), contacts, "seen: {seen}");
    }
}

#[test]
fn what_a_prospect_was_told_counts_with_who_claims_the_device() {
    let capped = format!(
        "{FILTER_WORN}[trigger.limits]\ncaps = [{{ max = 1, per = \"all\", scope = \"household\", within = \"7d\" }}]\n"
    );
    let mut world = World::with(&capped);
    world.register(&thermostat());
    let prospect = world.routes[&thermostat()];
    let told = Contact {
        offer: OfferId::derived(&[b"told"]),
        trigger: TriggerId::new("welcome").unwrap(),
        device: thermostat(),
        at: world.now - Span::days(1),
        state: ContactState::Counted,
    };
    world.homes.get_mut(&prospect).unwrap().contacts.push(told.clone());
    world.link(&thermostat(), "p1", &[Purpose::OffersDevice]);
    assert_eq!(world.home_of(&thermostat()).contacts, [told], "its counters came along");
    assert_eq!((worn(&mut world), blocked_by(&world).as_str()), (0, "cap_reached"));
    // What a customer was told stays with them when the device goes to another one.
    world.command(&thermostat(), Command::Release).unwrap();
    world.up(&thermostat(), "up/lifecycle", r#"{"op":"wiped"}"#).unwrap();
    world.link(&thermostat(), "p2", &[Purpose::OffersDevice]);
    assert!(world.home_of(&thermostat()).contacts.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Used(u32),
    Wish { profile: bool, preferences: Box<Preferences> },
    Flag(bool),
    Role(u8),
    Wait(u32),
    Reachable,
    Sync,
}

fn preferences() -> impl Strategy<Value = Preferences> {
    let window = (0..1440u16, 0..1440u16)
        .prop_filter("equal ends make an empty window", |(from, to)| from != to)
        .prop_map(|(from_minute, to_minute)| DailyWindow { from_minute, to_minute });
    (
        proptest::collection::vec(window, 0..2),
        proptest::option::weighted(0.3, 1..3u8),
        proptest::option::weighted(0.3, 1..4u8),
        proptest::option::weighted(0.2, any::<bool>()),
        proptest::option::weighted(0.2, any::<bool>()),
        proptest::option::weighted(0.2, 0..600i64),
    )
        .prop_map(|(quiet, per_day, per_week, channel, device, pause)| Preferences {
            quiet,
            per_day,
            per_week,
            channels: channel.map(|yes| if yes { ["device".to_owned()].into() } else { Default::default() }),
            devices: device.map(|yes| if yes { [thermostat()].into() } else { Default::default() }),
            pause_until: pause.map(Timestamp),
            ..Preferences::default()
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![Just(20u32), Just(612u32), 0..720u32].prop_map(Step::Used),
        2 => (any::<bool>(), preferences())
            .prop_map(|(profile, preferences)| Step::Wish { profile, preferences: Box::new(preferences) }),
        1 => any::<bool>().prop_map(Step::Flag),
        1 => (0..3u8).prop_map(Step::Role),
        5 => prop_oneof![0..30u32, 0..2000u32].prop_map(Step::Wait),
        1 => Just(Step::Reachable),
        1 => Just(Step::Sync),
    ]
}

/// A stranger's book: what the people last said, and when the device was told something new.
#[derive(Default)]
struct Book {
    wishes: [Preferences; 2],
    flagged: bool,
    second_buys: bool,
    told: Vec<Timestamp>,
    known: std::collections::BTreeSet<hearthway_core::id::OfferId>,
}

impl Book {
    fn check(&mut self, world: &mut World, after: &Step) -> Result<(), TestCaseError> {
        let zone = Zone::new("Europe/Paris").unwrap();
        for (at, message) in std::mem::take(&mut world.ever_said) {
            let DownMessage::OfferPut(offer) = message else { continue };
            let is_new = self.known.insert(offer.id);
            prop_assert!(!self.flagged, "sold to somebody who is flagged, after {after:?}");
            let local = zone.local(at);
            let minute = local.hour() as u16 * 60 + local.minute() as u16;
            let buyers = if self.second_buys { 2 } else { 1 };
            for wish in &self.wishes[..buyers] {
                for window in &wish.quiet {
                    let (from, to) = (window.from_minute, window.to_minute);
                    let inside = if from < to { from <= minute && minute < to } else { minute >= from || minute < to };
                    prop_assert!(!inside, "at {local} inside {window}, after {after:?}");
                }
                prop_assert!(wish.pause_until.is_none_or(|until| until <= at), "in a pause, after {after:?}");
                prop_assert!(wish.channels.as_ref().is_none_or(|it| !it.is_empty()), "on no channel, after {after:?}");
                prop_assert!(wish.devices.as_ref().is_none_or(|it| !it.is_empty()), "on no device, after {after:?}");
                if is_new {
                    let today = self.told.iter().filter(|told| zone.local(**told).date() == local.date()).count();
                    let week = self.told.iter().filter(|told| at - **told < Span::days(7)).count();
                    prop_assert!(wish.per_day.is_none_or(|max| today < max.into()), "{today} today, after {after:?}");
                    prop_assert!(wish.per_week.is_none_or(|max| week < max.into()), "{week} a week, after {after:?}");
                }
            }
            if is_new {
                self.told.push(at);
                // Somebody sees it: what nobody has seen counts for nobody.
                let receipt = format!(r#"{{"offer":"{}","rev":{},"state":"shown"}}"#, offer.id, offer.rev);
                let _ = world.up(&thermostat(), "up/offer/receipt", &receipt);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_offer_leaves_against_a_preference(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::at_home(FILTER_WORN);
        joins(&mut world, "p2", Role::Viewer, &[]);
        let mut book = Book::default();
        world.ever_said.clear();
        for step in &steps {
            match step {
                Step::Used(hours) => used(&mut world, *hours),
                Step::Wish { profile, preferences } => {
                    let mut preferences = (**preferences).clone();
                    preferences.pause_until = preferences.pause_until.map(|t| world.now + Span::minutes(t.0));
                    let name = if *profile { "p2" } else { "p1" };
                    book.wishes[usize::from(*profile)] = preferences.clone();
                    let flags = if *profile && book.flagged { [Flag::Minor].into() } else { Default::default() };
                    let standing = Box::new(Standing { preferences, flags, loyalty: None });
                    world.command(&thermostat(), Command::SetStanding { profile: p(name), standing }).unwrap();
                }
                Step::Flag(flag) => {
                    book.flagged = *flag;
                    let flags = if *flag { [Flag::Minor].into() } else { Default::default() };
                    let standing = Box::new(Standing { preferences: book.wishes[1].clone(), flags, loyalty: None });
                    world.command(&thermostat(), Command::SetStanding { profile: p("p2"), standing }).unwrap();
                }
                Step::Role(role) => {
                    let role = [Role::Buyer, Role::Viewer, Role::Child][usize::from(*role)];
                    book.second_buys = role == Role::Buyer;
                    world.command(&thermostat(), Command::SetRole { profile: p("p2"), role }).unwrap();
                }
                Step::Wait(minutes) => world.pass(Span::minutes((*minutes).into())),
                Step::Reachable => {
                    let waiting: Vec<_> = world.home_of(&thermostat()).offers.keys().copied().collect();
                    world.input(&thermostat(), What::Reachable { waiting }).unwrap();
                }
                Step::Sync => {
                    let _ = world.up(&thermostat(), "up/sync", r#"{"want":["offers"]}"#);
                }
            }
            book.check(&mut world, step)?;
        }
    }
}
