//! One message to one Bundle: the call that convert, explain, replay and the daemon share.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;
use smallvec::SmallVec;
use uuid::Uuid;

use super::build::{Builder, PreparedIdentifiers};
use super::contain;
use super::entries::{Entries, Entry};
use super::envelope::{self, Envelope};
use super::error::ConvertError;
use super::reader::{Here, MessageReader, Scope};
use super::recorder::{Recorder, Stage, Warning, Warnings};
use crate::fhir::ids::{self, IdKind};
use crate::fhir::node::concat;
use crate::fhir::{Arena, Object};
use crate::mapping::plan::identifier::{LONGEST_NAME, is_too_long};
use crate::mapping::plan::prefilter::MessagePresence;
use crate::mapping::plan::rule::{Expr, RuleSource};
use crate::mapping::plan::variables::Globals;
use crate::mapping::plan::{Course, EventPlan, Plan, ResourcePlan};
use crate::mapping::source::config::EmptyControlId;
use crate::v2::charset::Charset;
use crate::v2::charset::CharsetFault;
use crate::v2::group::Groups;
use crate::v2::inbound::Reading;
use crate::v2::path::Path;
use crate::v2::time::Stamp;
use crate::v2::{Header, Inbound, Message};
use crate::work;

/// What the mapping needs to know besides the message: where and when it came in.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The time of receipt, for a message without MSH-7.
    pub received: Option<jiff::Timestamp>,
    /// The listener's, before the plan's.
    pub zone: Option<TimeZone>,
    pub charset: Option<Charset>,
    /// Reads the message in `charset` whatever MSH-18 says.
    pub charset_override: bool,
    /// A clinical-notify goes out as admin-notify, under ids of its own: the receiver did not know the visit.
    pub promoted: bool,
    /// How many steps of work it may take, in place of what the plan says (`mapping.budget`).
    pub budget: Option<u64>,
}

impl Context {
    /// How the bytes of a message are read under a plan.
    #[must_use]
    pub fn reading(&self, plan: &Plan) -> Reading {
        Reading { fallback: self.charset.or(plan.settings.charset), override_declared: self.charset_override }
    }

    /// A message as text.
    ///
    /// # Errors
    /// [`CharsetFault`] with the place of the first character that is not in the message's character set.
    pub fn decode<'a>(&self, plan: &Plan, raw: &'a [u8]) -> Result<Cow<'a, str>, CharsetFault> {
        self.reading(plan).decode(raw, Header::peek(raw).ok().as_ref())
    }
}

/// A message as it goes out.
#[derive(Debug)]
pub struct Converted {
    /// The Bundle as JSON.
    pub body: String,
    pub event: String,
    /// The FHIR event: `admin-notify`, `clinical-notify` ...
    pub fhir_event: String,
    pub control_id: String,
    pub bundle_id: Uuid,
    pub message_id: Uuid,
    /// How many of each resource type, in the Bundle's order.
    pub resources: Vec<(String, usize)>,
    pub warnings: Vec<Warning>,
    /// The fields that have a value which no rule asked for, each as often as it was sent: nothing is lost in silence.
    pub unmapped: Vec<Path>,
    /// How many steps of work it took.
    pub steps: u64,
}

/// What the arena of a large message begins with.
const ROOM: usize = 256 << 10;

/// Maps a message.
///
/// # Errors
/// [`ConvertError`] with the place of the fault, when no Bundle can be made of it.
pub fn convert(plan: &Plan, raw: &[u8], context: &Context) -> Result<Converted, ConvertError> {
    let mut warnings = Warnings::default();
    let mut converted = convert_with(plan, raw, context, &mut warnings)?;
    converted.warnings = warnings.into_list();
    Ok(converted)
}

/// Maps a message that was taken apart when it came in. Where it would be read in another way now, it is read again.
///
/// # Errors
/// As [`convert`].
pub fn convert_inbound(plan: &Plan, inbound: &Inbound, context: &Context) -> Result<Converted, ConvertError> {
    if inbound.reading() != context.reading(plan) {
        return convert(plan, inbound.raw(), context);
    }
    let mut warnings = Warnings::default();
    let mut converted = within_budget(plan, context, || {
        let arena = arena(inbound.raw());
        let message = inbound.message();
        convert_message(plan, inbound.raw(), &message, &arena, context, &mut warnings)
    })?;
    converted.warnings = warnings.into_list();
    Ok(converted)
}

