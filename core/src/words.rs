//! The reasons of a trace in a retailer's words, in English and French: one line per code.
//!
//! A template names numbers of its step as `{name}`; a part in `[…]` is left out where one of its
//! numbers is missing. Instants are told in the step's `zone`, seconds (`…_s`) in the largest unit
//! that fits, and a few words of the contract (purposes, roles, states) in their own translation.
//! `{detail}` is what stands behind the code in the stored reason.

use crate::time::{Timestamp, Zone};
use crate::trace::{Fact, StepTrace};

/// The language of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tongue {
    /// English.
    En,
    /// French.
    Fr,
}

impl Tongue {
    /// Every language that there is.
    pub const ALL: [Tongue; 2] = [Tongue::En, Tongue::Fr];
    fn pick<T>(self, en: T, fr: T) -> T {
        match self {
            Tongue::En => en,
            Tongue::Fr => fr,
        }
    }
}

macro_rules! reasons {
    ($($name:ident = $code:literal, $en:literal, $fr:literal;)*) => {
        /// Why a step says what it says. The code is stable: programs may rely on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the English words beside each are its documentation")]
        pub enum Reason { $(#[doc = $en] $name,)* }
        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];
            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }
            /// The words, as a template.
            pub const fn template(self, tongue: Tongue) -> &'static str {
                match (self, tongue) {
                    $((Reason::$name, Tongue::En) => $en, (Reason::$name, Tongue::Fr) => $fr,)*
                }
            }
        }
    };
}

