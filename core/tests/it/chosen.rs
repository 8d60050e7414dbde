//! Which of several products that fit a slot is proposed.

use std::sync::Arc;

use hearthway_core::id::{OfferId, ProductId};
use hearthway_core::input::Command;
use hearthway_core::model::{Bought, Fit, Offer, OrderState, Product};
use hearthway_core::time::Span;
use hearthway_core::trigger::{Severity, SourceFile, TriggerSet, World as Catalogue, check};

use crate::transcript::{FILTER_WORN, used};
use crate::triggers::COLD;
use crate::world::{World, shop, thermostat};

fn id(name: &str) -> ProductId {
    ProductId::new(name).unwrap()
}

/// A home whose shop has the sample's filter and more that fit, with their sellers.
fn home(prefer: &str, more: &[(&str, &str)]) -> World {
    let by = format!("product = {{ by = \"slot_compatible\", prefer = {prefer} }}");
    let mut world = World::at_home(&FILTER_WORN.replace("product = \"flt-20x25\"", &by));
    for (name, seller) in more {
        list(&mut world, name, seller);
    }
    world
}

/// Puts one more product that fits the air filter into the catalogue.
fn list(world: &mut World, name: &str, seller: &str) {
    let known = world.rules.product(&shop(), &id("flt-20x25")).unwrap();
    let product = Product { id: id(name), seller: seller.to_owned(), ..(*known).clone() };
    world.rules.products.listed.insert((shop(), product.id.clone()), Arc::new(product));
}

fn buy(world: &mut World, product: &str) {
    world.pass(Span::hours(1));
    let bought = Bought { at: world.now, qty: 1, cause: world.now.0 as u64 };
    world.command(&thermostat(), Command::Purchased { product: id(product), bought }).unwrap();
}

/// The filter wears out; the offer that is made then.
fn worn(world: &mut World) -> Offer {
    for hours in [10, 590, 612] {
        world.pass(Span::hours(1));
        world.up(&thermostat(), "up/slot", &used(hours)).unwrap();
    }
    world.offers_put(&thermostat()).pop().expect("a worn filter is offered")
}

fn proposed(world: &mut World) -> String {
    worn(world).item.unwrap().product.to_string()
}

