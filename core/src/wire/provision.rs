//! Provisioning: a device without a credential asks for its own, and is answered on its nonce.

use serde_json::json;

use super::decode::{Opened, open};
use super::encode::in_envelope;
use super::fields::{Fields, Within, text, word};
use super::read::shortened;
use super::{ProvisioningLeg, Rejected, Topic};
use crate::code::{Code, Refusal};
use crate::id::{DeviceKey, MakerId, MessageId, ModelId};
use crate::time::Timestamp;

/// A request for a device's own credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionRequest {
    /// Whose device, by the topic.
    pub maker: MakerId,
    /// Ties the answer to the request, by the topic.
    pub nonce: String,
    /// The id its sender gave it; none in the short form.
    pub id: Option<MessageId>,
    /// To be repeated in the answer.
    pub corr: Option<String>,
    /// The serial number printed on the device.
    pub serial: String,
    /// Its model.
    pub model: ModelId,
    /// Hardware revision.
    pub hw: Option<String>,
    /// Firmware version.
    pub fw: Option<String>,
    /// What proves the serial, for makers that ask for it.
    pub proof: Option<String>,
}

/// A device's own credential, and how it goes on.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvisionGrant {
    /// Who the device is from here on.
    pub device: DeviceKey,
    /// Its password.
    pub secret: String,
    /// Where it connects: the name that devices know the gateway by.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// Whether that port speaks TLS.
    pub tls: bool,
    /// How often it should send telemetry, seconds.
    pub telemetry_seconds: u32,
}

impl std::fmt::Debug for ProvisionGrant {
    /// Everything but the secret, so that it never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvisionGrant").field("device", &self.device).field("host", &self.host).finish_non_exhaustive()
    }
}

/// What stands round an answer to a provisioning request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionHead {
    /// The answer's id.
    pub id: String,
    /// When it was written.
    pub t: Timestamp,
    /// The decision or attempt that it comes from.
    pub trace: String,
    /// Repeats the request's `corr`.
    pub corr: Option<String>,
}

/// Understands a provisioning request. Total and bounded as [`super::decode`] is.
pub fn decode_provision(topic: &str, payload: &[u8]) -> Result<ProvisionRequest, Rejected> {
    let Some(Topic::Provisioning { maker, nonce, leg: ProvisioningLeg::Request }) = Topic::parse(topic) else {
        let message = format!(
            "`{}` takes no provisioning request; publish it to chan/v1/{{maker}}/_prov/{{nonce}}/req \
             with a nonce of 22 to 64 of A-Z, a-z, 0-9, _ and -",
            shortened(topic)
        );
        let id = open(payload).map_or_else(|rejected| rejected.id, |opened| opened.id);
        return Err(Rejected { refusal: Refusal::new(Code::TopicNotAllowed, message), id });
    };
    let opened = open(payload)?;
    match read(&opened, maker, &nonce) {
        Ok(request) => Ok(request),
        Err(refusal) if opened.is_short => Err(opened.rejected(refusal)),
        Err(refusal) => Err(opened.rejected(refusal.within("/body"))),
    }
}

fn read(opened: &Opened<'_>, maker: MakerId, nonce: &str) -> Result<ProvisionRequest, Refusal> {
    let body = Fields::of(&opened.body, "a provisioning request")?;
    let serial = body.need("serial", word, "the serial number, a text of 1 to 128 characters such as `TH-0001`")?;
    let model = body.need("model", text, "the model's name such as `th-200`")?;
    // A name outside the grammar is no model's name, and the contract's answer to an unknown model is this code.
    let model = ModelId::new(model).map_err(|error| Refusal::new(Code::DescInvalid, error.to_string()).at("/model"))?;
    let may = |key, what| body.may(key, text, what).map(|text| text.map(str::to_owned));
    Ok(ProvisionRequest {
        maker,
        nonce: nonce.to_owned(),
        id: opened.id.clone(),
        corr: opened.sender.corr.clone(),
        serial: serial.to_owned(),
        model,
        hw: may("hw", "a hardware revision such as `b`")?,
        fw: may("fw", "a firmware version such as `2.1.0`")?,
        proof: may("proof", "a text, or null")?,
    })
}

/// Renders the answer to a provisioning request; its topic is [`super::provisioning_response_topic`].
pub fn encode_provision(answer: &Result<ProvisionGrant, Refusal>, head: &ProvisionHead) -> Vec<u8> {
    let body = match answer {
        Ok(grant) => json!({
            "device": grant.device.device.as_str(),
            "username": grant.device.to_string(),
            "secret": grant.secret,
            "broker": {"host": grant.host, "port": grant.port, "tls": grant.tls},
            "policy": {"telemetry_s": grant.telemetry_seconds},
        }),
        Err(refusal) => json!({"error": {
            "code": refusal.code.as_str(),
            "message": refusal.message,
            "pointer": refusal.pointer,
            "retry_after_s": refusal.retry_after_seconds,
        }}),
    };
    in_envelope(&head.id, head.t, None, &head.trace, head.corr.as_deref(), body)
}
