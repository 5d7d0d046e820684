//! The secret by which a command of this machine shows that it may change the queue: whoever can read the data folder's
//! files as the daemon can. That a request comes from a loopback address shows nothing: a proxy's do too.
//!
//! The daemon writes a new one beside the journal at each start, for its own user to read and nobody else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

/// What the daemon keeps of its secret.
#[derive(Debug, Clone)]
pub struct LocalSecret {
    hash: [u8; 32],
}

impl LocalSecret {
    /// Makes a new one and writes it beside `journal`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(journal: &Path) -> io::Result<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = place(journal);
        let fresh = path.with_extension("admin-secret-new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(secret.as_bytes())?;
        fs::rename(&fresh, &path)?;
        Ok(Self { hash: Sha256::digest(secret.as_bytes()).into() })
    }

    /// Whether this is the secret. Hashes are compared, so how long that takes tells nothing of it.
    #[must_use]
    pub fn is(&self, shown: &str) -> bool {
        self.hash == <[u8; 32]>::from(Sha256::digest(shown.as_bytes()))
    }
}

/// The secret of the daemon that holds `journal`, for who may read it.
///
/// # Errors
/// When it cannot be read.
pub fn read(journal: &Path) -> io::Result<String> {
    fs::read_to_string(place(journal))
}

/// Where the secret stands.
#[must_use]
pub fn place(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".admin-secret");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_start_has_a_secret_of_its_own_that_only_its_user_reads() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let first = LocalSecret::create(&journal).unwrap();
        let earlier = read(&journal).unwrap();
        fs::set_permissions(place(&journal), fs::Permissions::from_mode(0o644)).unwrap();
        let second = LocalSecret::create(&journal).unwrap();
        let now = read(&journal).unwrap();
        assert!(first.is(&earlier) && second.is(&now) && !second.is(&earlier) && !second.is(""));
        assert_eq!(fs::metadata(place(&journal)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
