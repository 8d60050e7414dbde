//! One home in a race: its device over MQTT, the customer's app and the shop's counter over HTTP, each a
//! task that follows its own script and knows of the others only what the gateway tells.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::book::{Attempt, Book, Done, Outcome};
use super::door::{Door, Told, Window};
use super::script::{Act, Channel, Choice, Pace, Story};
use crate::gateway::STEP_SECONDS_MAX;

/// Messages of a client's own queue: one is in flight at a time, and a burst of what came is acknowledged.
const CLIENT_QUEUE_MESSAGES: usize = 64;
/// How long a device that left stays away, and waits for a gateway that was killed.
const AWAY: Duration = Duration::from_millis(30);
/// After which nothing is offered any more.
const SILENCE: Duration = Duration::from_secs(6);
/// Between two looks at something that comes by itself.
const LOOK: Duration = Duration::from_millis(40);

pub struct Home {
    pub seed: u64,
    pub story: Story,
    pub device: String,
    secret: String,
    pub door: Door,
    pub book: Mutex<Book>,
    offered: watch::Sender<bool>,
    /// The revision of the order that its device has to hear of before it may end.
    goal: watch::Sender<Option<u32>>,
}

/// How it stands at the end, as the shop reads it.
pub struct Ending {
    pub home: Arc<Home>,
    pub offer: Value,
    pub order: Option<Value>,
}

/// Something that the device says until it is acknowledged.
struct Owed {
    id: String,
    topic: &'static str,
    body: Value,
    from: Option<Duration>,
    accept: Option<(u32, Choice, Option<String>)>,
}

impl Home {
    pub fn new(seed: u64, story: Story, device: String, secret: String, door: Door) -> Home {
        let (offered, goal) = (watch::Sender::new(false), watch::Sender::new(None));
        Home { seed, story, device, secret, door, book: Mutex::default(), offered, goal }
    }

    pub fn offered(&self) -> watch::Receiver<bool> {
        self.offered.subscribe()
    }

    /// Lives its story; `go` says when those begin whose offer can wait.
    pub async fn live(self: Arc<Self>, go: watch::Receiver<bool>) -> Ending {
        let device = tokio::spawn(Arc::clone(&self).device(go.clone()));
        let elsewhere = [Channel::App, Channel::Store]
            .map(|channel| tokio::spawn(Arc::clone(&self).elsewhere(channel, go.clone())));
        for channel in elsewhere {
            channel.await.unwrap();
        }
        let mut settled = self.goal.subscribe();
        // The device has said all that it had to.
        let is_settled = tokio::time::timeout(STEP_SECONDS_MAX, settled.wait_for(|goal| goal.is_some())).await.is_ok();
        assert!(is_settled, "{}", self.told("the device is never through with its script"));
        let Some(offer) = self.book.lock().unwrap().offer.clone() else {
            self.goal.send_replace(Some(0));
            device.await.unwrap();
            return Ending { home: self, offer: Value::Null, order: None };
        };
        let path = format!("/v1/offers/{offer}");
        let is_open = |offer: &Value| {
            !matches!(offer["state"].as_str().unwrap(), "accepted" | "declined" | "expired" | "withdrawn")
        };
        let ends_soon = self.story.pace == Pace::Fleeting;
        let offer = self.until(&path, |offer| !(ends_soon && is_open(offer))).await;
        let mut order = None;
        if let Some(id) = offer["order"].as_str() {
            let path = format!("/v1/orders/{id}");
            let told = self.until(&path, |order| !(ends_soon && order["state"] == "confirmed")).await;
            self.goal.send_replace(Some(u32::try_from(told["rev"].as_u64().unwrap()).unwrap()));
            order = Some(told);
        } else {
            self.goal.send_replace(Some(0));
        }
        let heard = tokio::time::timeout(STEP_SECONDS_MAX, device).await;
        assert!(heard.is_ok(), "{}", self.told("the device never hears how its order stands"));
        heard.unwrap().unwrap();
        Ending { home: self, offer, order }
    }

    /// What happened here, for whoever reads a failure.
    pub fn told(&self, what: &str) -> String {
        let book = self.book.lock().unwrap();
        format!("{what}\n{} of seed {:#x}: {:?}\n{}", self.device, self.seed, self.story, book.lines.join("\n"))
    }

