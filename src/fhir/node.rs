//! A JSON tree that borrows its names from the plan and its texts from the message.
//!
//! A Bundle is built once and written once, so a tree of borrowed pieces costs no copy of either. What it needs besides,
//! lists and texts that were put together, stands in an [`Arena`] and goes with it at once. Members keep the order in which
//! they were set.
//!
//! `serde_json::Value` would own every name and text and sort the members, and has no room for what building must know of an
//! object: whether anything in it came from the message, and its mark. The tree is never read from JSON: that is
//! [`Tree`](super::Tree).

use std::hash::{Hash, Hasher};

use bumpalo::collections::Vec;

use super::json_text::write_text;
use crate::work;

/// Where the tree of one message grows.
pub type Arena = bumpalo::Bump;

/// A text of several pieces.
#[must_use]
pub fn concat<'a>(pieces: &[&str], arena: &'a Arena) -> &'a str {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    let mut text = bumpalo::collections::String::with_capacity_in(length, arena);
    pieces.iter().for_each(|piece| text.push_str(piece));
    text.into_bump_str()
}

/// The items of a list.
pub type List<'a> = Vec<'a, Node<'a>>;

/// A FHIR JSON value (FHIR R4 json 2.6.2).
#[derive(Debug, Clone)]
pub enum Node<'a> {
    Text(&'a str),
    /// A number as its digits: FHIR decimals keep their precision (`1.50` stays `1.50`).
    Number(&'a str),
    Bool(bool),
    Object(Object<'a>),
    List(List<'a>),
}

/// An object, and what is known of where its content came from.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    members: Vec<'a, (&'a str, Node<'a>)>,
    /// Something in it came from the message; otherwise it holds only constants.
    pub data: bool,
    /// It stays although it holds only constants: a coding that a rule states outright.
    pub stated: bool,
    /// Nothing in it can be one of those that [`prune`](Self::prune) drops.
    pub pruned: bool,
    /// One of its names begins with an underscore: something is said about a primitive.
    about_primitives: bool,
    /// By which an explanation finds the object again, whatever was dropped or merged around it; 0 for none. It stands
    /// where the object would have padding.
    pub mark: u32,
}

/// What is in it and where that came from; the mark says nothing.
impl PartialEq for Object<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members && self.data == other.data && self.stated == other.stated
    }
}

/// As they are equal.
impl Hash for Object<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.data, self.stated, self.members.len()).hash(state);
        for (name, node) in &self.members {
            name.hash(state);
            node.hash(state);
        }
    }
}

/// Each element that is compared is a step of work.
impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) | (Self::Number(one), Self::Number(other)) => {
                work::text(if one.len() == other.len() { one.len() } else { 0 });
                one == other
            }
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => {
                work::steps(1);
                one == other
            }
            (Self::List(one), Self::List(other)) => {
                work::steps(1);
                one == other
            }
            _ => false,
        }
    }
}

/// As they are equal; a step of work for each element.
impl Hash for Node<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Text(text) | Self::Number(text) => {
                work::text(text.len());
                text.hash(state);
            }
            Self::Bool(value) => value.hash(state),
            Self::Object(object) => {
                work::steps(1);
                object.hash(state);
            }
            Self::List(list) => {
                work::steps(1);
                list.hash(state);
            }
        }
    }
}

impl<'a> Object<'a> {
    #[must_use]
    pub fn new(arena: &'a Arena) -> Self {
        Self { members: Vec::new_in(arena), data: false, stated: false, pruned: true, about_primitives: false, mark: 0 }
    }

    /// A resource's object with its type first.
    #[must_use]
    pub fn resource(resource_type: &'a str, arena: &'a Arena) -> Self {
        let mut object = Self { members: Vec::with_capacity_in(12, arena), ..Self::new(arena) };
        object.push("resourceType", Node::Text(resource_type));
        object
    }

