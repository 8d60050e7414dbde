//! Every route on one page, grouped by who calls it. One entry makes both the route and its
//! line in the OpenAPI document, so that neither can be without the other.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::{
    Shared, backup, broker, catalog, claims, codes, context, decisions, devices, erasures, events, mandates, offers,
    orders, profiles, quarantine, reports, system, tenants, triggers,
};

/// One route with what the document says of it.
pub(super) struct Entry {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// The area of the call; set by [`group`].
    pub(super) group: &'static str,
    /// Query parameters.
    pub(super) query: &'static [&'static str],
    /// An example of the body, as JSON.
    pub(super) body: Option<&'static str>,
    /// The status of success.
    pub(super) status: u16,
    /// An example of the answer, as JSON.
    pub(super) answer: Option<&'static str>,
    /// JSON Lines both ways, without a time limit.
    pub(super) bulk: bool,
    /// JSON Lines in, one answer, without a time limit.
    pub(super) lines: bool,
    /// Bytes in the answer, without a time limit.
    pub(super) binary: bool,
    /// Open to everybody.
    pub(super) open: bool,
    pub(super) handler: MethodRouter<Arc<Shared>>,
}

impl Entry {
    fn new(
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        handler: MethodRouter<Arc<Shared>>,
    ) -> Entry {
        Entry {
            method,
            path,
            summary,
            handler,
            group: "",
            query: &[],
            body: None,
            status: 200,
            answer: None,
            bulk: false,
            lines: false,
            binary: false,
            open: false,
        }
    }
    fn query(self, query: &'static [&'static str]) -> Entry {
        Entry { query, ..self }
    }
    fn body(self, body: &'static str) -> Entry {
        Entry { body: Some(body), ..self }
    }
    fn answer(self, status: u16, answer: &'static str) -> Entry {
        Entry { status, answer: Some(answer), ..self }
    }
    fn empty_answer(self) -> Entry {
        Entry { status: 204, ..self }
    }
    fn bulk(self) -> Entry {
        Entry { bulk: true, ..self }
    }
    fn lines(self) -> Entry {
        Entry { lines: true, ..self }
    }
    fn binary(self) -> Entry {
        Entry { binary: true, ..self }
    }
    fn open(self) -> Entry {
        Entry { open: true, ..self }
    }
}

fn get<H: Handler<T, Arc<Shared>>, T: 'static>(path: &'static str, handler: H, summary: &'static str) -> Entry {
    Entry::new("get", path, summary, routing::get(handler))
}
fn put<H: Handler<T, Arc<Shared>>, T: 'static>(path: &'static str, handler: H, summary: &'static str) -> Entry {
    Entry::new("put", path, summary, routing::put(handler))
}
fn post<H: Handler<T, Arc<Shared>>, T: 'static>(path: &'static str, handler: H, summary: &'static str) -> Entry {
    Entry::new("post", path, summary, routing::post(handler))
}
fn delete<H: Handler<T, Arc<Shared>>, T: 'static>(path: &'static str, handler: H, summary: &'static str) -> Entry {
    Entry::new("delete", path, summary, routing::delete(handler))
}

fn group(group: &'static str, entries: impl IntoIterator<Item = Entry>) -> impl Iterator<Item = Entry> {
    entries.into_iter().map(move |entry| Entry { group, ..entry })
}

