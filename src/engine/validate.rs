//! Which messages a listener takes: what the mapping plan can map, and enough of it to find the patient.
//!
//! The validator asks the same questions as the mapping does later, of the same plan, so that a sender hears at once what
//! would otherwise become a dead letter hours later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::keys;
use super::mapper::ReadingRoom;
use crate::journal::Parsed;
use crate::log_throttle::{LogThrottle, throttled};
use crate::mapping::run::convert::{check, event};
use crate::mapping::{Context, ConvertError, Plan};
use crate::mllp::config::Policy;
use crate::mllp::validator::{Admission, Decision, Fault, FaultClass, Location, Validator};
use crate::v2::{Header, Inbound, Message};

static PANICS: LogThrottle = LogThrottle::minutely();

/// The validator of one listener.
pub struct PlanValidator {
    /// The plan in use; a new one may take its place at any time.
    pub plan: Arc<ArcSwap<Plan>>,
    /// What to do with messages that the plan does not map.
    pub unsupported: Policy,
    pub context: Context,
    /// Where long messages are read.
    pub aside: Arc<ReadingRoom>,
}

impl Validator for PlanValidator {
    fn admit(&self, raw: &Bytes, header: &Header<'_>) -> Admission {
        // A bug of ours must not make a message one that its sender sends for ever and nobody can look at.
        let ask = || self.aside.read(raw.len(), || self.ask(raw, header));
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| {
            throttled!(error, PANICS, "a message made the mapping panic: this is a bug; it is kept and refused");
            refuse(None, Fault::new(FaultClass::Error, 207, "the message cannot be read here: an internal fault"))
        })
    }
}

impl PlanValidator {
    fn ask(&self, raw: &Bytes, header: &Header<'_>) -> Admission {
        let plan = self.plan.load();
        let named = Some(header.trigger().to_owned()).filter(|event| !event.is_empty());
        let inbound = match Inbound::read(raw.clone(), Some(header), self.context.reading(&plan)) {
            Ok(inbound) => inbound,
            Err(fault) => return refuse(named, fault_of(&fault.into())),
        };
        let message = inbound.message();
        let keys = keys::keys(&message);
        let (event, decision) = match event(&message) {
            Ok(event) => {
                let decision = self.judge(&plan, &event, &message);
                (Some(event), decision)
            }
            Err(error) => (named, self.decide(&error)),
        };
        drop(message);
        let size = inbound.size();
        let parsed = matches!(decision, Decision::Accept { .. }).then(|| Parsed { made: Arc::new(inbound), size });
        Admission { event, keys, decision, parsed }
    }

    fn judge(&self, plan: &Plan, event: &str, message: &Message<'_>) -> Decision {
        let Some(known) = plan.event(event) else {
            return self.decide(&ConvertError::Unsupported { event: event.to_owned() });
        };
        if let Err(error) = check(plan, known, event, message) {
            return self.decide(&error);
        }
        let about_a_patient = known.needs.iter().any(|segment| &**segment == "PID");
        if about_a_patient && !keys::names_patient(message) {
            let text = "PID-3 is empty: the message names no patient";
            return Decision::Refuse(Fault::new(FaultClass::Error, 101, text).at("PID", 3, 0));
        }
        Decision::Accept { warning: None }
    }

    fn decide(&self, error: &ConvertError) -> Decision {
        let fault = fault_of(error);
        match (error, self.unsupported) {
            (ConvertError::Unsupported { .. }, Policy::Accept) => {
                Decision::Skip { reason: error.to_string(), warning: Some(fault) }
            }
            _ => Decision::Refuse(fault),
        }
    }
}

fn refuse(event: Option<String>, fault: Fault) -> Admission {
    Admission { event, ..Admission::refused(fault) }
}

/// Whose fault it is (HL7 v2.5.1 ch. 2.9.2.2): a reject for what is no message or no event of ours, an error for the rest.
fn fault_of(error: &ConvertError) -> Fault {
    let class = match error {
        ConvertError::Unreadable(_)
        | ConvertError::NoEvent
        | ConvertError::Unsupported { .. }
        | ConvertError::Refused { .. } => FaultClass::Reject,
        ConvertError::Charset(_)
        | ConvertError::OverBudget { .. }
        | ConvertError::TooLong { .. }
        | ConvertError::MissingSegment { .. }
        | ConvertError::MissingField { .. } => FaultClass::Error,
    };
    Fault { location: location(error), ..Fault::new(class, error.code(), error.to_string()) }
}

