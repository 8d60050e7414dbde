//! Plays a fleet against a gateway: one task and one connection per device.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearthway_core::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::SimClock;
use crate::customer::{Customer, Witness};
use crate::fleet::Fleet;
use crate::happening::Happening;
use crate::link::{Dial, Heard, Link, Protocol};
use crate::oracle::Oracle;
use crate::post::WINDOW;
use crate::session::{Credential, Session, Stage, Wish};
use crate::summary::{Summary, Tally};

/// Answers of the shop that wait for one device; it asks for one thing at a time.
const ANSWERS_QUEUE_MAX: usize = 16;
/// How long, on the machine, the gateway has to answer what is owed when the story is over.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether everything is settled.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// The gateway that a fleet is played against.
#[derive(Clone)]
pub struct Target {
    /// Host name or address of its device endpoint.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Which MQTT to speak.
    pub protocol: Protocol,
    /// Bootstrap secret per maker.
    pub bootstrap: BTreeMap<String, String>,
    /// Credentials of devices that exist already, by serial number.
    pub credentials: BTreeMap<String, Credential>,
    /// Told apart from other runs against the same gateway: `[a-z0-9]`, may be empty.
    pub tag: String,
    /// Whether the gateway runs on the clock that is given to [`run`]. Then devices stamp their
    /// messages and the oracle compares times; otherwise arrival time counts.
    pub shares_clock: bool,
    /// Looks into the gateway on the oracle's behalf.
    pub witness: Option<Arc<dyn Witness>>,
}

impl Target {
    /// A gateway on this machine, spoken to in MQTT 5, on its own clock.
    pub fn local(port: u16) -> Target {
        Target {
            host: "127.0.0.1".into(),
            port,
            protocol: Protocol::V5,
            bootstrap: BTreeMap::new(),
            credentials: BTreeMap::new(),
            tag: String::new(),
            shares_clock: false,
            witness: None,
        }
    }
}

/// How far the story is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Playing,
    Settling,
    Over,
}

/// What all devices write into.
struct Book {
    oracle: Oracle,
    tally: Tally,
}

/// What a device's task needs of the run.
#[derive(Clone)]
struct Surroundings {
    target: Arc<Target>,
    customer: Arc<dyn Customer>,
    clock: Arc<dyn SimClock>,
    events: mpsc::Sender<Happening>,
    book: Arc<Mutex<Book>>,
}

fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays a fleet and tells what came of it. The story starts at the clock's now and ends after
/// the fleet's length; a closed `events` receiver is no reason to stop. Dropping the future ends
/// every connection.
pub async fn run(
    fleet: Fleet,
    target: Target,
    customer: Arc<dyn Customer>,
    clock: Arc<dyn SimClock>,
    events: mpsc::Sender<Happening>,
) -> Summary {
    let began = Instant::now();
    let start = clock.now();
    let stage = Arc::new(Stage {
        seed: fleet.seed,
        start,
        tag: target.tag.clone(),
        stamps: target.shares_clock,
        causes: fleet.causes.clone(),
    });
    let book = Book { oracle: Oracle::new(&fleet, target.shares_clock), tally: Tally::new(&fleet) };
    let around = Surroundings {
        target: Arc::new(target),
        customer,
        clock: clock.clone(),
        events,
        book: Arc::new(Mutex::new(book)),
    };
    let (tell_act, act) = watch::channel(Act::Playing);
    let mut devices = JoinSet::new();
    for home in fleet.homes.iter().map(|home| Arc::new(home.clone())) {
        for device in home.devices.clone() {
            let credential = around.target.credentials.get(&device.serial).cloned();
            let secret = around.target.bootstrap.get(device.known.maker).cloned().filter(|_| credential.is_none());
            if let Some(credential) = &credential {
                open(&around.book).oracle.named(&device.serial, &credential.device);
            }
            let session = Session::new(home.clone(), device, stage.clone(), secret, credential);
            devices.spawn(play(session, around.clone(), act.clone()));
        }
    }
    drop(act);

    clock.sleep_until(start + fleet.length).await;
    let _ = tell_act.send(Act::Settling);
    settle(&around.book).await;
    let unseen = witness(&around).await;
    let _ = tell_act.send(Act::Over);
    let mut faults = 0;
    while let Some(ended) = devices.join_next().await {
        faults += ended.unwrap_or(0);
    }
    conclude(fleet, &around, unseen, start, began, faults)
}

/// Waits until nothing is owed, or the gateway has had its time.
async fn settle(book: &Mutex<Book>) {
    let deadline = Instant::now() + SETTLE_MAX;
    // What was already under way needs a moment to leave before the first look.
    tokio::time::sleep(SETTLE_LOOK * 4).await;
    while !open(book).oracle.is_settled() && Instant::now() < deadline {
        tokio::time::sleep(SETTLE_LOOK).await;
    }
}

/// Shows the oracle what the gateway knows. Gives how many devices could not be seen.
async fn witness(around: &Surroundings) -> u64 {
    let Some(witness) = &around.target.witness else { return 0 };
    let devices = open(&around.book).oracle.to_witness();
    let mut unseen = 0;
    for (serial, name) in devices {
        match witness.slots(&name).await {
            Ok(items) => open(&around.book).oracle.witnessed(&serial, &items),
            Err(_) => unseen += 1,
        }
    }
    unseen
}

