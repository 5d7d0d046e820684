//! The fullUrls of a message's entries, by which references find them: each by one lookup, however many there are.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::mailbox::steps;

/// `Patient/1/_history/2`: what a relative reference may have. One that has more names no entry.
const MOST_SEGMENTS: usize = 4;

#[derive(Default)]
pub struct Urls<'a> {
    all: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
    /// The first entry whose URL ends with so many segments, for the few messages that have relative references.
    ends: [OnceCell<HashMap<&'a str, usize>>; MOST_SEGMENTS],
}

impl<'a> Urls<'a> {
    /// Adds the next entry's; false when another entry has it.
    pub fn push(&mut self, url: &'a str) -> bool {
        steps::take(1);
        let at = self.all.len();
        self.all.push(url);
        self.places.insert(url, at).is_none()
    }

    /// The place of the entry with this fullUrl.
    pub fn place(&self, url: &str) -> Option<usize> {
        steps::take(1);
        self.places.get(url).copied()
    }

    pub fn find(&self, url: &str) -> Option<&'a str> {
        self.all.get(self.place(url)?).copied()
    }

    /// The first that ends with a relative reference's segments.
    pub fn ending(&self, relative: &str) -> Option<&'a str> {
        let segments = relative.matches('/').take(MOST_SEGMENTS).count();
        let ends = self.ends.get(segments)?.get_or_init(|| self.ends(segments));
        steps::take(1);
        self.all.get(*ends.get(relative)?).copied()
    }

    fn ends(&self, slashes: usize) -> HashMap<&'a str, usize> {
        let mut ends = HashMap::with_capacity(self.all.len());
        for (at, url) in steps::each(self.all.iter().enumerate()) {
            if let Some((slash, _)) = url.rmatch_indices('/').nth(slashes) {
                ends.entry(&url[slash + 1..]).or_insert(at);
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_reference_means_the_first_url_that_ends_with_its_segments() {
        let mut urls = Urls::default();
        for url in ["urn:uuid:1", "http://a/fhir/Patient/1", "http://b/fhir/Patient/1", "http://b/fhir/Patient/11"] {
            assert!(urls.push(url));
        }
        assert!(!urls.push("urn:uuid:1"));
        for (relative, found) in [
            ("Patient/1", Some("http://a/fhir/Patient/1")),
            ("1", Some("http://a/fhir/Patient/1")),
            ("fhir/Patient/11", Some("http://b/fhir/Patient/11")),
            ("b/fhir/Patient/1", Some("http://b/fhir/Patient/1")),
            ("/b/fhir/Patient/1", None),
            ("Patient/2", None),
            ("atient/1", None),
            ("", None),
        ] {
            assert_eq!(urls.ending(relative), found, "{relative}");
        }
        assert_eq!((urls.place("http://b/fhir/Patient/1"), urls.place("Patient/1")), (Some(2), None));
    }
}
