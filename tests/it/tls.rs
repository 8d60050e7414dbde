//! Who is let in by a certificate, for how long, and what becomes of everybody else meanwhile.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use hearthway::clock::{Clock, SystemClock};
use hearthway::mqtt::tls::ClientCertificates::{Optional, Required};
use hearthway::mqtt::tls::TlsError;
use hearthway::mqtt::websocket::WebSocketSettings;
use hearthway::mqtt::{EndpointError, Known};
use hearthway_core::time::Span;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::certificates::{Authority, Client, Refused, Shown, Stage, Wanted, certified_hello};
use crate::mqtt_house::{Hello, House, SAMPLE, SOON, TELEMETRY, publish};

/// What revocation promises.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Taking back a revocation waits until the file has looked the same twice.
const ACCEPTED_AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// Seconds of the endpoint's own bound on a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
const NOT_AUTHORIZED: u8 = 0x87;
const BAD_CREDENTIALS: u8 = 0x86;

/// Asks to be let in by both versions of TLS, and gives the one verdict.
async fn verdict(stage: &Stage, house: &House, shown: &Shown) -> Result<(), Refused> {
    let address = house.endpoint.tls_addr().unwrap();
    let mut verdicts = Vec::new();
    for version in [&TLS12, &TLS13] {
        let client = stage.client(Some(shown), version);
        verdicts.push(client.connect(address, &certified_hello("d-42")).await.map(|_| ()));
    }
    assert_eq!(verdicts[0], verdicts[1], "TLS 1.2 and 1.3 agree");
    verdicts.pop().unwrap()
}

fn alert(description: AlertDescription) -> Result<(), Refused> {
    Err(Refused::Alert(description))
}

fn fingerprint(shown: &Shown) -> String {
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(&shown.chain[0])))
}

#[tokio::test]
async fn tls_a_good_certificate_is_the_device_that_it_names() {
    let stage = Stage::new();
    let house = stage.house(Required).await;
    assert_eq!(verdict(&stage, &house, &stage.acme.issue(&Wanted::default())).await, Ok(()));
    assert_eq!(verdict(&stage, &house, &stage.all.issue(&Wanted::default())).await, Ok(()));
    let by_common_name = Wanted { uris: &[], common_name: "acme/d-42", ..Wanted::default() };
    assert_eq!(verdict(&stage, &house, &stage.acme.issue(&by_common_name)).await, Ok(()));
    let below = stage.acme.below("acme's factory").below("acme's line 7");
    assert_eq!(verdict(&stage, &house, &below.issue(&Wanted::default())).await, Ok(()));
}

#[tokio::test]
async fn tls_a_certificate_outside_its_time_is_refused() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let expired = Wanted { from: Span::minutes(-9), until: Span::minutes(-1), ..Wanted::default() };
    let expired = stage.acme.issue(&expired);
    assert_eq!(verdict(&stage, &house, &expired).await, alert(AlertDescription::CertificateExpired));
    let not_yet = stage.acme.issue(&Wanted { from: Span::minutes(5), ..Wanted::default() });
    assert_eq!(verdict(&stage, &house, &not_yet).await, alert(AlertDescription::CertificateExpired));
}

#[tokio::test]
async fn tls_a_certificate_of_an_authority_that_may_not_name_the_device_is_refused() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let stranger = Authority::new("acme").issue(&Wanted::default());
    assert_eq!(verdict(&stage, &house, &stranger).await, alert(AlertDescription::DecryptError), "another key");
    let stranger = Authority::new("a stranger").issue(&Wanted::default());
    assert_eq!(verdict(&stage, &house, &stranger).await, alert(AlertDescription::UnknownCA));
    let other_maker = stage.brewco.issue(&Wanted::default());
    assert_eq!(verdict(&stage, &house, &other_maker).await, alert(AlertDescription::UnknownCA));
    let own = stage.brewco.issue(&Wanted { uris: &["urn:gw:brewco:d-42"], ..Wanted::default() });
    house.stand.set(&"brewco/d-42".parse().unwrap(), Known { generation: 1, credential_used: true, suspended: false });
    assert_eq!(verdict(&stage, &house, &own).await, Ok(()));
}

#[tokio::test]
async fn tls_a_certificate_for_servers_is_refused() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let server = Wanted { usage: ExtendedKeyUsagePurpose::ServerAuth, ..Wanted::default() };
    let server = stage.acme.issue(&server);
    assert_eq!(verdict(&stage, &house, &server).await, alert(AlertDescription::UnsupportedCertificate));
}

