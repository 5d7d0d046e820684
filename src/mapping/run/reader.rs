//! Reads v2 values for rules: paths in their scope, text without its escapes, identifier systems.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};

use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::fhir::Arena;
use crate::mapping::plan::prefilter::{CallPresence, MessagePresence};
use crate::mapping::plan::rule::{Expr, TableId};
use crate::mapping::plan::variables::{Globals, VariableValue};
use crate::mapping::plan::{Plan, identifier};
use crate::mapping::source::table::{Lookup, v2_system};
use crate::v2::group::{GroupId, Groups};
use crate::v2::header::NULL;
use crate::v2::path::Path;
use crate::v2::{Message, Part, text};
use crate::work;

/// Something a rule read.
#[derive(Debug, Clone, Copy)]
pub enum SourceValue<'r, 'a> {
    Part(Part<'r, 'a>),
    Segment(usize),
    /// Text that was put together from the message.
    Text(&'a str),
    /// A constant of the mapping files.
    Fixed(&'a str),
}

/// What reading a path gave: valued things only, and the explicit null where the field was that.
#[derive(Debug, Default)]
pub struct ReadValues<'r, 'a> {
    pub values: SmallVec<[SourceValue<'r, 'a>; 2]>,
    pub null: Option<&'a str>,
}

/// From where a rule looks: its group, the segment it is about, and what its template was called with.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s, 'r, 'a> {
    pub group: GroupId,
    pub focus: Option<usize>,
    pub here: Here<'r, 'a>,
    pub args: &'s [(&'a str, VariableValue<'a>)],
    pub table: Option<TableId>,
    pub known: CallPresence,
}

/// The `.` of a template.
#[derive(Debug, Clone, Copy)]
pub enum Here<'r, 'a> {
    Nothing,
    Thing(SourceValue<'r, 'a>),
}

/// One message with what is needed to read it.
pub struct MessageReader<'r, 'a> {
    pub plan: &'a Plan,
    /// For what is put together of the message's pieces.
    pub arena: &'a Arena,
    pub message: &'r Message<'a>,
    pub groups: &'r Groups,
    pub globals: Globals<'a>,
    pub present: MessagePresence,
    pub zone: Option<TimeZone>,
    /// The patients identified so far, by their group.
    pub patients: RefCell<FxHashMap<GroupId, &'a str>>,
    /// The system of identifiers without an authority, once it was asked for.
    pub sender: OnceCell<&'a str>,
    /// The fields a rule took a value from, so that those nobody asked for can be counted.
    pub asked: RefCell<Vec<bool>>,
}

impl<'r, 'a> MessageReader<'r, 'a> {
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    pub fn read(&self, expr: &'a Expr, scope: &Scope<'_, 'r, 'a>) -> ReadValues<'r, 'a> {
        if let Some(single) = self.single(expr, scope) {
            return ReadValues { values: single.into_iter().collect(), null: None };
        }
        let mut read = ReadValues::default();
        match (expr, &scope.here) {
            (Expr::Path(path), _) => self.path(path, scope, &mut read),
            (Expr::Relative(parts), Here::Thing(here @ SourceValue::Segment(segment))) => match parts.split_first() {
                Some((field, rest)) => self.in_field(*segment, *field, 0, rest, &mut read),
                None => read.values.push(*here),
            },
            _ => {}
        }
        read
    }

    /// What an expression gives that can give one thing at most: a part of a field, or a variable. `None` for others.
    pub fn single(&self, expr: &'a Expr, scope: &Scope<'_, 'r, 'a>) -> Option<Option<SourceValue<'r, 'a>>> {
        match (expr, &scope.here) {
            (Expr::Relative(_), Here::Thing(SourceValue::Segment(_))) | (Expr::Path(_), _) => None,
            (Expr::Relative(_), Here::Nothing) => Some(None),
            (Expr::Relative(parts), Here::Thing(SourceValue::Part(part))) => {
                Some(descend(*part, parts).map(SourceValue::Part))
            }
            (Expr::Relative(parts), Here::Thing(here)) => Some(parts.iter().all(|&n| n <= 1).then_some(*here)),
            (Expr::Variable(name), _) => Some(self.variable(name, scope).map(|arg| match arg {
                VariableValue::Fixed(text) => SourceValue::Fixed(text),
                VariableValue::Data(text) => SourceValue::Text(text),
            })),
        }
    }

