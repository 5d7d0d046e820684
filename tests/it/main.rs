//! Everything that needs more than one module: scenarios over real sockets, files and processes, and the rules of the
//! house. One binary, a file a subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "what a test prints is for the test that reads it; its client goes to loopback, and a proxy there would only fail it"
)]

mod application_acks;
mod bounded_work;
mod check;
mod commands;
mod configuration;
mod convert;
mod coverage;
mod daemon;
mod damage;
mod delivery;
mod delivery_policies;
mod explain;
mod faults;
mod golden;
mod health;
mod held_connections;
mod journal;
mod journal_scale;
mod layout;
mod listener_doors;
mod mailbox;
mod mllp_batch;
mod listening;
mod mllp;
mod mllp_client;
mod mllp_floods;
mod mllp_hostile;
mod mllp_memory;
mod mllp_stop;
mod outbound;
mod panics;
mod process;
mod properties;
mod proxies;
mod queue;
mod queue_overview;
mod receiver;
mod renamed_listener;
mod replay;
mod site;
mod strangers;
