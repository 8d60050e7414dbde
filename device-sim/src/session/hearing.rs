//! What the gateway says, sorted to the parts that care.

use super::*;

impl Session {
    pub(super) fn message(&mut self, now: Timestamp, topic: &str, payload: &[u8], wishes: &mut Vec<Wish>) {
        let down: Down = match serde_json::from_slice(payload) {
            Ok(down) => down,
            Err(error) => return self.tell_error(now, "down.unreadable", format!("{topic}: {error}"), wishes),
        };
        if self.phase == Phase::Bootstrap {
            return self.provisioned(now, down.body, wishes);
        }
        let root = format!("{}/down/", self.root());
        let Some(tail) = topic.strip_prefix(&root) else {
            return wishes.push(Wish::Fact(Fact::Foreign { topic: topic.to_owned() }));
        };
        let sent_at = down.t.map_or(now, Timestamp);
        let result = match tail {
            "offer" => serde_json::from_value(down.body).map(|offer| self.offer(now, sent_at, offer, wishes)),
            "order" => serde_json::from_value(down.body).map(|order| self.order(now, order, wishes)),
            "claim" => serde_json::from_value(down.body).map(|claim| self.claim_answered(now, claim, wishes)),
            "sync" => serde_json::from_value(down.body).map(|sync| self.synced(now, sent_at, sync, wishes)),
            "error" => serde_json::from_value(down.body).map(|error| self.refused(now, error, wishes)),
            "lifecycle" => serde_json::from_value(down.body).map(|word| self.lifecycle(now, &word, wishes)),
            // Read by other parts of a real device; nothing here depends on them.
            "consent" | "state" | "time" | "doctor" | "reply" | "replenish" => Ok(()),
            other => {
                let message = format!("the contract has no topic down/{other}");
                self.tell_error(now, "down.unknown", message, wishes);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.tell_error(now, "down.unreadable", format!("down/{tail}: {error}"), wishes);
        }
    }

    pub(super) fn provisioned(&mut self, now: Timestamp, body: Value, wishes: &mut Vec<Wish>) {
        match serde_json::from_value(body) {
            Ok(ProvisionDown::Granted { device, username, secret }) => {
                self.credential = Some(Credential { device: device.clone(), username, secret });
                self.phase = Phase::Away;
                wishes.push(Wish::Leave);
                wishes.push(Wish::Named(device));
                wishes.push(Wish::Tell(Happening::Registered {
                    scene: self.scene(now),
                    maker: self.maker().to_owned(),
                    model: self.device.known.model.to_owned(),
                    serial: self.serial.clone(),
                }));
                self.plan(now + Span::seconds(1), Task::Connect);
            }
            Ok(ProvisionDown::Refused { error }) => {
                // Asking again with the same serial changes nothing.
                self.offline = true;
                self.phase = Phase::Away;
                wishes.push(Wish::Leave);
                self.tell_error(now, &error.code, error.message, wishes);
            }
            Err(error) => self.tell_error(now, "down.unreadable", format!("_prov: {error}"), wishes),
        }
    }

    pub(super) fn refused(&mut self, now: Timestamp, error: ErrorDown, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Refused { id: error.about.id }));
        self.tell_error(now, &error.code, error.message, wishes);
    }

    pub(super) fn lifecycle(&mut self, now: Timestamp, word: &LifecycleDown, wishes: &mut Vec<Wish>) {
        match word.op.as_str() {
            "wipe" => {
                self.unlink(wishes);
                self.send(now, "up/lifecycle", &json!({"op": "wiped"}), Duty::Keep);
            }
            "released" => self.unlink(wishes),
            other => self.tell_error(now, "lifecycle", format!("the gateway says `{other}`"), wishes),
        }
    }

    pub(super) fn unlink(&mut self, wishes: &mut Vec<Wish>) {
        self.linked = false;
        self.offers.clear();
        wishes.push(Wish::Fact(Fact::Unlinked));
    }

    pub(super) fn synced(&mut self, now: Timestamp, sent_at: Timestamp, sync: SyncDown, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Synced));
        match sync.link {
            Some(link) if link.state == "linked" => self.belongs(now, link.display_name.unwrap_or_default(), wishes),
            Some(link) if link.state == "wipe_pending" => {
                self.unlink(wishes);
                self.send(now, "up/lifecycle", &json!({"op": "wiped"}), Duty::Keep);
            }
            Some(_) if self.claim_tries == 0 => self.plan_claim(now),
            Some(_) | None => {}
        }
        let live: Vec<String> = sync.offers.iter().map(|offer| offer.id.clone()).collect();
        self.offers.retain(|id, _| live.contains(id));
        for offer in sync.offers {
            self.put(now, sent_at, offer, true, wishes);
        }
        for order in sync.orders {
            self.order(now, order, wishes);
        }
    }
}
