//! The Bundle around the resources (FHIR R4 bundle, type message): ids, identifier, timestamp, entries.

use uuid::Uuid;

use super::entries::{Entries, Entry};
use super::nav;
use super::reader::MessageReader;
use crate::fhir::ids::{self, IdKind};
use crate::fhir::{List, Node, Object};
use crate::mapping::plan::identifier::{condition_url, sender_system};
use crate::mapping::source::config::{Addressing, Profile};
use crate::mapping::source::settings::Settings;

/// HL7's code system of message events.
const HL7_EVENTS: &str = "http://terminology.hl7.org/CodeSystem/message-events";

/// Creates or updates the visit.
pub const ADMIN: &str = "admin-notify";

/// Replaces the clinical data of a visit that is known.
pub const CLINICAL: &str = "clinical-notify";

/// The code system of a FHIR event: HL7's, or for `clinical-notify` the site's.
pub fn event_system<'a>(fhir_event: &str, settings: &'a Settings) -> &'a str {
    match fhir_event {
        ADMIN | "patient-link" | "patient-unlink" => HL7_EVENTS,
        _ => &settings.clinical_system,
    }
}

/// How an entry found by a condition is addressed.
pub fn full_url(settings: &Settings, resource_type: &str, (system, value): (&str, &str)) -> String {
    match settings.addressing {
        Addressing::Conditional => condition_url(&settings.base, resource_type, system, value),
        Addressing::Uuid => {
            let parts = [resource_type.as_bytes(), system.as_bytes(), value.as_bytes()];
            format!("urn:uuid:{}", ids::uuid(IdKind::Resource, &parts))
        }
    }
}

/// What is needed to write a Bundle.
pub struct Envelope<'e, 'r, 'a> {
    pub reader: &'e MessageReader<'r, 'a>,
    pub bundle_id: Uuid,
}

impl<'a> Envelope<'_, '_, 'a> {
    /// The Bundle, and how many of each resource it holds.
    pub fn bundle(&self, entries: &Entries<'a>, built: Vec<Option<Object<'a>>>) -> (Node<'a>, Vec<(String, usize)>) {
        let mut counts: Vec<(String, usize)> = Vec::new();
        let arena = self.reader.arena;
        let mut list = List::with_capacity_in(built.len(), arena);
        for (entry, object) in entries.list.iter().zip(built) {
            let Some(mut object) = object else { continue };
            if self.reader.plan.settings.profile == Profile::Nav {
                nav::strip(&mut object);
            }
            let resource_type = &*self.reader.plan.resources[entry.resource].resource_type;
            match counts.iter_mut().find(|(name, _)| name == resource_type) {
                Some((_, count)) => *count += 1,
                None => counts.push((resource_type.to_owned(), 1)),
            }
            list.push(self.entry(entry, resource_type, object));
        }
        let mut bundle = Object::resource("Bundle", arena);
        bundle.push("id", Node::Text(arena.alloc_str(&self.bundle_id.to_string())));
        self.identify(&mut bundle);
        bundle.push("type", Node::Text("message"));
        if let Some(timestamp) = self.reader.globals.timestamp {
            bundle.push("timestamp", Node::Text(timestamp));
        }
        bundle.push("entry", Node::List(list));
        (Node::Object(bundle), counts)
    }

    fn identify(&self, bundle: &mut Object<'a>) {
        let (settings, arena) = (&self.reader.plan.settings, self.reader.arena);
        if let Some(profile) = settings.bundle_profile.as_deref() {
            let mut meta = Object::new(arena);
            meta.push("profile", Node::list_of(Node::Text(profile), arena));
            bundle.push("meta", Node::Object(meta));
        }
        // A FHIR string has no control characters. The ids were made of MSH-10 as it was sent.
        let control_id = self.reader.message.field(0, 10).replace(char::is_control, "");
        let control_id = control_id.trim();
        if settings.profile == Profile::Nav || control_id.is_empty() {
            return;
        }
        let mut identifier = Object::new(arena);
        identifier.push("system", Node::Text(arena.alloc_str(&sender_system(self.reader.message))));
        identifier.push("value", Node::Text(arena.alloc_str(control_id)));
        bundle.push("identifier", Node::Object(identifier));
    }

    fn entry(&self, entry: &Entry<'a>, resource_type: &str, mut object: Object<'a>) -> Node<'a> {
        let (settings, arena) = (&self.reader.plan.settings, self.reader.arena);
        let mut node = Object::new(arena);
        if let (Some((system, value)), Addressing::Uuid, Profile::None) =
            (entry.identity, settings.addressing, settings.profile)
        {
            let mut link = Object::new(arena);
            let url = condition_url(&settings.base, resource_type, system, value);
            link.push("relation", Node::Text("search"));
            link.push("url", Node::Text(arena.alloc_str(&url)));
            node.push("link", Node::list_of(Node::Object(link), arena));
        }
        node.push("fullUrl", Node::Text(entry.full_url));
        // One that is found by a condition has no id: the receiver gives it.
        if let Some(id) = entry.id {
            object.identify(id);
        }
        node.push("resource", Node::Object(object));
        Node::Object(node)
    }
}
