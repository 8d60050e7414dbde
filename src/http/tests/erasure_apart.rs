//! Erasures where a person is not alone: two at once in one home, homes that they left, names that were merged,
//! events that wait.

use hearthway_core::id::{HouseholdId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use serde_json::{Value, json};

use super::erasure::{FORMER, NAME, PROFILE, done, id_of, in_clear, linked, opened_with, sealed_with, sold, sold_in};
use super::{House, OPERATOR, house, house_on};
use crate::app::erasures::{Job, Step};
use crate::app::members::Invitation;
use crate::engine::Target;
use crate::engine::events::{EventRow, EventState};
use crate::store::codec::{self, Schema};
use crate::store::keys::table;
use crate::store::{Commit, SCAN_ROWS_MAX, Store};

fn shop_a() -> RetailerId {
    RetailerId::new("shop-a").unwrap()
}

async fn plan(house: &House, profile: &str) -> Job {
    house.app.plan_erasure(&shop_a(), profile).await.unwrap()
}

async fn go(house: &House, job: &mut Job, wanted: impl Fn(&Step) -> bool) {
    for step in job.steps().into_iter().filter(wanted) {
        house.app.erasure_step(job, step).await.unwrap();
    }
}

fn until_swept(step: &Step) -> bool {
    matches!(step, Step::Forget(_) | Step::Reseal(_) | Step::Sweep)
}

async fn erased(house: &House, profile: &str) -> Value {
    let begun = house.ok("POST", "/v1/erase", &house.shop, json!({"profile": profile})).await;
    done(house, begun["erase"].as_str().unwrap()).await["report"].clone()
}

/// A home of three, in which the last one bought something.
async fn sold_to_lea() -> (House, String, String) {
    let (house, home, _) = sold().await;
    linked(&house, "d-43", "jean", "Chez Jean", Some(&home)).await;
    linked(&house, "d-44", "lea", "Chez Lea", Some(&home)).await;
    house.ok("PUT", "/v1/products/flt-9", &house.shop, json!({"name": {"fr": "Filtre 9"}, "price": {"minor": 900, "currency": "EUR"}, "fits": [{"model": "th-200", "slot": "air_filter"}]})).await;
    let mut plain = super::trigger();
    plain["id"] = "filter-9".into();
    plain["offer"]["product"] = "flt-9".into();
    house.ok("PUT", "/v1/triggers/filter-9", &house.shop, plain).await;
    house.ok("POST", "/v1/triggers/filter-9/publish", &house.shop, json!({})).await;
    house.used("d-44", 590.0).await;
    house.used("d-44", 612.0).await;
    let offers = house.get("/v1/offers?state=sent", &house.shop).await;
    let offer = offers.json["items"][0]["offer"].as_str().unwrap_or_else(|| panic!("{}", offers.text)).to_owned();
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "lea"});
    let order = house.ok("POST", &format!("/v1/offers/{offer}/answer"), &house.shop, accept).await;
    (house, home, order["order"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn two_erasures_in_one_home_destroy_no_key_that_somebody_still_needs() {
    let (house, _, order) = sold_to_lea().await;
    let shop = house.shop.clone();
    let (mut first, mut second) = (plan(&house, PROFILE).await, plan(&house, "jean").await);
    go(&house, &mut first, until_swept).await;
    go(&house, &mut second, |step| matches!(step, Step::Forget(_) | Step::Reseal(_))).await;
    go(&house, &mut first, |step| !until_swept(step)).await;
    let path = format!("/v1/orders/{order}");
    assert_eq!(house.get(&path, &shop).await.status, 200, "the second has swept nothing yet");
    go(&house, &mut second, |_| true).await;
    assert_eq!(house.get(&path, &shop).await.status, 200);
    let person = house.get("/v1/profiles/lea", &shop).await.json;
    assert_eq!(person["links"][0]["device"], "d-44", "{person}");
    assert_eq!(opened_with(&house, &[PROFILE, NAME, "Chez Jean"]), [] as [&str; 0]);
    // Both at once, as they are asked for.
    let (house, _, order) = sold_to_lea().await;
    let both = tokio::join!(erased(&house, PROFILE), erased(&house, "jean"));
    assert_eq!((&both.0["homes_left"], &both.1["homes_left"]), (&json!(1), &json!(1)), "{both:?}");
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &house.shop).await.status, 200);
    assert_eq!(opened_with(&house, &[PROFILE, NAME, FORMER, "Chez Jean"]), [] as [&str; 0]);
}

