//! The right side: the Bundle as indented JSON, a span for each value, a fold for each resource.

use super::{Page, escape};
use std::collections::BTreeMap;

/// JSON being written as HTML. It is our own and whole; what is not read as JSON is shown as it is.
struct Json<'j, 'p> {
    rest: &'j str,
    out: &'p mut String,
    pointer: String,
    depth: usize,
    assignments: &'p BTreeMap<&'p str, Vec<usize>>,
    erased: &'p [&'p str],
    types: &'p [String],
}

impl Page<'_> {
    pub(super) fn bundle(&mut self) {
        let explanation = self.explanation;
        if explanation.bundle.is_empty() {
            self.raw("<p class=\"none\">There is no Bundle.</p>\n");
            return;
        }
        let mut assignments: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, assignment) in explanation.assignments.iter().enumerate() {
            assignments.entry(&assignment.to.pointer).or_default().push(n);
        }
        let of_nulls = explanation.nulls.iter().flat_map(|null| &null.erased);
        let erased: Vec<&str> = of_nulls.chain(&explanation.erased).map(|erased| erased.to.pointer.as_str()).collect();
        let types: Vec<String> =
            explanation.resources.iter().flat_map(|(name, count)| std::iter::repeat_n(name.clone(), *count)).collect();
        self.raw("<pre class=\"json\">");
        let mut json = Json {
            rest: &explanation.bundle,
            out: &mut self.out,
            pointer: String::new(),
            depth: 0,
            assignments: &assignments,
            erased: &erased,
            types: &types,
        };
        json.value();
        self.raw("</pre>\n");
    }
}

impl<'j> Json<'j, '_> {
    fn value(&mut self) {
        match self.rest.as_bytes().first() {
            Some(b'{') => self.members('}'),
            Some(b'[') => self.members(']'),
            Some(_) => self.leaf(),
            None => {}
        }
    }

    /// What stands between braces or brackets.
    fn members(&mut self, close: char) {
        self.copy();
        if self.rest.starts_with(close) {
            self.copy();
            return;
        }
        self.depth += 1;
        let length = self.pointer.len();
        let mut n = 0;
        loop {
            let name = if close == '}' { self.name() } else { None };
            self.pointer.push('/');
            match name {
                Some(name) => self.pointer.push_str(name.trim_matches('"')),
                None => self.pointer.push_str(&n.to_string()),
            }
            self.member(name);
            self.pointer.truncate(length);
            n += 1;
            if !self.rest.starts_with(',') {
                break;
            }
            self.rest = &self.rest[1..];
        }
        self.depth -= 1;
        self.line();
        self.copy();
    }

    fn member(&mut self, name: Option<&str>) {
        let number = self.pointer.strip_prefix("/entry/").and_then(|n| n.parse::<usize>().ok());
        if let Some(number) = number {
            let kind = self.types.get(number).cloned().unwrap_or_default();
            self.out.push_str("<details class=\"entry\" open><summary>");
            escape(&kind, self.out);
            self.out.push_str(&format!(" <small>entry[{number}]</small></summary>"));
            self.out.push_str(&"  ".repeat(self.depth));
        } else {
            self.line();
        }
        let erased = self.erased.contains(&self.pointer.as_str());
        if erased {
            self.out.push_str("<span class=\"erased\">");
        }
        if let Some(name) = name {
            self.out.push_str("<span class=\"k\">");
            escape(name, self.out);
            self.out.push_str("</span>: ");
        }
        self.value();
        if erased {
            self.out.push_str("</span>");
        }
        if self.rest.starts_with(',') {
            self.out.push(',');
        }
        if number.is_some() {
            self.out.push_str("</details>");
        }
    }

    fn leaf(&mut self) {
        let end = self.end_of_leaf();
        let text = self.take(end);
        match self.assignments.get(self.pointer.as_str()) {
            Some(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
                self.out.push_str(&format!("<span class=\"j\" tabindex=\"-1\" data-a=\"{}\">", numbers.join(" ")));
            }
            None => self.out.push_str("<span class=\"own\">"),
        }
        escape(text, self.out);
        self.out.push_str("</span>");
    }

    /// A member's name with its quotes; the colon is passed.
    fn name(&mut self) -> Option<&'j str> {
        let end = self.end_of_leaf();
        let name = self.take(end);
        self.rest = self.rest.strip_prefix(':')?;
        Some(name)
    }

    fn end_of_leaf(&self) -> usize {
        let bytes = self.rest.as_bytes();
        if bytes.first() != Some(&b'"') {
            return bytes
                .iter()
                .position(|b| matches!(b, b',' | b'}' | b']' | b':'))
                .unwrap_or(bytes.len())
                .max(1)
                .min(bytes.len());
        }
        let mut escaped = false;
        for (n, &byte) in bytes.iter().enumerate().skip(1) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return n + 1,
                _ => {}
            }
        }
        bytes.len()
    }

    fn take(&mut self, length: usize) -> &'j str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A brace or a bracket.
    fn copy(&mut self) {
        let sign = self.take(1);
        self.out.push_str(sign);
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.push_str(&"  ".repeat(self.depth));
    }
}
