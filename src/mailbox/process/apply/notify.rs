//! `admin-notify` and `clinical-notify`: Patients, visits, and the clinical resources of a visit.

use super::work::Work;
use crate::mailbox::config::Snapshot;
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::halt::Halt;
use crate::mailbox::resource_type::ResourceType;

/// Creates or updates Patients, Locations and visits; clinical resources that are present replace those of their type.
pub fn admin(mut work: Work<'_>) -> Result<Vec<Issue>, Halt> {
    let message = work.message;
    for kind in [ResourceType::Patient, ResourceType::Location] {
        for entry in message.of(kind) {
            work.upsert(entry)?;
        }
    }
    work.take_over_moved_numbers()?;
    for entry in message.of(ResourceType::Encounter) {
        match work.survivor_of(entry) {
            Some(survivor) => work.absorb(entry, survivor)?,
            None => work.upsert(entry)?,
        }
    }
    work.snapshot(Snapshot::PerType)?;
    Ok(work.issues.told())
}

/// Replaces the clinical resources of a visit that must exist, and leaves the visit as it is.
pub fn clinical(mut work: Work<'_>, scope: Snapshot) -> Result<Vec<Issue>, Halt> {
    let message = work.message;
    if message.of(ResourceType::Encounter).next().is_none() {
        let text = "a clinical-notify names the visit that it is about";
        return Err(Halt::Fatal(Issue::error("required", text).at("Bundle.entry")));
    }
    for entry in message.of(ResourceType::Encounter) {
        if work.targets.of(entry)?.row.is_none() {
            let text = "no such visit: a clinical-notify needs one that exists";
            return Err(Halt::Fatal(Issue::error("not-found", text).at(format!("Bundle.entry[{}].fullUrl", entry.at))));
        }
    }
    for entry in message.of(ResourceType::Patient) {
        work.upsert(entry)?;
    }
    for entry in message.of(ResourceType::Encounter) {
        work.refuse_other_person(entry)?;
    }
    work.snapshot(scope)?;
    Ok(work.issues.told())
}
