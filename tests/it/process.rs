//! The `stoker` program as a process of its own: started, killed, asked over its ports.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A `stoker serve` with a configuration, data and ports of its own.
pub struct Daemon {
    pub mllp: SocketAddr,
    pub http: SocketAddr,
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one; `more` is added to its configuration.
    pub fn start(more: &str) -> Self {
        Self::start_with(more, "", "")
    }

    /// Starts one with more keys in `[http]` and in `[[listener]]`.
    pub fn start_with(more: &str, http_keys: &str, listener_keys: &str) -> Self {
        Self::start_in(Vec::new(), more, http_keys, listener_keys)
    }

    /// Starts one with more variables in its environment.
    pub fn start_in(environment: Vec<(String, String)>, more: &str, http_keys: &str, listener_keys: &str) -> Self {
        let (mllp, http) = (free_port(), free_port());
        let folder = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap();
        let config = format!(
            "{more}\n[http]\nbind = \"{http}\"\n{http_keys}\n[[listener]]\nbind = \"{mllp}\"\n\
             unsupported = \"accept\"\n{listener_keys}\n[journal]\npath = \"{0}/journal.db\"\n[mailbox]\ndata = \"{0}/mailbox.db\"\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let mut daemon = Self { mllp, http, folder, environment, child: None };
        daemon.restart();
        daemon
    }

    /// Starts it again on the same data, and waits until it listens.
    pub fn restart(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_stoker"))
            .args(["serve", "--config"])
            .arg(self.folder.path().join("config.toml"))
            .envs(self.environment.iter().cloned())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(self.mllp).is_err() || std::net::TcpStream::connect(self.http).is_err() {
            assert!(Instant::now() < until, "it does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Starts it again with one more key in a table of its configuration.
    pub fn reconfigure(&mut self, table: &str, key: &str) {
        self.kill();
        let path = self.file("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let (old, new) = (format!("[{table}]\n"), format!("[{table}]\n{key}\n"));
        assert!(config.contains(&old));
        std::fs::write(&path, config.replace(&old, &new)).unwrap();
        self.restart();
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop, and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        child.wait().unwrap().code()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A file beside its data; `config.toml` is its configuration.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn base(&self) -> String {
        format!("http://{}/fhir", self.http)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A plain HTTP client.
pub fn http() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::new()
}

/// Runs a command of the program to its end.
pub fn stoker(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stoker")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command with more variables in its environment.
pub fn stoker_in(environment: &[(String, String)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
    command.args(args).envs(environment.iter().cloned()).stdin(Stdio::null()).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lines of a text that hold all of these words.
pub fn lines_with<'t>(text: &'t str, words: &[&str]) -> Vec<&'t str> {
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect()
}
