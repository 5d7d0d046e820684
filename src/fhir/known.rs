//! The items of a list that may be long, found by what they hold.
//!
//! A list of a message's values is compared with each that comes: few are looked through, of many an index is kept beside
//! the list. Its hashes have a secret of this process, so that a sender cannot make up values that share one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use smallvec::SmallVec;

use super::Node;
use crate::work;

/// So many items are looked through.
pub const FEW: usize = 16;

/// Where things of one hash stand, in their order.
pub type Places = SmallVec<[usize; 1]>;

/// An index of one list, which only grows.
#[derive(Debug, Default)]
pub struct KnownItems {
    /// Made when the list is long.
    index: Option<Box<ItemIndex>>,
}

#[derive(Debug, Default)]
struct ItemIndex {
    /// As many of the list's items are in it.
    indexed: usize,
    by_hash: HashMap<u64, Places>,
    secret: RandomState,
}

/// When two items of a list are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// They hold the same.
    Content,
    /// They are codings of the same system and code.
    Coding,
}

impl Sameness {
    /// Of the items of a list by its name.
    pub fn of_list(name: &str) -> Self {
        if name == "coding" { Self::Coding } else { Self::Content }
    }

    pub fn holds(self, known: &Node<'_>, new: &Node<'_>) -> bool {
        work::steps(1);
        match (self, known, new) {
            (Self::Coding, Node::Object(known), Node::Object(new)) => {
                ["system", "code"].iter().all(|name| known.get(name) == new.get(name))
            }
            _ => known == new,
        }
    }

    /// The same for two of which it holds.
    fn hash(self, node: &Node<'_>, secret: &RandomState) -> u64 {
        match (self, node) {
            (Self::Coding, Node::Object(coding)) => secret.hash_one((coding.get("system"), coding.get("code"))),
            _ => secret.hash_one(node),
        }
    }
}

impl KnownItems {
    /// The first item of the list that is the same as `node`. Of one list always ask the same index.
    pub fn find(&mut self, list: &[Node<'_>], node: &Node<'_>, sameness: Sameness) -> Option<usize> {
        work::steps(1);
        if list.len() <= FEW {
            return list.iter().position(|known| sameness.holds(known, node));
        }
        let ItemIndex { indexed, by_hash, secret } = &mut **self.index.get_or_insert_default();
        for (at, known) in list.iter().enumerate().skip(*indexed) {
            by_hash.entry(sameness.hash(known, secret)).or_default().push(at);
        }
        *indexed = list.len();
        let alike = by_hash.get(&sameness.hash(node, secret))?;
        alike.iter().copied().find(|&at| sameness.holds(&list[at], node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{Arena, Object};

    fn coding<'a>(code: &'a str, display: &'a str, arena: &'a Arena) -> Node<'a> {
        let mut coding = Object::new(arena);
        coding.push("code", Node::Text(code));
        coding.push("display", Node::Text(display));
        Node::Object(coding)
    }

    #[test]
    fn the_first_that_is_the_same_is_found_among_few_and_among_many() {
        let arena = Arena::new();
        let codes: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        for count in [5, FEW, FEW + 1, 100] {
            let list: Vec<Node<'_>> = codes[..count].iter().map(|code| coding(code, "x", &arena)).collect();
            let (mut by_content, mut by_code) = (KnownItems::default(), KnownItems::default());
            for (at, code) in codes[..count].iter().enumerate() {
                let (same, other) = (coding(code, "x", &arena), coding(code, "y", &arena));
                assert_eq!(by_content.find(&list, &same, Sameness::Content), Some(at));
                assert_eq!(by_content.find(&list, &other, Sameness::Content), None);
                assert_eq!(by_code.find(&list, &other, Sameness::Coding), Some(at));
            }
            assert_eq!(by_code.find(&list, &coding("none", "x", &arena), Sameness::Coding), None);
        }
    }
}