    /// The first value of an expression.
    pub fn first(&self, expr: &'a Expr, scope: &Scope<'_, 'r, 'a>) -> Option<SourceValue<'r, 'a>> {
        self.single(expr, scope).unwrap_or_else(|| self.read(expr, scope).values.into_iter().next())
    }

    pub fn variable(&self, name: &str, scope: &Scope<'_, 'r, 'a>) -> Option<VariableValue<'a>> {
        if let Some((_, arg)) = scope.args.iter().find(|(n, _)| *n == name) {
            return Some(*arg);
        }
        match name {
            "patient" => self.patient(scope.group).map(VariableValue::Data),
            "table" => scope.table.map(|id| VariableValue::Fixed(&self.plan.tables[id].name)),
            _ => self.globals.get(name),
        }
    }

    fn path(&self, path: &Path, scope: &Scope<'_, 'r, 'a>, read: &mut ReadValues<'r, 'a>) {
        match scope.focus.filter(|&focus| path.is_of(self.message.name(focus))) {
            Some(focus) => self.in_segment(path, focus, read),
            None => {
                for segment in self.groups.find(self.message, scope.group, path.segment()) {
                    self.in_segment(path, segment, read);
                }
            }
        }
    }

    fn in_segment(&self, path: &Path, segment: usize, read: &mut ReadValues<'r, 'a>) {
        if path.is_segment() {
            if self.segment_valued(segment) {
                read.values.push(SourceValue::Segment(segment));
            }
            return;
        }
        let parts = [path.component, path.subcomponent];
        self.in_field(segment, path.field, path.repetition, &parts, read);
    }

    /// Whether a segment says anything.
    fn segment_valued(&self, segment: usize) -> bool {
        self.message.sent(segment) != 0
    }

    fn in_field(&self, segment: usize, field: u16, repetition: u32, parts: &[u16], read: &mut ReadValues<'r, 'a>) {
        let field = usize::from(field);
        let whole = self.message.whole(segment, field);
        if whole.raw == NULL {
            read.null = Some(whole.raw);
            self.ask(segment, field);
            return;
        }
        let wanted = match repetition as usize {
            0 => 0..whole.len(),
            n => n - 1..n.min(whole.len()),
        };
        let before = read.values.len();
        work::steps(wanted.len() + 1);
        for part in wanted.filter_map(|n| descend(whole.get(n)?, parts)) {
            read.values.push(SourceValue::Part(part));
        }
        if read.values.len() > before {
            self.ask(segment, field);
        }
    }

    fn ask(&self, segment: usize, field: usize) {
        if let Some(slot) = self.message.slot(segment, field)
            && let Some(asked) = self.asked.borrow_mut().get_mut(slot)
        {
            *asked = true;
        }
    }

    /// The fields with a value that no rule asked for, in the order sent. What Stoker itself reads is none of them.
    pub fn unasked(&self) -> Vec<Path> {
        let asked = self.asked.borrow();
        let mut unasked = Vec::new();
        for segment in 0..self.message.len() {
            let name = self.message.name(segment);
            let (first, sent) = (self.message.slot(segment, 1).unwrap_or_default(), self.message.sent(segment));
            work::steps(self.message.field_count(segment) + 1);
            for field in 1..=self.message.field_count(segment) {
                let unread = sent >> field.min(63) & 1 == 1 && asked.get(first + field - 1) == Some(&false);
                if unread && !is_protocol(name, field) && self.message.says_something(segment, field) {
                    unasked.extend(Path::field(name, field));
                }
            }
        }
        unasked
    }

    /// The text of a value, without escapes and blanks around it; `None` when that is nothing.
    pub fn text(&self, value: &SourceValue<'r, 'a>) -> Option<&'a str> {
        let text = match value {
            SourceValue::Part(part) => self.keep(self.message.unescape(text::trim(part.leaf()))),
            SourceValue::Text(text) | SourceValue::Fixed(text) => text,
            SourceValue::Segment(_) => return None,
        };
        text::says_something(text).then_some(text)
    }

    /// A text for as long as the tree lives.
    pub fn keep(&self, text: Cow<'a, str>) -> &'a str {
        match text {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => {
                work::text(text.len());
                self.arena.alloc_str(&text)
            }
        }
    }

    /// A repetition of a text field (FT, TX) with its formatting escapes as line breaks.
    pub fn formatted(&self, value: &SourceValue<'r, 'a>) -> &'a str {
        match value {
            SourceValue::Part(part) => self.keep(text::unescape_formatted(part.raw(), self.message.delimiters())),
            other => self.text(other).unwrap_or_default(),
        }
    }