    async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let from = self.door.now();
        loop {
            let told = self.door.get(path).await;
            if is_so(&told) {
                return told;
            }
            assert!(self.door.now() - from < STEP_SECONDS_MAX, "{}", self.told(&format!("{path} stays {told}")));
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn begin(&self, mut go: watch::Receiver<bool>) {
        self.offered.subscribe().wait_for(|offered| *offered).await.unwrap();
        if self.story.pace != Pace::Fleeting {
            go.wait_for(|go| *go).await.unwrap();
        }
    }

    /// The app or the counter.
    async fn elsewhere(self: Arc<Self>, channel: Channel, go: watch::Receiver<bool>) {
        self.begin(go).await;
        for (n, (pause, act)) in self.story.scripts[channel as usize].iter().enumerate() {
            tokio::time::sleep(*pause).await;
            self.acts(channel, *act, format!("{}-{}-{n}", self.device, channel.word())).await;
        }
    }

    async fn acts(&self, channel: Channel, act: Act, key: String) {
        let word = channel.word();
        let Some(offer) = self.book.lock().unwrap().offer.clone() else { return };
        let path = format!("/v1/offers/{offer}");
        if channel == Channel::App {
            // The app shows what is true when it is opened; the counter sees what the customer shows.
            let seen = self.door.get(&path).await;
            self.book.lock().unwrap().told(false, &seen);
        }
        if let Act::Accept(choice) = act {
            let (rev, alternative) = self.pick(choice);
            let body = json!({"rev": rev, "answer": "accept", "channel": word, "choice": chosen(choice, alternative.as_deref())});
            let told = self.door.call("POST", &format!("{path}/answer"), Some(&body), &key).await;
            let order = told.word("order");
            let outcome = match (told.is_success(), &order) {
                (true, Some(order)) => Outcome::Order(order.clone()),
                _ => Outcome::Refused {
                    code: told.word("code").unwrap_or_default(),
                    order: order.clone(),
                    may_be_ours: told.tries > 1,
                },
            };
            let mut book = self.book.lock().unwrap();
            book.note(told.window.from, format!("{word}: accept {rev} {choice:?} {alternative:?}"));
            book.note(told.window.to, format!("{word}: → {} {outcome:?}", told.status));
            order.iter().for_each(|order| book.order_named(word, order));
            book.attempts.push(Attempt { channel, rev, choice, alternative, window: told.window, outcome });
            return;
        }
        let (verb, body) = match act {
            Act::Accept(_) | Act::Leave => return,
            Act::Decline => {
                let rev = self.book.lock().unwrap().last_rev;
                (format!("{path}/answer"), json!({"rev": rev, "answer": "decline", "channel": word}))
            }
            Act::TakeBack => (format!("{path}/withdraw"), json!({"reason": "recalled"})),
            Act::Cancel | Act::Withdraw | Act::Ship => {
                let Some(order) = self.book.lock().unwrap().order() else { return };
                let path = format!("/v1/orders/{order}");
                match act {
                    Act::Ship => {
                        let rev = self.door.get(&path).await["rev"].as_u64().unwrap() + 1;
                        (format!("{path}/status"), json!({"rev": rev, "state": "shipped"}))
                    }
                    Act::Withdraw => (format!("{path}/withdraw"), json!({"channel": word})),
                    _ => (format!("{path}/cancel"), json!({"channel": word})),
                }
            }
        };
        let told = self.door.call("POST", &verb, Some(&body), &key).await;
        self.did(channel, act, &told);
    }

    fn did(&self, channel: Channel, act: Act, told: &Told) {
        let mut book = self.book.lock().unwrap();
        let word = channel.word();
        book.note(told.window.from, format!("{word}: {act:?}"));
        let state = told.word("state").unwrap_or_default();
        book.note(
            told.window.to,
            format!("{word}: → {} {state} {}", told.status, told.word("code").unwrap_or_default()),
        );
        if let Some(order) = told.word("order") {
            book.order_named(word, &order);
        }
        if told.is_success() {
            book.done.push(Done { channel, act, window: told.window, state });
        }
    }

    /// Which revision is answered, and which alternative is meant.
    fn pick(&self, choice: Choice) -> (u32, Option<String>) {
        let book = self.book.lock().unwrap();
        let rev = if choice.is_behind { book.last_rev.saturating_sub(1).max(1) } else { book.last_rev };
        let quote = book.on_device.get(&rev).or_else(|| book.in_app.get(&rev));
        let other = quote.and_then(|quote| quote.alternatives.first()).map(|(id, ..)| id.clone());
        (rev, other.filter(|_| choice.alternative))
    }

    /// The device: it wears, is offered something, and answers.
    async fn device(self: Arc<Self>, go: watch::Receiver<bool>) {
        let mut owes: VecDeque<Owed> = VecDeque::new();
        let mut said = 0;
        let mut owe = |owes: &mut VecDeque<Owed>, topic, body, accept| {
            said += 1;
            owes.push_back(Owed { id: format!("m-{said}"), topic, body, from: None, accept });
        };
        for used in [590, 612] {
            owe(&mut owes, "up/slot", json!({"slot": "air_filter", "kind": "usage", "used": used, "unit": "h"}), None);
        }
        let mut script: VecDeque<(Duration, Act)> = self.story.scripts[Channel::Device as usize].clone().into();
        let begins = self.begin(go);
        tokio::pin!(begins);
        let mut next_at = None;
        let mut silent_at = None;
        let mut goal = self.goal.subscribe();
        'connected: loop {
            let (client, mut events) = self.connect();
            let mut sent = None;
            loop {
                let is_quiet = owes.is_empty() && script.is_empty();
                if is_quiet && goal.borrow().is_none() {
                    self.goal.send_replace(Some(u32::MAX));
                }
                if is_quiet && self.has_heard(*goal.borrow()) {
                    return;
                }
                if sent.is_none()
                    && let Some(owed) = owes.front_mut()
                {
                    owed.from.get_or_insert_with(|| self.door.now());
                    let payload = json!({"v": "1.0", "id": owed.id, "body": owed.body}).to_string();
                    let topic = format!("chan/v1/acme/{}/{}", self.device, owed.topic);
                    if client.publish(topic, QoS::AtLeastOnce, false, payload).await.is_err() {
                        break;
                    }
                    sent = Some(None);
                }
                let event = tokio::select! {
                    event = events.poll() => event,
                    () = &mut begins, if next_at.is_none() => {
                        next_at = Some(tokio::time::Instant::now() + script.front().map_or(Duration::ZERO, |(pause, _)| *pause));
                        continue;
                    }
                    () = sleep_until(next_at), if next_at.is_some() && !script.is_empty() => {
                        let (_, act) = script.pop_front().unwrap();
                        next_at = Some(tokio::time::Instant::now() + script.front().map_or(Duration::ZERO, |(pause, _)| *pause));
                        if act == Act::Leave {
                            drop((client, events));
                            tokio::time::sleep(AWAY).await;
                            continue 'connected;
                        }
                        if let Some((topic, body, accept)) = self.says(act) {
                            owe(&mut owes, topic, body, accept);
                        }
                        continue;
                    }
                    _ = goal.changed() => continue,
                    () = sleep_until(silent_at), if silent_at.is_some() => {
                        // On a busy machine an offer may end before it is delivered: then there is no story.
                        silent_at = None;
                        if self.book.lock().unwrap().offer.is_none() {
                            script.clear();
                            self.offered.send_replace(true);
                        }
                        continue;
                    }
                };
                match event {
                    Ok(Event::Outgoing(Outgoing::Publish(packet))) => sent = Some(Some(packet)),
                    Ok(Event::Incoming(Packet::PubAck(ack))) if sent == Some(Some(ack.pkid)) => {
                        self.acknowledged(owes.pop_front().unwrap());
                        if owes.is_empty() && self.book.lock().unwrap().offer.is_none() {
                            silent_at = Some(tokio::time::Instant::now() + SILENCE);
                        }
                        sent = None;
                    }
                    Ok(Event::Incoming(Packet::Publish(heard))) => {
                        self.hears(&heard.topic, &serde_json::from_slice(&heard.payload).unwrap());
                        // Only now: a device that leaves with half of what came unread hears it again.
                        client.try_ack(&heard).unwrap();
                    }
                    Ok(_) => {}
                    // The gateway died; what is not acknowledged is sent to the next one.
                    Err(_) => break,
                }
            }
            tokio::time::sleep(AWAY).await;
        }
    }

