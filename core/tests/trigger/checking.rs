//! The check: every error of every file, where it stands, and how to mend it.

use hearthway_core::time::Span;
use hearthway_core::trigger::{
    Crossing, Problem, Severity, Source, SourceFile, TriggerDefinition, check, check_json, compile_json,
    compile_published,
};
use miette::Diagnostic;
use serde_json::json;

use crate::world::{retailer, rules, world};

fn problems(text: &str) -> Vec<Problem> {
    let rules = rules();
    check(&[SourceFile { name: "t.toml".into(), text: text.into() }], &world(&rules)).problems
}

/// A sound trigger, with lines added to its parts.
fn with(on: &str, rest: &str) -> String {
    format!(
        "[[trigger]]\nid = \"t\"\nkind = \"offer\"\n[trigger.on]\ndevice = {{ kind = \"thermostat\" }}\n{on}\n\
         [trigger.offer]\nproduct = \"flt-20x25\"\n[trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n{rest}\n"
    )
}
const WARM: &str = "event = \"telemetry\"\nfield = \"temperature\"\nrises_above = \"25 °C\"";

const TEN_MISTAKES: &str = r#"[[trigger]]
id       = "ten mistakes"
kind     = "ofer"
priority = 200

[trigger.on]
event       = "telemetry"
device      = { kind = "thermostat" }
field       = "temperature"
falls_below = "17 h"
rearm       = "warm"

[trigger.when]
all = '''
local.hour >= 17
  && telemetry.mode == "heet"
'''

[trigger.offer]
product = "flt-20x52"
expirse = "48h"
price_lock = "a day"

[trigger.offer.text.fr]
title = "{{ product.nam }}"
body  = "{{ price.total }"
"#;

#[test]
fn a_file_with_ten_mistakes_tells_all_ten_with_line_and_column() {
    let found: Vec<_> = problems(TEN_MISTAKES).into_iter().map(|p| (p.line, p.column, p.code)).collect();
    assert_eq!(
        found,
        [
            (2, 12, "trigger.value"),
            (3, 12, "trigger.value"),
            (4, 12, "trigger.value"),
            (10, 15, "trigger.unit"),
            (11, 15, "trigger.value"),
            (16, 24, "condition.value"),
            (20, 11, "trigger.unknown_product"),
            (21, 1, "trigger.unknown_key"),
            (22, 14, "trigger.value"),
            (25, 9, "trigger.text"),
            (26, 9, "trigger.text"),
        ]
    );
}

#[test]
fn a_problem_says_how_to_mend_it() {
    let problems = problems(TEN_MISTAKES);
    let of = |line: usize| problems.iter().find(|p| p.line == line).unwrap().to_string();
    assert_eq!(of(3), "t.toml:3:12: error[trigger.value]: `ofer` is not known here (did you mean `offer`?)");
    assert_eq!(of(10), "t.toml:10:15: error[trigger.unit]: the unit here is °C, not h (write the amount in °C)");
    assert_eq!(
        of(20),
        "t.toml:20:11: error[trigger.unknown_product]: there is no product `flt-20x52` (did you mean `flt-20x25`?)"
    );
    assert_eq!(
        of(21),
        "t.toml:21:1: error[trigger.unknown_key]: there is no key `expirse` here (did you mean `expires`?)"
    );
    assert_eq!(
        of(25),
        "t.toml:25:9: error[trigger.text]: there is no variable `product.nam` here (did you mean `product.name`?)"
    );
}

#[test]
fn a_report_has_code_caret_and_help() {
    let problem = &problems(TEN_MISTAKES)[5];
    let report = problem.report(TEN_MISTAKES);
    assert_eq!(report.code().unwrap().to_string(), "condition.value");
    assert_eq!(report.help().unwrap().to_string(), "did you mean \"heat\"?");
    let label = report.labels().unwrap().next().unwrap();
    assert_eq!(&TEN_MISTAKES[label.offset()..label.offset() + label.len()], "\"heet\"");
}

#[test]
fn errors_of_all_files_come_in_one_pass_and_sound_triggers_with_them() {
    let rules = rules();
    let sound = with(WARM, "");
    let files =
        [("a.toml", TEN_MISTAKES), ("b.toml", sound.as_str()), ("c.toml", "[[triger]]\n"), ("d.toml", sound.as_str())]
            .map(|(name, text)| SourceFile { name: name.into(), text: text.into() });
    let checked = check(&files, &world(&rules));
    assert_eq!(checked.triggers.len(), 1);
    assert_eq!(checked.definitions[0].0.as_str(), "t");
    let others: Vec<String> = checked.problems.iter().filter(|p| p.file != "a.toml").map(ToString::to_string).collect();
    assert_eq!(
        others,
        [
            "c.toml:1:3: error[trigger.unknown_key]: there is no key `triger` here (did you mean `trigger`?)",
            "d.toml:2:6: error[trigger.duplicate_id]: there is a trigger `t` already, in b.toml \
             (ids are unique within a retailer)",
        ]
    );
}