fn accept(world: &mut World, offer: OfferId) {
    let body = format!(r#"{{"offer":"{offer}","rev":1,"answer":"accept","nonce":"n-{}"}}"#, world.now.0);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
}

#[test]
fn who_says_nothing_gets_the_first_that_fits_whatever_the_home_bought() {
    let mut world = home("[]", &[("a-brand", "brand-x"), ("z-mine", "shop-a")]);
    buy(&mut world, "z-mine");
    assert_eq!(proposed(&mut world), "a-brand");
}

#[test]
fn the_same_as_last_time_is_what_was_bought_last_for_this_slot() {
    let wish = "[\"same_as_last\"]";
    let mut world = home(wish, &[("a-brand", "brand-x"), ("z-mine", "shop-a")]);
    assert_eq!(proposed(&mut world), "a-brand", "nothing was bought yet: the first that fits");
    buy(&mut world, "z-mine");
    assert_eq!(proposed(&mut world), "z-mine");
    buy(&mut world, "flt-20x25");
    assert_eq!(proposed(&mut world), "flt-20x25", "the last, and not the most");
}

#[test]
fn an_order_made_on_the_device_is_what_was_bought_last_too() {
    let mut world = home("[\"same_as_last\"]", &[]);
    let offer = worn(&mut world);
    accept(&mut world, offer.id);
    let order = world.orders()[0].id;
    for (rev, state) in [(2, OrderState::Shipped), (3, OrderState::Delivered)] {
        world.command(&thermostat(), Command::SetOrderStatus { order, rev, state, eta: None }).unwrap();
    }
    list(&mut world, "a-brand", "brand-x");
    world.pass(Span::days(30));
    assert_eq!(proposed(&mut world), "flt-20x25", "although another one stands before it now");
}

#[test]
fn what_was_bought_last_and_is_gone_or_does_not_fit_any_more_gives_way() {
    let both = [("a-brand", "brand-x"), ("z-mine", "shop-a")];
    let mut gone = home("[\"same_as_last\"]", &both);
    buy(&mut gone, "flt-20x25");
    buy(&mut gone, "z-mine");
    let key = (shop(), id("z-mine"));
    let product = gone.rules.products.listed.remove(&key).unwrap();
    assert_eq!(proposed(&mut gone), "flt-20x25", "what was bought before it");
    let other =
        Fit { model: "th-900".to_owned().try_into().unwrap(), slot: "air_filter".to_owned().try_into().unwrap() };
    gone.rules.products.listed.insert(key, Arc::new(Product { fits: vec![other], ..(*product).clone() }));
    assert_eq!(proposed(&mut gone), "flt-20x25", "it is back, for another model");
}

#[test]
fn the_shops_own_goes_before_what_it_lists_for_another_seller() {
    let mut world = home("[\"own\"]", &[("a-brand", "brand-x"), ("b-brand", "brand-y")]);
    assert_eq!(proposed(&mut world), "flt-20x25");
    // By its name too, as customers read it; where nothing is its own, the first that fits.
    list(&mut world, "c-named", "Enseigne X");
    assert_eq!(proposed(&mut world), "c-named");
    list(&mut world, "c-named", "brand-z");
    list(&mut world, "flt-20x25", "brand-z");
    assert_eq!(proposed(&mut world), "a-brand");
}

#[test]
fn of_two_wishes_the_first_weighs_more() {
    let more = [("a-brand", "brand-x"), ("z-mine", "shop-a")];
    for (wishes, bought, wanted) in [
        ("[\"own\", \"same_as_last\"]", "a-brand", "flt-20x25"),
        ("[\"own\", \"same_as_last\"]", "z-mine", "z-mine"),
        ("[\"same_as_last\", \"own\"]", "a-brand", "a-brand"),
        ("[\"same_as_last\", \"own\"]", "z-mine", "z-mine"),
    ] {
        let mut world = home(wishes, &more);
        buy(&mut world, bought);
        assert_eq!(proposed(&mut world), wanted, "{wishes} after {bought}");
    }
    let mut world = home("[\"same_as_last\", \"own\"]", &more);
    assert_eq!(proposed(&mut world), "flt-20x25", "nothing was bought: its own");
}

#[test]
fn where_no_slot_wakes_a_trigger_its_fallback_is_what_it_offers() {
    let rule = "product = { by = \"slot_compatible\", prefer = [\"own\"], fallback = \"flt-20x25\" }";
    let text = COLD.replace("product = \"flt-20x25\"", rule);
    let mut world = World::at_home("");
    let catalogue = Catalogue {
        retailer: shop(),
        version: 1,
        models: &world.rules.models,
        products: &world.rules.products,
        default_locale: "fr-FR",
    };
    let checked = |text: String| check(&[SourceFile { name: "t.toml".into(), text }], &catalogue);
    let without = checked(text.replace(", fallback = \"flt-20x25\"", ""));
    assert_eq!(without.problems[0].code, "trigger.product_does_not_fit", "there is nothing to offer");
    assert!(without.problems[0].help.as_deref().unwrap().contains("fallback"));
    let found = checked(text);
    let told: Vec<_> = found.problems.iter().map(|problem| (problem.code, problem.severity)).collect();
    assert_eq!(told, [("trigger.no_effect", Severity::Warning)]);
    world.rules.triggers = TriggerSet::build(found.triggers);
    for value in [19, 16] {
        world.pass(Span::minutes(1));
        world.up(&thermostat(), "up/telemetry", &format!(r#"{{"temperature":{value}}}"#)).unwrap();
    }
    let offer = world.offers_put(&thermostat()).remove(0);
    assert_eq!(offer.item.unwrap().product, id("flt-20x25"));
}