reasons! {
    FirstSeen = "first_seen", "This message came for the first time.", "Ce message arrive pour la première fois.";
    NoMessageId = "no_message_id", "The message has no id of its own.", "Le message n'a pas d'identifiant.";
    HourHasCome = "hour_has_come", "An offer that was held or put off is looked at again at its hour.", "Une offre retenue ou reportée est réexaminée à son heure.";
    EdgeHolds = "edge_holds", "The threshold was crossed before and still is.", "Le seuil a été franchi auparavant et l'est toujours.";
    EventTooOld = "event_too_old", "The event is {age_s} old; after {max_s} it is too late for an offer.", "L'événement date de {age_s} ; au-delà de {max_s}, il est trop tard pour une offre.";
    RecentEnough = "recent_enough", "The event is recent: {age_s} of at most {max_s}.", "L'événement est récent : {age_s} sur {max_s} au plus.";
    Trending = "trending", "The value changed by {slope} per hour over {over_s}.", "La valeur a changé de {slope} par heure sur {over_s}.";
    Activated = "activated", "The trigger went live, and the value stood beyond its threshold.", "Le déclencheur a été mis en service, et la valeur était déjà au-delà du seuil.";
    ItsHour = "its_hour", "The trigger's hour has come[; that was {overdue_s} ago].", "L'heure du déclencheur est venue[ ; c'était il y a {overdue_s}].";
    Stayed = "stayed", "The value stayed for {for_s}[; that was full {overdue_s} ago].", "La valeur est restée pendant {for_s}[ ; c'était atteint il y a {overdue_s}].";
    Counted = "counted", "It happened {times} times within {within_s}.", "C'est arrivé {times} fois en {within_s}.";
    Silent = "silent", "Nothing came for {for_s}[; that was full {overdue_s} ago].", "Rien n'est venu pendant {for_s}[ ; c'était atteint il y a {overdue_s}].";
    NotWoken = "not_woken", "Nothing woke this trigger[: {detail}].", "Rien n'a éveillé ce déclencheur : le seuil n'a pas été franchi ou l'événement attendu n'est pas venu[ ; {what} vaut {known}][, sans passer au-dessus de {rises_above}][, sans passer en dessous de {falls_below}][, sans devenir {becomes}][, déjà au-delà de {beyond} : il faut d'abord revenir].";
    AlwaysValid = "always_valid", "The trigger has no dates.", "Le déclencheur n'a pas de dates.";
    NotLiveThen = "not_live_then", "The trigger was not live when this was decided.", "Le déclencheur n'était pas en service lors de cette décision.";
    NotYetValid = "not_yet_valid", "The trigger begins on {from}; it is {today}.", "Le déclencheur commence le {from} ; nous sommes le {today}.";
    NoLongerValid = "no_longer_valid", "The trigger ended on {until}; it is {today}.", "Le déclencheur s'est terminé le {until} ; nous sommes le {today}.";
    ValidToday = "valid_today", "The trigger is valid on {today}.", "Le déclencheur est valable le {today}.";
    DeviceSuspended = "device_suspended", "The device is suspended[: {why}].", "L'appareil est suspendu[ : {why}].";
    NotSuspended = "not_suspended", "The device is not suspended.", "L'appareil n'est pas suspendu.";
    NoDevice = "no_device", "The device has left the home.", "L'appareil a quitté le foyer.";
    WipePending = "wipe_pending", "The former owner's data is not yet wiped from the device.", "Les données de l'ancien propriétaire ne sont pas encore effacées de l'appareil.";
    OtherRetailer = "other_retailer", "The home is another retailer's customer.", "Le foyer est client d'une autre enseigne.";
    Linked = "linked", "The device is linked to the customer[ since {since}].", "L'appareil est lié au client[ depuis le {since}].";
    NotLinked = "not_linked", "The device belongs to no customer.", "L'appareil n'appartient à aucun client.";
    LinkNotAsked = "link_not_asked", "The device is not linked, and the trigger does not ask for it.", "L'appareil n'est pas lié, et le déclencheur ne le demande pas.";
    NoConsent = "no_consent", "The customer has not consented to {purpose}.", "Le client n'a pas consenti à : {purpose}.";
    TextAsksAgain = "text_asks_again", "The customer consented to {purpose} on {granted_at}; the text has asked for something else since: ask again.", "Le client a consenti à : {purpose}, le {granted_at} ; le texte demande autre chose depuis : il faut redemander.";
    RunsOut = "runs_out", "The {slot} is expected to run out about {p50} (between {p10} and {p90}); order by {order_by}.", "Fin prévue de {slot} vers le {p50} (entre le {p10} et le {p90}) ; à commander avant le {order_by}.";
    ConsentGranted = "granted", "The customer consented.", "Le client a consenti.";
    Paused = "paused", "The customer asked for silence until {until}.", "Le client a demandé le silence jusqu'au {until}.";
    NoPause = "no_pause", "The customer did not ask for silence.", "Le client n'a pas demandé le silence.";
    MarketingOff = "marketing_off", "Somebody who is linked to the device is not to be sold to: {flag}.", "Une personne liée à l'appareil ne doit pas être sollicitée : {flag}.";
    Guests = "guests", "The device is with guests.", "L'appareil est entre les mains d'invités.";
    DeviceNotChosen = "device_not_chosen", "The customer does not want offers on this device.", "Le client ne veut pas d'offres sur cet appareil.";
    ChannelNotChosen = "channel_not_chosen", "The customer does not want offers on devices.", "Le client ne veut pas d'offres sur les appareils.";
    OftenEnough = "often_enough", "The customer wants {max} offers {window} at most, and {made} were made[; room again on {frees}].", "Le client veut {max} offres au plus {window}, et {made} ont été faites[ ; de nouveau possible le {frees}].";
    NoSuchRole = "no_such_role", "Nobody linked to the device has a role that may see this.", "Personne, parmi ceux liés à l'appareil, n'a un rôle qui peut voir cette offre.";
    Excluded = "excluded", "The customer is in the excluded segment {segment}.", "Le client est dans le segment exclu {segment}.";
    Everybody = "everybody", "The trigger is for everybody.", "Le déclencheur s'adresse à tous.";
    InSegment = "in_segment", "The customer is in the segment {segment}.", "Le client est dans le segment {segment}.";
    NotIncluded = "not_included", "The customer is in none of the segments {segments}.", "Le client n'est dans aucun des segments {segments}.";
    InAudience = "in_audience", "The customer is in the audience {audience}.", "Le client est dans l'audience {audience}.";
    NotInAudience = "not_in_audience", "The customer is not in the audience {audience}[: {condition}][ (it is {found})].", "Le client n'est pas dans l'audience {audience}[ : {condition}][ (valeur : {found})].";
    AudienceExcepted = "audience_excepted", "The customer is in the audience {audience}, or that cannot be told; the trigger is not for it.", "Le client est dans l'audience {audience}, ou cela n'est pas connu ; le déclencheur ne s'y adresse pas.";
    AudienceMissing = "audience_missing", "There is no audience {audience}.", "Il n'y a pas d'audience {audience}.";
    NoCondition = "no_condition", "The trigger has no condition.", "Le déclencheur n'a pas de condition.";
    AllHold = "all_hold", "Every condition holds.", "Toutes les conditions sont remplies.";
    ConditionFails = "conditions", "A condition does not hold: {condition}[ (it is {found})].", "Une condition n'est pas remplie : {condition}[ (valeur : {found})].";
    ConditionUnknown = "conditions_unknown", "A condition cannot be told, and unknown never sends: {condition}.", "Une condition est inconnue, et l'inconnu n'envoie jamais : {condition}.";
    OpenOrder = "open_order", "The product is on its way: order {order} is {state}.", "Le produit est en route : la commande {order} est {state}.";
    JustOrdered = "just_ordered", "The product was ordered[ on {at}]: silence until {until}.", "Le produit a été commandé[ le {at}] : silence jusqu'au {until}.";
    JustRefused = "refused", "The customer refused this offer[ on {at}]: silence until {until}.", "Le client a refusé cette offre[ le {at}] : silence jusqu'au {until}.";
    NotNeeded = "not_needed", "The customer said it is not needed[ on {at}]: silence until {until}.", "Le client a dit ne pas en avoir besoin[ le {at}] : silence jusqu'au {until}.";
    SparesAtHome = "spares_at_home", "There is enough at home: {spares} of {product}, not inserted yet.", "Il y en a assez à la maison : {spares} de {product}, pas encore en place.";
    SparesDoubted = "spares_doubted", "There should be {spares} at home, not inserted for long: the customer is asked.", "Il devrait en rester {spares} à la maison, pas en place depuis longtemps : on demande au client.";
    OtherBrand = "other_brand", "The customer uses another brand[ since {at}]: silence until {until}.", "Le client utilise une autre marque[ depuis le {at}] : silence jusqu'au {until}.";
    MandateMissing = "mandate_missing", "No mandate covers it: the customer is asked.", "Aucun mandat ne le couvre : on demande au client.";
    MandateNoConsent = "mandate_no_consent", "Who gave the mandate does not consent to orders without asking: the customer is asked.", "Qui a donné le mandat ne consent pas aux commandes automatiques : on demande au client.";
    MandateOff = "mandate_off", "Who gave the mandate {mandate} has turned orders without asking off: the customer is asked.", "Qui a donné le mandat {mandate} a désactivé les commandes automatiques : on demande au client.";
    MandateEnded = "mandate_ended", "The mandate {mandate} ended[ on {at}]: the customer is asked.", "Le mandat {mandate} a pris fin[ le {at}] : on demande au client.";
    MandateOtherProduct = "mandate_other_product", "The mandate {mandate} does not name {product}: the customer is asked.", "Le mandat {mandate} ne nomme pas {product} : on demande au client.";
    MandateNeverAuto = "mandate_never_auto", "{product} is never ordered without asking: the customer is asked.", "{product} ne se commande jamais sans demander : on demande au client.";
    MandatePrice = "mandate_price", "It costs {price}, the mandate {mandate} permits {max}: the customer is asked.", "Cela coûte {price}, le mandat {mandate} autorise {max} : on demande au client.";
    MandateUsedUp = "mandate_used_up", "Under the mandate {mandate} {made} of {max} orders were made in 30 days: the customer is asked.", "Sous le mandat {mandate}, {made} commandes sur {max} ont été passées en 30 jours : on demande au client.";
    MandateStale = "mandate_stale", "The level is too old to order by it: the customer is asked.", "Le niveau est trop ancien pour commander : on demande au client.";
    MandatePermits = "mandate_permits", "The mandate {mandate} permits to order it without asking.", "Le mandat {mandate} autorise à le commander sans demander.";
    NothingLately = "nothing_lately", "Nothing was bought or refused lately, and no order is open.", "Rien n'a été acheté ou refusé récemment, et aucune commande n'est ouverte.";
    NoCap = "no_cap", "The trigger has no frequency cap.", "Le déclencheur n'a pas de plafond.";
    CapReached = "cap_reached", "The cap is reached: the {scope} was contacted {made} of {max} times {window}[, {elsewhere} of them in another home][; room again on {frees}].", "Le plafond est atteint : {scope} contacté {made} fois sur {max} {window}[, dont {elsewhere} dans un autre foyer][ ; de nouveau possible le {frees}].";
    PersonCapReached = "person_cap_reached", "Somebody at this device was contacted as often as the cap permits.", "Une personne liée à cet appareil a été contactée autant que le plafond le permet.";
    SharedCapReached = "shared_cap_reached", "The cap of all homes is reached: {made} of {max} offers {window}.", "Le plafond commun à tous les foyers est atteint : {made} offres sur {max} {window}.";
    ElsewhereNotAsked = "elsewhere_not_asked", "What these people had heard in another home then is not known: nothing was to be said.", "Ce que ces personnes avaient entendu dans un autre foyer à ce moment n'est pas connu : rien n'était à dire.";
    CapNotAsked = "cap_not_asked", "What all homes had been sent then is not known: nothing was to be sent.", "Ce que tous les foyers avaient reçu à ce moment n'est pas connu : rien n'était à envoyer.";
    RoomUnderCaps = "room_under_caps", "There is room under every cap: {made} of {max}.", "Aucun plafond n'est atteint : {made} sur {max}.";
    NothingToBuy = "nothing_to_buy", "The trigger proposes nothing to buy.", "Le déclencheur ne propose rien à acheter.";
    NoProduct = "no_product", "{wanted} is not in the catalogue.", "Absent du catalogue : {wanted}.";
    ProductDoesNotFit = "product_does_not_fit", "{wanted} does not fit {slot} of this device.", "{wanted} ne convient pas à {slot} de cet appareil.";
    NoPrice = "no_price", "Price and delivery are in different currencies.", "Le prix et la livraison sont dans des monnaies différentes.";
    SoldOut = "sold_out", "Nobody who may sell {product} has enough of it.", "Aucun vendeur autorisé n'a assez de {product}.";
    NoStore = "no_store", "{product} can only be collected, and no open store has it.", "{product} ne peut qu'être retiré en magasin, et aucun magasin ouvert n'en a.";
    NotForShared = "not_for_shared", "{category} does not show where everybody of the home looks.", "{category} ne s'affiche pas là où tout le foyer regarde.";
    JustRefunded = "just_refunded", "The customer gave {product} back[ on {at}]: silence until {until}.", "Le client a rendu {product}[ le {at}] : silence jusqu'au {until}.";
    ProductFound = "product_found", "The product is {product}.", "Le produit est {product}.";
    NothingToWrite = "nothing_to_write", "There is no product to write about.", "Il n'y a pas de produit à décrire.";
    LocaleNotShown = "locale_not_shown", "The device does not show the language: it has {shown}[, the text {written}].", "L'appareil n'affiche pas la langue : il a {shown}[, le texte {written}].";
    NoText = "no_text", "The text cannot be written: {detail}.", "Le texte ne peut pas être écrit : {detail}.";
    Written = "written", "The text is written in {locale}.", "Le texte est écrit en {locale}.";
    NoDescription = "no_description", "Neither the device nor its model says what it can show.", "Ni l'appareil ni son modèle ne disent ce qu'il peut afficher.";
    NothingToPlace = "nothing_to_place", "There is no text to show.", "Il n'y a pas de texte à afficher.";
    TextTooLong = "text_too_long", "The text is too long for {placement}: “{title}”.", "Le texte est trop long pour {placement} : « {title} ».";
    NoPlacement = "no_placement", "The device has no surface that the trigger names.", "L'appareil n'a aucune surface que le déclencheur nomme.";
    Placed = "placed", "It shows on {placement}.", "Elle s'affiche sur {placement}.";
    PlacedWithoutOrder = "placed_without_order", "It shows on {placement}, without ordering: the device cannot confirm an order.", "Elle s'affiche sur {placement}, sans commande : l'appareil ne peut pas en confirmer.";
    LostRanking = "lost_ranking", "Another offer takes {placement}: that of {winner} with priority {its_priority}; this one has {priority}.[ It is expected to earn {its_expected_minor}, this one {expected_minor} (in the currency's smallest unit).]", "Une autre offre occupe {placement} : celle de {winner}, de priorité {its_priority} ; celle-ci a {priority}.[ Son gain attendu est de {its_expected_minor}, celui-ci de {expected_minor} (dans la plus petite unité monétaire).]";
    NoQuietHours = "no_quiet_hours", "The trigger has no quiet hours.", "Le déclencheur n'a pas d'heures calmes.";
    ZoneUnknown = "zone_unknown", "The home's time zone is unknown, so it counts as quiet.", "Le fuseau du foyer est inconnu : l'heure compte comme calme.";
    OutsideQuiet = "outside_quiet_hours", "It is outside the quiet hours.", "Ce n'est pas une heure calme.";
    QuietHours = "quiet_hours", "It is a quiet hour; the offer waits until {until}.", "C'est une heure calme ; l'offre attend jusqu'au {until}.";
    NoHourOfUse = "no_hour_of_use", "It is not known when the device is used: now is as good as later.", "On ne sait pas quand l'appareil sert : maintenant vaut bien plus tard.";
    HourOfUse = "hour_of_use", "It is an hour in which the device is used.", "C'est une heure où l'appareil sert.";
    WaitsForUse = "waits_for_use", "The device is mostly used around {hour}:00; the offer waits until {until}.", "L'appareil sert surtout vers {hour} h ; l'offre attend jusqu'au {until}.";
    NoBudget = "no_budget", "The trigger has no budget.", "Le déclencheur n'a pas de budget.";
    BudgetLeft = "budget_left", "There is budget left[; {spent_count} of {count_max} orders are used][; {spent} of {amount} are used].", "Il reste du budget[ ; {spent_count} commandes sur {count_max} utilisées][ ; {spent} sur {amount} utilisés].";
    BudgetExhausted = "budget_exhausted", "The budget is used up[; {spent_count} of {count_max} orders][; {spent} of {amount}].", "Le budget est épuisé[ ; {spent_count} commandes sur {count_max}][ ; {spent} sur {amount}].";
    BudgetPaced = "budget_paced", "The budget's share up to {today} is used[; {spent_count} of {share_count} orders][; {spent} of {share}]; there is more tomorrow.", "La part du budget jusqu'au {today} est utilisée[ ; {spent_count} commandes sur {share_count}][ ; {spent} sur {share}] ; la suite demain.";
    BudgetCurrency = "budget_currency", "The budget counts in {currency}, and the price is in another currency.", "Le budget compte en {currency}, et le prix est dans une autre monnaie.";
    BudgetNotAsked = "budget_not_asked", "What was left of the budget then is not known: nothing was to be sent.", "Le reste du budget à ce moment n'est pas connu : rien n'était à envoyer.";
    CodePoolEmpty = "code_pool_empty", "The pool {pool} has no unique code left, and no offer goes without.", "La réserve {pool} n'a plus de code unique, et aucune offre ne part sans.";
    DiscountCurrency = "discount_currency", "The discount's bound is in another currency than the price.", "La limite de la remise est dans une autre monnaie que le prix.";
    NoHoldout = "no_holdout", "The trigger has no control group.", "Le déclencheur n'a pas de groupe témoin.";
    NotHeldOut = "not_held_out", "The household is not in the control group: its bucket {bucket} is not below {below} of 10000.", "Le foyer n'est pas dans le groupe témoin : son numéro {bucket} n'est pas inférieur à {below} sur 10000.";
    HeldOut = "held_out", "The household is in the control group: its bucket {bucket} is below {below} of 10000.", "Le foyer est dans le groupe témoin : son numéro {bucket} est inférieur à {below} sur 10000.";
    DrawnAtItsHour = "drawn_at_its_hour", "The offer waits for its hour; the control group is drawn then.", "L'offre attend son heure ; le groupe témoin est tiré à ce moment.";
    BlockedBefore = "blocked_before", "An earlier step blocked it.", "Une étape précédente l'a bloquée.";
    HeldUntil = "held", "The offer waits until {until}.", "L'offre attend jusqu'au {until}.";
    SentTo = "sent", "The offer leaves for {placement}.", "L'offre part vers {placement}.";
    NothingToSend = "nothing_to_send", "There is nothing to send.", "Il n'y a rien à envoyer.";
}

