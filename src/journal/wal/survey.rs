//! What stands in the two files and counts, after a crash or damage, and what is missing.

use std::io;

use super::extent::Extent;
use super::segment::{LogSegment, SegmentHeader};

/// A file that was begun, and how.
pub struct UsedSegment<'s> {
    pub segment: &'s LogSegment,
    pub header: SegmentHeader,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// What counts, in order; with a gap where entries between are damaged.
    pub extents: Vec<Extent>,
    /// The last position that was synced, as far as is known.
    pub synced: u64,
}

/// The files that were begun, the older first, and the last position that was synced by what they say of each other. A
/// header that is damaged is taken from the other file.
pub fn used<'s>(segments: impl IntoIterator<Item = &'s LogSegment>) -> io::Result<(Vec<UsedSegment<'s>>, u64)> {
    let segments: Vec<&LogSegment> = segments.into_iter().collect();
    let (mut used, mut synced) = (Vec::new(), 0);
    for segment in &segments {
        let other = segments.iter().find(|other| other.number != segment.number);
        let told = other.map(|other| other.other()).transpose()?.flatten();
        let own = segment.header()?;
        let told = told.filter(|told| own.is_none_or(|own| own.journal == told.header.journal));
        synced = synced.max(told.map_or(0, |told| told.synced));
        let newer = own.into_iter().chain(told.map(|told| told.header)).max_by_key(|header| header.generation);
        used.extend(newer.map(|header| UsedSegment { segment, header }));
    }
    used.sort_by_key(|used| used.header.generation);
    Ok((used, synced))
}

/// Looks through the files, the older first. `known` is the last position that is known to have been synced from elsewhere.
///
/// What the older file holds from where the newer begins is void: a failed sync left it. Behind an entry that does not check
/// others count where the position between was synced: by `known`, or because a group that came later was begun. Without
/// that it is the torn end of a group that nobody was told of. Where everything up to `enough` is there, nothing is looked for
/// behind that.
pub fn survey(used: &[UsedSegment<'_>], known: u64, enough: u64) -> io::Result<Survey> {
    let (mut all, mut synced) = (Vec::new(), known);
    for (at, UsedSegment { segment, header }) in used.iter().enumerate() {
        let until = used.get(at + 1).map_or(u64::MAX, |newer| newer.header.first);
        let (runs, told) = segment.runs(header, until, enough)?;
        synced = synced.max(told);
        all.push((header.first, runs));
    }
    let mut survey = Survey { extents: Vec::new(), synced };
    for (first, runs) in all {
        let mut next = first;
        for run in runs {
            if run.first > next && next > synced {
                break;
            }
            next = run.last + 1;
            survey.extents.push(run);
        }
    }
    Ok(survey)
}

/// The positions behind `filed` that were synced and that nothing that counts has, as pairs of the first and the last.
pub fn missing(filed: u64, survey: &Survey) -> Vec<(u64, u64)> {
    let (mut missing, mut next) = (Vec::new(), filed + 1);
    for extent in survey.extents.iter().filter(|extent| extent.last > filed) {
        if extent.first > next {
            missing.push((next, extent.first - 1));
        }
        next = extent.last + 1;
    }
    if survey.synced >= next {
        missing.push((next, survey.synced));
    }
    missing
}
