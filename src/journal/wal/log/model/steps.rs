//! What may befall the log, as it is drawn at random.

use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Debug, Clone)]
pub enum LogStep {
    /// A group of entries with texts of these lengths.
    Commit(Vec<usize>),
    /// The tables follow some way, and may be synced.
    Follow(Index, bool),
    Fail(Failure),
    /// The process ends in the middle of a commit, and the log is opened as below.
    Crash(Failure, Vec<Index>),
    /// The process ends, the files may be damaged, and the log is opened: more than once where that is cut short before
    /// everything is filed. Each time the tables are found to be somewhere between what was synced and what was filed.
    Reopen(Option<Damage>, Vec<Index>),
    /// Somebody reads or copies it who does not write it.
    LookBeside,
}

/// A commit that is answered with an error.
#[derive(Debug, Clone)]
pub struct Failure {
    pub lengths: Vec<usize>,
    /// The disk is full; else the sync fails.
    pub full: bool,
    /// Whether a header that was written with it reached the disk.
    pub header: bool,
    /// From where to where the group's bytes did; `None` is its own beginning, or end.
    pub reached: (Option<Index>, Option<Index>),
}

#[derive(Debug, Clone)]
pub struct Damage {
    pub file: usize,
    pub at: Index,
    /// Everything from there on is gone; else one byte is another.
    pub cut: bool,
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    // Few different ones, the second twice as long in the file as the first, so that an old entry often begins where a new
    // one ends; rarely more than is read at a time.
    let length =
        prop_oneof![50 => Just(0_usize), 30 => Just(44), 20 => Just(900), 1 => Just(600_000), 1 => Just(1 << 20)];
    prop::collection::vec(length, 1..5)
}

pub fn step() -> impl Strategy<Value = LogStep> {
    let (index, part) = (any::<Index>, || prop::option::weighted(0.3, any::<Index>()));
    let failure = || {
        (lengths(), any::<bool>(), any::<bool>(), (part(), part()))
            .prop_map(|(lengths, full, header, reached)| Failure { lengths, full, header, reached })
    };
    let damage = (0..2_usize, index(), any::<bool>()).prop_map(|(file, at, cut)| Damage { file, at, cut });
    let filed = || prop::collection::vec(index(), 1..3);
    let crash = failure().prop_map(|failure| Failure { full: false, ..failure });
    prop_oneof![
        8 => lengths().prop_map(LogStep::Commit),
        4 => (index(), any::<bool>()).prop_map(|(to, synced)| LogStep::Follow(to, synced)),
        2 => failure().prop_map(LogStep::Fail),
        2 => (crash, filed()).prop_map(|(failure, filed)| LogStep::Crash(failure, filed)),
        2 => (prop::option::weighted(0.6, damage), filed())
            .prop_map(|(damage, filed)| LogStep::Reopen(damage, filed)),
        1 => Just(LogStep::LookBeside),
    ]
}
