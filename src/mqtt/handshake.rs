//! From an accepted socket to a client that is in: CONNECT, login, session, CONNACK.

use std::sync::Arc;

use hearthway_core::wire::topic::Who;
use metrics::counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::codec::{Connect, Decoder, Packet, Version};
use super::encode::{Encoder, Welcome};
use super::house::{Login, LoginRefused};
use super::ingest::LastWord;
use super::limits::{
    BOOTSTRAP_IN_FLIGHT_MAX, BRIDGE_IN_FLIGHT_MAX, BRIDGE_OUT_FLIGHT_MAX, BRIDGE_WAITING_MAX, CLIENT_ID_BYTES_MAX,
    CONNECT_BYTES_MAX, FAREWELL_LIMIT, IN_FLIGHT_MAX, KEEP_ALIVE_SECONDS_MAX, OUT_FLIGHT_MAX, PACKET_BYTES_MAX,
    SESSION_EXPIRY_SECONDS_MAX, WAITING_BYTES_MAX, WAITING_MAX,
};
use super::listener::House;
use super::lobby::Place;
use super::login::read_username;
use super::mailbox::{Bounds, Kept, Mailbox};
use super::sessions::{Admitted, Arrival};
use super::tls::Certified;
use super::transport::Transport;
use super::{metrics as names, reason};
use crate::observe::limits::{Limit, hit};

/// A client that is in.
pub(super) struct Client {
    pub(super) who: Who,
    pub(super) client_id: Arc<str>,
    pub(super) connect: Connect,
    pub(super) decoder: Decoder,
    /// Bytes that came after the CONNECT.
    pub(super) unread: Vec<u8>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) listens: bool,
    pub(super) is_first_use: bool,
    pub(super) is_storm: bool,
    /// What to say when a main connection breaks.
    pub(super) last_word: Option<LastWord>,
    pub(super) session_expiry_seconds: u32,
    pub(super) in_flight_max: u16,
}

/// A CONNECT that is refused.
struct Refused {
    reason: u8,
    why: String,
    label: &'static str,
}

impl Refused {
    fn new(reason: u8, label: &'static str, why: impl Into<String>) -> Refused {
        Refused { reason, why: why.into(), label }
    }
}

/// Lets a client in, or sends it away with a CONNACK where it can read one.
pub(super) async fn greet<S: Transport>(
    stream: &mut S,
    house: &House,
    certified: Option<&Certified>,
    mut place: Place,
) -> Option<Client> {
    let mut decoder = Decoder::new(CONNECT_BYTES_MAX);
    let mut bytes = Vec::new();
    let asked = timeout(house.settings.connect_timeout, read_connect(stream, &mut decoder, &mut bytes));
    let asked = place.within(asked).await;
    // It said who it is; from here on nothing may cut it half-way.
    drop(place);
    let connect = match asked {
        None => {
            counter!(names::REFUSED, "reason" => "crowd").increment(1);
            return None;
        }
        Some(Ok(Ok(connect))) => connect,
        Some(Ok(Err(Some(refused)))) => {
            if refused.reason == reason::PACKET_TOO_LARGE {
                hit(Limit::ConnectBytes);
            }
            let version = decoder.version().unwrap_or(Version::V311);
            let can_read = decoder.version() == Some(Version::V5) || refused.reason == reason::UNSUPPORTED_VERSION;
            send_away(stream, Encoder { version }, &refused, can_read).await;
            return None;
        }
        Some(Ok(Err(None))) => return None,
        Some(Err(_)) => {
            hit(Limit::ConnectTime);
            counter!(names::REFUSED, "reason" => "timeout").increment(1);
            return None;
        }
    };
    let encoder = Encoder { version: connect.version };
    match admit(connect, house, certified) {
        Ok(mut client) => {
            let mut out = Vec::new();
            encoder.welcome(&mut out, &welcome(&client));
            decoder.set_packet_bytes_max(PACKET_BYTES_MAX);
            client.client.decoder = decoder;
            client.client.unread = bytes;
            match timeout(FAREWELL_LIMIT, write_out(stream, &out)).await {
                Ok(Ok(())) => Some(client.client),
                // The seat must be given back as for any connection that breaks; the first read says so.
                Ok(Err(_)) | Err(_) => Some(client.client),
            }
        }
        Err(refused) => {
            send_away(stream, encoder, &refused, true).await;
            None
        }
    }
}

