//! The desk at which a broker asks who may come in and what they may do (`http-hook`).
//!
//! The rules are the endpoint's own. Whatever is in doubt is refused: brokers take an unclear
//! answer for none at all.

use std::sync::Arc;

use hearthway_core::id::DeviceKey;
use hearthway_core::wire::topic::{ROOT, Who, is_filter, is_topic, may_publish, may_subscribe};

use super::house::House;
use super::selftest;
use crate::app::broker::{Action, BrokerDesk};
use crate::mqtt::credentials::is_same;
use crate::mqtt::login::read_username;

/// The desk of one link.
pub struct Desk(pub(super) Arc<House>);

impl Desk {
    fn is_gateway(&self, username: &str) -> bool {
        self.0.settings.credentials.as_ref().is_some_and(|(own, _)| own == username)
    }

    fn is_probe_password(&self, device: &DeviceKey, password: &[u8]) -> bool {
        is_same((self.0.secret)(device, 1).as_bytes(), password)
    }
}

impl BrokerDesk for Desk {
    fn admits(&self, username: &str, password: &[u8]) -> bool {
        if let Some((own, secret)) = &self.0.settings.credentials
            && own == username
        {
            return is_same(secret.as_bytes(), password);
        }
        match read_username(username) {
            Ok(Who::Device(device)) if selftest::is_probe(&device) => self.is_probe_password(&device, password),
            Ok(Who::Device(device)) if self.0.intake.known(&device).is_none_or(|known| known.suspended) => false,
            Ok(_) => self.0.door.login(username, password).is_ok(),
            Err(_) => false,
        }
    }

    fn allows(&self, username: &str, action: Action, topic: &str) -> bool {
        if self.is_gateway(username) {
            return gateway_may(&self.0.settings.group, action, topic);
        }
        let Ok(who) = read_username(username) else { return false };
        if let Who::Device(device) = &who
            && !selftest::is_probe(device)
            && self.0.intake.known(device).is_none_or(|known| known.suspended)
        {
            return false;
        }
        match action {
            Action::Publish => may_publish(&who, topic),
            Action::Subscribe => may_subscribe(&who, topic),
        }
    }
}

/// The gateway's own user: everything below the contract's root, shared or not.
fn gateway_may(group: &str, action: Action, topic: &str) -> bool {
    let below = |topic: &str| topic.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/'));
    match action {
        Action::Publish => is_topic(topic) && below(topic),
        Action::Subscribe => {
            let share = format!("$share/{group}/");
            let filter = topic.strip_prefix(&share).unwrap_or(topic);
            is_filter(filter) && below(filter)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_has_the_contracts_topics_and_no_others() {
        for (topic, fine) in [
            ("$share/hearthway/chan/v1/+/+/up/#", true),
            ("chan/v1/acme/d-42/up/doctor", true),
            ("$share/others/chan/v1/+/+/up/#", false),
            ("#", false),
            ("chan/v10/#", false),
            ("$SYS/#", false),
        ] {
            assert_eq!(gateway_may("hearthway", Action::Subscribe, topic), fine, "{topic}");
        }
        assert!(gateway_may("hearthway", Action::Publish, "chan/v1/acme/d-42/down/offer"));
        assert!(!gateway_may("hearthway", Action::Publish, "$CONTROL/dynamic-security/v1"));
    }
}
