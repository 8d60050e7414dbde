//! Every route on one page, grouped by who calls it. One entry makes both the route and its
//! line in the OpenAPI document, so that neither can be without the other.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::{
    Shared, audiences, audit, backup, broker, catalog, claims, codes, consents, context, decisions, devices, erasures,
    events, grants, import, mandates, me, members, merges, offers, orders, price_lists, profiles, quarantine, reports,
    stays, stolen, stores, system, tenants, triggers, webhooks,
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
    /// On the heap: two hundred of them in the frame of [`all`] are more than a thread's stack has room for.
    pub(super) handler: Box<MethodRouter<Arc<Shared>>>,
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
            handler: Box::new(handler),
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
fn patch<H: Handler<T, Arc<Shared>>, T: 'static>(path: &'static str, handler: H, summary: &'static str) -> Entry {
    Entry::new("patch", path, summary, routing::patch(handler))
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
        get("/v1/retailers/{retailer}", tenants::get_retailer, "A retailer, for the operator and for who runs that shop"),
        patch("/v1/retailers/{retailer}", tenants::patch_retailer, "Change of a retailer what is named; who runs the shop may")
            .body(r#"{"ranking":{"policy":["own_first","total_price","delay"],"sellers":["s-1"]}}"#),
        put("/v1/makers/{maker}", tenants::put_maker, "Make or replace a maker").body(r#"{"name":"Acme"}"#),
        post("/v1/tokens", tenants::post_token, "Make an access token, shown once; a shop makes one for its signed-in customer with `role` customer, `profile` and `expires_in` seconds")
            .body(r#"{"tenant":"shop-a","role":"retailer_admin","name":"ci"}"#)
            .answer(201, r#"{"id":"tk_…","token":"hw_…"}"#),
        delete("/v1/tokens/{token}", tenants::delete_token, "End a token at once").empty_answer(),
        get("/v1/audit", audit::list_audit, "Who changed what, newest first: the token's own tenant; the operator's sees tenants' changes that are no customer's business")
            .query(&["from", "actor", "target", "limit", "cursor"])
            .answer(200, r#"{"items":[{"n":41,"at":"2026-11-10T17:04:00Z","actor":"tk_…","role":"retailer_admin","tenant":"shop-a","action":"POST /v1/triggers/{trigger}/publish","target":"triggers/filter-worn/publish","before":"…","after":"…","hash":"…"}],"next":null}"#),
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
        delete("/v1/products/{product}", catalog::delete_product, "A product is not sold any more; live offers of it end at their accept").empty_answer(),
        put("/v1/products/{product}/sellers/{seller}/offer", stores::put_seller, "How somebody else sells a product; `stock` counts what they have")
            .body(r#"{"name":"Filtres & Cie","price":{"minor":1790,"currency":"EUR"},"delivery":{"minor":300,"currency":"EUR"},"lead_days":{"p10":2,"p50":3,"p90":6},"condition":"new","stock":40}"#),
        delete("/v1/products/{product}/sellers/{seller}/offer", stores::delete_seller, "Somebody does not sell a product any more").empty_answer(),
        get("/v1/products/{product}/quote", stores::quote, "What a device would be quoted now, with all sellers beside each other")
            .query(&["profile", "trigger", "qty", "fulfil"]),
        put("/v1/stores/{store}", stores::put_store, "Make or replace a store")
            .body(r#"{"name":"Enseigne X Lyon","opening":"Mo-Sa 9-19","region":"Europe/Paris","ready":"today","hold_hours":72}"#),
        get("/v1/stores/{store}", stores::get_store, "A store"),
        get("/v1/stores", stores::list_stores, "Stores").query(page),
        put("/v1/stock/{store}/{product}", stores::put_stock, "What was counted of a product in a store, with what is put aside; null ends the counting")
            .body(r#"{"on_hand":12}"#)
            .answer(200, r#"{"store":"st-12","product":"flt-20x25","on_hand":12,"reserved":2,"free":10}"#),
        get("/v1/stock/{store}/{product}", stores::get_stock, "How a product stands in a store"),
        post("/v1/reservations", stores::reserve, "Put goods aside for somebody who is no order; after `expires_in` seconds, a day where not said, they are free by themselves")
            .body(r#"{"store":"st-12","product":"flt-20x25","qty":1,"expires_in":7200}"#)
            .answer(201, r#"{"reservation":"rv_…","store":"st-12","product":"flt-20x25","qty":1,"expires_at":"2026-11-10T19:04:00Z"}"#),
        delete("/v1/reservations/{reservation}", stores::end_reservation, "End a reservation").empty_answer(),
        post("/v1/products:import", import::import_products, "Many products, one per line (or `text/csv`): a word on each line that is wrong, then a summary; `import` names it so that it can go on")
            .query(&["import", "from_line"])
            .body(r#"{"id":"flt-20x25","name":{"en":"Filter 20×25"},"price":{"minor":1990,"currency":"EUR"}}"#)
            .answer(200, r#"{"summary":{"lines":2,"products":2,"changed":1,"unchanged":1,"skipped":0,"faults":0,"complete":true}}"#)
            .bulk(),
        get("/v1/products:import/{import}", import::get_import, "How many lines of a named import are taken, and which of them were wrong")
            .answer(200, r#"{"import":"night-7","lines":20000,"faults":1,"wrong":[{"line":7,"error":{"code":"payload.invalid","message":"…","pointer":"/price"}}]}"#),
        get("/v1/products:export", import::export_products, "All products, one per line; `format=csv` for a table").query(&["format"]).binary(),
        put("/v1/prices/{list}", price_lists::put_price_list, "Set a price list as a whole, as JSON or as JSON Lines: all of it or nothing; what is wrong is told place by place in `problems`")
            .body(r#"{"items":[{"product":"flt-20x25","price":{"minor":1690,"currency":"EUR"},"from":"2026-11-27T00:00:00Z","until":"2026-12-01T00:00:00Z"}]}"#)
            .answer(200, r#"{"list":"black-friday","items":1,"products":1,"changed":1,"etag":"\"4mfq\""}"#),
        get("/v1/prices/{list}", price_lists::get_price_list, "A price list, a page of it, with the tag of all of it").query(page)
            .answer(200, r#"{"list":"black-friday","products":1,"etag":"\"4mfq\"","items":[{"product":"flt-20x25","price":{"minor":1690,"currency":"EUR"},"from":"2026-11-27T00:00:00Z","until":"2026-12-01T00:00:00Z"}],"next":null}"#),
        delete("/v1/prices/{list}", price_lists::delete_price_list, "A price list is no more").empty_answer(),
        get("/v1/prices", price_lists::list_price_lists, "Price lists, each with how many products it names").query(page)
            .answer(200, r#"{"items":[{"list":"black-friday","products":1}],"next":null}"#),
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
        post("/v1/triggers/{trigger}/publish", triggers::publish_trigger, "Make the draft live; a marketer who would reach many homes needs a second person, who sends `confirm`").body("{}"),
        post("/v1/triggers:publish", triggers::publish_triggers, "Make a whole set live, a trigger on each line: all or none; `others=pause` silences what the set does not have")
            .query(&["others"])
            .body(r#"{"id":"filter-worn","kind":"tip","on":{"event":"link","type":"linked"},"offer":{"actions":["decline"],"text":{"en":{"title":"Welcome","body":"Hello."}}}}"#)
            .answer(200, r#"{"published":2,"unchanged":10,"paused":0,"held":[]}"#)
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
        post("/v1/chances:learn", triggers::learn_chances, "Learn anew how likely offers are accepted, which ranking weighs margins with; `explore` tries what is not known well")
            .body(r#"{"explore":false}"#),
        get("/v1/chances", triggers::get_chances, "What was learned last"),
        get("/v1/triggers/conflicts", triggers::list_conflicts, "What looks wrong about the live triggers together"),
        post("/v1/triggers:stop", triggers::stop_triggers, "Silence all live triggers at once")
            .body("{}")
            .answer(200, r#"{"stopped":3}"#),
        post("/v1/triggers/{trigger}/try", triggers::try_trigger, "What a trigger would do in a home: the body's, or the draft; nothing is written or sent")
            .body(r#"{"household":"hh_…","input":{"slot":{"air_filter":{"used":612}}}}"#)
            .answer(200, r#"{"verdict":"held","woken":true,"first_block":"consent","steps":[{"step":"consent","verdict":"block","code":"no_consent","reason":"…","numbers":{}}],"would_send":null}"#),
        post("/v1/triggers:try", triggers::try_live, "What all live triggers would do in a home: each that the input wakes; nothing is written or sent")
            .body(r#"{"household":"hh_…","input":{"slot":{"air_filter":{"used":612}}}}"#)
            .answer(200, r#"{"device":"d-42","live":12,"woken":[{"trigger":"filter-worn","verdict":"held","woken":true,"first_block":"consent","steps":[{"step":"consent","verdict":"block","code":"no_consent","reason":"…","numbers":{}}],"would_send":null}]}"#),
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
        post("/v1/claims/preview", claims::preview, "What a claim code would link; with `profile` its wrong codes are counted as that customer's")
            .body(r#"{"code":"7K4Q-9XMP"}"#)
            .answer(200, r#"{"device":"d-42","model":"th-200","data":["temperature"],"purposes":["offers.device"]}"#),
        post("/v1/claims/confirm", claims::confirm, "Link a device to a customer; `until` says when a guest's stay ends, of a device that guests share and of no other")
            .body(r#"{"code":"7K4Q-9XMP","profile":"p1","display_name":"Maison","tz":"Europe/Paris","locale":"fr-FR","consents":[{"purpose":"offers.device","granted":true,"text_id":"t1"}]}"#)
            .answer(201, r#"{"link":"ln_…","device":"d-42","household":"hh_…","role":"owner"}"#),
        post("/v1/links:bulk", claims::bulk_links, "Link devices of a fleet that exists already, one per line; `until` as at a claim")
            .body(r#"{"device":"d-7","profile":"p7","role":"owner","tz":"Europe/Paris","locale":"fr-FR","consents":[]}"#)
            .answer(200, r#"{"link":"ln_…","device":"d-7","household":"hh_…","role":"owner"}"#)
            .bulk(),
        delete("/v1/links/{link}", claims::delete_link, "End a link; the device is given back").empty_answer(),
        post("/v1/context/{kind}", context::post_context, "What surrounds homes, such as `weather`, `tariff`, `season`: of one household, or of a region by its time zone; with `step_max` a number that lies further from the word before is not believed until another agrees")
            .body(r#"{"value":"rain","ttl_s":10800,"region":"Europe/Paris"}"#)
            .answer(200, r#"{"kind":"weather","homes":412,"doubted":0,"until":"2026-11-10T20:00:00Z"}"#),
        post("/v1/events", events::post_events, "What happened elsewhere, as CloudEvents 1.0, one or a batch: a `purchase`, or anything else that triggers on `channel` wait for; each is taken once by its `source` and `id`")
            .body(r#"[{"specversion":"1.0","id":"till-7-0042","source":"/stores/st-12","type":"purchase","time":"2026-11-10T17:04:00Z","data":{"profile":"p1","product":"flt-20x25","qty":2}}]"#)
            .answer(200, r#"{"items":[{"id":"till-7-0042","result":"taken","household":"hh_…"}]}"#),
    ];
    let persons = [
        put("/v1/profiles/{profile}", profiles::put_profile, "Make or replace a person; identities that are not named stay")
            .body(r#"{"display_name":"Maison","locale":"fr-FR","tz":"Europe/Paris","segments":["eco"],"loyalty":{"tier":"gold","points":1200},"identities":[{"type":"email","value":"anna@example.org"},{"type":"loyalty","value":"4711"}]}"#),
        patch("/v1/profiles/{profile}", profiles::patch_profile, "Change what is named of a person, and nothing else")
            .body(r#"{"loyalty":{"tier":"gold","points":1250}}"#),
        get("/v1/profiles/{profile}", profiles::get_profile, "A person: links, homes, consents, preferences, offers and orders in one read; also by a name that was merged into theirs"),
        post("/v1/profiles/lookup", profiles::look_up, "The person behind an identity: `app`, `loyalty`, `email`, `phone`, or a `device` by its name")
            .body(r#"{"type":"email","value":"anna@example.org"}"#),
        post("/v1/profiles:bulk", profiles::bulk_profiles, "Make or replace persons, one per line")
            .body(r#"{"profile":"p7","display_name":"Maison","tz":"Europe/Paris","identities":[{"type":"loyalty","value":"4712"}]}"#)
            .answer(200, r#"{"profile":"p7","households":0}"#)
            .bulk(),
        get("/v1/profiles/{profile}/timeline", profiles::get_timeline, "What happened with a person on all channels, newest first")
            .query(page)
            .answer(200, r#"{"items":[{"at":"2026-11-10T18:02:11Z","what":"offer.answered","channel":"app","detail":"accept","household":"hh_…","device":null,"offer":"of_…","order":null,"profile":"p1"}],"next":null}"#),
        get("/v1/profiles/{profile}/export", profiles::export_profile, "Everything that is known of a person, as JSON Lines; each line says its `kind`, and the last counts them")
            .answer(200, r#"{"kind":"profile","profile":"p1"}"#),
        get("/v1/profiles/{profile}/preferences", profiles::get_preferences, "What a person decides about being spoken to"),
        put("/v1/profiles/{profile}/preferences", profiles::put_preferences, "Replace a person's preferences: they are stronger than any trigger; what is not said is not limited")
            .body(r#"{"quiet":[{"from":"21:00","to":"08:00"}],"frequency":{"per_day":1,"per_week":3},"channels":["device","app"],"devices":["d-42"],"pause_until":null,"auto_order":true,"unattended_max":{"minor":2500,"currency":"EUR"}}"#),
        put("/v1/profiles/{profile}/flags/{flag}", profiles::put_flag, "Flag a person as `minor` or `vulnerable`: marketing is off wherever they are linked")
            .body(r#"{"reason":"asked by the family, ticket 812"}"#),
        delete("/v1/profiles/{profile}/flags/{flag}", profiles::delete_flag, "End a flag").empty_answer(),
        post("/v1/profiles/merge", merges::merge, "Make two profiles one")
            .body(r#"{"from":"p2","into":"p1"}"#)
            .answer(200, r#"{"merge":"mg_…","from":"p2","into":"p1","at":"2026-11-10T18:00:00Z","by":"tk_…","state":"merged","households":["hh_…"],"undone_at":null}"#),
        get("/v1/profiles/merges/{merge}", merges::get_merge, "A merge, and how far it came"),
        post("/v1/profiles/merges/{merge}/undo", merges::undo_merge, "Take a merge back: links, orders, consents and identities are whose they were")
            .body("{}"),
        get("/v1/profiles/{profile}/consents", consents::get_consents, "The latest word per purpose"),
        put("/v1/profiles/{profile}/consents", consents::put_consents, "Set consents; purposes not named stay as they are")
            .body(r#"{"consents":[{"purpose":"offers.device","granted":true,"text_id":"t1","expires_at":"2027-11-10T00:00:00Z"}],"source":"app"}"#),
        get("/v1/profiles/{profile}/consents/history", consents::get_history, "Every word on every purpose with its receipt, oldest first").query(page),
        post("/v1/consent-texts", consents::post_text, "Write the next version of a text; one that asks for something else makes earlier grants count no more")
            .body(r#"{"id":"t1","purposes":["offers.device"],"text":{"fr":"Des offres sur cet appareil ?","en":"Offers on this device?"},"ask_again":false}"#)
            .answer(201, r#"{"id":"t1","version":1,"at":"2026-11-10T18:00:00Z","purposes":["offers.device"],"text":{"en":"Offers on this device?"},"asks_since":null}"#),
        get("/v1/consent-texts", consents::list_texts, "The texts in their latest version").query(page),
        get("/v1/consent-texts/{text}/versions", consents::list_text_versions, "The versions of a text, newest first"),
    ];
    let homes = [
        get("/v1/devices/{device}/household", members::get_household, "The home of a device: its people with their roles, its devices"),
        get("/v1/devices/{device}/members", members::list_members, "Who is linked to a device"),
        post("/v1/devices/{device}/members", members::add_member, "Link one more person, or `invite` one by a code in the name of an owner")
            .body(r#"{"profile":"p2","role":"buyer","display_name":"Maison","consents":[]}"#)
            .answer(201, r#"{"link":"ln_…","device":"d-42","household":"hh_…","role":"buyer"}"#),
        post("/v1/invitations/accept", members::accept_invitation, "Take an invitation up")
            .body(r#"{"code":"7K4Q-9XMP","profile":"p2","consents":[{"purpose":"offers.device","granted":true,"text_id":"t1"}]}"#)
            .answer(201, r#"{"link":"ln_…","device":"d-42","household":"hh_…","role":"buyer"}"#),
        put("/v1/devices/{device}/members/{profile}", members::put_member, "Give a person another role in the home of a device")
            .body(r#"{"role":"viewer"}"#),
        delete("/v1/devices/{device}/members/{profile}", members::delete_member, "A person leaves a device; the last owner releases it instead").empty_answer(),
        post("/v1/devices/{device}/replace", members::replace, "This unit takes the place of `old`: links, mandates and preferences move over, counters begin anew, the old unit is blocked")
            .body(r#"{"old":"d-41"}"#),
    ];
    let own = [
        get("/v1/me", me::get_me, "Who the customer is to the shop; all of `me` is for the customer's own token"),
        get("/v1/me/devices", me::get_devices, "Their devices, with their own link to each"),
        get("/v1/me/data", me::get_data, "Everything that is known of them, as JSON Lines"),
        get("/v1/me/devices/{device}/data", grants::own_readings, "What one of their devices reported since it is theirs, as far as it is kept, newest first, as JSON Lines"),
        post("/v1/me/grants", grants::post_grant, "Let somebody read that until a date; their token is shown once and opens nothing else")
            .body(r#"{"device":"d-42","party":"Energy Advice Ltd","until":"2027-01-31T00:00:00Z"}"#)
            .answer(201, r#"{"grant":"gr_…","device":"d-42","party":"Energy Advice Ltd","since":"2026-11-10T17:04:00Z","until":"2027-01-31T00:00:00Z","token":"hw_…"}"#),
        get("/v1/me/grants", grants::list_grants, "Who may read what their devices report"),
        delete("/v1/me/grants/{grant}", grants::delete_grant, "Take it back at once").empty_answer(),
        get("/v1/granted/data", grants::granted_readings, "What a device reported, for who was given leave to read it and comes with that grant's token").open(),
        get("/v1/me/consents", me::get_consents, "What they permit"),
        put("/v1/me/consents", me::put_consents, "Give or withdraw consents; purposes not named stay as they are")
            .body(r#"{"consents":[{"purpose":"offers.device","granted":false}]}"#),
        get("/v1/me/preferences", me::get_preferences, "Their wishes"),
        put("/v1/me/preferences", me::put_preferences, "Replace their wishes, which are stronger than any trigger")
            .body(r#"{"quiet":[{"from":"21:00","to":"08:00"}],"frequency":{"per_day":1,"per_week":3},"devices":["d-42"],"pause_until":null}"#),
        get("/v1/me/offers", me::list_offers, "Offers at their devices, newest first, as far as their homes have them"),
        get("/v1/me/offers/{offer}", me::get_offer, "One of their offers"),
        post("/v1/me/offers/{offer}/answer", me::answer, "Answer one of their offers")
            .body(r#"{"rev":1,"answer":"accept"}"#)
            .answer(200, r#"{"state":"accepted","order":"or_…"}"#),
        get("/v1/me/why/{offer}", me::why, "Why they were made an offer, in their words, by `Accept-Language`")
            .answer(200, r#"{"offer":"of_…","device":"d-42","at":"2026-11-10T17:04:00Z","in_short":"Your filter has run for 612 h.","because":["The device is linked to your home since 2026-10-01 09:12 Europe/Paris."],"consents":[],"you_can":{"answer":"/v1/me/offers/of_…/answer","be_left_alone":"/v1/me/preferences","withdraw":"/v1/me/consents"}}"#),
        post("/v1/me/release/{device}", me::release, "Give a device back: its owner for all who are linked to it, anybody else for themselves")
            .body("{}")
            .answer(200, r#"{"device":"d-42","given_back":"for_all"}"#),
        put("/v1/me/devices/{device}/stolen", stolen::flag_own, "Its owner says that it was stolen: it is suspended, and nobody can claim it")
            .body("{}"),
        delete("/v1/me/devices/{device}/stolen", stolen::end_own, "It is back, or was never gone").empty_answer(),
        delete("/v1/me", me::delete_me, "Be erased: the token ends, and `report` says how far it is")
            .answer(202, r#"{"erase":"er_…","state":"running","report":"/v1/erased/shop-a/er_…"}"#),
        get("/v1/erased/{retailer}/{erase}", me::get_erased, "How far an erasure is and its report, for who was told its id").open(),
    ];
    let audiences = [
        put("/v1/audiences/{audience}", audiences::put_audience, "Make or replace an audience: a `rule` over who somebody is and what they have, or a `list`; triggers name it")
            .body(r#"{"kind":"rule","rule":"\"eco\" in profile.segments && device.kind == \"thermostat\"","about":"Saves energy"}"#)
            .answer(200, r#"{"audience":"savers","kind":"rule","rule":"\"eco\" in profile.segments && device.kind == \"thermostat\"","about":"Saves energy","version":1,"updated_at":"2026-11-10T17:04:00Z","triggers":["filter-worn"]}"#),
        get("/v1/audiences/{audience}", audiences::get_audience, "An audience, with the live triggers that name it"),
        get("/v1/audiences", audiences::list_audiences, "Audiences").query(page),
        delete("/v1/audiences/{audience}", audiences::delete_audience, "Delete an audience that no live trigger names; everybody is taken off its list").empty_answer(),
        get("/v1/audiences/{audience}/count", audiences::count_audience, "How many homes and devices are in it now, and how many people are on its list; never who. Who may not name members is told no number below `hidden_below`")
            .answer(200, r#"{"audience":"savers","version":1,"at":"2026-11-10T17:04:00Z","households":120,"devices":131,"profiles":null,"hidden_below":10}"#),
        post("/v1/audiences/{audience}/members:bulk", audiences::bulk_members, "Put people on its list, or take them off with `remove`, one per line")
            .body(r#"{"profile":"p1","remove":false}"#)
            .answer(200, r#"{"profile":"p1","member":true}"#)
            .bulk(),
    ];
    let erased = [
        delete("/v1/profiles/{profile}", erasures::delete_profile, "Erase a person: the same as `POST /v1/erase`")
            .answer(202, r#"{"erase":"er_…","state":"running"}"#),
        post("/v1/erase", erasures::post_erase, "Erase a person: their devices are given back, their keys destroyed")
            .body(r#"{"profile":"p1"}"#)
            .answer(202, r#"{"erase":"er_…","state":"running"}"#),
        get("/v1/erase/{erase}", erasures::get_erase, "How far an erasure is, and its report: what ended, what was destroyed, what is kept and until when")
            .answer(200, r#"{"erase":"er_…","state":"done","report":{"homes_emptied":1,"homes_left":0,"devices_given_back":2,"links_ended":2,"offers_withdrawn":1,"mandates_ended":0,"messages_taken_back":1,"deleted":{"offers":3,"orders":1,"profiles":1},"sealed_anew":{},"keys_destroyed":2,"kept":[{"what":"order","id":"or_…","why":"accounts: …","until":"2036-11-10T17:04:00Z"}],"kept_more":0}}"#),
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
        put("/v1/devices/{device}/stolen", stolen::flag, "Say for a customer that it was stolen: it is suspended, and nobody can claim it")
            .body("{}"),
        delete("/v1/devices/{device}/stolen", stolen::end, "It is back, or was never gone").empty_answer(),
        put("/v1/devices/{device}/mode", stays::share, "Guests share it (a rental flat, a hotel): who links it says when the stay ends; `until` for who has it now")
            .body(r#"{"mode":"shared_public","until":null}"#),
        delete("/v1/devices/{device}/mode", stays::end, "No further guests; a stay that has begun ends when it was to").empty_answer(),
        get("/v1/serials/{serial}/claimable", stolen::claimable, "Whether who holds the device with this serial number could claim it; for buyers, of any maker's device, and nothing else is told")
            .query(&["maker", "profile"])
            .answer(200, r#"{"claimable":true}"#),
    ];
    let sales = [
        get("/v1/offers", offers::list_offers, "Offers").query(&["state", "limit", "cursor"]),
        get("/v1/offers/{offer}", offers::get_offer, "An offer"),
        post("/v1/offers/{offer}/answer", offers::answer, "Answer an offer from another channel")
            .body(r#"{"rev":1,"answer":"accept","channel":"app","profile":"p1"}"#)
            .answer(200, r#"{"state":"accepted","order":"or_…"}"#),
        post("/v1/offers/{offer}/withdraw", offers::withdraw, "The shop takes an offer back on all channels; one that was accepted is told with its order")
            .body(r#"{"reason":"the supplier recalls it"}"#)
            .answer(200, r#"{"state":"withdrawn","order":null}"#),
        put("/v1/mandates/{mandate}", mandates::put_mandate, "Give or replace a customer's permission to order for a device without asking; it orders only with the consent `auto_order`")
            .body(r#"{"profile":"p1","device":"d-42","slot":"air_filter","products":["flt-20x25"],"max_price":{"minor":2500,"currency":"EUR"},"max_per_30d":1,"expires_at":"2027-06-30T00:00:00Z"}"#),
        get("/v1/mandates/{mandate}", mandates::get_mandate, "A mandate, with the orders of the last 30 days that were made under it"),
        delete("/v1/mandates/{mandate}", mandates::delete_mandate, "End a mandate at once").empty_answer(),
        get("/v1/orders", orders::list_orders, "Orders").query(&["state", "limit", "cursor"]),
        get("/v1/orders/{order}", orders::get_order, "An order"),
        post("/v1/orders/{order}/status", orders::status, "Move an order on; `rev` is the order's plus one")
            .body(r#"{"rev":2,"state":"shipped","eta":"2026-12-01"}"#),
        post("/v1/orders/{order}/refund", orders::refund, "Give money back for some of the goods").body(r#"{"lines":[{"product":"flt-20x25","qty":1}]}"#),
        post("/v1/orders/{order}/withdraw", orders::withdraw, "The customer withdraws from an order").body(r#"{"channel":"app"}"#),
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
    let listeners = [
        put("/v1/webhooks/{webhook}", webhooks::put_webhook, "Make or replace a webhook: 201 with its secret, shown once, or 200; a disabled one is told again")
            .body(r#"{"url":"https://hooks.shop.example/hearthway","types":["order.*","offer.answered"],"subject":null}"#)
            .answer(201, r#"{"webhook":"orders","url":"https://hooks.shop.example/hearthway","types":["offer.answered","order.requested"],"subject":null,"state":"active","disabled":null,"waiting":0,"dead":0,"created_at":"2026-11-10T17:04:00Z","former_secret_until":null,"secret":"whsec_…"}"#),
        get("/v1/webhooks/{webhook}", webhooks::get_webhook, "A webhook, with how many events wait for it and how many were given up"),
        get("/v1/webhooks", webhooks::list_webhooks, "Webhooks"),
        delete("/v1/webhooks/{webhook}", webhooks::delete_webhook, "Delete a webhook with all that waits for it").empty_answer(),
        post("/v1/webhooks/{webhook}/rotate", webhooks::rotate, "Give it another secret, shown once; the one before signs as well for a day")
            .body("{}")
            .answer(200, r#"{"webhook":"orders","state":"active","former_secret_until":"2026-11-11T17:04:00Z","secret":"whsec_…"}"#),
        post("/v1/webhooks/{webhook}/test", webhooks::test, "Say a `webhook.test` to its receiver at once, and how it went")
            .body("{}")
            .answer(200, r#"{"event":"ev_…","delivered":true,"at":"2026-11-10T17:04:00Z","status":204,"error":null,"took_ms":41}"#),
        get("/v1/webhooks/{webhook}/deliveries", webhooks::deliveries, "What became of its events, newest first")
            .query(&["state", "limit", "cursor"])
            .answer(200, r#"{"items":[{"event":"ev_…","type":"order.requested","subject":"hh_…","time":"2026-11-10T17:04:00Z","state":"delivered","attempts":2,"next_at":null,"last":{"at":"2026-11-10T17:04:07Z","status":204,"error":null,"took_ms":41}}],"next":null}"#),
        post("/v1/webhooks/{webhook}/replay", webhooks::replay, "Tell again what was given up since an instant; with `delivered` also what was told")
            .body(r#"{"from":"2026-11-10T00:00:00Z","delivered":false}"#)
            .answer(202, r#"{"replayed":12}"#),
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
        .chain(group("Customers", persons))
        .chain(group("Households", homes))
        .chain(group("Audiences", audiences))
        .chain(group("Customer self-service", own))
        .chain(group("Customers", erased))
        .chain(group("Devices", fleet))
        .chain(group("Offers, orders, decisions", sales))
        .chain(group("Reports", told))
        .chain(group("Webhooks", listeners))
        .chain(group("Brokers", brokers))
        .chain(group("System", house))
        .collect()
}

/// Methods and paths of all routes.
#[cfg(test)]
pub(super) fn paths() -> Vec<(&'static str, &'static str)> {
    all().into_iter().map(|entry| (entry.method, entry.path)).collect()
}
