//! The `[broker]` section: from keys to the settings of the broker link.

use std::path::PathBuf;

use hearthway_core::id::DeviceKey;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::broker::{AccountsBy, Address, Probe, Settings, TlsFiles};

/// The broker link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Where the broker is; without it there is no link.
    pub url: Option<String>,
    /// The gateway's user name.
    pub username: Option<String>,
    /// The gateway's client id.
    pub client_id: String,
    /// The shared subscription's group.
    pub group: String,
    /// How long the broker keeps the session.
    pub session_seconds: u32,
    /// Publishes in flight.
    pub in_flight_max: u16,
    /// Unacknowledged messages.
    pub receive_max: u16,
    /// Whether orders pass unsigned while the access rules are proved.
    pub unsigned_orders_where_acl_proved: bool,
    /// Who keeps the accounts of devices.
    pub accounts: Accounts,
    /// The account for the self-test.
    pub probe_username: Option<String>,
    /// Authorities for the broker's certificate.
    pub ca_file: Option<PathBuf>,
    /// The gateway's certificate chain.
    pub certificate_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The password; from the environment only.
    #[serde(skip)]
    pub password: Option<Password>,
    /// The password of the account for the self-test; from the environment only.
    #[serde(skip)]
    pub probe_password: Option<Password>,
}

/// Who keeps the accounts of devices at the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accounts {
    /// The operator.
    #[default]
    Operator,
    /// The gateway, over mosquitto's dynamic security plugin.
    Dynsec,
    /// The gateway, asked by the broker.
    HttpHook,
}

/// A password that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Default for Broker {
    fn default() -> Broker {
        Broker {
            url: None,
            username: None,
            client_id: "hearthway".to_owned(),
            group: "hearthway".to_owned(),
            session_seconds: 604_800,
            in_flight_max: 100,
            receive_max: 1_000,
            unsigned_orders_where_acl_proved: false,
            accounts: Accounts::Operator,
            probe_username: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            password: None,
            probe_password: None,
        }
    }
}

impl Broker {
    /// The settings of the link; none without a broker. What only shows when keys are seen
    /// together is checked here.
    pub fn settings(&self) -> Result<Option<Settings>, ConfigError> {
        let Some(url) = &self.url else { return Ok(None) };
        let wrong =
            |problem: String, help: &str| ConfigError::Section { section: "broker", problem, help: help.into() };
        let address: Address = url.parse().map_err(|problem| wrong(format!("`url` {problem}"), "mend the address"))?;
        if self.client_id.is_empty() {
            return Err(wrong("`client_id` is empty".into(), "a session at the broker needs a name"));
        }
        if self.group.contains(['/', '+', '#']) {
            return Err(wrong(format!("`group` is `{}`", self.group), "a group has neither `/` nor `+` nor `#`"));
        }
        let credentials = match (&self.username, &self.password) {
            (Some(username), Some(password)) => Some((username.clone(), password.0.clone())),
            (None, None) => None,
            (Some(_), None) => {
                let help = "set HEARTHWAY_BROKER_PASSWORD, or leave `username` out";
                return Err(wrong("`username` has no password".into(), help));
            }
            (None, Some(_)) => {
                return Err(wrong("HEARTHWAY_BROKER_PASSWORD has no `username`".into(), "set `username`"));
            }
        };
        let probe = match (&self.probe_username, &self.probe_password) {
            (Some(username), Some(password)) => {
                let device: Result<DeviceKey, _> = username.parse();
                let help = "write it as devices have it: `maker/device`";
                let device = device.map_err(|_| wrong(format!("`probe_username` is `{username}`"), help))?;
                Some(Probe { device, password: password.0.clone() })
            }
            (None, None) => None,
            _ => {
                let help = "set both `probe_username` and HEARTHWAY_BROKER_PROBE_PASSWORD, or neither";
                return Err(wrong("the account for the self-test is half given".into(), help));
            }
        };
        let tls = TlsFiles {
            ca: self.ca_file.clone(),
            certificate: self.certificate_file.clone(),
            key: self.key_file.clone(),
        };
        if address.tls && tls.ca.is_none() {
            let help = "name the PEM file of the authority that signed the broker's certificate";
            return Err(wrong("`url` says mqtts, and there is no `ca_file`".into(), help));
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            let help = "a certificate and its key belong together";
            return Err(wrong("only one of `certificate_file` and `key_file` is given".into(), help));
        }
        Ok(Some(Settings {
            address,
            client_id: self.client_id.clone(),
            credentials,
            group: self.group.clone(),
            in_flight_max: self.in_flight_max,
            receive_max: self.receive_max,
            session_seconds: self.session_seconds,
            accepts_unsigned_where_proved: self.unsigned_orders_where_acl_proved,
            accounts: match self.accounts {
                Accounts::Operator => AccountsBy::Operator,
                Accounts::Dynsec => AccountsBy::Dynsec,
                Accounts::HttpHook => AccountsBy::HttpHook,
            },
            probe,
            tls,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_told_with_the_cure() {
        let url = |url: &str| Broker { url: Some(url.into()), ..Broker::default() };
        assert!(Broker::default().settings().unwrap().is_none());
        assert!(url("mqtt://hub").settings().unwrap().is_some());
        let secret = || Some(Password("secret".into()));
        for (broker, said) in [
            (url("mqtts://hub"), "ca_file"),
            (Broker { username: Some("g".into()), ..url("mqtt://hub") }, "no password"),
            (Broker { password: secret(), ..url("mqtt://hub") }, "no `username`"),
            (Broker { group: "a/b".into(), ..url("mqtt://hub") }, "`a/b`"),
            (Broker { probe_username: Some("acme/probe".into()), ..url("mqtt://hub") }, "half given"),
            (Broker { probe_username: Some("probe".into()), probe_password: secret(), ..url("mqtt://hub") }, "`probe`"),
            (Broker { key_file: Some("k".into()), ..url("mqtt://hub") }, "only one"),
        ] {
            let error = broker.settings().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(!format!("{broker:?}").contains("secret"));
        }
    }
}
