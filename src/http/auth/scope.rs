//! Scopes: `process-message`, `publish`, `admin`, and SMART's `system/Encounter.read` (v1) or `system/Encounter.rs` (v2).

use std::fmt;
use std::str::FromStr;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    ProcessMessage,
    Publish,
    /// Looking into the daemon's queue and changing it.
    Admin,
    /// Reading and searching one type, or all with `None`.
    Read(Option<String>),
}

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    ProcessMessage,
    Publish,
    Admin,
    Read(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scope '{0}': there are process-message, publish, admin, system/TYPE.read and system/*.read")]
pub struct BadScope(String);

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        match text {
            "process-message" => return Ok(Self::ProcessMessage),
            "publish" => return Ok(Self::Publish),
            "admin" => return Ok(Self::Admin),
            _ => {}
        }
        let rest = text.strip_prefix("system/").and_then(|rest| rest.rsplit_once('.'));
        let (kind, rights) = rest.ok_or_else(|| BadScope(text.to_owned()))?;
        // SMART v2 writes rights as letters in the order of cruds; reading here takes both r and s.
        let reads = rights == "read" || (rights.contains('r') && rights.contains('s') && rights.chars().all(is_right));
        match (kind, reads) {
            ("*", true) => Ok(Self::Read(None)),
            (kind, true) if kind.chars().all(|c| c.is_ascii_alphabetic()) && !kind.is_empty() => {
                Ok(Self::Read(Some(kind.to_owned())))
            }
            _ => Err(BadScope(text.to_owned())),
        }
    }
}

/// # Errors
/// [`BadScope`] names the first that is none.
pub fn parse(all: &[String]) -> Result<Vec<Scope>, BadScope> {
    all.iter().map(|scope| scope.parse()).collect()
}

fn is_right(letter: char) -> bool {
    "cruds".contains(letter)
}

impl Scope {
    #[must_use]
    pub fn allows(&self, need: &Need) -> bool {
        match (self, need) {
            (Self::ProcessMessage, Need::ProcessMessage)
            | (Self::Publish, Need::Publish)
            | (Self::Admin, Need::Admin) => true,
            (Self::Read(kind), Need::Read(wanted)) => kind.as_ref().is_none_or(|kind| kind == wanted),
            _ => false,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessMessage => f.write_str("process-message"),
            Self::Publish => f.write_str("publish"),
            Self::Admin => f.write_str("admin"),
            Self::Read(kind) => write!(f, "system/{kind}.read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(scope: &str, kind: &str) -> bool {
        scope.parse::<Scope>().unwrap().allows(&Need::Read(kind.into()))
    }

    #[test]
    fn scopes_allow_what_they_name() {
        assert!(allows("system/Encounter.read", "Encounter") && !allows("system/Encounter.read", "Patient"));
        assert!(
            allows("system/*.read", "Patient")
                && allows("system/Patient.rs", "Patient")
                && allows("system/*.cruds", "X")
        );
        assert!(!allows("process-message", "Patient"));
        assert!("publish".parse::<Scope>().unwrap().allows(&Need::Publish));
        assert!(!"publish".parse::<Scope>().unwrap().allows(&Need::ProcessMessage));
        assert!("admin".parse::<Scope>().unwrap().allows(&Need::Admin));
        assert!(!"system/*.cruds".parse::<Scope>().unwrap().allows(&Need::Admin));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for bad in [
            "",
            "read",
            "user/Patient.read",
            "system/Patient.write",
            "system/Patient.r",
            "system/.read",
            "system/Patient.xyz",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }
}
