//! The retailer's session of `docs/retailer-guide.md`, and the lines of `docs/customers.md`, at the demo's gateway.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::pasted;

/// The demo's five days take some forty seconds, more on a busy machine.
const STORY_SECONDS_MAX: Duration = Duration::from_secs(180);

/// A demo that serves on when its story is over; killed when it is dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, and gives the line of exports that it ends with.
fn demo() -> (Demo, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthway"));
    command.args([
        "demo",
        "--speed",
        "12000",
        "--homes",
        "8",
        "--http-bind",
        "127.0.0.1:0",
        "--mqtt-bind",
        "127.0.0.1:0",
    ]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tx, rx) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(exports) = line.trim().strip_prefix("export ") {
                let _ = tx.send(exports.to_owned());
            }
        }
    });
    let demo = Demo(child);
    let exports = rx.recv_timeout(STORY_SECONDS_MAX).expect("the demo's story ends with what to export");
    (demo, exports)
}

/// The lines of a document that a shell runs, at the demo.
fn pasted_at(exports: &str, document: &str) -> Output {
    let lines: String = pasted::blocks(document).into_iter().map(|block| block.lines).collect();
    let folder = tempfile::tempdir().unwrap();
    pasted::run(&format!("export {exports}\n{lines}"), folder.path())
}

#[test]
fn every_line_of_the_retailers_guide_and_of_the_customers_works() {
    if !pasted::are_there(&["bash", "curl", "python3"]) {
        return;
    }
    let (_demo, exports) = demo();
    let output = pasted_at(&exports, "docs/retailer-guide.md");
    let (said, shown) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{shown}");
    for wanted in [
        "1 sound trigger, 0 errors",
        "Backtest of 1 trigger of shop-a",
        "day,sent,held,blocked",
        "The message has no id of its own.",
        "Le message n'a pas d'identifiant.",
        "warm-filter v3 is live\nthe draft differs from it",
        "warm-filter v3 is paused",
        " stopped: every trigger of the shop is silent",
        "filter-worn v1 is live",
        "warm-filter (file) ",
        " live triggers are about ",
        r#""left":{"amount":null,"count":200}"#,
        "warm-filter (draft) ",
        ": would ",
        "warm-filter (brouillon) ",
        "Reach of warm-filter: homes that are left",
        "Funnel of shop-a, the beginning to the end (Europe/Paris)",
        "Blocked reasons of shop-a",
        "thermostat th-200",
        "Uplift of shop-a",
        "Opt-outs of shop-a",
        "trigger,treated,treated_ordered,treated_rate",
        r#""secret":"whsec_"#,
        r#""delivered":false"#,
        r#""action":"POST /v1/triggers/{trigger}/rollback""#,
    ] {
        assert!(said.contains(wanted), "`{wanted}` is not in:\n{said}\n{shown}");
    }
    assert!(shown.contains("conflict[trigger.same_slot]"), "{shown}");
    let household = exports.split("HOUSEHOLD=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(said.lines().any(|line| line == household), "{household} is not among the listed homes:\n{said}");

    let output = pasted_at(&exports, "docs/customers.md");
    let (said, shown) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{shown}");
    for wanted in [
        r#""audience":"heaters""#,
        r#"{"member":true,"profile":"anna"}"#,
        r#""audiences":["staff"]"#,
        r#""per_week":2"#,
        r#""report":"/v1/erased/shop-a/er_"#,
        r#"{"kind":"end","readings":"#,
        r#""party":"Energy Advice Ltd""#,
        r#""stolen":true"#,
        r#"{"claimable":false}"#,
    ] {
        assert!(said.contains(wanted), "`{wanted}` is not in:\n{said}\n{shown}");
    }
}
