//! Which segments belong together: the groups of the ADT message structures (HL7 v2.5.1 ch. 3.3), read from the order
//! of the segments because MSH-9.3, which should name the structure, is often wrong.
//!
//! A path is looked for in its own group, then in the groups around it, never in a neighbour's: the ROL of one PR1 is
//! not seen by the next, the MRG of one PID not by another.

use std::cell::OnceCell;
use std::collections::HashMap;

use smallvec::SmallVec;

use super::message::Message;
use crate::work;

/// How many patients a message may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// One: everything stands around it.
    #[default]
    Single,
    /// Each PID starts a group of its own (A17, A24, A37, A40 ...).
    Patients,
}

/// A group's number; 0 is the message itself.
pub type GroupId = usize;

/// The groups of one message.
#[derive(Debug)]
pub struct Groups {
    groups: Vec<Group>,
    /// The group each segment belongs to; a segment that starts a group belongs to that one.
    of: Vec<GroupId>,
    /// The segments of each group by their name; made when one of them is sought among many.
    owned: OnceCell<Owned>,
}

type Owned = HashMap<(GroupId, [u8; 3]), SmallVec<[usize; 2]>>;

/// So many segments of one name are looked through.
const FEW: usize = 8;

#[derive(Debug)]
struct Group {
    parent: GroupId,
    /// The segments from the first to behind the last; groups nested in it leave holes.
    first: usize,
    end: usize,
    /// What belongs to a group of this kind and is therefore not looked for around it.
    members: &'static [&'static str],
    /// A PID starts it.
    patient: bool,
}

/// What belongs to a patient and is not looked for around him.
const PATIENT: &[&str] = &["MRG"];

/// The segments that start a group below the patient, and those that belong to it when they follow.
const NESTED: &[(&str, &[&str])] =
    &[("PR1", &["ROL", "PRT", "NTE"]), ("OBX", &["NTE", "PRT"]), ("IN1", &["IN2", "IN3", "ROL", "PRT", "AUT", "RF1"])];

impl Groups {
    #[must_use]
    pub fn split(message: &Message<'_>, grouping: Grouping) -> Self {
        let whole = Group { parent: 0, first: 0, end: message.len(), members: &[], patient: false };
        let mut groups = Self { groups: vec![whole], of: Vec::with_capacity(message.len()), owned: OnceCell::new() };
        let mut patient: GroupId = 0;
        let mut nested: Option<GroupId> = None;
        work::steps(message.len());
        for segment in 0..message.len() {
            let name = message.name(segment);
            if name == "PID" && grouping == Grouping::Patients {
                patient = groups.start(0, segment, PATIENT);
                nested = None;
            } else if let Some((_, members)) = NESTED.iter().find(|(anchor, _)| *anchor == name) {
                nested = Some(groups.start(patient, segment, members));
            } else if nested.is_some_and(|group| !groups.groups[group].members.contains(&name)) {
                nested = None;
            }
            let group = nested.unwrap_or(patient);
            groups.of.push(group);
            groups.groups[group].end = segment + 1;
            groups.groups[patient].end = segment + 1;
        }
        groups.groups[0].end = message.len();
        groups
    }