#[test]
fn a_syntax_error_has_its_place_and_does_not_hide_the_rest() {
    let text = with(&format!("{WARM}\nrearm = = 3"), "say = \"{{ nobody }}\"");
    let found: Vec<_> = problems(&text).into_iter().map(|p| (p.line, p.code)).collect();
    assert!(found.contains(&(9, "toml.syntax")), "{found:?}");
    assert!(found.contains(&(15, "trigger.text")), "{found:?}");
}

#[test]
fn each_mistake_is_told_at_its_key() {
    for (on, rest, code, line) in [
        ("event = \"telemetry\"\nfield = \"temprature\"\nfalls_below = 1", "", "trigger.unknown_field", 7),
        ("event = \"telemetry\"\nfield = \"temperature\"", "", "trigger.crossing", 4),
        ("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 1\nrises_above = 2", "", "trigger.crossing", 4),
        ("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = -41", "", "trigger.value", 8),
        ("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nrearm = 16", "", "trigger.value", 9),
        ("event = \"telemetry\"\nfield = \"temperature\"\nfalls_below = 17\nrearm = 81", "", "trigger.value", 9),
        ("event = \"telemetry\"\nfield = \"temperature\"\nrises_above = 17\nrearm = -41", "", "trigger.value", 9),
        ("event = \"telemetry\"\nfield = \"mode\"\nfalls_below = 17", "", "trigger.type", 8),
        ("event = \"telemetry\"\nfield = \"mode\"\nbecomes = \"of\"", "", "trigger.value", 8),
        ("event = \"telemetry\"\nfield = \"mode\"\nbecomes = true", "", "trigger.type", 8),
        ("event = \"telemetry\"\nfield = \"mode\"\nbecomes = \"off\"\nrearm = 1", "", "trigger.no_effect", 9),
        ("event = \"telemetry\"\nfalls_below = 1", "", "trigger.missing_key", 4),
        ("event = \"slot\"\nslot = \"air_filtre\"\nfield = \"used\"\nrises_above = 1", "", "trigger.unknown_slot", 7),
        (
            "event = \"slot\"\nslot = \"air_filter\"\nfield = \"flag\"\nbecomes = \"low\"",
            "",
            "trigger.unknown_field",
            8,
        ),
        ("event = \"slot\"\nslot = \"air_filter\"\nfield = \"uesd\"\nrises_above = 1", "", "trigger.unknown_field", 8),
        ("event = \"event\"", "", "trigger.missing_key", 4),
        ("event = \"event\"\ntype = \"x\"\nfalls_below = 1", "", "trigger.no_effect", 8),
        (WARM, "[trigger.audience]\nconsent = [\"profiling.usage\"]", "trigger.consent", 15),
        (WARM, "[trigger.audience]\nconsent = [\"offer.device\"]", "trigger.value", 15),
        (WARM, "[trigger.channel]\norder = [\"divice:x\", \"device:home.card\"]", "trigger.value", 15),
        (WARM, "[trigger.audience]\nroles = [\"child\"]", "trigger.value", 15),
        (WARM, "[trigger.channel]\norder = [\"device:home.crad\"]", "trigger.unknown_placement", 15),
        (WARM, "[trigger.limits]\ncaps = [{ max = 1 }]", "trigger.cap", 15),
        (WARM, "[trigger.limits]\ncaps = [{ max = 1, within = \"7d\", each = \"day\" }]", "trigger.cap", 15),
        (WARM, "[trigger.limits]\nquiet = { from = \"21:00\", to = \"21:00\" }", "trigger.value", 15),
        (WARM, "[trigger.limits]\nquiet = { from = \"21:00\" }", "trigger.missing_key", 15),
        (WARM, "[trigger.valid]\nfrom = 2026-05-01\nuntil = 2026-04-30", "trigger.value", 16),
        (WARM, "why = \"{{ slot.used }}\"", "trigger.text", 14),
        (WARM, "why = \"{{ product.name | shout }}\"", "trigger.text", 14),
        (WARM, "say = \"{% for i in [1,2,3] %}{{ product.name }}\"", "trigger.text", 14),
    ] {
        let text = with(on, rest);
        let found: Vec<_> = problems(&text).into_iter().map(|p| (p.line, p.code)).collect();
        assert_eq!(found, [(line, code)], "{text}\n{:#?}", problems(&text));
    }
}

