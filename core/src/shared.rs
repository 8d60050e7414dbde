//! One copy of each short text: the records of many homes say the same names again and again.
//!
//! What is read from the store names the same retailer, trigger, field and product in every record,
//! and the same device several times in one. Each thread remembers the texts that it met last, and
//! gives the same copy again. It changes what memory costs, never what a value is.

use std::cell::RefCell;
use std::sync::Arc;

use serde::de::{Deserializer, Visitor};

/// Texts that a thread remembers: the names of a shop's rules and products, with room for those of
/// the home at hand. A newer one takes the place of an older one.
const TEXTS_KEPT: usize = 1_024;
/// A longer text is hardly ever the same one again.
const TEXT_BYTES_MAX: usize = 64;

thread_local! {
    static TEXTS: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
}

/// A text, as the copy that this thread has already, if it has one.
pub fn shared(text: &str) -> Arc<str> {
    if text.len() > TEXT_BYTES_MAX {
        return Arc::from(text);
    }
    TEXTS.with_borrow_mut(|texts| {
        if texts.is_empty() {
            texts.resize(TEXTS_KEPT, None);
        }
        let place = &mut texts[hash(text) as usize % TEXTS_KEPT];
        match place {
            Some(known) if **known == *text => Arc::clone(known),
            _ => Arc::clone(place.insert(Arc::from(text))),
        }
    })
}

/// Reads a text as its shared copy: for `#[serde(deserialize_with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Arc<str>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(shared(text))
        }
    }
    from.deserialize_str(Text)
}

/// FNV-1a (Fowler, Noll, Vo): enough to spread names over places.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_one_copy_and_a_newer_text_takes_its_place() {
        let first = shared("load-shop");
        assert!(Arc::ptr_eq(&first, &shared("load-shop")));
        for n in 0..20_000 {
            assert_eq!(*shared(&format!("name-{n}")), *format!("name-{n}"));
        }
        assert!(!Arc::ptr_eq(&first, &shared("load-shop")), "its place went to another");
        assert_eq!(first, shared("load-shop"));
    }
}