/// Reads until the CONNECT is complete; leaves what follows it in `bytes`.
async fn read_connect<S: Transport>(
    stream: &mut S,
    decoder: &mut Decoder,
    bytes: &mut Vec<u8>,
) -> Result<Connect, Option<Refused>> {
    loop {
        match decoder.read(bytes) {
            Ok(Some((Packet::Connect(connect), used))) => {
                bytes.drain(..used);
                return Ok(*connect);
            }
            // Before CONNECT the decoder lets nothing else through.
            Ok(Some(_)) => return Err(None),
            Ok(None) => {}
            Err(fault) => return Err(Some(Refused::new(fault.reason, "protocol", fault.what))),
        }
        bytes.reserve(1024);
        match stream.read_buf(bytes).await {
            Ok(0) | Err(_) => return Err(None),
            Ok(_) => {}
        }
    }
}

struct Seated {
    client: Client,
    session_present: bool,
    was_assigned: bool,
    asked_expiry_seconds: u32,
    asked_keep_alive_seconds: u16,
}

fn admit(connect: Connect, house: &House, certified: Option<&Certified>) -> Result<Seated, Refused> {
    if connect.wants_enhanced_auth {
        return Err(Refused::new(reason::BAD_AUTH_METHOD, "auth_method", "enhanced authentication is not served"));
    }
    if connect.client_id.len() > CLIENT_ID_BYTES_MAX {
        hit(Limit::ClientIdBytes);
        return Err(Refused::new(reason::CLIENT_ID_INVALID, "client_id", "the client id is longer than 128 bytes"));
    }
    if connect.client_id.is_empty() && connect.version == Version::V311 && !connect.clean_start {
        return Err(Refused::new(reason::CLIENT_ID_INVALID, "client_id", "a kept session needs a client id"));
    }
    let login = log_in(&connect, house, certified)?;
    let now = Instant::now();
    if let Err(wait) = house.may_connect(&login.who, now) {
        hit(Limit::ConnectRate);
        let (burst, minute) = (house.settings.connects_burst, house.settings.connects_per_minute);
        let seconds = wait.as_secs() + 1;
        let why = format!(
            "more than {burst} connects at once and {minute} a minute: stay connected; wait {seconds} s, then twice as long each time"
        );
        return Err(Refused::new(reason::CONNECTION_RATE_EXCEEDED, "rate", why));
    }
    if connect.version == Version::V5 && connect.will.as_ref().is_some_and(|will| will.qos > 1) {
        return Err(Refused::new(reason::QOS_NOT_SUPPORTED, "will", "a will at QoS 2 is not served"));
    }
    let last_word = match &login.who {
        Who::Device(device) if device.device.as_str() == connect.client_id => {
            Some(LastWord::of(device, connect.will.as_ref()).map_err(will_refused)?)
        }
        // Only a device's main connection owns its presence; others' wills have nothing to say.
        Who::Device(_) | Who::Bridge(_) | Who::Bootstrap(_) => None,
    };
    let was_assigned = connect.client_id.is_empty();
    let client_id: Arc<str> = if was_assigned {
        format!("side-{}", house.sessions.next_epoch()).into()
    } else {
        connect.client_id.as_str().into()
    };
    let (bounds, in_flight_max) = bounds(&login.who, &connect);
    let is_bootstrap = matches!(login.who, Who::Bootstrap(_));
    let admitted = if is_bootstrap {
        // Many devices may share one client id here, and nothing outlives the connection: no seat.
        let mailbox = Arc::new(Mailbox::new(house.sessions.next_epoch(), bounds, Kept::default()));
        Admitted { mailbox, session_present: false, listens: false, took_over: false, is_storm: false }
    } else {
        let who = login.who.clone();
        let arrival = Arrival { who, client_id: client_id.clone(), clean_start: connect.clean_start, bounds };
        let full = || {
            hit(Limit::ConnectionsPerName);
            Refused::new(reason::QUOTA_EXCEEDED, "connections", "as many connections as this name may have")
        };
        house.sessions.admit(&arrival, now).ok_or_else(full)?
    };
    if let Some(certified) = certified {
        // From here on a revocation reaches this connection; one that came before is told at once.
        certified.seat(admitted.mailbox.clone());
    }
    if admitted.took_over {
        counter!(names::TAKEOVERS).increment(1);
    }
    let asked_expiry_seconds = connect.session_expiry_seconds;
    let asked_keep_alive_seconds = connect.keep_alive_seconds;
    let client = Client {
        who: login.who,
        client_id,
        decoder: Decoder::new(PACKET_BYTES_MAX),
        unread: Vec::new(),
        mailbox: admitted.mailbox,
        listens: admitted.listens,
        is_first_use: login.is_first_use,
        is_storm: admitted.is_storm,
        last_word,
        session_expiry_seconds: if is_bootstrap { 0 } else { asked_expiry_seconds.min(SESSION_EXPIRY_SECONDS_MAX) },
        in_flight_max,
        connect,
    };
    let session_present = admitted.session_present;
    Ok(Seated { client, session_present, was_assigned, asked_expiry_seconds, asked_keep_alive_seconds })
}

