//! concur-bridge: SAP Concur's notifications into Kafka, none lost, none doubled, none leaked.
//!
//! One notification walks one way through four shapes: a [`postback::Postback`] as received, an [`event::Event`] once
//! [`normalise`] understood it, a [`record::Record`] once [`seal`] gave it an id and hid its token, and a message in
//! Kafka once [`publish`] sent it. The answer goes out between the last two, when the [`journal`] made it durable.

pub mod accept;
pub mod app;
pub mod cli;
pub mod clock;
pub mod concur;
pub mod config;
pub mod console;
pub mod event;
pub mod exit;
pub mod failpoint;
pub mod health;
pub mod ingress;
pub mod journal;
pub mod normalise;
mod outbound;
pub mod postback;
pub mod publish;
pub mod quarantine;
pub mod record;
pub mod reload;
pub mod schema;
pub mod seal;
pub mod secret;
pub mod shutdown;
pub mod simulator;
pub mod telemetry;
pub mod traces;
