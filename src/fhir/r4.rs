//! Which elements FHIR R4 has: what `to` may name, of which type it is, and whether it is a list.
//!
//! The table `r4.txt` is generated from HL7's published definitions (4.0.1); this reads it once.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

/// One element.
#[derive(Debug, Clone, Copy)]
pub struct Element {
    pub path: &'static str,
    pub required: bool,
    pub list: bool,
    /// A datatype, `BackboneElement`, or a resource type.
    pub kind: &'static str,
    /// One of the forms of a choice (`deceasedBoolean`): the choice as a whole is what may be required.
    pub choice: bool,
    /// The codes of a required binding that is small enough to be listed, joined by `|`.
    pub codes: Option<&'static str>,
    /// What a Reference may point at, joined by `|`.
    pub targets: Option<&'static str>,
}

impl Element {
    /// The element's own name, the end of its path.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// The codes that a required binding allows, where they are known.
    pub fn allowed(&self) -> Option<impl Iterator<Item = &'static str>> {
        self.codes.map(|codes| codes.split('|'))
    }

    #[must_use]
    pub fn primitive(&self) -> bool {
        is_primitive(self.kind)
    }
}

/// Whether a FHIR type is a primitive: those begin with a small letter.
#[must_use]
pub fn is_primitive(kind: &str) -> bool {
    kind.starts_with(|c: char| c.is_ascii_lowercase())
}

static TABLE: &str = include_str!("r4.txt");

/// What has elements of its own: a resource type, a datatype, or a backbone element by its path.
#[derive(Debug)]
pub struct Type {
    pub name: &'static str,
    /// A required choice is given by each of its forms.
    pub required: Vec<Element>,
    elements: FxHashMap<&'static str, Element>,
}

impl Type {
    #[must_use]
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.elements.get(name).or_else(|| EVERYWHERE.iter().find(|element| element.path == name))
    }
}

type Members = FxHashMap<&'static str, Type>;

fn members() -> &'static Members {
    static MEMBERS: OnceLock<Members> = OnceLock::new();
    MEMBERS.get_or_init(|| {
        let mut members = Members::default();
        for element in TABLE.lines().filter_map(read) {
            if let Some((parent, name)) = element.path.rsplit_once('.') {
                let new = || Type { name: parent, required: Vec::new(), elements: FxHashMap::default() };
                let of = members.entry(parent).or_insert_with(new);
                of.required.extend(element.required.then_some(element));
                of.elements.insert(name, element);
            }
        }
        members
    })
}

fn read(line: &'static str) -> Option<Element> {
    let mut words = line.split_whitespace();
    let path = words.next().filter(|path| !path.starts_with('#'))?;
    let (min, max) = words.next()?.split_once("..")?;
    let kind = words.next()?;
    let mut element =
        Element { path, required: min != "0", list: max == "*", kind, choice: false, codes: None, targets: None };
    for word in words {
        match word.split_at(1) {
            ("[", _) => element.choice = true,
            ("=", codes) => element.codes = Some(codes),
            (">", targets) => element.targets = Some(targets),
            _ => {}
        }
    }
    Some(element)
}

/// Whether Stoker knows this resource or datatype.
#[must_use]
pub fn knows(kind: &str) -> bool {
    is_primitive(kind) || members().contains_key(kind)
}

/// Whether Stoker knows this resource.
#[must_use]
pub fn is_resource(kind: &str) -> bool {
    members().get(kind).is_some_and(|members| members.elements.contains_key("implicitRules"))
}

/// The resources that Stoker knows.
pub fn resources() -> impl Iterator<Item = &'static str> {
    members().iter().filter(|(_, members)| members.elements.contains_key("implicitRules")).map(|(name, _)| *name)
}

/// The element `name` of `parent`, which is a resource type, a datatype, or the path of a backbone element.
#[must_use]
pub fn element(parent: &str, name: &str) -> Option<Element> {
    match of(parent) {
        Some(of) => of.element(name).copied(),
        None => EVERYWHERE.iter().find(|element| element.path == name).copied(),
    }
}

/// What Stoker knows of a resource type, a datatype, or a backbone element by its path.
#[must_use]
pub fn of(parent: &str) -> Option<&'static Type> {
    members().get(parent)
}

/// What a primitive has besides its value: an id and extensions.
#[must_use]
pub fn bare() -> &'static Type {
    static BARE: OnceLock<Type> = OnceLock::new();
    BARE.get_or_init(|| Type { name: "Element", required: Vec::new(), elements: FxHashMap::default() })
}

/// What everything has and the table therefore does not list.
static EVERYWHERE: [Element; 2] =
    [Element { list: true, ..everywhere("extension", "Extension") }, everywhere("id", "string")];

const fn everywhere(path: &'static str, kind: &'static str) -> Element {
    Element { path, required: false, list: false, kind, choice: false, codes: None, targets: None }
}

/// Where the members of an element are listed: under its type, or under its own path where it is a backbone element.
#[must_use]
pub fn members_of(element: &Element) -> &'static str {
    match element.kind {
        "BackboneElement" | "Element" => element.path,
        kind => kind.strip_prefix('@').unwrap_or(kind),
    }
}

/// The required elements of a type; a required choice is given by each of its forms.
pub fn required(parent: &str) -> impl Iterator<Item = Element> {
    of(parent).into_iter().flat_map(|of| &of.required).copied()
}

/// The names a type has, for the remedy of a message about one it has not.
#[must_use]
pub fn names(parent: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = of(parent).into_iter().flat_map(|of| of.elements.keys()).copied().collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_their_type_and_whether_they_are_lists() {
        let name = element("Patient", "name").unwrap();
        assert!(name.list && !name.primitive() && members_of(&name) == "HumanName");
        let contact = element("Patient", "contact").unwrap();
        assert_eq!(members_of(&contact), "Patient.contact");
        assert!(element("Patient.contact", "relationship").unwrap().list);
        assert!(element("Patient", "deceasedBoolean").unwrap().choice);
        assert!(element("Patient", "birthDay").is_none());
        assert!(element("HumanName", "extension").unwrap().list);
    }

    #[test]
    fn meta_has_the_elements_of_r4_and_none_of_a_vendor() {
        let expected = ["lastUpdated", "profile", "security", "source", "tag", "versionId"];
        assert_eq!(names("Meta"), expected);
    }

    #[test]
    fn required_bindings_list_their_codes() {
        let status = element("Encounter", "status").unwrap();
        assert!(status.required && status.allowed().unwrap().any(|code| code == "in-progress"));
        assert!(required("Encounter").any(|e| e.path == "Encounter.class"));
    }
}
