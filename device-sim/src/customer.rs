//! The people and the shop behind a home: who confirms a claim code, who ships an order, and who
//! can look into the gateway on the oracle's behalf.

use serde_json::Value;

use crate::clock::Soon;
use crate::fleet::Home;

/// What the shop's side of the story does.
pub trait Customer: Send + Sync + 'static {
    /// Confirms a claim code for the owner of a home: the profile is the home's id, its consents
    /// are [`Home::consents`].
    fn confirm<'a>(&'a self, code: &'a str, home: &'a Home) -> Soon<'a, Result<(), String>>;

    /// Moves an order on, such as to `shipped`; `rev` is the order's revision + 1. A host whose
    /// shop moves orders by itself leaves this as it is.
    fn advance<'a>(&'a self, order: &'a str, rev: u32, state: &'a str) -> Soon<'a, Result<(), String>> {
        let _ = (order, rev, state);
        Box::pin(async { Ok(()) })
    }
}

/// Looks into the gateway, so that the oracle can tell whether an acknowledged report arrived.
pub trait Witness: Send + Sync + 'static {
    /// `items` of `GET /v1/devices/{device}/slots`; none where the device cannot be seen.
    fn slots<'a>(&'a self, device: &'a str) -> Soon<'a, Result<Vec<Value>, String>>;
}
