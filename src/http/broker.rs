//! The calls that a broker makes: who is this client, and may it do that?
//!
//! Always answered with 200 and a plain `allow` or `deny`, also for a body that cannot be read:
//! brokers take any other answer for no answer, and ask the next one.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use crate::app::broker::Action;

/// What a broker says of a client that wants to come in.
#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// What a broker says of a client that wants to use a topic.
#[derive(Deserialize)]
struct Use {
    username: String,
    topic: String,
    action: Verb,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Publish,
    Subscribe,
}

impl From<Verb> for Action {
    fn from(verb: Verb) -> Action {
        match verb {
            Verb::Publish => Action::Publish,
            Verb::Subscribe => Action::Subscribe,
        }
    }
}

fn answer(allowed: bool) -> Json<Value> {
    Json(json!({"result": if allowed { "allow" } else { "deny" }, "is_superuser": false}))
}

fn read<T: for<'de> Deserialize<'de>>(body: Result<Bytes, BytesRejection>) -> Option<T> {
    serde_json::from_slice(&body.ok()?).ok()
}

pub(super) async fn auth(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Json<Value> {
    let login: Option<Login> = read(body);
    answer(login.is_some_and(|login| shared.app.broker_admits(&login.username, login.password.as_bytes())))
}

pub(super) async fn acl(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Json<Value> {
    let asked: Option<Use> = read(body);
    answer(asked.is_some_and(|asked| shared.app.broker_allows(&asked.username, asked.action.into(), &asked.topic)))
}
