//! The gateway's clock jumps: an hour back, an hour or a year ahead, and the year corrected again;
//! and the calendar does what it does twice a year and every fourth. Caps and quiet hours hold,
//! nothing is offered twice, and deadlines come when they must.

use hearthway_core::model::OfferState;
use hearthway_core::time::{Span, Timestamp, Zone};

use hearthway_core::trace::Step;

use crate::triggers::{COLD, QUIET};
use crate::world::{World, thermostat};

const ONE_A_WEEK: &str =
    "[trigger.limits]\ncaps = [ { max = 1, per = \"offer\", scope = \"household\", within = \"7d\" } ]\n";
/// How long an offer lives where its trigger does not say.
const OFFER_LIVES: Span = Span::hours(48);
/// Homes are spoken to so long after the quiet hours, each at its own time.
const SPREAD: Span = hearthway_core::limits::QUIET_END_JITTER;
const YEAR: Span = Span::days(365);

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Temperature rises, and falls below the edge: each time a reason to offer.
fn cold_spell(world: &mut World) -> usize {
    for value in [19.0, 16.0] {
        world.now = world.now + Span::minutes(1);
        let body = format!(r#"{{"samples":[{{"f":{{"temperature":{value}}}}}]}}"#);
        world.up(&thermostat(), "up/telemetry", &body).unwrap();
    }
    world.offers_put(&thermostat()).len()
}

/// The clock is another; every deadline that it makes due is kept.
fn jump(world: &mut World, by: Span) {
    world.now = world.now + by;
    world.pass(Span(0));
}

fn live(world: &World) -> usize {
    let states = world.offer_states(&thermostat());
    states.iter().filter(|state| !matches!(state, OfferState::Expired | OfferState::Withdrawn)).count()
}

#[test]
fn a_cap_holds_over_an_hour_back_and_an_hour_ahead() {
    for by in [Span::hours(-1), Span::hours(1)] {
        let mut world = World::at_home(&format!("{COLD}{ONE_A_WEEK}"));
        assert_eq!(cold_spell(&mut world), 1);
        jump(&mut world, by);
        assert_eq!(cold_spell(&mut world), 0, "the week is not over, {by} from then");
        assert_eq!(world.last_trace().first_block, Some(Step::Caps));
        jump(&mut world, Span(-by.0));
        assert_eq!(cold_spell(&mut world), 0, "nor when the clock is right again");
        assert_eq!(live(&world), 1);
        jump(&mut world, Span::days(7));
        assert_eq!(cold_spell(&mut world), 1, "and then it is");
    }
}

#[test]
fn a_daily_cap_holds_when_the_clock_goes_back_over_midnight() {
    let caps = "[trigger.limits]\ncaps = [ { max = 1, per = \"offer\", scope = \"household\", each = \"day\" } ]\n";
    let mut world = World::at_home(&format!("{COLD}{caps}"));
    world.now = at("2026-03-19T00:10:00+01:00");
    assert_eq!(cold_spell(&mut world), 1);
    jump(&mut world, Span::hours(-1));
    assert_eq!(cold_spell(&mut world), 0, "it was minutes ago");
    assert_eq!(world.last_trace().first_block, Some(Step::Caps));
}

#[test]
fn an_offer_from_before_a_leap_of_a_year_has_ended_and_is_not_made_again_when_the_clock_is_right_again() {
    let mut world = World::at_home(&format!("{COLD}{ONE_A_WEEK}"));
    assert_eq!(cold_spell(&mut world), 1);
    jump(&mut world, YEAR);
    assert_eq!(world.offer_states(&thermostat()), [OfferState::Expired], "its deadline came");
    assert_eq!(cold_spell(&mut world), 1, "a year later the cap has room");
    jump(&mut world, Span(-YEAR.0));
    assert_eq!(cold_spell(&mut world), 0, "an offer minutes ago is an offer minutes ago, whatever its stamp says");
    assert_eq!(world.last_trace().first_block, Some(Step::Caps));
}

#[test]
fn deadlines_come_after_the_clock_went_back_and_only_once() {
    for by in [Span::hours(-1), Span::hours(1), YEAR] {
        let mut world = World::at_home(COLD);
        assert_eq!(cold_spell(&mut world), 1);
        let offer = *world.home_of(&thermostat()).offers.keys().next().unwrap();
        let ends = world.home_of(&thermostat()).next_deadline().expect("an offer that lives has an end");
        jump(&mut world, by);
        let until_then = Span((ends.0 - world.now.0).max(0));
        if until_then.0 > 0 {
            world.pass(Span(until_then.0 - 1));
            assert_ne!(world.home_of(&thermostat()).offers[&offer].state, OfferState::Expired, "{by}: too early");
            world.pass(Span(1));
        }
        assert_eq!(world.home_of(&thermostat()).offers[&offer].state, OfferState::Expired, "{by}: at its instant");
        let said = world.ever_said.len();
        jump(&mut world, Span(-by.0.abs()));
        world.pass(Span::hours(3));
        assert_eq!(world.ever_said.len(), said, "{by}: nothing more follows from it");
    }
}

/// From the evening before to the morning after: held at night, offered at eight by the clock on the
/// wall, once.
#[test]
fn quiet_hours_end_by_the_clock_on_the_wall_at_both_switches_and_on_a_leap_day() {
    for (evening, night_hours) in [
        ("2026-03-28T21:30:00+01:00", 9.5),  // An hour is missing: eight comes sooner.
        ("2026-10-24T21:30:00+02:00", 11.5), // An hour comes twice.
        ("2028-02-28T21:30:00+01:00", 10.5),
        ("2028-02-29T21:30:00+01:00", 10.5),
    ] {
        let mut world = World::at_home(&format!("{COLD}{QUIET}"));
        world.now = at(evening);
        assert_eq!(cold_spell(&mut world), 0, "{evening}: it is quiet");
        let eight = at(evening) + Span((night_hours * 3_600_000.0) as i64);
        world.pass(Span(eight.0 - 1 - world.now.0));
        assert!(world.offers_put(&thermostat()).is_empty(), "{evening}: not before eight");
        assert_eq!(Zone::new("Europe/Paris").unwrap().local(eight).to_string()[11..], *"08:00:00");
        world.pass(SPREAD);
        assert_eq!(world.offers_put(&thermostat()).len(), 1, "{evening}: at eight");
        world.pass(Span::hours(20));
        assert!(world.offers_put(&thermostat()).is_empty(), "{evening}: and once");
    }
}

/// The clock jumps while an offer is held over the night.
#[test]
fn a_held_offer_goes_out_once_whichever_way_the_clock_jumps() {
    for by in [Span::hours(-1), Span::hours(1), Span::hours(-3)] {
        let mut world = World::at_home(&format!("{COLD}{QUIET}"));
        world.now = at("2026-03-18T22:00:00+01:00");
        assert_eq!(cold_spell(&mut world), 0);
        jump(&mut world, by);
        assert!(world.offers_put(&thermostat()).is_empty(), "{by}");
        // Back past the beginning of the quiet hours nothing is held any more than it was.
        world.pass(Span(at("2026-03-19T07:59:00+01:00").0 - world.now.0));
        let early = world.offers_put(&thermostat()).len();
        world.pass(Span(SPREAD.0 + 60_000));
        let offers = early + world.offers_put(&thermostat()).len();
        assert_eq!((early, offers), (0, 1), "{by}: once, in the morning");
        jump(&mut world, Span(-by.0));
        world.pass(Span::hours(2));
        assert!(world.offers_put(&thermostat()).is_empty(), "{by}: not again when the clock is right again");
    }
}

#[test]
fn an_offer_lives_as_long_over_a_switch_and_a_leap_day_as_on_other_days() {
    for day in ["2026-03-28T12:00:00+01:00", "2026-10-24T12:00:00+02:00", "2028-02-28T12:00:00+01:00"] {
        let mut world = World::at_home(COLD);
        world.now = at(day);
        assert_eq!(cold_spell(&mut world), 1);
        let made = world.now;
        let ends = world.home_of(&thermostat()).next_deadline().unwrap();
        assert_eq!(Span(ends.0 - made.0), OFFER_LIVES, "{day}: hours are hours");
    }
}
