//! Two `stoker` processes, engine and mailbox, that are started, killed and started again on the same data; or one that is
//! both.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a process may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Engine,
    Mailbox,
}

pub struct Rig {
    pub mllp: SocketAddr,
    pub http: SocketAddr,
    pub mailbox: SocketAddr,
    pub folder: PathBuf,
    /// Where the engine's journal is.
    pub journal: PathBuf,
    program: PathBuf,
    /// Whether the engine has the mailbox in it.
    whole: bool,
    environment: Vec<(String, String)>,
    running: [Option<Child>; 2],
}

impl Rig {
    /// Prepares both and starts neither. The journal is in `journal`, everything else in `folder`.
    pub fn new(program: &Path, folder: &Path, journal: &Path) -> Self {
        Self::build(program, folder, journal, false)
    }

    /// One process that is engine and mailbox, as a site that begins has it.
    pub fn whole(program: &Path, folder: &Path) -> Self {
        Self::build(program, folder, folder, true)
    }

    fn build(program: &Path, folder: &Path, journal: &Path, whole: bool) -> Self {
        // The configuration's relative paths are not seen from where this runs.
        let absolute = |path: &Path| std::path::absolute(path).unwrap();
        let http = free_port();
        let rig = Self {
            mllp: free_port(),
            http,
            mailbox: if whole { http } else { free_port() },
            folder: absolute(folder),
            journal: absolute(journal).join("journal.db"),
            program: program.into(),
            whole,
            environment: Vec::new(),
            running: [None, None],
        };
        rig.configure("");
        rig
    }

    /// Writes the configuration; `more` is added at its end.
    pub fn configure(&self, more: &str) {
        let (mailbox, url) = match self.whole {
            true => (String::new(), String::new()), // it listens where the daemon does, and is delivered to by default
            false => (
                format!("bind = \"{}\"\n", self.mailbox),
                format!("url = \"http://{}/fhir/$process-message\"\n", self.mailbox),
            ),
        };
        let text = format!(
            "[http]\nbind = \"{}\"\nmailbox = {}\n[[listener]]\nbind = \"{}\"\n\
             [journal]\npath = \"{}\"\nmin_free = \"0B\"\n[mailbox]\n{mailbox}data = \"{}\"\n\
             [destination]\n{url}[destination.retry]\nbase = \"100ms\"\nmax = \"1s\"\n{more}\n",
            self.http,
            self.whole,
            self.mllp,
            self.journal.display(),
            self.data().display(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Gives both processes a variable from their next start on.
    pub fn set(&mut self, name: &str, value: &Path) {
        self.environment.push((name.into(), value.display().to_string()));
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// The mailbox's database.
    pub fn data(&self) -> PathBuf {
        self.folder.join("mailbox.db")
    }

    /// What both wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The command that starts a part.
    pub fn command(&self, part: Part) -> Vec<String> {
        let command = if part == Part::Engine { "serve" } else { "mailbox" };
        [self.program.display().to_string().as_str(), command, "--config", &self.config().display().to_string()]
            .map(str::to_owned)
            .into()
    }

    pub fn start(&mut self, part: Part) {
        let command = self.command(part);
        self.start_as(part, &command);
    }

    /// Starts a part by another command, which must become the process.
    pub fn start_as(&mut self, part: Part, command: &[String]) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .envs(self.environment.iter().cloned())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ports = if part == Part::Engine { vec![self.mllp, self.http] } else { vec![self.mailbox] };
        let until = Instant::now() + PATIENCE;
        while ports.iter().any(|port| TcpStream::connect(port).is_err()) {
            assert!(child.try_wait().unwrap().is_none(), "the {part:?} ended: {}", self.log());
            assert!(Instant::now() < until, "the {part:?} does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.running[part as usize] = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self, part: Part) {
        let mut child = self.running[part as usize].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `SIGTERM`; how long the process took to end and whether it ended well, or `None` where it had to be killed.
    pub fn terminate(&mut self, part: Part, patience: Duration) -> Option<(Duration, bool)> {
        let mut child = self.running[part as usize].take().unwrap();
        let began = Instant::now();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        while began.elapsed() < patience {
            if let Some(status) = child.try_wait().unwrap() {
                return Some((began.elapsed(), status.success()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        None
    }

    pub fn pid(&self, part: Part) -> Option<u32> {
        self.running[part as usize].as_ref().map(Child::id)
    }

    /// Resident memory in bytes; `None` where it cannot be told.
    pub fn memory(&self, part: Part) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid(part)?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
