//! Seen from outside, in the system calls: between the read that brings a message and the write
//! that acknowledges it, the message is written into the journal and `fdatasync` has returned.
//!
//! A kill proves nothing of this kind, for the page cache survives it. The trace is of the real
//! program; what is read from it here shares no code with the gateway.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::gateway::{Gateway, OPERATOR, STEP_SECONDS_MAX};
use crate::stock_clients::load_the_sample_shop;

/// Devices, each on a connection of its own.
const DEVICES: usize = 3;
/// Messages of each, of which as many are on their way at once as its number says.
const MESSAGES: u16 = 30;

fn may_run() -> bool {
    let is_there = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let is_there = is_there.is_ok_and(|output| output.status.success());
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "strace does not work here, and CI must run this test");
        eprintln!("SKIPPED: strace is not installed or may not trace (`.ci/run` installs it)");
    }
    is_there
}

#[tokio::test(flavor = "multi_thread")]
async fn fdatasync_of_the_journal_returns_before_the_acknowledgement_is_written() {
    if !may_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let gateway = Gateway::serve_traced(&directory.path().join("data"), &trace);
    load_the_sample_shop(&gateway).await;
    let lines = (0..DEVICES).map(|n| format!("{}\n", json!({"maker": "acme", "device": name(n), "model": "th-200"})));
    let registered = gateway.bulk(OPERATOR, "/v1/devices:bulk", lines.collect()).await;
    std::thread::scope(|scope| {
        for (n, line) in registered.iter().enumerate() {
            let (address, secret) = (gateway.mqtt.clone(), line["secret"].as_str().unwrap());
            scope.spawn(move || talk(&address, n, secret));
        }
    });
    let (host, port) = gateway.mqtt.clone();
    assert!(gateway.end());
    let endpoint = format!("{host}:{port}");
    let calls = calls(&whole(&trace));
    let checked = check(&endpoint, &calls).unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(checked, DEVICES * usize::from(MESSAGES), "every message has its place in the trace");
}

fn name(n: usize) -> String {
    format!("d-{n}")
}

/// Sends all messages of a device, `n + 1` of them on their way at once, and waits for their
/// acknowledgements.
fn talk((host, port): &(String, u16), n: usize, secret: &str) {
    let mut stream = TcpStream::connect((host.as_str(), *port)).unwrap();
    stream.set_read_timeout(Some(STEP_SECONDS_MAX)).unwrap();
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let connect =
        [text("MQTT"), vec![4, 0b1100_0010, 0, 60], text(&name(n)), text(&format!("acme/{}", name(n))), text(secret)];
    stream.write_all(&packet(0x10, &connect.concat())).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0], "the device is let in");
    let mut sent = 0;
    let mut acknowledged = 0;
    while acknowledged < MESSAGES {
        while sent < MESSAGES && usize::from(sent - acknowledged) <= n {
            sent += 1;
            let body =
                json!({"v": "1.0", "id": message_id(n, sent), "body": {"samples": [{"f": {"temperature": 20}}]}});
            let topic = text(&format!("chan/v1/acme/{}/up/telemetry", name(n)));
            let publish = [topic, sent.to_be_bytes().to_vec(), body.to_string().into_bytes()].concat();
            stream.write_all(&packet(0x32, &publish)).unwrap();
        }
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..2], [0x40, 2], "only acknowledgements come to one who subscribed to nothing");
        acknowledged += 1;
    }
    stream.write_all(&[0xe0, 0]).unwrap();
}

fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    assert!(rest.len() < 128 * 128);
    let (low, high) = (rest.len() % 128, rest.len() / 128);
    let length = if high == 0 { vec![low as u8] } else { vec![low as u8 | 0x80, high as u8] };
    [&[first], length.as_slice(), rest].concat()
}

/// A text that no other message has, and that stands in the journal as it is.
fn message_id(device: usize, message: u16) -> String {
    format!("trace-{device:03}-{message:05}")
}