#[tokio::test]
async fn what_somebody_left_in_a_home_that_they_live_in_no_more_goes_too() {
    let (house, home, order) = sold().await;
    let shop = house.shop.clone();
    house.ok("POST", "/v1/devices/d-42/members", &shop, json!({"profile": "jean", "role": "owner"})).await;
    house.ok("DELETE", &format!("/v1/devices/d-42/members/{PROFILE}"), &shop, json!({})).await;
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &shop).await.json["profile"], PROFILE);
    let before = sealed_with(&house.disk);
    let report = erased(&house, PROFILE).await;
    assert_eq!((&report["homes_left"], &report["links_ended"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &shop).await.status, 404, "it left with its buyer");
    assert_eq!(opened_with(&house, &[PROFILE, NAME, FORMER]), [] as [&str; 0]);
    let vault_knows = |key: &codec::KeyId| house.app.engine.store().vault().unwrap().knows(*key);
    assert_eq!(before.iter().filter(|key| !vault_knows(key)).count(), 2, "the home's log was theirs too");
    assert_eq!(house.app.engine.replay(id_of(&home)).unwrap().differences, []);
}

#[tokio::test]
async fn a_claim_that_was_refused_leaves_nothing_of_whom_it_was_for() {
    let house = house().await;
    let shop = house.shop.clone();
    house.register("d-42").await;
    let path = format!("/v1/profiles/{PROFILE}");
    house.ok("PUT", &path, &shop, json!({"display_name": NAME, "tz": "Europe/Paris"})).await;
    house.ok("PUT", &format!("{path}/preferences"), &shop, json!({"frequency": {"per_week": 2}})).await;
    let code = house.claim_code("d-42").await;
    let device = "acme/d-42".parse().unwrap();
    let stop = house.app.command(Some(&device), "test", b"", Command::Suspend { reason: "stolen".to_owned() });
    house.app.engine.call(Target::Device(device), stop).await;
    let claim = json!({"code": code, "profile": PROFILE, "tz": "Europe/Paris", "consents": []});
    let refused = house.call("POST", "/v1/claims/confirm", &shop, claim).await;
    assert_eq!(refused.code(), "claim.expired", "{}", refused.text);
    assert!(sealed_with(&house.disk).len() >= 2, "a key for the home that they were to have, one for the person");
    erased(&house, PROFILE).await;
    let vault_knows = |key: &codec::KeyId| house.app.engine.store().vault().unwrap().knows(*key);
    assert!(
        !sealed_with(&house.disk).iter().any(vault_knows),
        "the log of the refusal is sealed with a key that is there"
    );
    assert_eq!(opened_with(&house, &[PROFILE, NAME]), [] as [&str; 0]);
}

#[tokio::test]
async fn a_person_of_many_names_is_erased_by_each_of_them() {
    let (house, home, order) = sold().await;
    let shop = house.shop.clone();
    linked(&house, "d-43", "jean", "Chez Jean", Some(&home)).await;
    for (from, into, name) in [(PROFILE, "marie-b", "Chez Bis"), ("marie-b", "marie-c", "Chez Ter")] {
        house.ok("PUT", &format!("/v1/profiles/{into}"), &shop, json!({"display_name": name})).await;
        house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": from, "into": into})).await;
    }
    let names = [PROFILE, "marie-b", "marie-c", NAME, FORMER, "Chez Bis", "Chez Ter"];
    let mut job = plan(&house, "marie-c").await;
    let steps = job.steps();
    for step in steps {
        for name in &names[..3] {
            let late = house.call("PUT", &format!("/v1/profiles/{name}"), &shop, json!({})).await;
            assert_eq!(late.status, 409, "{name} before {step:?}: {}", late.text);
        }
        house.app.erasure_step(&mut job, step).await.unwrap();
    }
    assert_eq!(opened_with(&house, &names), [] as [&str; 0]);
    assert_eq!(house.get(&format!("/v1/orders/{order}"), &shop).await.status, 404, "it left with its buyer");
    for name in &names[..3] {
        assert_eq!(house.get(&format!("/v1/profiles/{name}"), &shop).await.status, 404, "{name}");
        house.ok("PUT", &format!("/v1/profiles/{name}"), &shop, json!({})).await;
        assert_eq!(house.get(&format!("/v1/profiles/{name}"), &shop).await.status, 200, "{name} is somebody new");
    }
}