    fn connect(&self) -> (AsyncClient, rumqttc::EventLoop) {
        let (host, port) = self.door.mqtt();
        let mut options = MqttOptions::new(&self.device, host, port);
        options.set_credentials(format!("acme/{}", self.device), &self.secret).set_manual_acks(true);
        let (client, events) = AsyncClient::new(options, CLIENT_QUEUE_MESSAGES);
        client.try_subscribe(format!("chan/v1/acme/{}/down/#", self.device), QoS::AtLeastOnce).unwrap();
        (client, events)
    }

    #[allow(clippy::type_complexity, reason = "what is owed, in parts")]
    fn says(&self, act: Act) -> Option<(&'static str, Value, Option<(u32, Choice, Option<String>)>)> {
        let (offer, order) = {
            let book = self.book.lock().unwrap();
            (book.offer.clone()?, book.order())
        };
        match act {
            Act::Accept(choice) => {
                let (rev, alternative) = self.pick(choice);
                let body = json!({"offer": offer, "rev": rev, "answer": "accept", "choice": chosen(choice, alternative.as_deref())});
                Some(("up/offer/answer", body, Some((rev, choice, alternative))))
            }
            Act::Decline => {
                let rev = self.book.lock().unwrap().last_rev;
                Some(("up/offer/answer", json!({"offer": offer, "rev": rev, "answer": "decline"}), None))
            }
            Act::Cancel => Some(("up/order", json!({"order": order?, "op": "cancel"}), None)),
            Act::Withdraw => Some(("up/order", json!({"order": order?, "op": "withdraw"}), None)),
            Act::Leave | Act::TakeBack | Act::Ship => None,
        }
    }

