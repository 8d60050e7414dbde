//! The session of the contract over every way and with every client, in MQTT 3.1.1 and 5. All homes
//! of a gateway live at the same time, so that one that heard another's word would fail.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::stock_clients::{Client, Kind, Version, may_run};
use crate::way::{Over, Stage};
use crate::{contract_session, mosquitto};

/// Sessions under way at once: enough to keep two cores busy with programs that start and wait.
const SESSIONS_AT_ONCE: usize = 6;

/// A session of the table.
#[derive(Clone, Copy)]
struct Cell {
    kind: Kind,
    version: Version,
    over: Over,
}

impl Cell {
    /// What its names are made of.
    fn tag(self) -> String {
        format!("{:?}-{:?}-{:?}", self.kind, self.version, self.over)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_contract_works_over_every_way_with_every_client() {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| may_run(*kind)).collect();
    let has_broker = mosquitto::is_there();
    let may_be_played = |cell: &Cell| {
        let has_way = cell.over != Over::Broker || has_broker;
        has_way && (!cell.over.is_websocket() || cell.kind.speaks_websocket())
    };
    let cells: Vec<Cell> = kinds
        .iter()
        .flat_map(|kind| [Version::V311, Version::V5].map(|version| (*kind, version)))
        .flat_map(|(kind, version)| Over::ALL.map(|over| Cell { kind, version, over }))
        .filter(may_be_played)
        .collect();
    let stages = [Arc::new(Stage::open(false, has_broker).await), Arc::new(Stage::open(true, false).await)];

    let at_once = Arc::new(Semaphore::new(SESSIONS_AT_ONCE));
    let mut sessions = JoinSet::new();
    for (n, cell) in cells.iter().copied().enumerate() {
        let stage = stages[usize::from(cell.over == Over::WebSocketTls)].clone();
        let at_once = at_once.clone();
        sessions.spawn(async move {
            let _turn = at_once.acquire_owned().await.unwrap();
            let begun = Instant::now();
            let client = Client { kind: cell.kind, version: cell.version, way: stage.way(cell.over) };
            let session = tokio::spawn(async move {
                contract_session::play(&stage, client, cell.over, &cell.tag()).await;
            });
            (n, session.await.map(|()| begun.elapsed()))
        });
    }
    let mut outcomes = BTreeMap::new();
    let mut failures = Vec::new();
    while let Some(ended) = sessions.join_next().await {
        let (n, outcome) = ended.unwrap();
        if outcome.is_err() {
            failures.push(cells[n].tag());
        }
        outcomes.insert(n, outcome.ok());
    }
    print(&cells, &outcomes);
    assert!(failures.is_empty(), "these sessions failed, see above why: {failures:?}");
    for stage in stages {
        let stage = Arc::into_inner(stage).expect("every session is over");
        assert!(stage.gateway.end(), "the gateway ends by itself, and in order, when it is asked to");
    }
}

/// Past the test's capture, so that a run that passes shows what it ran.
fn print(cells: &[Cell], outcomes: &BTreeMap<usize, Option<Duration>>) {
    let mut table = format!("\n{:<18}", "contract session");
    for over in Over::ALL {
        table += &format!("{over:>13}");
    }
    for kind in Kind::ALL {
        for version in [Version::V311, Version::V5] {
            table += &format!("\n{:<18}", format!("{kind:?} {version}"));
            for over in Over::ALL {
                let place = cells.iter().position(|c| c.kind == kind && c.version == version && c.over == over);
                table += &match place.map(|n| outcomes[&n]) {
                    Some(Some(took)) => format!("{:>11.1} s", took.as_secs_f64()),
                    Some(None) => format!("{:>13}", "FAILED"),
                    None => format!("{:>13}", "-"),
                };
            }
        }
    }
    table += "\nA dash: mosquitto's clients and rumqttc speak no WebSocket, or the client is not installed.\n";
    std::io::stderr().write_all(table.as_bytes()).unwrap();
}
