//! The courier on virtual time, with a receiver on a real socket that behaves as badly as it is told.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearthway_core::event_out::{EventOut, EventType};
use hearthway_core::id::{RetailerId, WebhookId};
use hearthway_core::model::Tenant;
use hearthway_core::time::{Span, Timestamp};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::address::Reach;
use super::receiver::{Heard, Receiver, Say};
use super::{Courier, Wire};
use crate::app::Rulebook;
use crate::clock::Clock;
use crate::engine::events::{EventRow, EventState, SecretSeed, WebhookKey, WebhookRow};
use crate::engine::{self, Engine};
use crate::store::codec::{self, Schema};
use crate::store::memory::MemoryStore;
use crate::store::{Commit, Store, Write};

const START: Timestamp = Timestamp(1_774_000_000_000);
/// Patience of a try in these tests: a receiver that stalls costs so much real time.
const PATIENCE: Duration = Duration::from_millis(250);

/// A clock that the test turns; who sleeps is woken by it.
pub(crate) struct TurnedClock(pub(crate) watch::Sender<Timestamp>);

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= at).await;
        })
    }
}

/// A gateway's engine with a courier, and one webhook.
struct Post {
    engine: Engine,
    clock: Arc<TurnedClock>,
    wire: Wire,
    courier: Courier,
    running: JoinHandle<()>,
    key: WebhookKey,
}

impl Post {
    async fn to(url: &str) -> Post {
        Post::over(url, Wire::new(Reach::LoopbackToo, None).unwrap().with_timeout(PATIENCE)).await
    }

    async fn over(url: &str, wire: Wire) -> Post {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(TurnedClock(watch::Sender::new(START)));
        let rulebook = Rulebook::open(store.clone()).unwrap();
        let settings = engine::Settings { shards: 1, ..engine::Settings::default() };
        let engine = Engine::start(settings, clock.clone(), store, rulebook).unwrap();
        let tenant = Tenant::Retailer(RetailerId::new("shop-a").unwrap());
        let key = WebhookKey { tenant, id: WebhookId::new("w").unwrap() };
        let courier = open(&engine, &wire);
        let running = run(&courier);
        let post = Post { engine, clock, wire, courier, running, key };
        post.set(url).await;
        post
    }

    /// Makes the webhook, or enables it again.
    async fn set(&self, url: &str) {
        let row = WebhookRow {
            url: url.to_owned(),
            types: EventType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect(),
            subject: None,
            seed: SecretSeed([7; 16]),
            former: None,
            disabled: None,
            created_at: START,
        };
        let writes = vec![Write::Put(self.key.row(), codec::encode(Schema::Webhook, &row))];
        self.engine.write(Commit { preconditions: Vec::new(), writes }).await.unwrap();
        self.courier.opened(&self.key, &row);
    }

    fn webhook(&self) -> WebhookRow {
        let bytes = self.engine.store().get(&self.key.row()).unwrap().unwrap();
        codec::decode(Schema::Webhook, &self.key.row(), &bytes).unwrap()
    }

    /// Events about so many subjects, so many each, as they come from one decision after the other.
    async fn tell(&self, subjects: usize, each: usize) {
        for n in 0..each {
            for subject in 0..subjects {
                self.tell_about(&format!("s-{subject}"), n).await;
            }
        }
    }

    async fn tell_about(&self, subject: &str, n: usize) {
        let now = self.clock.now();
        let cause: [&[u8]; 2] = [&n.to_be_bytes(), &now.0.to_be_bytes()];
        let (kind, data) = (EventType::OrderStatus, json!({"n": n}));
        let event = EventOut::of_tenant(&self.key.tenant, kind, subject, &cause, now, data);
        self.engine.tell(&[event]).await.unwrap();
    }

