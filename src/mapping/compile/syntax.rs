//! The small languages inside a rule's texts: `to`, `from`, `value` with braces, `when`.

use smallvec::SmallVec;

use crate::mapping::plan::prefilter;
use crate::mapping::plan::rule::{At, Condition, Expr, Piece, Test};
use crate::v2::path::Path;

/// A step of a `to` before it is checked against R4.
#[derive(Debug, PartialEq, Eq)]
pub struct RawStep {
    pub name: String,
    pub at: At,
}

/// `type[0].coding[]`, `extension(http://x/y).valueCode`.
pub fn target(text: &str) -> Result<Vec<RawStep>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['.', '[', '(']).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("'{text}' is not a path of element names, as period.start or name[].family"));
        }
        let (at, behind) = bracket(&rest[end..]).ok_or_else(|| format!("the brackets of '{text}' do not close"))??;
        steps.push(RawStep { name: name.to_owned(), at });
        rest = match behind.strip_prefix('.') {
            Some(more) if !more.is_empty() => more,
            None if behind.is_empty() => behind,
            _ => return Err(format!("'{text}' is not a path of element names, as period.start or name[].family")),
        };
    }
    if steps.is_empty() {
        return Err("a rule needs a target: to = \"birthDate\"".into());
    }
    Ok(steps)
}

/// What follows a name: nothing, `[]`, `[n]` or `(url)`; and the rest.
fn bracket(text: &str) -> Option<Result<(At, &str), String>> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, rest) = rest.split_once(']')?;
        return Some(match inside {
            "" => Ok((At::Append, rest)),
            n => match n.parse() {
                Ok(n) => Ok((At::Index(n), rest)),
                Err(_) => Err(format!("[{n}] is not the number of an item")),
            },
        });
    }
    if let Some(rest) = text.strip_prefix('(') {
        let (url, rest) = rest.split_once(')')?;
        return Some(Ok((At::Extension(url.into()), rest)));
    }
    Some(Ok((At::Single, text)))
}

/// `PID-3.1`, `.4.2`, `$name`.
pub fn expr(text: &str) -> Result<Expr, String> {
    if let Some(name) = text.strip_prefix('$') {
        return Ok(Expr::Variable(name.into()));
    }
    if let Some(relative) = text.strip_prefix('.') {
        if relative.is_empty() {
            return Ok(Expr::Relative(SmallVec::new()));
        }
        let parts: Result<SmallVec<[u16; 3]>, _> = relative.split('.').map(str::parse).collect();
        return parts.map(Expr::Relative).map_err(|_| format!("'{text}' is not a part, as .4 or .4.2"));
    }
    text.parse::<Path>().map(Expr::Path).map_err(|why| format!("'{text}': {why}"))
}

/// A `value`: pieces, where it has braces; `None` where it is a constant.
pub fn pieces(text: &str) -> Result<Option<Vec<Piece>>, String> {
    if !text.contains('{') {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((fixed, behind)) = rest.split_once('{') {
        if !fixed.is_empty() {
            pieces.push(Piece::Fixed(fixed.into()));
        }
        let (inside, behind) = behind.split_once('}').ok_or_else(|| format!("the brace of '{text}' does not close"))?;
        let (path, optional) = inside.strip_suffix('?').map_or((inside, false), |path| (path, true));
        pieces.push(Piece::Read { expr: expr(path)?, optional });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Fixed(rest.into()));
    }
    Ok(Some(pieces))
}

/// `PID-29 absent and PV1-2 = I,O`.
pub fn conditions(text: &str) -> Result<Vec<Condition>, String> {
    text.split(" and ").map(condition).collect()
}

fn condition(text: &str) -> Result<Condition, String> {
    let form = || format!("'{text}' is not a condition: PATH valued, PATH absent, PATH = A,B or PATH != A,B");
    let text = text.trim();
    let (path, test) = text.split_once(' ').ok_or_else(form)?;
    let codes = |list: &str| list.split(',').map(|code| code.trim().into()).collect::<Vec<Box<str>>>();
    let test = match test.trim() {
        "valued" => Test::Valued,
        "absent" => Test::Absent,
        other => match (other.strip_prefix("!="), other.strip_prefix('=')) {
            (Some(list), _) => Test::IsNot(codes(list)),
            (None, Some(list)) => Test::Is(codes(list)),
            (None, None) => return Err(form()),
        },
    };
    let exprs: Result<Vec<_>, _> = path.split(',').map(|path| expr(path.trim())).collect();
    let exprs = exprs?;
    let on_event = matches!(exprs.as_slice(), [Expr::Variable(name)] if &**name == "event");
    let events = match &test {
        Test::Is(codes) | Test::IsNot(codes) => prefilter::events(codes),
        Test::Valued | Test::Absent => 0,
    };
    Ok(Condition { exprs, on_event, events, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_with_their_brackets() {
        let steps = target("type[0].coding[]").unwrap();
        assert_eq!((steps[0].name.as_str(), &steps[0].at), ("type", &At::Index(0)));
        assert_eq!(steps[1].at, At::Append);
        let steps = target("extension(http://a.b/c).valueCode").unwrap();
        assert_eq!(steps[0].at, At::Extension("http://a.b/c".into()));
        assert_eq!(steps[1].name, "valueCode");
        for wrong in ["", "a..b", "a[", "a[x]", ".a", "a.", "a b"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions_are_read_in_all_four_forms() {
        let conditions = conditions("PID-29 absent and $event = A01,A04 and .3 != 9 and PV1 valued").unwrap();
        assert_eq!(conditions[0].test, Test::Absent);
        assert_eq!(conditions[1].test, Test::Is(vec!["A01".into(), "A04".into()]));
        assert_eq!(conditions[2].test, Test::IsNot(vec!["9".into()]));
        assert_eq!(conditions[3].test, Test::Valued);
        assert!(super::conditions("PID-29 is empty").is_err());
    }

    #[test]
    fn braces_read_paths_and_a_question_mark_makes_one_optional() {
        let read = pieces("urn:{MSH-4}:{.2?}").unwrap().unwrap();
        assert_eq!(read.len(), 4);
        assert!(matches!(read[3], Piece::Read { optional: true, .. }));
        assert!(pieces("plain").unwrap().is_none());
        assert!(pieces("{MSH-4").is_err());
    }
}
