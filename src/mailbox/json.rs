//! The JSON that messages and stored resources are made of, as a tree that borrows from its text.
//!
//! Names and texts without escapes are slices of what was parsed, members stand in one list sorted by name, and numbers
//! stay the text that was sent (`1.50` is not `1.5`). A message is taken apart once and most of it is only looked at, so
//! this costs a third of a tree that owns every name. A property that stands twice means one thing to the mailbox and
//! another to whoever retrieves the message: it is refused, like what nests deeper than allowed.
//!
//! [`crate::fhir`] says why this is neither of its two trees.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Index;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::steps;

#[derive(Debug, Clone)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    /// As it was written.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// The members of an object, sorted by name, each name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
}

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonFault {
    TooDeep,
    TooMany,
    Twice,
    NotJson { line: usize, column: usize },
}

/// How much of a text is taken: how deep it may nest, and how many values (objects, lists, texts, numbers) it may hold. A
/// value takes up to a hundred bytes of memory, though its text has but two.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub depth: usize,
    pub values: usize,
}

impl Limits {
    /// For texts that the mailbox wrote itself, of what was within the limits once.
    pub const NONE: Self = Self { depth: usize::MAX, values: usize::MAX };
}

/// Takes a text apart that is within `limits`.
///
/// # Errors
/// [`JsonFault`] when it is not JSON, nests deeper, holds more, or has a property twice in one object.
pub fn parse(text: &str, limits: Limits) -> Result<Node<'_>, JsonFault> {
    let (refused, left) = (Cell::new(None), Cell::new(limits.values));
    let mut reader = serde_json::Deserializer::from_str(text);
    let node = Builder { depth: limits.depth, left: &left, refused: &refused }.deserialize(&mut reader);
    node.and_then(|node| reader.end().map(|()| node))
        .map_err(|error| refused.get().unwrap_or(JsonFault::NotJson { line: error.line(), column: error.column() }))
}

/// An object that the mailbox wrote itself; `None` when its text is damaged.
#[must_use]
pub fn object(text: &str) -> Option<Object<'_>> {
    match parse(text, Limits::NONE) {
        Ok(Node::Object(object)) => Some(object),
        _ => None,
    }
}

/// Under this name serde_json hands over a number that is no whole one, as it was written.
const NUMBER: &str = "$serde_json::private::Number";

#[derive(Clone, Copy)]
struct Builder<'c> {
    /// How much deeper it may go.
    depth: usize,
    /// How many values more there may be.
    left: &'c Cell<usize>,
    refused: &'c Cell<Option<JsonFault>>,
}

impl Builder<'_> {
    fn refuse<E: serde::de::Error>(self, fault: JsonFault) -> E {
        self.refused.set(Some(fault));
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(JsonFault::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        steps::take(1);
        let Some(left) = self.left.get().checked_sub(1) else { return Err(self.refuse(JsonFault::TooMany)) };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
    type Value = Node<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Cow::Owned(number.to_string())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(Cow::Owned(number.to_string())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Node::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Node<'de>, A::Error> {
        let Some(first) = given.next_key_seed(Name)? else {
            self.deeper::<A::Error>()?;
            return Ok(Node::Object(Object::default()));
        };
        if first == NUMBER {
            let number: serde_json::Number = given.next_value::<String>()?.parse().map_err(A::Error::custom)?;
            return Ok(Node::Number(Cow::Owned(number.to_string())));
        }
        let inner = self.deeper()?;
        let mut members = Vec::with_capacity(4);
        members.push((first, given.next_value_seed(inner)?));
        while let Some(name) = given.next_key_seed(Name)? {
            members.push((name, given.next_value_seed(inner)?));
        }
        members.sort_unstable_by(|one, other| {
            steps::take(1);
            one.0.cmp(&other.0)
        });
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(self.refuse(JsonFault::Twice));
        }
        Ok(Node::Object(Object { members }))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'a> Node<'a> {
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn as_object_mut(&mut self) -> Option<&mut Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A member of an object; `None` for anything else too.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// Sets a member of an object; anything else stays as it is.
    pub fn set(&mut self, name: &'static str, value: impl Into<Self>) {
        if let Self::Object(object) = self {
            object.insert(name, value.into());
        }
    }

    /// `{"reference": "..."}`.
    #[must_use]
    pub fn reference(to: String) -> Self {
        Self::Object([("reference", Self::from(to))].into_iter().collect())
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        steps::take(1);
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Number(one), Self::Number(other)) | (Self::String(one), Self::String(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one == other,
            _ => false,
        }
    }
}

static NULL: Node<'static> = Node::Null;

impl<'a> Index<&str> for Node<'a> {
    type Output = Node<'a>;

    /// Null where there is no such member.
    fn index(&self, name: &str) -> &Node<'a> {
        self.get(name).unwrap_or(&NULL)
    }
}

impl<'a> Index<usize> for Node<'a> {
    type Output = Node<'a>;

    /// Null where there is no such item.
    fn index(&self, at: usize) -> &Node<'a> {
        self.as_array().and_then(|items| items.get(at)).unwrap_or(&NULL)
    }
}

