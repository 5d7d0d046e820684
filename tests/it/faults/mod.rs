//! The fault table: what is done to it, and that nothing acknowledged is lost, out of order, or applied twice.
//!
//! | fault | test |
//! |---|---|
//! | kill -9 of engine, mailbox, both, at random points under load | `crash` (3 rounds), `tests/soak/run --kills 50` |
//! | power cut: only what was fsynced survives | `storage` |
//! | disk full during intake; a file that may not grow; a journal that is read-only, or becomes so | `storage` |
//! | journal or mailbox removed or replaced while it runs; a mailbox that is damaged at the start | `crate::damage` |
//! | a bit, a sector or the end of log and tables lost at 10,000 places | `stoker::journal::damage` |
//! | messages that take for ever to map; messages with thousands of everything | `crate::bounded_work`, `crate::properties::linear` |
//! | idle and slow HTTP peers; frames of 16 MB from 40 peers; floods of garbage; no file descriptors | `crate::held_connections`, `crate::mllp_memory`, `crate::mllp_floods` |
//! | clock set back a day, in a run and over a restart | `clock` |
//! | mailbox answers 500, 429, 401, garbage, nothing, half an answer, too late; no such host | `answers` |
//! | another server, a page or a redirect at the destination's address: for ever, for a while, for one message | `wrong_address` |
//! | sender that never reads its acks | `mllp_hostile` |
//! | 2,000 idle connections; frames fed a byte a second | `senders` |
//! | 1,000,000 messages waiting, then recovery | `tests/soak/run --backlog 1000000` |
//! | hostile peers of every kind at once, for ten minutes | `tests/soak/attack/run` |

mod answers;
mod clock;
mod crash;
mod senders;
mod shim;
mod storage;
mod wrong_address;

#[path = "../../soak/audit.rs"]
mod audit;
#[path = "../../soak/chaos.rs"]
mod chaos;
#[allow(dead_code, reason = "the soak uses the rest")]
#[path = "../../soak/load.rs"]
mod load;
#[allow(dead_code, reason = "the soak uses the rest")]
#[path = "../../soak/rig.rs"]
mod rig;

use std::path::Path;
use std::time::Duration;

use rig::{Part, Rig};

/// How long a backlog may take to be delivered on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_stoker"))
}

/// Both parts, running on data in `folder`.
fn running(folder: &Path) -> Rig {
    crate::process::http();
    let mut rig = Rig::new(program(), folder, folder);
    rig.start(Part::Mailbox);
    rig.start(Part::Engine);
    rig
}