    /// Where it grows.
    #[must_use]
    pub fn arena(&self) -> &'a Arena {
        self.members.bump()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.members.iter().find(|(n, _)| *n == name).map(|(_, node)| node)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        self.members.iter_mut().find(|(n, _)| *n == name).map(|(_, node)| node)
    }

    /// The text of a member, where it is one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.get(name) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the primitive of this name has a member beside it: extensions, or the reason why it has no value.
    #[must_use]
    pub fn has_beside(&self, name: &str) -> bool {
        self.about_primitives && self.members.iter().any(|(n, _)| n.strip_prefix('_') == Some(name))
    }

    /// Adds a member at the end. The caller knows that there is none of this name.
    #[inline]
    pub fn push(&mut self, name: &'a str, node: Node<'a>) {
        if self.members.capacity() == 0 {
            self.members.reserve_exact(4);
        }
        self.about_primitives |= name.as_bytes().first() == Some(&b'_');
        self.members.push((name, node));
    }

    /// Sets a member, in place of one of the same name.
    pub fn set(&mut self, name: &'a str, node: Node<'a>) {
        match self.members.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = node,
            None => self.push(name, node),
        }
    }

    /// Gives a resource its id, behind its type.
    pub fn identify(&mut self, id: &'a str) {
        let at = self.members.len().min(1);
        self.members.insert(at, ("id", Node::Text(id)));
    }

    pub fn remove(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self.members.iter().position(|(n, _)| *n == name)?;
        Some(self.members.remove(at).1)
    }

    /// A member that is an object, made where it is missing; `None` where something else stands there.
    pub fn object_mut(&mut self, name: &'a str) -> Option<&mut Object<'a>> {
        let at = self.position_or_push(name, |arena| Node::Object(Object::new(arena)));
        match &mut self.members[at].1 {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// A member that is a list, made where it is missing; `None` where something else stands there.
    pub fn list_mut(&mut self, name: &'a str) -> Option<&mut List<'a>> {
        // Most lists have one item.
        let at = self.position_or_push(name, |arena| Node::List(Vec::with_capacity_in(1, arena)));
        match &mut self.members[at].1 {
            Node::List(list) => Some(list),
            _ => None,
        }
    }

    fn position_or_push(&mut self, name: &'a str, make: impl FnOnce(&'a Arena) -> Node<'a>) -> usize {
        self.members.iter().position(|(n, _)| *n == name).unwrap_or_else(|| {
            self.push(name, make(self.arena()));
            self.members.len() - 1
        })
    }

    pub fn members(&self) -> impl Iterator<Item = (&'a str, &Node<'a>)> {
        self.members.iter().map(|(name, node)| (*name, node))
    }

    pub fn into_members(self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.members.into_iter()
    }

    pub fn members_mut(&mut self) -> impl Iterator<Item = (&'a str, &mut Node<'a>)> {
        self.members.iter_mut().map(|(name, node)| (*name, node))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Node<'a>> {
        self.members.iter_mut().map(|(_, node)| node)
    }

    /// Drops, all the way down, what received only constants.
    pub fn prune(&mut self) {
        if std::mem::replace(&mut self.pruned, true) {
            return;
        }
        if self.members.iter_mut().fold(false, |some, (_, node)| !node.prune() | some) {
            self.members.retain(|(_, node)| node.stays());
        }
    }

    fn write(&self, out: &mut String) {
        if self.members.is_empty() {
            out.push_str("{}");
            return;
        }
        for (i, (name, node)) in self.members.iter().enumerate() {
            out.push_str(if i == 0 { "{\"" } else { ",\"" });
            // A name comes from the plan's targets, which are letters and digits: nothing in it needs an escape.
            out.push_str(name);
            match node {
                Node::Text(text) => {
                    out.push_str("\":\"");
                    write_text(text, out);
                }
                other => {
                    out.push_str("\":");
                    other.write(out);
                }
            }
        }
        out.push('}');
    }
}

impl<'a> Node<'a> {
    /// A list of one item.
    #[must_use]
    pub fn list_of(item: Self, arena: &'a Arena) -> Self {
        Self::List(bumpalo::vec![in arena; item])
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
    pub fn as_list(&self) -> &[Node<'a>] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// Whether the node stays; what it holds has been pruned.
    fn prune(&mut self) -> bool {
        match self {
            Self::Object(object) => object.prune(),
            Self::List(list) => {
                if list.iter_mut().fold(false, |some, node| !node.prune() | some) {
                    list.retain(Node::stays);
                }
            }
            _ => return true,
        }
        self.stays()
    }

    /// Whether there is something in it besides constants; what it holds has been pruned.
    fn stays(&self) -> bool {
        match self {
            Self::Object(object) => !object.is_empty() && (object.data || object.stated),
            Self::List(list) => !list.is_empty(),
            _ => true,
        }
    }

    /// Appends the node as JSON (RFC 8259), without white space.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => {
                out.push('"');
                write_text(text, out);
            }
            Self::Number(digits) => out.push_str(digits),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Object(object) => object.write(out),
            Self::List(list) => {
                out.push('[');
                for (i, node) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    node.write(out);
                }
                out.push(']');
            }
        }
    }

    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(512);
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_json() {
        let arena = Arena::new();
        let mut object = Object::resource("Patient", &arena);
        object.push("text", Node::Text("a \"b\" \\ \n\r\t\u{1} é 漢"));
        object.push("n", Node::Number("1.50"));
        object.push("list", Node::List(bumpalo::vec![in &arena; Node::Bool(true), Node::Text("")]));
        let json = Node::Object(object).to_json();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["text"], "a \"b\" \\ \n\r\t\u{1} é 漢");
        assert_eq!(read["list"][0], true);
        assert!(json.contains("1.50"));
    }

    #[test]
    fn the_mark_costs_no_room() {
        assert_eq!(size_of::<Object<'_>>(), size_of::<Vec<'_, u8>>() + 8);
        assert_eq!(size_of::<Node<'_>>(), size_of::<Object<'_>>());
    }

    #[test]
    fn an_object_of_constants_is_dropped_and_one_with_data_keeps_them() {
        let arena = &Arena::new();
        let mut bare = Object::new(arena);
        bare.push("use", Node::Text("home"));
        bare.pruned = false;
        let mut filled = bare.clone();
        filled.data = true;
        let mut patient = Object::resource("Patient", arena);
        patient.push("telecom", Node::List(bumpalo::vec![in arena; Node::Object(bare.clone()), Node::Object(filled)]));
        patient.push("contact", Node::list_of(Node::Object(bare), arena));
        patient.pruned = false;
        patient.prune();
        assert_eq!(patient.get("telecom").unwrap().as_list().len(), 1);
        assert!(patient.get("contact").is_none());
    }
}
