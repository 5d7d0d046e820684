//! `stoker coverage`: which fields of each segment a mapping uses and where they go, and how that compares with HL7's
//! v2-to-FHIR guide. Markdown, made from the mapping files alone; no message is needed.

pub(super) mod markdown;
mod guide;
mod usage;

use std::process::ExitCode;

use clap::Args;

use super::Configured;
use crate::config::Config;
use crate::mapping::Plan;
use crate::mapping::plan::lineage::routes;

#[derive(Debug, Args)]
pub struct CoverageArgs {
    #[command(flatten)]
    configured: Configured,
    /// Only these segments, as PV1
    #[arg(long = "segment", value_name = "NAME")]
    segments: Vec<String>,
    /// Compare with HL7's v2-to-FHIR guide, row by row; the extended set is taken in
    #[arg(long)]
    guide: bool,
}

pub fn run(options: &CoverageArgs) -> anyhow::Result<ExitCode> {
    let Config { mut mapping, identifiers, .. } = options.configured.load()?;
    mapping.extended |= options.guide;
    let plan = Plan::load(&mapping, &identifiers)?;
    let routes = routes(&plan);
    let segments: Vec<String> = options.segments.iter().map(|name| name.to_uppercase()).collect();
    let wanted = |segment: &str| segments.is_empty() || segments.iter().any(|name| name == segment);
    if options.guide {
        print!("{}", guide::write(&routes, wanted)?);
    }
    print!("{}", usage::write(&routes, wanted));
    Ok(ExitCode::SUCCESS)
}
