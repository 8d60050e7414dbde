//! The gateway as a whole: built from its parts, nothing global.
//!
//! Order of building: store, rules, engine, application, then the two listeners; traffic is taken
//! when both listen. Order of draining: the reverse, see [`crate::shutdown`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use miette::Diagnostic;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Store, StoreError};

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StartError {
    /// A listener cannot have its address.
    #[error("{what} cannot listen on {address}: {cause}")]
    Bind {
        /// `HTTP` or `MQTT`.
        what: &'static str,
        /// Where it wanted to listen.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
        /// How to mend it.
        #[help]
        help: String,
    },
    /// The store does not open, or does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is there, the key to its devices is not.
    #[error("the master key `{path}` is missing, and the data directory has been used with one")]
    #[diagnostic(help("restore the key from its backup; with a new one no device could log in any more"))]
    MasterKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The data directory cannot be made.
    #[error("making the data directory `{path}`: {cause}")]
    DataDirectory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Signals cannot be heard.
    #[error("listening for Ctrl-C and SIGTERM: {0}")]
    Signals(std::io::Error),
}

/// Says which flag, variable and key choose another address.
fn bind_error(what: &'static str, address: SocketAddr, cause: std::io::Error) -> StartError {
    let word = what.to_lowercase();
    let port = address.port();
    let mend = format!(
        "choose another address: `--{word}-bind {}:0` takes a free port; so do HEARTHWAY_{what}_BIND and `bind` in `[{word}]`",
        address.ip()
    );
    let help = match cause.kind() {
        std::io::ErrorKind::AddrInUse => format!("port {port} is in use by another program; {mend}"),
        std::io::ErrorKind::PermissionDenied => format!("port {port} needs more rights than this program has; {mend}"),
        _ => mend,
    };
    StartError::Bind { what, address, cause, help }
}