fn conclude(
    fleet: Fleet,
    around: &Surroundings,
    unseen: u64,
    start: Timestamp,
    began: Instant,
    faults: u64,
) -> Summary {
    let mut book = open(&around.book);
    let empty = Book { oracle: Oracle::new(&fleet, false), tally: Tally::new(&fleet) };
    let book = std::mem::replace(&mut *book, empty);
    let mut summary = Summary {
        seed: fleet.seed,
        homes: fleet.homes.len() as u64,
        devices: fleet.devices() as u64,
        played: around.clock.now() - start,
        real_ms: began.elapsed().as_millis() as u64,
        faults,
        notes: fleet.notes.clone(),
        ..Summary::default()
    };
    if unseen > 0 {
        summary.notes.push(format!("{unseen} devices could not be seen over HTTP, so their reports were not checked"));
    }
    book.tally.fill(&fleet, &mut summary);
    (summary.findings, summary.findings_left_out) = book.oracle.conclude();
    summary
}

/// Waits for what is heard; for ever where there is no connection.
async fn hear(heard: &mut Option<mpsc::Receiver<Heard>>) -> Heard {
    match heard {
        Some(queue) => queue.recv().await.unwrap_or(Heard::Closed { why: "the connection ended".into() }),
        None => std::future::pending().await,
    }
}

async fn sleep_until(clock: &dyn SimClock, at: Option<Timestamp>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Connects one session to the network, the clock, the shop and the book, until the story is over.
async fn play(mut session: Session, around: Surroundings, mut act: watch::Receiver<Act>) -> u64 {
    let (answer, mut answers) = mpsc::channel(ANSWERS_QUEUE_MAX);
    let mut link: Option<Link> = None;
    let mut heard: Option<mpsc::Receiver<Heard>> = None;
    let mut wishes = Vec::new();
    loop {
        tokio::select! {
            it = hear(&mut heard) => {
                if matches!(it, Heard::Closed { .. }) {
                    (link, heard) = (None, None);
                }
                session.hear(around.clock.now(), it, &mut wishes);
            }
            Some(result) = answers.recv() => session.confirmed(around.clock.now(), result, &mut wishes),
            () = sleep_until(&*around.clock, session.wakes_at()) => session.wake(around.clock.now(), &mut wishes),
            changed = act.changed() => {
                let stage = *act.borrow_and_update();
                match stage {
                    Act::Settling if changed.is_ok() => session.drain(around.clock.now(), &mut wishes),
                    Act::Playing | Act::Settling | Act::Over => break,
                }
            }
        }
        for wish in wishes.drain(..) {
            fulfil(wish, &session, &around, &mut link, &mut heard, &answer).await;
        }
    }
    if let Some(link) = link {
        link.leave();
    }
    session.faults_done()
}

async fn fulfil(
    wish: Wish,
    session: &Session,
    around: &Surroundings,
    link: &mut Option<Link>,
    heard: &mut Option<mpsc::Receiver<Heard>>,
    answer: &mpsc::Sender<Result<(), String>>,
) {
    match wish {
        Wish::Open(identity) => {
            let target = &around.target;
            let (new, queue) = Link::open(Dial {
                host: target.host.clone(),
                port: target.port,
                protocol: target.protocol,
                client_id: identity.client_id,
                username: identity.username,
                password: identity.password,
                will: identity.will,
                clean: identity.clean,
                window: WINDOW,
            });
            (*link, *heard) = (Some(new), Some(queue));
        }
        // A request that a dying link does not take is heard as `Closed` next, and made again.
        Wish::Subscribe(filter) => {
            let _ = link.as_mut().map(|link| link.subscribe(&filter));
        }
        Wish::Publish { topic, payload, ticket } => {
            let _ = link.as_mut().map(|link| link.publish(&topic, payload, ticket));
        }
        Wish::Leave => {
            *heard = None;
            if let Some(link) = link.take() {
                link.leave();
            }
        }
        Wish::Cut => {
            if let Some(mut link) = link.take() {
                link.cut();
            }
            *heard = None;
        }
        Wish::Confirm(code) => {
            let (customer, home, answer) = (around.customer.clone(), session.home().clone(), answer.clone());
            tokio::spawn(async move {
                let result = customer.confirm(&code, &home).await;
                // The session is over when nobody listens any more.
                let _ = answer.send(result).await;
            });
        }
        Wish::Advance { order, rev, state } => {
            let customer = around.customer.clone();
            // The device sees the result as a new state of its order.
            tokio::spawn(async move {
                if let Err(message) = customer.advance(&order, rev, state).await {
                    tracing::warn!(order.id = %order, state, "The shop could not move an order on: {message}");
                }
            });
        }
        Wish::Named(name) => open(&around.book).oracle.named(session.serial(), &name),
        Wish::Fact(fact) => {
            let mut book = open(&around.book);
            book.tally.observed(&session.home().id, session.serial(), &fact);
            book.oracle.observe(session.serial(), around.clock.now(), fact);
        }
        Wish::Tell(happening) => {
            open(&around.book).tally.happened(&happening);
            // A host that has seen enough drops its receiver; the story goes on.
            let _ = around.events.send(happening).await;
        }
    }
}
