//! The file: records, written and read back.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::keys::Key;
use super::super::{ITEM_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::{BackupError, Counts, Header, io};

const BEGIN: &[u8; 16] = b"hearthway-backup";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 11;

const _: () = assert!(VALUE_BYTES_MAX <= ITEM_BYTES_MAX && KEY_BYTES_MAX <= u16::MAX as usize);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $byte:literal;)*) => {
        /// What a record is, by its first byte.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Kind { $($(#[$doc])* $name = $byte,)* }
        impl Kind {
            fn of(byte: u8) -> Option<Kind> { match byte { $($byte => Some(Kind::$name),)* _ => None } }
        }
    };
}
kinds! {
    /// The header, as JSON; the first record.
    Header = 1;
    /// A row as it is from here on.
    Put = 2;
    /// A row that is not there from here on.
    Delete = 3;
    /// An item that joins a log.
    Item = 4;
    /// Counts and checksum; the last record.
    End = 5;
    /// Why the gateway gave up, instead of an end.
    GivenUp = 6;
}

/// One step from an empty store to the one that was backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A row is put.
    Put(Key, Vec<u8>),
    /// A row goes.
    Delete(Key),
    /// An item joins a log.
    Item(Key, Vec<u8>),
}

/// What the last record says.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    counts: Counts,
    sha256: String,
}

/// Writes records.
pub(super) struct Writer<W> {
    out: W,
    hash: Sha256,
    number: u64,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(mut out: W, header: &Header) -> Result<Writer<W>, BackupError> {
        let mut hash = Sha256::new();
        for part in [BEGIN.as_slice(), &VERSION.to_le_bytes()] {
            out.write_all(part).map_err(io("writing the backup"))?;
            hash.update(part);
        }
        let mut writer = Writer { out, hash, number: 0, counts: Counts::default() };
        writer.write(Kind::Header, &[], &json(header))?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, key: &Key, value: Option<&[u8]>) -> Result<(), BackupError> {
        self.counts.rows += 1;
        self.counts.bytes += (key.0.len() + value.map_or(0, <[u8]>::len)) as u64;
        match value {
            Some(value) => self.write(Kind::Put, &key.0, value),
            None => self.write(Kind::Delete, &key.0, &[]),
        }
    }

