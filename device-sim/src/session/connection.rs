//! Coming, going, and the post: provisioning, birth, acknowledgements.

use super::*;

/// Topics that a device signs: on a broker their messages have no effect without.
const SIGNED: [&str; 5] = ["up/offer/answer", "up/order", "up/consent", "up/lifecycle", "up/claim"];

impl Session {
    pub(super) fn connect(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        if self.offline || self.phase != Phase::Away {
            return;
        }
        let identity = match (&self.credential, &self.bootstrap_secret) {
            (Some(credential), _) => {
                self.epoch += 1;
                let body = json!({"state": "lost", "epoch": self.epoch});
                let id = format!("will-{}", self.epoch);
                let stamp = Stamp { epoch: Some(self.epoch), ..Stamp::default() };
                self.phase = Phase::Arriving;
                Identity {
                    client_id: credential.device.clone(),
                    username: credential.username.clone(),
                    password: credential.secret.clone(),
                    will: Some((format!("{}/presence", self.root()), envelope(&id, stamp, &body))),
                    clean: !self.device.persistent,
                }
            }
            (None, Some(secret)) => {
                self.phase = Phase::Bootstrap;
                Identity {
                    client_id: self.serial.to_ascii_lowercase(),
                    username: format!("{}/_bootstrap", self.maker()),
                    password: secret.clone(),
                    will: None,
                    clean: true,
                }
            }
            (None, None) => {
                let message = format!("no bootstrap secret of {} and no credential was given", self.maker());
                return self.tell_error(now, "no_credential", message, wishes);
            }
        };
        wishes.push(Wish::Open(Box::new(identity)));
    }

    pub(super) fn ask_for_credential(&mut self, wishes: &mut Vec<Wish>) {
        let body =
            json!({"serial": self.serial, "model": self.device.known.model, "hw": "b", "fw": "2.1.0", "proof": null});
        wishes.push(Wish::Publish {
            topic: format!("chan/v1/{}/_prov/{}/req", self.maker(), self.nonce),
            payload: envelope(&format!("prov-{}", self.nonce), Stamp::default(), &body),
            ticket: 0,
        });
    }

    pub(super) fn arrive(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.phase = Phase::Home;
        self.failures = 0;
        wishes.push(Wish::Tell(Happening::Online { scene: self.scene(now) }));
        self.send(now, "presence", &json!({"state": "online", "epoch": self.epoch, "fw": "2.1.0"}), Duty::Keep);
        self.send(now, "desc", &self.appliance.description(), Duty::Keep);
        let have: Vec<&String> = self.offers.keys().collect();
        let want = ["time", "link", "offers", "orders", "consent", "state"];
        let body = json!({"want": want, "have": {"offers": have}});
        self.send(now, "up/sync", &body, Duty::Sync);
        self.send_samples(now);
    }

    pub(super) fn network_gone(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.offline = true;
        if self.phase != Phase::Away {
            wishes.push(Wish::Cut);
            self.away(now, "no network".into(), wishes);
        }
    }

    pub(super) fn closed(&mut self, now: Timestamp, why: String, wishes: &mut Vec<Wish>) {
        if self.phase == Phase::Away {
            return;
        }
        self.away(now, why, wishes);
        self.failures = (self.failures + 1).min(8);
        let wait = (Span::seconds(30).0 << self.failures).min(RECONNECT_MAX.0) as f64;
        let wait = Span((wait * self.pace.between(0.5, 1.0)) as i64);
        self.plan(now + wait, Task::Connect);
    }

    pub(super) fn away(&mut self, now: Timestamp, why: String, wishes: &mut Vec<Wish>) {
        self.phase = Phase::Away;
        self.post.disconnected();
        // The next birth writes its own; the old ones are settled as far as the oracle goes.
        for id in self.post.forget(&OF_CONNECTION) {
            wishes.push(Wish::Fact(Fact::Refused { id: Some(id.clone()) }));
            wishes.push(Wish::Fact(Fact::Acked { id }));
        }
        wishes.push(Wish::Tell(Happening::Offline { scene: self.scene(now), why }));
    }

    pub(super) fn acked(&mut self, now: Timestamp, ticket: u64, refused: Option<String>, wishes: &mut Vec<Wish>) {
        let Some((id, again)) = self.post.acked(ticket) else { return };
        if let Some(reason) = refused {
            wishes.push(Wish::Fact(Fact::Refused { id: Some(id.clone()) }));
            self.tell_error(now, "puback", format!("{id}: {reason}"), wishes);
        }
        if self.reset_message.as_ref() == Some(&id) {
            // From here on the gateway knows: nothing of the former owner may come any more.
            self.reset_message = None;
            wishes.push(Wish::Fact(Fact::Unlinked));
        }
        wishes.push(Wish::Fact(Fact::Acked { id }));
        if again {
            self.plan(now + Span::minutes(2), Task::Release(ticket));
        }
    }

    pub(super) fn send(&mut self, now: Timestamp, tail: &'static str, body: &Value, duty: Duty) {
        let (number, id) = (self.post.next_number(), self.next_id());
        let t = self.device_time(now);
        let stamp = Stamp {
            t,
            up_ms: t.map(|_| (now - self.stage.start).0),
            // A device that existed before has a life of numbers that this side does not know.
            seq: self.bootstrap_secret.as_ref().map(|_| number),
            epoch: Some(self.epoch),
        };
        let payload = match &self.credential {
            Some(credential) if SIGNED.contains(&tail) => {
                signed_envelope(&id, stamp, body, &format!("{}/{tail}", self.root()), &credential.secret)
            }
            _ => envelope(&id, stamp, body),
        };
        if let (ticket, Fate::Held(span)) = self.post.take(id, tail, payload, duty) {
            self.plan(now + span, Task::Release(ticket));
        }
        if self.draining {
            self.post.release_all();
        }
    }

    pub(super) fn next_id(&self) -> String {
        let tag = if self.stage.tag.is_empty() { "m" } else { &self.stage.tag };
        format!("{tag}-{}", self.post.next_number())
    }

    pub(super) fn send_post(&mut self, wishes: &mut Vec<Wish>) {
        if self.phase != Phase::Home {
            return;
        }
        let root = self.root();
        while let Some((ticket, letter)) = self.post.next() {
            if !letter.left {
                wishes.push(Wish::Fact(Fact::Sent { id: letter.id, duty: letter.duty }));
            }
            wishes.push(Wish::Publish { topic: format!("{root}/{}", letter.tail), payload: letter.payload, ticket });
        }
    }
}
