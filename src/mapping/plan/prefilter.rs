//! The quick way past rules that can give nothing.
//!
//! Most rules of most messages read a field that was not sent, or are meant for another event. What a rule cannot do
//! without is worked out once, when the plan is compiled, as bits; what a message has is worked out once for the message
//! ([`MessagePresence`]) and once for each call of a template ([`CallPresence`]). A rule whose bits are missing is not walked.
//!
//! A guard may let through a rule that then gives nothing; it never stops one that would give something, or that would
//! have read a field on the way (a field is mapped or told as unmapped, and prefilters must not change which).

use smallvec::SmallVec;

use super::rule::{Condition, Convert, Expr, Piece, Rule, RuleSource, Test};
use super::variables::{GLOBALS, Globals};
use crate::v2::Message;

/// Segment names are told apart by so many slots. Two that share one share their bits, which only lets more through.
const SEGMENTS: usize = 128;
/// What the thing that a template was called with has: its parts; those of them that have parts; names of variables.
const PARTS: u8 = SEGMENTS as u8;
const DIVIDED: u8 = PARTS + 1;
const NAMES: u8 = PARTS + 2;
/// What is always there.
const ALWAYS: u8 = PARTS + 3;

/// One of these bits must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Term {
    slot: u8,
    bits: u64,
}

/// What a rule cannot do without.
#[derive(Debug)]
pub struct Prefilter {
    /// The events it can have its turn in.
    events: u64,
    /// Most rules hang on one field and nothing else; this is looked at first.
    first: Term,
    /// Of each clause one term must hold.
    rest: Vec<Clause>,
}

type Clause = SmallVec<[Term; 2]>;

/// What the fields of a message hold, and which event it is.
#[derive(Debug)]
pub struct MessagePresence {
    event: u64,
    pub globals: u64,
    segments: [u64; SEGMENTS],
}

/// What there is to read in a template.
#[derive(Debug, Clone, Copy)]
pub struct CallPresence {
    /// By slot, from [`PARTS`] on.
    pub slots: [u64; 4],
}

impl Default for CallPresence {
    fn default() -> Self {
        Self::new(0, 0, 0)
    }
}

impl CallPresence {
    pub fn new(parts: u64, divided: u64, names: u64) -> Self {
        Self { slots: [parts, divided, names, u64::MAX] }
    }
}

impl Default for Prefilter {
    /// Lets everything through.
    fn default() -> Self {
        Self { events: u64::MAX, first: Term { slot: ALWAYS, bits: u64::MAX }, rest: Vec::new() }
    }
}

impl Prefilter {
    pub fn all(rules: &[Rule]) -> Vec<Self> {
        rules.iter().map(Self::of).collect()
    }

    fn of(rule: &Rule) -> Self {
        let mut guard = Self::default();
        // Without an authority the sender's system is given.
        if let (RuleSource::From(exprs), true) = (&rule.source, rule.convert != Convert::System) {
            guard.one_of(exprs);
        }
        for condition in &rule.when {
            guard.require(condition);
            if condition.exprs.iter().any(is_path) {
                return guard;
            }
        }
        if let RuleSource::Filled(pieces) = &rule.source {
            guard.require_pieces(pieces);
        }
        guard
    }

    fn require(&mut self, condition: &Condition) {
        match &condition.test {
            Test::Is(_) if condition.on_event => self.events &= condition.events,
            Test::IsNot(_) if condition.on_event => self.events &= !condition.events | OTHER_EVENTS,
            Test::Is(_) | Test::Valued => self.one_of(&condition.exprs),
            Test::IsNot(_) | Test::Absent => {}
        }
    }

    /// A text is filled in from its start, until something is missing.
    fn require_pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let Piece::Read { expr, optional } = piece else { continue };
            if !optional {
                self.one_of(std::slice::from_ref(expr));
            }
            if is_path(expr) {
                return;
            }
        }
    }

    /// Asks for one of these, unless one of them may always give something.
    fn one_of(&mut self, exprs: &[Expr]) {
        match exprs.iter().map(term).collect::<Option<Clause>>().as_deref() {
            Some([only]) if self.first.slot == ALWAYS => self.first = *only,
            Some(terms) => self.rest.push(terms.into()),
            None => {}
        }
    }

    pub fn lets_through(&self, present: &MessagePresence, known: &CallPresence) -> bool {
        self.events & present.event != 0
            && self.first.holds(present, known)
            && self.rest.iter().all(|clause| clause.iter().any(|term| term.holds(present, known)))
    }
}

impl Term {
    fn holds(self, present: &MessagePresence, known: &CallPresence) -> bool {
        let there = match self.slot {
            segment if segment < PARTS => present.segments[usize::from(segment)],
            slot => known.slots[usize::from(slot % 4)],
        };
        there & self.bits != 0
    }
}

/// `None` for what may always give something.
fn term(expr: &Expr) -> Option<Term> {
    match expr {
        Expr::Path(path) => Some(Term { slot: slot(path.segment().as_bytes()), bits: bit(usize::from(path.field)) }),
        Expr::Relative(parts) => match parts.as_slice() {
            [] | [0, ..] => None,
            [part, within, ..] if *within > 1 => Some(Term { slot: DIVIDED, bits: bit(usize::from(*part)) }),
            [part, ..] => Some(Term { slot: PARTS, bits: bit(usize::from(*part)) }),
        },
        Expr::Variable(name) => Some(Term { slot: NAMES, bits: name_bit(name) }),
    }
}

fn is_path(expr: &Expr) -> bool {
    matches!(expr, Expr::Path(_))
}

/// Events that are not A01 to A63 have one bit together.
const OTHER_EVENTS: u64 = 1;

