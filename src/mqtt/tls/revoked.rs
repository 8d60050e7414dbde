//! Certificates that are not accepted any more, and the live connections that came with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use metrics::gauge;

use super::certificate::Marks;
use super::files::{self, Content, TlsError};
use crate::mqtt::limits::TLS_REVOKED_BYTES_MAX;
use crate::mqtt::mailbox::Mailbox;
use crate::mqtt::{metrics as names, reason};

/// The list in force, and who is connected by which certificate.
pub(super) struct Revoked {
    path: Option<PathBuf>,
    list: ArcSwap<List>,
    live: Mutex<Live>,
}

/// What stands in the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    fingerprints: BTreeSet<[u8; 32]>,
    serials: BTreeSet<Vec<u8>>,
}

#[derive(Default)]
struct Live {
    next: u64,
    seats: BTreeMap<u64, (Marks, Arc<Mailbox>)>,
}

impl List {
    /// Reads a list: a line is `sha256:` with 64 hexadecimal digits or `serial:` with some, colons
    /// between bytes are allowed, `#` begins a comment. The error is the line and what is wrong.
    pub(super) fn parse(text: &str) -> Result<List, (usize, String)> {
        let mut list = List::default();
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            list.add(line).map_err(|problem| (n + 1, problem))?;
        }
        Ok(list)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let wrong = || "is neither `sha256:` with 64 hexadecimal digits nor `serial:` with some".to_owned();
        let (kind, digits) = line.split_once(':').ok_or_else(wrong)?;
        let digits: String = digits.chars().filter(|c| *c != ':' && !c.is_whitespace()).collect();
        let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(padded.as_bytes()).map_err(|_| wrong())?;
        match kind.trim() {
            "sha256" => {
                self.fingerprints.insert(bytes.try_into().map_err(|_| wrong())?);
            }
            "serial" => {
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                if zeros == bytes.len() {
                    return Err("names no serial number".to_owned());
                }
                self.serials.insert(bytes[zeros..].to_vec());
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    fn has(&self, marks: &Marks) -> bool {
        self.fingerprints.contains(&marks.fingerprint) || self.serials.contains(&marks.serial)
    }

    fn add_all(&mut self, other: &List) {
        self.fingerprints.extend(&other.fingerprints);
        self.serials.extend(other.serials.iter().cloned());
    }

    fn len(&self) -> usize {
        self.fingerprints.len() + self.serials.len()
    }
}

impl Revoked {
    /// Reads the list, where there is one.
    pub(super) fn open(path: Option<&Path>) -> Result<Revoked, TlsError> {
        let list = path.map(read).transpose()?.unwrap_or_default();
        gauge!(names::TLS_REVOKED).set(list.len() as f64);
        Ok(Revoked { path: path.map(Path::to_owned), list: ArcSwap::from_pointee(list), live: Mutex::default() })
    }

    /// The file, where there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether a certificate is on the list.
    pub(super) fn has(&self, marks: &Marks) -> bool {
        self.list.load().has(marks)
    }

    /// Reads the list again and ends the connections of what it names. The list of before stays
    /// where the file cannot be read: a slip must not let anyone in again. For the same reason
    /// nothing is taken off it before the file `is_settled`: it may be half written.
    pub(super) fn reload(&self, is_settled: bool) -> Result<usize, TlsError> {
        let Some(path) = &self.path else { return Ok(0) };
        let (mut list, before) = (read(path)?, self.list.load_full());
        if list.len() == 0 && before.len() > 0 && std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
            let problem = "has nothing in it at all; a list that names nobody any more has a comment";
            return Err(files::unusable(path, problem));
        }
        if !is_settled {
            list.add_all(&before);
        }
        let list = Arc::new(list);
        gauge!(names::TLS_REVOKED).set(list.len() as f64);
        self.list.store(list.clone());
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = live.seats.values().filter(|(marks, _)| list.has(marks));
        Ok(ended.map(|(_, mailbox)| end(mailbox)).count())
    }

    /// A place for a connection that came with such a certificate.
    pub(super) fn seat(self: &Arc<Revoked>, marks: Marks) -> Seat {
        Seat { revoked: self.clone(), marks, taken: OnceLock::new() }
    }
}

fn end(mailbox: &Mailbox) {
    mailbox.end(reason::NOT_AUTHORIZED, "the certificate of this connection has been revoked");
}

fn read(path: &Path) -> Result<List, TlsError> {
    let (_, bytes) = Content::default().with(path, TLS_REVOKED_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    List::parse(&text).map_err(|(line, problem)| files::unusable(path, format!("line {line} {problem}")))
}

/// A connection's place among the live ones; given back when the connection is gone.
pub(super) struct Seat {
    revoked: Arc<Revoked>,
    marks: Marks,
    taken: OnceLock<u64>,
}

impl Seat {
    /// Takes the place. A certificate that was revoked meanwhile ends the connection at once.
    pub(super) fn take(&self, mailbox: Arc<Mailbox>) {
        let mut live = self.revoked.live.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock that `reload` walks under: it sees this seat, or this sees its list.
        if self.revoked.has(&self.marks) {
            end(&mailbox);
        }
        live.next += 1;
        let n = live.next;
        if self.taken.set(n).is_ok() {
            live.seats.insert(n, (self.marks.clone(), mailbox));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(n) = self.taken.get() else { return };
        self.revoked.live.lock().unwrap_or_else(PoisonError::into_inner).seats.remove(n);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn marks(first: u8, serial: &[u8]) -> Marks {
        Marks { fingerprint: [first; 32], serial: serial.to_vec() }
    }

    #[test]
    fn a_list_names_certificates_by_fingerprint_or_serial() {
        let text = format!("# stolen in May\n\nsha256:{}\nserial: 00:0A:ff # one\nserial:123\n", "07".repeat(32));
        let list = List::parse(&text).unwrap();
        assert_eq!(list.len(), 3);
        assert!(list.has(&marks(7, &[1])));
        assert!(list.has(&marks(1, &[0x0a, 0xff])));
        assert!(list.has(&marks(1, &[0x01, 0x23])));
        assert!(!list.has(&marks(1, &[1])));
    }

    #[test]
    fn a_file_that_is_being_written_takes_nothing_off_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked.txt");
        std::fs::write(&path, "serial:1\nserial:2\n").unwrap();
        let revoked = Revoked::open(Some(&path)).unwrap();
        std::fs::write(&path, "serial:2\nserial:3\n").unwrap();
        revoked.reload(false).unwrap();
        let has = |serial: u8| revoked.has(&marks(0, &[serial]));
        assert!(has(1) && has(2) && has(3));
        revoked.reload(true).unwrap();
        assert!(!has(1) && has(2) && has(3));
        std::fs::write(&path, "").unwrap();
        assert!(revoked.reload(true).is_err());
        assert!(has(2) && has(3));
        std::fs::write(&path, "# nobody\n").unwrap();
        revoked.reload(true).unwrap();
        assert!(!has(2));
    }

    #[test]
    fn a_line_that_names_nothing_is_told_by_its_number() {
        for bad in ["sha256:07", "serial:", "serial:00", "serial:xyz", "d-42", "md5:00"] {
            let (line, problem) = List::parse(&format!("serial:1\n{bad}\n")).unwrap_err();
            assert_eq!(line, 2, "{bad}: {problem}");
        }
    }
}
