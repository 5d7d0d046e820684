//! JSON read back as slices of its text: members in their order, numbers with the digits they were written with.
//!
//! For comparing and showing Bundles that Stoker wrote, where the order of the members and each text as it was written count:
//! `serde_json::Value` keeps neither. `serde_json` finds the slices (its `RawValue`), one level after the other, so that a
//! Bundle costs four times one walk over its text: 40 us in place of 10, for those only that somebody looks at or that
//! changed. Beside [`Node`](super::Node), which is there to be built and written, it is there to be read.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

/// Deeper than any FHIR resource goes.
const DEEPEST: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree<'j> {
    /// A text with its quotes, a number, `true`, `false` or `null`: as written.
    Leaf(&'j str),
    Object(Vec<(&'j str, Tree<'j>)>),
    List(Vec<Tree<'j>>),
}

impl<'j> Tree<'j> {
    /// Reads JSON; `None` where it is not that, or a name in it has an escape, as none of FHIR's has.
    #[must_use]
    pub fn read(json: &'j str) -> Option<Self> {
        Self::of(serde_json::from_str(json).ok()?, 0)
    }

    fn of(raw: &'j RawValue, depth: usize) -> Option<Self> {
        if depth > DEEPEST {
            return None;
        }
        let json = raw.get();
        match json.as_bytes().first()? {
            b'{' => {
                let members = serde_json::Deserializer::from_str(json).deserialize_map(Members).ok()?;
                let members = members.into_iter().map(|(name, raw)| Some((name, Self::of(raw, depth + 1)?)));
                members.collect::<Option<_>>().map(Self::Object)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
                items.into_iter().map(|raw| Self::of(raw, depth + 1)).collect::<Option<_>>().map(Self::List)
            }
            _ => Some(Self::Leaf(json)),
        }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| *n == name).map(|(_, tree)| tree),
            _ => None,
        }
    }

    /// The items of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// What a leaf says: a text without quotes and escapes.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Leaf(raw) if raw.starts_with('"') => serde_json::from_str(raw).ok(),
            Self::Leaf(raw) => Some((*raw).to_owned()),
            _ => None,
        }
    }

    /// The text of a member.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<String> {
        self.get(name).and_then(Self::text)
    }

    /// Written again, compact.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// JSON for people: indented by two blanks a level, with the members in their order. What is not JSON comes out as it is.
#[must_use]
pub fn pretty(json: &str) -> String {
    let indented = Tree::read(json).and_then(|tree| serde_json::to_string_pretty(&tree).ok());
    indented.unwrap_or_else(|| json.to_owned())
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(raw) => serde_json::from_str::<&RawValue>(raw).map_err(S::Error::custom)?.serialize(serializer),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, tree)| (name, tree))),
            Self::List(items) => serializer.collect_seq(items),
        }
    }
}

/// The members of an object as they come.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(&'de str, &'de RawValue)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = given.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_to_the_digit() {
        let json = r#"{"a":[1.50,{"b":"x\\\"{,:é"}],"c":{},"d":[],"e":"","f":true}"#;
        let tree = Tree::read(json).unwrap();
        assert_eq!(tree.to_json(), json);
        assert_eq!(tree.get("a").unwrap().items()[0], Tree::Leaf("1.50"));
        assert_eq!(tree.get("a").unwrap().items()[1].text_of("b").unwrap(), "x\\\"{,:é");
    }

    #[test]
    fn what_is_no_json_is_none_and_no_panic() {
        for text in ["", "{", "[", "{\"a\"", "{\"a\":", "[1,", "\"", "\"\\", "{a:1}", "[1 ]x", "]", ",", "{\"a\":1,}"] {
            assert_eq!(Tree::read(text), None, "{text}");
        }
        assert_eq!(Tree::read(&"[".repeat(100_000)), None);
    }

    #[test]
    fn what_is_indented_reads_back_as_the_same_json() {
        let json = r#"{"a":[1,{"b":"x\\\"{,:"}],"c":{},"d":[],"e":""}"#;
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let text = pretty(json);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.starts_with("{\n  \"a\": [\n    1,\n    {\n      \"b\""), "{text}");
        assert!(text.contains("\"c\": {},\n  \"d\": []"), "{text}");
    }
}
