//! The target of a rule, `name[0].given[]`: checked step by step against the elements of R4.

use smallvec::SmallVec;

use super::compiler::Compiler;
use super::syntax;
use crate::fhir::r4::{self, Element};
use crate::mapping::plan::rule::{At, Target, TargetStep};
use crate::mapping::source::diagnostic::did_you_mean;
use crate::mapping::source::place::RulePlace;

/// A target below `parent`, and the element that it ends in.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    place: RulePlace,
    text: &str,
    parent: &str,
) -> Option<(Target, Element)> {
    let raw = compiler.said(place, syntax::target(text))?;
    let count = raw.len();
    let mut steps = SmallVec::new();
    let mut parent = parent.to_owned();
    let mut last = None;
    for (i, step) in raw.into_iter().enumerate() {
        let Some(element) = r4::element(&parent, &step.name) else {
            let hint = did_you_mean(&step.name, r4::names(&parent));
            compiler.fault(place, format!("FHIR R4 has no element '{parent}.{}'{}", step.name, hint));
            return None;
        };
        let is_last = i + 1 == count;
        if let Some(message) = list_fault(&step, &element, is_last) {
            compiler.fault(place, message);
            return None;
        }
        parent = r4::members_of(&element).to_owned();
        let on_primitive = element.primitive() && !is_last;
        if on_primitive && matches!(step.at, At::Index(1..)) {
            compiler.fault(place, "an extension of a primitive in a list can only stand at [0]");
        }
        let name = if on_primitive { format!("_{}", step.name) } else { step.name.clone() };
        let choice = element.choice.then(|| choice_base(&step.name, element.kind).into());
        steps.push(TargetStep { name: name.into(), at: step.at, choice });
        last = Some(element);
    }
    let element = last?;
    let append = steps.last().is_some_and(|step: &TargetStep| step.at == At::Append);
    let uri = matches!(element.kind, "uri" | "url" | "canonical");
    let name = steps.last().map_or("", |step: &TargetStep| &step.name);
    let absence = if element.primitive() { format!("_{name}") } else { name.to_owned() }.into();
    Some((Target { steps, absence, append, uri }, element))
}

/// What is wrong with the brackets of a step.
fn list_fault(step: &syntax::RawStep, element: &Element, last: bool) -> Option<String> {
    let name = element.path;
    match (&step.at, element.list) {
        (At::Single, true) if element.kind == "Extension" && !last => {
            Some("an extension is named by its URL: extension(http://...).valueString".to_owned())
        }
        (At::Single, true) => {
            Some(format!("'{name}' is a list: write {0}[] for every repetition, or {0}[0]", step.name))
        }
        (At::Index(_) | At::Append, false) => Some(format!("'{name}' is not a list: write {}", step.name)),
        (At::Append, true) if !last => {
            Some(format!("[] stands at the end of a target; within it write {}[0]", step.name))
        }
        (At::Extension(_), _) if element.kind != "Extension" => {
            Some(format!("only extension takes a URL, '{name}' does not"))
        }
        _ => None,
    }
}

/// What all forms of a choice begin with: `value` of `valueQuantity`.
fn choice_base<'n>(name: &'n str, kind: &str) -> &'n str {
    name.len().checked_sub(kind.len()).and_then(|end| name.get(..end)).unwrap_or(name)
}
