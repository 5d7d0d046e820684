//! Signals: what stops, what does not, and how often one has to ask.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{program, write};

/// A destination that takes connections and never answers: what is under way for it stays so.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

struct Running {
    child: Child,
    folder: tempfile::TempDir,
    mllp: SocketAddr,
}

impl Running {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mllp = silent().local_addr().unwrap();
        let config = format!(
            "{more}[http]\nbind = \"127.0.0.1:0\"\n[[listener]]\nbind = \"{mllp}\"\n[journal]\nmin_free = \"0B\"\n"
        );
        write(folder.path(), "config.toml", &config);
        let log = File::create(folder.path().join("log")).unwrap();
        let child = program(folder.path(), &["serve", "--config", "config.toml"])
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { child, folder, mllp };
        running.until("listening");
        running
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn until(&self, words: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.log().contains(words) {
            assert!(Instant::now() < until, "never said '{words}': {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn send(&self) -> String {
        let message =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/A01-admit-fjordvik.hl7")).unwrap();
        let mut peer = TcpStream::connect(self.mllp).unwrap();
        peer.write_all(&[b"\x0b", &message[..], b"\x1c\r"].concat()).unwrap();
        let mut answer = [0; 512];
        let n = peer.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..n]).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn sighup_and_sigpipe_change_nothing_and_the_drain_still_comes() {
    let mut running = Running::start("");
    running.signal("-HUP");
    running.until("not supported yet");
    running.signal("-PIPE");
    assert!(running.send().contains("MSA|AA"), "{}", running.log());
    running.signal("-HUP");
    running.signal("-TERM");
    assert_eq!(running.child.wait().unwrap().code(), Some(0), "{}", running.log());
    assert!(running.log().contains("stopped"), "{}", running.log());
}

#[test]
fn a_second_signal_ends_at_once_and_says_so() {
    let destination = silent();
    let url = destination.local_addr().unwrap();
    let more = format!(
        "[destination]\nurl = \"http://{url}/$process-message\"\ntimeout = \"10m\"\n[queue]\ndrain = \"10m\"\n"
    );
    for (first, second) in [("-TERM", "-INT"), ("-INT", "-TERM"), ("-TERM", "-TERM")] {
        let mut running = Running::start(&more);
        assert!(running.send().contains("MSA|AA"));
        let (_under_way, _) = destination.accept().unwrap();
        running.signal(first);
        running.until("a second signal ends at once");
        running.signal("-HUP"); // is none
        running.until("not supported yet");
        assert!(running.child.try_wait().unwrap().is_none(), "SIGHUP ended it: {}", running.log());
        running.signal(second);
        assert_eq!(running.child.wait().unwrap().code(), Some(1), "{}", running.log());
        assert!(running.log().contains("ended at once; what was under way is sent again"), "{}", running.log());
    }
}
