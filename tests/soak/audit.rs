//! Whether everything that was acknowledged was delivered, in order, and applied once.
//!
//! Two witnesses. The journal: as many messages as were acknowledged, all delivered, none given up. The mailbox: each
//! patient's visit has as many versions as messages were acknowledged, and the last one has the last message's bed. A
//! message that is lost or comes out of order (a late one is not applied) leaves a version too few, one that is applied
//! twice a version too many.

use std::time::{Duration, Instant};

use stoker::journal::{Query, Reader, Status};

use super::rig::Rig;

/// Waits until the queue is empty, then judges; what is wrong, if anything, at most ten lines of it.
pub async fn audit(rig: &Rig, acked: &[u32], patience: Duration) -> Result<u64, String> {
    let total: u64 = acked.iter().map(|&count| u64::from(count)).sum();
    delivered(rig, total, patience).await?;
    let wrong = wrong_visits(rig, acked).await;
    if wrong.is_empty() { Ok(total) } else { Err(wrong.join("\n")) }
}

/// The mailbox's word, where it is not what was acknowledged: at most ten lines.
pub async fn wrong_visits(rig: &Rig, acked: &[u32]) -> Vec<String> {
    let client = stoker::tls::http_client().timeout(Duration::from_secs(10)).build().unwrap();
    let mut wrong = Vec::new();
    for (patient, &count) in acked.iter().enumerate().filter(|(_, count)| **count > 0) {
        let expected = (count.to_string(), (count - 1).to_string());
        match visit(&client, rig, patient).await {
            Ok(found) if found == expected => {}
            found => wrong.push(format!("patient {patient}: version and bed should be {expected:?}, found {found:?}")),
        }
        if wrong.len() == 10 {
            break;
        }
    }
    wrong
}

/// The journal's word.
async fn delivered(rig: &Rig, total: u64, patience: Duration) -> Result<(), String> {
    let reader = Reader::open(&rig.journal).map_err(|error| error.to_string())?;
    let until = Instant::now() + patience;
    loop {
        let count = |status| reader.count(&Query { status, ..Query::default() }).map_err(|error| error.to_string());
        let (all, delivered) = (count(None)?, count(Some(Status::Delivered))?);
        if all == total && delivered == total {
            return Ok(());
        }
        let backlog = reader.backlog().map_err(|error| error.to_string())?;
        // Fewer for a moment: the last ones are on their way from the journal's log into its tables.
        if Instant::now() > until || backlog.dead > 0 || all > total {
            let dead = backlog.dead;
            return Err(format!("{total} acknowledged, {all} in the journal, {delivered} delivered, {dead} dead"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The visit of a patient as the mailbox shows it: its version and its bed.
async fn visit(client: &reqwest::Client, rig: &Rig, patient: usize) -> Result<(String, String), String> {
    let url = format!("http://{}/fhir/Encounter?identifier=urn:stoker:visit:NORD:PAS%7CV{patient}", rig.mailbox);
    let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
    let found = answer.text().await.map_err(|error| error.to_string())?;
    let found: serde_json::Value = serde_json::from_str(&found).map_err(|error| error.to_string())?;
    let entries = found["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [entry] = entries else { return Err(format!("{} visits", entries.len())) };
    let encounter = &entry["resource"];
    let contained = encounter["contained"].as_array().ok_or("no location")?;
    let bed = contained.iter().find(|c| c["physicalType"]["coding"][0]["code"] == "bd").ok_or("no bed")?;
    let version = encounter["meta"]["versionId"].as_str().unwrap_or_default();
    Ok((version.to_owned(), bed["identifier"][0]["value"].as_str().unwrap_or_default().to_owned()))
}
