//! Every route with the token of somebody else: what is another tenant's looks like what does not exist.

use serde_json::{Value, json};

use super::{Answer, House, OPERATOR, house, product, trigger};

/// What is there, and what stands for it where nothing is.
struct World {
    house: House,
    /// Name in paths and examples, what is there, what is nowhere.
    names: Vec<(&'static str, String, String)>,
}

const SLOT: &str = "air_filter";

/// One of each thing that a route can name, in the names of the examples.
async fn world() -> World {
    let house = house().await;
    let shop = house.shop.clone();
    house.ok("PUT", "/v1/makers/brewco", OPERATOR, json!({"name": "Brewco"})).await;
    house.ok("PUT", "/v1/products/flt-20x25", &shop, product()).await;
    house.ok("PUT", "/v1/triggers/filter-worn", &shop, trigger()).await;
    house.ok("POST", "/v1/triggers/filter-worn/publish", &shop, json!({})).await;
    house.ok("POST", "/v1/codes:import", &shop, json!({"pool": "HEAT26", "codes": ["HEAT-1"]})).await;
    let text = json!({"id": "t1", "purposes": ["offers.device"], "text": {"en": "Offers?"}});
    house.ok("POST", "/v1/consent-texts", &shop, text).await;
    house.ok("PUT", "/v1/stores/st-12", &shop, json!({"name": "Lyon"})).await;
    house.ok("PUT", "/v1/stock/st-12/flt-20x25", &shop, json!({"on_hand": 12})).await;
    let aside = json!({"store": "st-12", "product": "flt-20x25", "qty": 1});
    let reservation = house.ok("POST", "/v1/reservations", &shop, aside).await["reservation"].clone();
    let price = json!({"minor": 1790, "currency": "EUR"});
    let seller = json!({"name": "Filtres & Cie", "price": price, "delivery": price, "stock": 4});
    house.ok("PUT", "/v1/products/flt-20x25/sellers/filtres/offer", &shop, seller).await;
    let priced = json!({"product": "flt-20x25", "price": price, "from": "2030-01-01T00:00:00Z"});
    house.ok("PUT", "/v1/prices/black-friday", &shop, json!({"items": [priced]})).await;
    let line = json!({"id": "one-more", "name": {"en": "One more"}, "price": price}).to_string();
    house.bulk("/v1/products:import?import=night-7", &shop, &[line]).await;
    let webhook = json!({"url": "https://hooks.shop.example/hearthway", "types": ["budget.threshold"]});
    house.ok("PUT", "/v1/webhooks/orders", &shop, webhook).await;
    let linked = house.link("d-42", "p1").await;
    house.ok("PUT", "/v1/audiences/vip", &shop, json!({"kind": "list"})).await;
    house.bulk("/v1/audiences/vip/members:bulk", &shop, &[json!({"profile": "p1"}).to_string()]).await;
    house.ok("POST", "/v1/devices/d-42/members", &shop, json!({"profile": "p2", "role": "buyer"})).await;
    let identities = json!({"identities": [{"type": "email", "value": "anna@example.org"}]});
    house.ok("PATCH", "/v1/profiles/p1", &shop, identities).await;
    house.used("d-42", 20.0).await;
    house.used("d-42", 612.0).await;
    let offer = house.get("/v1/offers?state=sent", &shop).await.json["items"][0]["offer"].clone();
    let accept = json!({"rev": 1, "answer": "accept", "channel": "app", "profile": "p1"});
    let path = format!("/v1/offers/{}/answer", offer.as_str().unwrap());
    let order = house.ok("POST", &path, &shop, accept).await["order"].clone();
    let mandate = json!({
        "profile": "p1", "device": "d-42", "products": ["flt-20x25"], "max_price": {"minor": 5000, "currency": "EUR"},
        "max_per_30d": 1, "expires_at": (house.app.now() + hearthway_core::time::Span::hours(24)).to_string(),
    });
    house.ok("PUT", "/v1/mandates/m-1", &shop, mandate).await;
    for id in ["p7", "p8"] {
        house.ok("PUT", &format!("/v1/profiles/{id}"), &shop, json!({})).await;
    }
    let merge =
        house.ok("POST", "/v1/profiles/merge", &shop, json!({"from": "p7", "into": "p8"})).await["merge"].clone();
    let backtest = house.ok("POST", "/v1/triggers/filter-worn/backtest", &shop, json!({})).await["backtest"].clone();
    idle(&house).await;
    let reach =
        house.ok("POST", "/v1/triggers:reach", &shop, json!({"trigger": trigger(), "days": 1})).await["reach"].clone();
    let token =
        house.ok("POST", "/v1/tokens", OPERATOR, json!({"tenant": "shop-a", "role": "support"})).await["id"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let nowhere = |prefix: &str| format!("{prefix}{}", "a".repeat(24));
    let names = vec![
        ("device", "d-42".into(), "d-99".into()),
        ("profile", "p1".into(), "p99".into()),
        ("product", "flt-20x25".into(), "flt-99".into()),
        ("trigger", "filter-worn".into(), "filter-99".into()),
        ("mandate", "m-1".into(), "m-99".into()),
        ("text", "t1".into(), "t99".into()),
        ("pool", "HEAT26".into(), "HEAT99".into()),
        ("retailer", "shop-a".into(), "shop-z".into()),
        ("maker", "acme".into(), "zeta".into()),
        ("model", "th-200".into(), "th-999".into()),
        ("token", text(&token), nowhere("tk_")),
        ("household", text(&linked["household"]), nowhere("hh_")),
        ("link", text(&linked["link"]), nowhere("ln_")),
        ("offer", text(&offer), nowhere("of_")),
        ("order", text(&order), nowhere("or_")),
        ("merge", text(&merge), nowhere("mg_")),
        ("backtest", text(&backtest), nowhere("bt_")),
        ("reach", text(&reach), nowhere("re_")),
        ("store", "st-12".into(), "st-99".into()),
        ("audience", "vip".into(), "club-99".into()),
        ("seller", "filtres".into(), "filtrez".into()),
        ("import", "night-7".into(), "night-99".into()),
        ("list", "black-friday".into(), "white-friday".into()),
        ("reservation", text(&reservation), nowhere("rv_")),
        ("webhook", "orders".into(), "nothing-98".into()),
        ("serial", "TH-42".into(), "TH-99".into()),
        ("grant", nowhere("gr_"), nowhere("gr_")),
        ("erase", nowhere("er_"), nowhere("er_")),
        ("slot", SLOT.into(), SLOT.into()),
        ("flag", "minor".into(), "minor".into()),
        ("kind", "weather".into(), "weather".into()),
    ];
    World { house, names }
}

/// Waits until no long work is under way: one at a time is taken, whoever asks.
async fn idle(house: &House) {
    for _ in 0..1_000 {
        if !house.app.is_backtesting() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("the work does not end");
}

impl World {
    /// A path with its parameters filled in.
    fn path(&self, path: &str, query: &[&str], there: bool) -> String {
        let mut filled = path.to_owned();
        for (name, real, missing) in &self.names {
            filled = filled.replace(&format!("{{{name}}}"), if there { real } else { missing });
        }
        assert!(!filled.contains('{'), "{path} names something that this world does not have");
        let household = self.names.iter().find(|(name, ..)| *name == "household").unwrap();
        if query.contains(&"household") {
            let home = if there { &household.1 } else { &household.2 };
            filled.push_str(&format!("?household={home}&trigger=filter-worn"));
        }
        filled
    }

    /// An example of a body, about what is there or about nothing.
    fn body(&self, example: &str, there: bool) -> String {
        let household = self.names.iter().find(|(name, ..)| *name == "household").unwrap();
        let filled = example.replace("hh_…", if there { &household.1 } else { &household.2 });
        // The examples have devices and persons of their own names.
        let own = [
            ("d-41", "d-42", "d-99"),
            ("d-42", "d-42", "d-99"),
            ("d-7", "d-42", "d-99"),
            ("p1", "p1", "p99"),
            ("p2", "p2", "p98"),
            ("p7", "p1", "p99"),
            ("filter-worn", "filter-worn", "filter-99"),
            ("flt-20x25", "flt-20x25", "flt-99"),
            ("HEAT26", "HEAT26", "HEAT99"),
            ("st-12", "st-12", "st-99"),
            ("t1", "t1", "t99"),
            // An identity belongs to one person, also of the stranger's own.
            ("anna@example.org", "anna@example.org", "nobody@example.org"),
            ("4711", "4711", "4799"),
            ("4712", "4712", "4798"),
        ];
        let mut body = filled;
        // In two steps, so that no name becomes one that is replaced again.
        for (n, (example, ..)) in own.iter().enumerate() {
            body = body.replace(&format!("\"{example}\""), &format!("\"\u{1}{n}\""));
        }
        for (n, (_, real, missing)) in own.iter().enumerate().rev() {
            body = body.replace(&format!("\"\u{1}{n}\""), &format!("\"{}\"", if there { real } else { missing }));
        }
        body
    }

    /// An answer with every name of what is there or nowhere taken out.
    fn without_names(&self, answer: &Answer) -> String {
        let mut text = answer.text.clone();
        for (name, real, missing) in &self.names {
            text = text.replace(real.as_str(), name).replace(missing.as_str(), name);
        }
        text.replace("`p2`", "`profile`").replace("`p98`", "`profile`")
    }

    /// What the owner of it all sees.
    async fn untouched(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for path in [
            "/v1/profiles/p1",
            "/v1/profiles/p1/consents/history",
            "/v1/devices/d-42/household",
            "/v1/devices/d-42",
            "/v1/orders",
            "/v1/mandates/m-1",
            "/v1/consent-texts",
            "/v1/codes/HEAT26",
            "/v1/triggers/filter-worn",
            "/v1/products/flt-20x25",
            "/v1/prices/black-friday",
            "/v1/stock/st-12/flt-20x25",
            "/v1/webhooks/orders",
            "/v1/profiles/p8",
            "/v1/audiences/vip",
        ] {
            let told = self.house.get(path, &self.house.shop).await;
            assert_eq!(told.status, 200, "{path}: {}", told.text);
            seen.push(told.text);
        }
        seen
    }
}

#[tokio::test]
async fn a_token_of_another_tenant_gets_what_a_missing_object_gets_on_every_route() {
    let world = world().await;
    let before = world.untouched().await;
    let strangers = [("shop-b", "retailer_admin"), ("shop-b", "support"), ("brewco", "maker")];
    // Device models are every retailer's to read; the others make their own by these names last.
    let mut routes = crate::http::routes::all();
    let turn = |method: &str| ["get", "delete", "patch", "post", "put"].iter().position(|known| *known == method);
    routes.sort_by_key(|entry| turn(entry.method));
    let (mut walked, mut compared) = (0, 0);
    let secret: Vec<&str> = world
        .names
        .iter()
        .filter(|(name, ..)| ["household", "link", "offer", "order", "merge", "token"].contains(name))
        .map(|(_, real, _)| real.as_str())
        .collect();
    for entry in routes.iter().filter(|entry| !entry.open) {
        walked += 1;
        for (stranger, role) in strangers {
            // A token of its own: who tries several wrong codes is locked out for a while.
            let token = &world.house.token(stranger, role).await;
            let call = async |there: bool| {
                let path = world.path(entry.path, entry.query, there);
                let body = entry.body.map(|body| world.body(body, there));
                idle(&world.house).await;
                world.house.send(&entry.method.to_uppercase(), &path, token, &[], body).await
            };
            let (there, nowhere) = (call(true).await, call(false).await);
            let what = format!("{stranger} {role}: {} {}", entry.method, entry.path);
            assert_ne!(there.status, 429, "{what}: the test calls too often");
            for known in &secret {
                let echoed = world.path(entry.path, entry.query, true).contains(known) || entry.body.is_some();
                assert!(echoed || !there.text.contains(known), "{what} tells {known}: {}", there.text);
            }
            let is_shared = entry.path == "/v1/models/{model}" && entry.method == "get" && stranger != "brewco";
            if is_shared {
                continue;
            }
            assert_eq!(
                (there.status, there.code()),
                (nowhere.status, nowhere.code()),
                "{what}: {} / {}",
                there.text,
                nowhere.text
            );
            if there.status >= 400 {
                assert_eq!(world.without_names(&there), world.without_names(&nowhere), "{what}");
            }
            compared += 1;
        }
    }
    assert_eq!(world.untouched().await, before, "and nothing of it was changed");
    println!("{walked} routes walked, {compared} answers to strangers compared with those for what is missing");
    assert!(walked >= 80 && compared >= 3 * walked - 2, "{walked} {compared}");
}

#[tokio::test]
async fn a_maker_sees_its_device_and_nothing_of_the_people() {
    let world = world().await;
    let maker = world.house.maker.clone();
    for (path, status) in [
        ("/v1/devices/d-42", 200),
        ("/v1/devices/d-42/household", 403),
        ("/v1/devices/d-42/members", 403),
        ("/v1/profiles/p1", 403),
        ("/v1/profiles/p1/timeline", 403),
        ("/v1/profiles/p1/export", 403),
        ("/v1/profiles/p1/consents", 403),
        ("/v1/profiles/p1/consents/history", 403),
        ("/v1/profiles/p1/preferences", 403),
        ("/v1/consent-texts", 403),
        ("/v1/orders", 403),
        ("/v1/offers", 403),
    ] {
        let told = world.house.get(path, &maker).await;
        assert_eq!(told.status, status, "{path}: {}", told.text);
        assert!(!told.text.contains("p1\"") && !told.text.contains("Maison"), "{path}: {}", told.text);
    }
}