#[test]
fn what_is_not_served_yet_is_refused_and_never_silently_ignored() {
    for (on, rest) in [
        ("", "[trigger.channel]\norder = [\"device:home.card\", \"webhook:app_push\"]"),
        ("", "[trigger.channel]\nfallback = { if_not = \"shown\", after = \"24h\" }"),
        ("", "[trigger.rollout]\nramp = [1, 10, 100]"),
        ("", "[trigger.rollout]\nguard = { opt_out_rate = 0.01 }"),
    ] {
        let text = with(&format!("{WARM}\n{on}"), rest);
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
        assert!(problems[0].is_not_served_yet() && problems[0].is_error(), "{problems:#?}");
    }
}

#[test]
fn what_wakes_on_a_refill_or_on_another_channel_is_told_when_it_cannot_work() {
    for (on, code) in [
        ("event = \"channel\"", "trigger.missing_key"),
        ("event = \"channel\"\ntype = \"a visit\"", "trigger.value"),
        ("event = \"channel\"\ntype = \"store.visit\"\ncount = 2", "trigger.no_effect"),
        ("event = \"refill\"", "trigger.missing_key"),
        ("event = \"refill\"\nslot = \"air_filtre\"", "trigger.unknown_slot"),
        ("event = \"refill\"\nslot = \"air_filter\"\ntype = \"elswhere\"", "trigger.value"),
        ("event = \"refill\"\nslot = \"air_filter\"\nfield = \"used\"", "trigger.no_effect"),
    ] {
        let problems = problems(&with(on, ""));
        assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{on}\n{problems:#?}");
    }
    for sound in ["event = \"channel\"\ntype = \"store.visit\"", "event = \"refill\"\nslot = \"air_filter\""] {
        assert!(problems(&with(sound, "")).is_empty(), "{:#?}", problems(&with(sound, "")));
    }
}

#[test]
fn what_a_forecast_wakes_is_told_when_it_cannot_work() {
    const FORECAST: &str = "event = \"forecast\"\nslot = \"air_filter\"";
    for (on, code) in [
        ("event = \"forecast\"\nfield = \"order_by\"".to_owned(), "trigger.missing_key"),
        (FORECAST.to_owned(), "trigger.missing_key"),
        (format!("{FORECAST}\nfield = \"expected_empty.p100\"\nfalls_below = \"7 d\""), "trigger.unknown_field"),
        (format!("{FORECAST}\nfield = \"expected_empty.p80\""), "trigger.missing_key"),
        (format!("{FORECAST}\nfield = \"order_by\"\nfalls_below = \"2 years\""), "trigger.value"),
        (format!("{FORECAST}\nfield = \"order_by\"\nfalls_below = \"3 d\"\nrearm = \"2 d\""), "trigger.value"),
        (format!("{FORECAST}\nfield = \"order_by\"\nrises_above = 3"), "trigger.no_effect"),
        (format!("{FORECAST}\nfield = \"order_by\"").replace("air_filter", "air_filtre"), "trigger.unknown_slot"),
    ] {
        let problems = problems(&with(&on, ""));
        assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{on}\n{problems:#?}");
    }
    let sound = with(&format!("{FORECAST}\nfield = \"slot.expected_empty.p80\"\nfalls_below = \"7 d\""), "");
    assert!(problems(&sound).is_empty(), "{:#?}", problems(&sound));
    let wrong =
        with(&format!("{FORECAST}\nfield = \"order_by\""), "[trigger.replenish]\nquantity = { min = 3, max = 2 }");
    let wrong = problems(&wrong.replace("\"offer\"", "\"replenish\""));
    assert_eq!(wrong[0].pointer, "/trigger/0/replenish/quantity/min", "{wrong:#?}");
}

#[test]
fn what_wakes_by_time_is_told_when_it_cannot_work() {
    const FIELD: &str = "event = \"telemetry\"\nfield = \"temperature\"";
    for (on, code) in [
        (format!("{WARM}\nfor = \"0 s\""), "trigger.value"),
        (format!("{WARM}\ncount = 3"), "trigger.missing_key"),
        (format!("{WARM}\nwithin = \"1h\""), "trigger.missing_key"),
        (format!("{WARM}\ncount = 1\nwithin = \"1h\""), "trigger.value"),
        (format!("{WARM}\ncount = 33\nwithin = \"1h\""), "trigger.value"),
        (format!("{WARM}\ncount = 3\nwithin = \"1h\"\nfor = \"1h\""), "trigger.no_effect"),
        (format!("{WARM}\nbroad = true"), "trigger.no_effect"),
        (format!("{WARM}\nchanges = true"), "trigger.crossing"),
        (format!("{WARM}\nabsent_for = \"2h\""), "trigger.no_effect"),
        (format!("{WARM}\nat = \"18:30\""), "trigger.no_effect"),
        (format!("{FIELD}\nchanges = true"), "trigger.broad"),
        (format!("{FIELD}\nchanges = true\nbroad = true\nfor = \"1h\""), "trigger.no_effect"),
        ("event = \"telemetry\"\nfield = \"temprature\"\nabsent_for = \"2h\"".to_owned(), "trigger.unknown_field"),
        ("event = \"presence\"\nbecomes = \"asleep\"".to_owned(), "trigger.value"),
        ("event = \"presence\"\nfalls_below = 3".to_owned(), "trigger.type"),
        ("event = \"context\"\nbecomes = \"home\"".to_owned(), "trigger.missing_key"),
        ("event = \"context\"\nfield = \"weather\"\nfalls_below = \"3 °C\"".to_owned(), "trigger.unit"),
        ("event = \"link\"".to_owned(), "trigger.missing_key"),
        ("event = \"link\"\ntype = \"released\"".to_owned(), "trigger.value"),
        ("event = \"order\"\ntype = \"deliverd\"".to_owned(), "trigger.value"),
        ("event = \"schedule\"".to_owned(), "trigger.missing_key"),
        ("event = \"schedule\"\nat = \"25:00\"".to_owned(), "trigger.value"),
        ("event = \"schedule\"\nat = \"18:30\"\ndays = []".to_owned(), "trigger.value"),
        ("event = \"schedule\"\nat = \"18:30\"\ndays = [\"friday\"]".to_owned(), "trigger.value"),
        ("event = \"schedule\"\nat = \"18:30\"\nfor = \"1h\"".to_owned(), "trigger.no_effect"),
        ("event = \"event\"\ntype = \"error\"\nfor = \"1h\"".to_owned(), "trigger.no_effect"),
    ] {
        let found: Vec<_> = problems(&with(&on, "")).into_iter().map(|p| (p.code, p.message)).collect();
        let first = found.first().map(|(code, _)| *code);
        // A level without a crossing or the like may bring a second word; the first must be this one.
        assert_eq!(first, Some(code), "{on}\n{found:#?}");
    }
    for on in [
        format!("{WARM}\nfor = \"30 min\""),
        format!("{WARM}\ncount = 3\nwithin = \"1h\""),
        format!("{FIELD}\nchanges = true\nbroad = true"),
        "event = \"telemetry\"\nfield = \"mode\"\nchanges = true\ncount = 4\nwithin = \"1d\"".to_owned(),
        "event = \"telemetry\"\nabsent_for = \"45 min\"".to_owned(),
        "event = \"telemetry\"\nfield = \"temperature\"\nabsent_for = \"45 min\"".to_owned(),
        "event = \"presence\"\nbecomes = \"lost\"\nfor = \"24h\"".to_owned(),
        "event = \"context\"\nfield = \"weather\"\nbecomes = \"rain\"".to_owned(),
        "event = \"context\"\nfield = \"outside\"\nfalls_below = 3".to_owned(),
        "event = \"link\"\ntype = \"linked\"".to_owned(),
        "event = \"order\"\ntype = \"delivered\"".to_owned(),
        "event = \"schedule\"\nat = \"18:30\"\ndays = [\"fri\"]".to_owned(),
        "event = \"event\"\ntype = \"error\"\ncount = 3\nwithin = \"24h\"".to_owned(),
    ] {
        let found = problems(&with(&on, ""));
        assert!(found.is_empty(), "{on}\n{found:#?}");
    }
}

#[test]
fn a_product_that_does_not_fit_the_slot_is_told_with_those_that_do() {
    let text = with("event = \"slot\"\nslot = \"air_filter\"\nfield = \"used\"\nrises_above = 600", "")
        .replace("flt-20x25", "wf-3");
    let problems = problems(&text);
    assert_eq!(problems[0].code, "trigger.product_does_not_fit");
    assert_eq!(problems[0].help.as_deref(), Some("these fit: `flt-20x25`"));
}

#[test]
fn a_text_longer_than_the_surface_is_an_error_and_a_missing_default_language_a_warning() {
    let long = with(WARM, "").replace("title = \"a\"", &format!("title = \"{}\"", "é".repeat(41)));
    assert_eq!(problems(&long)[0].message, "this becomes 41 characters; home.card of th-200 shows 40");
    let english = with(WARM, "").replace("text.fr", "text.en");
    let found = problems(&english);
    assert_eq!((found.len(), found[0].severity, found[0].code), (1, Severity::Warning, "trigger.default_locale"));
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    use hearthway_core::model::{Action, Purpose, Role};
    let rules = rules();
    let text = with(WARM, "");
    let checked = check(&[SourceFile { name: "t.toml".into(), text }], &world(&rules));
    let trigger = &checked.triggers[0];
    assert_eq!(trigger.version, 3);
    assert!(trigger.when.is_none() && trigger.caps.is_empty() && trigger.quiet.is_none() && trigger.link_required);
    assert_eq!(trigger.valid, (None, None));
    assert_eq!(trigger.consent, [Purpose::OffersDevice]);
    assert_eq!(trigger.roles, [Role::Owner, Role::Buyer]);
    assert_eq!((trigger.max_event_age, trigger.offer.expires), (Span::hours(2), Span::hours(48)));
    assert_eq!(trigger.offer.cancel_window, Span::minutes(30));
    assert_eq!(trigger.offer.actions, [Action::Order, Action::Snooze, Action::Decline, Action::Why]);
    let Source::Telemetry { edge, .. } = &trigger.on.source else { panic!() };
    // 2 % of -40 to 80 °C is 2.4 °C.
    assert_eq!(edge.crossing, Crossing::RisesAbove { threshold: 25.0, rearm: 22.6 });
    assert!(!edge.on_first);
}

#[test]
fn near_the_end_of_a_range_the_way_back_of_an_edge_stays_within_it() {
    let rules = rules();
    let crossing = |on: &str| {
        let text = with(on, "");
        let checked = check(&[SourceFile { name: "t.toml".into(), text }], &world(&rules));
        checked.triggers[0].on.edge().unwrap().crossing.clone()
    };
    // Its field lies within -40 to 80 °C, 2 % of which are 2.4.
    for (bound, wanted) in [
        ("rises_above = -39", Crossing::RisesAbove { threshold: -39.0, rearm: -39.5 }),
        ("rises_above = -30", Crossing::RisesAbove { threshold: -30.0, rearm: -32.4 }),
        ("falls_below = 79", Crossing::FallsBelow { threshold: 79.0, rearm: 79.5 }),
        ("falls_below = 80", Crossing::FallsBelow { threshold: 80.0, rearm: 80.0 }),
    ] {
        assert_eq!(crossing(&format!("event = \"telemetry\"\nfield = \"temperature\"\n{bound}")), wanted);
    }
    // A slot counts from nothing to 720 h.
    let slot = "event = \"slot\"\nslot = \"air_filter\"\nfield = \"used\"\nrises_above = \"10 h\"";
    assert_eq!(crossing(slot), Crossing::RisesAbove { threshold: 10.0, rearm: 5.0 });
}

#[test]
fn a_price_holds_as_long_as_the_offer_lives_where_nothing_is_said() {
    let rules = rules();
    let lock = |terms: &str| {
        let text = with(WARM, "").replace("product = \"flt-20x25\"", &format!("product = \"flt-20x25\"\n{terms}"));
        let checked = check(&[SourceFile { name: "t.toml".into(), text }], &world(&rules));
        checked.triggers[0].offer.price_lock
    };
    assert_eq!(lock(""), Span::hours(48));
    assert_eq!(lock("expires = \"6h\""), Span::hours(6));
    assert_eq!(lock("expires = \"6h\"\nprice_lock = \"24h\""), Span::hours(24));
}

#[test]
fn a_text_in_a_language_that_there_is_not_is_refused_with_the_nearest() {
    let text = |locale: &str| with(WARM, "").replace("offer.text.fr", &format!("offer.text.{locale}"));
    for (locale, code, said) in [
        ("zz", "trigger.unknown_locale", "`za`"),
        ("us", "trigger.unknown_locale", "`en`"),
        ("jp-JP", "trigger.unknown_locale", "`ja-JP`"),
        ("eng", "trigger.unknown_locale", "`en`"),
        // Malformed.
        ("FR", "trigger.value", "`fr`"),
        ("f", "trigger.value", "`fr`"),
        ("french", "trigger.value", "`fr`"),
        ("fr-", "trigger.value", "`fr`"),
    ] {
        let found = problems(&text(locale));
        let errors: Vec<&Problem> = found.iter().filter(|problem| problem.is_error()).collect();
        assert_eq!((errors.len(), errors[0].code, errors[0].line), (1, code, 11), "{locale}: {found:#?}");
        let told = format!("{} {}", errors[0].message, errors[0].help.as_deref().unwrap_or_default());
        assert!(told.contains(said) && told.contains(locale), "{locale}: {told}");
    }
    for locale in ["fr", "fr-CA", "pt_BR", "gsw", "zh-Hant"] {
        let found = problems(&text(locale));
        assert!(found.iter().all(|problem| !problem.is_error()), "{locale}: {found:#?}");
    }
}

#[test]
fn what_was_published_before_a_rule_was_told_stays_live() {
    let rules = rules();
    let mut value = filter_worn();
    value["when"] = json!({"all": "slot.used > 600 && slot.used > 500"});
    value["offer"]["text"]["zz"] = value["offer"]["text"]["fr"].clone();
    let codes: Vec<_> = check_json(&value, &world(&rules)).1.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["condition.constant", "trigger.unknown_locale"]);
    let live = compile_published(&value, 1, &rules.units, &world(&rules));
    assert!(live.is_ok(), "{:#?}", live.err());
}

fn filter_worn() -> serde_json::Value {
    json!({
        "id": "filter-worn", "kind": "offer",
        "on": {"event": "slot", "device": {"kind": "thermostat", "model": ["th-200"]}, "slot": "air_filter",
               "field": "used", "rises_above": "600 h", "rearm": "50 h"},
        "when": {"all": "local.hour >= 0 || slot.used > 600"},
        "audience": {"consent": ["offers.device"], "link": "required"},
        "offer": {"product": {"by": "slot_compatible", "prefer": ["own"], "fallback": "flt-20x25"}, "cancel_window": "0 s",
                  "text": {"fr": {"title": "Filtre", "body": "{{ product.name }}", "why": "{{ slot.used }}"}}},
        "limits": {"caps": [{"max": 1, "per": "offer", "scope": "household", "within": "21d"}]},
        "channel": null,
    })
}

#[test]
fn json_and_toml_are_the_same_keys_and_a_definition_reads_back() {
    let rules = rules();
    let mut value = filter_worn();
    value["when"] = json!({"all": "slot.used > 600"});
    let (trigger, problems) = check_json(&value, &world(&rules));
    assert!(problems.is_empty(), "{problems:#?}");
    let (definition, trigger) = trigger.unwrap();
    assert_eq!((trigger.id.as_str(), trigger.offer.cancel_window.0), ("filter-worn", 0));
    let text = serde_json::to_string(&definition).unwrap();
    assert_eq!(serde_json::from_str::<TriggerDefinition>(&text).unwrap(), definition);
    let mut sent = value;
    sent.as_object_mut().unwrap().remove("channel");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), sent);
}