    /// Lets virtual time pass: from one instant at which something is due to the next, each when all
    /// that was due before is done.
    async fn pass(&self, span: Span) {
        let until = self.clock.now() + span;
        loop {
            self.quiet().await;
            match self.courier.next_due().filter(|due| *due <= until) {
                Some(due) => self.clock.0.send_modify(|now| *now = due.max(*now)),
                None => break,
            }
        }
        self.clock.0.send_replace(until);
        self.quiet().await;
    }

    /// Until nothing is under way and nothing is due.
    async fn quiet(&self) {
        let quiet = async {
            while !self.courier.is_quiet() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), quiet).await.expect("the courier comes to rest");
    }

    /// The gateway's courier dies, and another one begins with what is on disk.
    async fn restart(&mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
        self.courier = open(&self.engine, &self.wire);
        self.running = run(&self.courier);
    }

    fn rows(&self) -> Vec<EventRow> {
        let rows = self.engine.store().scan(&self.key.events(), None, 10_000).unwrap();
        rows.iter().map(|(key, bytes)| codec::decode(Schema::Event, key, bytes).unwrap()).collect()
    }

    fn in_state(&self, state: EventState) -> usize {
        self.rows().iter().filter(|row| row.state == state).count()
    }
}

fn open(engine: &Engine, wire: &Wire) -> Courier {
    Courier::open(engine.clone(), wire.clone(), Arc::new(|seed| std::array::from_fn(|at| seed.0[at % 16]))).unwrap()
}

fn run(courier: &Courier) -> JoinHandle<()> {
    let courier = courier.clone();
    tokio::spawn(async move { courier.run().await })
}

