//! `stoker queue pause` and `resume`: stops deliveries and lets them go on, at the daemon or for its next start.

use std::process::ExitCode;

use clap::Args;

use super::asked;
use super::place::{JournalAccess, JournalWriter};
use crate::cli::terminal::moment;
use crate::config::Config;
use crate::engine::operator;
use crate::server::admin::Pause;

#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Why, for the record; without patient data
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who does it, for the record; otherwise the user of this shell
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub fn run(place: &JournalAccess, pause: bool, options: &PauseArgs) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    let earlier = super::place::reader(&config)?.pause()?;
    match (pause, &earlier) {
        (true, Some(earlier)) => {
            eprintln!("deliveries are paused already, by {}, {}", earlier.act.who, moment::ago(earlier.act.at));
            return Ok(ExitCode::SUCCESS);
        }
        (false, None) => {
            eprintln!("deliveries are not paused; stoker queue says what they wait for");
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let act = perform(place, &config, pause, options)?;
    let what = if pause {
        "deliveries are paused, over restarts too; messages are received. stoker queue resume lets them go on"
    } else {
        "deliveries go on"
    };
    eprintln!("{what}; act {act} in stoker queue log");
    Ok(ExitCode::SUCCESS)
}

/// The act's number.
fn perform(place: &JournalAccess, config: &Config, pause: bool, options: &PauseArgs) -> anyhow::Result<i64> {
    let who = options.by.clone().unwrap_or_else(asked::user);
    let reason = options.reason.clone();
    match place.writer(config)? {
        JournalWriter::Daemon(remote, holder) => {
            let asked = Pause { pause, journal: remote.journal().to_owned(), who, reason };
            Ok(holder.wait(async move { remote.pause(&asked).await })?.act)
        }
        JournalWriter::Here(journal) => {
            super::place::wait(async move { Ok(operator::pause(&journal, None, pause, who, reason).await?) })
        }
    }
}
