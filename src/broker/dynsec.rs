//! Accounts of devices at a mosquitto with the dynamic security plugin, kept over its control
//! topic: each device has an account with its own password and a role with its own topics.
//!
//! What the broker has is read back at each connection, so that the gateway needs no memory of
//! it: an account's description says for which generation of the secret it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthway_core::id::DeviceKey;
use hearthway_core::wire::topic::{ROOT, device_topic};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::house::House;
use super::line::{Dial, Happening, Heard, Letter, Line};
use super::{metrics as names, selftest};
use crate::app::broker::AccountKeeper;
use crate::mqtt::Known;

/// Where commands go, and where their answers come.
const COMMANDS: &str = "$CONTROL/dynamic-security/v1";
const ANSWERS: &str = "$CONTROL/dynamic-security/v1/response";
/// The role that the gateway gives its own account.
const GATEWAY_ROLE: &str = "hearthway";
/// Accounts written with one message: each is below a kilobyte, and the broker answers each.
const ACCOUNTS_PER_MESSAGE: usize = 32;
/// Accounts read back with one message.
const ACCOUNTS_PER_PAGE: usize = 100;
/// How long the broker may take to answer a command.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(10);
/// How long somebody who registers a device waits for the broker to know of it.
const CHANGE_SECONDS_MAX: Duration = Duration::from_secs(5);
/// The pause before a new connection: the first one, and all that follow a failure.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(5);
/// What an account's description says.
const DESCRIPTION: &str = "hearthway generation ";

/// Which accounts must be looked at.
#[derive(Default)]
pub struct Accounts {
    inner: Mutex<Changes>,
    bell: Notify,
    written: Notify,
}

/// Bounded by the devices that are registered.
#[derive(Default)]
struct Changes {
    is_up: bool,
    changed: BTreeSet<DeviceKey>,
    /// Taken and not yet written.
    under_way: BTreeSet<DeviceKey>,
}

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device's account must be looked at.
    pub fn look_at(&self, device: &DeviceKey) {
        self.lock().changed.insert(device.clone());
        self.bell.notify_one();
    }

    fn take(&self) -> Vec<DeviceKey> {
        let mut changes = self.lock();
        let taken: Vec<_> = changes.changed.iter().take(ACCOUNTS_PER_MESSAGE).cloned().collect();
        for device in &taken {
            changes.changed.remove(device);
            changes.under_way.insert(device.clone());
        }
        taken
    }

    fn finish(&self) {
        self.lock().under_way.clear();
        self.written.notify_waiters();
    }

    fn set_up(&self, is_up: bool) {
        let mut changes = self.lock();
        changes.is_up = is_up;
        let again = std::mem::take(&mut changes.under_way);
        changes.changed.extend(again);
        drop(changes);
        self.written.notify_waiters();
    }

    /// Whether the account is still to be written, by a connection that can.
    fn is_open(&self, device: &DeviceKey) -> bool {
        let changes = self.lock();
        changes.is_up && (changes.changed.contains(device) || changes.under_way.contains(device))
    }

    async fn wait_for(&self, device: &DeviceKey) {
        loop {
            // Listened for first: what is written in between is heard, too.
            let written = self.written.notified();
            if !self.is_open(device) {
                return;
            }
            written.await;
        }
    }
}

impl AccountKeeper for House {
    fn changed<'a>(&'a self, device: &'a DeviceKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.accounts.look_at(device);
        Box::pin(async move {
            // Longer than this nobody waits: the device tries again, and so do we.
            let _ = timeout(CHANGE_SECONDS_MAX, self.accounts.wait_for(device)).await;
        })
    }
}

/// Keeps the accounts until the link ends. `ready` turns true when the gateway's own role and the
/// test account are there.
pub async fn run(house: Arc<House>, dial: Dial, ready: watch::Sender<bool>) {
    let dial = Dial { client_id: format!("{}-accounts", dial.client_id), session_seconds: None, ..dial };
    let mut tries: u64 = 0;
    loop {
        let why = match Keeper::connect(&house, &dial).await {
            Ok(mut keeper) => match keeper.keep(&ready, &mut tries).await {
                Err(why) => why,
                Ok(never) => match never {},
            },
            Err(why) => why,
        };
        house.accounts.set_up(false);
        tries += 1;
        if tries.is_power_of_two() {
            tracing::warn!(tries, "The accounts of devices cannot be kept at the broker: {why}");
        }
        sleep(if tries == 1 { PAUSE_FIRST } else { PAUSE }).await;
    }
}

/// One connection over which accounts are kept.
struct Keeper {
    house: Arc<House>,
    line: Line,
    heard: Heard,
    /// What the broker has: generation and whether it is disabled. Bounded as the devices are.
    accounts: BTreeMap<String, Account>,
    commands: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    generation: u32,
    is_disabled: bool,
}