/// Does the work of one message, as far as its budget goes.
fn within_budget(
    plan: &Plan,
    context: &Context,
    map: impl FnOnce() -> Result<Converted, ConvertError>,
) -> Result<Converted, ConvertError> {
    let limit = context.budget.unwrap_or(plan.settings.budget);
    let (mapped, steps) = work::within(limit, map);
    if steps > limit {
        return Err(ConvertError::OverBudget { limit });
    }
    Ok(Converted { steps, ..mapped? })
}

/// Maps a message and tells `recorder` of every step.
pub fn convert_with<R: Recorder>(
    plan: &Plan,
    raw: &[u8],
    context: &Context,
    recorder: &mut R,
) -> Result<Converted, ConvertError> {
    within_budget(plan, context, || {
        work::text(raw.len());
        let text = context.decode(plan, raw)?;
        let arena = arena(raw);
        convert_message(plan, raw, &Message::parse(&text)?, &arena, context, recorder)
    })
}

/// Of a usual message the tree takes about fifty times as much as its text; the arena grows where that is too little.
fn arena(raw: &[u8]) -> Arena {
    Arena::with_capacity((50 * raw.len()).min(ROOM))
}

fn convert_message<'a, R: Recorder>(
    plan: &'a Plan,
    raw: &[u8],
    message: &Message<'a>,
    arena: &'a Arena,
    context: &Context,
    recorder: &mut R,
) -> Result<Converted, ConvertError> {
    let event = event(message)?;
    let (trigger, event_plan) =
        plan.event_named(&event).ok_or_else(|| ConvertError::Unsupported { event: event.clone() })?;
    check(plan, event_plan, &event, message)?;
    let groups = Groups::split(message, event_plan.grouping);
    let ids = message_ids(message, raw, context.promoted);
    let globals = globals(plan, event_plan, trigger, message, ids.1, arena);
    let mut reader = MessageReader {
        plan,
        arena,
        message,
        groups: &groups,
        present: MessagePresence::of(message, &globals),
        globals,
        zone: zone(plan, context, message),
        patients: RefCell::default(),
        sender: OnceCell::new(),
        asked: RefCell::new(vec![false; message.slots()]),
    };
    let course = course(&reader, event_plan, recorder);
    reader.globals.timestamp = timestamp(&reader, context);
    reader.globals.status = course.status.as_deref();
    let fhir_event = fhir_event(course, context);
    reader.globals.fhir_event = fhir_event;
    reader.globals.fhir_event_system = envelope::event_system(fhir_event, &plan.settings);
    reader.present.learn(&reader.globals);
    for _ in message.strays() {
        work::steps(1);
        recorder.note("", "a line is no segment and was not mapped");
    }
    let (mut entries, ready) = identify(&reader, course, recorder)?;
    let built = build(&reader, &mut entries, ready, recorder);
    let over = || ConvertError::OverBudget { limit: context.budget.unwrap_or(plan.settings.budget) };
    if work::is_spent() {
        return Err(over());
    }
    let envelope = Envelope { reader: &reader, bundle_id: ids.0 };
    let (bundle, resources) = envelope.bundle(&entries, built);
    recorder.finish(&reader, course, &entries, &bundle);
    if work::is_spent() {
        return Err(over());
    }
    // A Bundle is about ten times as long as its message.
    let mut body = String::with_capacity(1024 + 11 * raw.len());
    bundle.write(&mut body);
    std::mem::forget(bundle); // all of it stands in the arena: nothing is to be given back piece by piece
    Ok(Converted {
        unmapped: reader.unasked(),
        body,
        event,
        fhir_event: fhir_event.to_owned(),
        control_id: control_id(message),
        bundle_id: ids.0,
        message_id: ids.1,
        resources,
        warnings: Vec::new(),
        steps: 0,
    })
}