/// The trace, once the program that was traced has ended.
fn whole(trace: &Path) -> String {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(trace).unwrap();
        let first = text.split_whitespace().next().expect("the trace begins with the program").to_owned();
        if text.lines().rev().take(50).any(|line| line.starts_with(&first) && line.contains("+++ exited")) {
            return text;
        }
        assert!(begun.elapsed() < STEP_SECONDS_MAX, "the trace has no end");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A call of the system. Its lines say when it was begun and when it had returned: between the two
/// it may have happened.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    begun: usize,
    returned: usize,
    name: String,
    /// What its descriptor stands for: a path, or `TCP:[here->there]`.
    of: String,
    /// What was read or written.
    bytes: Vec<u8>,
    result: i64,
}

/// All calls of a trace, in the order in which they returned. One that another thread interrupted
/// stands on two lines.
fn calls(trace: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        let rest = rest.trim_start();
        if let Some(beginning) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (number, beginning.to_owned()));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (begun, beginning) = unfinished.remove(thread).expect("it began before it was resumed");
            let (_, ending) = resumed.split_once("resumed>").unwrap();
            calls.extend(call(begun, number, &format!("{beginning}{ending}")));
        } else {
            calls.extend(call(number, number, rest));
        }
    }
    calls
}

/// None for what is no call with a descriptor and a result.
fn call(begun: usize, returned: usize, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (rest, result) = rest.rsplit_once(" = ")?;
    let result: i64 = result.split_whitespace().next()?.parse().ok()?;
    let (number, of) = rest.split_once('<')?;
    number.parse::<u32>().ok()?;
    // Paths and bytes are all hexadecimal; what stands for a socket is not, and has an arrow.
    let (of, rest) = of.split_once(">, ").or_else(|| of.rsplit_once('>'))?;
    let mut bytes: Vec<u8> = rest.split('"').skip(1).step_by(2).flat_map(unhex).collect();
    bytes.truncate(usize::try_from(result).unwrap_or(0));
    let of = if of.starts_with("\\x") { String::from_utf8(unhex(of)).ok()? } else { of.to_owned() };
    Some(Call { begun, returned, name: name.to_owned(), of, bytes, result })
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(&digits[..2], 16).unwrap()).collect()
}

/// Packets of one direction of a connection, with the line at which each was there.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    /// What is whole after these bytes: the first byte of a packet and what follows its length.
    fn take(&mut self, more: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.bytes.extend_from_slice(more);
        let mut packets = Vec::new();
        while let Some((first, rest, length)) = first_packet(&self.bytes) {
            packets.push((first, rest));
            self.bytes.drain(..length);
        }
        packets
    }
}

