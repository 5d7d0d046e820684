//! Patients to persons: links, unlinks, and who is one person by them.
//!
//! A link is a statement that two Patients are the same person. The person is everyone who can be reached over links;
//! the store keeps that answer with each Patient, so that a search by any identity finds all data at the price of one
//! lookup. Cycles of replacements are refused: nobody could say who survived.

use std::collections::{BTreeSet, HashSet};

use crate::mailbox::store::Transaction;
use crate::mailbox::store::model::{Pk, StoreError};

/// Whether `patient` was replaced by somebody.
///
/// # Errors
/// When the store fails.
pub fn is_replaced(tx: &mut dyn Transaction, patient: Pk) -> Result<bool, StoreError> {
    Ok(!tx.replacements(patient)?.is_empty())
}

/// Whether replacing `absorbed` by `survivor` would close a circle: the survivor was, over any number of steps, itself
/// replaced by the absorbed.
///
/// # Errors
/// When the store fails.
pub fn closes_circle(tx: &mut dyn Transaction, absorbed: Pk, survivor: Pk) -> Result<bool, StoreError> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![survivor]);
    while let Some(pk) = next.pop() {
        if pk == absorbed {
            return Ok(true);
        }
        if seen.insert(pk) {
            next.extend(tx.replacements(pk)?.iter().map(|link| link.other));
        }
    }
    Ok(false)
}

/// Everyone who is the same person as `patient`, itself included.
///
/// # Errors
/// When the store fails.
pub fn everyone(tx: &mut dyn Transaction, patient: Pk) -> Result<BTreeSet<Pk>, StoreError> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![patient]);
    while let Some(pk) = next.pop() {
        if seen.insert(pk) {
            next.extend(tx.links(pk)?.iter().map(|link| link.far_end(pk)));
        }
    }
    Ok(seen)
}

/// Brings the stored person of everyone around `patients` in step with the links. A person is named by its oldest
/// Patient.
///
/// # Errors
/// When the store fails.
pub fn settle(tx: &mut dyn Transaction, patients: impl IntoIterator<Item = Pk>) -> Result<(), StoreError> {
    let mut settled = HashSet::new();
    for patient in patients {
        if settled.contains(&patient) {
            continue;
        }
        let all = everyone(tx, patient)?;
        let person = all.first().copied().filter(|_| all.len() > 1);
        for pk in all {
            tx.set_person(pk, person)?;
            settled.insert(pk);
        }
    }
    Ok(())
}