    fn acknowledged(&self, owed: Owed) {
        let window = Window { from: owed.from.unwrap(), to: self.door.now() };
        let mut book = self.book.lock().unwrap();
        book.note(window.from, format!("device: {} {} {}", owed.id, owed.topic, owed.body));
        book.note(window.to, format!("device: {} is acknowledged", owed.id));
        if owed.accept.is_none() {
            book.not_wanted_on_device.push(window);
        }
        if let Some((rev, choice, alternative)) = owed.accept {
            let refusal = book.refusals.remove(&owed.id);
            let outcome =
                refusal.map_or(Outcome::Taken, |code| Outcome::Refused { code, order: None, may_be_ours: false });
            let n = book.attempts.len();
            book.said_by_device.insert(owed.id, n);
            book.attempts.push(Attempt { channel: Channel::Device, rev, choice, alternative, window, outcome });
        }
    }

    fn hears(&self, topic: &str, envelope: &Value) {
        let body = &envelope["body"];
        let at = self.door.now();
        let mut book = self.book.lock().unwrap();
        book.note(at, format!("device hears {} {}", topic.rsplit('/').next().unwrap(), brief(body)));
        if topic.ends_with("down/offer") {
            if body["op"] == "put" {
                book.told(true, &body["offer"]);
                drop(book);
                self.offered.send_replace(true);
            } else {
                book.taken_back = Some(body["reason"].as_str().unwrap().to_owned());
            }
        } else if topic.ends_with("down/order") {
            let rev = u32::try_from(body["rev"].as_u64().unwrap()).unwrap();
            book.order_named("device", body["order"].as_str().unwrap());
            let state = body["state"].as_str().unwrap().to_owned();
            book.order_on_device.push((rev, state, body["total"]["minor"].as_i64().unwrap()));
        } else if topic.ends_with("down/error") {
            let (id, code) = (body["ref"]["id"].as_str().unwrap(), body["code"].as_str().unwrap());
            book.refused(id, code);
        }
    }

    /// Whether its device knows the order as it stands.
    fn has_heard(&self, goal: Option<u32>) -> bool {
        let book = self.book.lock().unwrap();
        goal.is_some_and(|goal| goal == 0 || book.order_on_device.iter().any(|(rev, ..)| *rev == goal))
    }
}

fn brief(body: &Value) -> String {
    match body["op"] == "put" {
        true => format!("put rev {} {} {}", body["offer"]["rev"], body["offer"]["sold_by"], body["offer"]["price"]),
        false => body.to_string(),
    }
}

fn chosen(choice: Choice, alternative: Option<&str>) -> Value {
    let mut json = json!({"qty": choice.qty, "fulfil": if choice.collect { "collect" } else { "deliver" }});
    if choice.collect {
        json["store"] = "st-1".into();
    }
    if let Some(alternative) = alternative {
        json["alternative"] = alternative.into();
    }
    json
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