#[test]
fn a_problem_in_json_has_its_pointer() {
    let rules = rules();
    let mut value = filter_worn();
    value["offer"]["text"]["fr"]["tilte"] = json!("x");
    value["on"]["device"]["model"][0] = json!("th-20");
    value["limits"]["caps"][0]["max"] = json!("one");
    value.as_object_mut().unwrap().remove("kind");
    let problems = compile_json(&value, &retailer(), 1, &world(&rules)).unwrap_err();
    let found: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    for pointer in ["/offer/text/fr/tilte", "/on/device/model/0", "/limits/caps/0/max", "/kind"] {
        assert!(found.contains(&pointer), "{pointer} in {found:?}");
    }
    assert!(problems.iter().all(|problem| problem.line == 0));
}

#[test]
fn one_name_in_place_of_a_list_has_its_own_pointer() {
    let rules = rules();
    let mut value = filter_worn();
    value["on"]["device"] = json!({"kind": "thermostate"});
    let problems = compile_json(&value, &retailer(), 1, &world(&rules)).unwrap_err();
    assert_eq!(problems[0].pointer, "/on/device/kind");
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `thermostat`?"));
}

/// The codes and helps of all errors.
fn told(text: &str) -> Vec<(&'static str, Option<String>)> {
    problems(text).into_iter().filter(Problem::is_error).map(|problem| (problem.code, problem.help)).collect()
}

