//! `[[trigger.test]]`: what a case can say, and that a case that is wrong fails.

use hearthway_core::trigger::{CaseOutcome, SourceFile, check, run_cases};

use crate::world::{rules, world};

fn run(case: &str) -> Vec<CaseOutcome> {
    let text = format!(
        "[[trigger]]\nid = \"t\"\nkind = \"offer\"\n[trigger.on]\nevent = \"telemetry\"\ndevice = {{ kind = \"thermostat\" }}\n\
         field = \"temperature\"\nfalls_below = \"17 °C\"\n[trigger.when]\nall = 'context.presence == \"home\"'\n\
         [trigger.offer]\nproduct = \"flt-20x25\"\n[trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n\
         [[trigger.test]]\n{case}\n"
    );
    outcomes(text)
}

/// How the cases of a file with one trigger come out.
fn outcomes(text: String) -> Vec<CaseOutcome> {
    let rules = rules();
    let checked = check(&[SourceFile { name: "t.toml".into(), text }], &world(&rules));
    assert!(checked.problems.is_empty(), "{:#?}", checked.problems);
    run_cases(&checked.triggers[0], &checked.definitions[0].1, &rules, &|file| match file {
        "home.toml" => Ok("zone = \"Europe/Paris\"\ncontext = { presence = \"home\" }".to_owned()),
        "cold.json" => Ok("{\"temperature\": 16}".to_owned()),
        "bad.toml" => Ok("zoen = \"Europe/Paris\"".to_owned()),
        _ => Err("not found".to_owned()),
    })
}

const COLD: &str = "input = { telemetry = { temperature = 16 } }";

#[test]
fn a_case_passes_when_all_it_expects_comes_out() {
    for case in [
        format!(
            "name = \"a\"\ngiven = {{ context = {{ presence = \"home\" }} }}\n{COLD}\nexpect = {{ send = true, product = \"flt-20x25\" }}"
        ),
        "name = \"b\"\ngiven = { household = \"home.toml\" }\ninput = \"cold.json\"\nexpect = { send = true }"
            .to_owned(),
        format!(
            "name = \"c\"\ngiven = {{ household = \"home.toml\", context = {{ presence = \"away\" }} }}\n{COLD}\nexpect = {{ first_block = \"conditions: context.presence\" }}"
        ),
        format!(
            "name = \"d\"\ngiven = {{ household = \"home.toml\", role = \"none\" }}\n{COLD}\nexpect = {{ send = false }}"
        ),
    ] {
        let outcomes = run(&case);
        assert!(outcomes[0].passed(), "{case}\n{:#?}", outcomes[0]);
    }
}

#[test]
fn a_case_that_expects_something_else_fails_and_says_what_was_found() {
    for (case, said) in [
        (format!("name = \"a\"\n{COLD}\nexpect = {{ send = true }}"), "expected an offer, none leaves (conditions"),
        (
            format!("name = \"a\"\ngiven = {{ household = \"home.toml\" }}\n{COLD}\nexpect = {{ send = false }}"),
            "expected no offer",
        ),
        (format!("name = \"a\"\n{COLD}\nexpect = {{ first_block = \"caps\" }}"), "expected `caps` to stop it first"),
        (
            format!("name = \"a\"\n{COLD}\nexpect = {{ first_block = \"conditions: local.hour\" }}"),
            "to name `local.hour`",
        ),
        (format!("name = \"a\"\n{COLD}\nexpect = {{ first_block = \"condition\" }}"), "did you mean `conditions`?"),
        (
            format!("name = \"a\"\ngiven = {{ household = \"home.toml\" }}\n{COLD}\nexpect = {{ locale = \"en\" }}"),
            "expected the locale `en`, found `fr`",
        ),
        (
            "name = \"a\"\ninput = { telemetry = { temperature = 19 } }\nexpect = { send = true }".to_owned(),
            "the input does not wake it",
        ),
    ] {
        let outcomes = run(&case);
        assert!(outcomes[0].differences.iter().any(|d| d.contains(said)), "{case}\n{:#?}", outcomes[0]);
    }
}

#[test]
fn a_case_that_makes_no_sense_fails_with_the_reason() {
    for (case, said) in [
        ("name = \"a\"\ninput = \"nowhere.json\"\nexpect = {}".to_owned(), "reading `nowhere.json`: not found"),
        (
            format!("name = \"a\"\ngiven = {{ household = \"bad.toml\" }}\n{COLD}\nexpect = {{}}"),
            "did you mean `zone`?",
        ),
        (format!("name = \"a\"\ngiven = {{ now = \"noon\" }}\n{COLD}\nexpect = {{}}"), "`now` is not RFC 3339"),
        (
            format!("name = \"a\"\ngiven = {{ model = \"th-9\" }}\n{COLD}\nexpect = {{}}"),
            "there is no device model `th-9`",
        ),
        ("name = \"a\"\ninput = { slot = { beans = { used = 1 } } }\nexpect = {}".to_owned(), "no slot `beans`"),
        ("name = \"a\"\ninput = { slot = { air_filter = { remaining = 1 } } }\nexpect = {}".to_owned(), "give `used`"),
        ("name = \"a\"\ninput = 5\nexpect = {}".to_owned(), "the input is no table"),
    ] {
        let outcomes = run(&case);
        assert!(outcomes[0].differences[0].contains(said), "{case}\n{:#?}", outcomes[0]);
    }
}

