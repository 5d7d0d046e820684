//! The third stage: what the message wants, and which stored resource each of its entries means.
//!
//! In come a parsed message and the transaction; out goes a [`Matched`] message. It writes nothing. It promises that two
//! resources that match one condition stop the message, and that the same message finds the same resources. It refuses an
//! event that it has no rule for, where the configuration wants that, and two entries that mean the same resource.

pub mod targets;

use super::halt::Halt;
use super::parse::message::Message;
use super::rules::Rules;
use crate::mailbox::config::UnknownEvents;
use crate::mailbox::outcome::Issue;
use crate::mailbox::store::Transaction;
use targets::Targets;

/// The FHIR events that change resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    AdminNotify,
    ClinicalNotify,
    PatientLink,
    PatientUnlink,
}

/// What is to become of a message.
#[derive(Debug)]
pub enum Matched {
    /// Kept for its destinations, for this reason: no resource is touched.
    Kept(&'static str),
    /// Its event is to be applied to these.
    Resources(Event, Targets),
}

impl Event {
    fn of(code: &str) -> Option<Self> {
        Some(match code {
            "admin-notify" => Self::AdminNotify,
            "clinical-notify" => Self::ClinicalNotify,
            "patient-link" => Self::PatientLink,
            "patient-unlink" => Self::PatientUnlink,
            _ => return None,
        })
    }
}

pub fn find(tx: &mut dyn Transaction, rules: &Rules, message: &Message) -> Result<Matched, Halt> {
    let header = &message.header;
    if header.is_answer {
        return Ok(Matched::Kept("it is the answer to another message"));
    }
    if !rules.served.is_empty() && !header.destinations.iter().any(|one| rules.served.contains(one)) {
        return Ok(Matched::Kept("this mailbox processes for none of them"));
    }
    let Some(event) = Event::of(&header.event_code) else {
        if rules.unknown_events == UnknownEvents::Store {
            return Ok(Matched::Kept("no rule for its event, no resource was touched"));
        }
        let text = format!("the mailbox has no rule for the event '{}'", header.event_code);
        return Err(Halt::Fatal(Issue::error("not-supported", text).at("Bundle.entry[0].resource.eventCoding")));
    };
    let happened = message.happened(tx.now());
    let targets = Targets::find(tx, message, happened)?;
    if matches!(event, Event::AdminNotify | Event::ClinicalNotify) {
        targets.refuse_doubles(message)?;
    }
    Ok(Matched::Resources(event, targets))
}
