//! Who is calling: access tokens of people and systems, and the keys of bootstrap and bridge.
//!
//! A token reads `hw_<id>_<secret>`; only the SHA-256 of the secret is kept, which is enough for
//! 256 random bits. The tenant comes from the token and from nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use hearthway_core::id::{MakerId, ProfileId, RetailerId, base32};
use hearthway_core::model::Tenant;
use hearthway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::roles::RETAILER_SCOPES;
pub use super::roles::{Scope, TokenRole};
use super::{App, Failure, rows};
use crate::engine::Engine;
use crate::store::codec::{self, Schema};
use crate::store::keys::{Key, KeyBuilder, table};
use crate::store::{StoreError, Write};

/// Tokens at most, all tenants together: they are all in memory.
const TOKENS_MAX: usize = 100_000;
/// Keys of one kind that a maker can have at once: the one in use, and those being rotated.
const KEYS_PER_MAKER_MAX: usize = 4;
/// The least length of the operator's token.
pub const OPERATOR_TOKEN_CHARS_MIN: usize = 16;

/// Who is calling. Only [`App::caller`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    token: String,
    tenant: Tenant,
    role: TokenRole,
    scopes: Vec<Scope>,
    /// The customer who acts for themselves.
    person: Option<ProfileId>,
}

impl Caller {
    /// The token's id; the operator's is `operator`.
    pub fn token(&self) -> &str {
        &self.token
    }
    /// Whose token it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
    /// What the token is for.
    pub fn role(&self) -> TokenRole {
        self.role
    }
    /// The customer whose token it is.
    pub fn person(&self) -> Option<&ProfileId> {
        self.person.as_ref()
    }
    /// The same customer with what one call of theirs needs. Only `me` asks for it, which fixes the person.
    pub(super) fn with(&self, scopes: &[Scope]) -> Caller {
        Caller { scopes: scopes.to_vec(), ..self.clone() }
    }
    /// Refuses what the token may not do.
    pub fn may(&self, scope: Scope) -> Result<(), Failure> {
        let lists = matches!(self.role, TokenRole::Service | TokenRole::Customer);
        if self.role.scopes().contains(&scope) || (lists && self.scopes.contains(&scope)) {
            return Ok(());
        }
        Err(Failure::Forbidden(match self.role {
            TokenRole::Operator => format!(
                "the operator's token has no `{}`: that is customers' and retailers' business; use a retailer token (POST /v1/tokens)",
                scope.as_str()
            ),
            role => format!("a token with the role {} has no `{}`", role.as_str(), scope.as_str()),
        }))
    }
    /// The retailer, for what only retailers have.
    pub fn retailer(&self, scope: Scope) -> Result<&RetailerId, Failure> {
        self.may(scope)?;
        match &self.tenant {
            Tenant::Retailer(retailer) => Ok(retailer),
            Tenant::Operator | Tenant::Maker(_) => {
                Err(Failure::Forbidden("this belongs to a retailer; use a retailer token".into()))
            }
        }
    }
    /// The tenant, for what retailers and makers each have of their own.
    pub fn own(&self, scope: Scope) -> Result<&Tenant, Failure> {
        self.may(scope)?;
        match &self.tenant {
            Tenant::Operator => {
                Err(Failure::Forbidden("this belongs to a retailer or a maker; use a token of theirs".into()))
            }
            tenant @ (Tenant::Retailer(_) | Tenant::Maker(_)) => Ok(tenant),
        }
    }
    /// The maker: the token's own, or the one that the operator names. With another token the
    /// name must be absent or equal.
    pub fn maker(&self, scope: Scope, named: Option<&MakerId>) -> Result<MakerId, Failure> {
        self.may(scope)?;
        match (&self.tenant, named) {
            (Tenant::Operator, Some(maker)) => Ok(maker.clone()),
            (Tenant::Operator, None) => Err(Failure::invalid("/maker", "the operator names the maker here")),
            (Tenant::Maker(own), None) => Ok(own.clone()),
            (Tenant::Maker(own), Some(named)) if own == named => Ok(own.clone()),
            (Tenant::Maker(_), Some(_)) => {
                Err(Failure::invalid("/maker", "this is not the token's maker; leave the field out"))
            }
            (Tenant::Retailer(_), _) => Err(Failure::Forbidden("this belongs to a maker; use a maker token".into())),
        }
    }
}

