//! The right side: the Bundle as indented JSON, a span for each value, a fold for each resource.

use std::collections::{BTreeMap, HashSet};

use super::{HtmlPage, escape};
use crate::fhir::Tree;

/// JSON being written as HTML.
struct HtmlJson<'p> {
    out: &'p mut String,
    pointer: String,
    depth: usize,
    assignments: &'p BTreeMap<&'p str, Vec<usize>>,
    erased: &'p HashSet<&'p str>,
}

impl HtmlPage<'_> {
    pub(super) fn bundle(&mut self) {
        let explanation = self.explanation;
        let Some(bundle) = Tree::read(&explanation.bundle) else {
            self.raw("<p class=\"none\">There is no Bundle.</p>\n");
            return;
        };
        let mut assignments: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, assignment) in explanation.assignments.iter().enumerate() {
            assignments.entry(&assignment.to.pointer).or_default().push(n);
        }
        let of_nulls = explanation.nulls.iter().flat_map(|null| &null.erased);
        let erased: HashSet<&str> =
            of_nulls.chain(&explanation.erased).map(|erased| erased.to.pointer.as_str()).collect();
        self.raw("<pre class=\"json\">");
        let out = &mut self.out;
        let mut json = HtmlJson { out, pointer: String::new(), depth: 0, assignments: &assignments, erased: &erased };
        json.value(&bundle);
        self.raw("</pre>\n");
    }
}

impl HtmlJson<'_> {
    fn value(&mut self, tree: &Tree<'_>) {
        match tree {
            Tree::Leaf(raw) => self.leaf(raw),
            Tree::List(items) => {
                let members = items.iter().enumerate().map(|(n, item)| (n.to_string(), None, item));
                self.members("[", members.collect(), "]");
            }
            Tree::Object(members) => {
                let members = members.iter().map(|(name, tree)| ((*name).to_owned(), Some(*name), tree));
                self.members("{", members.collect(), "}");
            }
        }
    }

    /// What stands between braces or brackets: the token of the pointer, the name to show, the value.
    fn members(&mut self, open: &str, members: Vec<(String, Option<&str>, &Tree<'_>)>, close: &str) {
        self.out.push_str(open);
        if members.is_empty() {
            self.out.push_str(close);
            return;
        }
        self.depth += 1;
        let length = self.pointer.len();
        let count = members.len();
        for (n, (token, name, tree)) in members.into_iter().enumerate() {
            self.pointer.push('/');
            self.pointer.push_str(&token);
            let comma = if n + 1 < count { "," } else { "" };
            match self.pointer.strip_prefix("/entry/").filter(|rest| !rest.contains('/')) {
                Some(number) => {
                    let number = number.to_owned();
                    self.entry(&number, tree, comma);
                }
                None => self.member(name, tree, comma),
            }
            self.pointer.truncate(length);
        }
        self.depth -= 1;
        self.line();
        self.out.push_str(close);
    }

    /// An entry folds.
    fn entry(&mut self, number: &str, tree: &Tree<'_>, comma: &str) {
        let kind = tree.get("resource").and_then(|resource| resource.text_of("resourceType"));
        self.out.push_str("<details class=\"entry\" open><summary>");
        escape(kind.as_deref().unwrap_or("entry"), self.out);
        self.out.push_str(&format!(" <small>entry[{number}]</small></summary>"));
        self.out.push_str(&"  ".repeat(self.depth));
        self.value(tree);
        self.out.push_str(comma);
        self.out.push_str("</details>");
    }

    fn member(&mut self, name: Option<&str>, tree: &Tree<'_>, comma: &str) {
        self.line();
        let erased = self.erased.contains(self.pointer.as_str());
        if erased {
            self.out.push_str("<span class=\"erased\">");
        }
        if let Some(name) = name {
            self.out.push_str("<span class=\"k\">&quot;");
            escape(name, self.out);
            self.out.push_str("&quot;</span>: ");
        }
        self.value(tree);
        if erased {
            self.out.push_str("</span>");
        }
        self.out.push_str(comma);
    }

    fn leaf(&mut self, raw: &str) {
        match self.assignments.get(self.pointer.as_str()) {
            Some(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
                let span = format!("<span class=\"j\" tabindex=\"-1\" data-a=\"{}\">", numbers.join(" "));
                self.out.push_str(&span);
            }
            None => self.out.push_str("<span class=\"own\">"),
        }
        escape(raw, self.out);
        self.out.push_str("</span>");
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.push_str(&"  ".repeat(self.depth));
    }
}
