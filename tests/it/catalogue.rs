//! A catalogue comes in by the command line, goes on where it was broken off, and comes out as it went in.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::stock_clients::load_the_sample_shop;

fn line(n: usize, minor: i64) -> String {
    json!({
        "id": format!("cat-{n:05}"), "name": {"en": format!("Filter {n}")},
        "price": {"minor": minor, "currency": "EUR"}, "fits": [{"model": "th-200", "slot": "air_filter"}],
    })
    .to_string()
}

/// What the command says, and its exit code.
fn products(gateway: &Gateway, token: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.arg("products").args(arguments).args(["--url", &gateway.http]);
    let output = command.env("HEARTHWAY_TOKEN", token).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[tokio::test]
async fn a_catalogue_comes_in_by_the_command_line_and_out_as_it_went_in() {
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let gateway = Gateway::serve(&data.path().join("d"));
    let token = load_the_sample_shop(&gateway).await;
    let file = files.path().join("catalogue.jsonl");
    let name = file.to_str().unwrap();
    // More than one part, and a line broken in the middle.
    let mut lines: Vec<String> = (1..=22_000).map(|n| line(n, 1990)).collect();
    lines[20_499].truncate(20);
    write(&file, &lines);

    let (code, said, told) = products(&gateway, &token, &["import", name]);
    assert_eq!((code, said.trim()), (Some(1), "21999 products taken, 21999 of them changed; 1 lines wrong"), "{told}");
    assert!(told.starts_with("line 20500: payload.invalid: the JSON ends before it is complete"), "{told}");
    let (code, said, told) = products(&gateway, &token, &["import", name]);
    assert_eq!(code, Some(1), "what was wrong is wrong still: {said}{told}");
    assert!(said.contains("going on behind line 22000\n0 products taken"), "the same file goes on at its end: {said}");

    let (code, out, _) = products(&gateway, &token, &["export"]);
    let mine: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|p: &Value| p["name"]["en"].as_str().unwrap_or("").starts_with("Filter "))
        .collect();
    assert_eq!(
        (code, mine.iter().filter(|p| p["id"].as_str().unwrap().starts_with("cat-")).count()),
        (Some(0), 21_999)
    );
    let exported = files.path().join("out.jsonl");
    std::fs::write(&exported, &out).unwrap();
    let (code, said, told) = products(&gateway, &token, &["import", "--again", exported.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{told}");
    assert!(said.contains("0 of them changed; 0 lines wrong"), "what comes out goes in as it is: {said}");

    let table = files.path().join("catalogue.csv");
    write(
        &table,
        &["id,name:en,price,currency".into(), "cat-00001,Filter,0.50,EUR".into(), "cat-00002,,0.50,EUR".into()],
    );
    let (code, said, told) = products(&gateway, &token, &["import", table.to_str().unwrap()]);
    assert_eq!((code, said.trim()), (Some(1), "1 products taken, 1 of them changed; 1 lines wrong"), "{told}");
    assert!(told.starts_with("line 3 at /name: payload.invalid: give the name in 1 to 40 languages"), "{told}");

    let (code, _, told) = products(&gateway, &token, &["import", "nowhere.jsonl"]);
    assert!(code == Some(1) && told.contains("reading `nowhere.jsonl`"), "{told}");

    // Killed and started again it knows all of them, and where the import was.
    drop(gateway);
    let gateway = Gateway::serve(&data.path().join("d"));
    let read = gateway.ask(&token, "GET", "/v1/products/cat-00001", None).await;
    assert_eq!(read["price"]["minor"], 50, "{read}");
    let fits = gateway.ask(&token, "GET", "/v1/products?fits=th-200:air_filter&limit=1", None).await;
    assert_eq!(fits["items"][0]["id"], "cat-00001", "the table has no column for what it fits: {fits}");
    let (_, said, _) = products(&gateway, &token, &["import", name]);
    assert!(said.contains("going on behind line 22000"), "{said}");
}
