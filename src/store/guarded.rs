//! Calls of a library that panics on damage: a panic comes back as an error.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// How many guarded calls this thread is in.
    static GUARDED: Cell<usize> = const { Cell::new(0) };
}

/// Runs a piece of work: an error and a panic both come back as text, and a panic here is not
/// printed, because the error says it.
pub(super) fn guarded<T, E: ToString>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let printing = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if GUARDED.get() == 0 {
                printing(panicked);
            }
        }));
    });
    GUARDED.set(GUARDED.get() + 1);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(GUARDED.get() - 1);
    match done {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panicked) => Err(format!("the engine panicked: {}", words_of(&*panicked))),
    }
}

/// The first words of a panic; some print whole pages.
fn words_of(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("without a word");
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let said = guarded::<(), String>(|| panic!("page 7 is upside down")).expect_err("it panicked");
        assert_eq!(said, "the engine panicked: page 7 is upside down");
    }
}