#[tokio::test]
async fn tls_a_certificate_that_names_nobody_or_an_unknown_device_is_refused() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    for uris in [&[][..], &["urn:gw:acme"], &["urn:gw:acme:d-42", "urn:gw:acme:d-43"]] {
        let nobody = stage.acme.issue(&Wanted { uris, ..Wanted::default() });
        assert_eq!(verdict(&stage, &house, &nobody).await, alert(AlertDescription::CertificateUnknown), "{uris:?}");
    }
    let unknown = stage.acme.issue(&Wanted { uris: &["urn:gw:acme:d-77"], ..Wanted::default() });
    assert_eq!(verdict(&stage, &house, &unknown).await, Err(Refused::Connack(NOT_AUTHORIZED)));
}

#[tokio::test]
async fn tls_a_chain_of_a_hundred_is_refused() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let mut endless = stage.acme.issue(&Wanted::default());
    let again = endless.chain[0].clone();
    endless.chain.resize(100, again);
    assert_eq!(verdict(&stage, &house, &endless).await, alert(AlertDescription::CertificateUnknown));
    assert_eq!(verdict(&stage, &house, &stage.acme.issue(&Wanted::default())).await, Ok(()));
}

#[tokio::test]
async fn tls_a_certificate_goes_before_user_name_and_secret_and_both_must_agree() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let address = house.endpoint.tls_addr().unwrap();
    house.stand.set(&"acme/d-43".parse().unwrap(), Known { generation: 1, credential_used: true, suspended: false });
    let client = stage.client(Some(&stage.acme.issue(&Wanted::default())), &TLS13);
    let named = |username, password| Hello { version: 5, username, password, ..house.hello() }.bytes();
    assert!(client.connect(address, &named("acme/d-42", "")).await.is_ok(), "the secret is not asked for");
    let other = client.connect(address, &named("acme/d-43", "")).await.err();
    assert_eq!(other, Some(Refused::Connack(NOT_AUTHORIZED)));
    let bootstrap = client.connect(address, &named("acme/_bootstrap", "boot")).await.err();
    assert_eq!(bootstrap, Some(Refused::Connack(NOT_AUTHORIZED)));
}

#[tokio::test]
async fn tls_a_makers_bridge_with_a_certificate_still_says_its_secret() {
    let stage = Stage::new();
    let house = stage.house(Required).await;
    let address = house.endpoint.tls_addr().unwrap();
    let bridge = stage.acme.issue(&Wanted { uris: &["urn:gw:acme:_bridge"], ..Wanted::default() });
    let client = stage.client(Some(&bridge), &TLS13);
    let named = |password| {
        Hello { version: 5, username: "acme/_bridge", password, client_id: "cloud", ..house.hello() }.bytes()
    };
    assert!(client.connect(address, &named("bridge")).await.is_ok());
    assert_eq!(client.connect(address, &named("guess")).await.err(), Some(Refused::Connack(BAD_CREDENTIALS)));
    let none = client.connect(address, &certified_hello("cloud")).await.err();
    assert_eq!(none, Some(Refused::Connack(BAD_CREDENTIALS)));
}

