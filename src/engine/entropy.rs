//! The only place that draws randomness for inputs. It goes into an input and is logged with
//! it, so that a replay draws the same.

use std::cell::RefCell;

/// Numbers drawn from the operating system at once: one call then serves so many inputs.
const NUMBERS_PER_DRAW: usize = 64;

thread_local! {
    static DRAWN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// 64 random bits.
pub fn draw() -> u64 {
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            let mut bytes = [0; NUMBERS_PER_DRAW * 8];
            getrandom::fill(&mut bytes).expect("an operating system that runs programs gives randomness");
            drawn.extend(bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_ne_bytes(*chunk)));
        }
        // A number leaves the buffer when it is given out: claim codes come from here.
        let last = drawn.last_mut().map(std::mem::take);
        drawn.pop();
        last.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_number_comes_twice() {
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| super::draw()).collect();
        assert_eq!(drawn.len(), 200);
    }
}