#[tokio::test]
async fn a_merge_that_was_taken_back_keeps_neither_person() {
    let (house, _, _) = sold().await;
    let shop = house.shop.clone();
    house.link("d-43", "jean").await;
    let merge = house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": PROFILE, "into": "jean"})).await;
    let path = format!("/v1/profiles/merges/{}", merge["merge"].as_str().unwrap());
    let mut job = plan(&house, "jean").await;
    let late = house.call("POST", &format!("{path}/undo"), &shop, json!({})).await;
    assert!(late.status == 409 && late.text.contains("is being erased"), "{}", late.text);
    go(&house, &mut job, |_| true).await;
    assert_eq!(house.get(&path, &shop).await.status, 404);

    let (house, _, _) = sold().await;
    let shop = house.shop.clone();
    house.link("d-43", "jean").await;
    let merge = house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": PROFILE, "into": "jean"})).await;
    let path = format!("/v1/profiles/merges/{}", merge["merge"].as_str().unwrap());
    let undone = house.ok("POST", &format!("{path}/undo"), &shop, json!({})).await;
    assert_eq!(undone["state"], "undone");
    let rows = house.app.engine.store().scan(&[table::MERGE], None, 10).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(rows.iter().all(|(_, row)| !String::from_utf8_lossy(row).contains(NAME)), "who was it is not its business");
    erased(&house, PROFILE).await;
    assert_eq!(house.get(&path, &shop).await.status, 404);
    assert_eq!(opened_with(&house, &[PROFILE, NAME, FORMER]), [] as [&str; 0]);
    assert_eq!(house.get("/v1/profiles/jean", &shop).await.json["links"][0]["device"], "d-43");
    // What the other one's home was told of the merge is under a key that is gone.
    let items = house.app.engine.store().items(None, SCAN_ROWS_MAX).unwrap();
    let named = items.iter().filter(|(_, _, item)| String::from_utf8_lossy(item).contains(PROFILE));
    assert_eq!(named.count(), 0);
}

fn events(house: &House) -> Vec<(EventRow, Value)> {
    let rows = house.app.engine.store().scan(&[table::EVENT], None, SCAN_ROWS_MAX).unwrap();
    let read = rows.iter().filter_map(|(key, bytes)| codec::decode::<EventRow>(Schema::Event, key, bytes).ok());
    read.map(|row| (serde_json::from_slice(&row.body).unwrap(), row)).map(|(body, row)| (row, body)).collect()
}

/// A shop and a maker whose webhooks answer nobody.
async fn deaf() -> House {
    let house = house().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for token in [house.shop.clone(), house.maker.clone()] {
        house.ok("PUT", "/v1/webhooks/all", &token, json!({"url": format!("http://{nobody}/")})).await;
    }
    house
}

