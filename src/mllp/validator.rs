//! What the listener asks before it stores a message: is this one that we take?
//!
//! The listener knows frames and acks, not events; the engine answers this question from its mapping plan.

use std::fmt;

use bytes::Bytes;

use crate::journal::{Key, Parsed};
use crate::v2::Header;

/// Asked once for each frame that has a readable MSH, before the journal stores it. Must be quick and free of IO.
pub trait Validator: Send + Sync + 'static {
    fn admit(&self, raw: &Bytes, header: &Header<'_>) -> Admission;
}

#[derive(Debug, Clone)]
pub struct Admission {
    /// The trigger event, `A01`.
    pub event: Option<String>,
    pub keys: Vec<Key>,
    pub decision: Decision,
    /// What was made of the message on the way, for whoever delivers it.
    pub parsed: Option<Parsed>,
}

impl From<Decision> for Admission {
    /// Of what has no event and names nobody.
    fn from(decision: Decision) -> Self {
        Self { event: None, keys: Vec::new(), decision, parsed: None }
    }
}

impl Admission {
    #[must_use]
    pub fn refused(fault: Fault) -> Self {
        Decision::Refuse(fault).into()
    }
}

#[derive(Debug, Clone)]
pub enum Decision {
    Accept {
        warning: Option<Fault>,
    },
    /// Positive ack, kept, not delivered.
    Skip {
        reason: String,
        warning: Option<Fault>,
    },
    Refuse(Fault),
}

/// A fault in a message as the sender is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub class: FaultClass,
    /// HL7 table 0357: 100 segment sequence, 101 required field, 102 data type, 200 message type ...
    pub code: u16,
    pub location: Option<Location>,
    /// For a person; holds no patient data.
    pub text: String,
}

/// Whose fault it is: AE and CE say the content's, AR and CR that the message was not acceptable at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultClass {
    Error,
    Reject,
}

/// ERR-2 (ERL): where the fault is. Numbers are those of the standard; 0 for "not given".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub segment: String,
    /// Which one of the segments of this name, from 1.
    pub sequence: usize,
    pub field: usize,
    pub component: usize,
}

impl Fault {
    /// A fault with no place in the message.
    #[must_use]
    pub fn new(class: FaultClass, code: u16, text: impl Into<String>) -> Self {
        Self { class, code, location: None, text: text.into() }
    }

    /// Of the first segment of this name; `component` 0 for the whole field.
    #[must_use]
    pub fn at(self, segment: &str, field: usize, component: usize) -> Self {
        Self { location: Some(Location { segment: segment.into(), sequence: 1, field, component }), ..self }
    }
}

/// For the journal and the log: `error 202 at MSH-11: processing id 'T' is not taken here`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.code)?;
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.text)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        if self.sequence > 1 {
            write!(f, "[{}]", self.sequence)?;
        }
        match (self.field, self.component) {
            (0, _) => Ok(()),
            (field, 0) => write!(f, "-{field}"),
            (field, component) => write!(f, "-{field}.{component}"),
        }
    }
}