/// The trigger event: MSH-9.2, and EVN-1 for a sender that names only `ADT`. MSH-9.3 is often wrong and never asked.
///
/// # Errors
/// When there is none, or it is not of a type that is mapped.
pub fn event(message: &Message<'_>) -> Result<String, ConvertError> {
    let part = |n| message.repetition(0, 9, 0).and_then(|p| p.part(n)).map_or("", |p| p.leaf().trim());
    let (kind, trigger) = (part(1), part(2));
    if !trigger.is_empty() {
        return match kind {
            "ADT" | "" => Ok(trigger.to_owned()),
            "QRY" if trigger == "A19" => Ok(trigger.to_owned()),
            _ => Err(ConvertError::Unsupported { event: format!("{kind}^{trigger}") }),
        };
    }
    let evn = message.find("EVN").and_then(|evn| message.repetition(evn, 1, 0)).map_or("", |p| p.leaf().trim());
    match (kind, evn) {
        ("ADT" | "", evn) if !evn.is_empty() => Ok(evn.to_owned()),
        ("ADT" | "", _) => Err(ConvertError::NoEvent),
        (kind, _) => Err(ConvertError::Unsupported { event: kind.to_owned() }),
    }
}

/// Whether a message has what its event needs.
///
/// # Errors
/// The first thing that is missing, or that the event is refused.
pub fn check(plan: &Plan, event_plan: &EventPlan, event: &str, message: &Message<'_>) -> Result<(), ConvertError> {
    if let Some(why) = &event_plan.refused {
        return Err(ConvertError::Refused { event: event.to_owned(), why: why.to_string() });
    }
    if let Some(missing) = event_plan.needs.iter().find(|name| message.find(name).is_none()) {
        return Err(ConvertError::MissingSegment { segment: missing.to_string(), event: event.to_owned() });
    }
    if plan.settings.empty_control_id == EmptyControlId::Refuse && control_id(message).is_empty() {
        return Err(ConvertError::MissingField { place: "MSH-10".into(), what: "the control id" });
    }
    match [3, 4].iter().find(|field| message.field(0, **field).len() > LONGEST_NAME) {
        Some(field) => Err(ConvertError::TooLong { place: format!("MSH-{field}") }),
        None => Ok(()),
    }
}

fn control_id(message: &Message<'_>) -> String {
    message.field(0, 10).trim().to_owned()
}

/// The event as the receiver is told of it.
fn fhir_event<'a>(course: &'a Course, context: &Context) -> &'a str {
    if context.promoted && &*course.fhir == envelope::CLINICAL { envelope::ADMIN } else { &course.fhir }
}

/// The Bundle's id and the MessageHeader's, from sender, control id and content. A promoted message is another message:
/// to the same ids its receiver would give the same answer.
fn message_ids(message: &Message<'_>, raw: &[u8], promoted: bool) -> (Uuid, Uuid) {
    let digest = ids::digest(raw);
    let field = |n: usize| message.field(0, n).as_bytes();
    let parts = [field(4), field(3), field(10), &digest, b"promoted"];
    let parts = if promoted { &parts[..] } else { &parts[..4] };
    (ids::uuid(IdKind::Bundle, parts), ids::uuid(IdKind::Message, parts))
}

fn globals<'a>(
    plan: &'a Plan,
    event_plan: &'a EventPlan,
    event: &'a str,
    message: &Message<'a>,
    id: Uuid,
    arena: &'a Arena,
) -> Globals<'a> {
    Globals {
        event,
        visit_system: arena.alloc_str(&plan.identifiers.visit_system(message)),
        message_id: arena.alloc_str(&id.to_string()),
        destination: plan.settings.destination.as_deref(),
        source: plan.settings.source.as_deref(),
        base: &plan.settings.base,
        absorbed: event_plan.absorbed.as_deref(),
        ..Globals::default()
    }
}

/// The zone of times without an offset: the listener's, the site's, else the offset of MSH-7, which is the message's
/// own by default (HL7 v2.5.1 ch. 2.15.9.7).
fn zone(plan: &Plan, context: &Context, message: &Message<'_>) -> Option<TimeZone> {
    let configured = context.zone.clone().or_else(|| plan.settings.zone.clone());
    configured.or_else(|| Stamp::parse(message.repetition(0, 7, 0)?.leaf()).ok()?.zone())
}

/// Bundle.timestamp: the message's time, else the time of receipt.
fn timestamp<'a>(reader: &MessageReader<'_, 'a>, context: &Context) -> Option<&'a str> {
    let sent = reader.message.repetition(0, 7, 0).and_then(|part| {
        let mut out = String::new();
        match Stamp::parse(part.leaf()).ok()?.to_instant(reader.zone(), &mut out) {
            crate::v2::time::Written::Nothing(_) => None,
            _ => Some(out),
        }
    });
    let timestamp = sent.or_else(|| context.received.map(|t| t.to_string()));
    timestamp.map(|text| &*reader.arena.alloc_str(&text))
}

