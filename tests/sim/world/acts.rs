//! What the people and devices of the world do.

use super::*;

impl World {
    /// Something happens in the world.
    pub(super) fn act(&mut self) {
        // Suspensions are short: a world in which devices sleep sells nothing.
        if let Some(asleep) = self.units.iter().position(|unit| unit.suspended)
            && self.actions.one_in(5)
        {
            self.suspend(asleep);
        }
        let at = self.actions.below(self.units.len() as u64) as usize;
        match self.actions.below(38) {
            0..=5 | 30..=36 => {
                // Worn, a little more worn, or changed: mostly across the edge, one way or the other.
                let unit = &mut self.units[at];
                unit.used = match unit.used {
                    ..600 if self.actions.one_in(4) => unit.used + 40,
                    ..600 => 601 + self.actions.below(100) as u32,
                    _ => self.actions.below(40) as u32,
                };
                let used = self.units[at].used;
                self.say(
                    at,
                    "up/slot",
                    &format!(r#"{{"slot":"air_filter","kind":"usage","used":{used},"unit":"h"}}"#),
                    Some(Said::Used(used)),
                );
            }
            6..=8 | 37 => {
                let value = 10 + self.actions.below(14);
                self.say(at, "up/telemetry", &format!(r#"{{"samples":[{{"f":{{"temperature":{value}}}}}]}}"#), None);
            }
            9 | 10 => self.listen(at),
            11 => self.hang_up(at),
            12 | 13 => {
                let granted = !self.actions.one_in(4);
                if !granted && self.actions.one_in(2) {
                    // It stops listening, so that an offer may wait that the word must reach.
                    self.hang_up(at);
                }
                let body = format!(r#"{{"set":[{{"purpose":"offers.device","granted":{granted}}}]}}"#);
                self.say(at, "up/consent", &body, Some(Said::Consent(granted)));
            }
            14..=16 => self.answer(at),
            17 => {
                let profile = *self.actions.pick(&["p1", "p2"]);
                let key = self.units[at].key.clone();
                let join = self.join(profile, &key);
                self.command(Some(key), Command::LinkDirectly { join }, Some(Said::Linked(profile.to_owned())));
            }
            18 if self.actions.one_in(2) => {
                let key = self.units[at].key.clone();
                self.command(Some(key), Command::Release, Some(Said::Released));
            }
            18 => self.say(at, "up/lifecycle", r#"{"op":"reset","level":"user","presence":true}"#, Some(Said::Reset)),
            19 => self.say(at, "up/lifecycle", r#"{"op":"wiped"}"#, Some(Said::Wiped)),
            20 => self.answer(at),
            21 => {
                let profile = ProfileId::new("p1").unwrap();
                let granted = !self.actions.one_in(3);
                let record = self.word(granted);
                let household = HouseholdId::of_profile(&shop::retailer(), &profile);
                let command = Command::SetConsents { profile, records: vec![(Purpose::OffersDevice, record)] };
                let input = self.make(None, command);
                self.call(Target::Household(household), input, Some(Said::ShopConsent("p1".into(), granted)));
            }
            22 => self.say(at, "up/sync", "{}", None),
            23 | 24 => self.claim(at),
            25 if self.actions.one_in(3) => self.suspend(at),
            25 => self.answer(at),
            26 | 27 => self.shop_moves_an_order(),
            28 => self.cancel(at),
            _ => {
                self.units[at].skew = *self.actions.pick(&[Span::ZERO, Span::days(-20_000), Span::days(400)]);
                let t = (self.now + self.units[at].skew).0;
                let body = r#"{"state":"online"}"#.to_owned();
                self.say_at(at, "presence", &body, None, Some(t));
            }
        }
    }

    pub(super) fn answer(&mut self, at: usize) {
        let Some(offer) = self.units[at].offers.last().copied() else { return };
        let word = *self.actions.pick(&["accept", "accept", "decline", "snooze"]);
        if self.actions.one_in(2) {
            let nonce = self.actions.below(3);
            self.say(
                at,
                "up/offer/answer",
                &format!(r#"{{"offer":"{offer}","rev":1,"answer":"{word}","nonce":"n-{nonce}"}}"#),
                None,
            );
        } else {
            let answer = match word {
                "accept" => Answer::Accept { qty: None, fulfil: None },
                "decline" => Answer::Decline,
                _ => Answer::Snooze { until: None },
            };
            let command = Command::AnswerOffer { offer, rev: 1, answer, channel: "app".into(), profile: None };
            self.command(Some(self.units[at].key.clone()), command, None);
        }
    }

    /// The device asks for a code; somebody types the one that it shows.
    pub(super) fn claim(&mut self, at: usize) {
        let Some(code) = self.units[at].code.take() else {
            return self.say(at, "up/claim", r#"{"op":"start","presence":true}"#, None);
        };
        let profile = *self.actions.pick(&["p1", "p2"]);
        let key = self.units[at].key.clone();
        let join = self.join(profile, &key);
        self.command(Some(key), Command::ConfirmClaim { code, join }, Some(Said::Linked(profile.to_owned())));
    }

    /// Suspends a device, or wakes it.
    pub(super) fn suspend(&mut self, at: usize) {
        let key = self.units[at].key.clone();
        self.units[at].suspended = !self.units[at].suspended;
        if self.units[at].suspended {
            self.command(Some(key), Command::Suspend { reason: "stolen".into() }, Some(Said::Suspended));
        } else {
            self.command(Some(key), Command::Resume, Some(Said::Resumed));
        }
    }

    /// The shop tells how it goes on with an order that it knows.
    pub(super) fn shop_moves_an_order(&mut self) {
        let Some(row) = self.some_order() else { return };
        let state = *self.actions.pick(&[
            OrderState::Accepted,
            OrderState::Shipped,
            OrderState::Delivered,
            OrderState::Refused,
            OrderState::Cancelled,
        ]);
        let command = Command::SetOrderStatus { order: row.order.id, rev: row.order.rev + 1, state, eta: None };
        let input = self.make(None, command);
        self.call(Target::Household(row.household), input, None);
    }

    /// Somebody cancels: at the device, or in the app.
    pub(super) fn cancel(&mut self, at: usize) {
        if let Some(order) = self.units[at].orders.last().cloned()
            && self.actions.one_in(2)
        {
            return self.say(at, "up/order", &format!(r#"{{"order":"{order}","op":"cancel","nonce":"x"}}"#), None);
        }
        let Some(row) = self.some_order() else { return };
        let command = Command::CancelOrder { order: row.order.id, channel: "app".into() };
        let input = self.make(None, command);
        self.call(Target::Household(row.household), input, None);
    }

    pub(super) fn some_order(&mut self) -> Option<OrderRow> {
        let rows = self.store.scan(&[table::ORDER], None, 1_000).unwrap();
        if rows.is_empty() {
            return None;
        }
        let (key, value) = self.actions.pick(&rows);
        Some(codec::decode(Schema::Order, key, value).unwrap())
    }

    pub(super) fn listen(&mut self, at: usize) {
        let key = self.units[at].key.clone();
        self.link.listen(&key, true);
        self.engine().reachable(&key);
    }

    pub(super) fn say(&mut self, at: usize, topic: &str, body: &str, said: Option<Said>) {
        self.say_at(at, topic, body, said, None);
    }

    pub(super) fn say_at(&mut self, at: usize, topic: &str, body: &str, said: Option<Said>, t: Option<i64>) {
        self.messages += 1;
        let id = format!("m-{}", self.messages);
        let t = t.map_or(String::new(), |t| format!(r#""t":{t},"#));
        let payload = format!(r#"{{"v":"1.0","id":"{id}",{t}"body":{body}}}"#);
        let topic = format!("chan/v1/{}/{topic}", self.units[at].key);
        let id = MessageId::new(id).unwrap();
        self.units[at].outbox.push_back(Pending { id, topic, payload, said, on_its_way: false, done_at: self.now });
    }

    pub(super) fn word(&self, granted: bool) -> ConsentRecord {
        ConsentRecord {
            granted,
            at: self.now,
            source: ConsentSource::Shop,
            method: None,
            text_id: None,
            expires_at: None,
        }
    }

    pub(super) fn join(&self, profile: &str, device: &DeviceKey) -> Join {
        let profile = ProfileId::new(profile).unwrap();
        let household = HouseholdId::of_profile(&shop::retailer(), &profile);
        Join {
            household,
            retailer: shop::retailer(),
            link: LinkId::derived(&[household.bytes(), device.to_string().as_bytes()]),
            member: Member {
                profile,
                display_name: "Maison".into(),
                locale: Some("fr-FR".into()),
                role: Role::Owner,
                segments: BTreeSet::new(),
                consents: [(Purpose::OffersDevice, self.word(true))].into_iter().collect(),
            },
            zone: Zone::new("Europe/Paris").unwrap(),
            locale: None,
        }
    }

    pub(super) fn make(&mut self, device: Option<DeviceKey>, command: Command) -> Input {
        self.commands += 1;
        Input {
            id: InputId::derived(&[b"command", &self.commands.to_be_bytes()]),
            message: None,
            received_at: self.now,
            device,
            entropy: self.commands,
            payload_bytes: 0,
            sender: Default::default(),
            what: What::Command(command),
        }
    }

    pub(super) fn command(&mut self, device: Option<DeviceKey>, command: Command, said: Option<Said>) {
        let target = Target::Device(device.clone().unwrap());
        let input = self.make(device, command);
        self.call(target, input, said);
    }

    pub(super) fn call(&mut self, target: Target, input: Input, said: Option<Said>) {
        if let Some(said) = &said {
            self.witness.tries(&cause(&input), input.device.as_ref(), said);
        }
        self.calls.push(Call { target, input, answer: None, said });
    }
}
