//! What the system lets this process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// As many open files as the system allows at most: each connection is one, and many systems start programs with a
/// thousand. What cannot be raised stays; a listener that runs out of them says so.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
