//! Kills at random points.

use std::time::Duration;

use super::rig::{Part, Rig};

/// Random numbers of one seed, so that a run can be repeated (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Duration::from_millis(from + self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % (to - from))
    }
}

/// Kills the engine, the mailbox and both in turn, each after a random time, and starts again what was killed;
/// `between` sees the data of the dead.
pub async fn kill_in_turn(rig: &mut Rig, dice: &mut Dice, rounds: usize, mut between: impl FnMut(&Rig)) {
    for round in 0..rounds {
        tokio::time::sleep(dice.millis(200, 1_500)).await;
        let parts: &[Part] = match round % 3 {
            0 => &[Part::Engine],
            1 => &[Part::Mailbox],
            _ => &[Part::Engine, Part::Mailbox],
        };
        parts.iter().for_each(|&part| rig.kill(part));
        between(rig);
        tokio::time::sleep(dice.millis(1, 300)).await;
        parts.iter().rev().for_each(|&part| rig.start(part));
    }
}
