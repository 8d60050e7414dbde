//! Orders, from the accept to the new consumable.

use super::*;

impl Session {
    pub(super) fn order(&mut self, now: Timestamp, order: OrderSeen, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Order { order: order.order.clone(), offer: order.offer.clone() }));
        if self.orders.get(&order.order).is_some_and(|known| known.rev >= order.rev) {
            return;
        }
        wishes.push(Wish::Tell(Happening::OrderChanged {
            scene: self.scene(now),
            order: order.order.clone(),
            state: order.state.clone(),
        }));
        let next = |hours: f64| now + Span((hours * 3_600_000.0) as i64);
        match order.state.as_str() {
            "confirmed" if order.can.iter().any(|can| can == "cancel") => {
                let owner = self.home.people.iter().position(|person| person.role == "owner").unwrap_or(0);
                let regrets = self.home.people.get(owner).map_or(0.0, |person| person.cancel);
                let minutes = self.habits.between(2.0, 20.0);
                if self.habits.happens(regrets) {
                    let task = Task::Cancel { order: order.order.clone(), person: owner };
                    self.plan(now + Span((minutes * 60_000.0) as i64), task);
                }
            }
            "submitted" | "accepted" => {
                let task = Task::Advance { order: order.order.clone(), rev: order.rev + 1, state: "shipped" };
                let at = next(self.pace.between(4.0, 20.0));
                self.plan(at, task);
            }
            "shipped" => {
                let task = Task::Advance { order: order.order.clone(), rev: order.rev + 1, state: "delivered" };
                let at = next(self.pace.between(18.0, 44.0));
                self.plan(at, task);
            }
            "delivered" | "picked_up" => {
                let slot = self.slot_of(&order.offer);
                let opened = next(self.habits.between(0.5, 30.0));
                let at = self.when_awake(opened);
                self.plan(at, Task::Replace(slot));
            }
            _ => {}
        }
        self.orders.insert(order.order.clone(), order);
    }

    /// What a delivered article is for: as the file's causes say, else the slot nearest its end.
    pub(super) fn slot_of(&mut self, offer: &str) -> String {
        let product = self.bought.get(offer);
        let model = self.device.known.model;
        let stated = self.stage.causes.iter().find(|cause| cause.model == model && cause.product.as_ref() == product);
        if let Some(slot) = stated.filter(|_| product.is_some()).and_then(|cause| cause.slot.clone()) {
            return slot;
        }
        let mut slots = self.appliance.slots();
        slots.sort_by(|a, b| b.worn().total_cmp(&a.worn()));
        slots.first().map(|reading| reading.slot.to_owned()).unwrap_or_default()
    }

    pub(super) fn advance(&mut self, order: String, rev: u32, state: &'static str, wishes: &mut Vec<Wish>) {
        // Somebody else may have moved it on meanwhile.
        if self.orders.get(&order).is_some_and(|known| known.rev + 1 == rev) {
            wishes.push(Wish::Advance { order, rev, state });
        }
    }

    pub(super) fn cancel(&mut self, now: Timestamp, order: String, person: usize, wishes: &mut Vec<Wish>) {
        self.presses += 1;
        let who = self.home.people.get(person).map(|person| person.id.clone()).unwrap_or_default();
        let offer = self.orders.get(&order).map(|order| order.offer.clone()).unwrap_or_default();
        let answer = "cancel the order".to_owned();
        wishes.push(Wish::Tell(Happening::Answered { scene: self.scene(now), offer, person: who, answer }));
        let body = json!({"order": order, "op": "cancel", "nonce": format!("n-{}", self.presses)});
        self.send(now, "up/order", &body, Duty::Keep);
    }

    pub(super) fn replace(&mut self, now: Timestamp, slot: String, wishes: &mut Vec<Wish>) {
        if !self.appliance.replace(&slot) {
            return;
        }
        wishes.push(Wish::Tell(Happening::Replaced { scene: self.scene(now), slot: slot.clone() }));
        if let Some(reading) = self.appliance.slots().into_iter().find(|reading| reading.slot == slot) {
            self.send_slot(now, &reading, true);
        }
    }
}
