//! Who is meant: identifiers to stored Patients and visits, Patients to persons.
//!
//! - [`resolve`]: what an identifier leads to
//! - [`person`]: links between Patients, and who is one person by them
//! - [`reuse`]: numbers that are given out a second time
//!
//! An identifier is a system and a value; a bare value identifies nobody. An identifier that a resource lost (a visit
//! renumbered, a patient given another number) still leads there for events from before the loss; for later ones it is
//! only a hint, which the caller weighs.

pub mod person;
pub mod reuse;

use jiff::Timestamp;

use super::resource_type::ResourceType;
use super::store::Transaction;
use super::store::model::{Holder, Identifier, Pk, StoreError};

/// What an identifier leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    None,
    One(Pk),
    /// Nobody carries it now; this one did last.
    Former(Pk),
    Several(usize),
}

/// Finds who carried `identifier` when the event happened.
///
/// # Errors
/// When the store fails.
pub fn resolve(
    tx: &mut dyn Transaction,
    kind: ResourceType,
    identifier: &Identifier,
    at: Timestamp,
) -> Result<Match, StoreError> {
    Ok(decide(&tx.holders(kind, identifier)?, at))
}

fn decide(holders: &[Holder], at: Timestamp) -> Match {
    let current: Vec<&Holder> = holders.iter().filter(|holder| holder.until.is_none()).collect();
    let former = || holders.iter().filter(|holder| holder.until.is_some());
    let then = former().filter(|holder| holder.until > Some(at)).min_by_key(|holder| (holder.until, holder.since));
    let last = former().max_by_key(|holder| (holder.until, holder.since));
    match (&current[..], then, last) {
        // Before the present carrier got the identifier, somebody else had it.
        ([holder], Some(then), _) if holder.since > at => Match::One(then.pk),
        ([holder], ..) => Match::One(holder.pk),
        ([], Some(then), _) => Match::One(then.pk),
        ([], None, Some(last)) => Match::Former(last.pk),
        ([], None, None) => Match::None,
        _ => Match::Several(current.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn holder(pk: Pk, since: i64, until: Option<i64>) -> Holder {
        Holder { pk, since: at(since), until: until.map(at) }
    }

    #[test]
    fn one_carrier_is_found_at_any_time() {
        assert_eq!(decide(&[holder(1, 5, None)], at(9)), Match::One(1));
        assert_eq!(decide(&[holder(1, 5, None)], at(2)), Match::One(1));
    }

    #[test]
    fn two_carriers_are_never_chosen_from() {
        assert_eq!(decide(&[holder(1, 5, None), holder(2, 5, None)], at(9)), Match::Several(2));
    }

    #[test]
    fn a_lost_number_leads_home_for_earlier_events_and_is_a_hint_for_later_ones() {
        assert_eq!(decide(&[holder(1, 1, Some(5))], at(4)), Match::One(1));
        assert_eq!(decide(&[holder(1, 1, Some(5))], at(5)), Match::Former(1));
        assert_eq!(decide(&[], at(5)), Match::None);
    }

    #[test]
    fn a_number_used_again_leads_to_the_one_who_had_it_then() {
        let holders = [holder(1, 1, Some(5)), holder(2, 7, None)];
        assert_eq!(decide(&holders, at(3)), Match::One(1));
        assert_eq!(decide(&holders, at(8)), Match::One(2));
        assert_eq!(decide(&holders, at(6)), Match::One(2));
    }
}
