//! What a person at a terminal gets to see.

use std::net::TcpListener;
use std::process::{Command, Output};

fn hearthway(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args(arguments).env("NO_COLOR", "1");
    for name in
        ["OPERATOR_TOKEN", "TOKEN", "URL", "DATA_DIR", "HTTP_BIND", "MQTT_BIND", "MQTTS_BIND", "BROKER_PASSWORD"]
    {
        command.env_remove(format!("HEARTHWAY_{name}"));
    }
    command.envs(environment.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_configuration_with_mistakes_is_shown_with_file_line_and_help() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");
    std::fs::write(&path, "[engine]\nshard = 4\n[http]\nbind = \"nowhere\"\n").unwrap();
    let output = hearthway(&["check-config", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = stderr(&output);
    for wanted in ["2 mistakes", "mine.toml:2:1", "did you mean `shards`?", "mine.toml:4:8", "`nowhere`"] {
        assert!(shown.contains(wanted), "`{wanted}` is not in:\n{shown}");
    }
}

#[test]
fn what_the_broker_link_would_refuse_at_the_start_is_told_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");
    let check = |keys: &str, environment: &[(&str, &str)]| {
        std::fs::write(&path, format!("[broker]\n{keys}\n")).unwrap();
        hearthway(&["check-config", "--config", path.to_str().unwrap()], environment)
    };
    for (keys, wanted) in [
        ("url = \"mqtts://hub\"", "no `ca_file`"),
        ("url = \"mqtts://hub\"\nca_file = \"no.pem\"", "no.pem"),
        ("url = \"mqtt://hub\"\nusername = \"gateway\"", "HEARTHWAY_BROKER_PASSWORD"),
    ] {
        let output = check(keys, &[]);
        assert_eq!(output.status.code(), Some(1), "{keys}");
        assert!(stderr(&output).contains(wanted), "`{wanted}` is not in:\n{}", stderr(&output));
    }
    let whole = check("url = \"mqtt://hub\"\nusername = \"gateway\"", &[("HEARTHWAY_BROKER_PASSWORD", "hush-hush")]);
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    assert!(!stdout(&whole).contains("hush-hush"));
}

#[test]
fn the_effective_configuration_is_shown_without_the_token() {
    let token = "a-token-of-the-operator";
    let environment = [("HEARTHWAY_OPERATOR_TOKEN", token), ("HEARTHWAY_HTTP_BIND", "127.0.0.1:7654")];
    let output = hearthway(&["check-config"], &environment);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("127.0.0.1:7654"));
    assert!(!stdout(&output).contains(token));
}

#[test]
fn a_secret_may_stand_in_a_file_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        hearthway(&["check-config"], &[("HEARTHWAY_OPERATOR_TOKEN_FILE", file.to_str().unwrap())])
    };
    let whole = check("a-token-of-the-operator\n");
    assert!(stdout(&whole).contains("# operator token: from the environment"), "{}", stdout(&whole));
    for (text, wanted) in
        [("", "empty"), ("one-line-of-it\nand-another\n", "several lines"), ("short\n", "5 characters")]
    {
        let output = check(text);
        assert_eq!(output.status.code(), Some(1), "{text:?}");
        assert!(stderr(&output).contains(wanted), "`{wanted}` is not in:\n{}", stderr(&output));
    }
    let absent = hearthway(&["check-config"], &[("HEARTHWAY_OPERATOR_TOKEN_FILE", "absent")]);
    assert!(stderr(&absent).contains("absent"), "{}", stderr(&absent));
}

#[test]
fn a_taken_port_is_told_with_the_flag_that_mends_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    for (mine, other) in [("http", "mqtt"), ("mqtt", "http")] {
        let mine_flag = format!("--{mine}-bind");
        let flags = ["serve", &mine_flag, &address, &format!("--{other}-bind"), "127.0.0.1:0"];
        let output = hearthway(&flags, &[("HEARTHWAY_DATA_DIR", data.path().join(mine).to_str().unwrap())]);
        assert_eq!(output.status.code(), Some(1));
        let shown = stderr(&output);
        assert!(shown.contains(&address) && shown.contains(&mine_flag), "{shown}");
        assert_eq!(stdout(&output), "", "nothing is ready");
    }
}