impl PartialEq<str> for Node<'_> {
    fn eq(&self, text: &str) -> bool {
        self.as_str() == Some(text)
    }
}

impl PartialEq<&str> for Node<'_> {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == Some(text)
    }
}

impl<'a> From<&'a str> for Node<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Cow::Borrowed(text))
    }
}

impl From<String> for Node<'_> {
    fn from(text: String) -> Self {
        Self::String(Cow::Owned(text))
    }
}

impl<'a> From<&'a serde_json::Value> for Node<'a> {
    fn from(value: &'a serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => Self::Number(Cow::Owned(number.to_string())),
            Value::String(text) => Self::from(text.as_str()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(map) => Self::Object(map.iter().map(|(name, value)| (name.as_str(), value.into())).collect()),
        }
    }
}

impl<'a> Object<'a> {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|(known, _)| {
            steps::take(1);
            (**known).cmp(name)
        })
    }

    /// Few objects have many members, and most names differ in length: to pass by those costs less than to halve.
    fn position(&self, name: &str) -> Option<usize> {
        const FEW: usize = 32;
        if self.members.len() > FEW {
            return self.find(name).ok();
        }
        steps::each(self.members.iter()).position(|(known, _)| known.len() == name.len() && **known == *name)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.position(name).map(|at| &self.members[at].1)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        self.position(name).map(|at| &mut self.members[at].1)
    }

    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: Node<'a>) {
        let name = name.into();
        match self.find(&name) {
            Ok(at) => self.members[at].1 = value,
            Err(at) => {
                steps::take((self.members.len() - at) / 16);
                self.members.insert(at, (name, value));
            }
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self.position(name)?;
        // The members behind it move.
        steps::take((self.members.len() - at) / 16);
        Some(self.members.remove(at).1)
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Node<'a>) -> bool) {
        steps::take(self.members.len());
        self.members.retain_mut(|(name, value)| keep(name, value));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        steps::each(self.members.iter()).map(|(name, value)| (&**name, value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        steps::each(self.members.iter()).map(|(name, _)| &**name)
    }

    pub fn values(&self) -> impl Iterator<Item = &Node<'a>> {
        steps::each(self.members.iter()).map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Node<'a>> {
        steps::each(self.members.iter_mut()).map(|(_, value)| value)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node<'a>)> {
        steps::each(self.members.iter_mut()).map(|(name, value)| (&**name, value))
    }
}

impl<'a> IntoIterator for Object<'a> {
    type Item = (Cow<'a, str>, Node<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

impl<'a, N: Into<Cow<'a, str>>> FromIterator<(N, Node<'a>)> for Object<'a> {
    /// A name that comes twice has the last of its values.
    fn from_iter<I: IntoIterator<Item = (N, Node<'a>)>>(members: I) -> Self {
        let mut object = Self::default();
        members.into_iter().for_each(|(name, value)| object.insert(name, value));
        object
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::String),
            "[\"\\\\\n\u{1}a-z]{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map("[a-c\"é]{0,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(parse(&text, Limits { depth: 99, values: usize::MAX }).unwrap(), Node::from(&value));
        }
    }

    #[test]
    fn a_number_under_serde_json_s_own_name_is_no_way_to_smuggle_text() {
        let text = format!("{{\"{NUMBER}\": \"1,\\\"a\\\":2\"}}");
        assert!(matches!(parse(&text, Limits { depth: 9, values: 99 }), Err(JsonFault::NotJson { .. })));
    }

    #[test]
    fn members_are_found_set_and_removed() {
        let value = json!({"b": [1, {"c": "x"}], "a": null});
        let mut node = Node::from(&value);
        assert_eq!(node["b"][1]["c"], "x");
        assert!(node["b"][7]["c"].is_null() && node["z"].is_null());
        node.set("aa", "new");
        let object = node.as_object_mut().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["a", "aa", "b"]);
        assert!(object.remove("a").is_some() && object.remove("a").is_none());
        assert_eq!(object.len(), 2);
    }
}
