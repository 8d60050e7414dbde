//! The life of the link: connect, subscribe, speak, and all of it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::acks::Acks;
use super::arrivals::Arrivals;
use super::house::{House, State};
use super::line::{Dial, Fate, Happening, Heard, Letter, Line, Place, Welcome};
use super::metrics as names;
use crate::mqtt::mailbox::{Outgoing, Row};

/// Seconds between pings: a broker that is gone is noticed within two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long a publish may wait for its acknowledgement, and the line for any sign of life, before
/// the client is thrown away and built again.
const STALL: Duration = Duration::from_secs(30);
/// How long a broker may take to answer CONNECT and SUBSCRIBE.
const GREETING_SECONDS_MAX: Duration = Duration::from_secs(15);
/// The first pause before a new try, and the longest. Each is drawn between its half and its
/// whole, so that a hundred gateways do not come back at once.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that lived as long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(10);
/// How long the end waits for what was let in to be committed.
const SETTLE_SECONDS_MAX: Duration = Duration::from_secs(2);
/// Bytes of a PUBLISH beside topic, payload and trace: header, ids, lengths, properties.
const PUBLISH_BYTES_BESIDE: usize = 96;

/// The filters that the link subscribes, each below the group where there is one.
pub fn filters(group: &str) -> Vec<String> {
    let prefix = if group.is_empty() { String::new() } else { format!("$share/{group}/") };
    let below = ["+/+/presence", "+/+/desc", "+/+/up/#", "+/_prov/+/req"];
    below.iter().map(|below| format!("{prefix}chan/v1/{below}")).collect()
}

/// How the gateway connects to a place.
pub fn dial(house: &House, place: Place) -> Dial {
    let settings = &house.settings;
    Dial {
        place,
        client_id: settings.client_id.clone(),
        credentials: settings.credentials.clone(),
        session_seconds: Some(settings.session_seconds),
        keep_alive: KEEP_ALIVE,
        window: settings.in_flight_max,
        receive_max: settings.receive_max,
    }
}

