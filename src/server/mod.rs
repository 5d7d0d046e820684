//! The daemon: built, run, drained; and what it is asked over HTTP.
//!
//! In comes a checked configuration; out goes a process that listens, delivers and serves until it is told to stop. It promises
//! that every port is bound and every store open before anything is received, and that it stops in the order in which nothing is
//! lost: listeners and deliveries first, then the mailbox that they deliver to, then HTTP. It refuses to start on half of what
//! was asked for.
//!
//! - [`limits`]: what the system lets the process have
//! - [`daemon`]: engine, mailbox and HTTP in one process
//! - [`embedded`]: the mailbox in it, which may be in trouble while messages are received
//! - [`health`]: whether it would acknowledge a message
//! - [`admin`]: `/admin/queue`, the protocol and the routes; the commands' side of it is in `cli`

pub mod admin;
pub mod daemon;
mod embedded;
mod health;
pub mod limits;
