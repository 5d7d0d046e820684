//! JSON read back as slices of its text: members in their order, numbers with the digits they were written with.
//!
//! For comparing and showing Bundles that Stoker wrote. It takes compact JSON as it stands and checks no more than it
//! needs; what somebody else sent is read by `serde_json`.

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
    /// Reads compact JSON; `None` where it is not that.
    #[must_use]
    pub fn read(json: &'j str) -> Option<Self> {
        let mut reader = TreeParser { rest: json };
        let tree = reader.value(0)?;
        reader.rest.is_empty().then_some(tree)
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
        match self {
            Self::Leaf(raw) => (*raw).to_owned(),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::to_json).collect::<Vec<_>>().join(","))
            }
            Self::Object(members) => {
                let members = members.iter().map(|(name, tree)| format!("\"{name}\":{}", tree.to_json()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }
}

struct TreeParser<'j> {
    rest: &'j str,
}

impl<'j> TreeParser<'j> {
    fn value(&mut self, depth: usize) -> Option<Tree<'j>> {
        if depth > DEEPEST {
            return None;
        }
        match self.rest.as_bytes().first()? {
            b'{' => self.members(depth),
            b'[' => self.items(depth),
            _ => Some(Tree::Leaf(self.leaf()?)),
        }
    }

    fn members(&mut self, depth: usize) -> Option<Tree<'j>> {
        self.rest = &self.rest[1..];
        let mut members = Vec::new();
        while !self.passes('}') {
            if !members.is_empty() && !self.passes(',') {
                return None;
            }
            let name = self.leaf()?.strip_prefix('"')?.strip_suffix('"')?;
            if !self.passes(':') {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
        }
        Some(Tree::Object(members))
    }

    fn items(&mut self, depth: usize) -> Option<Tree<'j>> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.passes(']') {
            if !items.is_empty() && !self.passes(',') {
                return None;
            }
            items.push(self.value(depth + 1)?);
        }
        Some(Tree::List(items))
    }

    fn passes(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn leaf(&mut self) -> Option<&'j str> {
        let bytes = self.rest.as_bytes();
        let end = match bytes.first()? {
            b'"' => {
                let mut at = 1;
                loop {
                    at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
                    if bytes[at] == b'"' {
                        break at + 1;
                    }
                    at += 2;
                }
            }
            _ => bytes.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b':')).unwrap_or(bytes.len()),
        };
        if end == 0 {
            return None;
        }
        let leaf = self.rest.get(..end)?;
        self.rest = &self.rest[end..];
        Some(leaf)
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
}
