//! One rule, compiled: what it reads, under which conditions, what it makes of it and where that goes.

use std::fmt;

use smallvec::SmallVec;

use crate::mapping::source::place::RulePlace;
use crate::v2::path::Path;

pub type TableId = usize;

pub type TemplateId = usize;

#[derive(Debug)]
pub struct Rule {
    pub place: RulePlace,
    pub to: Target,
    pub source: RuleSource,
    pub convert: Convert,
    pub table: Option<TableRef>,
    pub when: Vec<Condition>,
    pub with: Vec<(Box<str>, Argument)>,
    pub contain: Option<Box<str>>,
}

/// Where the value goes.
#[derive(Debug)]
pub struct Target {
    pub steps: SmallVec<[TargetStep; 3]>,
    /// The member that says why there is no value: `_birthDate` beside a primitive, the element itself else.
    pub absence: Box<str>,
    /// Takes every repetition.
    pub append: bool,
    /// A URI: what is filled into it is percent-encoded.
    pub uri: bool,
}

#[derive(Debug)]
pub struct TargetStep {
    pub name: Box<str>,
    pub at: At,
    /// The name that all forms of a choice begin with: `value` of `valueQuantity`. One form is given, then the others
    /// have had their turn.
    pub choice: Option<Box<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum At {
    Single,
    Index(usize),
    Append,
    Extension(Box<str>),
}

#[derive(Debug, PartialEq)]
pub enum RuleSource {
    /// The first of these that has a value.
    From(SmallVec<[Expr; 1]>),
    Constant(Box<str>),
    Filled(Vec<Piece>),
    Reference(Referent),
}

#[derive(Debug, PartialEq)]
pub enum Referent {
    Type(Box<str>),
    /// A resource file's name.
    Name(Box<str>),
}

/// A piece of a `value` with braces.
#[derive(Debug, PartialEq)]
pub enum Piece {
    Fixed(Box<str>),
    Read { expr: Expr, optional: bool },
}

/// Something that can be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Path(Path),
    /// `.`, `.4.2`: from what the template was called with.
    Relative(SmallVec<[u16; 3]>),
    /// `$name`, with parts.
    Variable(Box<str>),
}

#[derive(Debug, PartialEq)]
pub struct Condition {
    /// `valued` and `=` ask for one of these, `absent` for all.
    pub exprs: Vec<Expr>,
    /// It asks for `$event` and nothing else, as very many do.
    pub on_event: bool,
    /// The events that its test names; see `prefilter::events`.
    pub events: u64,
    pub test: Test,
}

#[derive(Debug, PartialEq)]
pub enum Test {
    Valued,
    Absent,
    Is(Vec<Box<str>>),
    IsNot(Vec<Box<str>>),
}

#[derive(Debug, PartialEq)]
pub enum Argument {
    Constant(Box<str>),
    Filled(Vec<Piece>),
    /// `$x` passed on: an [`Expr::Variable`].
    Variable(Expr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRef {
    Table(TableId),
    /// The one the calling rule named.
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convert {
    Simple(super::primitive::Primitive),
    Template(TemplateId),
    Coding,
    System,
    TypeCode,
    V2System,
    VisitSystem,
    CodeSystem,
    Erase,
    /// The instance as it is: a reference.
    Reference,
}

/// As it was written, without the underscore of a primitive's extensions.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.steps.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "." })?;
            f.write_str(step.name.trim_start_matches('_'))?;
            match &step.at {
                At::Single => {}
                At::Index(n) => write!(f, "[{n}]")?,
                At::Append => f.write_str("[]")?,
                At::Extension(url) => write!(f, "({url})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Relative(parts) if parts.is_empty() => f.write_str("."),
            Self::Relative(parts) => parts.iter().try_for_each(|part| write!(f, ".{part}")),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, expr) in self.exprs.iter().enumerate() {
            write!(f, "{}{expr}", if n == 0 { "" } else { "," })?;
        }
        match &self.test {
            Test::Valued => f.write_str(" valued"),
            Test::Absent => f.write_str(" absent"),
            Test::Is(codes) => write!(f, " = {}", codes.join(",")),
            Test::IsNot(codes) => write!(f, " != {}", codes.join(",")),
        }
    }
}
