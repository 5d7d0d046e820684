//! `stoker demo`: the samples go through the whole of it, in a temporary folder and on free loopback ports.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use rust_embed::RustEmbed;
use tokio_util::sync::CancellationToken;

use super::running::logging;
use super::running::signals::{self, Hangup};
use crate::config::{Config, Log};
use crate::journal::{Journal, Query, Row, Status};
use crate::mapping::{Context, Plan, convert};
use crate::mllp::client::Client;
use crate::server::daemon::Daemon;
use crate::tls;
use crate::v2::Header;

/// How long the demo waits for a message before it says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave it running when the samples are through, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

#[derive(RustEmbed)]
#[folder = "samples"]
#[include = "*.hl7"]
#[exclude = "*/*"]
struct Samples;

/// One line of the table.
struct Line {
    control_id: String,
    event: String,
    ack: String,
    status: String,
    resources: String,
    address: String,
    delivered: bool,
}

pub fn run(options: &DemoArgs) -> anyhow::Result<ExitCode> {
    logging::start(&Log { level: "warn".into(), ..Log::default() })?;
    let folder = Folder::create()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let good = runtime.block_on(show(options, &folder))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn show(options: &DemoArgs, folder: &Folder) -> anyhow::Result<bool> {
    let daemon = Daemon::build(configuration(folder)).await?;
    let (config, journal) = (daemon.config().clone(), daemon.journal());
    let mllp = *daemon.mllp().first().context("there is no listener")?;
    let plan = Plan::load(&config.mapping, &config.identifiers)?;
    let base = &config.mapping.base;
    println!("HL7 v2 over MLLP on {mllp}, mailbox at {base}, data in {}\n", folder.0.display());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(daemon.run(shutdown.clone()));
    let started = Instant::now();
    let lines = send(mllp, &plan, &journal).await?;
    let took = started.elapsed();
    table(&lines, base);
    let delivered = lines.iter().filter(|line| line.delivered).count();
    println!("\n{} messages sent, {delivered} delivered to the mailbox, in {:.1} s", lines.len(), took.as_secs_f64());
    println!("{}", holdings(base).await?);
    if options.keep {
        println!("\nstill running; send it more with: stoker send FILES --to {mllp}\nCtrl-C ends it");
        tokio::spawn(signals::stop(shutdown.clone(), Hangup::Stops));
    } else {
        shutdown.cancel();
    }
    running.await??;
    Ok(delivered == lines.len())
}

/// Everything on free ports and in a folder of its own.
fn configuration(folder: &Folder) -> Config {
    let mut config = Config::default();
    config.http.bind.set_port(0);
    for listener in &mut config.listeners {
        listener.bind.set_port(0);
    }
    config.journal.path = folder.0.join("journal.db");
    config.mailbox.data = folder.0.join("mailbox.db");
    config
}

/// Sends every sample over one connection, then waits until each is delivered.
async fn send(mllp: std::net::SocketAddr, plan: &Plan, journal: &Journal) -> anyhow::Result<Vec<Line>> {
    let mut client = Client::connect(mllp, PATIENCE).await?;
    let mut lines = Vec::new();
    for name in Samples::iter() {
        let sample = Samples::get(&name).context("a sample is missing from the program")?;
        let ack = client.send(&sample.data).await.with_context(|| format!("{name} was not acknowledged"))?;
        let ack = ack.map_or_else(|| "-".to_owned(), |ack| ack.code);
        lines.push(line(&sample.data, ack, plan));
    }
    let until = Instant::now() + PATIENCE;
    for line in &mut lines {
        let row = settled(journal, &line.control_id, until).await?;
        line.delivered = row.status == Status::Delivered;
        line.status = status(&row);
    }
    Ok(lines)
}

fn line(raw: &[u8], ack: String, plan: &Plan) -> Line {
    let control_id =
        Header::peek(raw).map_or_else(|_| String::new(), |h| String::from_utf8_lossy(h.control_id()).into());
    let converted = convert(plan, raw, &Context::default());
    let (event, resources, address) = match &converted {
        Ok(converted) => (converted.event.clone(), counts(&converted.resources), address(&converted.body)),
        Err(why) => (String::new(), why.to_string(), String::new()),
    };
    Line { control_id, event, ack, status: String::new(), resources, address, delivered: false }
}

/// `Patient, Encounter, 2 Condition`; every message has a header.
fn counts(resources: &[(String, usize)]) -> String {
    let others = resources.iter().filter(|(name, _)| name != "MessageHeader");
    let words = others.map(|(name, n)| if *n == 1 { name.clone() } else { format!("{n} {name}") });
    words.collect::<Vec<_>>().join(", ")
}

/// Where to look: the visit, or whatever else the message is found by.
fn address(body: &str) -> String {
    let bundle: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let url = |kind: &str| {
        let entry = entries.iter().find(|entry| entry["resource"]["resourceType"] == kind)?;
        entry["fullUrl"].as_str().filter(|url| url.starts_with("http")).map(str::to_owned)
    };
    ["Encounter", "Patient", "Location"].iter().find_map(|kind| url(kind)).unwrap_or_default()
}

async fn settled(journal: &Journal, control_id: &str, until: Instant) -> anyhow::Result<Row> {
    loop {
        let query = Query { control_id: Some(control_id.to_owned()), limit: 1, ..Query::default() };
        let rows = journal.search(query).await?;
        let row = rows.into_iter().next().with_context(|| format!("{control_id} is not in the journal"))?;
        if !row.status.waits() || Instant::now() > until {
            return Ok(row);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn status(row: &Row) -> String {
    match &row.reason {
        Some(reason) if row.status != Status::Delivered => format!("{}: {reason}", row.status.as_str()),
        _ => row.status.as_str().to_owned(),
    }
}

fn table(lines: &[Line], base: &str) {
    let width =
        |of: fn(&Line) -> &str, least: usize| lines.iter().map(|l| of(l).chars().count()).fold(least, usize::max);
    let (id, status) = (width(|l| &l.control_id, 10), width(|l| &l.status, 6));
    let resources = width(|l| &l.resources, 9);
    println!("{:id$}  event  ack  {:status$}  {:resources$}  GET {base}/", "control id", "status", "resources");
    for l in lines {
        println!(
            "{:id$}  {:5}  {:3}  {:status$}  {:resources$}  {}",
            l.control_id,
            l.event,
            l.ack,
            l.status,
            l.resources,
            l.address.strip_prefix(base).unwrap_or(&l.address).trim_start_matches('/')
        );
    }
}

/// What the mailbox holds now, asked over HTTP as anybody would.
async fn holdings(base: &str) -> anyhow::Result<String> {
    let client = tls::http_client().build()?;
    let mut words = Vec::new();
    for kind in ["Patient", "Encounter", "Condition", "Procedure", "Observation", "AllergyIntolerance"] {
        let answer = client.get(format!("{base}/{kind}?_summary=count")).send().await?;
        if !answer.status().is_success() {
            bail!("the mailbox answers a search for {kind} with {}", answer.status());
        }
        let found: serde_json::Value = answer.json().await?;
        words.push(format!("{} {kind}", found["total"]));
    }
    Ok(format!("the mailbox holds {}", words.join(", ")))
}

/// A folder that goes away with the demo.
struct Folder(std::path::PathBuf);

impl Folder {
    fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("stoker-demo-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}