/// All routes.
pub(super) fn all() -> Vec<Entry> {
    let page: &[&str] = &["limit", "cursor"];
    let operator = [
        put("/v1/retailers/{retailer}", tenants::put_retailer, "Make or replace a retailer")
            .body(r#"{"name":"Enseigne X","default_locale":"fr-FR","zone":"Europe/Paris"}"#),
        put("/v1/makers/{maker}", tenants::put_maker, "Make or replace a maker").body(r#"{"name":"Acme"}"#),
        post("/v1/tokens", tenants::post_token, "Make an access token, shown once")
            .body(r#"{"tenant":"shop-a","role":"retailer_admin","name":"ci"}"#)
            .answer(201, r#"{"id":"tk_…","token":"hw_…"}"#),
        delete("/v1/tokens/{token}", tenants::delete_token, "End a token at once").empty_answer(),
        get("/v1/backup", backup::take, "A backup of everything, as `hearthway backup --from` takes it").binary(),
    ];
    let maker = [
        post("/v1/bootstrap-keys", tenants::post_bootstrap_key, "Make a maker's bootstrap secret, shown once")
            .body(r#"{"maker":"acme"}"#)
            .answer(201, r#"{"username":"acme/_bootstrap","secret":"…"}"#),
        post("/v1/bridge-keys", tenants::post_bridge_key, "Make a maker's bridge secret, shown once")
            .body(r#"{"maker":"acme"}"#)
            .answer(201, r#"{"username":"acme/_bridge","secret":"…"}"#),
        put("/v1/models/{model}", catalog::put_model, "Make or replace a device model; unknown fields are accepted").body(
            r#"{"maker":"acme","kind":"thermostat","telemetry":{"temperature":{"type":"number","unit":"°C","min":-40,"max":80}},"slots":[{"slot":"air_filter","kind":"usage","unit":"h","capacity":720}],"placements":[{"id":"home.card","title_max":40,"body_max":160}]}"#,
        ),
        get("/v1/models/{model}", catalog::get_model, "A device model"),
        post("/v1/devices:bulk", devices::bulk_devices, "Register devices, one per line")
            .body(r#"{"maker":"acme","device":"d-7","model":"th-200","serial":null}"#)
            .answer(200, r#"{"device":"d-7","username":"acme/d-7","secret":"…"}"#)
            .bulk(),
        get("/v1/makers/{maker}/quarantine", quarantine::list_quarantine, "What its devices sent and nobody understood, redacted, newest first")
            .query(page)
            .answer(200, r#"{"items":[{"t":"2026-03-20T09:46:40Z","device":"d-42","topic":"up/slot","code":"payload.invalid","pointer":"/body/slot","bytes":214,"sha256":"…","excerpt":"{…}","is_fault_of_gateway":false}],"next":null}"#),
        get("/v1/provisioning/attempts", devices::list_attempts, "The last provisioning attempts, newest first")
            .query(&["limit"]),
    ];
    let shop = [
        put("/v1/products/{product}", catalog::put_product, "Make or replace a product").body(
            r#"{"name":{"fr":"Filtre 20×25","en":"Filter 20×25"},"gtin":null,"price":{"minor":1990,"currency":"EUR"},"delivery":{"minor":0,"currency":"EUR"},"tax_incl":true,"seller":"shop-a","withdraw_days":14,"fits":[{"model":"th-200","slot":"air_filter"}]}"#,
        ),
        put("/v1/priors/{product}", catalog::put_prior, "What the fleet tells of the use of a product, or of `_any`, as `hearthway forecast refit` writes it; with `region` of the homes of one time zone").query(&["region"]),
        get("/v1/priors/{product}", catalog::get_prior, "A published prior").query(&["region"]),
        get("/v1/products/{product}", catalog::get_product, "A product"),
        get("/v1/products", catalog::list_products, "Products, all or those that fit `model:slot`")
            .query(&["fits", "limit", "cursor"]),
        put("/v1/triggers/{trigger}", triggers::put_trigger, "Write the draft of a trigger"),
        get("/v1/triggers/{trigger}", triggers::get_trigger, "A trigger: its state and its draft"),
        get("/v1/triggers", triggers::list_triggers, "Triggers").query(page),
        post("/v1/triggers/{trigger}/check", triggers::check_trigger, "All that is wrong with a trigger: the body, or the draft")
            .answer(200, r#"{"ok":true,"problems":[]}"#),
        post("/v1/triggers/{trigger}/publish", triggers::publish_trigger, "Make the draft live").body("{}"),
        post("/v1/triggers:publish", triggers::publish_triggers, "Make a whole set live, a trigger on each line: all or none; `others=pause` silences what the set does not have")
            .query(&["others"])
            .body(r#"{"id":"filter-worn","kind":"tip","on":{"event":"link","type":"linked"},"offer":{"actions":["decline"],"text":{"en":{"title":"Welcome","body":"Hello."}}}}"#)
            .answer(200, r#"{"published":2,"unchanged":10,"paused":0}"#)
            .lines(),
        post("/v1/triggers/{trigger}/pause", triggers::pause_trigger, "Silence a live trigger").body("{}"),
        post("/v1/triggers/{trigger}/rollback", triggers::roll_back_trigger, "Make an earlier version live again: the one before, or the one named")
            .body(r#"{"version":1}"#),
        get("/v1/triggers/{trigger}/versions", triggers::list_versions, "What was published, newest first"),
        get("/v1/triggers/{trigger}/budget", triggers::get_budget, "What is drawn from a trigger's budget, and what is left")
            .answer(200, r#"{"trigger":"filter-worn","budget":{"count":2000,"amount":null,"pace":"even_by_day","honour_shown":false},"spent":{"count":31,"amount":null},"left":{"count":1969,"amount":null},"until_today":{"count":66,"amount":null}}"#),
        post("/v1/codes:import", codes::import_codes, "Add unique codes to a pool; those that it has stay as they are")
            .body(r#"{"pool":"HEAT26","codes":["HEAT-7K4Q","HEAT-9XMP"]}"#)
            .answer(200, r#"{"pool":"HEAT26","added":2,"known":0}"#),
        get("/v1/codes/{pool}", codes::get_pool, "How many codes of a pool are left, on offers, seen and used")
            .answer(200, r#"{"pool":"HEAT26","total":2,"left":1,"reserved":1,"shown":0,"used":0}"#),
        get("/v1/triggers/conflicts", triggers::list_conflicts, "What looks wrong about the live triggers together"),
        post("/v1/triggers:stop", triggers::stop_triggers, "Silence all live triggers at once")
            .body("{}")
            .answer(200, r#"{"stopped":3}"#),
        post("/v1/triggers/{trigger}/try", triggers::try_trigger, "What a trigger would do in a home: the body's, or the draft; nothing is written or sent")
            .body(r#"{"household":"hh_…","input":{"slot":{"air_filter":{"used":612}}}}"#)
            .answer(200, r#"{"verdict":"held","woken":true,"first_block":"consent","steps":[{"step":"consent","verdict":"block","code":"no_consent","reason":"…","numbers":{}}],"would_send":null}"#),
        post("/v1/triggers/{trigger}/backtest", triggers::backtest_draft, "What would have happened with this draft among the live triggers")
            .body(r#"{"from":"2026-11-01T00:00:00Z","to":null}"#)
            .answer(202, r#"{"backtest":"bt_…","state":"running"}"#),
        post("/v1/backtests", triggers::begin_backtest, "What would have happened with these triggers in place of all; `live` adds those that are live")
            .body(r#"{"triggers":[],"live":true,"from":"2026-11-01T00:00:00Z","to":null}"#)
            .answer(202, r#"{"backtest":"bt_…","state":"running"}"#),
        get("/v1/backtests/{backtest}", triggers::get_backtest, "How far a backtest is, and its report")
            .answer(200, r#"{"backtest":"bt_…","state":"done","report":{"sent":31}}"#),
    ];
    let forecasts = [
        post("/v1/triggers:reach", triggers::begin_reach, "Whom this trigger would reach of the shop's homes, and what it would have sent in the last days")
            .body(r#"{"trigger":{"id":"filter-worn","kind":"offer"},"days":14}"#)
            .answer(202, r#"{"reach":"re_…","state":"running"}"#),
        get("/v1/triggers:reach/{reach}", triggers::get_reach, "How far a forecast of reach is, and its report")
            .answer(200, r#"{"reach":"re_…","state":"done","report":{"trigger":"filter-worn","stages":[{"stage":"homes","households":120},{"stage":"device","households":96},{"stage":"consent","households":61}],"blocked_by":[{"reason":"consent:no_consent","households":35}],"conditions_hold":61,"held_out":6,"history":{"days":14.0,"sent":43,"households":41,"sent_per_day":3.07}}}"#),
    ];
    let customers = [
        post("/v1/claims/preview", claims::preview, "What a claim code would link")
            .body(r#"{"code":"7K4Q-9XMP"}"#)
            .answer(200, r#"{"device":"d-42","model":"th-200","data":["temperature"],"purposes":["offers.device"]}"#),
        post("/v1/claims/confirm", claims::confirm, "Link a device to a customer")
            .body(r#"{"code":"7K4Q-9XMP","profile":"p1","display_name":"Maison","tz":"Europe/Paris","locale":"fr-FR","consents":[{"purpose":"offers.device","granted":true,"text_id":"t1"}]}"#)
            .answer(201, r#"{"link":"ln_…","device":"d-42","household":"hh_…","role":"owner"}"#),
        post("/v1/links:bulk", claims::bulk_links, "Link devices of a fleet that exists already, one per line")
            .body(r#"{"device":"d-7","profile":"p7","role":"owner","tz":"Europe/Paris","locale":"fr-FR","consents":[]}"#)
            .answer(200, r#"{"link":"ln_…","device":"d-7","household":"hh_…","role":"owner"}"#)
            .bulk(),
        delete("/v1/links/{link}", claims::delete_link, "End a link; the device is given back").empty_answer(),
        put("/v1/profiles/{profile}", profiles::put_profile, "Make or replace a person")
            .body(r#"{"display_name":"Maison","locale":"fr-FR","tz":"Europe/Paris"}"#),
        get("/v1/profiles/{profile}", profiles::get_profile, "A person: links, homes, consents, offers and orders in one read"),
        get("/v1/profiles/{profile}/consents", profiles::get_consents, "The latest word per purpose"),
        put("/v1/profiles/{profile}/consents", profiles::put_consents, "Set consents; purposes not named stay as they are")
            .body(r#"{"consents":[{"purpose":"offers.device","granted":true,"text_id":"t1"}]}"#),
        post("/v1/context/{kind}", context::post_context, "What surrounds homes, such as `weather`, `tariff`, `season`: of one household, or of a region by its time zone")
            .body(r#"{"value":"rain","ttl_s":10800,"region":"Europe/Paris"}"#)
            .answer(200, r#"{"kind":"weather","homes":412,"until":"2026-11-10T20:00:00Z"}"#),
        post("/v1/events", events::post_events, "What happened elsewhere, as CloudEvents 1.0, one or a batch: a `purchase`; each is taken once by its `source` and `id`")
            .body(r#"[{"specversion":"1.0","id":"till-7-0042","source":"/stores/st-12","type":"purchase","time":"2026-11-10T17:04:00Z","data":{"profile":"p1","product":"flt-20x25","qty":2}}]"#)
            .answer(200, r#"{"items":[{"id":"till-7-0042","result":"taken","household":"hh_…"}]}"#),
    ];
    let erased = [
        delete("/v1/profiles/{profile}", erasures::delete_profile, "Erase a person: the same as `POST /v1/erase`")
            .answer(202, r#"{"erase":"er_…","state":"running"}"#),
        post("/v1/erase", erasures::post_erase, "Erase a person: their devices are given back, their keys destroyed")
            .body(r#"{"profile":"p1"}"#)
            .answer(202, r#"{"erase":"er_…","state":"running"}"#),
        get("/v1/erase/{erase}", erasures::get_erase, "How far an erasure is, and its report: what ended, what was destroyed, what is kept and until when")
            .answer(200, r#"{"erase":"er_…","state":"done","report":{"homes_emptied":1,"homes_left":0,"devices_given_back":2,"links_ended":2,"offers_withdrawn":1,"mandates_ended":0,"messages_taken_back":1,"deleted":{"offers":3,"orders":1,"profiles":1},"sealed_anew":{},"keys_destroyed":2,"kept":[{"what":"order","id":"or_…","why":"accounts: …","until":"2036-11-10T17:04:00Z"}]}}"#),
    ];
    let fleet = [
        get("/v1/devices", devices::list_devices, "Devices, by maker and name")
            .query(&["health", "model", "q", "limit", "cursor"]),
        get("/v1/devices/{device}", devices::get_device, "A device, by its name or as `maker%2Fdevice`"),
        get("/v1/devices/{device}/state", devices::get_state, "What it reported"),
        get(
            "/v1/devices/{device}/slots",
            devices::get_slots,
            "Its consumables, with what is foreseen of each and what that rests on",
        ),
        get(
            "/v1/devices/{device}/slots/{slot}/history",
            devices::get_slot_history,
            "A slot's readings as the forecast took them, what was decided about it, and the fan of what is foreseen",
        ),
        get("/v1/devices/{device}/messages", devices::get_messages, "Its last messages, newest first").query(&["last"]),
        post("/v1/devices/{device}/suspend", devices::suspend, "Silence it and end its connections")
            .body(r#"{"reason":"…"}"#),
        post("/v1/devices/{device}/resume", devices::resume, "End a suspension").body("{}"),
        post("/v1/devices/{device}/release", devices::release, "Give it back: links end, and it owes a wipe")
            .body("{}"),
    ];
    let sales = [
        get("/v1/offers", offers::list_offers, "Offers").query(&["state", "limit", "cursor"]),
        get("/v1/offers/{offer}", offers::get_offer, "An offer"),
        post("/v1/offers/{offer}/answer", offers::answer, "Answer an offer from another channel")
            .body(r#"{"rev":1,"answer":"accept","channel":"app","profile":"p1"}"#)
            .answer(200, r#"{"state":"accepted","order":"or_…"}"#),
        put("/v1/mandates/{mandate}", mandates::put_mandate, "Give or replace a customer's permission to order for a device without asking; it orders only with the consent `auto_order`")
            .body(r#"{"profile":"p1","device":"d-42","slot":"air_filter","products":["flt-20x25"],"max_price":{"minor":2500,"currency":"EUR"},"max_per_30d":1,"expires_at":"2027-06-30T00:00:00Z"}"#),
        get("/v1/mandates/{mandate}", mandates::get_mandate, "A mandate, with the orders of the last 30 days that were made under it"),
        delete("/v1/mandates/{mandate}", mandates::delete_mandate, "End a mandate at once").empty_answer(),
        get("/v1/orders", orders::list_orders, "Orders").query(&["state", "limit", "cursor"]),
        get("/v1/orders/{order}", orders::get_order, "An order"),
        post("/v1/orders/{order}/status", orders::status, "Move an order on; `rev` is the order's plus one")
            .body(r#"{"rev":2,"state":"shipped","eta":"2026-12-01"}"#),
        post("/v1/orders/{order}/cancel", orders::cancel, "Cancel an order").body(r#"{"channel":"app"}"#),
        get("/v1/explain", decisions::explain, "Why a trigger sent or stayed silent").query(&[
            "household",
            "trigger",
            "at",
        ]),
        get("/v1/decisions", decisions::list_decisions, "Stored decisions of a home, newest first").query(&[
            "household",
            "trigger",
            "limit",
        ]),
    ];
    let days: &[&str] = &["from", "until", "trigger", "format"];
    let window: &[&str] = &["from", "until", "trigger", "window", "format"];
    let told = [
        get("/v1/reports/funnel", reports::funnel, "From woken triggers to orders, by trigger and day, and what stood in the way; `format=csv` for a table")
            .query(days)
            .answer(200, r#"{"report":"funnel","retailer":"shop-a","zone":"Europe/Paris","from":"2026-11-01","until":null,"households":120,"uncounted":0,"triggers":[{"trigger":"filter-worn","stages":[{"stage":"matched","decisions":340,"households":96},{"stage":"sent","decisions":41,"households":38}],"blocked_by":[{"reason":"consent:no_consent","decisions":12,"households":9}],"days":[{"day":"2026-11-10","stages":[{"stage":"sent","decisions":3,"households":3}]}]}]}"#),
        get("/v1/reports/uplift", reports::uplift, "What triggers sell beside the homes that they hold out, with its 95 % interval")
            .query(window)
            .answer(200, r#"{"report":"uplift","retailer":"shop-a","zone":"Europe/Paris","from":null,"until":null,"households":2000,"uncounted":0,"window_s":1209600,"method":"Newcombe 1998, method 10 (hybrid score), 95 %","triggers":[{"trigger":"filter-worn","treated":{"households":1810,"ordered":272,"rate":0.1503,"still_open":0},"held_out":{"households":190,"ordered":19,"rate":0.1,"still_open":0},"uplift":{"difference":0.0503,"low":-0.0024,"high":0.0887},"changed_side":0}]}"#),
        get("/v1/reports/opt-outs", reports::opt_outs, "Homes that withdrew soon after an offer, beside those that were held out")
            .query(window)
            .answer(200, r#"{"report":"opt-outs","retailer":"shop-a","zone":"Europe/Paris","from":null,"until":null,"households":2000,"uncounted":0,"within_s":604800,"triggers":[{"trigger":"filter-worn","spoken_to":{"households":1810,"opted_out":31,"rate":0.0171,"consent_withdrawn":20,"paused":8,"released":4},"held_out":{"households":190,"opted_out":2,"rate":0.0105,"consent_withdrawn":2,"paused":0,"released":0},"more":{"difference":0.0066,"low":-0.0212,"high":0.0171},"drives_opt_outs":false,"ordered":250}]}"#),
        get("/v1/reports/blocked-reasons", reports::blocked_reasons, "What stopped triggers, by step and reason")
            .query(days)
            .answer(200, r#"{"report":"blocked-reasons","retailer":"shop-a","zone":"Europe/Paris","from":null,"until":null,"households":120,"uncounted":0,"triggers":[{"trigger":"filter-worn","matched":{"decisions":340,"households":96},"blocked":{"decisions":299,"households":90},"blocked_by":[{"reason":"consent:no_consent","decisions":12,"households":9}]}]}"#),
        get("/v1/reports/channel", reports::channel, "What was said and answered, by kind and model of device and hour of day")
            .query(days)
            .answer(200, r#"{"report":"channel","retailer":"shop-a","zone":"Europe/Paris","from":null,"until":null,"households":120,"uncounted":0,"rows":[{"kind":"thermostat","model":"th-200","hour":18,"sent":12,"shown":11,"answered":7,"accepted":4}]}"#),
        get("/v1/reports/forecast-error", reports::forecast_error, "What was foreseen beside what came, by product: error, coverage, stock-outs, days too early")
            .query(&["from", "until", "format"])
            .answer(200, r#"{"report":"forecast-error","retailer":"shop-a","zone":"Europe/Paris","from":null,"until":null,"households":120,"uncounted":0,"products":[{"product":"flt-20x25","cycles":88,"mean_error_days":3.1,"bias_days":-0.4,"coverage_80":0.79,"earlier_than_p10":9,"later_than_p90":9,"stock_outs":1,"days_without":2.0,"refilled_early":80,"days_early":4.2}]}"#),
    ];
    let brokers = [
        post(
            "/broker/auth",
            broker::auth,
            "A broker asks whether a client is who it says; always 200, `allow` or `deny`",
        )
        .body(r#"{"username":"acme/d-42","password":"…","clientid":"d-42"}"#)
        .answer(200, r#"{"result":"allow","is_superuser":false}"#)
        .open(),
        post(
            "/broker/acl",
            broker::acl,
            "A broker asks whether a client may use a topic; always 200, `allow` or `deny`",
        )
        .body(
            r#"{"username":"acme/d-42","clientid":"d-42","action":"publish","topic":"chan/v1/acme/d-42/up/telemetry"}"#,
        )
        .answer(200, r#"{"result":"allow","is_superuser":false}"#)
        .open(),
    ];
    let house = [
        get("/health/live", system::live, "The process runs").open(),
        get("/health/ready", system::ready, "The gateway takes work; else 503 with the reasons").open(),
        get("/metrics", system::metrics, "Metrics in the Prometheus text format").open(),
        get("/openapi.json", system::openapi, "This document").open(),
    ];
    group("Operator", operator)
        .chain(group("Makers", maker))
        .chain(group("Catalogue and triggers", shop))
        .chain(group("Catalogue and triggers", forecasts))
        .chain(group("Customers", customers))
        .chain(group("Customers", erased))
        .chain(group("Devices", fleet))
        .chain(group("Offers, orders, decisions", sales))
        .chain(group("Reports", told))
        .chain(group("Brokers", brokers))
        .chain(group("System", house))
        .collect()
}

/// Methods and paths of all routes.
#[cfg(test)]
pub(super) fn paths() -> Vec<(&'static str, &'static str)> {
    all().into_iter().map(|entry| (entry.method, entry.path)).collect()
}
