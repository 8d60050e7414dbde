use std::sync::Arc;

use hearthway_core::id::{MakerId, RetailerId};
use hearthway_core::model::{Maker, Retailer};

use super::documents::{Condition, Document, Kind, Name};
use super::tokens::{Caller, Scope};
use super::{App, Failure};

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
