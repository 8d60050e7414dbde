//! Bounds that a trigger sets itself: how old an event may be, on which days it speaks, how often on one device, how
//! long after an order.

use hearthway_core::id::{DeviceKey, LinkId};
use hearthway_core::input::{Command, Join, What};
use hearthway_core::model::{OrderState, Purpose};
use hearthway_core::time::{Span, Timestamp, Zone};
use hearthway_core::trace::Step;

use crate::by_time::tip;
use crate::triggers::COLD;
use crate::world::{World, thermostat};

fn says(world: &mut World, device: &DeviceKey, value: i32) {
    world.up(device, "up/telemetry", &format!(r#"{{"temperature":{value}}}"#)).unwrap();
}

fn offers(world: &mut World, device: &DeviceKey) -> usize {
    world.offers_put(device).len()
}

/// A trigger with more beside its kind.
fn with(line: &str) -> String {
    COLD.replace("kind = \"offer\"\n", &format!("kind = \"offer\"\n{line}\n"))
}

#[test]
fn an_event_older_than_the_trigger_says_never_sends() {
    let spoken = |line: &str, ago: Span| {
        let mut world = World::at_home(&with(line));
        says(&mut world, &thermostat(), 19);
        world.pass(Span::hours(4));
        let at = (world.now - ago).0;
        let late = format!(r#"{{"samples":[{{"t":{at},"f":{{"temperature":16}}}}]}}"#);
        world.up(&thermostat(), "up/telemetry", &late).unwrap();
        let block = world.last_trace().first_block;
        assert_eq!(block, (block.is_some()).then_some(Step::Age), "{line} {ago}");
        offers(&mut world, &thermostat())
    };
    let (short, long) = ("max_event_age = \"10 min\"", "max_event_age = \"3h\"");
    for (line, ago, wanted) in [
        (short, Span::minutes(10), 1),
        (short, Span::minutes(11), 0),
        ("", Span::minutes(11), 1),
        ("", Span::minutes(121), 0),
        (long, Span::minutes(121), 1),
        (long, Span::minutes(181), 0),
    ] {
        assert_eq!(spoken(line, ago), wanted, "`{line}`, {ago} old");
    }
}

#[test]
fn a_trigger_begins_and_ends_at_midnight_of_the_homes_own_zone() {
    let spoken = |zone: &str, at: &str| {
        let mut world = World::with(&with("valid = { from = 2026-03-18, until = 2026-03-18 }"));
        let at = Timestamp::parse_rfc3339(at).unwrap();
        world.now = at - Span::minutes(5);
        world.register(&thermostat());
        world.up(&thermostat(), "presence", r#"{"state":"online","epoch":1}"#).unwrap();
        let mut join = world.join("p1", &[Purpose::OffersDevice]);
        join.zone = Zone::new(zone).unwrap();
        world.input(&thermostat(), What::Command(Command::LinkDirectly { join })).unwrap();
        says(&mut world, &thermostat(), 19);
        world.now = at;
        says(&mut world, &thermostat(), 16);
        let block = world.last_trace().first_block;
        assert_eq!(block, (block.is_some()).then_some(Step::Validity), "{zone} {at}");
        offers(&mut world, &thermostat())
    };
    // The 18th begins at 23:00 of the 17th in Paris, at 11:00 in Auckland, at 04:00 of the 18th in New York.
    for (zone, begins, a_moment_before, ends, a_moment_before_the_end) in [
        (
            "Europe/Paris",
            "2026-03-17T23:00:00Z",
            "2026-03-17T22:59:59Z",
            "2026-03-18T23:00:00Z",
            "2026-03-18T22:59:59Z",
        ),
        (
            "Pacific/Auckland",
            "2026-03-17T11:00:00Z",
            "2026-03-17T10:59:59Z",
            "2026-03-18T11:00:00Z",
            "2026-03-18T10:59:59Z",
        ),
        (
            "America/New_York",
            "2026-03-18T04:00:00Z",
            "2026-03-18T03:59:59Z",
            "2026-03-19T04:00:00Z",
            "2026-03-19T03:59:59Z",
        ),
    ] {
        let found = [a_moment_before, begins, a_moment_before_the_end, ends].map(|at| spoken(zone, at));
        assert_eq!(found, [0, 1, 1, 0], "{zone}");
    }
}

#[test]
fn a_cap_of_a_device_leaves_the_other_devices_of_the_home_alone() {
    let spoken = |scope: &str| {
        let cap = format!("caps = [{{ max = 1, per = \"offer\", scope = \"{scope}\", within = \"7d\" }}]");
        let mut world = World::at_home(&format!("{COLD}[trigger.limits]\n{cap}\n"));
        let (one, other): (DeviceKey, DeviceKey) = (thermostat(), "acme/d-43".parse().unwrap());
        world.register(&other);
        world.up(&other, "presence", r#"{"state":"online","epoch":1}"#).unwrap();
        let join = Join { link: LinkId::derived(&[b"other"]), ..world.join("p1", &[Purpose::OffersDevice]) };
        world.input(&other, What::Command(Command::LinkDirectly { join })).unwrap();
        assert_eq!(world.routes[&one], world.routes[&other], "one home");
        world.said.clear();
        let mut told = Vec::new();
        for device in [&one, &one, &other, &other] {
            for value in [19, 16] {
                world.pass(Span::minutes(5));
                says(&mut world, device, value);
            }
            told.push(offers(&mut world, device));
        }
        // A week after the first the device may be spoken to again.
        world.pass(Span::days(7));
        for value in [19, 16] {
            world.pass(Span::minutes(5));
            says(&mut world, &one, value);
        }
        told.push(offers(&mut world, &one));
        told
    };
    assert_eq!(spoken("device"), [1, 0, 1, 0, 1]);
    assert_eq!(spoken("household"), [1, 0, 0, 0, 1], "beside it: the same cap of the whole home");
}

#[test]
fn days_since_an_order_are_whole_days_and_an_order_that_came_to_nothing_does_not_count() {
    let hot = "event = \"telemetry\"\nfield = \"temperature\"\nrises_above = 25\nrearm = 22";
    let when = "[trigger.when]\nall = 'household.days_since_order(\"flt-20x25\", 9999) > 30'";
    let story = |ends: Option<OrderState>, days: Span| {
        let mut world = World::at_home(&format!("{COLD}{}", tip("hot", hot, when)));
        says(&mut world, &thermostat(), 19);
        says(&mut world, &thermostat(), 16);
        let offer = world.offers_put(&thermostat()).remove(0).id;
        let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"accept","nonce":"n-1"}}"#);
        world.up(&thermostat(), "up/offer/answer", &body).unwrap();
        let order = world.orders()[0].id;
        if let Some(state) = ends {
            world.command(&thermostat(), Command::SetOrderStatus { order, rev: 2, state, eta: None }).unwrap();
        }
        world.pass(days);
        world.said.clear();
        says(&mut world, &thermostat(), 20);
        says(&mut world, &thermostat(), 26);
        offers(&mut world, &thermostat())
    };
    assert_eq!(story(None, Span::days(1)), 0);
    assert_eq!(story(None, Span(Span::days(31).0 - 1)), 0, "30 whole days are not more than 30");
    assert_eq!(story(None, Span::days(31)), 1);
    assert_eq!(story(Some(OrderState::Refused), Span::days(1)), 1, "it was never ordered");
}
