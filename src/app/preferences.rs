//! What a person decides about being spoken to, and how their homes come to know of it.

use hearthway_core::id::{HouseholdId, ProfileId, RetailerId};
use hearthway_core::input::Command;
use hearthway_core::limits::PREFERRED_OFFERS_MAX;
use hearthway_core::model::{Household, Preferences, Profile};
use hearthway_core::time::Span;
use hearthway_core::trigger::nearest;

use super::documents::{Condition, etag};
use super::profiles::{settled, writable};
use super::tenants::to_text;
use super::tokens::{Caller, Scope};
use super::{App, Failure};
use crate::engine::Target;

/// Quiet windows of one person.
const QUIET_WINDOWS_MAX: usize = 4;
/// Devices that a person may name.
const CHOSEN_MAX: usize = 64;
/// The channels that there are; the gateway's own is the first, the others are the shop's systems'.
const CHANNELS: [&str; 9] = ["device", "app", "web", "store", "email", "sms", "phone", "paper", "social"];
/// Characters of an unknown channel that are told.
const CHANNEL_CHARS_SHOWN_MAX: usize = 32;
/// A pause ends at last.
const PAUSE_MAX: Span = Span::days(10 * 366);

/// What a person decides, with devices by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreferencesGiven {
    /// All but the devices.
    pub preferences: Preferences,
    /// Devices that may sell, by name; all where not said.
    pub devices: Option<Vec<String>>,
}

/// The tag of a person's preferences.
pub fn preferences_etag(preferences: &Preferences) -> String {
    etag(&to_text(preferences))
}

impl App {
    /// A person's preferences.
    pub async fn preferences(&self, who: &Caller, id: &str) -> Result<Preferences, Failure> {
        let retailer = who.retailer(Scope::ProfilesRead)?;
        Ok(self.person(retailer, id).await?.profile.preferences)
    }

    /// Replaces a person's preferences; answered when every home of theirs knows.
    pub async fn put_preferences(
        &self,
        who: &Caller,
        id: &str,
        given: PreferencesGiven,
        condition: &Condition,
    ) -> Result<Preferences, Failure> {
        let retailer = who.retailer(Scope::ProfilesWrite)?;
        let id = self.known_profile(retailer, id)?.id;
        let _busy = self.erasures.check(retailer, &id)?;
        let preferences = self.understood(who, given)?;
        let change = |before: Option<&Profile>| {
            let known = before.cloned().unwrap_or_else(|| Profile::named(id.clone()));
            condition.check("preferences", Some(&preferences_etag(&known.preferences)))?;
            Ok(Profile { preferences: preferences.clone(), ..known }.into())
        };
        let profile = self.change_profile(retailer, &id, &Condition::Any, change).await?;
        self.tell_homes(&profile, None).await?;
        Ok(profile.preferences)
    }

    fn understood(&self, who: &Caller, given: PreferencesGiven) -> Result<Preferences, Failure> {
        let PreferencesGiven { mut preferences, devices } = given;
        if preferences.quiet.len() > QUIET_WINDOWS_MAX {
            return Err(Failure::invalid("/quiet", format!("at most {QUIET_WINDOWS_MAX} windows")));
        }
        if let Some(at) = preferences.quiet.iter().position(|window| window.from_minute == window.to_minute) {
            let message = "equal ends make an empty window; to be left alone altogether, set `pause_until`";
            return Err(Failure::invalid(&format!("/quiet/{at}/to"), message));
        }
        for (pointer, bound) in
            [("/frequency/per_day", preferences.per_day), ("/frequency/per_week", preferences.per_week)]
        {
            if bound.is_some_and(|bound| !(1..=PREFERRED_OFFERS_MAX).contains(&bound)) {
                let message = format!("1 to {PREFERRED_OFFERS_MAX}; for none at all, set `pause_until`");
                return Err(Failure::invalid(pointer, message));
            }
        }
        if let Some(channels) = &preferences.channels {
            // A slip such as `devise` would silence every device without a word.
            if let Some(unknown) = channels.iter().find(|word| !CHANNELS.contains(&word.as_str())) {
                let shown: String = unknown.chars().take(CHANNEL_CHARS_SHOWN_MAX).collect();
                let near = nearest(unknown, CHANNELS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                let message = format!("there is no channel `{shown}`, but {}{near}", CHANNELS.join(", "));
                return Err(Failure::invalid("/channels", message));
            }
        }
        if preferences.pause_until.is_some_and(|until| until - self.now() > PAUSE_MAX) {
            return Err(Failure::invalid("/pause_until", "at most ten years from now"));
        }
        if preferences.unattended_max.is_some_and(|max| max.minor < 0) {
            return Err(Failure::invalid("/unattended_max", "0 or more; 0 asks for the app each time"));
        }
        if devices.as_ref().is_some_and(|devices| devices.len() > CHOSEN_MAX) {
            return Err(Failure::invalid("/devices", format!("at most {CHOSEN_MAX} devices")));
        }
        let find = |(at, name): (usize, &String)| {
            let found = self.find_device(who, Scope::ProfilesWrite, name);
            found.map(|(key, _)| key).map_err(|failure| match failure {
                Failure::Refused(refusal) => Failure::invalid(&format!("/devices/{at}"), refusal.message),
                other => other,
            })
        };
        preferences.devices = match devices {
            Some(names) => Some(names.iter().enumerate().map(find).collect::<Result<_, _>>()?),
            None => None,
        };
        Ok(preferences)
    }

    /// Lets a home know what is known of a person, where it is not what the home knows.
    pub(crate) async fn tell_standing(&self, profile: &Profile, home: &Household) -> Result<(), Failure> {
        let standing = profile.standing();
        if home.standings.get(&profile.id).map_or(standing.is_empty(), |known| **known == standing) {
            return Ok(());
        }
        let what = Command::SetStanding { profile: profile.id.clone(), standing: Box::new(standing) };
        let input = self.command(None, "standing", profile.id.as_str().as_bytes(), what);
        settled(self.engine.call(Target::Household(home.id), input).await).map(|_| ())
    }

    /// The same for a home that the person is about to join, which may not exist yet.
    pub(crate) async fn tell_standing_first(&self, profile: &Profile, home: HouseholdId) -> Result<(), Failure> {
        let known = self.engine.facts(home).await?;
        self.tell_standing(profile, &known.unwrap_or_else(|| Household::empty(home).into())).await
    }

    /// The profile by its id, if it can be changed.
    pub(crate) fn open_profile(&self, retailer: &RetailerId, id: &str) -> Result<ProfileId, Failure> {
        let profile = self.known_profile(retailer, id)?;
        writable(&profile).map(|()| profile.id)
    }
}