enum Never {}

impl Keeper {
    async fn connect(house: &Arc<House>, dial: &Dial) -> Result<Keeper, String> {
        let (line, heard) = Line::open(dial);
        let mut keeper = Keeper { house: house.clone(), line, heard, accounts: BTreeMap::new(), commands: 0 };
        keeper.wait_until(|event| matches!(event, Happening::Open(_))).await?;
        keeper.line.subscribe(&[ANSWERS.to_owned()]).map_err(|gone| gone.to_string())?;
        let granted = keeper.wait_until(|event| matches!(event, Happening::Subscribed(_))).await?;
        if granted != Happening::Subscribed(vec![true]) {
            return Err(format!(
                "its account may not listen to `{ANSWERS}`; it must be an administrator of the plugin"
            ));
        }
        Ok(keeper)
    }

    async fn wait_until(&mut self, fits: impl Fn(&Happening) -> bool) -> Result<Happening, String> {
        let events = &mut self.heard.events;
        let waited = timeout(ANSWER_SECONDS_MAX, async {
            loop {
                match events.recv().await {
                    Some(Happening::Closed { why }) => return Err(why),
                    Some(event) if fits(&event) => return Ok(event),
                    Some(_) => {}
                    None => return Err("the connection ended".to_owned()),
                }
            }
        });
        waited.await.map_err(|_| "the broker does not answer".to_owned())?
    }

    /// Writes what is missing, then whatever changes.
    async fn keep(&mut self, ready: &watch::Sender<bool>, tries: &mut u64) -> Result<Never, String> {
        self.grant_self().await?;
        self.read_accounts().await?;
        if let Some(probe) = selftest::probe_of(&self.house.settings, |device| (self.house.secret)(device, 1)) {
            let known = Known { generation: 1, credential_used: true, suspended: false };
            let commands = self.commands_for(&probe.device, known);
            self.command(commands).await?;
        }
        ready.send_replace(true);
        *tries = 0;
        self.house.accounts.set_up(true);
        self.write_missing().await?;
        loop {
            let changed = self.house.accounts.take();
            if changed.is_empty() {
                self.rest().await?;
                continue;
            }
            self.write(&changed).await?;
            self.house.accounts.finish();
        }
    }

    /// Waits for a change, or for the end of the connection.
    async fn rest(&mut self) -> Result<(), String> {
        tokio::select! {
            () = self.house.accounts.bell.notified() => Ok(()),
            event = self.heard.events.recv() => match event {
                Some(Happening::Closed { why }) => Err(why),
                Some(_) => Ok(()),
                None => Err("the connection ended".to_owned()),
            },
        }
    }

    /// An administrator of the plugin may not use other topics by itself.
    async fn grant_self(&mut self) -> Result<(), String> {
        let Some((own, _)) = self.house.settings.credentials.clone() else {
            return Err("the gateway has no account; set `username` and HEARTHWAY_BROKER_PASSWORD".to_owned());
        };
        let acls: Vec<Value> = ["publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern"]
            .map(|kind| rule(kind, &format!("{ROOT}/#")))
            .into();
        let create = json!({"command": "createRole", "rolename": GATEWAY_ROLE, "acls": acls});
        let answers = self.command(vec![create, json!({"command": "getClient", "username": own})]).await?;
        let described = answers.iter().find(|answer| answer["command"] == "getClient");
        let roles = described.and_then(|answer| answer["data"]["client"]["roles"].as_array());
        let has_it = roles.is_some_and(|roles| roles.iter().any(|role| role["rolename"] == GATEWAY_ROLE));
        if has_it {
            return Ok(());
        }
        // The broker cuts an account whose roles change: all our connections, this one included.
        let add = json!({"command": "addClientRole", "username": own, "rolename": GATEWAY_ROLE});
        tracing::info!("The gateway gives its account at the broker the role `{GATEWAY_ROLE}` and connects again");
        self.command(vec![add]).await.map(drop)
    }

