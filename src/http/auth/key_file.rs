//! A key set in a file that others rotate: read again while it is used, so that a key that is taken out of the file is not
//! trusted any more two seconds later.
//!
//! A file that cannot be read, or is no key set, may be one that is being written: the last good keys stay in use for five
//! minutes after they were last seen in it, with an error in the log and a warning in `/health/ready`. Then no key is
//! trusted, until the file is good again. A key set without a key for signatures is none that is being written: somebody took
//! the last key out, and nothing is trusted at once.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::keys::{BadKeySet, KeySet};
use crate::log_throttle::{LogThrottle, throttled};

/// How often the file is read, at most.
const LOOK: Duration = Duration::from_secs(2);

/// How long keys are trusted that are not seen in the file.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// No key set has more bytes.
const LARGEST: u64 = 1 << 20;

pub struct KeyFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    keys: Arc<KeySet>,
    /// What the file held when it was good.
    text: String,
    looked: Instant,
    /// When the file was last good.
    good: Instant,
    fault: Option<String>,
    told: LogThrottle,
}

impl KeyFile {
    /// # Errors
    /// Words that say why there is no key set.
    pub fn open(path: &Path) -> Result<Self, String> {
        let text = read(path).map_err(|error| error.to_string())?;
        let (keys, now) = (KeySet::parse(&text).map_err(|bad| bad.to_string())?, Instant::now());
        let told = LogThrottle::minutely();
        let state = State { keys: Arc::new(keys), text, looked: now, good: now, fault: None, told };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The keys that are trusted now.
    pub fn keys(&self) -> Arc<KeySet> {
        self.keys_at(Instant::now())
    }

    /// What is wrong with the file now.
    pub fn fault(&self) -> Option<String> {
        self.keys();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.fault.as_ref().map(|fault| format!("{}: {fault}", self.path.display()))
    }

    fn keys_at(&self, now: Instant) -> Arc<KeySet> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) >= LOOK {
            state.looked = now;
            state.look(&self.path, now);
        }
        Arc::clone(&state.keys)
    }
}

impl State {
    fn look(&mut self, path: &Path, now: Instant) {
        let read = read(path).map_err(|error| error.to_string());
        match read.map(|text| (text == self.text, KeySet::parse(&text), text)) {
            Ok((true, Ok(_), _)) if self.fault.is_none() => self.good = now,
            Ok((_, Ok(keys), text)) => {
                tracing::info!(path = %path.display(), "the key set has changed, or is good again, and is in use");
                (self.keys, self.text, self.good, self.fault) = (Arc::new(keys), text, now, None);
            }
            Ok((_, Err(bad @ BadKeySet::NoKey), _)) => {
                self.keys = Arc::default();
                self.complain(path, format!("{bad}; no token is trusted"));
            }
            Ok((_, Err(bad), _)) => self.doubt(path, now, &bad.to_string()),
            Err(error) => self.doubt(path, now, &error),
        }
    }

    /// The file may be one that is being written.
    fn doubt(&mut self, path: &Path, now: Instant, reason: &str) {
        let consequence = if now.saturating_duration_since(self.good) >= GRACE {
            self.keys = Arc::default();
            "no token is trusted until it is mended"
        } else {
            "the keys that it held are trusted for five minutes more at most"
        };
        self.complain(path, format!("{reason}; {consequence}"));
    }

    fn complain(&mut self, path: &Path, fault: String) {
        throttled!(error, self.told, path = %path.display(), "the key set cannot be used: {fault}");
        self.fault = Some(fault);
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> String {
        let keys: Vec<_> =
            ids.iter().map(|id| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"AAAA"}}"#)).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// A file with two keys, and what is trusted of them so many seconds after the start.
    struct Rig(tempfile::TempDir, KeyFile, Instant);

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("jwks.json");
            std::fs::write(&path, set(&["a", "b"])).unwrap();
            let file = KeyFile::open(&path).unwrap();
            Self(folder, file, Instant::now())
        }

        fn write(&self, text: &str) {
            std::fs::write(self.0.path().join("jwks.json"), text).unwrap();
        }

        fn trusts(&self, id: &str, second: u64) -> bool {
            self.1.keys_at(self.2 + Duration::from_secs(second)).has(id)
        }
    }

    #[test]
    fn a_key_that_is_taken_out_is_not_trusted_two_seconds_later_and_a_new_one_is() {
        let rig = Rig::new();
        assert!(rig.trusts("a", 10) && rig.trusts("b", 10));
        rig.write(&set(&["a", "c"]));
        assert!(rig.trusts("a", 12) && !rig.trusts("b", 12) && rig.trusts("c", 12));
    }

    #[test]
    fn where_the_last_key_is_taken_out_nothing_is_trusted() {
        let rig = Rig::new();
        rig.write(r#"{"keys": []}"#);
        assert!(!rig.trusts("a", 2) && rig.1.fault().is_some());
        rig.write(&set(&["a"]));
        assert!(rig.trusts("a", 4) && rig.1.fault().is_none());
    }

    #[test]
    fn a_file_that_is_no_key_set_keeps_the_last_keys_for_five_minutes_and_not_longer() {
        for break_it in [
            |rig: &Rig| rig.write("{\"keys\": ["),
            |rig: &Rig| {
                std::fs::remove_file(rig.0.path().join("jwks.json")).unwrap();
            },
        ] {
            let rig = Rig::new();
            assert!(rig.trusts("a", 10));
            break_it(&rig);
            assert!(rig.trusts("a", 12) && rig.trusts("a", 309));
            assert!(rig.1.fault().unwrap().contains("jwks.json"));
            assert!(!rig.trusts("a", 311));
            rig.write(&set(&["a"]));
            assert!(rig.trusts("a", 314));
        }
    }
}
