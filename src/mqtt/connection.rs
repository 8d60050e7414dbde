//! One client that is in: one task, one loop, one system call for all that is due.
//!
//! The loop never holds a lock while it waits and never writes a packet by itself: packets go
//! into the out-buffer, and the buffer goes out when the stream takes it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hearthway_core::wire::topic::{Topic, Who, is_filter, may_publish, may_subscribe};
use metrics::counter;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::codec::{Decoder, Packet, Publish, Subscribe, Version};
use super::encode::{Down, Encoder};
use super::flood::{Lane, Verdict};
use super::handshake::{Client, greet};
use super::ingest::{Ingest, LastWord, Taken, is_within_bounds};
use super::limits::{
    Bucket, FAREWELL_LIMIT, FILTERS_PER_PACKET_MAX, FORBIDDEN_PER_MINUTE_MAX, IDLE_LIMIT, KEEP_ALIVE_SECONDS_MAX,
    OUT_BYTES_PAUSE, PerMinute, SESSION_EXPIRY_SECONDS_MAX, UNRELEASED_MAX, WILL_DELAY_SECONDS_MAX,
};
use super::listener::House;
use super::lobby::Place;
use super::mailbox::{Due, Ending, Mailbox, Note, Outgoing};
use super::sessions::Left;
use super::tls::Security;
use super::transport::{Moved, Out, Transport, moved};
use super::{metrics as names, reason};
use crate::observe::limits::{Limit, hit};

/// Serves one stream to its end. A client that has shown a certificate is whom that names.
/// Until its CONNECT it has a place in the lobby.
pub(super) async fn serve<S: Transport>(mut stream: S, house: &Arc<House>, security: Security, place: Place) {
    let Some(client) = greet(&mut stream, house, security.certified(), place).await else { return };
    let mut connection = Connection::new(client, house.clone(), security);
    connection.begin().await;
    let over = connection.run(&mut stream).await;
    connection.farewell(&mut stream, over).await;
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Over {
    /// The client said so.
    Said {
        /// It wants its will published all the same.
        with_will: bool,
    },
    /// The socket closed.
    Gone,
    /// The gateway ends it.
    Ended(Ending),
}

impl Over {
    fn because(reason: u8, why: impl Into<String>) -> Over {
        Over::Ended(Ending { reason, why: why.into() })
    }
    fn label(&self) -> &'static str {
        match self {
            Over::Said { .. } => "client",
            Over::Gone => "gone",
            Over::Ended(ending) => match ending.reason {
                reason::KEEP_ALIVE_TIMEOUT => "keep_alive",
                reason::SESSION_TAKEN_OVER => "taken_over",
                reason::ADMINISTRATIVE_ACTION => "administrative",
                reason::SERVER_SHUTTING_DOWN => "shutdown",
                reason::SERVER_BUSY => "not_durable",
                reason::QUOTA_EXCEEDED => "slow_consumer",
                _ => "protocol",
            },
        }
    }
}

struct Connection {
    house: Arc<House>,
    who: Who,
    client_id: Arc<str>,
    encoder: Encoder,
    decoder: Decoder,
    mailbox: Arc<Mailbox>,
    ingest: Ingest,
    last_word: Option<LastWord>,
    will_delay_seconds: u32,
    session_expiry_seconds: u32,
    listens: bool,
    is_first_use: bool,
    is_storm: bool,
    /// Bytes read and not parsed.
    unread: Vec<u8>,
    out: Out,
    packet_bytes_max: usize,
    /// Publishes on their way to the disk.
    unsettled: u16,
    in_flight_max: u16,
    /// QoS 2 publishes among them.
    unsettled_qos2: BTreeSet<u16>,
    rate: Bucket,
    lane: Option<Lane>,
    /// Nothing is read before then: the client is above its rate.
    paused_until: Option<Instant>,
    forbidden: PerMinute,
    silence_max: Duration,
    heard_at: Instant,
    notes: Vec<Note>,
    /// Subscriptions of a bootstrap connection, which has no seat in the table.
    own_filters: Vec<(String, u8)>,
    /// Holds the certificate that the client came with: its end is the connection's.
    security: Security,
}