/// A scope from which the whole message is seen.
fn whole<'r, 'a>(reader: &MessageReader<'_, '_>) -> Scope<'static, 'r, 'a> {
    let known = reader.present.nothing_called();
    Scope { group: 0, focus: None, here: Here::Nothing, args: &[], table: None, known }
}

fn course<'a, R: Recorder>(reader: &MessageReader<'_, 'a>, event: &'a EventPlan, recorder: &mut R) -> &'a Course {
    let nothing = Entries::default();
    let builder = Builder::new(reader, &nothing, recorder);
    match &event.variant {
        Some((when, course)) if when.iter().all(|condition| builder.holds(condition, &whole(reader))) => course,
        _ => &event.course,
    }
}

/// Which resources there will be, and how each is found. What cannot be identified is left out with a warning; a
/// patient that cannot be is an error, because nothing could be delivered for anybody. With each entry comes what of it
/// is made already.
fn identify<'a, R: Recorder>(
    reader: &MessageReader<'_, 'a>,
    course: &Course,
    recorder: &mut R,
) -> Result<(Entries<'a>, Vec<Option<PreparedIdentifiers<'a>>>), ConvertError> {
    let mut entries = Entries::default();
    let mut made = Vec::new();
    for &index in &course.resources {
        let resource = &reader.plan.resources[index];
        for &segment in reader.message.all(&resource.each) {
            work::steps(1);
            recorder.entry(Stage::Identify, entries.list.len());
            if let Some((entry, ready)) = entry(reader, &entries, index, segment, recorder)? {
                entries.add(entry, reader);
                made.push(ready);
            }
            if (reader.groups.of(segment) == 0 && &*resource.each == "PID") || work::is_spent() {
                break;
            }
        }
    }
    Ok((entries, made))
}

fn entry<'a, R: Recorder>(
    reader: &MessageReader<'_, 'a>,
    entries: &Entries<'a>,
    index: usize,
    segment: usize,
    recorder: &mut R,
) -> Result<Option<(Entry<'a>, Option<PreparedIdentifiers<'a>>)>, ConvertError> {
    let resource = &reader.plan.resources[index];
    let group = reader.groups.of(segment);
    let scope = Scope { group, focus: Some(segment), ..whole(reader) };
    let mut builder = Builder::new(reader, entries, recorder);
    if !resource.when.iter().all(|condition| builder.holds(condition, &scope)) {
        return Ok(None);
    }
    let mut entry = Entry { resource: index, group, segment, full_url: "", identity: None, id: None, present: false };
    if resource.condition.is_empty() {
        let id = own_id(reader, entries, resource, &scope, recorder);
        let mut hyphenated = Uuid::encode_buffer();
        let url = concat(&["urn:uuid:", id.hyphenated().encode_lower(&mut hyphenated)], reader.arena);
        (entry.full_url, entry.id) = (url, url.strip_prefix("urn:uuid:"));
        return Ok(Some((entry, None)));
    }
    let (mut identity, mut ready, mut too_long) = (None, None, false);
    for (rule, twin) in resource.condition.iter().zip(&resource.twins) {
        let candidates = builder.candidates(rule, &scope);
        too_long |= candidates.iter().any(is_too_long);
        identity = reader.plan.identifiers.best(&candidates);
        if let Some((system, value)) = identity {
            builder.recorder.identified(&candidates, system, value);
            ready = builder.ready(*twin, candidates);
            break;
        }
    }
    let Some((system, value)) = identity else {
        let place = unidentified(resource);
        if &*resource.resource_type == "Patient" {
            return Err(match too_long {
                true => ConvertError::TooLong { place },
                false => ConvertError::MissingField { place, what: "the identifier of the patient" },
            });
        }
        recorder.note(&place, "nothing identifies the visit: it does not go out, the patient does");
        return Ok(None);
    };
    let full_url = envelope::full_url(&reader.plan.settings, &resource.resource_type, (system, value));
    entry.full_url = reader.arena.alloc_str(&full_url);
    if &*resource.resource_type == "Patient" && !reader.knows_patient(group) {
        let identity = concat(&[system, "|", value], reader.arena);
        reader.patients.borrow_mut().insert(reader.groups.patient(group), identity);
    }
    if entries.taken(entry.full_url, index) {
        recorder.note(&unidentified(resource), "names the same as another resource of the message and was left out");
        return Ok(None);
    }
    entry.identity = Some((system, value));
    entry.present = true;
    Ok(Some((entry, ready)))
}

