//! What there is to know of a message's way into FHIR, as a person or a program reads it.

use serde::Serialize;

use crate::mapping::run::recorder::Warning;

/// Everything there is to know of one message's way into FHIR.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Explanation {
    pub control_id: String,
    pub event: Event,
    /// The plan's digest, as the journal names it.
    pub plan: String,
    /// Why there is no Bundle, where there is none.
    pub fault: Option<String>,
    /// The message as text, in its character set; all offsets count its bytes.
    pub text: String,
    pub segments: Vec<Segment>,
    /// In message order; what no field gave comes last, in the Bundle's order.
    pub assignments: Vec<Assignment>,
    pub unmapped: Vec<Unmapped>,
    pub missed: Vec<Missed>,
    pub nulls: Vec<Null>,
    pub erased: Vec<Erased>,
    /// All but the codes that [`Explanation::missed`] names.
    pub warnings: Vec<Warning>,
    pub strays: Vec<Origin>,
    /// How many of each resource type, in the Bundle's order.
    pub resources: Vec<(String, usize)>,
    /// The Bundle as JSON; empty where there is a `fault`.
    #[serde(skip)]
    pub bundle: String,
}

/// What the message is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The trigger, `A01`.
    pub code: String,
    pub name: String,
    /// The FHIR event, `admin-notify`.
    pub fhir: String,
    /// The set of resources that it makes, and the files of the set.
    pub set: String,
    pub files: Vec<String>,
    pub status: Option<String>,
}

/// A line of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    pub name: String,
    pub occurrence: usize,
    pub start: usize,
    pub end: usize,
    /// Nothing in it went anywhere.
    pub ignored: bool,
}

/// A piece of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// `PID-5[2].1`; with the number of the segment where there are several: `DG1[2]-3.1`.
    pub path: String,
    /// What the standard calls it.
    pub name: Option<String>,
    pub start: usize,
    pub end: usize,
    /// As sent.
    pub raw: String,
}

/// An element of the Bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Element {
    /// Its number in `Bundle.entry`; none for the Bundle's own elements.
    pub entry: Option<usize>,
    /// The resource's type.
    pub resource: String,
    /// Of which type the contained resource is that it stands in, where it does.
    pub contained: Option<String>,
    /// `name[0].family`, `contained[1].identifier[0].value`.
    pub path: String,
    /// The same from the top, as a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// The text of a string, else the JSON.
    pub value: String,
}

/// A value of the Bundle and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// In the order in which the rule read them; empty for what a rule states by itself.
    pub from: Vec<Origin>,
    pub to: Element,
    /// `datatypes.toml:40`; empty for what Stoker writes itself.
    pub rule: String,
    /// The rules whose templates led to it, the resource file's first.
    pub via: Vec<String>,
    pub kind: AssignmentKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssignmentKind {
    /// From a field.
    Field,
    /// A constant of a rule, or a value of the event or the configuration.
    Fixed,
    /// Refers to a resource.
    Reference,
    /// How the resource is found, or its id.
    Identity,
    /// The Bundle's own elements.
    Envelope,
}

/// A field, or a part of one, that has a value which did not go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmapped {
    pub from: Origin,
    pub why: Why,
    pub text: String,
    /// The rules that `text` speaks of.
    pub rules: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A rule took it, and it is not what the element needs.
    Unconvertible,
    /// The code has no row in its table, and the table has no default.
    NoRow,
    /// A rule took it and made nothing of it, as it may: an authority that the site has not mapped.
    Nothing,
    /// A rule took it, and what it became was dropped again.
    Lost,
    /// A rule reads it, and its condition does not hold here.
    Condition,
    /// A rule reads it, and another value stands in its element.
    Taken,
    /// A condition asks for it, and nothing else does.
    TestedOnly,
    /// Rules read it, and the resource they fill did not go out.
    NoResource,
    /// Rules read it for a resource that the event's set does not have.
    NotInSet,
    /// No rule reads it.
    Unread,
    /// It numbers the segments and says nothing else.
    SetId,
    /// Stoker reads it itself: delimiters, event, version, acknowledgement, character set.
    Protocol,
}

impl Why {
    /// Whether information was left behind.
    #[must_use]
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::SetId | Self::Protocol | Self::TestedOnly)
    }
}

/// A code without a row in its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missed {
    pub from: Option<Origin>,
    pub table: String,
    pub rule: String,
    /// What went out in its place: the paths of the elements.
    pub became: Vec<String>,
}

/// An explicit null (`""`) and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Null {
    pub from: Origin,
    pub erased: Vec<Erased>,
    /// Why it erased nothing.
    pub text: String,
}

/// An element that the receiver erases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erased {
    pub to: Element,
    pub rule: String,
}

/// Values that were left behind for one reason: one, or all of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss<'e> {
    /// Its number in [`Explanation::unmapped`].
    pub number: usize,
    /// The first of them.
    pub first: &'e Unmapped,
    /// `DG1[2]` where it is the whole segment.
    pub segment: Option<&'e str>,
    pub count: usize,
}

impl Explanation {
    /// What was left behind. A segment of which nothing went out is told once, not once for each of its values.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss<'_>> {
        let mut losses: Vec<Loss<'_>> = Vec::new();
        for (number, unmapped) in self.unmapped.iter().enumerate().filter(|(_, unmapped)| unmapped.why.is_loss()) {
            let segment = unmapped.from.path.split_once('-').map(|(segment, _)| segment);
            let start = unmapped.from.start;
            let line = self.segments.partition_point(|line| line.start <= start).checked_sub(1);
            let ignored = line.is_some_and(|line| self.segments[line].ignored);
            match losses.last_mut() {
                Some(last) if ignored && last.segment == segment && last.first.text == unmapped.text => last.count += 1,
                _ => {
                    let segment = segment.filter(|_| ignored);
                    losses.push(Loss { number, first: unmapped, segment, count: 1 });
                }
            }
        }
        losses
    }

    /// All of it as JSON, the Bundle included.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which its types exclude.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut json = serde_json::to_string(self)?;
        if !self.bundle.is_empty() {
            json.pop();
            json.push_str(",\"bundle\":");
            json.push_str(&self.bundle);
            json.push('}');
        }
        Ok(json)
    }
}

/// What a trace comes to.
#[derive(Debug)]
pub struct Resolved(pub Box<Explanation>);