impl Connection {
    fn new(client: Client, house: Arc<House>, security: Security) -> Connection {
        let now = Instant::now();
        let per_second = match client.who {
            Who::Device(_) | Who::Bootstrap(_) => house.settings.publishes_per_second,
            Who::Bridge(_) => house.settings.bridge_publishes_per_second,
        };
        let connect = client.connect;
        let keep_alive = match connect.version {
            Version::V5 => connect.keep_alive_seconds.min(KEEP_ALIVE_SECONDS_MAX),
            Version::V311 => connect.keep_alive_seconds, // it cannot be told of another
        };
        let silence_max = match keep_alive {
            0 => IDLE_LIMIT,
            seconds => Duration::from_millis(u64::from(seconds) * 1_500),
        };
        let ingest = Ingest::new(
            client.who.clone(),
            client.client_id.clone(),
            house.intake.clone(),
            house.door.clone(),
            house.sessions.clone(),
            house.flood.clone(),
        );
        let lane = match &client.who {
            Who::Device(device) => Some(house.flood.lane(Some(device), &device.maker, now)),
            Who::Bridge(maker) => Some(house.flood.lane(None, maker, now)),
            // Provisioning is bounded by its own few answers in flight.
            Who::Bootstrap(_) => None,
        };
        Connection {
            house,
            who: client.who,
            client_id: client.client_id,
            encoder: Encoder { version: connect.version },
            decoder: client.decoder,
            mailbox: client.mailbox,
            ingest,
            last_word: client.last_word,
            will_delay_seconds: connect.will.as_ref().map_or(0, |will| will.delay_seconds),
            session_expiry_seconds: client.session_expiry_seconds,
            listens: client.listens,
            is_first_use: client.is_first_use,
            is_storm: client.is_storm,
            unread: client.unread,
            out: Out::new(now),
            packet_bytes_max: connect.packet_bytes_max.map_or(usize::MAX, |bytes| bytes as usize),
            unsettled: 0,
            in_flight_max: client.in_flight_max,
            unsettled_qos2: BTreeSet::new(),
            rate: Bucket::new(per_second, f64::from(per_second.max(1)), now),
            lane,
            paused_until: None,
            forbidden: PerMinute::default(),
            silence_max,
            heard_at: now,
            notes: Vec::new(),
            own_filters: Vec::new(),
            security,
        }
    }

    /// What follows from the login itself.
    async fn begin(&mut self) {
        tracing::debug!(who = ?self.who, client.id = %self.client_id, version = ?self.encoder.version, "Connected");
        if let Who::Device(device) = &self.who {
            if self.is_first_use {
                self.ingest.credential_used(device).await;
            }
            let is_suspended = self.house.intake.known(device).is_some_and(|known| known.suspended);
            if self.is_storm && !is_suspended {
                tracing::warn!(device.id = %device, "Suspended `{device}`: its connection was taken over too often");
                hit(Limit::Takeovers);
                self.ingest.suspend_for_takeovers(device).await;
            }
        }
        if self.listens {
            self.reachable();
        }
    }

    async fn run<S: Transport>(&mut self, stream: &mut S) -> Over {
        let mut closing = self.house.closing.subscribe();
        let mailbox = self.mailbox.clone();
        let mut alarm = pin!(sleep_until(self.alarm_at()));
        loop {
            if let Err(over) = self.work(stream).await {
                return over;
            }
            let alarm_at = self.alarm_at();
            // The timer is set again only when it must ring earlier; when it rings too early, it is set anew.
            if alarm_at < alarm.deadline() {
                alarm.as_mut().reset(alarm_at);
            }
            let may_read = self.may_take(Instant::now());
            self.give_back_idle_memory();
            tokio::select! {
                moved = moved(stream, may_read, &mut self.unread, &mut self.out) => match moved {
                    Ok(Moved::Read(0)) | Err(_) => return Over::Gone,
                    Ok(Moved::Read(bytes)) => {
                        self.heard_at = Instant::now();
                        counter!(names::BYTES_IN).increment(bytes as u64);
                    }
                    Ok(Moved::Written) => {}
                },
                () = mailbox.rung() => {}
                () = alarm.as_mut() => {
                    let now = Instant::now();
                    if let Err(over) = self.rang(now) { return over; }
                    alarm.as_mut().reset(self.alarm_at().max(now + Duration::from_millis(1)));
                }
                _ = closing.wait_for(|is_closing| *is_closing) => {
                    return Over::because(reason::SERVER_SHUTTING_DOWN, "the gateway stops");
                }
            }
        }
    }