/// What a receiver must be able to rely on: nothing is missing, events about one subject come in their
/// order, and what comes again has the id and the bytes that it had.
fn all_in_order(heard: &[Heard], subjects: usize, each: usize) {
    let mut taken: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut bodies: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for heard in heard {
        let known = bodies.entry(heard.id()).or_insert(&heard.body);
        assert_eq!(*known, heard.body, "the same id, other bytes");
        if heard.was_taken && seen.insert(heard.id()) {
            taken.entry(heard.subject()).or_default().push(heard.event["data"]["n"].as_u64().unwrap());
        }
    }
    assert_eq!(taken.len(), subjects);
    for (subject, numbers) in taken {
        assert_eq!(numbers, (0..each as u64).collect::<Vec<_>>(), "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_for_a_day_misses_nothing_and_is_not_overrun() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = down.clone();
    let answer =
        move |_: usize, _: &Heard| if is_down.load(Ordering::Relaxed) { Say::HangUp } else { Say::Status(204) };
    let receiver = Receiver::start(answer).await;
    let post = Post::to(&receiver.url()).await;
    post.tell(30, 3).await;
    post.pass(Span::hours(12)).await;
    post.tell(30, 0).await;
    post.pass(Span::hours(12)).await;
    let tries = receiver.heard().len();
    println!("a receiver that was down for a day was asked {tries} times for 90 events about 30 subjects");
    assert!(tries < 500, "a receiver that is down is asked now and then, not {tries} times a day");
    assert!(tries > 200, "it is asked at least every few minutes: {tries}");
    assert_eq!((post.in_state(EventState::Waiting), post.in_state(EventState::Dead)), (90, 0));
    assert_eq!(post.courier.complaints().len(), 1);
    down.store(false, Ordering::Relaxed);
    post.pass(Span::minutes(10)).await;
    assert_eq!(post.in_state(EventState::Delivered), 90, "up again, it has all of it within minutes");
    all_in_order(&receiver.heard(), 30, 3);
    assert_eq!(post.courier.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_receiver_does_nothing_is_lost_or_out_of_order() {
    let elsewhere = Receiver::start(|_, _| Say::Status(200)).await;
    let there = elsewhere.url();
    // Five of seven tries fail, each kind of failure among them.
    let answer = move |n: usize, _: &Heard| match n % 14 {
        0 => Say::Status(500),
        1 => Say::With(302, "location", there.clone()),
        2 => Say::BreakOff,
        3 => Say::HangUp,
        4 => Say::With(429, "retry-after", "60".to_owned()),
        5 => Say::Status(404),
        6 => Say::With(308, "location", there.clone()),
        7 if n == 7 => Say::Stall,
        8 => Say::Huge,
        9 => Say::Status(301),
        _ => Say::Status(202),
    };
    let receiver = Receiver::start(answer).await;
    let mut post = Post::to(&receiver.url()).await;
    post.tell(12, 4).await;
    post.pass(Span::hours(1)).await;
    post.restart().await;
    post.pass(Span::hours(24)).await;
    let heard = receiver.heard();
    all_in_order(&heard, 12, 4);
    assert_eq!(post.in_state(EventState::Delivered), 48, "{:#?}", post.rows().last());
    assert!(heard.len() > 60, "{} tries", heard.len());
    assert!(elsewhere.heard().is_empty(), "a redirect is never followed");
    let errors: BTreeSet<String> = post.rows().iter().filter_map(|row| row.last.clone()?.error).collect();
    assert!(errors.is_empty(), "what was told has no error any more: {errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_subject_that_is_refused_holds_up_no_other_and_ends_as_a_dead_letter_that_can_be_replayed() {
    let refuses = Arc::new(AtomicBool::new(true));
    let still = refuses.clone();
    let answer = move |_: usize, heard: &Heard| match heard.subject() {
        "s-0" if still.load(Ordering::Relaxed) => Say::Status(422),
        _ => Say::Status(200),
    };
    let receiver = Receiver::start(answer).await;
    let post = Post::to(&receiver.url()).await;
    post.tell(3, 2).await;
    post.quiet().await;
    assert_eq!((post.in_state(EventState::Delivered), post.in_state(EventState::Waiting)), (4, 2));
    post.pass(Span::hours(71)).await;
    assert_eq!((post.in_state(EventState::Waiting), post.in_state(EventState::Dead)), (2, 0), "not before three days");
    let first = receiver.heard().iter().filter(|heard| heard.subject() == "s-0").count();
    assert!((60..120).contains(&first), "5 s, then rarer up to an hour: {first} tries");
    post.pass(Span::hours(6)).await;
    assert_eq!((post.in_state(EventState::Waiting), post.in_state(EventState::Dead)), (0, 2));
    let of_subject = |subject: &str| -> Vec<Heard> {
        receiver.heard().into_iter().filter(|heard| heard.subject() == subject).collect()
    };
    assert!(of_subject("s-0").iter().any(|heard| heard.event["data"]["n"] == 1), "the one behind it had its try");
    assert_eq!(post.courier.standing(&post.key).dead, 2);

    refuses.store(false, Ordering::Relaxed);
    assert_eq!(post.courier.replay(&post.key, START + Span::days(9), false).await.unwrap(), 0, "nothing is so late");
    assert_eq!(post.courier.replay(&post.key, START, false).await.unwrap(), 2);
    post.quiet().await;
    assert_eq!((post.in_state(EventState::Delivered), post.in_state(EventState::Dead)), (6, 0));
    all_in_order(&receiver.heard(), 3, 2);
    let told = receiver.heard().len();
    assert_eq!(post.courier.replay(&post.key, START, true).await.unwrap(), 6, "what was told, too");
    post.quiet().await;
    assert_eq!(receiver.heard().len(), told + 6);
    assert_eq!(post.courier.standing(&post.key).waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_told_nothing_until_its_webhook_is_put_again() {
    let is_gone = Arc::new(AtomicBool::new(true));
    let gone = is_gone.clone();
    let answer =
        move |_: usize, _: &Heard| if gone.load(Ordering::Relaxed) { Say::Status(410) } else { Say::Status(200) };
    let receiver = Receiver::start(answer).await;
    let mut post = Post::to(&receiver.url()).await;
    post.tell(1, 1).await;
    post.quiet().await;
    assert!(post.webhook().disabled.unwrap().1.contains("410"));
    post.tell(4, 1).await;
    post.pass(Span::days(4)).await;
    assert_eq!(receiver.heard().len(), 1, "it said that it wants no more");
    post.restart().await;
    post.pass(Span::hours(1)).await;
    assert_eq!((receiver.heard().len(), post.in_state(EventState::Waiting)), (1, 5));
    is_gone.store(false, Ordering::Relaxed);
    post.set(&receiver.url()).await;
    post.quiet().await;
    assert_eq!(post.in_state(EventState::Delivered), 5, "what came meanwhile waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_when_to_come_again_is_left_alone_until_then() {
    let waits = |n: usize, _: &Heard| match n {
        0..8 => Say::With(503, "retry-after", "7200".to_owned()),
        _ => Say::Status(200),
    };
    let receiver = Receiver::start(waits).await;
    let post = Post::to(&receiver.url()).await;
    post.tell(1, 1).await;
    post.quiet().await;
    // Whatever else comes: it is not about one event, the receiver has too much to do.
    post.tell(30, 1).await;
    post.pass(Span::seconds(7_199)).await;
    assert_eq!(receiver.heard().len(), 1);
    post.pass(Span::seconds(2)).await;
    assert_eq!(receiver.heard().len(), 2, "then it is asked by one event");
    let times: Vec<i64> =
        receiver.heard().iter().map(|heard| heard.headers["webhook-timestamp"].parse().unwrap()).collect();
    assert_eq!(times, [START.0 / 1_000, START.0 / 1_000 + 7_200], "each try is signed with its own time");
    post.pass(Span::days(1)).await;
    assert_eq!((receiver.heard().len(), post.in_state(EventState::Delivered)), (31 + 8, 31));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_has_only_so_many_tries_at_once() {
    let receiver = Receiver::start(|_, _| Say::Stall).await;
    let wire = Wire::new(Reach::LoopbackToo, None).unwrap().with_timeout(Duration::from_secs(600));
    let post = Post::over(&receiver.url(), wire).await;
    post.tell(30, 1).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while receiver.begun() < super::queue::IN_FLIGHT_PER_WEBHOOK_MAX && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    post.tell(30, 1).await;
    assert_eq!(receiver.begun(), super::queue::IN_FLIGHT_PER_WEBHOOK_MAX);
    // Others are told meanwhile.
    let well = Receiver::start(|_, _| Say::Status(200)).await;
    let tenant = Tenant::Retailer(RetailerId::new("shop-b").unwrap());
    let other = Post { key: WebhookKey { tenant, id: WebhookId::new("w").unwrap() }, ..post };
    other.set(&well.url()).await;
    other.tell(3, 1).await;
    well.until(3, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_webhook_leaves_nothing_behind() {
    let receiver = Receiver::start(|_, _| Say::Status(500)).await;
    let post = Post::to(&receiver.url()).await;
    post.tell(300, 1).await;
    post.engine.write(Commit { preconditions: Vec::new(), writes: vec![Write::Delete(post.key.row())] }).await.unwrap();
    post.courier.closed(&post.key).await.unwrap();
    post.tell(3, 1).await;
    post.pass(Span::days(4)).await;
    assert_eq!(post.rows().len(), 0);
}

/// A name server of the test's own: what each name leads to, and how often it was asked.
fn leads_to(addresses: &'static [&'static str], asked: &Arc<AtomicUsize>) -> super::Resolve {
    let asked = asked.clone();
    Arc::new(move |_, port| {
        asked.fetch_add(1, Ordering::Relaxed);
        let found = addresses.iter().map(|ip| std::net::SocketAddr::new(ip.parse().unwrap(), port)).collect();
        Box::pin(std::future::ready(Ok(found)))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_name_that_leads_inside_is_not_spoken_to() {
    let receiver = Receiver::start(|_, _| Say::Status(200)).await;
    for (addresses, word) in [
        (&["127.0.0.1"][..], "this machine"),
        (&["8.8.8.8", "10.0.0.1"], "private"),
        (&["169.254.169.254"], "metadata"),
        (&["::ffff:127.0.0.1"], "in disguise"),
        (&["64:ff9b::7f00:1"], "NAT64"),
        (&["100.64.0.1"], "address translation"),
        (&["224.0.0.1"], "multicast"),
        (&["0.0.0.0"], "this network"),
        (&["fd00:ec2::254"], "private"),
        (&[], "0 addresses"),
    ] {
        let asked = Arc::default();
        // Also where loopback is open: only this machine's own names lead to it.
        let wire = Wire::new(Reach::LoopbackToo, None).unwrap().with_resolve(leads_to(addresses, &asked));
        let post = Post::over("https://hooks.shop.example:8443/x", wire).await;
        post.tell(1, 1).await;
        post.quiet().await;
        let last = post.rows()[0].last.clone().unwrap();
        let error = last.error.unwrap();
        assert!(error.contains(word), "{addresses:?}: {error}");
        assert!(addresses.iter().all(|ip| !error.contains(ip)), "who asks learns no address: {error}");
        assert_eq!((last.status, asked.load(Ordering::Relaxed)), (None, 1));
    }
    assert!(receiver.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_a_receiver_is_known_by_an_authority_that_the_operator_named() {
    let folder = tempfile::tempdir().unwrap();
    let pki = crate::pki::Pki::at(folder.path());
    let now = crate::clock::SystemClock.now();
    let issued = pki.init(&["localhost".to_owned()], 30, now).unwrap();
    let receiver = Receiver::start_tls(|_, _| Say::Status(200), &issued.certificate, &issued.key).await;
    let url = format!("https://localhost:{}/x", receiver.address.port());
    let trusting = Wire::new(Reach::LoopbackToo, Some(&pki.authority().certificate)).unwrap();
    let post = Post::over(&url, trusting).await;
    post.tell(1, 1).await;
    post.quiet().await;
    assert_eq!(post.in_state(EventState::Delivered), 1, "{:#?}", post.rows());
    let strange = Post::over(&url, Wire::new(Reach::LoopbackToo, None).unwrap()).await;
    strange.tell(1, 1).await;
    strange.quiet().await;
    let error = strange.rows()[0].last.clone().unwrap().error.unwrap();
    assert!(error.starts_with("TLS: ") || error.contains("no authorities"), "{error}");
    let other_name = Post::over(
        &format!("https://127.0.0.1:{}/x", receiver.address.port()),
        Wire::new(Reach::LoopbackToo, Some(&pki.authority().certificate)).unwrap(),
    )
    .await;
    other_name.tell(1, 1).await;
    other_name.quiet().await;
    assert!(other_name.rows()[0].last.clone().unwrap().error.unwrap().starts_with("TLS: "));
    assert_eq!(receiver.heard().len(), 1);
    assert!(Wire::new(Reach::Public, Some(&issued.key)).is_err(), "a key is no certificate");
}

/// A queue by itself.
#[test]
fn an_event_that_is_queued_twice_is_taken_once() {
    let mut queue = super::queue::Queue::default();
    let tenant = Tenant::Retailer(RetailerId::new("shop-a").unwrap());
    let key = WebhookKey { tenant, id: WebhookId::new("w").unwrap() };
    queue.open(&key, false);
    let taken: Mutex<Vec<u64>> = Mutex::default();
    for n in 0..1_000 {
        let letter = crate::engine::events::Letter { webhook: key.clone(), n, subject: n % 10, next_at: START };
        queue.push(&letter, START);
        queue.push(&letter, START);
    }
    assert_eq!(queue.waiting(&key), 1_000, "twice is once");
    while let Some((_, n, subject)) = queue.take(START) {
        taken.lock().unwrap().push(n);
        queue.turned(&key, subject, n, super::queue::Turned::Delivered, START, 0);
    }
    assert_eq!(taken.into_inner().unwrap().len(), 1_000);
}
