//! The only place of the engine that draws randomness. It goes into an input and is logged with
//! it, so that a replay draws the same.

use std::cell::Cell;

/// Numbers drawn from the operating system at once: one call then serves so many inputs.
const NUMBERS_PER_DRAW: usize = 64;

thread_local! {
    static DRAWN: Cell<([u64; NUMBERS_PER_DRAW], usize)> = const { Cell::new(([0; NUMBERS_PER_DRAW], NUMBERS_PER_DRAW)) };
}

/// 64 random bits.
pub fn draw() -> u64 {
    DRAWN.with(|drawn| {
        let (mut numbers, mut used) = drawn.get();
        if used == NUMBERS_PER_DRAW {
            let mut bytes = [0; NUMBERS_PER_DRAW * 8];
            getrandom::fill(&mut bytes).expect("an operating system that runs programs gives randomness");
            for (number, chunk) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *number = u64::from_ne_bytes(*chunk);
            }
            used = 0;
        }
        // A number leaves the buffer when it is given out: claim codes come from here.
        let number = std::mem::take(&mut numbers[used]);
        drawn.set((numbers, used + 1));
        number
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
