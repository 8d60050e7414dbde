//! The bounded JSON reader: bytes in; a small tree that borrows from them, or one refusal with its place.
//!
//! serde_json does the lexing; this visitor keeps the bounds of the contract while the tree
//! grows, so that a poison message costs no more than a good one of its size.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::code::{Code, Refusal};
use crate::limits::{JSON_DEPTH_MAX, JSON_KEYS_MAX, PAYLOAD_BYTES_MAX, STRING_BYTES_MAX};

/// A JSON value that borrows its texts from the payload where it can.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object, in their order; no key stands twice.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Json<'_> {
    /// What it is, in words, for the person who mends it: "the text `abc`".
    pub(super) fn describe(&self) -> String {
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(b) => format!("the boolean {b}"),
            Json::Integer(n) => format!("the number {n}"),
            Json::Number(x) => format!("the number {x}"),
            Json::Text(text) => format!("the text `{}`", shortened(text)),
            Json::List(_) => "a list".to_owned(),
            Json::Object(_) => "an object".to_owned(),
        }
    }
}

/// At most 40 characters of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl<'a> From<&'a serde_json::Value> for Json<'a> {
    fn from(value: &'a serde_json::Value) -> Json<'a> {
        match value {
            serde_json::Value::Null => Json::Null,
            serde_json::Value::Bool(b) => Json::Bool(*b),
            // A number beyond i64 is a float here; serde_json holds finite ones only.
            serde_json::Value::Number(n) => {
                n.as_i64().map_or_else(|| n.as_f64().map_or(Json::Null, Json::Number), Json::Integer)
            }
            serde_json::Value::String(text) => Json::Text(Cow::Borrowed(text)),
            serde_json::Value::Array(list) => Json::List(list.iter().map(Json::from).collect()),
            serde_json::Value::Object(members) => {
                Json::Object(members.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), value.into())).collect())
            }
        }
    }
}

/// A payload that could not be read, with the id that stood in it before the fault.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) refusal: Refusal,
    pub(super) id: Option<String>,
}

/// Reads a payload within the bounds of the contract.
pub(super) fn read(payload: &[u8]) -> Result<Json<'_>, Unreadable> {
    let text = text_of(payload).map_err(|refusal| Unreadable { refusal, id: None })?;
    let mut progress = Progress { path: Vec::with_capacity(JSON_DEPTH_MAX), keys: 0, id: None, refusal: None };
    let mut from = serde_json::Deserializer::from_str(text);
    let tree = Node { progress: &mut progress }.deserialize(&mut from).and_then(|tree| from.end().map(|()| tree));
    tree.map_err(|error| Unreadable {
        refusal: progress.refusal.take().unwrap_or_else(|| malformed(&error, pointer(&progress.path))),
        id: progress.id.take().map(Cow::into_owned),
    })
}

fn text_of(payload: &[u8]) -> Result<&str, Refusal> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Refusal::new(
            Code::PayloadTooLarge,
            format!(
                "the payload has {} bytes, the limit is {PAYLOAD_BYTES_MAX}; send it in several messages",
                payload.len()
            ),
        ));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        Refusal::new(
            Code::PayloadInvalid,
            format!("the payload is not UTF-8 (byte {}); send JSON text in UTF-8", error.valid_up_to()),
        )
    })?;
    if text.trim().is_empty() {
        return Err(Refusal::new(
            Code::PayloadInvalid,
            "the payload is empty; send a JSON object, at least the two characters {}",
        ));
    }
    Ok(text)
}

fn malformed(error: &serde_json::Error, pointer: Option<String>) -> Refusal {
    let text = error.to_string();
    let message = if text.starts_with("number out of range") {
        "the number is too large; send finite numbers a double can hold".to_owned()
    } else {
        format!("the payload is not valid JSON: {text}; check it with a JSON parser (NaN and Infinity are not JSON)")
    };
    Refusal { pointer, ..Refusal::new(Code::PayloadInvalid, message) }
}

/// One step from the whole payload towards a value.
enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

fn pointer(path: &[Step<'_>]) -> Option<String> {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => text.push_str(&place(key)),
            Step::Index(index) => text.push_str(&place(&index.to_string())),
        }
    }
    (!text.is_empty()).then_some(text)
}

