//! A device asks for a credential of its own, with its maker's bootstrap secret.

use hearthway_core::code::{Code, Refusal};
use hearthway_core::id::{DeviceKey, MakerId, ModelId, base32, derive_bytes};
use hearthway_core::model::Tenant;
use hearthway_core::time::{Span, Timestamp};
use hearthway_core::wire::{self, ProvisionGrant, ProvisionHead, ProvisionRequest};
use serde::{Deserialize, Serialize};

use super::registry::{Credential, check_serial, name_for_serial};
use super::tokens::{Caller, Scope};
use super::{App, BrokerAddress, Failure, rows};
use crate::store::codec::Schema;
use crate::store::keys::{Key, KeyBuilder, table};

/// How long the same nonce gets the same answer; afterwards it is a replay.
const NONCE_ANSWERED_FOR: Span = Span::minutes(10);

/// One attempt, for the maker to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// With whose bootstrap secret.
    pub maker: MakerId,
    /// The serial number that it gave, where that could be read.
    pub serial: Option<String>,
    /// The model that it named, where that could be read.
    pub model: Option<ModelId>,
    /// The device, or the refusal.
    pub outcome: Result<DeviceKey, Refusal>,
}

/// Where a device is told to connect with its credential.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// The gateway's own endpoint: its TLS port where there is one and the device asked over TLS.
    Endpoint {
        /// Whether it asked over TLS.
        is_secure: bool,
    },
    /// A broker that the gateway is linked to.
    Broker(&'a BrokerAddress),
}

/// A nonce that was answered. The secret is derived again for a repeat, never kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NonceRow {
    at: Timestamp,
    serial: String,
    device: DeviceKey,
    generation: u32,
}

fn nonce_key(maker: &MakerId, nonce: &str) -> Key {
    KeyBuilder::table(table::PROVISION).name("nonce").name(maker.as_str()).name(nonce).key()
}

impl App {
    /// Answers a request that came by MQTT: the payload of the response topic. Whatever it answers
    /// is durable, and stands on the list of attempts. Who asked over TLS is told the TLS port.
    pub async fn provision(&self, maker: &MakerId, nonce: &str, payload: &[u8], is_secure: bool) -> Vec<u8> {
        self.provision_at(maker, nonce, payload, Place::Endpoint { is_secure }).await
    }

    /// The same, where the device is told to connect to `place`.
    pub async fn provision_at(&self, maker: &MakerId, nonce: &str, payload: &[u8], place: Place<'_>) -> Vec<u8> {
        let topic = format!("chan/v1/{maker}/_prov/{nonce}/req");
        let (serial, model, corr, answer) = match wire::decode_provision(&topic, payload) {
            Ok(request) => {
                let answer = self.provisioned(maker, nonce, &request).await.map_err(as_refusal);
                (Some(request.serial), Some(request.model), request.corr, answer)
            }
            Err(rejected) => (None, None, None, Err(rejected.refusal)),
        };
        let at = self.now();
        let outcome = answer.as_ref().map(|credential| credential.device.clone()).map_err(Clone::clone);
        self.registry.remember_attempt(Attempt { at, maker: maker.clone(), serial, model, outcome });
        let id = base32(&derive_bytes("provision", &[maker.as_str().as_bytes(), nonce.as_bytes()])[..10]);
        let head = ProvisionHead { id: id.clone(), t: at, trace: id, corr };
        wire::encode_provision(&answer.map(|credential| self.grant(credential, place)), &head)
    }

    fn grant(&self, credential: Credential, place: Place<'_>) -> ProvisionGrant {
        let endpoint = self.broker.read().expect("no holder of this lock panics");
        let broker = match place {
            Place::Endpoint { is_secure } => endpoint.secure.as_ref().filter(|_| is_secure).unwrap_or(&endpoint.plain),
            Place::Broker(address) => address,
        };
        ProvisionGrant {
            device: credential.device,
            secret: credential.secret,
            host: broker.host.clone(),
            port: broker.port,
            tls: broker.tls,
            telemetry_seconds: self.telemetry_s,
        }
    }

    /// The last attempts that the caller may see, newest first.
    pub fn provisioning_attempts(&self, who: &Caller, limit: usize) -> Result<Vec<Attempt>, Failure> {
        who.may(Scope::DevicesRegister)?;
        let attempts = self.registry.attempts();
        let own = attempts.iter().filter(|attempt| match who.tenant() {
            Tenant::Maker(maker) => attempt.maker == *maker,
            Tenant::Operator => true,
            Tenant::Retailer(_) => false,
        });
        Ok(own.take(limit).cloned().collect::<Vec<_>>())
    }

    async fn provisioned(
        &self,
        maker: &MakerId,
        nonce: &str,
        request: &ProvisionRequest,
    ) -> Result<Credential, Failure> {
        check_serial("/body/serial", &request.serial)?;
        let _held = self.registry.hold(maker, &request.serial).await;
        let now = self.now();
        let key = nonce_key(maker, nonce);
        let used: Option<NonceRow> = rows::get(&**self.engine.store(), Schema::Provision, &key)?;
        if let Some(used) = used {
            if used.serial == request.serial && now < used.at + NONCE_ANSWERED_FOR {
                let secret = self.secrets.secret(&used.device, used.generation);
                return Ok(Credential { device: used.device, secret });
            }
            return Err(Refusal::new(Code::ProvReplayed, "this nonce was used before; draw a new one").into());
        }
        self.check_model(maker, &request.model).map_err(at_body)?;
        let name = match self.device_with_serial(maker, &request.serial)? {
            Some(name) => name,
            None => name_for_serial(maker, &request.serial),
        };
        let device = DeviceKey::new(maker.clone(), name);
        let generation = match self.engine.route(&device) {
            None => 1,
            Some(route) if route.credential_used => {
                let message =
                    "this serial has a device that used its credential; the maker must reset the serial first";
                return Err(Refusal::new(Code::ProvSerialTaken, message).at("/body/serial").into());
            }
            Some(route) => route.generation + 1,
        };
        let credential =
            self.register(device.clone(), request.model.clone(), Some(request.serial.clone()), generation).await?;
        let row = NonceRow { at: now, serial: request.serial.clone(), device, generation };
        rows::write(&self.engine, vec![rows::put(Schema::Provision, key, &row)]).await?;
        Ok(credential)
    }
}

/// The contract's word for whatever went wrong.
fn as_refusal(failure: Failure) -> Refusal {
    match failure {
        Failure::Refused(refusal) | Failure::AlreadyAccepted { refusal, .. } => refusal,
        Failure::Store(_) => Refusal::new(Code::InternalRetry, "the gateway could not keep it; try again later"),
        Failure::NotFound { .. }
        | Failure::NotYet(_)
        | Failure::Conflict(_)
        | Failure::Ambiguous { .. }
        | Failure::Stale { .. }
        | Failure::Forbidden(_)
        | Failure::Trigger { .. }
        | Failure::Items { .. }
        | Failure::SecondPerson { .. } => Refusal::new(Code::PayloadInvalid, failure.to_string()),
    }
}

/// The same failure, pointing into the envelope's body.
fn at_body(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(mut refusal) => {
            refusal.pointer = refusal.pointer.map(|pointer| format!("/body{pointer}"));
            refusal.into()
        }
        other => other,
    }
}
