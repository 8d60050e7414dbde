//! A decision in the words of the customer whom it reached: what of its reasons is theirs to know. What a shop
//! keeps for itself (budgets, rankings, margins, comparison groups, other people) has no words here.

use crate::time::Zone;
use crate::trace::{CandidateTrace, Fact, Phrase, StepTrace, StepVerdict};
use crate::words::{Reason, Tongue, filled};

const OWN_WORDS: &[(Reason, &str, &str)] = &[
    (Reason::RunsOut, "The {slot} is expected to run out about {p50}.", "La fin de {slot} est prévue vers le {p50}."),
    (
        Reason::Stayed,
        "Something your device measures stayed beyond a threshold for {for_s}.",
        "Une mesure de votre appareil est restée au-delà d'un seuil pendant {for_s}.",
    ),
    (
        Reason::Counted,
        "Something happened on your device {times} times within {within_s}.",
        "C'est arrivé {times} fois en {within_s} sur votre appareil.",
    ),
    (Reason::Silent, "Your device told nothing for {for_s}.", "Votre appareil n'a rien dit pendant {for_s}."),
    (
        Reason::Linked,
        "The device is linked to your home[ since {since}].",
        "L'appareil est lié à votre foyer[ depuis le {since}].",
    ),
    (
        Reason::ConsentGranted,
        "You, or somebody else who may decide at this device, agreed to such offers.",
        "Vous, ou une autre personne qui peut décider sur cet appareil, avez accepté ces offres.",
    ),
    (Reason::NoPause, "You had not asked for silence.", "Vous n'aviez pas demandé le silence."),
    (
        Reason::InSegment,
        "The shop counts you among its group “{segment}”.",
        "L'enseigne vous compte dans son groupe « {segment} ».",
    ),
    (
        Reason::InAudience,
        "The shop counts you among its group “{audience}”.",
        "L'enseigne vous compte dans son groupe « {audience} ».",
    ),
    (
        Reason::AllHold,
        "What your device and your home told fitted what the shop asks for.",
        "Ce que votre appareil et votre foyer ont indiqué correspond à ce que l'enseigne demande.",
    ),
    (
        Reason::NothingLately,
        "You had not bought or refused it lately.",
        "Vous ne l'aviez ni acheté ni refusé récemment.",
    ),
    (
        Reason::RoomUnderCaps,
        "You had not been spoken to too often: {made} of at most {max}.",
        "Vous n'aviez pas été sollicité trop souvent : {made} fois sur {max} au plus.",
    ),
];

impl StepTrace {
    /// What the step means for the customer, in their words and their home's time; none where it is not about them.
    pub fn to_customer(&self, tongue: Tongue, zone: Option<&Zone>) -> Option<String> {
        if self.verdict == StepVerdict::Block {
            return None;
        }
        let reason = Reason::of_code(self.code())?;
        let (_, en, fr) = OWN_WORDS.iter().find(|(known, ..)| *known == reason)?;
        let template = match tongue {
            Tongue::En => en,
            Tongue::Fr => fr,
        };
        let mut step = self.of_this_home();
        step.numbers.extend(zone.map(|zone| ("zone".into(), Fact::Text(zone.to_string().into()))));
        filled(template, &step, tongue)
    }
}

impl StepTrace {
    /// The step as anybody who lives in the home may read it. What somebody heard in another home is between the shop
    /// and them: it is not counted, and a cap of persons that is reached is reached by somebody.
    fn of_this_home(&self) -> StepTrace {
        let mut step = self.clone();
        let is_of_persons =
            |(name, fact): &(Phrase, Fact)| name == "scope" && matches!(fact, Fact::Text(scope) if scope == "profile");
        if step.code() == Reason::CapReached.code() && step.numbers.iter().any(is_of_persons) {
            return StepTrace { reason: Reason::PersonCapReached.code().into(), numbers: Vec::new(), ..step };
        }
        for at in 1..step.numbers.len() {
            let (before, from) = step.numbers.split_at_mut(at);
            if let (Some((_, Fact::Int(made))), Some((name, Fact::Int(heard)))) = (before.last_mut(), from.first())
                && name == "elsewhere"
            {
                *made -= heard;
            }
        }
        step.numbers.retain(|(name, _)| name != "elsewhere");
        step
    }
}

impl CandidateTrace {
    /// What was decided, as anybody who lives in the home may read it.
    pub fn of_this_home(&self) -> CandidateTrace {
        CandidateTrace { steps: self.steps.iter().map(StepTrace::of_this_home).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trace::Step;

    fn step(reason: &'static str, verdict: StepVerdict) -> StepTrace {
        let numbers = vec![("made".into(), Fact::Int(1)), ("max".into(), Fact::Int(2))];
        StepTrace { step: Step::Caps, verdict, reason: reason.into(), numbers }
    }

    #[test]
    fn a_customer_is_told_nothing_of_what_somebody_heard_in_another_home() {
        let numbers = [("made", 3), ("elsewhere", 2), ("max", 4), ("made", 9), ("elsewhere", 9), ("max", 20)];
        let numbers = numbers.map(|(name, number)| (name.into(), Fact::Int(number))).into();
        let told = StepTrace { numbers, ..step("room_under_caps", StepVerdict::Pass) };
        let told = told.to_customer(Tongue::En, None).unwrap();
        assert_eq!(told, "You had not been spoken to too often: 0 of at most 20.");
    }

    #[test]
    fn a_cap_of_persons_that_is_reached_says_not_by_whom_nor_how() {
        let of = |scope: &'static str| {
            let numbers = vec![("made".into(), Fact::Int(1)), ("scope".into(), Fact::Text(scope.into()))];
            StepTrace { numbers, ..step("cap_reached: 1 of 1", StepVerdict::Block) }
        };
        let told = of("profile").of_this_home();
        assert_eq!((told.code(), &told.numbers), ("person_cap_reached", &Vec::new()));
        assert_eq!(told.in_words(Tongue::En), "Somebody at this device was contacted as often as the cap permits.");
        assert_eq!(of("household").of_this_home(), of("household"));
    }

    #[test]
    fn a_customer_is_told_what_is_theirs_and_nothing_of_the_shops_own() {
        let told = step("room_under_caps", StepVerdict::Pass).to_customer(Tongue::Fr, None).unwrap();
        assert_eq!(told, "Vous n'aviez pas été sollicité trop souvent : 1 fois sur 2 au plus.");
        for inner in ["lost_ranking", "budget_room", "held_out", "not_held_out", "product_found"] {
            assert_eq!(step(inner, StepVerdict::Pass).to_customer(Tongue::En, None), None, "{inner}");
        }
        assert_eq!(
            step("room_under_caps", StepVerdict::Block).to_customer(Tongue::En, None),
            None,
            "it was said all the same"
        );
    }
}
