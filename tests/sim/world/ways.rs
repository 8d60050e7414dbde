//! The ways between the world and the house, with what gets lost on them.

use super::*;

impl World {
    pub(super) fn send_calls(&mut self) {
        for at in 0..self.calls.len() {
            let answered = match &mut self.calls[at].answer {
                None => None,
                Some(answer) => match answer.try_recv() {
                    Ok(outcome) => Some(Some(outcome)),
                    Err(tokio::sync::oneshot::error::TryRecvError::Empty) => continue,
                    Err(tokio::sync::oneshot::error::TryRecvError::Closed) => Some(None),
                },
            };
            match answered {
                Some(Some(Outcome::Committed(reply) | Outcome::Duplicate(reply))) => {
                    let call = &mut self.calls[at];
                    if let Some(said) = call.said.take() {
                        let moment = self.link.next_moment();
                        let cause = cause(&call.input);
                        self.witness.answered(&cause, call.input.device.as_ref(), &said, &reply, moment);
                    }
                    if let Ok(Reply::Answered { offer, order: Some(order), .. }) = &reply {
                        self.witness.accepted(*offer, *order);
                    }
                    // Done: marked by an input that is not sent again.
                    self.calls[at].target = Target::Household(HouseholdId([0; 15]));
                    self.calls[at].answer = None;
                }
                Some(Some(Outcome::Failed(_)) | None) | None => {
                    let (waiter, answer) = tokio::sync::oneshot::channel();
                    let mut input = self.calls[at].input.clone();
                    input.received_at = self.now;
                    let target = self.calls[at].target.clone();
                    let engine = self.engine().clone();
                    if now_or_never(engine.submit(target, input, Repeat::Ignore, Waiter::Caller(waiter))) {
                        self.calls[at].answer = Some(answer);
                    }
                }
            }
        }
        self.calls.retain(|call| call.target != Target::Household(HouseholdId([0; 15])));
    }

    pub(super) fn send_messages(&mut self, all: bool) {
        for at in 0..self.units.len() {
            if !all && self.network.one_in(3) {
                continue;
            }
            // An old message once more, as a broker or a retrying device would.
            if !self.calm && self.network.one_in(12) && !self.units[at].old.is_empty() {
                let n = self.network.below(self.units[at].old.len() as u64) as usize;
                let old = self.units[at].old[n].clone();
                // Ids are remembered for seven days; the clock may have jumped past that.
                if (self.now - old.done_at).0.abs() < SEEN_AGE_MAX.0 {
                    self.submit(at, &old);
                }
            }
            let Some(next) = self.units[at].outbox.front().cloned() else { continue };
            let again = next.on_its_way && !self.calm && self.network.one_in(6);
            if !next.on_its_way || again {
                if let Some(said) = &next.said {
                    self.witness.tries(next.id.as_str(), Some(&self.units[at].key), said);
                }
                if self.submit(at, &next) {
                    self.units[at].outbox.front_mut().unwrap().on_its_way = true;
                }
            }
        }
    }

    pub(super) fn submit(&mut self, at: usize, pending: &Pending) -> bool {
        let unit = &self.units[at];
        let envelope = decode(&pending.topic, pending.payload.as_bytes()).unwrap();
        let input = Input {
            id: InputId::derived(&[unit.key.to_string().as_bytes(), pending.id.as_str().as_bytes()]),
            message: Some(pending.id.clone()),
            received_at: self.now,
            device: Some(unit.key.clone()),
            entropy: self.network.next(),
            payload_bytes: pending.payload.len() as u32,
            sender: envelope.sender,
            what: What::Device(envelope.message),
        };
        let (acks, id, connection) = (Arc::clone(&self.acks), pending.id.clone(), unit.connection);
        let waiter = Waiter::Ack(Box::new(move |outcome| {
            acks.lock().unwrap().push_back(Ack { unit: at, id, connection, outcome });
        }));
        let engine = self.engine().clone();
        now_or_never(engine.submit(Target::Device(unit.key.clone()), input, Repeat::Remember, waiter))
    }

    pub(super) fn deliver_acks(&mut self, lossy: bool) {
        loop {
            let Some(ack) = self.acks.lock().unwrap().pop_front() else { return };
            let key = self.units[ack.unit].key.clone();
            let reply = match &ack.outcome {
                Outcome::Failed(_) => {
                    // The endpoint closes the connection; the device sends again.
                    self.hang_up(ack.unit);
                    continue;
                }
                Outcome::Committed(reply) | Outcome::Duplicate(reply) => reply.clone(),
            };
            self.witness.acknowledged(&key, &ack.id, &reply);
            if let Ok(Reply::Answered { offer, order: Some(order), .. }) = &reply {
                self.witness.accepted(*offer, *order);
            }
            if ack.connection != self.units[ack.unit].connection || (lossy && self.network.one_in(10)) {
                continue;
            }
            let unit = &mut self.units[ack.unit];
            if unit.outbox.front().is_some_and(|front| front.id == ack.id)
                && let Some(mut done) = unit.outbox.pop_front()
            {
                done.done_at = self.now;
                if let Some(said) = &done.said {
                    let moment = self.link.next_moment();
                    self.witness.answered(done.id.as_str(), Some(&key), said, &reply, moment);
                }
                unit.old.push(done);
            }
            if lossy {
                return;
            }
        }
    }

    pub(super) fn deliver_down(&mut self, lossy: bool) {
        while let Some((moment, delivery)) = self.link.take() {
            let at = self.units.iter().position(|unit| unit.key == delivery.device).unwrap();
            if lossy && self.network.one_in(8) {
                self.hang_up(at);
                continue;
            }
            let body: serde_json::Value = serde_json::from_slice(&delivery.payload).unwrap();
            self.witness.delivered(&delivery.device, &delivery.topic, &body["body"], moment);
            if body["body"]["op"] == "put" {
                let offer = body["body"]["offer"]["id"].as_str().unwrap().parse().unwrap();
                self.units[at].offers.push(offer);
                if self.actions.one_in(2) {
                    self.answer(at);
                }
                if self.actions.one_in(2) {
                    self.say(
                        at,
                        "up/offer/receipt",
                        &format!(r#"{{"offer":"{offer}","rev":1,"state":"shown"}}"#),
                        None,
                    );
                }
            }
            if body["body"]["op"] == "wipe" && !self.actions.one_in(4) {
                self.say(at, "up/lifecycle", r#"{"op":"wiped"}"#, Some(Said::Wiped));
            }
            if let Some(code) = body["body"]["code"].as_str() {
                self.units[at].code = Some(code.replace('-', ""));
                self.witness.counts.claims += 1;
            }
            if let Some(order) = body["body"]["order"].as_str() {
                self.units[at].orders.push(order.to_owned());
            }
            self.engine().delivered(&delivery.device, delivery.n);
            if lossy {
                return;
            }
        }
    }
}