    /// All that can be done without waiting for the client.
    async fn work<S: Transport>(&mut self, stream: &mut S) -> Result<(), Over> {
        if let Some(ending) = self.mailbox.ending() {
            return Err(Over::Ended(ending));
        }
        self.settle()?;
        self.parse().await?;
        self.fill();
        self.out.push(stream).await.map_err(|_| Over::Gone)?;
        if self.mailbox.has_room_again() {
            self.reachable();
        }
        Ok(())
    }

    fn alarm_at(&self) -> Instant {
        let mut at = self.heard_at + self.silence_max;
        if !self.out.is_done() {
            at = at.min(self.out.progress_at + self.house.settings.slow_consumer_limit);
        }
        let certificate_ends = self.security.certified().map(|certified| certified.ends_at);
        for other in [self.paused_until, self.ingest.summary_due(), certificate_ends].into_iter().flatten() {
            at = at.min(other);
        }
        at
    }

    fn rang(&mut self, now: Instant) -> Result<(), Over> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        if self.heard_at + self.silence_max <= now {
            if self.may_take(now) {
                hit(Limit::KeepAlive);
                return Err(Over::because(reason::KEEP_ALIVE_TIMEOUT, "silent for longer than the keep-alive"));
            }
            self.heard_at = now; // nothing was read, so nothing could be heard
        }
        if !self.out.is_done() && self.out.progress_at + self.house.settings.slow_consumer_limit <= now {
            hit(Limit::SlowConsumer);
            return Err(Over::because(reason::QUOTA_EXCEEDED, "the client does not take what it is sent"));
        }
        if self.security.certified().is_some_and(|certified| certified.ends_at <= now) {
            return Err(Over::because(reason::NOT_AUTHORIZED, "the certificate of this connection has expired"));
        }
        self.ingest.summarize(now);
        Ok(())
    }

    fn give_back_idle_memory(&mut self) {
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        self.out.give_back_idle_memory();
    }

    /// Whether one more packet may be taken from the client.
    fn may_take(&self, now: Instant) -> bool {
        let has_room = self.out.waiting() < OUT_BYTES_PAUSE;
        let is_in_rate = self.paused_until.is_none_or(|until| until <= now);
        // A 3.1.1 client cannot be told how much is too much, so it is read more slowly; a v5
        // client was told.
        let is_settled = self.encoder.version == Version::V5 || self.unsettled < self.in_flight_max;
        has_room && is_in_rate && is_settled
    }

    async fn parse(&mut self) -> Result<(), Over> {
        let mut used = 0;
        let mut result = Ok(());
        while used < self.unread.len() && self.may_take(Instant::now()) {
            match self.decoder.read(&self.unread[used..]) {
                Ok(None) => break,
                Ok(Some((packet, bytes))) => {
                    used += bytes;
                    result = self.packet(packet).await;
                    if result.is_err() {
                        break;
                    }
                }
                Err(fault) => {
                    if fault.reason == reason::PACKET_TOO_LARGE {
                        hit(Limit::PacketBytes);
                    }
                    result = Err(Over::because(fault.reason, fault.what));
                    break;
                }
            }
        }
        self.unread.drain(..used);
        result
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), Over> {
        match packet {
            Packet::Connect(_) => Err(Over::because(reason::PROTOCOL_ERROR, "a second CONNECT")),
            Packet::Publish(publish) => self.publish(publish).await,
            Packet::Puback { id } => {
                self.landed(id);
                Ok(())
            }
            Packet::Pubrel { id } => {
                let was_known = self.mailbox.released(id);
                let reason_code = if was_known { reason::SUCCESS } else { reason::PACKET_ID_NOT_FOUND };
                self.encoder.pubcomp(&mut self.out.bytes, id, reason_code);
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe),
            Packet::Unsubscribe { id, filters } => {
                let reasons: Vec<u8> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                self.encoder.unsuback(&mut self.out.bytes, id, &reasons);
                Ok(())
            }
            Packet::Pingreq => {
                self.encoder.pingresp(&mut self.out.bytes);
                Ok(())
            }
            Packet::Disconnect { reason: code, session_expiry_seconds } => {
                if let Some(seconds) = session_expiry_seconds {
                    if self.session_expiry_seconds == 0 && seconds > 0 {
                        let why = "a session that was to end with its connection cannot be kept at its end";
                        return Err(Over::because(reason::PROTOCOL_ERROR, why));
                    }
                    self.session_expiry_seconds = seconds.min(SESSION_EXPIRY_SECONDS_MAX);
                }
                Err(Over::Said { with_will: code == reason::DISCONNECT_WITH_WILL })
            }
        }
    }

    async fn publish(&mut self, publish: Publish) -> Result<(), Over> {
        counter!(names::MESSAGES_IN).increment(1);
        let now = Instant::now();
        if let Some(wait) = self.rate.spend(now) {
            hit(Limit::ConnectionRate);
            self.pause(now + wait);
        }
        match self.lane.as_ref().map(|lane| lane.look_at(publish.topic(), publish.qos, now)) {
            None | Some(Verdict::Free) => {}
            Some(Verdict::Slow(wait)) => self.pause(now + wait),
            Some(Verdict::Dropped) => return Ok(()),
        }
        if publish.qos == 2 {
            if self.encoder.version == Version::V5 {
                return Err(Over::because(reason::QOS_NOT_SUPPORTED, "the CONNACK said Maximum QoS 1"));
            }
            if self.unsettled_qos2.contains(&publish.id) {
                return Ok(()); // its PUBREC comes with the commit
            }
            if self.mailbox.is_received(publish.id) {
                self.encoder.pubrec(&mut self.out.bytes, publish.id, reason::SUCCESS);
                return Ok(());
            }
            if self.mailbox.unreleased() + self.unsettled_qos2.len() >= UNRELEASED_MAX {
                hit(Limit::InFlight);
                return Err(Over::because(reason::RECEIVE_MAX_EXCEEDED, "too many QoS 2 publishes without PUBREL"));
            }
        }
        if publish.qos > 0 && self.unsettled >= self.in_flight_max {
            hit(Limit::InFlight);
            return Err(Over::because(reason::RECEIVE_MAX_EXCEEDED, "more unacknowledged publishes than announced"));
        }
        let taken = match &self.who {
            Who::Device(_) | Who::Bridge(_) => self.ingest.publish(&publish, &self.mailbox).await,
            Who::Bootstrap(_) => self.provision(&publish),
        };
        match taken {
            Taken::Settling => {
                self.unsettled += 1;
                if self.unsettled == self.in_flight_max && self.encoder.version == Version::V311 {
                    hit(Limit::InFlight); // its reading pauses
                }
                if publish.qos == 2 {
                    self.unsettled_qos2.insert(publish.id);
                }
                Ok(())
            }
            Taken::Done => {
                self.acknowledge(publish.id, publish.qos, reason::SUCCESS);
                Ok(())
            }
            Taken::Limited => {
                self.acknowledge(publish.id, publish.qos, reason::QUOTA_EXCEEDED);
                Ok(())
            }
            Taken::Forbidden => {
                self.acknowledge(publish.id, publish.qos, reason::NOT_AUTHORIZED);
                if self.forbidden.exceeds(FORBIDDEN_PER_MINUTE_MAX, Instant::now()) {
                    hit(Limit::ForbiddenPublishes);
                    return Err(Over::because(reason::NOT_AUTHORIZED, "too many publishes to topics of others"));
                }
                Ok(())
            }
        }
    }

    /// Reads no more before then.
    fn pause(&mut self, until: Instant) {
        counter!(names::SLOWED).increment(1);
        self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
    }

    fn acknowledge(&mut self, id: u16, qos: u8, reason_code: u8) {
        match qos {
            0 => {}
            1 => self.encoder.puback(&mut self.out.bytes, id, reason_code),
            _ => {
                self.mailbox.received(id);
                self.encoder.pubrec(&mut self.out.bytes, id, reason::SUCCESS);
            }
        }
    }

    /// A provisioning request: answered by a task, for it waits for the disk more than once.
    fn provision(&mut self, publish: &Publish) -> Taken {
        let parsed = Topic::parse(publish.topic());
        let Some(Topic::Provisioning { maker, nonce, .. }) = parsed.filter(|_| may_publish(&self.who, publish.topic()))
        else {
            return Taken::Forbidden;
        };
        if self.unsettled >= self.in_flight_max {
            return Taken::Done; // QoS 0 beyond the bound: at most once, and this is none
        }
        let (nonce, payload) = (nonce.into_owned(), publish.payload().to_vec());
        let (id, qos) = (publish.id, publish.qos);
        let is_secure = !self.security.is_plain();
        let (provisioner, mailbox) = (self.house.provisioner.clone(), self.mailbox.clone());
        tokio::spawn(async move {
            let answer = provisioner.provision(&maker, &nonce, &payload, is_secure).await;
            let topic = hearthway_core::wire::topic::provisioning_response_topic(&maker, &nonce);
            mailbox.note(Note::Provisioned { id, qos, topic, payload: answer });
        });
        Taken::Settling
    }

    /// Acknowledges what is on disk by now.
    fn settle(&mut self) -> Result<(), Over> {
        let mut notes = std::mem::take(&mut self.notes);
        self.mailbox.take_notes(&mut notes);
        for note in notes.drain(..) {
            self.unsettled -= 1;
            match note {
                Note::Durable { id, qos } => {
                    self.unsettled_qos2.remove(&id);
                    self.acknowledge(id, qos, reason::SUCCESS);
                }
                // Without an acknowledgement the client sends it again on its next connection.
                Note::Failed(why) => return Err(Over::because(reason::SERVER_BUSY, why)),
                Note::Provisioned { id, qos, topic, payload } => {
                    self.acknowledge(id, qos, reason::SUCCESS);
                    self.answer(topic, payload);
                }
            }
        }
        self.notes = notes;
        Ok(())
    }

    /// Answers a provisioning request on the connection that asked, if it listens.
    fn answer(&self, topic: String, payload: Vec<u8>) {
        let Some((_, qos)) = self.own_filters.iter().find(|(filter, _)| *filter == topic) else { return };
        self.mailbox.offer(Outgoing {
            row: None,
            settles: false,
            topic: topic.into(),
            payload: payload.into(),
            qos: *qos,
            expires_at: None,
            trace: "".into(),
        });
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), Over> {
        if subscribe.has_identifier {
            let why = "the CONNACK said that there are no subscription identifiers";
            return Err(Over::because(reason::SUBSCRIPTION_IDS_NOT_SUPPORTED, why));
        }
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        for (place, (filter, qos)) in subscribe.filters.iter().enumerate() {
            let is_one_too_many = place >= FILTERS_PER_PACKET_MAX;
            if is_one_too_many {
                hit(Limit::Filters);
            }
            reasons.push(if is_one_too_many { reason::QUOTA_EXCEEDED } else { self.grant(filter, (*qos).min(1)) });
        }
        self.encoder.suback(&mut self.out.bytes, subscribe.id, &reasons);
        // What waits is written after the SUBACK: it comes through the mailbox.
        if reasons.iter().any(|granted| *granted < 0x80) {
            self.reachable();
        }
        Ok(())
    }

    /// The granted QoS, or the reason why not.
    fn grant(&mut self, filter: &str, qos: u8) -> u8 {
        if filter.starts_with("$share/") {
            return reason::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
        }
        if !is_within_bounds(filter) {
            hit(Limit::TopicBounds);
            return reason::TOPIC_FILTER_INVALID;
        }
        if !is_filter(filter) {
            return reason::TOPIC_FILTER_INVALID;
        }
        if !may_subscribe(&self.who, filter) {
            return reason::NOT_AUTHORIZED;
        }
        if matches!(self.who, Who::Bootstrap(_)) {
            self.own_filters.retain(|(known, _)| known != filter);
            if self.own_filters.len() >= FILTERS_PER_PACKET_MAX {
                return reason::QUOTA_EXCEEDED;
            }
            self.own_filters.push((filter.to_owned(), qos));
            return qos;
        }
        let sessions = &self.house.sessions;
        if sessions.subscribe(&self.who, &self.client_id, self.mailbox.epoch, filter, qos) {
            qos
        } else {
            hit(Limit::Filters);
            reason::QUOTA_EXCEEDED
        }
    }

    fn unsubscribe(&mut self, filter: &str) -> u8 {
        let before = self.own_filters.len();
        self.own_filters.retain(|(known, _)| known != filter);
        let sessions = &self.house.sessions;
        let was_there = self.own_filters.len() < before
            || sessions.unsubscribe(&self.who, &self.client_id, self.mailbox.epoch, filter);
        if was_there { reason::SUCCESS } else { reason::NO_SUBSCRIPTION }
    }

    /// Tells the outbox that somebody listens.
    fn reachable(&self) {
        match &self.who {
            Who::Device(device) => self.house.intake.reachable(device),
            Who::Bridge(maker) => self.house.intake.reachable_maker(maker),
            Who::Bootstrap(_) => {}
        }
    }

    /// A delivery needs no more care: acknowledged, or not worth writing.
    fn landed(&self, id: u16) {
        let Some(flight) = self.mailbox.landed(id) else { return };
        if let (true, Some(row)) = (flight.settles, &flight.row) {
            self.house.intake.delivered(&row.device, row.n);
        }
    }

    /// Writes the deliveries that are due into the out-buffer.
    fn fill(&mut self) {
        while self.out.waiting() < OUT_BYTES_PAUSE {
            let Some(due) = self.mailbox.next_due() else { return };
            self.put(&due);
        }
    }

    fn put(&mut self, due: &Due) {
        let outgoing = &due.outgoing;
        let now = self.house.intake.now();
        let left = outgoing.expires_at.map(|at| (at - now).0);
        if left.is_some_and(|milliseconds| milliseconds <= 0) {
            counter!(names::MESSAGES_DROPPED, "reason" => "expired").increment(1);
            self.mailbox.landed(due.id); // the outbox sees by itself that it has expired
            return;
        }
        let user: &[(&str, &str)] = &[("v", "1.0"), ("trace", &outgoing.trace)];
        let down = Down {
            topic: &outgoing.topic,
            payload: &outgoing.payload,
            qos: outgoing.qos,
            dup: due.dup,
            id: due.id,
            expiry_seconds: left.map(|milliseconds| u32::try_from(milliseconds / 1_000 + 1).unwrap_or(u32::MAX)),
            user: if outgoing.trace.is_empty() { &user[..1] } else { user },
        };
        if self.encoder.publish(&mut self.out.bytes, &down, self.packet_bytes_max) {
            counter!(names::MESSAGES_OUT).increment(1);
        } else {
            // This client can never take it; waiting would only block what comes after it.
            counter!(names::MESSAGES_DROPPED, "reason" => "too_large").increment(1);
            self.landed(due.id);
        }
        if let (0, true, Some(row)) = (outgoing.qos, outgoing.settles, &outgoing.row) {
            self.house.intake.delivered(&row.device, row.n);
        }
    }

    /// Says good-bye, gives the seat back and has the last word said.
    async fn farewell<S: Transport>(mut self, stream: &mut S, over: Over) {
        counter!(names::ENDED, "reason" => over.label()).increment(1);
        tracing::debug!(who = ?self.who, client.id = %self.client_id, ?over, "Disconnected");
        if let Over::Ended(ending) = &over {
            self.encoder.disconnect(&mut self.out.bytes, ending.reason, &ending.why);
        }
        let keep = Duration::from_secs(self.session_expiry_seconds.into());
        let epoch = self.mailbox.epoch;
        let left = match self.who {
            Who::Bootstrap(_) => Left::Vacant,
            Who::Device(_) | Who::Bridge(_) => {
                self.house.sessions.leave(&self.who, &self.client_id, epoch, keep, Instant::now())
            }
        };
        if left == Left::Vacant && needs_last_word(&over) {
            self.last_word().await;
        }
        if over != Over::Gone {
            // The client may not listen any more; then nobody misses the words.
            let _ = timeout(FAREWELL_LIMIT, async {
                stream.write_all(&self.out.bytes[self.out.written..]).await?;
                stream.shutdown().await
            })
            .await;
        }
    }

    async fn last_word(&mut self) {
        let (Some(word), Who::Device(device)) = (self.last_word.take(), &self.who) else { return };
        let delay = self.will_delay_seconds.min(self.session_expiry_seconds).min(WILL_DELAY_SECONDS_MAX);
        if delay == 0 {
            return word.say(device.clone(), &*self.house.intake).await;
        }
        let (house, who, device) = (self.house.clone(), self.who.clone(), device.clone());
        let (client_id, epoch) = (self.client_id.clone(), self.mailbox.epoch);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(delay.into())).await;
            if !house.sessions.is_back(&who, &client_id, epoch) {
                word.say(device, &*house.intake).await;
            }
        });
    }
}

/// Whether the device is lost: neither did it say good-bye, nor does the gateway stop.
fn needs_last_word(over: &Over) -> bool {
    match over {
        Over::Said { with_will } => *with_will,
        Over::Gone => true,
        Over::Ended(ending) => ending.reason != reason::SERVER_SHUTTING_DOWN,
    }
}