/// The field that should have identified a resource.
fn unidentified(resource: &ResourcePlan) -> String {
    let sources = resource.condition.iter().filter_map(|rule| match &rule.source {
        RuleSource::From(exprs) => Some(exprs),
        _ => None,
    });
    let mut paths = sources.flatten().filter_map(|expr| match expr {
        Expr::Path(path) => Some(path),
        _ => None,
    });
    paths.find(|path| path.segment() == &*resource.each).map_or_else(|| resource.each.to_string(), Path::to_string)
}

/// The id of a resource that is not found by a condition: from its visit or patient, and its key.
fn own_id<'r, 'a, R: Recorder>(
    reader: &MessageReader<'r, 'a>,
    entries: &Entries<'a>,
    resource: &'a ResourcePlan,
    scope: &Scope<'_, 'r, 'a>,
    recorder: &mut R,
) -> Uuid {
    if &*resource.resource_type == "MessageHeader" {
        return reader.globals.message_id.parse().unwrap_or_default();
    }
    let owner = ["Encounter", "Patient"].iter().find_map(|t| entries.of_patient(reader, t, scope.group));
    let owner = owner.map_or("", |entry| entry.full_url);
    let keys: SmallVec<[&str; 4]> = resource
        .key
        .iter()
        .map(|expr| {
            let read = reader.read(expr, scope);
            let value = read.values.first();
            value.inspect(|value| recorder.piece(reader, expr, value));
            value.and_then(|value| reader.text(value)).unwrap_or_default()
        })
        .collect();
    recorder.filled();
    let mut parts: Vec<&[u8]> = vec![resource.name.as_bytes(), owner.as_bytes()];
    parts.extend(keys.iter().map(|key| key.as_bytes()));
    let id = ids::uuid(IdKind::Resource, &parts);
    match entries.repeats(id) {
        0 => id,
        n => {
            let ordinal = n.to_string();
            parts.push(ordinal.as_bytes());
            ids::uuid(IdKind::Resource, &parts)
        }
    }
}

/// Builds the resources, the last first: a resource refers to those found by a condition, which are known, and to those
/// behind it, which are built by then.
fn build<'r, 'a, R: Recorder>(
    reader: &'r MessageReader<'r, 'a>,
    entries: &mut Entries<'a>,
    mut ready: Vec<Option<PreparedIdentifiers<'a>>>,
    recorder: &mut R,
) -> Vec<Option<Object<'a>>> {
    let mut built: Vec<Option<Object<'a>>> = (0..entries.list.len()).map(|_| None).collect();
    for at in (0..entries.list.len()).rev() {
        entries.current = Some(at);
        let entry = &entries.list[at];
        let resource: &'a ResourcePlan = &reader.plan.resources[entry.resource];
        let scope = Scope { group: entry.group, focus: Some(entry.segment), ..whole(reader) };
        recorder.entry(Stage::Build, at);
        let object = Builder::new(reader, entries, recorder).resource(resource, &scope, ready[at].take());
        entries.set_present(at, object.is_some());
        built[at] = object;
        if work::is_spent() {
            return built;
        }
    }
    merge_same(entries, &mut built, recorder);
    built
}

/// One patient may stand in several groups (three numbers merged into one): one entry, with all that was said of it.
fn merge_same<'a, R: Recorder>(entries: &Entries<'a>, built: &mut [Option<Object<'a>>], recorder: &mut R) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut same: BTreeMap<usize, Vec<Object<'a>>> = BTreeMap::new();
    for at in 0..built.len() {
        work::text(entries.list[at].full_url.len());
        let first = *seen.entry(entries.list[at].full_url).or_insert(at);
        if first != at
            && let Some(object) = built[at].take()
            && built[first].is_some()
        {
            same.entry(first).or_default().push(object);
        }
    }
    for (first, others) in same {
        if let Some(target) = &mut built[first] {
            contain::unite::unite(target, others, recorder);
        }
    }
}