#[test]
fn one_mistake_in_what_wakes_it_makes_no_others_in_the_texts() {
    let slot = "event = \"slot\"\nslot = \"air_filter\"\nfield = \"used\"";
    let text = "why = \"{{ slot.used }}\"";
    assert_eq!(told(&with(&format!("{slot}\nrises_above = \"600 h\""), text)), []);
    let codes = |text: &str| told(text).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes(&with(&format!("{slot}\nrises_above = \"600 °C\""), text)), ["trigger.unit"]);
    let misspelt = with(&format!("{slot}\nrises_above = \"600 °C\""), "why = \"{{ slot.usd }}\"");
    assert_eq!(codes(&misspelt), ["trigger.unit", "trigger.text"]);
}

#[test]
fn a_cap_with_a_wrong_duration_is_told_once() {
    let cap = |within: &str| with(WARM, &format!("[trigger.limits]\ncaps = [{{ max = 1{within} }}]"));
    let codes = |text: &str| told(text).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes(&cap(", within = \"21 moons\"")), ["trigger.value"]);
    assert_eq!(codes(&cap("")), ["trigger.cap"]);
}

#[test]
fn a_cap_that_cannot_be_counted_is_told_and_one_that_counts_nothing_yet_is_warned_of() {
    let cap = |cap: &str| problems(&with(WARM, &format!("[trigger.limits]\ncaps = [{{ {cap} }}]")));
    for (written, code, said) in [
        ("max = 1001, within = \"1d\"", "trigger.value", "at most 1000 of one home"),
        ("max = 100001, scope = \"global\", within = \"1d\"", "trigger.value", "from 1 to 100000"),
        ("max = 9, scope = \"global\", within = \"32d\"", "trigger.value", "over 31 d at most"),
        ("max = 9, scope = \"globe\", within = \"1d\"", "trigger.value", "`device`, `global`"),
        ("max = 9, per = \"channel:phone\", within = \"1d\"", "trigger.value", "does not count per `channel:phone`"),
        ("max = 9, per = \"channel:devise\", within = \"1d\"", "trigger.value", "channel:device"),
    ] {
        let found = cap(written);
        let told = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(
            found.iter().any(|problem| problem.code == code && problem.is_error()) && told.contains(said),
            "{told}"
        );
    }
    let found = cap("max = 9, per = \"channel:webhook\", within = \"1d\"");
    assert_eq!(
        found.iter().map(|problem| (problem.code, problem.is_error())).collect::<Vec<_>>(),
        [("trigger.no_effect", false)]
    );
    assert_eq!(cap("max = 100000, per = \"all\", scope = \"global\", within = \"31d\""), []);
}

