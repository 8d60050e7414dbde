use std::sync::Arc;

use hearthway_core::id::{MakerId, RetailerId};
use hearthway_core::model::{Maker, Ranking, Retailer, Tenant};
use hearthway_core::time::Zone;

use super::catalog::check_locale;
use super::documents::{Condition, Document, Kind, Name};
use super::tokens::{Caller, Scope};
use super::{App, Failure};

/// What of a retailer is to be another.
#[derive(Debug, Clone, Default)]
pub struct RetailerPatch {
    /// Its name.
    pub name: Option<String>,
    /// The language of those who said none.
    pub default_locale: Option<String>,
    /// Where its days begin.
    pub zone: Option<Zone>,
    /// In which order sellers are preferred.
    pub ranking: Option<Ranking>,
}

/// Characters of a tenant's name: it stands on small screens.
const NAME_CHARS_MAX: usize = 120;

impl App {
    /// Makes or replaces a retailer.
    pub async fn put_retailer(
        &self,
        who: &Caller,
        id: &RetailerId,
        retailer: &Retailer,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        who.may(Scope::TenantsWrite)?;
        check_name(&retailer.name)?;
        let body = to_text(retailer);
        self.rulebook.put(&self.engine, Name::of_house(Kind::Retailer, id.as_str()), body, false, condition).await
    }

    /// A retailer, for the operator and for who runs that shop.
    pub fn retailer_document(&self, who: &Caller, id: &str) -> Result<Arc<Document>, Failure> {
        let missing = || Failure::not_found("retailer", id.chars().take(80).collect::<String>());
        let is_own = match who.tenant() {
            Tenant::Operator => who.may(Scope::TenantsWrite).map(|()| true)?,
            Tenant::Retailer(own) => who.may(Scope::ShopWrite).map(|()| own.as_str() == id)?,
            Tenant::Maker(_) => who.may(Scope::ShopWrite).map(|()| false)?,
        };
        let known = self.rulebook.get(&Name::of_house(Kind::Retailer, id)).filter(|_| is_own);
        known.ok_or_else(missing)
    }

    /// Changes of a retailer what is named.
    pub async fn patch_retailer(
        &self,
        who: &Caller,
        id: &str,
        new: RetailerPatch,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        let known = self.retailer_document(who, id)?;
        condition.check("retailer", Some(&known.etag()))?;
        let rules = self.engine.rules();
        let id = RetailerId::new(id).map_err(|error| Failure::name("", error))?;
        let Some(mut retailer) = rules.retailers.get(&id).map(|known| (**known).clone()) else {
            return Err(Failure::not_found("retailer", id));
        };
        if let Some(name) = new.name {
            check_name(&name)?;
            retailer.name = name;
        }
        if let Some(locale) = new.default_locale {
            check_locale("/default_locale", &locale)?;
            retailer.default_locale = locale;
        }
        retailer.zone = new.zone.unwrap_or(retailer.zone);
        retailer.ranking = new.ranking.unwrap_or(retailer.ranking);
        // What was read is what is replaced: a change in between is not undone unseen.
        let only_this = Condition::Tags(vec![known.etag()]);
        let name = Name::of_house(Kind::Retailer, id.as_str());
        self.rulebook.put(&self.engine, name, to_text(&retailer), false, &only_this).await
    }

    /// Makes or replaces a maker.
    pub async fn put_maker(
        &self,
        who: &Caller,
        id: &MakerId,
        maker: &Maker,
        condition: &Condition,
    ) -> Result<Arc<Document>, Failure> {
        who.may(Scope::TenantsWrite)?;
        check_name(&maker.name)?;
        let body = to_text(maker);
        self.rulebook.put(&self.engine, Name::of_house(Kind::Maker, id.as_str()), body, false, condition).await
    }
}

/// A name that people read: not empty, not endless.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let chars = name.chars().count();
    if name.trim().is_empty() || chars > NAME_CHARS_MAX {
        return Err(Failure::invalid(
            "/name",
            format!("the name takes 1 to {NAME_CHARS_MAX} characters, this one has {chars}"),
        ));
    }
    Ok(())
}

/// A document as it is kept.
pub(crate) fn to_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("documents have text keys only")
}
