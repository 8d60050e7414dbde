//! What the appliance reports: samples, consumables, events.

use super::*;

impl Session {
    pub(super) fn look(&mut self, at: Timestamp, wishes: &mut Vec<Wish>) {
        for remark in self.appliance.advance(at) {
            match remark {
                Remark::Sample { at, fields } => self.sample(at, fields, wishes),
                Remark::Slot { at, reading } => {
                    let report = format!("{} {} {} {}", reading.slot, reading.field, reading.value, reading.unit);
                    wishes.push(Wish::Tell(Happening::Reported { scene: self.scene(at), report, slot: true }));
                    self.send_slot(at, &reading, false);
                }
                Remark::Event { at, kind, data } => {
                    let mut body = json!({"type": kind, "data": data});
                    if let Some(t) = self.device_time(at) {
                        body["t"] = json!(t.0);
                    }
                    self.send(at, "up/event", &body, Duty::Keep);
                }
            }
        }
        let next = self.appliance.next_look().max(at + Span::minutes(1));
        self.plan(next, Task::Look);
    }

    pub(super) fn send_slot(&mut self, at: Timestamp, reading: &crate::model::SlotReading, changed: bool) {
        let body = reading.body(self.device_time(at), changed);
        let duty = Duty::Slot { slot: reading.slot.into(), field: reading.field.into(), value: reading.value, at };
        self.send(at, "up/slot", &body, duty);
    }

    /// Without a connection samples gather, and go out together afterwards.
    pub(super) fn sample(&mut self, at: Timestamp, fields: serde_json::Map<String, Value>, wishes: &mut Vec<Wish>) {
        let words: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let report = words.join(", ").replace('"', "");
        wishes.push(Wish::Tell(Happening::Reported { scene: self.scene(at), report, slot: false }));
        let mut sample = json!({"f": fields});
        if let Some(t) = self.device_time(at) {
            sample["t"] = json!(t.0);
        }
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        if self.phase == Phase::Home {
            self.send_samples(at);
        }
    }

    pub(super) fn send_samples(&mut self, now: Timestamp) {
        if self.samples.is_empty() {
            return;
        }
        let samples: Vec<Value> = self.samples.drain(..).collect();
        let numbers = samples
            .iter()
            .filter_map(|sample| sample["f"].as_object())
            .flatten()
            .filter_map(|(name, value)| value.as_f64().map(|number| (name.clone(), number)))
            .collect();
        self.send(now, "up/telemetry", &json!({"samples": samples}), Duty::Telemetry { numbers });
    }
}