/// One step of a JSON pointer (RFC 6901): `a/b` → `/a~1b`.
pub(super) fn place(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Where the reader is and what it has counted.
struct Progress<'a> {
    /// Steps to the value being read. Not unwound by an error, so it says where that was.
    path: Vec<Step<'a>>,
    /// Members of all objects so far.
    keys: usize,
    /// A text `id` at the top, for the answer to a message that breaks later.
    id: Option<Cow<'a, str>>,
    /// Our own refusal, which serde's error type cannot carry.
    refusal: Option<Refusal>,
}

impl Progress<'_> {
    fn refuse<E: de::Error>(&mut self, code: Code, message: String) -> E {
        self.refusal = Some(Refusal { pointer: pointer(&self.path), ..Refusal::new(code, message) });
        E::custom("refused")
    }
    fn check_depth<E: de::Error>(&mut self) -> Result<(), E> {
        if self.path.len() >= JSON_DEPTH_MAX {
            return Err(self.refuse(
                Code::PayloadInvalid,
                format!("objects and lists are nested deeper than {JSON_DEPTH_MAX}; send a flatter message"),
            ));
        }
        Ok(())
    }
    fn check_string<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.len() > STRING_BYTES_MAX {
            let message =
                format!("a text has {} bytes, the limit is {STRING_BYTES_MAX}; send a shorter one", text.len());
            return Err(self.refuse(Code::PayloadTooLarge, message));
        }
        Ok(())
    }
    fn check_key<E: de::Error>(&mut self, key: &str) -> Result<(), E> {
        self.check_string(key)?;
        self.keys += 1;
        if self.keys > JSON_KEYS_MAX {
            let message = format!("the objects have more than {JSON_KEYS_MAX} members together; send fewer at a time");
            return Err(self.refuse(Code::PayloadTooLarge, message));
        }
        Ok(())
    }
    fn duplicate<E: de::Error>(&mut self, key: &str) -> E {
        self.refuse(
            Code::PayloadInvalid,
            format!("`{}` stands twice in the same object; keep one of them", shortened(key)),
        )
    }
}

/// Reads one value.
struct Node<'p, 'a> {
    progress: &'p mut Progress<'a>,
}

impl<'de> DeserializeSeed<'de> for Node<'_, 'de> {
    type Value = Json<'de>;
    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Json<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, 'de> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        self.progress.check_string(text)?;
        Ok(Json::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json<'de>, E> {
        self.progress.check_string(text)?;
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        self.progress.check_depth()?;
        let mut list = Vec::new();
        loop {
            self.progress.path.push(Step::Index(list.len()));
            let Some(value) = seq.next_element_seed(Node { progress: &mut *self.progress })? else { break };
            list.push(value);
            self.progress.path.pop();
        }
        self.progress.path.pop();
        Ok(Json::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        /// Members up to which each new key is compared with all before it; larger objects are sorted once.
        const COMPARED_MAX: usize = 16;
        self.progress.check_depth()?;
        // An envelope has five members or more; inner objects mostly have fewer than a Vec begins with.
        let mut members: Members<'de> = Vec::with_capacity(if self.progress.path.is_empty() { 8 } else { 0 });
        while let Some(key) = map.next_key_seed(Key)? {
            self.progress.check_key(&key)?;
            self.progress.path.push(Step::Key(key.clone()));
            if members.len() < COMPARED_MAX && members.iter().any(|(earlier, _)| *earlier == key) {
                return Err(self.progress.duplicate(&key));
            }
            let value = map.next_value_seed(Node { progress: &mut *self.progress })?;
            if self.progress.path.len() == 1
                && key == "id"
                && let Json::Text(id) = &value
            {
                self.progress.id = Some(id.clone());
            }
            self.progress.path.pop();
            members.push((key, value));
        }
        if members.len() > COMPARED_MAX {
            let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                self.progress.path.push(Step::Key(Cow::Owned(twice[0].to_owned())));
                return Err(self.progress.duplicate(twice[0]));
            }
        }
        Ok(Json::Object(members))
    }
}