#[test]
fn a_case_lets_time_pass_after_its_input() {
    for (on, input, after, send) in [
        (
            "field = \"temperature\"\nrises_above = 25\nfor = \"30 min\"",
            "{ telemetry = { temperature = 26.0 } }",
            "29 min",
            false,
        ),
        (
            "field = \"temperature\"\nrises_above = 25\nfor = \"30 min\"",
            "{ telemetry = { temperature = 26.0 } }",
            "30 min",
            true,
        ),
        ("absent_for = \"45 min\"", "{ telemetry = { temperature = 20.0 } }", "44 min", false),
        ("absent_for = \"45 min\"", "{ telemetry = { temperature = 20.0 } }", "45 min", true),
        ("at = \"12:30\"", "{ telemetry = { temperature = 20.0 } }", "29 min", false),
        ("at = \"12:30\"", "{ telemetry = { temperature = 20.0 } }", "30 min", true),
        ("becomes = \"lost\"\nfor = \"1h\"", "{ presence = \"lost\" }", "59 min", false),
        ("becomes = \"lost\"\nfor = \"1h\"", "{ presence = \"lost\" }", "1h", true),
        ("field = \"tariff\"\nbecomes = \"low\"", "{ context = { tariff = \"low\" } }", "0 s", true),
    ] {
        let event = match on {
            on if on.starts_with("at") => "schedule",
            on if on.starts_with("becomes") => "presence",
            on if on.contains("tariff") => "context",
            _ => "telemetry",
        };
        let text = format!(
            "[[trigger]]\nid = \"t\"\nkind = \"tip\"\n[trigger.on]\nevent = \"{event}\"\ndevice = {{ kind = \"thermostat\" }}\n{on}\n\
             [trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n\
             [[trigger.test]]\nname = \"n\"\ninput = {input}\nafter = \"{after}\"\nexpect = {{ send = {send} }}\n"
        );
        let outcomes = outcomes(text.clone());
        assert!(outcomes[0].passed(), "{text}\n{outcomes:#?}");
    }
}

#[test]
fn a_case_plays_in_a_home_outside_the_control_group() {
    for salt in 0..20 {
        let outcomes = run(&format!(
            "name = \"a\"\ngiven = {{ household = \"home.toml\" }}\n{COLD}\nexpect = {{ send = true }}\n\
             [trigger.rollout]\nholdout = {{ percent = 90, salt = \"s{salt}\" }}"
        ));
        assert!(outcomes[0].passed(), "{:#?}", outcomes[0]);
    }
}

#[test]
fn a_case_with_too_many_deadlines_in_its_time_says_so_instead_of_ending_early() {
    let text = "[[trigger]]\nid = \"t\"\nkind = \"tip\"\n[trigger.on]\nevent = \"schedule\"\nat = \"12:30\"\n\
                device = { kind = \"thermostat\" }\n[trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n\
                [[trigger.test]]\nname = \"n\"\ninput = { telemetry = { temperature = 20.0 } }\nafter = \"2000d\"\n\
                expect = { send = true }\n";
    let outcomes = outcomes(text.to_owned());
    assert!(outcomes[0].differences[0].contains("more than 1000 deadlines"), "{:#?}", outcomes[0]);
}

#[test]
fn a_case_about_a_trend_gives_its_readings_in_one_batch() {
    let case = |last: i32| {
        let samples: Vec<String> = (0..14)
            .map(|n| format!("{{ ago = \"{} min\", temperature = {} }}", 130 - n * 10, if n < 8 { 20 } else { last }))
            .collect();
        format!(
            "[[trigger]]\nid = \"t\"\nkind = \"tip\"\n[trigger.on]\nevent = \"telemetry\"\ndevice = {{ kind = \"thermostat\" }}\n\
             field = \"temperature\"\ntrend_over = \"2h\"\nfalls_below = \"-1 °C/h\"\n[trigger.offer.text.fr]\ntitle = \"a\"\nbody = \"b\"\n\
             [[trigger.test]]\nname = \"c\"\ninput = {{ telemetry = [{}] }}\nexpect = {{ send = true }}\n",
            samples.join(", ")
        )
    };
    let (falls, stands) = (outcomes(case(15)), outcomes(case(20)));
    assert!(falls[0].passed(), "{:#?}", falls[0]);
    assert!(!stands[0].passed(), "{:#?}", stands[0]);
    let unsaid = outcomes(case(15).replace("ago = \"30 min\", ", ""));
    assert_eq!(unsaid[0].differences, ["sample 11 of the batch needs `ago`, such as `ago = \"10 min\"`"]);
}