/// A bit for each of these events.
pub fn events(codes: &[Box<str>]) -> u64 {
    codes.iter().fold(0, |bits, code| bits | event_bit(code))
}

fn event_bit(event: &str) -> u64 {
    match event.as_bytes() {
        [b'A', tens @ b'0'..=b'6', ones @ b'0'..=b'9'] => match (tens - b'0') * 10 + (ones - b'0') {
            number @ 1..64 => 1 << number,
            _ => OTHER_EVENTS,
        },
        _ => OTHER_EVENTS,
    }
}

/// Bit 0 is the whole of a thing, the last one every part from there on.
pub fn bit(number: usize) -> u64 {
    1 << number.min(63)
}

fn slot(name: &[u8]) -> u8 {
    let mixed = name.iter().fold(0_usize, |mixed, byte| mixed.wrapping_mul(37).wrapping_add(usize::from(*byte)));
    u8::try_from(mixed % SEGMENTS).unwrap_or_default()
}

/// What Stoker knows of every message has a bit of its own; arguments share the others.
pub fn name_bit(name: &str) -> u64 {
    let own = GLOBALS.len() + 1;
    match GLOBALS.iter().position(|global| *global == name) {
        Some(global) => 1 << global,
        None if name == "table" => 1 << GLOBALS.len(),
        None => 1 << (own + name.bytes().fold(name.len(), |sum, byte| sum * 7 + usize::from(byte)) % (64 - own)),
    }
}

impl MessagePresence {
    pub fn of(message: &Message<'_>, globals: &Globals<'_>) -> Self {
        let mut present = Self { event: event_bit(globals.event), globals: 0, segments: [0; SEGMENTS] };
        for segment in 0..message.len() {
            let at = usize::from(slot(message.name(segment).as_bytes()));
            present.segments[at] |= 1 | message.sent(segment);
        }
        present.learn(globals);
        present
    }

    /// Whether the message's event is one of these, where their bits alone can tell.
    pub fn is_one_of(&self, events: u64) -> Option<bool> {
        (self.event != OTHER_EVENTS).then_some(self.event & events != 0)
    }

    /// Takes in what has become known of the message as a whole.
    pub fn learn(&mut self, globals: &Globals<'_>) {
        for (n, name) in GLOBALS.iter().enumerate() {
            // Which patient it is depends on the group.
            let there = *name == "patient" || globals.has(name);
            self.globals |= u64::from(there) << n;
        }
    }

    /// What there is to read outside of templates.
    pub fn nothing_called(&self) -> CallPresence {
        CallPresence::new(0, 0, self.globals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::compile::syntax;
    use crate::mapping::plan::variables::VariableValue;
    use crate::mapping::run::reader::SourceValue;

    fn guard(source: &str, when: &str) -> Prefilter {
        let mut guard = Prefilter::default();
        guard.one_of(&[syntax::expr(source).unwrap()]);
        for condition in syntax::conditions(when).unwrap() {
            guard.require(&condition);
        }
        guard
    }

    fn lets_through(guard: &Prefilter, event: &str, text: &str) -> bool {
        let message = Message::parse(text).unwrap();
        let present = MessagePresence::of(&message, &Globals { event, ..Globals::default() });
        guard.lets_through(&present, &present.nothing_called())
    }

    const HEAD: &str = "MSH|^~\\&|A|F\rPID|1||7||Doe\rPV1||I";

    #[test]
    fn a_rule_for_another_event_is_passed_by() {
        let only = guard("PID-5", "$event = A01,A08");
        assert!(lets_through(&only, "A01", HEAD) && lets_through(&only, "A08", HEAD));
        assert!(!lets_through(&only, "A02", HEAD) && !lets_through(&only, "Z99", HEAD));
        let never = guard("PID-5", "$event != A01");
        assert!(!lets_through(&never, "A01", HEAD) && lets_through(&never, "Z99", HEAD));
    }

    #[test]
    fn a_rule_whose_field_was_not_sent_is_passed_by() {
        assert!(lets_through(&guard("PID-3", "PV1-2 = I"), "A01", HEAD));
        assert!(!lets_through(&guard("PID-4", "PV1-2 = I"), "A01", HEAD));
        assert!(!lets_through(&guard("PID-3", "PV1-3 valued"), "A01", HEAD));
        assert!(lets_through(&guard("PID-3", "PV1-3 absent"), "A01", HEAD));
        assert!(!lets_through(&guard("NK1", "PV1-2 valued"), "A01", HEAD));
    }

    #[test]
    fn fields_past_the_last_bit_are_let_through_together() {
        let text = format!("{HEAD}\rZZZ{}x", "|".repeat(70));
        assert!(lets_through(&guard("ZZZ-90", "PID-3 valued"), "A01", &text));
        assert!(!lets_through(&guard("ZZZ-62", "PID-3 valued"), "A01", &text));
    }

    #[test]
    fn a_parts_part_needs_a_part_that_is_divided() {
        let text = "MSH|^~\\&|A|F\rPID|1||7^^^H&1.2&ISO^MR";
        let message = Message::parse(text).unwrap();
        let present = MessagePresence::of(&message, &Globals::default());
        let cx = SourceValue::Part(message.repetition(1, 3, 0).unwrap());
        let known = present.called(&message, &cx, &[("use", VariableValue::Fixed("old"))], false, None);
        let read = |expr: &str| term(&syntax::expr(expr).unwrap()).unwrap().holds(&present, &known);
        assert!(read(".1") && read(".4.2") && read(".5") && read(".5.1") && read("$use"));
        assert!(!read(".2") && !read(".5.2") && !read("$table") && !read("$destination"));
    }
}