    async fn read_accounts(&mut self) -> Result<(), String> {
        self.accounts.clear();
        for page in 0.. {
            let offset = page * ACCOUNTS_PER_PAGE;
            let ask = json!({"command": "listClients", "verbose": true, "count": ACCOUNTS_PER_PAGE, "offset": offset});
            let answers = self.command(vec![ask]).await?;
            let clients = answers.first().and_then(|answer| answer["data"]["clients"].as_array().cloned());
            let clients = clients.ok_or("the broker does not list its accounts")?;
            for client in &clients {
                let described = client["textdescription"].as_str().and_then(|text| text.strip_prefix(DESCRIPTION));
                if let (Some(name), Some(generation)) =
                    (client["username"].as_str(), described.and_then(|text| text.parse().ok()))
                {
                    let is_disabled = client["disabled"].as_bool().unwrap_or_default();
                    self.accounts.insert(name.to_owned(), Account { generation, is_disabled });
                }
            }
            if clients.len() < ACCOUNTS_PER_PAGE {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Compares every registered device with what the broker has.
    async fn write_missing(&mut self) -> Result<(), String> {
        let mut after: Option<DeviceKey> = None;
        loop {
            let page = (self.house.devices)(after.as_ref(), ACCOUNTS_PER_MESSAGE);
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            self.write(&page).await?;
        }
    }

    async fn write(&mut self, devices: &[DeviceKey]) -> Result<(), String> {
        let mut commands = Vec::new();
        for device in devices {
            // Read at this moment, so that the last of several changes wins.
            if let Some(known) = self.house.intake.known(device) {
                commands.extend(self.commands_for(device, known));
            }
        }
        if commands.is_empty() { Ok(()) } else { self.command(commands).await.map(drop) }
    }

    /// What makes the account what it should be; nothing where it is, for a change cuts the device.
    fn commands_for(&mut self, device: &DeviceKey, known: Known) -> Vec<Value> {
        let name = device.to_string();
        let wanted = Account { generation: known.generation, is_disabled: known.suspended };
        let before = self.accounts.insert(name.clone(), wanted);
        if before == Some(wanted) {
            return Vec::new();
        }
        metrics::counter!(names::ACCOUNTS).increment(1);
        let role = format!("device {name}");
        let (password, description) =
            ((self.house.secret)(device, known.generation), format!("{DESCRIPTION}{}", known.generation));
        let mut commands = Vec::new();
        match before {
            None => {
                let mut acls = vec![
                    rule("publishClientSend", &device_topic(device, "presence")),
                    rule("publishClientSend", &device_topic(device, "desc")),
                    rule("publishClientSend", &device_topic(device, "up/#")),
                ];
                acls.extend(
                    ["publishClientReceive", "subscribePattern"]
                        .map(|kind| rule(kind, &device_topic(device, "down/#"))),
                );
                commands.push(json!({"command": "createRole", "rolename": role, "acls": acls}));
                commands.push(json!({"command": "createClient", "username": name, "password": password,
                    "textdescription": description, "roles": [{"rolename": role}]}));
            }
            Some(before) if before.generation != wanted.generation => {
                commands.push(json!({"command": "modifyClient", "username": name, "password": password,
                    "textdescription": description}));
            }
            Some(_) => {}
        }
        if before.is_some_and(|before| before.is_disabled) != wanted.is_disabled {
            let word = if wanted.is_disabled { "disableClient" } else { "enableClient" };
            commands.push(json!({"command": word, "username": name}));
        }
        commands
    }

    /// Sends commands and waits for the answer to each. What exists already is no failure.
    async fn command(&mut self, mut commands: Vec<Value>) -> Result<Vec<Value>, String> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.commands += 1;
        let number = self.commands.to_string();
        for command in &mut commands {
            command["correlationData"] = json!(number);
        }
        let letter = Letter {
            topic: COMMANDS.to_owned(),
            payload: json!({"commands": commands}).to_string().into_bytes(),
            qos: 1,
            expiry_seconds: None,
            user: Vec::new(),
        };
        self.line.publish(letter, self.commands).map_err(|gone| gone.to_string())?;
        let mut answers = Vec::new();
        while answers.len() < commands.len() {
            let message = tokio::select! {
                message = timeout(ANSWER_SECONDS_MAX, self.heard.messages.recv()) => message,
                event = self.heard.events.recv() => match event {
                    Some(Happening::Closed { why }) => return Err(why),
                    Some(_) => continue,
                    None => return Err("the connection ended".to_owned()),
                },
            };
            let message = message.map_err(|_| "the broker does not answer; has it the dynamic security plugin?")?;
            let message = message.ok_or("the connection ended")?;
            self.line.acknowledger().acknowledge(message.id, message.qos);
            let said: Value = serde_json::from_slice(&message.payload).map_err(|_| "the broker's answer is no JSON")?;
            let ours = said["responses"].as_array().cloned().unwrap_or_default().into_iter();
            answers.extend(ours.filter(|answer| answer["correlationData"] == number.as_str()));
        }
        let refused = answers.iter().filter_map(|answer| Some((answer, answer["error"].as_str()?)));
        match refused.into_iter().find(|(_, error)| !is_already_so(error)) {
            Some((answer, error)) => Err(format!("`{}`: {error}", answer["command"].as_str().unwrap_or("?"))),
            None => Ok(answers),
        }
    }
}

fn rule(kind: &str, topic: &str) -> Value {
    json!({"acltype": kind, "topic": topic, "priority": 0, "allow": true})
}

/// The plugin's words for what a repeated command finds.
fn is_already_so(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    error.contains("already exists") || error.contains("already in")
}
