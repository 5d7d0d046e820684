//! The finished Bundle with its marks: where in it a value that was put somewhere stands in the end, if it does.

use std::cell::RefCell;
use std::collections::HashMap;

use rustc_hash::FxHashMap;

use super::records::Put;
use super::report::Element;
use super::trace::Trace;
use crate::fhir::{Node, Object};
use crate::work;

/// The marked objects of the finished Bundle, by their mark.
pub struct Marked<'b, 'a> {
    bundle: &'b Node<'a>,
    objects: FxHashMap<u32, (&'b Object<'a>, String)>,
    /// For each long list of values that was asked for, where in it each value stands first.
    positions: RefCell<FxHashMap<*const Node<'a>, HashMap<String, usize>>>,
}

/// A list of values longer than this is indexed when it is first asked for.
const SHORT: usize = 16;

impl<'b, 'a> Marked<'b, 'a> {
    pub fn find(bundle: &'b Node<'a>) -> Self {
        let mut marked = Self { bundle, objects: FxHashMap::default(), positions: RefCell::default() };
        marked.walk(bundle, &mut String::new());
        marked
    }

    fn walk(&mut self, node: &'b Node<'a>, pointer: &mut String) {
        work::steps(1);
        let length = pointer.len();
        let mut step = |this: &mut Self, name: &str, node| {
            pointer.push('/');
            pointer.push_str(name);
            this.walk(node, pointer);
            pointer.truncate(length);
        };
        match node {
            Node::Object(object) => {
                for (name, node) in object.members() {
                    step(self, name, node);
                }
                if object.mark != 0 {
                    self.objects.insert(object.mark, (object, pointer.clone()));
                }
            }
            Node::List(list) => list.iter().enumerate().for_each(|(n, node)| step(self, &n.to_string(), node)),
            _ => {}
        }
    }

    /// The object of a mark, or the one it was merged into.
    pub fn object(&self, trace: &Trace, mark: u32) -> Option<&(&'b Object<'a>, String)> {
        let mut at = mark;
        for _ in 0..=trace.merged.len() {
            work::steps(1);
            if let Some(found) = self.objects.get(&at) {
                return Some(found);
            }
            at = *trace.merged.get(&at)?;
        }
        None
    }

    /// Where a value stands, if it does.
    pub fn locate(&self, trace: &Trace, put: &Put) -> Option<String> {
        work::steps(1);
        let (object, pointer) = self.object(trace, put.spot.mark)?;
        let name = &*put.spot.name;
        match object.get(name)? {
            Node::List(list) => {
                let at = self.position(list, &put.value)?;
                Some(format!("{pointer}/{name}/{at}"))
            }
            node => (node.to_json() == put.value).then(|| format!("{pointer}/{name}")),
        }
    }

    fn position(&self, list: &[Node<'a>], value: &str) -> Option<usize> {
        if list.len() <= SHORT {
            return list.iter().inspect(|_| work::text(value.len())).position(|item| item.to_json() == value);
        }
        let mut positions = self.positions.borrow_mut();
        let of_list = positions.entry(list.as_ptr()).or_insert_with(|| {
            work::steps(list.len());
            let values = list.iter().enumerate().rev();
            values.map(|(at, item)| (item.to_json(), at)).collect()
        });
        of_list.get(value).copied()
    }

    pub fn at(&self, pointer: &str) -> Option<&'b Node<'a>> {
        let mut node = self.bundle;
        for token in pointer.split('/').skip(1) {
            node = match node {
                Node::Object(object) => object.get(token)?,
                Node::List(list) => list.get(token.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(node)
    }

    pub fn element(&self, pointer: String) -> Element {
        work::text(pointer.len());
        let mut tokens = pointer.split('/').skip(1).peekable();
        let mut entry = None;
        if tokens.next_if_eq(&"entry").is_some() {
            entry = tokens.next().and_then(|n| n.parse().ok());
            tokens.next_if_eq(&"resource");
        }
        let mut path = String::new();
        for token in tokens {
            if token.bytes().all(|b| b.is_ascii_digit()) {
                path.push_str(&format!("[{token}]"));
            } else {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(token);
            }
        }
        let type_at = |pointer: &str| {
            let resource = self.at(pointer).and_then(Node::as_object);
            resource.and_then(|resource| resource.text("resourceType")).map(str::to_owned)
        };
        let resource =
            entry.map_or_else(|| "Bundle".into(), |n| type_at(&format!("/entry/{n}/resource")).unwrap_or_default());
        let contained = path.strip_prefix("contained[").and_then(|rest| rest.split_once(']')).and_then(|(k, _)| {
            let n = entry?;
            type_at(&format!("/entry/{n}/resource/contained/{k}"))
        });
        let value = match self.at(&pointer) {
            Some(Node::Text(text)) => (*text).to_owned(),
            Some(node) => node.to_json(),
            None => String::new(),
        };
        work::text(value.len());
        Element { entry, resource, contained, path, pointer, value }
    }
}
