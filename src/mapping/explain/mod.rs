//! One message explained: which field went where by which rule, and what became of the rest.
//!
//! In come a plan and a message's bytes; out goes an [`Explanation`], as data and as a page. The trace is made by the very walk
//! that makes the Bundle, with another recorder, so it can say nothing that the Bundle does not hold; the walk does not know
//! who listens. It refuses nothing: a message that cannot be mapped is explained as far as it can be read. An explanation holds
//! patient data, as the message does.
//!
//! - `trace` listens and keeps `records`, with the `spans` of the message that each value came from
//! - `marked` finds again, in the finished Bundle, where each value stands in the end
//! - `resolve` brings both together to a `report`; `origin` names places of the message, `losses` says why a field did not go out
//! - [`page`]: the report as HTML

pub(super) mod report;
mod spans;
mod records;
mod trace;
mod origin;
mod marked;
mod losses;
mod resolve;
pub mod page;

use super::plan::Plan;
use super::run::convert::{Context, convert_with};
use crate::v2::{Header, Message};
pub use report::{
    Assignment, AssignmentKind, Element, Erased, Event, Explanation, Loss, Missed, Null, Origin, Resolved, Segment,
    Unmapped, Why,
};
use trace::Trace;

/// Explains a message. One that cannot be mapped is explained as far as it can be read.
#[must_use]
pub fn explain(plan: &Plan, raw: &[u8], context: &Context) -> Explanation {
    let mut trace = Trace::new(resolve::resolve);
    let outcome = convert_with(plan, raw, context, &mut trace);
    let resolved = trace.resolved.take();
    match (outcome, resolved) {
        (Ok(converted), Some(Resolved(mut explanation))) => {
            explanation.bundle = converted.body;
            explanation.control_id = converted.control_id;
            explanation.resources = converted.resources;
            explanation.warnings = trace.warnings.into_list();
            *explanation
        }
        (Err(fault), _) => unmapped(plan, raw, context, fault.to_string()),
        (Ok(_), None) => Explanation::default(),
    }
}

/// What can be said of a message that becomes no Bundle.
pub fn unmapped(plan: &Plan, raw: &[u8], context: &Context, fault: String) -> Explanation {
    let mut explanation = Explanation { plan: plan.hash.clone(), fault: Some(fault), ..Explanation::default() };
    let header = Header::peek(raw);
    if let Ok(header) = &header {
        explanation.control_id = String::from_utf8_lossy(header.control_id()).into_owned();
        explanation.event.code = header.trigger().to_owned();
    }
    if let Some(event) = plan.event(&explanation.event.code) {
        explanation.event.name = event.name.to_string();
    }
    if let Ok(text) = context.decode(plan, raw)
        && let Ok(message) = Message::parse(&text)
    {
        explanation.text = message.text().to_owned();
        explanation.segments = origin::segments(&message, |_| false);
    }
    explanation
}