fn first_packet(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = usize::from(*bytes.get(at)?);
        length |= (byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((bytes[0], bytes.get(at..at + length)?.to_vec(), at + length))
}

/// How many acknowledgements the device endpoint wrote, each after the sync of what it acknowledges; or which
/// one was not.
fn check(endpoint: &str, calls: &[Call]) -> Result<usize, String> {
    let (mut heard, mut said): (BTreeMap<&str, Stream>, BTreeMap<&str, Stream>) = Default::default();
    // By connection and packet id: the message's own id, and the line at which it had been read.
    let mut published: BTreeMap<(&str, u16), (String, usize)> = BTreeMap::new();
    let (mut acknowledged, here) = (0, format!("TCP:[{endpoint}->"));
    for call in calls.iter().filter(|call| call.of.starts_with(&here) && call.result > 0) {
        let id = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        match call.name.as_str() {
            "read" | "readv" | "recvfrom" | "recvmsg" => {
                for (first, rest) in heard.entry(&call.of).or_default().take(&call.bytes) {
                    if first == 0x32 {
                        let rest = &rest[2 + usize::from(id(&rest))..];
                        let text = String::from_utf8_lossy(&rest[2..]).into_owned();
                        let at = text.find("trace-").expect("every message has an id");
                        let known = (text[at..at + 15].to_owned(), call.returned);
                        published.insert((&call.of, id(rest)), known);
                    }
                }
            }
            "write" | "writev" | "sendto" | "sendmsg" => {
                for (first, rest) in said.entry(&call.of).or_default().take(&call.bytes) {
                    if first == 0x40 {
                        let known = published.get(&(call.of.as_str(), id(&rest)));
                        let (message, read) = known.ok_or_else(|| format!("nothing was read for {call:?}"))?;
                        is_durable(calls, message, *read, call.begun)?;
                        acknowledged += 1;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(acknowledged)
}

/// Whether a message that was read at a line is in the journal, and the journal on the disk, before
/// its acknowledgement is begun.
fn is_durable(calls: &[Call], message: &str, read: usize, acknowledged: usize) -> Result<(), String> {
    let of_journal = |call: &&Call| call.of.contains("/store/journal/");
    let wrote = calls.iter().filter(of_journal).find(|call| {
        call.name.starts_with("pwrite")
            && call.begun > read
            && call.bytes.windows(15).any(|at| at == message.as_bytes())
    });
    let wrote = wrote.ok_or_else(|| format!("`{message}`, read at {read}, is never written into the journal"))?;
    let synced = calls.iter().filter(of_journal).any(|call| {
        call.name == "fdatasync"
            && call.of == wrote.of
            && call.result == 0
            && call.begun > wrote.returned
            && call.returned < acknowledged
    });
    if synced {
        return Ok(());
    }
    Err(format!(
        "`{message}` was read at line {read}, written into {} at {} to {}, and acknowledged at {acknowledged} without \
         an fdatasync in between",
        wrote.of, wrote.begun, wrote.returned
    ))
}

mod of_a_made_up_trace {
    use super::*;

    const JOURNAL: &str = r"\x2f\x73\x74\x6f\x72\x65\x2f\x6a\x6f\x75\x72\x6e\x61\x6c\x2f\x30";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
    }
    /// A message that is read, journaled, synced and acknowledged, as `order` has the four.
    fn trace(order: [usize; 4]) -> String {
        let body = [&[0, 1], b"t".as_slice(), &[0, 9], b"{\"id\":\"trace-000-00001\"}"].concat();
        let publish = hex(&packet(0x32, &body));
        let lines = [
            format!("11  recvfrom(19<TCP:[a->b]>, \"{publish}\", 99, 0, NULL, NULL) = {}", body.len() + 2),
            format!("12  pwrite64(5<{JOURNAL}>, \"{}\", 99, 0) = 20", hex(b"...trace-000-00001.....")),
            format!("12  fdatasync(5<{JOURNAL}>) = 0"),
            format!("11  writev(19<TCP:[a->b]>, [{{iov_base=\"{}\", iov_len=4}}], 1) = 4", hex(&[0x40, 2, 0, 9])),
        ];
        order.map(|n| lines[n].clone()).join("\n")
    }

    #[test]
    fn the_right_order_passes_and_every_other_is_told() {
        assert_eq!(check("a", &calls(&trace([0, 1, 2, 3]))), Ok(1));
        for (order, said) in [
            ([0, 1, 3, 2], "without an fdatasync"),
            ([0, 2, 1, 3], "without an fdatasync"),
            ([1, 2, 0, 3], "is never written into the journal"),
            ([3, 0, 1, 2], "nothing was read"),
        ] {
            assert!(check("a", &calls(&trace(order))).unwrap_err().contains(said), "{order:?}");
        }
        let failed = trace([0, 1, 2, 3]).replace(">) = 0", ">) = -1 EIO (Input/output error)");
        assert!(check("a", &calls(&failed)).is_err(), "a sync that failed is none");
    }

    #[test]
    fn a_sync_that_had_begun_before_or_returned_after_does_not_count() {
        let whole = trace([0, 1, 2, 3]);
        let lines: Vec<&str> = whole.lines().collect();
        let (begins, ends) =
            (format!("12  fdatasync(5<{JOURNAL}> <unfinished ...>"), "12  <... fdatasync resumed>) = 0");
        let order = |lines: [&str; 5]| check("a", &calls(&lines.join("\n")));
        assert_eq!(order([lines[0], lines[1], &begins, ends, lines[3]]), Ok(1));
        assert!(order([lines[0], lines[1], &begins, lines[3], ends]).is_err());
        let other = lines[1].replacen("12", "13", 1);
        assert!(order([lines[0], &begins, &other, ends, lines[3]]).is_err());
    }
}
