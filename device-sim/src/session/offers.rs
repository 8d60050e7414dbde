//! Offers, and the person who answers them.

use super::*;

impl Session {
    pub(super) fn offer(&mut self, now: Timestamp, sent_at: Timestamp, offer: OfferDown, wishes: &mut Vec<Wish>) {
        match offer {
            OfferDown::Put { offer } => self.put(now, sent_at, offer, false, wishes),
            OfferDown::Withdraw { offer } => {
                wishes.push(Wish::Fact(Fact::OfferWithdrawn { offer: offer.clone() }));
                if self.offers.remove(&offer).is_some() {
                    wishes.push(Wish::Tell(Happening::OfferWithdrawn { scene: self.scene(now), offer }));
                }
            }
        }
    }

    pub(super) fn put(
        &mut self,
        now: Timestamp,
        sent_at: Timestamp,
        offer: OfferSeen,
        in_sync: bool,
        wishes: &mut Vec<Wish>,
    ) {
        wishes.push(Wish::Fact(Fact::Put {
            offer: offer.id.clone(),
            kind: offer.kind.clone(),
            product: offer.item.as_ref().map(|item| item.product.clone()),
            expires_at: offer.expires_at.map(Timestamp),
            sent_at,
            in_sync,
        }));
        if self.offers.get(&offer.id).is_some_and(|held| held.offer.rev >= offer.rev) || self.draining {
            return;
        }
        // Validity is the gateway's time; how long ago it spoke is this side's.
        if offer.expires_at.is_some_and(|end| sent_at.0 >= end) {
            return self.receipt(now, &offer, "expired");
        }
        self.receipt(now, &offer, "delivered");
        let glance = Span((self.pace.between(2.0, 60.0) * 1_000.0) as i64);
        self.plan(now + glance, Task::Show(offer.id.clone()));
        self.offers.insert(offer.id.clone(), Held { offer, sent_at, shown: false });
    }

    pub(super) fn receipt(&mut self, now: Timestamp, offer: &OfferSeen, state: &str) {
        let mut body = json!({"offer": offer.id, "rev": offer.rev, "state": state});
        if let Some(t) = self.device_time(now) {
            body["t"] = json!(t.0);
        }
        self.send(now, "up/offer/receipt", &body, Duty::Keep);
    }

    pub(super) fn show(&mut self, now: Timestamp, id: &str, wishes: &mut Vec<Wish>) {
        let Some(held) = self.offers.get_mut(id) else { return };
        if std::mem::replace(&mut held.shown, true) {
            return;
        }
        let offer = held.offer.clone();
        wishes.push(Wish::Tell(Happening::OfferShown {
            scene: self.scene(now),
            offer: offer.id.clone(),
            title: offer.text.title.clone(),
            product: offer.item.as_ref().map(|item| item.product.clone()),
            price: offer.price.as_ref().map(|price| price.total.to_string()),
        }));
        self.receipt(now, &offer, "shown");
        let adults: Vec<usize> = (0..self.home.people.len())
            .filter(|n| matches!(self.home.people[*n].role.as_str(), "owner" | "buyer"))
            .collect();
        let Some(person) = adults.get(self.habits.below(adults.len() as u64) as usize).copied() else { return };
        let minutes = self.habits.log_between(1.0, 180.0);
        let at = self.when_awake(now + Span((minutes * 60_000.0) as i64));
        self.plan(at, Task::Answer { offer: id.to_owned(), person, asked_why: false });
    }

    /// Nobody answers between eleven and seven.
    pub(super) fn when_awake(&self, at: Timestamp) -> Timestamp {
        let hour = self.home.zone.local(at).hour();
        if (7..23).contains(&hour) { at } else { self.home.zone.next(at, jiff::civil::time(7, 10, 0, 0)) }
    }

    pub(super) fn answer(&mut self, now: Timestamp, id: &str, person: usize, asked_why: bool, wishes: &mut Vec<Wish>) {
        let Some(held) = self.offers.get(id) else { return };
        let (offer, sent_at) = (held.offer.clone(), held.sent_at);
        let Some(who) = self.home.people.get(person).cloned() else { return };
        // Only where the clocks are one does this side know that the offer has ended meanwhile.
        if self.stage.stamps && offer.expires_at.is_some_and(|end| now.0 >= end) {
            self.offers.remove(id);
            return self.receipt(now, &offer, "expired");
        }
        let wonders = self.habits.happens(who.why);
        if wonders && !asked_why && offer.actions.iter().any(|action| action == "why") {
            self.press(now, &offer, "why", &who, json!({}), wishes);
            let again = Task::Answer { offer: id.to_owned(), person, asked_why: true };
            return self.plan(now + Span::minutes(1), again);
        }
        let Some(answer) = choose(&who, &offer.actions, self.habits.unit()) else { return };
        let more = match answer {
            "accept" => json!({"choice": {"qty": 1, "fulfil": "deliver"}}),
            "snooze" => json!({"until": (if self.stage.stamps { now } else { sent_at } + Span::hours(24)).0}),
            "not_needed" => json!({"reason": "have_spare"}),
            _ => json!({}),
        };
        self.press(now, &offer, answer, &who, more, wishes);
        self.offers.remove(id);
    }

    pub(super) fn press(
        &mut self,
        now: Timestamp,
        offer: &OfferSeen,
        answer: &str,
        who: &Person,
        more: Value,
        wishes: &mut Vec<Wish>,
    ) {
        self.presses += 1;
        let mut body =
            json!({"offer": offer.id, "rev": offer.rev, "answer": answer, "nonce": format!("n-{}", self.presses)});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        if let Some(t) = self.device_time(now) {
            body["t"] = json!(t.0);
        }
        let duty = match answer {
            "accept" => Duty::Accept { offer: offer.id.clone() },
            _ => Duty::Keep,
        };
        if let (Duty::Accept { .. }, Some(item)) = (&duty, &offer.item) {
            self.bought.insert(offer.id.clone(), item.product.clone());
        }
        wishes.push(Wish::Tell(Happening::Answered {
            scene: self.scene(now),
            offer: offer.id.clone(),
            person: who.id.clone(),
            answer: answer.to_owned(),
        }));
        self.send(now, "up/offer/answer", &body, duty);
    }
}

/// What a person answers for a draw in 0..1; none is silence. An answer that the offer does not
/// take is silence too.
fn choose(who: &Person, actions: &[String], draw: f64) -> Option<&'static str> {
    let takes = |action: &str| actions.iter().any(|known| known == action);
    let mut rest = draw;
    for (share, answer, action) in [
        (who.accept, "accept", "order"),
        (who.snooze, "snooze", "snooze"),
        (who.decline, "decline", "decline"),
        (who.not_needed, "not_needed", "decline"),
    ] {
        if rest < share {
            return takes(action).then_some(answer);
        }
        rest -= share;
    }
    None
}