/// Who the client is: by its certificate, else by user name and secret.
fn log_in(connect: &Connect, house: &House, certified: Option<&Certified>) -> Result<Login, Refused> {
    let refused = |refused: LoginRefused| Refused::new(refused.reason(), refused.label(), refused.to_string());
    if let Some(certified) = certified {
        let named = connect.username.as_deref().map(read_username).transpose().map_err(refused)?;
        if named.is_some_and(|named| named != certified.who) {
            return Err(refused(LoginRefused::NotCertified));
        }
        if let Who::Device(device) = &certified.who {
            return house.door.login_certified(device).map_err(refused);
        }
        // A maker's bridge or bootstrap certificate opens the port; its secret is asked for as ever.
    }
    let (Some(username), Some(password)) = (&connect.username, &connect.password) else {
        let why = "user name and password are needed";
        return Err(Refused::new(reason::BAD_CREDENTIALS, "bad_credentials", why));
    };
    let login = house.door.login(username, password).map_err(refused)?;
    match certified {
        Some(certified) if certified.who != login.who => Err(refused(LoginRefused::NotCertified)),
        Some(_) | None => Ok(login),
    }
}

fn will_refused(refusal: hearthway_core::code::Refusal) -> Refused {
    use hearthway_core::code::Code;
    let reason =
        if refusal.code == Code::TopicNotAllowed { reason::NOT_AUTHORIZED } else { reason::PAYLOAD_FORMAT_INVALID };
    Refused::new(reason, "will", refusal.to_string())
}

fn bounds(who: &Who, connect: &Connect) -> (Bounds, u16) {
    let (flights, waiting, in_flight_max) = match who {
        Who::Device(_) => (OUT_FLIGHT_MAX, WAITING_MAX, IN_FLIGHT_MAX),
        Who::Bridge(_) => (BRIDGE_OUT_FLIGHT_MAX, BRIDGE_WAITING_MAX, BRIDGE_IN_FLIGHT_MAX),
        Who::Bootstrap(_) => (OUT_FLIGHT_MAX, WAITING_MAX, BOOTSTRAP_IN_FLIGHT_MAX),
    };
    let flights = flights.min(usize::from(connect.receive_max));
    (Bounds { flights, waiting, waiting_bytes: WAITING_BYTES_MAX }, in_flight_max)
}

fn welcome(seated: &Seated) -> Welcome<'_> {
    let client = &seated.client;
    let expiry = client.session_expiry_seconds;
    Welcome {
        session_present: seated.session_present,
        receive_max: client.in_flight_max,
        packet_bytes_max: PACKET_BYTES_MAX as u32,
        session_expiry_seconds: (expiry != seated.asked_expiry_seconds).then_some(expiry),
        keep_alive_seconds: (seated.asked_keep_alive_seconds > KEEP_ALIVE_SECONDS_MAX)
            .then_some(KEEP_ALIVE_SECONDS_MAX),
        assigned_client_id: seated.was_assigned.then_some(&*client.client_id),
    }
}

/// Writes and flushes: a stream may keep back what it is only told to write.
async fn write_out<S: Transport>(stream: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn send_away<S: Transport>(stream: &mut S, encoder: Encoder, refused: &Refused, can_read: bool) {
    counter!(names::REFUSED, "reason" => refused.label).increment(1);
    tracing::debug!(reason = refused.reason, why = refused.why, "Refused a CONNECT");
    if !can_read {
        return;
    }
    let mut out = Vec::new();
    encoder.refuse(&mut out, refused.reason, &refused.why);
    // The client may be gone; then nobody misses the answer.
    let _ = timeout(FAREWELL_LIMIT, async {
        write_out(stream, &out).await?;
        stream.shutdown().await
    })
    .await;
}
