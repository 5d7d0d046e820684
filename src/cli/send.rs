//! `stoker send`: an MLLP client that sends files of messages and prints the acks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::input::{self, MAX_MESSAGE};
use crate::mllp::ack::reply::Ack;
use crate::mllp::client::{self, Client, ClientError};
use crate::tls;
use crate::units;
use crate::v2::Header;
use crate::v2::batch::Messages;

#[derive(Debug, Args)]
pub struct SendArgs {
    /// Files with messages: one or many, in CR, LF or CRLF lines, MLLP captures, FHS/BHS batches; `-` is stdin
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Where to send
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// How long to wait for a connection, and for each ack
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = units::duration::parse)]
    timeout: Duration,
    /// Speak TLS; the receiver's certificate must be for the host of --to
    #[arg(long)]
    tls: bool,
    /// PEM certificates of the authorities to trust, in place of the system's
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// PEM with our certificate and private key, for mutual TLS
    #[arg(long, value_name = "FILE", requires = "tls")]
    identity: Option<PathBuf>,
    /// Print only what was not accepted, and the summary
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    unanswered: u64,
    unreadable: u64,
}

pub fn run(options: &SendArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = runtime.block_on(send_all(options))?;
    eprintln!(
        "{} accepted, {} refused, {} without an ack, {} unreadable",
        tally.accepted, tally.refused, tally.unanswered, tally.unreadable
    );
    let good = tally.refused + tally.unanswered + tally.unreadable == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn send_all(options: &SendArgs) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut client = connect(options).await?;
    for path in &options.files {
        let reader = input::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        for found in Messages::new(reader, MAX_MESSAGE) {
            match found {
                Ok(found) => {
                    let place = format!("{}:{}", path.display(), found.line);
                    one(&mut client, &place, &found.on_the_wire(), options, &mut tally).await?;
                }
                Err(fault) => {
                    tally.unreadable += 1;
                    eprintln!("{}: {fault}", path.display());
                }
            }
        }
    }
    Ok(tally)
}

/// A connection with TLS or without.
trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin> Link for IO {}

type Sender = Client<Box<dyn Link>>;

async fn connect(options: &SendArgs) -> anyhow::Result<Sender> {
    let connected = link(options).await.with_context(|| format!("cannot send to {}", options.to))?;
    Ok(Client::over(connected, options.timeout))
}

async fn link(options: &SendArgs) -> anyhow::Result<Box<dyn Link>> {
    let to = options.to.as_str();
    if !options.tls {
        return Ok(Box::new(client::connect(to, options.timeout).await?));
    }
    let tls = tls::connector(options.ca.as_deref(), options.identity.as_deref())?;
    let host = to.rsplit_once(':').map_or(to, |(host, _)| host).trim_matches(['[', ']']).to_owned();
    Ok(Box::new(client::connect_tls(to, ServerName::try_from(host)?, &tls, options.timeout).await?))
}

/// Sends one message. A receiver that closed instead of answering is tried again with the next message.
async fn one(
    client: &mut Sender,
    place: &str,
    message: &[u8],
    options: &SendArgs,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let control_id = Header::peek(message).map_or_else(|_| String::new(), |h| lossy(h.control_id()));
    match client.send(message).await {
        Ok(Some(ack)) => {
            if ack.is_positive() {
                tally.accepted += 1;
            } else {
                tally.refused += 1;
            }
            if !options.quiet || !ack.is_positive() {
                print(place, &control_id, &ack);
            }
        }
        Ok(None) => {
            tally.accepted += 1;
            println!("{place}\t{control_id}\t--\tthe message asks for no ack");
        }
        Err(why) => {
            tally.unanswered += 1;
            println!("{place}\t{control_id}\t!!\t{why}");
            if ends_connection(&why) {
                *client = connect(options).await?;
            }
        }
    }
    Ok(())
}

fn ends_connection(why: &ClientError) -> bool {
    !matches!(why, ClientError::NotAnAck)
}

fn print(place: &str, control_id: &str, ack: &Ack) {
    println!("{place}\t{control_id}\t{}\t{}", ack.code, ack.text);
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
