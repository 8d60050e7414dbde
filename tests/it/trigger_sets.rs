//! Trigger files go live as a set: all or none, by one command, and again at each change.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::stock_clients::load_the_sample_shop;

fn tip(id: &str, title: &str) -> String {
    format!(
        "[[trigger]]\nid = \"{id}\"\nkind = \"tip\"\n[trigger.on]\nevent = \"event\"\ntype = \"error\"\n\
         [trigger.offer]\nactions = [\"decline\"]\n[trigger.offer.text.fr]\ntitle = \"{title}\"\nbody = \"Texte\"\n\
         [[trigger.test]]\nname = \"it speaks\"\ngiven = {{ household = \"../home.toml\" }}\ninput = \"../error.json\"\n\
         expect = {{ send = true, title = \"{title}\" }}\n"
    )
}

/// A directory with what the cases name, and in it one of trigger files: a set.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        std::fs::create_dir(files.set()).unwrap();
        files.put("../home.toml", "zone = \"Europe/Paris\"\n");
        files.put("../error.json", r#"{"event":{"type":"error","data":{}}}"#);
        files
    }
    fn set(&self) -> PathBuf {
        self.0.path().join("set")
    }
    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.set().join(name), text).unwrap();
    }
    fn remove(&self, name: &str) {
        std::fs::remove_file(self.set().join(name)).unwrap();
    }
}

fn publish(gateway: &Gateway, token: &str, folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args(["triggers", "publish"]).arg(folder).args(["--url", &gateway.http]).args(more);
    command.env("HEARTHWAY_TOKEN", token).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn told(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

async fn states(gateway: &Gateway, token: &str) -> Vec<(String, String, u64)> {
    let list = gateway.ask(token, "GET", "/v1/triggers?limit=100", None).await;
    let word = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    let mine = items.filter(|item| word(item, "trigger").starts_with("set-"));
    mine.map(|item| (word(item, "trigger"), word(item, "state"), item["version"].as_u64().unwrap_or(0))).collect()
}

fn state(id: &str, state: &str, version: u64) -> (String, String, u64) {
    (id.to_owned(), state.to_owned(), version)
}

#[tokio::test]
async fn a_set_of_files_goes_live_as_a_whole_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let token = load_the_sample_shop(&gateway).await;
    let files = Files::new();
    let publish = |more: &[&str]| told(publish(&gateway, &token, &files.set(), more));
    let (one, two) = (tip("set-a", "Un"), tip("set-b", "Deux"));
    files.put("a.toml", &one);
    files.put("b.toml", &two.replace("event = \"event\"", "event = \"evnet\""));

    let (done, text) = publish(&[]);
    assert!(!done && text.contains("what is live stays live"), "{text}");
    assert!(text.contains("b.toml: on/event: `set-b`") && text.contains("did you mean `event`"), "{text}");
    assert!(states(&gateway, &token).await.is_empty(), "nor is the sound one there");

    files.put("b.toml", &two);
    let (done, text) = publish(&[]);
    assert!(done && text.contains("2 published, 0 unchanged, 0 paused"), "{text}");
    let (done, text) = publish(&[]);
    assert!(done && text.contains("0 published, 2 unchanged, 0 paused"), "{text}");
    assert_eq!(states(&gateway, &token).await, [state("set-a", "published", 1), state("set-b", "published", 1)]);

    // A failing case is as bad as a wrong word, and so is a file that is not there.
    files.put("b.toml", &two.replace("title = \"Deux\" }", "title = \"Trois\" }"));
    let (done, text) = publish(&[]);
    assert!(!done && text.contains("the case `it speaks` fails"), "{text}");
    files.put("b.toml", &two.replace("../home.toml", "../nowhere.toml"));
    let (done, text) = publish(&[]);
    assert!(!done && text.contains("names `../nowhere.toml`"), "{text}");

    files.remove("b.toml");
    files.put("a.toml", &tip("set-a", "Trois"));
    let (done, text) = publish(&["--pause-others"]);
    let paused = text.split_once("0 unchanged, ").and_then(|(_, rest)| rest.split_once(" paused"));
    assert!(done && text.starts_with("1 published") && paused.is_some_and(|(n, _)| n != "0"), "{text}");
    assert_eq!(states(&gateway, &token).await, [state("set-a", "published", 2), state("set-b", "paused", 1)]);
}

struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_watched_directory_is_live_after_each_change_and_a_wrong_one_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let token = load_the_sample_shop(&gateway).await;
    let files = Files::new();
    let text = tip("set-a", "Un");
    files.put("a.toml", &text);
    let mut command = publish(&gateway, &token, &files.set(), &["--watch"]);
    let _watching = Watching(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let until = async |wanted: Vec<(String, String, u64)>| {
        let begun = Instant::now();
        loop {
            let now = states(&gateway, &token).await;
            if now == wanted {
                return;
            }
            assert!(begun.elapsed() < STEP_SECONDS_MAX, "{now:?} instead of {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until(vec![state("set-a", "published", 1)]).await;
    files.put("a.toml", &text.replace("Un", "Deux"));
    until(vec![state("set-a", "published", 2)]).await;
    // The wrong file, and what comes after it.
    files.put("b.toml", "[[trigger]]\nid = 7\n");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(states(&gateway, &token).await, [state("set-a", "published", 2)]);
    files.put("b.toml", &text.replace("set-a", "set-b"));
    until(vec![state("set-a", "published", 2), state("set-b", "published", 1)]).await;
}

#[tokio::test]
async fn a_set_is_refused_whole_for_a_broken_line_an_id_twice_and_a_wrong_word() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(data.path());
    let token = load_the_sample_shop(&gateway).await;
    let trigger = |id: &str| {
        format!(
            r#"{{"id":"{id}","kind":"tip","on":{{"event":"event","type":"error"}},"offer":{{"actions":["decline"],"text":{{"fr":{{"title":"T","body":"B"}}}}}}}}"#
        )
    };
    let post = async |path: &str, body: String| {
        let client = reqwest::Client::new();
        let request = client.post(format!("{}{path}", gateway.http)).bearer_auth(&token).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let body = format!("{}\n{{broken\n{}\n", trigger("set-a"), trigger("set-a"));
    let (status, problem) = post("/v1/triggers:publish", body).await;
    assert_eq!(status, 422, "{problem}");
    let pointers: Vec<&str> =
        problem["problems"].as_array().unwrap().iter().map(|p| p["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/1", "/2/id"], "{problem}");
    let (status, problem) = post("/v1/triggers:publish?others=drop", trigger("set-a")).await;
    assert_eq!((status, problem["pointer"].as_str()), (422, Some("/others")), "{problem}");
    assert!(states(&gateway, &token).await.is_empty());
    let (status, told) = post("/v1/triggers:publish", format!("{}\n\n{}", trigger("set-a"), trigger("set-b"))).await;
    assert_eq!((status, &told["published"]), (200, &Value::from(2)), "{told}");
    let (status, _) = gateway.call(OPERATOR, "POST", "/v1/triggers:publish", None).await;
    assert_eq!(status, 403, "an operator has no triggers");
}