fn location(error: &ConvertError) -> Option<Location> {
    if let ConvertError::Charset(fault) = error {
        let place = fault.place()?;
        return Some(Location {
            segment: place.segment.clone(),
            sequence: place.sequence,
            field: place.field,
            component: 0,
        });
    }
    let place = error.place()?;
    let (segment, field) = place.split_once('-').unwrap_or((place, "0"));
    Some(Location { segment: segment.into(), sequence: 1, field: field.parse().unwrap_or(0), component: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping;

    fn validator(unsupported: Policy) -> PlanValidator {
        let plan = Plan::load(&mapping::MappingConfig::default(), &mapping::Identifiers::default()).unwrap();
        let (plan, aside) = (Arc::new(ArcSwap::from_pointee(plan)), Arc::default());
        PlanValidator { plan, unsupported, context: Context::default(), aside }
    }

    fn admit(unsupported: Policy, raw: &[u8]) -> Admission {
        validator(unsupported).admit(&Bytes::copy_from_slice(raw), &Header::peek(raw).unwrap())
    }

    fn verdict(raw: &[u8]) -> String {
        match admit(Policy::Reject, raw).decision {
            Decision::Accept { .. } => "accept".into(),
            Decision::Skip { reason, .. } => format!("skip: {reason}"),
            Decision::Refuse(fault) => {
                let place =
                    fault.location.map(|place| format!("{}-{}", place.segment, place.field)).unwrap_or_default();
                format!("{:?} {} {place}", fault.class, fault.code)
            }
        }
    }

    fn adt(event: &str, rest: &str) -> Vec<u8> {
        format!("MSH|^~\\&|APP|FAC|||20260110||{event}|1|P|2.5\r{rest}").into_bytes()
    }

    #[test]
    fn an_admission_is_taken_with_its_keys() {
        let admission = admit(Policy::Reject, &adt("ADT^A01", "PID|1||42^^^H\rPV1|1|I|||||||||||||||||V1"));
        assert!(matches!(admission.decision, Decision::Accept { warning: None }), "{admission:?}");
        assert_eq!(admission.event.as_deref(), Some("A01"));
        assert_eq!(admission.keys.len(), 2);
    }

    #[test]
    fn the_event_may_stand_in_the_evn_segment() {
        assert_eq!(admit(Policy::Reject, &adt("ADT", "EVN|A08\rPID|1||42")).event.as_deref(), Some("A08"));
    }

    #[test]
    fn what_the_mapping_could_not_use_is_refused_with_its_place() {
        for (event, rest, expected) in [
            ("ADT^A01", "PV1|1", "Error 100 PID-0"),
            ("ADT^A01", "PID|1||\"\"", "Error 101 PID-3"),
            ("ADT^A40", "PID|1||42", "Error 100 MRG-0"),
            ("ADT^A20", "NPU|W^1^A|O", "accept"),
            ("ADT^A20", "PID|1||42", "Error 100 NPU-0"),
            ("QRY^A19", "QRD|1", "Reject 200 MSH-9"),
            ("ADT^A60", "PID|1||42", "Reject 201 MSH-9"),
            ("ORU^R01", "PID|1||42", "Reject 200 MSH-9"),
            ("", "PID|1||42", "Reject 101 MSH-9"),
        ] {
            assert_eq!(verdict(&adt(event, rest)), expected, "{event} {rest}");
        }
    }

    #[test]
    fn what_the_plan_does_not_map_is_kept_and_skipped_where_the_site_says_so() {
        let admission = admit(Policy::Accept, &adt("ADT^A60", "PID|1||42"));
        let Decision::Skip { reason, warning: Some(warning) } = admission.decision else { panic!("{admission:?}") };
        assert!(reason.contains("A60"), "{reason}");
        assert_eq!(warning.code, 201);
        assert_eq!(admission.keys.len(), 1, "it is found by its patient all the same");
        let refused = admit(Policy::Accept, &adt("QRY^A19", "QRD|1"));
        assert!(matches!(refused.decision, Decision::Refuse(_)), "a query has no answer, whatever the policy");
    }

    #[test]
    fn bytes_that_are_not_in_the_declared_character_set_are_named_by_field() {
        let mut raw = adt("ADT^A01", "PID|1||42||M");
        raw.extend(b"\xFFller\rPV1|1|I");
        let admission = admit(Policy::Reject, &raw);
        let Decision::Refuse(fault) = admission.decision else { panic!("{admission:?}") };
        assert_eq!((fault.code, fault.class), (102, FaultClass::Error));
        let place = fault.location.unwrap();
        assert_eq!((place.segment.as_str(), place.field), ("PID", 5));
        assert!(!fault.text.contains("ller"), "{}", fault.text);
    }

    #[test]
    fn a_listener_can_know_better_than_the_sender_which_characters_it_sends() {
        let raw = b"MSH|^~\\&|APP|FAC|||20260110||ADT^A01|1|P|2.5||||||UNICODE UTF-8\rPID|1||42||M\xFCller";
        let mut validator = validator(Policy::Reject);
        assert!(matches!(
            validator.admit(&Bytes::copy_from_slice(raw), &Header::peek(raw).unwrap()).decision,
            Decision::Refuse(_)
        ));
        validator.context = Context { charset: Some(charset("8859/1")), charset_override: true, ..Context::default() };
        assert!(matches!(
            validator.admit(&Bytes::copy_from_slice(raw), &Header::peek(raw).unwrap()).decision,
            Decision::Accept { .. }
        ));
    }

    fn charset(name: &str) -> crate::v2::charset::Charset {
        name.to_owned().try_into().unwrap()
    }
}