    fn start(&mut self, parent: GroupId, first: usize, members: &'static [&'static str]) -> GroupId {
        let patient = members == PATIENT;
        self.groups.push(Group { parent, first, end: first + 1, members, patient });
        self.groups.len() - 1
    }

    /// The group a segment belongs to.
    #[must_use]
    pub fn of(&self, segment: usize) -> GroupId {
        self.of.get(segment).copied().unwrap_or(0)
    }

    /// Whether `segment` can be seen from `group`: it belongs to it or to one around it.
    #[must_use]
    pub fn sees(&self, group: GroupId, segment: usize) -> bool {
        let (target, mut at) = (self.of(segment), group);
        loop {
            if at == target {
                return true;
            }
            if at == 0 {
                return false;
            }
            at = self.groups[at].parent;
        }
    }

    /// The group of the patient that a group stands under, or the message's where there is but one patient.
    #[must_use]
    pub fn patient(&self, group: GroupId) -> GroupId {
        let mut at = group;
        while at != 0 && !self.groups[at].patient {
            at = self.groups[at].parent;
        }
        at
    }

    /// The segments of a name that a path means when it is read in `group`: those of the nearest group that has any.
    pub fn find<'s>(
        &'s self,
        message: &'s Message<'_>,
        group: GroupId,
        name: &str,
    ) -> impl Iterator<Item = usize> + use<'s> {
        let named = message.all(name);
        let mut at = group;
        loop {
            let this = &self.groups[at];
            let own = self.near(message, named, name, at);
            if own.iter().any(|&s| self.stands_in(s, at)) {
                return self.own(own, at);
            }
            if at == 0 || this.members.contains(&name) {
                return self.own(&[], at);
            }
            at = this.parent;
        }
    }

    /// Of the segments of a name those that may be a group's own: few, or exactly those.
    fn near<'s>(&'s self, message: &Message<'_>, named: &'s [usize], name: &str, group: GroupId) -> &'s [usize] {
        let this = &self.groups[group];
        let from = named.partition_point(|&s| s < this.first);
        let to = named.partition_point(|&s| s < this.end);
        let near = &named[from..to];
        if near.len() <= FEW || self.groups.len() == 1 {
            work::steps(near.len() + 1);
            return near;
        }
        let Ok(name) = <[u8; 3]>::try_from(name.as_bytes()) else { return &[] };
        let owned =
            self.owned.get_or_init(|| self.owned(message)).get(&(group, name)).map_or(&[][..], SmallVec::as_slice);
        work::steps(owned.len() + 1);
        owned
    }

    fn owned(&self, message: &Message<'_>) -> Owned {
        let mut owned = Owned::new();
        for (segment, &group) in self.of.iter().enumerate() {
            work::steps(2);
            let Ok(name) = <[u8; 3]>::try_from(message.name(segment).as_bytes()) else { continue };
            owned.entry((group, name)).or_default().push(segment);
            let parent = self.groups[group].parent;
            if self.stands_in(segment, parent) && parent != group {
                owned.entry((parent, name)).or_default().push(segment);
            }
        }
        owned
    }

    fn own<'s>(&'s self, segments: &'s [usize], group: GroupId) -> impl Iterator<Item = usize> + use<'s> {
        segments.iter().copied().filter(move |&s| self.stands_in(s, group))
    }

    /// Whether a segment is a group's own. The one that starts a group is also its parent's: a visit sees its IN1s and
    /// PR1s, but not what follows them.
    fn stands_in(&self, segment: usize, group: GroupId) -> bool {
        let of = self.of(segment);
        of == group || (of != 0 && self.groups[of].first == segment && self.groups[of].parent == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, grouping: Grouping, group_of: usize, name: &str) -> Vec<String> {
        let message = Message::parse(text).unwrap();
        let groups = Groups::split(&message, grouping);
        let group = groups.of(group_of);
        groups.find(&message, group, name).map(|s| message.segment_text(s).to_owned()).collect()
    }

    #[test]
    fn the_mrg_of_one_pair_is_not_seen_by_the_other() {
        let text = "MSH|^~\\&|A\rEVN||1\rPID|1\rMRG|a\rPID|2\rMRG|b\rPID|3";
        assert_eq!(names(text, Grouping::Patients, 2, "MRG"), ["MRG|a"]);
        assert_eq!(names(text, Grouping::Patients, 4, "MRG"), ["MRG|b"]);
        assert!(names(text, Grouping::Patients, 6, "MRG").is_empty());
        assert_eq!(names(text, Grouping::Patients, 6, "EVN"), ["EVN||1"]);
    }

    #[test]
    fn a_rol_belongs_to_the_procedure_it_follows() {
        let text = "MSH|^~\\&|A\rPID|1\rPV1|1\rROL|v\rPR1|1\rROL|a\rROL|b\rPR1|2\rDG1|1\rROL|late";
        assert_eq!(names(text, Grouping::Single, 4, "ROL"), ["ROL|a", "ROL|b"]);
        assert_eq!(names(text, Grouping::Single, 2, "ROL"), ["ROL|v", "ROL|late"]);
    }

    #[test]
    fn the_patient_of_a_nested_group_is_the_one_it_stands_under() {
        let message = Message::parse("MSH|^~\\&|A\rPID|1\rOBX|1\rPID|2\rOBX|2").unwrap();
        let single = Groups::split(&message, Grouping::Single);
        assert_eq!(single.patient(single.of(2)), 0);
        let patients = Groups::split(&message, Grouping::Patients);
        assert_eq!(patients.patient(patients.of(2)), patients.of(1));
        assert_eq!(patients.patient(patients.of(4)), patients.of(3));
    }

    #[test]
    fn a_note_belongs_to_the_observation_it_follows() {
        let text = "MSH|^~\\&|A\rPID|1\rOBX|1\rNTE|1\rOBX|2\rNTE|2\rAL1|1";
        assert_eq!(names(text, Grouping::Single, 2, "NTE"), ["NTE|1"]);
        assert_eq!(names(text, Grouping::Single, 4, "NTE"), ["NTE|2"]);
        assert!(names(text, Grouping::Single, 1, "NTE").is_empty());
    }

    #[test]
    fn the_segment_that_starts_a_group_is_seen_from_around_it() {
        let text = "MSH|^~\\&|A\rPID|1\rIN1|1\rIN2|a\rIN1|2\rIN2|b";
        assert_eq!(names(text, Grouping::Single, 1, "IN1"), ["IN1|1", "IN1|2"]);
        assert!(names(text, Grouping::Single, 1, "IN2").is_empty());
        assert_eq!(names(text, Grouping::Single, 4, "IN1"), ["IN1|2"]);
    }

    #[test]
    fn among_many_segments_the_same_are_found_as_among_few() {
        let pairs: String =
            (0..40).map(|n| format!("PID|{n}\rMRG|m{n}\rOBX|{n}\rNTE|n{n}\rIN1|{n}\rIN2|{n}\r")).collect();
        let text = format!("MSH|^~\\&|A\rPV1|0\rIN1|all\r{pairs}");
        let message = Message::parse(&text).unwrap();
        for grouping in [Grouping::Single, Grouping::Patients] {
            let groups = Groups::split(&message, grouping);
            for group in 0..groups.groups.len() {
                for name in ["PID", "MRG", "OBX", "NTE", "IN1", "IN2", "PV1", "ROL"] {
                    let found: Vec<usize> = groups.find(&message, group, name).collect();
                    let mut at = group;
                    let expected: Vec<usize> = loop {
                        let own = |s: &usize| groups.stands_in(*s, at);
                        let own: Vec<usize> = message.all(name).iter().copied().filter(own).collect();
                        if !own.is_empty() || at == 0 || groups.groups[at].members.contains(&name) {
                            break own;
                        }
                        at = groups.groups[at].parent;
                    };
                    assert_eq!(found, expected, "{grouping:?} {group} {name}");
                }
            }
        }
    }

    #[test]
    fn a_procedure_without_a_rol_does_not_borrow_the_visits() {
        let text = "MSH|^~\\&|A\rPID|1\rPV1|1\rROL|v\rPR1|1\rDG1|1";
        assert!(names(text, Grouping::Single, 4, "ROL").is_empty());
        assert_eq!(names(text, Grouping::Single, 4, "PV1"), ["PV1|1"]);
    }
}