/// Reads a member's name, borrowed where it holds no escape.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(text: &str) -> (Code, Option<String>) {
        let refusal = read(text.as_bytes()).unwrap_err().refusal;
        (refusal.code, refusal.pointer)
    }
    fn at(code: Code, pointer: &str) -> (Code, Option<String>) {
        (code, Some(pointer.to_owned()))
    }

    #[test]
    fn texts_are_borrowed_and_numbers_keep_their_kind() {
        let tree = read(br#" {"a":[1,-2,1.5,18446744073709551615],"b":"x","c":"\u0041","d":[true,null,{}]} "#).unwrap();
        let Json::Object(members) = tree else { panic!("an object") };
        assert_eq!(
            members[0].1,
            Json::List(vec![Json::Integer(1), Json::Integer(-2), Json::Number(1.5), Json::Number(u64::MAX as f64)])
        );
        assert!(matches!(members[1].1, Json::Text(Cow::Borrowed("x"))));
        assert_eq!(members[2].1, Json::Text("A".into()));
        assert_eq!(members[3].1, Json::List(vec![Json::Bool(true), Json::Null, Json::Object(vec![])]));
    }

    #[test]
    fn a_fault_is_pointed_at() {
        assert_eq!(refused(r#"{"samples":[{"t":1},{"t":NaN}]}"#), at(Code::PayloadInvalid, "/samples/1/t"));
        assert_eq!(refused(r#"{"a":{"b":1e999}}"#), at(Code::PayloadInvalid, "/a/b"));
        assert_eq!(refused(r#"{"a":"\ud800"}"#), at(Code::PayloadInvalid, "/a"));
        assert_eq!(refused(r#"{"a/b":{"c~d":x}}"#), at(Code::PayloadInvalid, "/a~1b/c~0d"));
        assert_eq!(refused(r#"{"a":1"#).0, Code::PayloadInvalid);
        assert_eq!(refused(r#"{} {}"#), (Code::PayloadInvalid, None));
        assert_eq!(refused("  "), (Code::PayloadInvalid, None));
        assert_eq!(read(b"{\"a\":\"\xff\"}").unwrap_err().refusal.code, Code::PayloadInvalid);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_in_small_and_large_objects() {
        assert_eq!(refused(r#"{"a":{"b":1,"b":2}}"#), at(Code::PayloadInvalid, "/a/b"));
        assert_eq!(refused(r#"{"a":1,"\u0061":2}"#), at(Code::PayloadInvalid, "/a"));
        let many: Vec<String> = (0..40).map(|n| format!(r#""k{}":1"#, n % 39)).collect();
        assert_eq!(refused(&format!("{{{}}}", many.join(","))), at(Code::PayloadInvalid, "/k0"));
    }

    #[test]
    fn depth_eight_is_served_and_nine_refused() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(8).as_bytes()).is_ok());
        assert_eq!(refused(&nested(9)), at(Code::PayloadInvalid, "/0/0/0/0/0/0/0/0"));
        assert_eq!(refused(&nested(8000)), at(Code::PayloadInvalid, "/0/0/0/0/0/0/0/0"));
        assert!(refused(&r#"{"a":"#.repeat(3000)).1.is_some());
    }

    #[test]
    fn sizes_hold_exactly_at_their_bound() {
        let text = |n: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(n));
        assert!(read(text(STRING_BYTES_MAX).as_bytes()).is_ok());
        assert_eq!(refused(&text(STRING_BYTES_MAX + 1)), at(Code::PayloadTooLarge, "/a"));
        let object = |n: u8| {
            format!("{{{}}}", (0..n).map(|k| format!(r#""{}":1"#, char::from(b'0' + k))).collect::<Vec<_>>().join(","))
        };
        let keys = |rest: u8| format!("[{},{}]", vec![object(32); JSON_KEYS_MAX / 32 - 1].join(","), object(rest));
        assert!(read(keys(32).as_bytes()).is_ok());
        assert_eq!(refused(&keys(33)), at(Code::PayloadTooLarge, "/63"));
        let bytes = |n: usize| format!("{}{{}}", " ".repeat(n - 2));
        assert!(read(bytes(PAYLOAD_BYTES_MAX).as_bytes()).is_ok());
        assert_eq!(refused(&bytes(PAYLOAD_BYTES_MAX + 1)), (Code::PayloadTooLarge, None));
    }

    #[test]
    fn the_id_before_the_fault_is_kept_for_the_answer() {
        assert_eq!(read(br#"{"id":"m1","body":{"a":}}"#).unwrap_err().id.as_deref(), Some("m1"));
        assert_eq!(read(br#"{"body":{"id":"m1","a":}}"#).unwrap_err().id, None);
    }
}