#[tokio::test]
async fn tls_without_a_certificate_the_secret_is_asked_for_where_it_is_allowed() {
    let stage = Stage::new();
    let optional = stage.house(Optional).await;
    let client = stage.client(None, &TLS13);
    let address = optional.endpoint.tls_addr().unwrap();
    let by_secret = Hello { version: 5, ..optional.hello() }.bytes();
    assert!(client.connect(address, &by_secret).await.is_ok());
    assert_eq!(client.connect(address, &certified_hello("d-42")).await.err(), Some(Refused::Connack(BAD_CREDENTIALS)));
    let required = stage.house(Required).await;
    let address = required.endpoint.tls_addr().unwrap();
    for version in [&TLS12, &TLS13] {
        let refused = stage.client(None, version).connect(address, &by_secret).await.err();
        assert!(matches!(refused, Some(Refused::Alert(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn tls_a_revoked_certificate_is_refused_and_its_live_session_gone_within_a_second() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let address = house.endpoint.tls_addr().unwrap();
    let lines = [("by its fingerprint", None), ("by its serial number", Some("serial:2A"))];
    for (how, line) in lines {
        let (bad, good) =
            (stage.acme.issue(&Wanted::default()), stage.acme.issue(&Wanted { serial: 7, ..Wanted::default() }));
        let mut live = stage.client(Some(&bad), &TLS13).connect(address, &certified_hello("d-42")).await.unwrap();
        let mut other = stage.client(Some(&good), &TLS13).connect(address, &certified_hello("side")).await.unwrap();
        live.is_alive().await;
        let revoked_at = Instant::now();
        stage.revoke(&line.map_or_else(|| fingerprint(&bad), str::to_owned));
        live.closed_with(NOT_AUTHORIZED).await;
        let took = revoked_at.elapsed();
        assert!(took < GONE_WITHIN, "revoked {how}, gone after {took:?}");
        other.is_alive().await;
        assert_eq!(verdict(&stage, &house, &bad).await, alert(AlertDescription::CertificateRevoked), "{how}");
        assert_eq!(verdict(&stage, &house, &good).await, Ok(()), "{how}");
        stage.revoke("# nobody");
        tokio::time::sleep(ACCEPTED_AGAIN_WITHIN).await;
    }
}

#[tokio::test]
async fn tls_a_resumed_session_is_no_way_round_a_revocation() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let address = house.endpoint.tls_addr().unwrap();
    for version in [&TLS12, &TLS13] {
        stage.revoke("# nobody");
        tokio::time::sleep(ACCEPTED_AGAIN_WITHIN).await;
        let shown = stage.acme.issue(&Wanted::default());
        let client = stage.client(Some(&shown), version);
        drop(client.connect(address, &certified_hello("d-42")).await.unwrap());
        let resumed = client.connect(address, &certified_hello("d-42")).await.unwrap();
        assert_eq!(resumed.stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        drop(resumed);
        stage.revoke(&fingerprint(&shown));
        tokio::time::sleep(GONE_WITHIN).await;
        let refused = client.connect(address, &certified_hello("d-42")).await.err();
        assert!(matches!(refused, Some(Refused::Closed | Refused::Alert(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn tls_a_ticket_from_the_port_that_asks_for_no_certificate_opens_no_other() {
    let stage = Stage::new();
    let house = House::open_with(|settings| {
        settings.tls = Some(stage.settings(Required));
        settings.websocket = Some(WebSocketSettings { address: ([127, 0, 0, 1], 0).into(), tls: true });
    })
    .await;
    let (_, port) = crate::gateway::host_and_port(&house.endpoint.websocket_url().unwrap());
    let by_secret = Hello { version: 5, ..house.hello() }.bytes();
    for version in [&TLS12, &TLS13] {
        let client = stage.client(None, version);
        let mut there = client.reach(([127, 0, 0, 1], port).into()).await.unwrap();
        // The answer to nonsense comes after the tickets.
        there.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = there.read_to_end(&mut Vec::new()).await;
        let refused = client.connect(house.endpoint.tls_addr().unwrap(), &by_secret).await.err();
        assert!(matches!(refused, Some(Refused::Alert(_) | Refused::Closed)), "{refused:?}");
    }
}

#[tokio::test]
async fn tls_a_list_of_revoked_certificates_that_cannot_be_read_lets_nobody_in_again() {
    let stage = Stage::new();
    let shown = stage.acme.issue(&Wanted::default());
    stage.revoke(&fingerprint(&shown));
    let house = stage.house(Optional).await;
    let refused = alert(AlertDescription::CertificateRevoked);
    assert_eq!(verdict(&stage, &house, &shown).await, refused);
    stage.revoke("d-42 was stolen");
    tokio::time::sleep(GONE_WITHIN).await;
    assert_eq!(verdict(&stage, &house, &shown).await, refused);
    std::fs::remove_file(stage.pki.revoked()).unwrap();
    tokio::time::sleep(GONE_WITHIN).await;
    assert_eq!(verdict(&stage, &house, &shown).await, refused);
}

#[tokio::test]
async fn tls_a_session_ends_when_its_certificate_does() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let short = stage.acme.issue(&Wanted { until: Span::seconds(3), ..Wanted::default() });
    let client = stage.client(Some(&short), &TLS13);
    let mut live = client.connect(house.endpoint.tls_addr().unwrap(), &certified_hello("d-42")).await.unwrap();
    live.is_alive().await;
    let (kind, body) = timeout(Duration::from_secs(5), live.read_packet()).await.expect("it ends").unwrap();
    assert_eq!((kind, body[0]), (0xe0, NOT_AUTHORIZED));
}

#[tokio::test]
async fn tls_a_handshake_that_never_ends_is_cut_and_disturbs_nobody() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let address = house.endpoint.tls_addr().unwrap();
    let began = Instant::now();
    let mut silent = Vec::new();
    for n in 0..50 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if n % 2 == 0 {
            // The head of a ClientHello that does not come.
            stream.write_all(&[0x16, 3, 1, 0, 200, 1, 0]).await.unwrap();
        }
        silent.push(stream);
    }
    let client = stage.client(Some(&stage.acme.issue(&Wanted::default())), &TLS13);
    let mut good = client.connect(address, &certified_hello("d-42")).await.unwrap();
    assert!(began.elapsed() < HANDSHAKE_LIMIT, "the others are let in meanwhile");
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = timeout(HANDSHAKE_LIMIT + SOON, stream.read_to_end(&mut rest)).await.expect("it is cut");
    }
    assert!(began.elapsed() >= HANDSHAKE_LIMIT - Duration::from_millis(200));
    good.is_alive().await;
}

#[tokio::test]
async fn tls_a_client_that_speaks_plain_mqtt_to_the_tls_port_is_cut() {
    let stage = Stage::new();
    let house = stage.house(Optional).await;
    let mut stream = TcpStream::connect(house.endpoint.tls_addr().unwrap()).await.unwrap();
    stream.write_all(&house.hello().bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it is cut at once");
    assert_ne!(rest.first(), Some(&0x20), "no CONNACK");
}

#[tokio::test]
async fn tls_a_new_certificate_is_taken_and_a_bad_one_is_not_while_sessions_go_on() {
    let stage = Stage::new();
    let mut house = stage.house(Optional).await;
    house.commit_at_once();
    let address = house.endpoint.tls_addr().unwrap();
    let shown = stage.acme.issue(&Wanted::default());
    let mut live = stage.client(Some(&shown), &TLS13).connect(address, &certified_hello("d-42")).await.unwrap();
    let before = served(&stage, address).await;

    let hosts = ["localhost".to_owned()];
    let next = stage.pki.issue_server("next", &hosts, 90, SystemClock.now()).unwrap();
    std::fs::copy(&next.certificate, stage.path("pki/server.pem")).unwrap();
    // Half of a change: the certificate is there, its key not yet.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(served(&stage, address).await, before, "a certificate without its key is not taken");

    std::fs::copy(&next.key, stage.path("pki/server.key")).unwrap();
    let deadline = Instant::now() + SOON;
    while served(&stage, address).await == before {
        assert!(Instant::now() < deadline, "the new certificate is taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    live.send(&publish(5, 2, TELEMETRY, 1, SAMPLE)).await;
    assert_eq!(live.packet().await.0, 0x40, "the session of before goes on");
    house.input().await;
}

/// The certificate that a new client is shown.
async fn served(stage: &Stage, address: std::net::SocketAddr) -> CertificateDer<'static> {
    let stream = Client::new(&stage.path("pki/ca.pem"), None, &TLS13).reach(address).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn tls_deliveries_larger_than_the_socket_takes_arrive_whole() {
    let stage = Stage::new();
    let mut house = stage.house(Optional).await;
    let client = stage.client(Some(&stage.acme.issue(&Wanted::default())), &TLS13);
    let mut live = client.connect(house.endpoint.tls_addr().unwrap(), &certified_hello("d-42")).await.unwrap();
    live.listen(5, crate::mqtt_house::DOWN, 1).await;
    house.reachable().await;
    for n in 1..=100 {
        assert!(house.deliver(n));
    }
    for n in 1..=100u64 {
        let came = live.came_down(5).await;
        assert_eq!(came.payload, format!("offer {n}").into_bytes());
        live.acknowledge(came.id).await;
        assert_eq!(house.delivered().await, n);
    }
}

#[tokio::test]
async fn tls_files_that_cannot_be_served_are_refused_at_the_start_with_their_names() {
    let stage = Stage::new();
    let refused = async |change: &dyn Fn(&mut hearthway::mqtt::tls::TlsSettings)| {
        let mut tls = stage.settings(Optional);
        change(&mut tls);
        match House::try_open_with(|settings| settings.tls = Some(tls)).await {
            Err(EndpointError::Tls(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it opened"),
        }
    };
    let error = refused(&|tls| tls.certificate_file = "missing.pem".into()).await;
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let error = refused(&|tls| tls.key_file = stage.pki.authority().key).await;
    assert!(error.to_string().contains("does not fit the certificate"), "{error}");
    let error = refused(&|tls| tls.certificate_file = stage.pki.revoked()).await;
    assert!(error.to_string().contains("no certificate"), "{error}");
    let error = refused(&|tls| (tls.client_ca_file, tls.client_ca_dir) = (None, None)).await;
    assert!(matches!(error, TlsError::NoAuthority), "{error}");
    let error = refused(&|tls| tls.revoked_file = Some("no-list.txt".into())).await;
    assert!(error.to_string().contains("no-list.txt"), "{error}");
    std::fs::write(stage.path("makers/Acme Inc.pem"), stage.acme.pem()).unwrap();
    let error = refused(&|_| {}).await;
    assert!(error.to_string().contains("not named after a maker"), "{error}");
    std::fs::remove_file(stage.path("makers/Acme Inc.pem")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(stage.path("pki/server.key"), open).unwrap();
    assert!(matches!(refused(&|_| {}).await, TlsError::KeyReadable { mode: 0o644, .. }));
}