    pub(super) fn item(&mut self, log: &Key, item: &[u8]) -> Result<(), BackupError> {
        self.counts.items += 1;
        self.counts.bytes += (log.0.len() + item.len()) as u64;
        self.write(Kind::Item, &log.0, item)
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The backup is whole.
    pub(super) fn end(mut self) -> Result<Counts, BackupError> {
        let sha256 = data_encoding::HEXLOWER.encode(&self.hash.clone().finalize());
        self.write(Kind::End, &[], &json(&End { counts: self.counts, sha256 }))?;
        self.out.flush().map_err(io("writing the backup"))?;
        Ok(self.counts)
    }

    /// The backup will never be whole: says why to whoever reads it.
    pub(super) fn give_up(mut self, why: &BackupError) {
        let why = why.to_string();
        // The reader may be gone: then nobody is left to tell.
        let _ = self.write(Kind::GivenUp, &[], why.as_bytes()).and_then(|()| self.out.flush().map_err(io("flushing")));
    }

    fn write(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        let mut head = [0; HEADER_BYTES];
        head[0] = kind as u8;
        // Keys and items are below their bounds, which are far below these types' own.
        head[1..3].copy_from_slice(&(key.len() as u16).to_le_bytes());
        head[3..7].copy_from_slice(&(value.len() as u32).to_le_bytes());
        let crc = checksum(self.number, &head[..7], key, value);
        head[7..].copy_from_slice(&crc.to_le_bytes());
        for part in [head.as_slice(), key, value] {
            self.out.write_all(part).map_err(io("writing the backup"))?;
            self.hash.update(part);
        }
        self.number += 1;
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are JSON")
}

/// Over the record's number, what it says of itself, key and value.
fn checksum(number: u64, head: &[u8], key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [&number.to_le_bytes(), head, key, value] {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Reads a backup from its start to its end and trusts none of it.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    hash: Sha256,
    number: u64,
    at: u64,
    header: Header,
    counts: Counts,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads how it begins.
    pub fn open(source: R) -> Result<Reader<R>, BackupError> {
        let header = Header { gateway: String::new(), made_at: String::new(), release: String::new() };
        let counts = Counts::default();
        let mut reader = Reader { source, hash: Sha256::new(), number: 0, at: 0, header, counts, ended: false };
        let mut begin = [0; BEGIN.len()];
        match reader.fill(&mut begin) {
            Err(BackupError::CutShort { .. }) => return Err(BackupError::Foreign),
            read => read?,
        }
        if begin != *BEGIN {
            return Err(BackupError::Foreign);
        }
        let mut version = [0; 4];
        reader.fill(&mut version)?;
        match u32::from_le_bytes(version) {
            VERSION => {}
            found if found > VERSION => return Err(BackupError::Newer { found, known: VERSION }),
            _ => return Err(reader.damaged("there is no such format")),
        }
        let (kind, _, value) = reader.record()?;
        if kind != Kind::Header {
            return Err(reader.damaged("it does not begin with a header"));
        }
        reader.header = serde_json::from_slice(&value).map_err(|_| reader.damaged("the header is malformed"))?;
        Ok(reader)
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What has been read so far; after the end, what it holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next record; none at the end, when counts and checksum were right.
    pub fn next_record(&mut self) -> Result<Option<Record>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        let before = self.hash.clone();
        let (kind, key, value) = self.record()?;
        let bytes = (key.len() + value.len()) as u64;
        let record = match kind {
            Kind::Put => Record::Put(Key(key), value),
            Kind::Delete => Record::Delete(Key(key)),
            Kind::Item => Record::Item(Key(key), value),
            Kind::Header => return Err(self.damaged("a second header")),
            Kind::GivenUp => return Err(BackupError::GivenUp(String::from_utf8_lossy(&value).into_owned())),
            Kind::End => {
                let end: End = serde_json::from_slice(&value).map_err(|_| self.damaged("the end is malformed"))?;
                if end.counts != self.counts {
                    return Err(self.damaged("the end counts other records than there are"));
                }
                if end.sha256 != data_encoding::HEXLOWER.encode(&before.finalize()) {
                    return Err(self.damaged("the checksum of the whole does not fit"));
                }
                if self.source.read(&mut [0]).map_err(io("reading the backup"))? != 0 {
                    return Err(self.damaged("something follows the end"));
                }
                self.ended = true;
                return Ok(None);
            }
        };
        self.counts.bytes += bytes;
        match record {
            Record::Put(..) | Record::Delete(_) => self.counts.rows += 1,
            Record::Item(..) => self.counts.items += 1,
        }
        Ok(Some(record))
    }

    fn record(&mut self) -> Result<(Kind, Vec<u8>, Vec<u8>), BackupError> {
        let mut head = [0; HEADER_BYTES];
        self.fill(&mut head)?;
        let kind = Kind::of(head[0]).ok_or_else(|| self.damaged("there is no such kind of record"))?;
        let key_bytes = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let value_bytes = u32::from_le_bytes([head[3], head[4], head[5], head[6]]) as usize;
        if key_bytes > KEY_BYTES_MAX || value_bytes > ITEM_BYTES_MAX {
            return Err(self.damaged("a record above the bound"));
        }
        let (mut key, mut value) = (vec![0; key_bytes], vec![0; value_bytes]);
        self.fill(&mut key)?;
        self.fill(&mut value)?;
        let crc = u32::from_le_bytes([head[7], head[8], head[9], head[10]]);
        if crc != checksum(self.number, &head[..7], &key, &value) {
            return Err(self.damaged("its checksum does not fit"));
        }
        self.number += 1;
        Ok((kind, key, value))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let mut got = 0;
        while got < bytes.len() {
            match self.source.read(&mut bytes[got..]) {
                Ok(0) => return Err(BackupError::CutShort { at: self.at + got as u64, records: self.number }),
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io("reading the backup")(error)),
            }
        }
        self.at += bytes.len() as u64;
        self.hash.update(&bytes[..]);
        Ok(())
    }

    fn damaged(&self, cause: &'static str) -> BackupError {
        BackupError::Damaged { at: self.at, record: self.number, cause }
    }
}

/// Reads all of a backup for no other end than to know that it is whole.
pub fn read_all(source: impl Read) -> Result<(Header, Counts), BackupError> {
    let mut reader = Reader::open(source)?;
    while reader.next_record()?.is_some() {}
    Ok((reader.header().clone(), reader.counts()))
}
