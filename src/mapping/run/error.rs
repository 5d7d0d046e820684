//! Why a message does not become a Bundle. Places and reasons, no patient data.

use crate::mapping::plan::identifier::LONGEST_NAME;
use crate::v2::charset::CharsetFault;
use crate::v2::inbound::InboundFault;
use crate::v2::message::MessageFault;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    #[error(transparent)]
    Unreadable(#[from] MessageFault),
    #[error(transparent)]
    Charset(#[from] CharsetFault),
    #[error("MSH-9: no trigger event, and EVN-1 names none either")]
    NoEvent,
    #[error("MSH-9: {event} is not one of the events that are mapped (A01 to A50)")]
    Unsupported { event: String },
    #[error("MSH-9: {event} is refused: {why}")]
    Refused { event: String, why: String },
    #[error("{segment}: the segment is missing, and {event} cannot be mapped without it")]
    MissingSegment { segment: String, event: String },
    #[error("{place}: {what} is empty")]
    MissingField { place: String, what: &'static str },
    #[error("{place}: longer than the {LONGEST_NAME} bytes that may identify someone")]
    TooLong { place: String },
    #[error(
        "mapping it takes more than the {limit} steps of work that a message may take (mapping.budget): something in it is \
         repeated too often; where that is meant, raise the limit for this message with stoker queue retry SEQ --budget N"
    )]
    OverBudget { limit: u64 },
}

impl From<InboundFault> for ConvertError {
    fn from(fault: InboundFault) -> Self {
        match fault {
            InboundFault::Charset(fault) => fault.into(),
            InboundFault::Message(fault) => fault.into(),
        }
    }
}

impl ConvertError {
    /// The HL7 error code (table 0357) for an ERR segment.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Unreadable(_) | Self::MissingSegment { .. } => 100,
            Self::Charset(_) | Self::TooLong { .. } => 102,
            Self::NoEvent | Self::MissingField { .. } => 101,
            Self::OverBudget { .. } => 207,
            // Another message type is 200, an ADT event that we do not map 201.
            Self::Unsupported { event } if event.contains('^') => 200,
            Self::Refused { .. } => 200,
            Self::Unsupported { .. } => 201,
        }
    }

    /// The place of the fault as a path, where it has one.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::MissingSegment { segment, .. } => Some(segment),
            Self::MissingField { place, .. } | Self::TooLong { place } => Some(place),
            Self::NoEvent | Self::Unsupported { .. } | Self::Refused { .. } => Some("MSH-9"),
            Self::Unreadable(_) | Self::Charset(_) | Self::OverBudget { .. } => None,
        }
    }
}
