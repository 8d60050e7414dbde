//! What a token may do: roles, and the scopes that each has.

use serde::{Deserialize, Serialize};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// One thing that a token may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Scope { $($(#[$doc])* #[serde(rename = $text)] $name,)* }
        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Scope] = &[$(Scope::$name,)*];
            /// The scope as written.
            pub fn as_str(self) -> &'static str { match self { $(Scope::$name => $text,)* } }
            /// Reads the written form.
            pub fn parse(text: &str) -> Option<Scope> { Scope::ALL.iter().copied().find(|scope| scope.as_str() == text) }
        }
    };
}
scopes! {
    /// Retailers, makers and tokens.
    TenantsWrite = "tenants.write";
    /// Bootstrap and bridge keys.
    KeysWrite = "keys.write";
    /// Read device models.
    ModelsRead = "models.read";
    /// Write device models.
    ModelsWrite = "models.write";
    /// Register devices, see provisioning.
    DevicesRegister = "devices.register";
    /// See devices.
    DevicesRead = "devices.read";
    /// Suspend and resume devices.
    DevicesSuspend = "devices.suspend";
    /// Release devices, end links.
    DevicesRelease = "devices.release";
    /// Claims, and links without a code.
    LinksWrite = "links.write";
    /// Read products.
    ProductsRead = "products.read";
    /// Write products.
    ProductsWrite = "products.write";
    /// Read triggers.
    TriggersRead = "triggers.read";
    /// Write and check drafts.
    TriggersWrite = "triggers.write";
    /// Publish and pause.
    TriggersPublish = "triggers.publish";
    /// Read profiles.
    ProfilesRead = "profiles.read";
    /// Write profiles and their consents.
    ProfilesWrite = "profiles.write";
    /// Read offers.
    OffersRead = "offers.read";
    /// Answer offers.
    OffersAnswer = "offers.answer";
    /// Read orders.
    OrdersRead = "orders.read";
    /// Move orders on.
    OrdersStatus = "orders.status";
    /// Cancel orders.
    OrdersCancel = "orders.cancel";
    /// Explain decisions.
    DecisionsRead = "decisions.read";
    /// Take backups: everything, of everybody.
    BackupsRead = "backups.read";
    /// Say what surrounds homes: weather, tariff, season.
    ContextWrite = "context.write";
    /// Read reports: counts of the retailer's own homes.
    ReportsRead = "reports.read";
    /// Tell what happened elsewhere: a purchase in the store or in another shop.
    EventsWrite = "events.write";
    /// Read webhooks and what became of their events.
    WebhooksRead = "webhooks.read";
    /// Make, change, try and replay webhooks.
    WebhooksWrite = "webhooks.write";
    /// Read who changed what.
    AuditRead = "audit.read";
    /// Erase customers.
    ProfilesErase = "profiles.erase";
    /// Read audiences and how large they are.
    AudiencesRead = "audiences.read";
    /// Make audiences, and say who is on their lists.
    AudiencesWrite = "audiences.write";
    /// Make tokens for customers, who then act for themselves.
    MeTokens = "me.tokens";
    /// Act for oneself: what a customer's token may do.
    Me = "me";
    /// Read and change what a shop is called, its language, zone and ranking of sellers.
    ShopWrite = "shop.write";
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TokenRole {
    /// Runs the gateway.
    Operator,
    /// Makes devices.
    Maker,
    /// Runs a shop.
    RetailerAdmin,
    /// Writes triggers.
    Marketer,
    /// Helps customers.
    Support,
    /// A system, with listed scopes only.
    Service,
    /// A customer, for themselves only. The last: roles are stored by their place.
    Customer,
}

impl TokenRole {
    const ALL: [TokenRole; 7] = [
        TokenRole::Operator,
        TokenRole::Maker,
        TokenRole::RetailerAdmin,
        TokenRole::Marketer,
        TokenRole::Support,
        TokenRole::Service,
        TokenRole::Customer,
    ];
    /// The role as written.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenRole::Operator => "operator",
            TokenRole::Maker => "maker",
            TokenRole::RetailerAdmin => "retailer_admin",
            TokenRole::Marketer => "marketer",
            TokenRole::Support => "support",
            TokenRole::Service => "service",
            TokenRole::Customer => "customer",
        }
    }
    /// Reads the written form.
    pub fn parse(text: &str) -> Option<TokenRole> {
        TokenRole::ALL.into_iter().find(|role| role.as_str() == text)
    }
    /// Every role as written, for messages.
    pub fn words() -> String {
        TokenRole::ALL.map(TokenRole::as_str).join(", ")
    }
    /// What the role may do. A service may do only what is listed in its token.
    pub(super) fn scopes(self) -> &'static [Scope] {
        use Scope::*;
        match self {
            TokenRole::Operator => &[
                TenantsWrite,
                KeysWrite,
                ModelsRead,
                ModelsWrite,
                DevicesRegister,
                DevicesRead,
                DevicesSuspend,
                BackupsRead,
                AuditRead,
            ],
            TokenRole::Maker => &[
                KeysWrite,
                ModelsRead,
                ModelsWrite,
                DevicesRegister,
                DevicesRead,
                DevicesSuspend,
                WebhooksRead,
                WebhooksWrite,
                AuditRead,
            ],
            TokenRole::RetailerAdmin => &RETAILER_SCOPES,
            TokenRole::Marketer => &[ModelsRead, ProductsRead, TriggersRead, TriggersWrite, ReportsRead, AudiencesRead],
            TokenRole::Support => &[
                ModelsRead,
                DevicesRead,
                DevicesRelease,
                ProductsRead,
                TriggersRead,
                ProfilesRead,
                OffersRead,
                OrdersRead,
                OrdersCancel,
                DecisionsRead,
            ],
            TokenRole::Customer => &[Me],
            TokenRole::Service => &[],
        }
    }
}

/// What a retailer's tokens can do at all; a service's listed scopes are among them.
pub(super) const RETAILER_SCOPES: [Scope; 29] = {
    use Scope::*;
    [
        ModelsRead,
        DevicesRead,
        DevicesSuspend,
        DevicesRelease,
        LinksWrite,
        ProductsRead,
        ProductsWrite,
        TriggersRead,
        TriggersWrite,
        TriggersPublish,
        ProfilesRead,
        ProfilesWrite,
        OffersRead,
        OffersAnswer,
        OrdersRead,
        OrdersStatus,
        OrdersCancel,
        DecisionsRead,
        ContextWrite,
        ReportsRead,
        EventsWrite,
        WebhooksRead,
        WebhooksWrite,
        AuditRead,
        ProfilesErase,
        AudiencesRead,
        AudiencesWrite,
        MeTokens,
        ShopWrite,
    ]
};
