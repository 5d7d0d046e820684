//! Stage three: what the event does to the stored resources.
//!
//! In come a message and what its entries mean; out go written resources and the issues to tell the sender. It promises to write
//! through the one transaction of the message and nowhere else, so that all of it holds or nothing, and to lay no older statement
//! over a newer one. It refuses what the event does not allow, before or with the writes.
//!
//! - [`notify`]: `admin-notify` and `clinical-notify`; [`link`]: `patient-link` and `patient-unlink`
//! - [`work`]: the message at work, and the writing of resources
//! - [`identity`], [`identifiers`]: numbers; [`snapshot`]: clinical resources; [`moves`]: visits that change patient or merge
//! - [`localize`]: references on their way into the store

pub(super) mod localize;
pub(super) mod identifiers;
pub(super) mod identity;
pub(super) mod link;
pub(super) mod moves;
pub(super) mod notify;
pub(super) mod snapshot;
pub(super) mod work;