/// Keeps the link up until the gateway closes. `on_connect` is told of each connection.
pub async fn run(house: Arc<House>, dial: Dial, on_connect: watch::Sender<u64>, mut closing: watch::Receiver<bool>) {
    let mut pause = PAUSE_FIRST;
    let mut tries: u64 = 0;
    loop {
        let since = Instant::now();
        let ended = Connection::open(house.clone(), &dial).serve(&on_connect, &mut closing).await;
        house.outgo.close();
        let Err(why) = ended else { return };
        let why = house.reason_of(why);
        counter!(names::LOST).increment(1);
        if since.elapsed() >= STEADY {
            (pause, tries) = (PAUSE_FIRST, 0);
        }
        tries += 1;
        let wait = pause.mul_f64(0.5 + (crate::engine::entropy::draw() >> 12) as f64 / (1u64 << 53) as f64);
        // A broker that is away for a night is not a thousand lines of log.
        if tries.is_power_of_two() {
            tracing::warn!(
                tries,
                "No connection to the broker {}: {why}; trying again in {} ms. What devices acknowledge waits there, what is said to them waits here",
                house.settings.address,
                wait.as_millis()
            );
        }
        house.set_state(State::Down(why));
        tokio::select! {
            () = sleep(wait) => {}
            () = closes(&mut closing) => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One connection, from the first byte to the last.
struct Connection {
    house: Arc<House>,
    line: Line,
    events: tokio::sync::mpsc::Receiver<Happening>,
    acks: Arc<Acks>,
    arrivals: JoinHandle<()>,
    window: usize,
    packet_bytes_max: usize,
    /// In flight by ticket: the first is the oldest.
    flights: BTreeMap<u64, Flight>,
    next_ticket: u64,
}

struct Flight {
    row: Option<Row>,
    since: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What is half read comes again: it was not acknowledged.
        self.arrivals.abort();
        for row in self.flights.values().filter_map(|flight| flight.row.as_ref()) {
            counter!(names::UNSETTLED, "reason" => "connection_lost").increment(1);
            self.house.outgo.turn_away(&row.device);
        }
    }
}

impl Connection {
    fn open(house: Arc<House>, dial: &Dial) -> Connection {
        let (line, Heard { events, messages }) = Line::open(dial);
        let acks = Arc::new(Acks::new(line.acknowledger()));
        let arrivals = tokio::spawn(Arrivals::new(house.clone(), acks.clone()).run(messages));
        Connection {
            house,
            line,
            events,
            acks,
            arrivals,
            window: 0,
            packet_bytes_max: usize::MAX,
            flights: BTreeMap::new(),
            next_ticket: 1,
        }
    }

    /// Serves until the gateway closes (`Ok`) or the connection ends.
    async fn serve(
        &mut self,
        on_connect: &watch::Sender<u64>,
        closing: &mut watch::Receiver<bool>,
    ) -> Result<(), String> {
        let greeted = tokio::select! {
            greeted = timeout(GREETING_SECONDS_MAX, self.greet()) => greeted,
            () = closes(closing) => return Ok(()),
        };
        let welcome = greeted.map_err(|_| "the broker does not answer CONNECT or SUBSCRIBE".to_owned())??;
        self.begin(welcome);
        on_connect.send_modify(|n| *n += 1);
        let acks = self.acks.clone();
        let house = self.house.clone();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill()?;
            tokio::select! {
                event = self.events.recv() => self.settle(event.unwrap_or_else(gone))?,
                () = house.outgo.rung() => {}
                why = acks.failure() => {
                    return Err(format!("a message could not be made durable ({why}); the broker sends it again"));
                }
                _ = ticks.tick() => self.check_progress()?,
                () = closes(closing) => {
                    self.leave().await;
                    return Ok(());
                }
            }
        }
    }

    /// CONNECT and SUBSCRIBE. The subscription is made at each connection, also where the broker
    /// remembers the session: a gateway may have died between the two.
    async fn greet(&mut self) -> Result<Welcome, String> {
        let welcome = loop {
            match self.events.recv().await.unwrap_or_else(gone) {
                Happening::Open(welcome) => break welcome,
                Happening::Closed { why } => return Err(why),
                Happening::Subscribed(_) | Happening::Done { .. } => {}
            }
        };
        let group = &self.house.settings.group;
        if !group.is_empty() && !welcome.has_shared {
            return Err(format!("it has no shared subscriptions, so there is no group `{group}`; set `group = \"\"`"));
        }
        let filters = filters(group);
        self.line.subscribe(&filters).map_err(|gone| gone.to_string())?;
        loop {
            match self.events.recv().await.unwrap_or_else(gone) {
                Happening::Subscribed(granted) => {
                    let refused = filters.iter().zip(&granted).find(|(_, granted)| !**granted);
                    return match refused {
                        Some((filter, _)) => Err(format!("it does not let the gateway subscribe `{filter}`")),
                        None if granted.len() == filters.len() => Ok(welcome),
                        None => Err("it answers a subscription that nobody made".to_owned()),
                    };
                }
                Happening::Closed { why } => return Err(why),
                Happening::Open(_) | Happening::Done { .. } => {}
            }
        }
    }

    fn begin(&mut self, welcome: Welcome) {
        self.window = welcome.window;
        self.packet_bytes_max =
            welcome.packet_bytes_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        counter!(names::CONNECTS).increment(1);
        self.house.set_state(State::Up);
        self.house.outgo.open();
        let session = if welcome.session_present { "the session of before goes on" } else { "a new session" };
        tracing::info!("Connected to the broker {}: {session}", self.house.settings.address);
        // What was in flight, and what was decided meanwhile, comes from the outbox: see `fill`.
    }

    /// Publishes what waits, as far as the window goes.
    fn fill(&mut self) -> Result<(), String> {
        while self.flights.len() < self.window
            && let Some(outgoing) = self.house.outgo.next()
        {
            self.put(outgoing)?;
        }
        for device in self.house.outgo.take_turned_away() {
            self.house.intake.reachable(&device);
        }
        Ok(())
    }

    fn put(&mut self, outgoing: Outgoing) -> Result<(), String> {
        let Outgoing { row, topic, payload, qos, expires_at, trace, .. } = outgoing;
        let left = expires_at.map(|at| (at - self.house.intake.now()).0);
        if left.is_some_and(|milliseconds| milliseconds <= 0) {
            counter!(names::UNSETTLED, "reason" => "expired").increment(1);
            self.let_go(row.as_ref()); // the outbox sees by itself that it has expired
            return Ok(());
        }
        if topic.len() + payload.len() + trace.len() + PUBLISH_BYTES_BESIDE > self.packet_bytes_max {
            // This broker can never take it; waiting would only block what comes after it.
            tracing::warn!(bytes = payload.len(), "Dropped a message that is larger than the broker takes");
            counter!(names::MESSAGES_DROPPED, "reason" => "too_large").increment(1);
            self.delivered(row.as_ref());
            return Ok(());
        }
        let mut user = vec![("v".to_owned(), "1.0".to_owned())];
        if !trace.is_empty() {
            user.push(("trace".to_owned(), trace.to_string()));
        }
        let letter = Letter {
            topic: topic.to_string(),
            payload: payload.to_vec(),
            qos,
            expiry_seconds: left.map(|milliseconds| u32::try_from(milliseconds / 1_000 + 1).unwrap_or(u32::MAX)),
            user,
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.flights.insert(ticket, Flight { row, since: Instant::now() });
        counter!(names::MESSAGES_OUT).increment(1);
        self.line.publish(letter, ticket).map_err(|gone| gone.to_string())
    }

    /// What the broker said of our publishes.
    fn settle(&mut self, event: Happening) -> Result<(), String> {
        let (ticket, fate) = match event {
            Happening::Done { ticket, fate } => (ticket, fate),
            Happening::Closed { why } => return Err(why),
            Happening::Open(_) | Happening::Subscribed(_) => return Ok(()),
        };
        let Some(Flight { row, since }) = self.flights.remove(&ticket) else { return Ok(()) };
        match fate {
            Fate::Taken | Fate::Written => self.delivered(row.as_ref()),
            Fate::NobodyListens => self.unsettled(row.as_ref(), since, "nobody_listens"),
            Fate::Refused(why) => {
                if row.is_some() {
                    tracing::warn!("The broker refuses what the gateway publishes: {why}; it stays in the outbox");
                }
                self.unsettled(row.as_ref(), since, "refused");
            }
        }
        Ok(())
    }

    fn delivered(&self, row: Option<&Row>) {
        if let Some(row) = row {
            self.house.intake.delivered(&row.device, row.n);
        }
        self.let_go(row);
    }

    /// The row stays in the outbox until its device says something again, if it has not since.
    fn unsettled(&self, row: Option<&Row>, sent: Instant, reason: &'static str) {
        let Some(Row { device, .. }) = row else { return };
        counter!(names::UNSETTLED, "reason" => reason).increment(1);
        let has_come = self.house.ways.found_nobody(device, sent, Instant::now());
        self.let_go(row);
        if has_come {
            self.house.outgo.turn_away(device);
        }
    }

    fn let_go(&self, row: Option<&Row>) {
        if let Some(row) = row {
            self.house.outgo.let_go(row.n);
        }
    }

    /// Throws the client away when nothing moves: the library can wedge itself on a packet id.
    fn check_progress(&self) -> Result<(), String> {
        // Where the line has ended, its word on why is still to be heard.
        if self.arrivals.is_finished() && self.events.is_empty() {
            return Err("the reading of its messages ended unexpectedly".to_owned());
        }
        if self.flights.first_key_value().is_some_and(|(_, oldest)| oldest.since.elapsed() > STALL) {
            return Err(format!("it did not acknowledge a publish within {} s", STALL.as_secs()));
        }
        if self.line.silent_for() > STALL {
            return Err(format!("nothing moved for {} s", STALL.as_secs()));
        }
        Ok(())
    }

    /// Lets what was read be committed and acknowledged, then says good-bye. The session stays.
    async fn leave(&mut self) {
        self.house.outgo.close();
        self.arrivals.abort();
        let deadline = Instant::now() + SETTLE_SECONDS_MAX;
        while !(self.acks.are_settled() && self.flights.is_empty()) && Instant::now() < deadline {
            match timeout(Duration::from_millis(20), self.events.recv()).await {
                Ok(Some(event)) => {
                    if self.settle(event).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(_) => {}
            }
        }
        self.line.leave();
        let _ = timeout(SETTLE_SECONDS_MAX, async { while self.events.recv().await.is_some() {} }).await;
    }
}

/// Resolves when the gateway closes. Holds nothing of the watch afterwards.
async fn closes(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|is_closing| *is_closing).await;
}

fn gone() -> Happening {
    Happening::Closed { why: "the client ended unexpectedly".to_owned() }
}