#[tokio::test]
async fn events_that_wait_are_told_of_nobody() {
    for shared in [true, false] {
        let (house, home, order) = sold_in(deaf().await).await;
        if shared {
            linked(&house, "d-43", "jean", "Chez Jean", Some(&home)).await;
        }
        let kinds = |house: &House| {
            let mut kinds: Vec<String> = events(house).into_iter().map(|(row, _)| row.kind).collect();
            kinds.sort();
            kinds
        };
        let before = kinds(&house);
        for kind in ["order.requested", "consent.changed", "device.linked"] {
            assert!(before.iter().any(|known| known == kind), "{kind} waits: {before:?}");
        }
        let report = erased(&house, PROFILE).await;
        assert!(report["sealed_anew"]["events"].as_u64() >= Some(3), "{report}");
        let told = events(&house);
        let requested = told.iter().find(|(row, _)| row.kind == "order.requested").unwrap();
        assert_eq!((&requested.1["data"]["order"], &requested.1["data"]["profile"]), (&json!(order), &Value::Null));
        assert_eq!(requested.0.state, EventState::Waiting);
        let after = kinds(&house);
        for kind in &before {
            let number = |kinds: &[String]| kinds.iter().filter(|known| *known == kind).count();
            assert!(number(&after) >= number(&before), "{kind} is not told any more: {after:?}");
        }
        let released = told.iter().filter(|(row, _)| row.kind == "device.released").count();
        assert_eq!(released, 2, "to the shop and to the maker: {after:?}");
        if shared {
            let others = told.iter().filter(|(_, body)| body["data"]["profile"] == "jean").count();
            assert!(others >= 2, "who stays is told of as before");
        }
        assert_eq!(opened_with(&house, &[NAME, FORMER]), [] as [&str; 0]);
        // The shop's own systems are told whom to forget, by an event that goes when it is told.
        let named = opened_with(&house, &[PROFILE]);
        assert!(named.len() == 1 && named[0].contains("profile.erased"), "{named:?}");
        assert_eq!(in_clear(&house.disk, &[PROFILE, NAME, FORMER]), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn who_is_called_like_a_part_of_many_words_takes_nothing_of_others_along() {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/products/flt-20x25", &shop, super::product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, super::trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    let home = linked(&house, "d-42", "jean", "Chez Jean", None).await["household"].as_str().unwrap().to_owned();
    // `4` and `i` stand in nearly every row.
    linked(&house, "d-43", "4", "i", Some(&home)).await;
    house.used("d-42", 590.0).await;
    house.used("d-42", 612.0).await;
    let rows = |house: &House, table: u8| house.app.engine.store().scan(&[table], None, SCAN_ROWS_MAX).unwrap().len();
    let before = (rows(&house, table::OFFER), house.get("/v1/offers?state=sent", &shop).await.text);
    let waiting = house.app.engine.store().scan(&[table::OUTBOX], None, SCAN_ROWS_MAX).unwrap();
    assert_eq!(before.0, 1);
    let report = erased(&house, "4").await;
    assert_eq!(report["deleted"].get("offers"), None, "{report}");
    assert_eq!((rows(&house, table::OFFER), house.get("/v1/offers?state=sent", &shop).await.text), before);
    for (key, _) in waiting.iter().filter(|(key, _)| String::from_utf8_lossy(&key.0).contains("d-42")) {
        assert!(house.app.engine.store().get(key).unwrap().is_some(), "{key} waited for another one's device");
    }
}

#[tokio::test]
async fn an_invitation_serves_once_tells_nobody_who_invites_and_goes_when_it_is_over() {
    let house = house().await;
    let shop = house.shop.clone();
    let linked = linked(&house, "d-42", PROFILE, NAME, None).await;
    let invite = json!({"invite": true, "role": "viewer", "by": PROFILE});
    let invited = house.ok("POST", "/v1/devices/d-42/members", &shop, invite.clone()).await;
    let code = invited["code"].as_str().unwrap().to_owned();
    let bare = code.replace('-', "");
    assert_eq!(in_clear(&house.disk, &[PROFILE, &code, &bare]), [] as [&str; 0]);
    // Somebody who cannot join does not use it up.
    for name in ["gone", "stays"] {
        house.ok("PUT", &format!("/v1/profiles/{name}"), &shop, json!({})).await;
    }
    house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "gone", "into": "stays"})).await;
    let accept = |profile: &str| json!({"code": code, "profile": profile, "display_name": "Paul"});
    let refused = house.call("POST", "/v1/invitations/accept", &shop, accept("gone")).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    let path = "/v1/invitations/accept";
    let (first, second) =
        tokio::join!(house.call("POST", path, &shop, accept("p2")), house.call("POST", path, &shop, accept("p3")));
    let mut told = [first.status, second.status];
    told.sort_unstable();
    assert!(told[0] == 201 && told[1] >= 400, "{} {}", first.text, second.text);
    let members = house.get("/v1/devices/d-42/members", &shop).await.json;
    assert_eq!(members["items"].as_array().unwrap().len(), 2, "{members}");

    let over = Invitation {
        code: "AAAAAAAA".to_owned(),
        device: "acme/d-42".parse().unwrap(),
        household: id_of(linked["household"].as_str().unwrap()),
        role: hearthway_core::model::Role::Viewer,
        by: ProfileId::new(PROFILE).unwrap(),
        expires_at: house.app.now(),
    };
    let write = house.app.invitation_written(&shop_a(), &over).unwrap();
    let crate::store::Write::Put(key, _) = write.clone() else { panic!("it is written") };
    house.app.engine.write(Commit { preconditions: Vec::new(), writes: vec![write] }).await.unwrap();
    assert!(house.app.engine.store().get(&key).unwrap().is_some());
    house.ok("POST", "/v1/devices/d-42/members", &shop, invite).await;
    assert!(house.app.engine.store().get(&key).unwrap().is_none(), "with the next one those that are over go");
    erased(&house, PROFILE).await;
    assert_eq!(opened_with(&house, &[PROFILE, NAME]), [] as [&str; 0]);
}

