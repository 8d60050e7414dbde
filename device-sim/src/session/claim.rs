//! The device becomes somebody's, and stops being so: claim, reset, consent withdrawn.

use super::*;

impl Session {
    pub(super) fn plan_claim(&mut self, now: Timestamp) {
        if let Some(after) = self.home.claim_after {
            self.plan(now.max(self.stage.start + after), Task::Claim);
        }
    }

    pub(super) fn claim(&mut self, now: Timestamp) {
        if self.linked || self.claim_tries >= CLAIM_TRIES_MAX {
            return;
        }
        if self.phase != Phase::Home {
            // The person sees that the device has no network and comes back later.
            return self.plan(now + Span::minutes(30), Task::Claim);
        }
        self.claim_tries += 1;
        self.send(now, "up/claim", &json!({"op": "start", "presence": true, "show": "code"}), Duty::Claim);
    }

    pub(super) fn try_claim_again(&mut self, now: Timestamp) {
        if !self.linked {
            self.plan(now + Span::minutes(15), Task::Claim);
        }
    }

    pub(super) fn claim_answered(&mut self, now: Timestamp, claim: ClaimDown, wishes: &mut Vec<Wish>) {
        match claim {
            ClaimDown::Code { code } => {
                wishes.push(Wish::Fact(Fact::Code));
                wishes.push(Wish::Fact(Fact::Consented { purposes: self.home.consents.clone() }));
                wishes.push(Wish::Tell(Happening::ClaimCode { scene: self.scene(now), code: code.clone() }));
                if !self.draining {
                    wishes.push(Wish::Confirm(code));
                }
            }
            ClaimDown::Linked { display_name } => self.belongs(now, display_name, wishes),
            ClaimDown::Refused { error } => {
                wishes.push(Wish::Fact(Fact::ClaimRefused));
                self.tell_error(now, &error, "the claim was refused".into(), wishes);
                self.try_claim_again(now);
            }
        }
    }

    pub(super) fn belongs(&mut self, now: Timestamp, display_name: String, wishes: &mut Vec<Wish>) {
        wishes.push(Wish::Fact(Fact::Linked));
        if !std::mem::replace(&mut self.linked, true) {
            wishes.push(Wish::Tell(Happening::Linked { scene: self.scene(now), display_name }));
        }
    }

    pub(super) fn reset(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) {
        self.linked = false;
        self.claim_tries = 0;
        self.offers.clear();
        wishes.push(Wish::Tell(Happening::Reset { scene: self.scene(now) }));
        self.reset_message = Some(self.next_id());
        self.send(now, "up/lifecycle", &json!({"op": "reset", "level": "user", "presence": true}), Duty::Keep);
        if self.home.claim_after.is_some() {
            self.plan(now + Span::hours(1), Task::Claim);
        }
    }

    pub(super) fn withdraw_consent(&mut self, now: Timestamp) {
        self.offers.clear();
        let mut word = json!({"purpose": "offers.device", "granted": false, "method": "button", "text_id": "t1"});
        if let Some(t) = self.device_time(now) {
            word["t"] = json!(t.0);
        }
        let duty = Duty::Withdrawal { purpose: "offers.device".into() };
        self.send(now, "up/consent", &json!({"set": [word]}), duty);
    }
}