#[test]
fn what_cannot_stand_beyond_anything_is_no_matter_of_going_live() {
    let on = |on: &str| {
        told(&with(&format!("{on}\non_activate = true"), "")).into_iter().map(|(code, _)| code).collect::<Vec<_>>()
    };
    let temperature = "event = \"telemetry\"\nfield = \"temperature\"";
    for misplaced in [
        format!("{temperature}\nchanges = true\nbroad = true"),
        format!("{temperature}\nrises_above = 20\ncount = 3\nwithin = \"1d\""),
        "event = \"telemetry\"\nabsent_for = \"1h\"".to_owned(),
        "event = \"event\"\ntype = \"error\"".to_owned(),
        "event = \"schedule\"\nat = \"18:30\"".to_owned(),
    ] {
        assert_eq!(on(&misplaced), ["trigger.no_effect"], "{misplaced}");
    }
    for sound in
        [WARM.to_owned(), format!("{WARM}\nfor = \"1h\""), "event = \"presence\"\nbecomes = \"lost\"".to_owned()]
    {
        assert_eq!(on(&sound), [""; 0], "{sound}");
    }
}

#[test]
fn a_trend_that_cannot_be_is_told_with_its_place() {
    let on = |more: &str| with(&format!("event = \"telemetry\"\nfield = \"temperature\"\n{more}"), "");
    for (more, code, said) in [
        ("falls_below = \"-1 °C/h\"", "trigger.unit", "this is so much in so much time"),
        ("trend_over = \"2h\"\nfalls_below = \"-1 °C\"", "trigger.unit", "write it as `-1 °C/h`"),
        ("trend_over = \"2h\"\nfalls_below = \"-1 h/h\"", "trigger.unit", "write it as `-1 °C/h`"),
        ("trend_over = \"2h\"\nfalls_below = \"-1 °C/s\"", "trigger.value", "write `/min`, `/h` or `/d`"),
        ("trend_over = \"2h\"\nbecomes = -1", "trigger.no_effect", "a trend falls below or rises above"),
        ("trend_over = \"1 min\"\nfalls_below = -1", "trigger.value", "over 4 min to 35 d"),
        ("trend_over = \"2h\"\nfalls_below = -1\nrearm = \"-2 °C/h\"", "trigger.value", "at or above"),
        ("trend_over = \"2h\"\nfalls_below = -1\nbroad = true", "trigger.no_effect", "thresholds are indexed"),
    ] {
        let found = problems(&on(more));
        let told = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(found.iter().any(|problem| problem.code == code) && told.contains(said), "{more}\n{told}");
    }
    let words = with("event = \"telemetry\"\nfield = \"mode\"\ntrend_over = \"2h\"\nfalls_below = 1", "");
    assert!(problems(&words)[0].message.contains("only a number rises and falls"));
    let slot = "event = \"slot\"\nslot = \"air_filter\"\nfield = \"used\"\nrises_above = 600\ntrend_over = \"2h\"";
    assert_eq!(problems(&with(slot, ""))[0].code, "trigger.no_effect");
    assert_eq!(problems(&on("trend_over = \"2h\"\nfalls_below = \"-24 °C/d\"\nrearm = \"0 °C/h\"")), []);
}