#[tokio::test]
async fn a_home_tells_nobody_whose_it_is() {
    let (house, home, _) = sold().await;
    let guessed = HouseholdId::of_profile(&shop_a(), &ProfileId::new(PROFILE).unwrap());
    assert_ne!(id_of(&home), guessed, "whoever has a backup and a list of names finds nobody");
    let other = house.get("/v1/devices/d-42", OPERATOR).await.json;
    assert!(!other.to_string().contains(&guessed.to_string()), "{other}");
}

#[tokio::test]
async fn who_comes_by_the_name_of_somebody_erased_is_opened_by_none_of_their_tokens() {
    for stop_after in 0..=6 {
        let (house, ..) = sold().await;
        let shop = house.shop.clone();
        let own = json!({"role": "customer", "profile": PROFILE});
        let token = house.ok("POST", "/v1/tokens", &shop, own.clone()).await["token"].as_str().unwrap().to_owned();
        let until = (house.app.now() + hearthway_core::time::Span::days(30)).to_string();
        let leave = json!({"device": "d-42", "party": "Energy Advice Ltd", "until": until});
        let leave = house.call("POST", "/v1/me/grants", &token, leave).await.json["token"].clone();
        let leave = leave.as_str().unwrap();
        let mut job = plan(&house, PROFILE).await;
        for step in job.steps().into_iter().take(stop_after) {
            house.app.erasure_step(&mut job, step).await.unwrap();
        }
        house.app.engine.drain().await;
        // What a start reads of them is there for as long as the sweep has not come to it.
        let again = House { shop: shop.clone(), ..house_on(house.disk.clone()).await };
        done(&again, &job.name()).await;
        linked(&again, "d-42", PROFILE, "Somebody Else", None).await;
        let told = again.get("/v1/me", &token).await;
        assert_eq!(told.status, 401, "stopped after {stop_after} steps: {}", told.text);
        let read = again.get("/v1/granted/data", leave).await;
        assert_eq!(read.status, 401, "stopped after {stop_after} steps: {}", read.text);
        let anew = again.ok("POST", "/v1/tokens", &shop, own).await["token"].clone();
        assert_eq!(again.get("/v1/me", anew.as_str().unwrap()).await.status, 200);
    }
}

