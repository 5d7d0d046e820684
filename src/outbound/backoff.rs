//! How long to wait before the next attempt.

use std::time::Duration;

use super::Retry;

/// The wait after `attempt` failures (from 1): doubling from `base` to `max`, of which the upper half is jitter, so that
/// messages that failed together do not come back together. `random` is any number; the same one gives the same wait.
#[must_use]
pub fn delay(retry: &Retry, attempt: u32, random: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(63);
    let factor = 1u64 << doublings;
    let base = millis(retry.base).max(1);
    let full = base.saturating_mul(factor).min(millis(retry.max).max(1));
    let half = full / 2;
    Duration::from_millis(full - half + spread(random) % (half + 1))
}

/// The wait that the destination asked for, or else [`delay`]; neither longer than `max`.
#[must_use]
pub fn wait(retry: &Retry, asked: Option<Duration>, attempt: u32, random: u64) -> Duration {
    let own = delay(retry, attempt, random);
    asked.map_or(own, |asked| asked.clamp(own.min(retry.max), retry.max))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Makes neighbouring numbers far apart (the finaliser of splitmix64).
fn spread(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(base: u64, max: u64) -> Retry {
        Retry { base: Duration::from_millis(base), max: Duration::from_millis(max), ..Retry::default() }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempt, least, most) in [
            (1, 500, 1_000),
            (2, 1_000, 2_000),
            (3, 2_000, 4_000),
            (6, 16_000, 32_000),
            (7, 30_000, 60_000),
            (100, 30_000, 60_000),
            (u32::MAX, 30_000, 60_000),
        ] {
            for random in 0..200 {
                let wait = delay(&retry(1_000, 60_000), attempt, random).as_millis();
                assert!((least..=most).contains(&wait), "attempt {attempt}: {wait} ms");
            }
        }
    }

    #[test]
    fn messages_that_failed_together_do_not_come_back_together() {
        let waits: std::collections::HashSet<_> = (0..100).map(|seq| delay(&retry(1_000, 60_000), 5, seq)).collect();
        assert!(waits.len() > 90, "{} different waits", waits.len());
    }

    #[test]
    fn no_setting_makes_the_wait_zero_or_endless() {
        assert!(delay(&retry(0, 0), 1, 7) >= Duration::from_millis(1));
        let endless = Retry { base: Duration::MAX, max: Duration::MAX, ..Retry::default() };
        assert!(delay(&endless, u32::MAX, 7) > Duration::ZERO);
    }

    #[test]
    fn what_the_destination_asks_for_is_kept_within_bounds() {
        let retry = retry(1_000, 60_000);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait(&retry, seconds(20), 1, 0), Duration::from_secs(20));
        assert_eq!(wait(&retry, seconds(86_400), 1, 0), Duration::from_secs(60), "no longer than the longest");
        assert_eq!(wait(&retry, seconds(0), 3, 0), delay(&retry, 3, 0), "no sooner than our own");
        assert_eq!(wait(&retry, None, 3, 0), delay(&retry, 3, 0));
    }
}
