//! Homes whose reason was written down by hand, in a retailer's words: the first step that stops
//! the offer, and what explain says of it in English and French.

use std::sync::Arc;

use hearthway_core::decide::why_not_candidate;
use hearthway_core::money::{Currency, Money};
use hearthway_core::time::Span;
use hearthway_core::trace::{CandidateTrace, Step};
use hearthway_core::words::{Reason, Tongue};

use crate::transcript::{FILTER_WORN, used};
use crate::world::{World, shop, thermostat};

/// One home: what the trigger says beyond the usual, what happened, and why it is silent.
struct Home {
    name: &'static str,
    trigger: &'static str,
    story: fn(&mut World),
    step: Step,
    en: &'static str,
    fr: &'static str,
}

/// The filter runs past its 600 hours.
fn worn(world: &mut World) {
    world.up(&thermostat(), "up/slot", &used(590)).unwrap();
    world.up(&thermostat(), "up/slot", &used(612)).unwrap();
}

/// A new filter, and it runs past its hours again.
fn worn_again(world: &mut World) {
    world.up(&thermostat(), "up/slot", &used(5)).unwrap();
    worn(world);
}

/// Worn, shown and answered.
fn answered(world: &mut World, answer: &str) {
    worn(world);
    let offer = world.offers_put(&thermostat()).pop().unwrap();
    let receipt = format!(r#"{{"offer":"{}","rev":1,"state":"shown"}}"#, offer.id);
    world.up(&thermostat(), "up/offer/receipt", &receipt).unwrap();
    let body = format!(r#"{{"offer":"{}","rev":1,"nonce":"n","answer":"{answer}"}}"#, offer.id);
    world.up(&thermostat(), "up/offer/answer", &body).unwrap();
}

fn says(world: &mut World, placements: &str, locales: &str) {
    let slots = r#"[{"slot":"air_filter","kind":"usage","unit":"h","capacity":720}]"#;
    let body = format!(
        r#"{{"model":"th-200","kind":"thermostat","slots":{slots},"placements":[{placements}],"locales":[{locales}]}}"#
    );
    world.up(&thermostat(), "desc", &body).unwrap();
}

fn household(world: &mut World) -> &mut hearthway_core::model::Household {
    let id = world.routes[&thermostat()];
    world.homes.get_mut(&id).unwrap()
}

fn product(world: &mut World) -> &mut hearthway_core::model::Product {
    Arc::make_mut(world.rules.products.listed.values_mut().next().unwrap())
}

const HOMES: &[Home] = &[
    Home {
        name: "the customer withdrew the consent on the device",
        trigger: "",
        story: |world| {
            let body = r#"{"set":[{"purpose":"offers.device","granted":false}]}"#;
            world.up(&thermostat(), "up/consent", body).unwrap();
            worn(world);
        },
        step: Step::Consent,
        en: "The customer has not consented to offers on the device.",
        fr: "Le client n'a pas consenti à : offres sur l'appareil.",
    },
    Home {
        name: "the customer consented to offers, and the trigger is a refill",
        trigger: "[trigger.audience]\nconsent = [\"replenish.device\"]\n",
        story: worn,
        step: Step::Consent,
        en: "The customer has not consented to refills on the device.",
        fr: "Le client n'a pas consenti à : réassort sur l'appareil.",
    },
    Home {
        name: "the trigger uses usage data, to which nobody consented",
        trigger: "[trigger.audience]\nconsent = [\"offers.device\", \"profiling.usage\"]\n",
        story: worn,
        step: Step::Consent,
        en: "The customer has not consented to use of usage data.",
        fr: "Le client n'a pas consenti à : usage des données d'utilisation.",
    },
    Home {
        name: "the customer asked for a day of silence",
        trigger: "",
        story: |world| {
            let until = world.now + Span::days(1);
            world.up(&thermostat(), "up/consent", &format!(r#"{{"set":[],"pause_until":{}}}"#, until.0)).unwrap();
            worn(world);
        },
        step: Step::Controls,
        en: "The customer asked for silence until 2026-03-19 10:00 Europe/Paris.",
        fr: "Le client a demandé le silence jusqu'au 2026-03-19 10:00 Europe/Paris.",
    },
    Home {
        name: "the customer is in a segment that is left out",
        trigger: "[trigger.audience]\nexclude = [\"eco\"]\n",
        story: worn,
        step: Step::Audience,
        en: "The customer is in the excluded segment eco.",
        fr: "Le client est dans le segment exclu eco.",
    },
    Home {
        name: "the customer is in no segment that is meant",
        trigger: "[trigger.audience]\ninclude = [\"vip\", \"staff\"]\n",
        story: worn,
        step: Step::Audience,
        en: "The customer is in none of the segments vip, staff.",
        fr: "Le client n'est dans aucun des segments vip, staff.",
    },
    Home {
        name: "only a buyer may see it, and the owner is alone",
        trigger: "[trigger.audience]\nroles = [\"buyer\"]\n",
        story: worn,
        step: Step::Audience,
        en: "Nobody linked to the device has a role that may see this.",
        fr: "Personne, parmi ceux liés à l'appareil, n'a un rôle qui peut voir cette offre.",
    },
    Home {
        name: "the season has not begun",
        trigger: "[trigger.valid]\nfrom = 2026-09-01\n",
        story: worn,
        step: Step::Validity,
        en: "The trigger begins on 2026-09-01; it is 2026-03-18.",
        fr: "Le déclencheur commence le 2026-09-01 ; nous sommes le 2026-03-18.",
    },
    Home {
        name: "the season is over",
        trigger: "[trigger.valid]\nuntil = 2026-02-28\n",
        story: worn,
        step: Step::Validity,
        en: "The trigger ended on 2026-02-28; it is 2026-03-18.",
        fr: "Le déclencheur s'est terminé le 2026-02-28 ; nous sommes le 2026-03-18.",
    },
    Home {
        name: "the news comes five hours late",
        trigger: "",
        story: |world| {
            let at = |hours: i64| (world.now - Span::hours(hours)).0;
            let slot = |used: u32, t: i64| {
                format!(r#"{{"slot":"air_filter","kind":"usage","used":{used},"capacity":720,"unit":"h","t":{t}}}"#)
            };
            let (early, late) = (slot(590, at(6)), slot(612, at(5)));
            world.up(&thermostat(), "up/slot", &early).unwrap();
            world.up(&thermostat(), "up/slot", &late).unwrap();
        },
        step: Step::Age,
        en: "The event is 5 hours old; after 2 hours it is too late for an offer.",
        fr: "L'événement date de 5 heures ; au-delà de 2 heures, il est trop tard pour une offre.",
    },
    Home {
        name: "the filter is not worn yet",
        trigger: "",
        story: |world| {
            world.up(&thermostat(), "up/slot", &used(580)).unwrap();
            world.up(&thermostat(), "up/slot", &used(590)).unwrap();
        },
        step: Step::Age,
        en: "Nothing woke this trigger: air_filter used is 580, it did not rise above 600.",
        fr: "Rien n'a éveillé ce déclencheur : le seuil n'a pas été franchi ou l'événement attendu n'est pas venu ; \
             air_filter used vaut 580, sans passer au-dessus de 600.",
    },
    Home {
        name: "it is morning, and the trigger is for the evening",
        trigger: "[trigger.when]\nall = 'local.hour >= 17'\n",
        story: worn,
        step: Step::Conditions,
        en: "A condition does not hold: local.hour >= 17 (it is 10).",
        fr: "Une condition n'est pas remplie : local.hour >= 17 (valeur : 10).",
    },
    Home {
        name: "nobody said whether somebody is home",
        trigger: "[trigger.when]\nall = 'context.presence == \"home\"'\n",
        story: worn,
        step: Step::Conditions,
        en: "A condition cannot be told, and unknown never sends: context.presence == \"home\".",
        fr: "Une condition est inconnue, et l'inconnu n'envoie jamais : context.presence == \"home\".",
    },
    Home {
        name: "a filter is on its way",
        trigger: "",
        story: |world| {
            answered(world, "accept");
            world.homes.values_mut().flat_map(|home| home.orders.values_mut()).for_each(|order| {
                let order = std::sync::Arc::make_mut(order);
                order.state = hearthway_core::model::OrderState::Shipped;
                order.id = hearthway_core::id::OrderId([7; hearthway_core::id::DERIVED_BYTES]);
            });
            worn_again(world);
        },
        step: Step::Suppression,
        en: "The product is on its way: order or_a4dqobyha4dqobyha4dqobyh is shipped.",
        fr: "Le produit est en route : la commande or_a4dqobyha4dqobyha4dqobyh est expédiée.",
    },
    Home {
        name: "the customer refused a month ago",
        trigger: "[trigger.limits]\nafter = { declined = \"45d\" }\n",
        story: |world| {
            answered(world, "decline");
            world.pass(Span::days(30));
            worn_again(world);
        },
        step: Step::Suppression,
        en: "The customer refused this offer on 2026-03-18 10:00 Europe/Paris: silence until 2026-05-02 11:00 Europe/Paris.",
        fr: "Le client a refusé cette offre le 2026-03-18 10:00 Europe/Paris : silence jusqu'au 2026-05-02 11:00 Europe/Paris.",
    },
    Home {
        name: "the customer has a spare filter",
        trigger: "[trigger.limits]\nafter = { not_needed = \"90d\" }\n",
        story: |world| {
            answered(world, "not_needed");
            worn_again(world);
        },
        step: Step::Suppression,
        en: "The customer said it is not needed on 2026-03-18 10:00 Europe/Paris: silence until 2026-06-16 11:00 Europe/Paris.",
        fr: "Le client a dit ne pas en avoir besoin le 2026-03-18 10:00 Europe/Paris : silence jusqu'au 2026-06-16 11:00 Europe/Paris.",
    },
    Home {
        name: "once in three weeks is enough",
        trigger: "[trigger.limits]\ncaps = [{ max = 1, per = \"offer\", scope = \"household\", within = \"21d\" }]\n",
        story: |world| {
            answered(world, "decline");
            worn_again(world);
        },
        step: Step::Caps,
        en: "The cap is reached: the home was contacted 1 of 1 times in 21 days; room again on 2026-04-08 11:00 Europe/Paris.",
        fr: "Le plafond est atteint : foyer contacté 1 fois sur 1 en 21 jours ; de nouveau possible le 2026-04-08 11:00 Europe/Paris.",
    },
    Home {
        name: "once a day is enough",
        trigger: "[trigger.limits]\ncaps = [{ max = 1, per = \"all\", scope = \"profile\", each = \"day\" }]\n",
        story: |world| {
            answered(world, "decline");
            worn_again(world);
        },
        step: Step::Caps,
        en: "The cap is reached: the customer was contacted 1 of 1 times today; room again on 2026-03-19 00:00 Europe/Paris.",
        fr: "Le plafond est atteint : client contacté 1 fois sur 1 aujourd'hui ; de nouveau possible le 2026-03-19 00:00 Europe/Paris.",
    },
    Home {
        name: "the shop does not sell it any more",
        trigger: "",
        story: |world| {
            world.rules.products.listed.clear();
            worn(world);
        },
        step: Step::Offer,
        en: "flt-20x25 is not in the catalogue.",
        fr: "Absent du catalogue : flt-20x25.",
    },
    Home {
        name: "the price is in euro and the delivery in francs",
        trigger: "",
        story: |world| {
            product(world).delivery = Money::new(500, Currency::new("CHF").unwrap());
            worn(world);
        },
        step: Step::Offer,
        en: "Price and delivery are in different currencies.",
        fr: "Le prix et la livraison sont dans des monnaies différentes.",
    },
    Home {
        name: "the device speaks German alone",
        trigger: "",
        story: |world| {
            says(world, r#"{"id":"home.card"}"#, r#""de""#);
            worn(world);
        },
        step: Step::Content,
        en: "The device does not show the language: it has de.",
        fr: "L'appareil n'affiche pas la langue : il a de.",
    },
    Home {
        name: "the display has room for eight letters",
        trigger: "",
        story: |world| {
            says(world, r#"{"id":"home.card","title_max":8}"#, r#""fr""#);
            worn(world);
        },
        step: Step::Placement,
        en: "The text is too long for home.card: “Filtre bientôt usé”.",
        fr: "Le texte est trop long pour home.card : « Filtre bientôt usé ».",
    },
    Home {
        name: "the device has another surface than the one asked for",
        trigger: "[trigger.channel]\norder = [\"device:home.card\"]\n",
        story: |world| {
            says(world, r#"{"id":"door.led"}"#, r#""fr""#);
            worn(world);
        },
        step: Step::Placement,
        en: "The device has no surface that the trigger names.",
        fr: "L'appareil n'a aucune surface que le déclencheur nomme.",
    },
    Home {
        name: "the house sleeps in the morning",
        trigger: "[trigger.limits]\nquiet = { from = \"21:00\", to = \"11:00\" }\n",
        story: |world| {
            worn(world);
            // The spread over the street is the home's own; the words are about the hour.
            let step = |trace: &mut CandidateTrace| {
                let quiet = trace.steps.iter_mut().find(|step| step.step == Step::Quiet).unwrap();
                let until = hearthway_core::time::Timestamp::parse_rfc3339("2026-03-18T11:00:00+01:00").unwrap();
                quiet.numbers[0].1 = hearthway_core::trace::Fact::At(until);
            };
            step(world.traces.last_mut().unwrap());
        },
        step: Step::Quiet,
        en: "It is a quiet hour; the offer waits until 2026-03-18 11:00 Europe/Paris.",
        fr: "C'est une heure calme ; l'offre attend jusqu'au 2026-03-18 11:00 Europe/Paris.",
    },
    Home {
        name: "nobody knows what time it is there",
        trigger: "[trigger.limits]\nquiet = { from = \"21:00\", to = \"08:00\" }\n",
        story: |world| {
            household(world).zone = None;
            worn(world);
        },
        step: Step::Quiet,
        en: "The home's time zone is unknown, so it counts as quiet.",
        fr: "Le fuseau du foyer est inconnu : l'heure compte comme calme.",
    },
    Home {
        name: "the former owner's data is still on the device",
        trigger: "",
        story: |world| {
            household(world).devices.get_mut(&thermostat()).unwrap().wipe_pending = true;
            worn(world);
        },
        step: Step::Link,
        en: "The former owner's data is not yet wiped from the device.",
        fr: "Les données de l'ancien propriétaire ne sont pas encore effacées de l'appareil.",
    },
];

/// What explain has to say: the last look, or why there was none.
fn explained(world: &World) -> CandidateTrace {
    if let Some(trace) = world.traces.last() {
        return trace.clone();
    }
    let (home, input) = world.log.last().unwrap();
    let trigger = world.rules.triggers.iter().find(|trigger| trigger.retailer == shop()).unwrap();
    let mut before = world.homes[home].clone();
    let slot = before.devices.get_mut(&thermostat()).unwrap().slots.get_mut("air_filter").unwrap();
    slot.evidence = hearthway_core::model::Evidence::Usage { used: 580.0 };
    why_not_candidate(&before, input, &world.rules, trigger)
}

#[test]
fn each_home_is_told_the_reason_that_was_written_down_for_it() {
    assert!(HOMES.len() >= 20);
    let mut wrong = Vec::new();
    for home in HOMES {
        let mut world = World::at_home(&format!("{FILTER_WORN}{}", home.trigger));
        (home.story)(&mut world);
        let trace = explained(&world);
        let block = trace.first_block;
        let step = block.and_then(|block| trace.steps.iter().find(|step| step.step == block));
        let [en, fr] = Tongue::ALL.map(|tongue| step.map(|step| step.in_words(tongue)).unwrap_or_default());
        if block != Some(home.step) || en != home.en || fr != home.fr {
            wrong.push(format!("{}: {block:?}\n  {en}\n  {fr}", home.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_step_of_every_home_has_a_code_and_words_in_both_languages() {
    let mut world = World::at_home(FILTER_WORN);
    worn(&mut world);
    let mut traces = vec![explained(&world)];
    assert_eq!(traces[0].first_block, None, "with nothing in the way it leaves");
    for home in HOMES {
        let mut world = World::at_home(&format!("{FILTER_WORN}{}", home.trigger));
        (home.story)(&mut world);
        traces.extend(world.traces.iter().cloned());
        traces.push(explained(&world));
    }
    for step in traces.iter().flat_map(|trace| &trace.steps) {
        let reason = Reason::of_code(step.code());
        assert!(reason.is_some(), "`{}` has no words: {step:?}", step.code());
        let [en, fr] = Tongue::ALL.map(|tongue| step.in_words(tongue));
        // Where a number was missing, the stored reason would stand there.
        assert!(en != step.reason && fr != step.reason && en != fr, "{en} / {fr}: {step:?}");
    }
}

#[test]
fn nobody_is_offered_what_needs_a_consent_that_was_never_given() {
    let mut world = World::with(FILTER_WORN);
    world.register(&thermostat());
    world.link(&thermostat(), "p1", &[]);
    worn(&mut world);
    assert_eq!(explained(&world).first_block, Some(Step::Consent));
}