/// All that leads from one row to another, of somebody of whom everything is known that can be.
#[tokio::test]
async fn of_somebody_who_is_erased_no_table_holds_a_name_a_number_or_a_way_to_them() {
    let (house, home, order) = sold().await;
    let shop = house.shop.clone();
    let profile = format!("/v1/profiles/{PROFILE}");
    let identities = json!([{"type": "email", "value": "marquise@example.org"}]);
    house.ok("PATCH", &profile, &shop, json!({"identities": identities})).await;
    house.ok("PUT", &format!("{profile}/preferences"), &shop, json!({"frequency": {"per_week": 2}})).await;
    let own = json!({"role": "customer", "profile": PROFILE});
    let made = house.ok("POST", "/v1/tokens", &shop, own).await;
    let (token, token_id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let until = (house.app.now() + hearthway_core::time::Span::days(30)).to_string();
    let leave = json!({"device": "d-42", "party": "Energy Advice Ltd", "until": until});
    let grant = house.call("POST", "/v1/me/grants", token, leave).await.json["grant"].as_str().unwrap().to_owned();
    house
        .ok(
            "PUT",
            &format!("{profile}/consents"),
            &shop,
            json!({"consents": [{"purpose": "auto_order", "granted": true}]}),
        )
        .await;
    let mandate = json!({
        "profile": PROFILE, "device": "d-42", "slot": "air_filter", "products": ["flt-20x25"],
        "max_price": {"minor": 5000, "currency": "EUR"}, "max_per_30d": 1, "expires_at": until,
    });
    house.ok("PUT", "/v1/mandates/mandate-marker", &shop, mandate).await;
    let invite = json!({"invite": true, "role": "viewer", "by": PROFILE});
    house.ok("POST", "/v1/devices/d-42/members", &shop, invite).await;
    // A device that they had and gave back, with a link and a mandate that ended with it.
    linked(&house, "d-43", PROFILE, NAME, Some(&home)).await;
    let person = house.get(&profile, &shop).await.json;
    let links: Vec<String> =
        person["links"].as_array().unwrap().iter().map(|link| link["link"].as_str().unwrap().to_owned()).collect();
    let receipts: Vec<String> = person["consents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word["receipt"].as_str().unwrap().to_owned())
        .collect();
    assert!(links.len() == 2 && !receipts.is_empty(), "{person}");
    house.ok("POST", "/v1/devices/d-43/release", &shop, json!({})).await;
    // Wrong codes of theirs are counted.
    for code in ["AAAA-AAAA", "BBBB-BBBB"] {
        let claim = json!({"code": code, "profile": PROFILE, "tz": "Europe/Paris", "consents": []});
        assert!(house.call("POST", "/v1/claims/confirm", &shop, claim).await.status >= 400);
    }
    let offer = house.get(&format!("/v1/orders/{order}"), &shop).await.json["offer"].as_str().unwrap().to_owned();
    let raw_of = |text: &str| {
        let (_, id) = text.split_once('_').unwrap();
        data_encoding::BASE32_NOPAD.decode(id.to_ascii_uppercase().as_bytes()).unwrap()
    };
    let ids: Vec<&str> = links
        .iter()
        .chain(&receipts)
        .map(String::as_str)
        .chain([offer.as_str(), order.as_str(), home.as_str()])
        .collect();
    let mut parts: Vec<(String, Vec<u8>)> = ids.iter().map(|id| ((*id).to_owned(), raw_of(id))).collect();
    let texts = [PROFILE, NAME, FORMER, "marquise", "Energy Advice", "mandate-marker", token_id, &grant];
    parts.extend(texts.iter().chain(&ids).map(|text| ((*text).to_owned(), text.as_bytes().to_vec())));
    erased(&house, PROFILE).await;
    // What stays, by table: the home's number where it stands for nobody; its counts; what is kept of the order;
    // that something was sent under a cap; who of the shop did what.
    let acts: Vec<&str> = ids.iter().copied().filter(|id| *id != home).chain([token_id, &grant]).collect();
    let stays: [(u8, &[&str]); 7] = [
        (table::HOUSEHOLD, &[&home]),
        (table::LEDGER, &[&home, &offer]),
        (table::KEPT_ORDER, &[&order]),
        (table::KEPT_AT, &[&order]),
        (table::SENT, &[&offer]),
        (table::AUDIT, &acts),
        (table::ROUTE, &[]),
    ];
    let mut seen = 0;
    for (key, value) in house.app.engine.store().scan(&[], None, SCAN_ROWS_MAX).unwrap() {
        let allowed = stays.iter().find(|(table, _)| *table == key.0[0]).map_or(&[][..], |(_, allowed)| *allowed);
        for (text, part) in &parts {
            let holds =
                [&key.0, &value].into_iter().any(|bytes| bytes.windows(part.len()).any(|window| window == *part));
            seen += usize::from(holds);
            assert!(!holds || allowed.contains(&text.as_str()), "`{text}` at {key}: {}", value.escape_ascii());
        }
    }
    assert!(seen > 2, "the order is kept, and the home's number");
    // Nor can an item of any log be opened that says so, but where the device itself says from which home it came.
    for (at, log, item) in house.app.engine.store().items(None, SCAN_ROWS_MAX).unwrap() {
        for (text, part) in parts.iter().filter(|(text, _)| *text != home) {
            let holds = item.windows(part.len()).any(|window| window == *part);
            assert!(!holds, "`{text}` at {at:?} of {log:?}: {}", item.escape_ascii());
        }
    }
    assert_eq!(
        in_clear(&house.disk, &[PROFILE, NAME, FORMER, "marquise", "Energy Advice", "mandate-marker"]),
        [] as [&str; 0]
    );
}