#[test]
fn samples_that_cannot_be_read_are_told_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("gateway.toml"), folder.path().join("data"));
    std::fs::write(&config, format!("[samples]\nload = true\ndir = {:?}\n", folder.path().join("none"))).unwrap();
    let flags =
        ["serve", "--config", config.to_str().unwrap(), "--http-bind", "127.0.0.1:0", "--mqtt-bind", "127.0.0.1:0"];
    let output = hearthway(&flags, &[("HEARTHWAY_DATA_DIR", data.to_str().unwrap())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("reading the samples"), "{}", stderr(&output));
    assert!(!data.exists(), "the next start would find a gateway without its samples");
}

#[test]
fn commands_ask_the_gateway_of_the_environment_and_else_say_how_to_name_one() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = [("HEARTHWAY_URL", "http://127.0.0.1:1"), ("HEARTHWAY_TOKEN", "hw_x")];
    let data = [("HEARTHWAY_DATA_DIR", folder.path().to_str().unwrap())];
    let trigger = "config/triggers/thermostat.toml";
    for command in [vec!["report", "funnel"], vec!["backtest", "--live"], vec!["triggers", "reach", trigger]] {
        let asked = stderr(&hearthway(&command, &nowhere));
        assert!(asked.contains("calling http://127.0.0.1:1/v1/"), "{command:?}: {asked}");
        let at_rest = stderr(&hearthway(&command, &data));
        assert!(at_rest.contains("`--url` or HEARTHWAY_URL"), "{command:?}: {at_rest}");
        // Data that is named is what is looked at.
        let named = [&command[..], &["--data", folder.path().to_str().unwrap()]].concat();
        let named = stderr(&hearthway(&named, &nowhere));
        assert!(named.contains("no gateway's data"), "{named}");
    }
}

#[test]
fn a_device_certificate_is_shown_with_the_host_that_the_gateways_names() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("pki");
    let dir = dir.to_str().unwrap();
    let made = hearthway(&["pki", "init", "--dir", dir, "--host", "gw.example.org"], &[]);
    assert!(made.status.success(), "{}", stderr(&made));
    let device = hearthway(&["pki", "device", "--dir", dir, "--maker", "acme", "--device", "d-42"], &[]);
    assert!(stdout(&device).contains("mosquitto_pub -h gw.example.org -p 8883"), "{}", stdout(&device));
}

#[test]
fn a_missing_configuration_is_named() {
    let output = hearthway(&["serve", "--config", "no/such/file.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no/such/file.toml"), "{}", stderr(&output));
}

#[test]
fn the_check_of_triggers_plays_their_cases_and_fails_where_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let sample = std::fs::read_to_string("config/triggers/thermostat.toml").unwrap();
    let path = directory.path().join("mine.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        hearthway(&["triggers", "check", path.to_str().unwrap()], &[])
    };
    let good = check(&sample);
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    assert!(stdout(&good).contains("cases passed"), "{}", stdout(&good));
    let turned = check(&sample.replacen("send = true", "send = false", 1));
    assert_eq!(turned.status.code(), Some(1));
    assert!(stderr(&turned).contains("error[trigger.case_failed]: the case `"), "{}", stderr(&turned));
}

#[test]
fn the_check_of_triggers_names_the_retailers_that_there_are() {
    let output = hearthway(&["triggers", "check", "config/triggers", "--retailer", "nobody"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = stderr(&output);
    assert!(shown.contains("no retailer `nobody`") && shown.contains("`shop-a`"), "{shown}");
}

#[test]
fn a_backtest_of_no_time_is_refused() {
    let ends = ["--from", "2026-11-10T00:00:00Z", "--to", "2026-11-09T00:00:00Z"];
    // The address is never asked: nothing listens there.
    let output = hearthway(&[&["backtest", "--live", "--url", "http://127.0.0.1:1"], &ends[..]].concat(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no time is left"), "{}", stderr(&output));
}