impl Reason {
    /// The reason with this code.
    pub fn of_code(code: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

/// Words of the contract that stand in numbers.
const VALUES: &[(&str, &str, &str)] = &[
    ("offers.device", "offers on the device", "offres sur l'appareil"),
    ("replenish.device", "refills on the device", "réassort sur l'appareil"),
    ("profiling.usage", "use of usage data", "usage des données d'utilisation"),
    ("household", "home", "foyer"),
    ("profile", "customer", "client"),
    ("device", "device", "appareil"),
    ("global", "all homes", "tous les foyers"),
    ("confirmed", "confirmed", "confirmée"),
    ("submitted", "submitted", "transmise"),
    ("accepted", "accepted", "acceptée"),
    ("preparing", "being prepared", "en préparation"),
    ("shipped", "shipped", "expédiée"),
    ("today", "today", "aujourd'hui"),
    ("minor", "not of age", "mineure"),
    ("vulnerable", "to be left alone", "à laisser tranquille"),
];

impl StepTrace {
    /// The reason in a retailer's words. A reason that has no words is given as it is stored.
    pub fn in_words(&self, tongue: Tongue) -> String {
        match Reason::of_code(self.code()) {
            Some(reason) => filled(reason.template(tongue), self, tongue).unwrap_or_else(|| self.reason.to_string()),
            None => self.reason.to_string(),
        }
    }

    fn named(&self, name: &str, tongue: Tongue) -> Option<String> {
        if name == "detail" {
            return self.reason.split_once(": ").map(|(_, detail)| detail.to_owned());
        }
        let (name, fact) = self.numbers.iter().rev().find(|(known, _)| known == name)?;
        Some(match fact {
            Fact::Int(seconds) if name.ends_with("_s") => span(*seconds, tongue),
            Fact::Int(n) => n.to_string(),
            Fact::Real(x) => x.to_string(),
            Fact::Bool(yes) => yes.to_string(),
            Fact::At(at) => self.moment(*at),
            Fact::Text(text) => value(text, tongue),
        })
    }

    /// An instant in the step's zone, to the minute.
    fn moment(&self, at: Timestamp) -> String {
        let zone = self.numbers.iter().find_map(|(name, fact)| match fact {
            Fact::Text(zone) if name == "zone" => Zone::new(&**zone).ok(),
            _ => None,
        });
        let zone = zone.unwrap_or_else(Zone::utc);
        format!("{} {}", zone.local(at).strftime("%Y-%m-%d %H:%M"), zone.as_str())
    }
}

/// A template with its names filled in; none where a name outside of `[…]` is missing.
pub(crate) fn filled(template: &str, step: &StepTrace, tongue: Tongue) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '[']) {
        text.push_str(&rest[..at]);
        let (open, close) = if rest[at..].starts_with('{') { ('{', '}') } else { ('[', ']') };
        let (inside, after) = rest[at + open.len_utf8()..].split_once(close)?;
        match open {
            '{' => text.push_str(&step.named(inside, tongue)?),
            _ => text.push_str(&filled(inside, step, tongue).unwrap_or_default()),
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

fn value(text: &str, tongue: Tongue) -> String {
    // A stretch of time, such as `in 7d`, is told by its seconds.
    if let Some(seconds) = text.strip_prefix("in ").and_then(|span| crate::time::Span::parse(span).ok()) {
        return format!("{} {}", tongue.pick("in", "en"), span(seconds.0 / 1_000, tongue));
    }
    let known = VALUES.iter().find(|(known, ..)| *known == text);
    known.map_or(text, |(_, en, fr)| tongue.pick(en, fr)).to_owned()
}

/// So many seconds in the largest unit of which there are at least two, or one and nothing else.
fn span(seconds: i64, tongue: Tongue) -> String {
    const UNITS: [(i64, [&str; 2], [&str; 2]); 3] = [
        (86_400, ["day", "days"], ["jour", "jours"]),
        (3_600, ["hour", "hours"], ["heure", "heures"]),
        (60, ["minute", "minutes"], ["minute", "minutes"]),
    ];
    let whole = UNITS.iter().find(|(unit, ..)| seconds >= 2 * unit || seconds == *unit);
    match whole {
        Some((unit, en, fr)) => {
            let n = seconds / unit;
            format!("{n} {}", tongue.pick(en, fr)[usize::from(n != 1)])
        }
        None => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::trace::{Step, StepVerdict};

    #[test]
    fn every_reason_has_words_in_both_languages_and_a_code_of_its_own() {
        let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.code().bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{reason:?}");
            let [en, fr] = Tongue::ALL.map(|tongue| reason.template(tongue));
            assert!(en.len() > 10 && fr.len() > 10 && en != fr, "{reason:?}: {en} / {fr}");
        }
    }

    #[test]
    fn a_reason_is_told_with_its_numbers_in_the_homes_own_time() {
        let numbers = vec![
            ("made".into(), Fact::Int(2)),
            ("max".into(), Fact::Int(2)),
            ("scope".into(), Fact::Text("household".into())),
            ("window".into(), Fact::Text("in 7d".into())),
            ("frees".into(), Fact::At(Timestamp::parse_rfc3339("2026-11-24T08:12:00Z").unwrap())),
            ("zone".into(), Fact::Text("Europe/Paris".into())),
        ];
        let reason = "cap_reached: household 2 of 2 in 7d".into();
        let step = StepTrace { step: Step::Caps, verdict: StepVerdict::Block, reason, numbers };
        let en = "The cap is reached: the home was contacted 2 of 2 times in 7 days; \
                  room again on 2026-11-24 09:12 Europe/Paris.";
        assert_eq!(step.in_words(Tongue::En), en);
        let fr = "Le plafond est atteint : foyer contacté 2 fois sur 2 en 7 jours ; \
                  de nouveau possible le 2026-11-24 09:12 Europe/Paris.";
        assert_eq!(step.in_words(Tongue::Fr), fr);
    }

    #[test]
    fn a_reason_of_another_time_is_told_as_it_was_stored() {
        let reason = "an old phrase".into();
        let step = StepTrace { step: Step::Caps, verdict: StepVerdict::Pass, reason, numbers: Vec::new() };
        assert_eq!(step.in_words(Tongue::Fr), "an old phrase");
    }
}
