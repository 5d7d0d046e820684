//! The commands: what a person types, and what they see.
//!
//! Results go to stdout, everything else to stderr, so that a command can stand in a pipe. The exit code is 0 when all
//! went well, 1 when some of what was asked for failed, 2 when it could not start.
//!
//! A file for each command, a folder where it has parts: it parses, calls and prints. What several of them print with is in
//! `terminal`, what those have that go on until they are stopped in `running`; `input` reads files of messages, `configured` the
//! configuration, `admin` asks a running daemon, `state_file` keeps how far an interrupted command is. `report` is a part of `convert`.

#![allow(clippy::print_stdout, reason = "the commands speak to stdout")]

#[macro_use]
mod terminal;
mod running;
mod state_file;
mod configured;
mod admin;
mod backup;
mod check;
mod convert;
mod coverage;
mod demo;
mod diff;
mod explain;
mod input;
mod mailbox;
mod poll;
mod queue;
mod replay;
mod report;
mod send;
mod serve;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use configured::Configured;

#[derive(Debug, Parser)]
#[command(name = "stoker", version, about = "HL7 v2 ADT in, FHIR R4 messages out, nothing lost between")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send the samples through the whole of it and show what became of each
    Demo(demo::DemoArgs),
    /// Run the daemon: listeners, journal, mapping, delivery, mailbox
    Serve(serve::ServeArgs),
    /// Run the mailbox alone
    Mailbox(mailbox::MailboxArgs),
    /// Convert v2 files to FHIR message Bundles, one a line
    Convert(convert::ConvertArgs),
    /// Show where each field of a message went, by which rule, and what was left out
    Explain(explain::ExplainArgs),
    /// Check the configuration and the mapping files
    Check(Configured),
    /// Show which fields the mapping uses and where they go; compare it with HL7's guide
    Coverage(coverage::CoverageArgs),
    /// Show what changed mappings do to messages: resource by resource, element by element, and in sum
    Diff(diff::DiffArgs),
    /// Send v2 files over MLLP and print the acks
    Send(send::SendArgs),
    /// Convert v2 files and deliver them to a $process-message endpoint, in order and with the ids of the first time
    Replay(replay::ReplayArgs),
    /// Copy the journal, and the mailbox's data, while the daemon runs
    Backup(backup::BackupArgs),
    /// Check that a journal or a mailbox's data is whole, and what to do where it is not
    Verify(verify::VerifyArgs),
    /// Look into the journal's queue: what waits and why; try messages again, give them up, export them
    Queue(Box<queue::QueueArgs>),
    /// Read the messages of a destination from a mailbox, as NDJSON
    Poll(poll::PollArgs),
}

/// Parses, runs, and says what went wrong in words.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // What a command writes holds messages, copies of them or secrets: nobody else's to read.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let done = match cli.command {
        Command::Diff(options) => diff::run(&options),
        Command::Coverage(options) => coverage::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Mailbox(options) => mailbox::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Backup(options) => backup::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Queue(options) => queue::run(&options),
        Command::Poll(options) => poll::run(&options),
        Command::Convert(options) => convert::run(&options),
        Command::Send(options) => send::run(&options),
        Command::Check(args) => args.load().and_then(|config| check::run(&config)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("stoker: {error:#}");
        ExitCode::from(2)
    })
}
