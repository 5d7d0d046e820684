//! The fourth stage: what the event does to the stored resources.
//!
//! In come a message and what its entries mean; out go written resources and the issues to tell the sender. It promises to write
//! through the one transaction of the message and nowhere else, so that all of it holds or nothing, and to lay no older statement
//! over a newer one. It refuses what the event does not allow, before or with the writes.
//!
//! - [`notify`]: `admin-notify` and `clinical-notify`; [`link`]: `patient-link` and `patient-unlink`
//! - [`work`]: the message at work, and the writing of resources
//! - [`identity`], [`identifiers`]: numbers; [`snapshot`]: clinical resources; [`moves`]: visits that change patient or merge
//! - [`localize`]: references on their way into the store

mod identifiers;
mod localize;
mod identity;
mod link;
mod moves;
mod notify;
mod snapshot;
mod work;

use super::halt::Halt;
use super::matching::{Event, Matched};
use super::parse::message::Message;
use super::rules::Rules;
use crate::mailbox::outcome::Issue;
use crate::mailbox::store::Transaction;
use crate::mailbox::store::model::Seq;
use work::Work;

/// What applying a message came to.
#[derive(Debug)]
pub struct Applied {
    pub issues: Vec<Issue>,
    /// Kept for its destinations, without being processed.
    pub kept: bool,
}

/// `seq` is the message's place in the list, by which links and decisions name it.
pub fn apply(
    tx: &mut dyn Transaction,
    rules: &Rules,
    message: &Message,
    matched: Matched,
    seq: Seq,
) -> Result<Applied, Halt> {
    let (event, targets) = match matched {
        Matched::Kept(why) => {
            let issues = vec![Issue::information(format!("kept for its destinations: {why}"))];
            return Ok(Applied { issues, kept: true });
        }
        Matched::Resources(event, targets) => (event, targets),
    };
    let work = Work::new(tx, message, targets);
    let issues = match event {
        Event::AdminNotify => notify::admin(work)?,
        Event::ClinicalNotify => notify::clinical(work, rules.snapshot)?,
        Event::PatientLink => link::link(work, seq)?,
        Event::PatientUnlink => link::unlink(work, seq)?,
    };
    Ok(Applied { issues, kept: false })
}