/// A token as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TokenRow {
    tenant: Tenant,
    role: TokenRole,
    name: String,
    scopes: Vec<Scope>,
    secret_hash: [u8; 32],
    created_at: Timestamp,
}

/// What a maker's key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// Provisioning: `{maker}/_bootstrap`.
    Bootstrap,
    /// Speaking for many devices: `{maker}/_bridge`.
    Bridge,
}

impl KeyKind {
    /// The user name's last part.
    pub fn user(self) -> &'static str {
        match self {
            KeyKind::Bootstrap => "_bootstrap",
            KeyKind::Bridge => "_bridge",
        }
    }
}

/// Hashes of a maker's keys of one kind, oldest first.
type KeyHashes = Vec<[u8; 32]>;

/// All tokens and keys.
pub(crate) struct Tokens {
    operator_hash: [u8; 32],
    tokens: RwLock<BTreeMap<String, Arc<TokenRow>>>,
    keys: RwLock<BTreeMap<(MakerId, KeyKind), KeyHashes>>,
    /// Held over a change of keys.
    changing: tokio::sync::Mutex<()>,
}

fn token_key(id: &str) -> Key {
    KeyBuilder::table(table::TOKEN).name("token").name(id).key()
}
fn keys_key(maker: &MakerId, kind: KeyKind) -> Key {
    KeyBuilder::table(table::TOKEN).name("keys").name(maker.as_str()).name(kind.user()).key()
}
fn operator_key() -> Key {
    KeyBuilder::table(table::TOKEN).name("operator").key()
}

pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// So many random bytes, as lower-case base32.
pub(super) fn random_text(bytes: usize) -> Result<String, Failure> {
    let mut drawn = vec![0; bytes];
    getrandom::fill(&mut drawn).map_err(|error| StoreError::Failed {
        doing: "drawing random bytes from the system",
        cause: error.to_string(),
    })?;
    Ok(base32(&drawn))
}

/// A secret of 256 bits.
pub(super) fn secret() -> Result<String, Failure> {
    random_text(32)
}

impl Tokens {
    /// Loads all; makes the operator's token where there is none, and gives it back in that case.
    pub(crate) async fn open(engine: &Engine, given: Option<&str>) -> Result<(Tokens, Option<String>), Failure> {
        let store = engine.store();
        let mut tokens = BTreeMap::new();
        rows::each(&**store, &KeyBuilder::table(table::TOKEN).name("token").prefix(), |key, bytes| {
            let id = rows::names(key, 2).pop().unwrap_or_default();
            tokens.insert(id, Arc::new(codec::decode(Schema::Token, key, bytes)?));
            Ok(())
        })?;
        let mut keys = BTreeMap::new();
        rows::each(&**store, &KeyBuilder::table(table::TOKEN).name("keys").prefix(), |key, bytes| {
            let [_, maker, user] = rows::names(key, 3).try_into().unwrap_or_default();
            let kind = [KeyKind::Bootstrap, KeyKind::Bridge].into_iter().find(|kind| kind.user() == user);
            if let (Ok(maker), Some(kind)) = (MakerId::new(maker), kind) {
                keys.insert((maker, kind), codec::decode::<KeyHashes>(Schema::Token, key, bytes)?);
            }
            Ok(())
        })?;
        let kept: Option<[u8; 32]> = rows::get(&**store, Schema::Token, &operator_key())?;
        let (operator_hash, fresh) = match (given, kept) {
            (Some(given), _) if given.chars().count() < OPERATOR_TOKEN_CHARS_MIN => {
                return Err(Failure::Conflict(format!(
                    "the operator's token is shorter than {OPERATOR_TOKEN_CHARS_MIN} characters; set a longer HEARTHWAY_OPERATOR_TOKEN"
                )));
            }
            (Some(given), _) => (hash(given), None),
            (None, Some(kept)) => (kept, None),
            (None, None) => {
                let fresh = format!("hw_operator_{}", secret()?);
                let hashed = hash(&fresh);
                rows::write(engine, vec![rows::put(Schema::Token, operator_key(), &hashed)]).await?;
                (hashed, Some(fresh))
            }
        };
        let (tokens, keys) = (RwLock::new(tokens), RwLock::new(keys));
        Ok((Tokens { operator_hash, tokens, keys, changing: tokio::sync::Mutex::default() }, fresh))
    }
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose; none for the operator's.
    pub tenant: Option<String>,
    /// What it is for.
    pub role: TokenRole,
    /// For people, such as `ci`.
    pub name: String,
    /// For a service: what it may do.
    pub scopes: Vec<Scope>,
}

