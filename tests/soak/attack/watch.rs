//! What is seen of the daemon while it is attacked, once a second: memory, processor, files, whether it answers.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::ask::ask;
use super::load::Load;
use super::rig::{Part, Rig};

/// Who asks for the daemon's health, and a person's orders, take longer than this for no answer.
pub const PROMPT: Duration = Duration::from_secs(1);

/// Seconds between two orders of a person.
const ORDER_EVERY: u64 = 20;

pub struct Watch {
    curve: File,
    began: Instant,
    program: PathBuf,
    folder_before: u64,
    cpu_before: Duration,
    pub health: Asked,
    pub orders: Asked,
}

/// How questions of one kind were answered.
#[derive(Debug, Default)]
pub struct Asked {
    pub times: u64,
    /// Not as they should be, or not in time.
    pub failed: u64,
    pub slowest: Duration,
    /// What came instead, the first time.
    pub instead: Option<String>,
}

impl Asked {
    fn add(&mut self, took: Duration, answer: Result<(), String>) {
        self.times += 1;
        self.slowest = self.slowest.max(took);
        let answer = if took > PROMPT { answer.and(Err(format!("it took {took:.1?}"))) } else { answer };
        if let Err(instead) = answer {
            self.failed += 1;
            self.instead.get_or_insert(instead);
        }
    }
}

impl Watch {
    pub fn new(rig: &Rig, program: &Path) -> Self {
        let mut curve = File::create(rig.folder.join("curve.csv")).unwrap();
        writeln!(curve, "seconds,acknowledged,slowest_ack_ms,rss_mib,cpu_s,data_mib,log_lines,health").unwrap();
        Self {
            curve,
            began: Instant::now(),
            program: program.into(),
            folder_before: size(&rig.folder),
            cpu_before: cpu(rig),
            health: Asked::default(),
            orders: Asked::default(),
        }
    }

    pub async fn for_a_time(&mut self, rig: &Rig, load: &Load, time: Duration) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut orders = JoinSet::new();
        for second in 0.. {
            ticks.tick().await;
            if self.began.elapsed() > time {
                break;
            }
            let health = self.ask_for_health(rig).await;
            self.note(rig, load, &health);
            if second % ORDER_EVERY == ORDER_EVERY / 2 {
                let (program, config) = (self.program.clone(), rig.config());
                orders.spawn_blocking(move || order(&program, &config));
            }
            while let Some(done) = orders.try_join_next() {
                let (took, answer) = done.unwrap();
                self.orders.add(took, answer);
            }
        }
        while let Some(done) = orders.join_next().await {
            let (took, answer) = done.unwrap();
            self.orders.add(took, answer);
        }
    }

    async fn ask_for_health(&mut self, rig: &Rig) -> String {
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", rig.http);
        let began = Instant::now();
        let answer = timeout(2 * PROMPT, ask(IpAddr::from(Ipv4Addr::LOCALHOST), rig.http, &request)).await;
        let answer = answer.unwrap_or_else(|_| "nothing".to_owned());
        self.health.add(began.elapsed(), if answer == "200" { Ok(()) } else { Err(answer.clone()) });
        answer
    }

    fn note(&mut self, rig: &Rig, load: &Load, health: &str) {
        writeln!(
            self.curve,
            "{},{},{},{:.1},{:.1},{:.1},{},{health}",
            self.began.elapsed().as_secs(),
            load.acked(),
            load.slowest().as_millis(),
            mib(rig.memory(Part::Engine).unwrap_or(0)),
            cpu(rig).as_secs_f64(),
            mib(size(&rig.folder)),
            rig.log().lines().count(),
        )
        .unwrap();
    }

    /// By how many bytes the data has grown.
    pub fn grown(&self, rig: &Rig) -> u64 {
        size(&rig.folder).saturating_sub(self.folder_before)
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak(&self, rig: &Rig) -> u64 {
        let status = rig.pid(Part::Engine).map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")));
        let status = status.and_then(Result::ok).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// The processor time that it had, and in how long.
    pub fn cpu(&self, rig: &Rig) -> (Duration, Duration) {
        (cpu(rig).saturating_sub(self.cpu_before), self.began.elapsed())
    }
}

/// An order of a person of this machine that changes nothing: deliveries go on.
fn order(program: &Path, config: &Path) -> (Duration, Result<(), String>) {
    let began = Instant::now();
    let mut command = Command::new(program);
    command.args(["queue", "resume", "--by", "the attack run", "--config"]).arg(config);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    loop {
        match child.try_wait().unwrap() {
            Some(status) if status.success() => return (began.elapsed(), Ok(())),
            Some(status) => return (began.elapsed(), Err(status.to_string())),
            None if began.elapsed() > Duration::from_secs(60) => {
                child.kill().unwrap();
                child.wait().unwrap();
                return (began.elapsed(), Err("no answer in a minute".to_owned()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// User and system time, of `/proc/pid/stat` (fields 14 and 15, in hundredths of a second).
fn cpu(rig: &Rig) -> Duration {
    let stat = rig.pid(Part::Engine).and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let stat = stat.unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// What the daemon keeps in the folder: not its log and not what is written by this run.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let files = files.filter(|file| !["log", "curve.csv", "config.toml"].iter().any(|name| file.file_name() == *name));
    files.filter_map(|file| file.metadata().ok()).map(|file| if file.is_dir() { 0 } else { file.len() }).sum()
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