#[test]
fn a_trend_is_found_by_its_field_its_time_and_its_threshold_per_hour() {
    let rules = rules();
    let text =
        with("event = \"telemetry\"\nfield = \"temperature\"\ntrend_over = \"2h\"\nfalls_below = \"-36 °C/d\"", "");
    let checked = check(&[SourceFile { name: "t.toml".into(), text }], &world(&rules));
    let on = &checked.triggers[0].on;
    let key = "trend of temperature per hour over 2 h of kind thermostat, sorted: falls below -1.5";
    assert_eq!(on.key().to_string(), key);
    assert_eq!(on.edge().unwrap().crossing, Crossing::FallsBelow { threshold: -1.5, rearm: -0.75 });
}

#[test]
fn a_number_in_place_of_a_table_is_told_how_to_be_written() {
    let help = Some("write `holdout = { percent = 10 }`".to_owned());
    assert_eq!(told(&with(WARM, "[trigger.rollout]\nholdout = 10")), [("trigger.type", help)]);
}

#[test]
fn no_trigger_of_a_file_with_broken_syntax_counts_as_sound() {
    let rules = rules();
    let checked = |text: String| check(&[SourceFile { name: "t.toml".into(), text }], &world(&rules)).triggers.len();
    assert_eq!(checked(with(WARM, "")), 1);
    assert_eq!(checked(with(WARM, "[trigger.limits]\ncaps = = 3")), 0);
}

