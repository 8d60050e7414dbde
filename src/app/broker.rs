//! What the application knows of brokers: who answers for them, and who keeps their accounts.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};

use hearthway_core::id::DeviceKey;

use super::App;

/// What a client of a broker wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Say something on it.
    Publish,
    /// Listen to it.
    Subscribe,
}

/// Answers a broker that asks who its clients are.
pub trait BrokerDesk: Send + Sync + 'static {
    /// Whether a client with this user name and password is who it says.
    fn admits(&self, username: &str, password: &[u8]) -> bool;
    /// Whether a client of this name may do that.
    fn allows(&self, username: &str, action: Action, topic: &str) -> bool;
}

/// Keeps the accounts of devices at a broker.
pub trait AccountKeeper: Send + Sync + 'static {
    /// A device's account changed. Resolves when the broker knows, or cannot be told now; what
    /// could not be told is told later.
    fn changed<'a>(&'a self, device: &'a DeviceKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The two, where there are any.
#[derive(Default)]
pub(super) struct Brokers {
    desk: RwLock<Option<Arc<dyn BrokerDesk>>>,
    keeper: RwLock<Option<Arc<dyn AccountKeeper>>>,
}

impl App {
    /// From here on brokers that ask are answered.
    pub fn set_broker_desk(&self, desk: Arc<dyn BrokerDesk>) {
        *self.brokers.desk.write().expect("no holder of this lock panics") = Some(desk);
    }

    /// From here on accounts are kept at a broker.
    pub fn set_account_keeper(&self, keeper: Arc<dyn AccountKeeper>) {
        *self.brokers.keeper.write().expect("no holder of this lock panics") = Some(keeper);
    }

    /// Whether a broker should let a client in. Without a desk nobody is.
    pub fn broker_admits(&self, username: &str, password: &[u8]) -> bool {
        self.desk().is_some_and(|desk| desk.admits(username, password))
    }

    /// Whether a broker should let a client do something. Without a desk nobody may.
    pub fn broker_allows(&self, username: &str, action: Action, topic: &str) -> bool {
        self.desk().is_some_and(|desk| desk.allows(username, action, topic))
    }

    /// Has a device's account at the broker written, where the gateway keeps it.
    pub(crate) async fn account_changed(&self, device: &DeviceKey) {
        let keeper = self.brokers.keeper.read().expect("no holder of this lock panics").clone();
        if let Some(keeper) = keeper {
            keeper.changed(device).await;
        }
    }

    fn desk(&self) -> Option<Arc<dyn BrokerDesk>> {
        self.brokers.desk.read().expect("no holder of this lock panics").clone()
    }
}