    /// The identifier system of an assigning authority.
    pub fn system(&self, value: &SourceValue<'r, 'a>) -> Option<&'a str> {
        let authority = match value {
            SourceValue::Part(part) => identifier::Authority::of(*part),
            other => identifier::Authority { namespace: self.text(other)?, ..Default::default() },
        };
        if authority.is_type_code() {
            return Some(self.default_system());
        }
        let system = self.plan.identifiers.system(&authority).map(|system| self.keep(system));
        Some(system.unwrap_or_else(|| self.default_system()))
    }

    /// The system of an identifier whose authority was not sent.
    pub fn default_system(&self) -> &'a str {
        self.sender.get_or_init(|| self.keep(self.plan.identifiers.default_system(self.message)))
    }

    /// The identifier type of a CX: component 5, or component 4 where a sender put it there.
    pub fn type_code(&self, value: &SourceValue<'r, 'a>) -> Option<&'a str> {
        let SourceValue::Part(part) = value else { return self.text(value) };
        let own = part.part(5).filter(Part::valued).map(|p| p.leaf());
        let moved = || part.part(4).map(|p| p.leaf()).filter(|code| identifier::is_type_code(code));
        own.or_else(moved).map(|code| self.keep(self.message.unescape(code.trim())))
    }

    /// The code system of an HL7 table: that of the table named, for a code which it has; else by the table's number.
    pub fn v2_system(&self, value: &SourceValue<'r, 'a>, table: Option<TableId>) -> Option<&'a str> {
        let text = self.text(value)?;
        match table {
            Some(id) => {
                let table = &self.plan.tables[id];
                table.knows(text).then_some(table.v2_system.as_deref()?)
            }
            None => Some(self.arena.alloc_str(&v2_system(text))),
        }
    }

    /// The system of a visit number whose authority the site has mapped.
    pub fn visit_system(&self, value: &SourceValue<'r, 'a>) -> Option<&'a str> {
        let SourceValue::Part(part) = value else { return None };
        self.plan.identifiers.mapped(&identifier::Authority::of(*part))
    }

    /// The URI of a coding system by its v2 name (table 0396). An HL7 table that is shipped and does not have `code` is
    /// not its system, whatever the sender says.
    pub fn code_system(&self, value: &SourceValue<'r, 'a>, code: Option<&str>) -> Option<&'a str> {
        let name = self.text(value)?;
        if let Some(id) = self.plan.code_systems
            && let Lookup::Row(row) = self.plan.tables[id].find(name)
        {
            return Some(&row.code);
        }
        let system = self.keep(identifier::code_system(name));
        if let Some(code) = code.filter(|_| name.starts_with("HL7")) {
            let own = self.plan.of_v2_system.get(system);
            if own.is_some_and(|tables| !tables.iter().any(|&id| self.plan.tables[id].knows(code))) {
                return None;
            }
        }
        Some(system)
    }

    /// Whether the patient of a group has been identified.
    pub fn knows_patient(&self, group: GroupId) -> bool {
        self.patient(group).is_some()
    }

    /// The identifier that finds the patient of a group, as `system|value`.
    fn patient(&self, group: GroupId) -> Option<&'a str> {
        let own = self.groups.patient(group);
        self.patients.borrow().get(&own).copied()
    }
}

/// Whether Stoker itself reads a field: delimiters, sender, time, event, control id, version, kind of acknowledgement
/// and character set.
pub fn is_protocol(segment: &str, field: usize) -> bool {
    match segment {
        "MSH" => matches!(field, 1..=4 | 7 | 9 | 10 | 12 | 15 | 16 | 18 | 20),
        "EVN" => field == 1,
        _ => false,
    }
}

/// Goes down into a part; 0 means "no further". Only what is valued counts.
#[inline]
fn descend<'r, 'a>(part: Part<'r, 'a>, parts: &[u16]) -> Option<Part<'r, 'a>> {
    let mut at = part;
    for &n in parts {
        if n == 0 {
            break;
        }
        at = at.part(usize::from(n))?;
    }
    at.valued().then_some(at)
}