impl App {
    /// Who a bearer token belongs to; none where it is not one of ours.
    pub fn caller(&self, bearer: &str) -> Option<Caller> {
        if bool::from(hash(bearer).ct_eq(&self.tokens.operator_hash)) {
            let token = "operator".to_owned();
            let (tenant, role) = (Tenant::Operator, TokenRole::Operator);
            return Some(Caller { token, tenant, role, scopes: Vec::new(), person: None });
        }
        let (id, secret) = bearer.strip_prefix("hw_")?.split_once('_')?;
        let id = format!("tk_{id}");
        let row = self.tokens.tokens.read().expect("no holder of this lock panics").get(&id).cloned();
        let Some(row) = row else { return self.customer(id, secret) };
        bool::from(hash(secret).ct_eq(&row.secret_hash)).then(|| Caller {
            token: id,
            tenant: row.tenant.clone(),
            role: row.role,
            scopes: row.scopes.clone(),
            person: None,
        })
    }

    /// The customer whose token it is; none from the moment on at which they are being erased.
    fn customer(&self, id: String, secret: &str) -> Option<Caller> {
        let token = self.customer_tokens.get(&id, self.now())?;
        let is_right = bool::from(hash(secret).ct_eq(&token.secret_hash));
        if !is_right || self.erasures.check(&token.retailer, &token.profile).is_err() {
            return None;
        }
        Some(Caller {
            token: id,
            tenant: Tenant::Retailer(token.retailer.clone()),
            role: TokenRole::Customer,
            scopes: Vec::new(),
            person: Some(token.profile.clone()),
        })
    }

    /// Makes a token. Gives its id and its text, which is not kept.
    pub async fn create_token(&self, who: &Caller, new: NewToken) -> Result<(String, String), Failure> {
        who.may(Scope::TenantsWrite)?;
        let tenant = self.tenant_of(&new)?;
        match new.role {
            TokenRole::Service if new.scopes.is_empty() => {
                return Err(Failure::invalid(
                    "/scopes",
                    "a service token lists what it may do, such as `orders.status`",
                ));
            }
            TokenRole::Service => {
                if let Some(at) = new.scopes.iter().position(|scope| !RETAILER_SCOPES.contains(scope)) {
                    return Err(Failure::invalid(
                        &format!("/scopes/{at}"),
                        "a retailer's service cannot have this scope",
                    ));
                }
            }
            _ if !new.scopes.is_empty() => {
                return Err(Failure::invalid("/scopes", "only service tokens list scopes; other roles have their own"));
            }
            _ => {}
        }
        if self.tokens.tokens.read().expect("no holder of this lock panics").len() >= TOKENS_MAX {
            return Err(Failure::Conflict(format!("there are {TOKENS_MAX} tokens already; delete some first")));
        }
        let (id, secret) = (random_text(10)?, secret()?);
        let row = TokenRow {
            tenant,
            role: new.role,
            name: new.name,
            scopes: new.scopes,
            secret_hash: hash(&secret),
            created_at: self.now(),
        };
        let text = format!("hw_{id}_{secret}");
        let id = format!("tk_{id}");
        rows::write(&self.engine, vec![rows::put(Schema::Token, token_key(&id), &row)]).await?;
        self.tokens.tokens.write().expect("no holder of this lock panics").insert(id.clone(), Arc::new(row));
        Ok((id, text))
    }