#[test]
fn budgets_and_discounts_that_cannot_work_are_told() {
    let valid = "valid = { from = 2026-09-01 }\n";
    for (rest, code) in [
        ("[trigger.limits.budget]\npace = \"none\"", "trigger.missing_key"),
        ("[trigger.limits.budget]\ncount = 0", "trigger.value"),
        ("[trigger.limits.budget]\namount = \"0.00 EUR\"", "trigger.value"),
        ("[trigger.limits.budget]\namount = \"500.00 USD\"", "trigger.currency"),
        ("[trigger.limits.budget]\ncount = 3\npace = \"even_by_day\"", "trigger.missing_key"),
        ("[trigger.limits.budget]\ncount = 3\npace = \"even\"", "trigger.value"),
        ("[trigger.offer.discount]\nmax = \"4.00 EUR\"", "trigger.missing_key"),
        ("[trigger.offer.discount]\npercent = 0", "trigger.value"),
        ("[trigger.offer.discount]\npercent = 12.345", "trigger.value"),
        ("[trigger.offer.discount]\npercent = 101", "trigger.value"),
        ("[trigger.offer.discount]\npercent = 10\nmax = \"4.00 USD\"", "trigger.currency"),
    ] {
        let text = with(WARM, rest).replace("kind = \"offer\"", &format!("kind = \"offer\"\n{valid}"));
        let found = problems(&text);
        assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{text}\n{found:#?}");
        assert!(found[0].is_error(), "{found:#?}");
    }
    for sound in [
        "[trigger.limits.budget]\ncount = 3\namount = \"500.00 EUR\"\nhonour_shown = true",
        "[trigger.offer.discount]\npercent = 12.5\nmax = \"4.00 EUR\"",
    ] {
        assert!(problems(&with(WARM, sound)).is_empty(), "{sound}");
    }
}

#[test]
fn what_is_taken_off_can_be_named_where_something_is() {
    let reduced = |discount: &str| {
        let text = with(WARM, discount);
        let at = text.find("body = ").unwrap() + "body = ".len();
        let end = at + text[at..].find('\n').unwrap_or(text.len() - at);
        format!("{}\"{{{{ price.was }}}} {{{{ price.discount }}}}\"{}", &text[..at], &text[end..])
    };
    assert_eq!(problems(&reduced("[trigger.offer.discount]\npercent = 10")), []);
    let pool = "[trigger.offer.discount]\ncode_pool = \"HEAT26\"";
    assert_eq!(problems(&with(WARM, pool).replace("\"b\"", "\"{{ discount.code }}\"")), []);
    let found = problems(&with(WARM, pool));
    assert!(found[0].message.contains("no text shows the code") && !found[0].is_error(), "{found:#?}");
    let found = problems(&with(WARM, "").replace("\"b\"", "\"{{ discount.code }}\""));
    assert!(found[0].message.contains("no variable `discount.code`"), "{found:#?}");
    let found = problems(&reduced(""));
    assert!(found[0].message.contains("no variable `price."), "{found:#?}");
}
