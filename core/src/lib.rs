//! The rules of Hearthway: values in, values out.
//!
//! The heart is [`decide::decide`]: it takes what is known about one household, one
//! [`input::Input`], the [`rules::RuleSet`] and the time, and answers with a
//! [`decision::Decision`]: what changes, what the world must do, what the caller is told,
//! and why. The map:
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`], [`time`], [`money`], [`limits`] | small values that everything else is made of |
//! | [`code`] | the stable codes by which input is refused |
//! | [`audience`] | named groups of customers, which triggers ask for |
//! | [`budget`] | what homes draw from together, and how a decision asks for it |
//! | [`model`] | the nouns: household, device, slot, profile, consent, product, offer, order |
//! | [`wire`] | the device contract: topics, envelope, messages, in both directions |
//! | [`trigger`] | what a retailer writes: definition, condition language, texts, check |
//! | [`rules`] | one immutable version of triggers, products and device models |
//! | [`words`], [`own_words`] | the reasons of a trace, in people's languages: for the shop, for its customer |
//! | [`input`], [`decision`], [`trace`] | what happened; what follows; why, step by step |
//! | [`decide`] | the one entry and the pipeline |
//! | [`forecast`] | when something runs out, how sure that is, and when to order |
//! | [`event_out`] | what is told to systems outside, as CloudEvents |
//! | [`health`] | what somebody should look at about a device |
//! | [`report`] | what became of triggers: what is counted of a decision, and what is told of it |
//!
//! Invariants of this package: no I/O, no clock, no randomness, no async (see `clippy.toml`
//! and `Cargo.toml`); time and entropy are arguments; ids are derived from their cause;
//! ordered maps only, because their order is part of the answer.

pub mod audience;
pub mod budget;
pub mod catalog;
pub mod chance;
pub mod code;
pub mod decide;
pub mod decision;
pub mod event_out;
pub mod forecast;
pub mod health;
pub mod id;
pub mod input;
pub mod limits;
pub mod model;
pub mod money;
pub mod own_words;
pub mod report;
pub mod rules;
pub mod shared;
pub mod time;
pub mod trace;
pub mod trigger;
pub mod wire;
pub mod words;