    /// Ends a token at once.
    pub async fn delete_token(&self, who: &Caller, id: &str) -> Result<(), Failure> {
        if let (Ok(retailer), false) = (who.retailer(Scope::MeTokens), who.may(Scope::TenantsWrite).is_ok()) {
            return match self.end_customer_token(retailer, id).await? {
                true => Ok(()),
                false => Err(Failure::not_found("token", id.chars().take(80).collect::<String>())),
            };
        }
        who.may(Scope::TenantsWrite)?;
        if !self.tokens.tokens.read().expect("no holder of this lock panics").contains_key(id) {
            return Err(Failure::not_found("token", id.chars().take(80).collect::<String>()));
        }
        rows::write(&self.engine, vec![Write::Delete(token_key(id))]).await?;
        self.tokens.tokens.write().expect("no holder of this lock panics").remove(id);
        Ok(())
    }

    fn tenant_of(&self, new: &NewToken) -> Result<Tenant, Failure> {
        let rules = self.engine.rules();
        match (new.role, new.tenant.as_deref()) {
            (TokenRole::Customer, _) => {
                Err(Failure::invalid("/role", "a customer's token is made by their shop, with the `profile`"))
            }
            (TokenRole::Operator, None) => Ok(Tenant::Operator),
            (TokenRole::Operator, Some(_)) => Err(Failure::invalid("/tenant", "an operator's token has no tenant")),
            (_, None) => Err(Failure::invalid("/tenant", "name the retailer or maker that the token is for")),
            (TokenRole::Maker, Some(name)) => {
                let maker = MakerId::new(name).map_err(|error| Failure::name("/tenant", error))?;
                if !rules.makers.contains_key(&maker) {
                    return Err(Failure::invalid(
                        "/tenant",
                        format!("there is no maker `{maker}`; PUT /v1/makers/{maker} first"),
                    ));
                }
                Ok(Tenant::Maker(maker))
            }
            (TokenRole::RetailerAdmin | TokenRole::Marketer | TokenRole::Support | TokenRole::Service, Some(name)) => {
                let retailer = RetailerId::new(name).map_err(|error| Failure::name("/tenant", error))?;
                if !rules.retailers.contains_key(&retailer) {
                    return Err(Failure::invalid(
                        "/tenant",
                        format!("there is no retailer `{retailer}`; PUT /v1/retailers/{retailer} first"),
                    ));
                }
                Ok(Tenant::Retailer(retailer))
            }
        }
    }

    /// Makes a maker's key. Gives the MQTT user name and the secret, which is not kept. The
    /// earlier keys go on working; the oldest ends when there would be too many.
    pub async fn create_key(
        &self,
        who: &Caller,
        named: Option<&MakerId>,
        kind: KeyKind,
    ) -> Result<(String, String), Failure> {
        let maker = who.maker(Scope::KeysWrite, named)?;
        if !self.engine.rules().makers.contains_key(&maker) {
            return Err(Failure::invalid(
                "/maker",
                format!("there is no maker `{maker}`; PUT /v1/makers/{maker} first"),
            ));
        }
        let secret = secret()?;
        let _changing = self.tokens.changing.lock().await;
        let at = (maker.clone(), kind);
        let mut hashes =
            self.tokens.keys.read().expect("no holder of this lock panics").get(&at).cloned().unwrap_or_default();
        hashes.push(hash(&secret));
        if hashes.len() > KEYS_PER_MAKER_MAX {
            hashes.remove(0);
        }
        rows::write(&self.engine, vec![rows::put(Schema::Token, keys_key(&maker, kind), &hashes)]).await?;
        self.tokens.keys.write().expect("no holder of this lock panics").insert(at, hashes);
        Ok((format!("{maker}/{}", kind.user()), secret))
    }

    /// Whether a secret is one of the maker's keys of this kind. For the login of the device endpoint.
    pub fn key_opens(&self, maker: &MakerId, kind: KeyKind, secret: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(secret).into();
        let keys = self.tokens.keys.read().expect("no holder of this lock panics");
        let hashes = keys.get(&(maker.clone(), kind)).map_or(&[][..], Vec::as_slice);
        // Every hash is compared, so that the time tells nothing.
        hashes.iter().fold(false, |found, hash| found | bool::from(hash.ct_eq(&presented)))
    }
}
