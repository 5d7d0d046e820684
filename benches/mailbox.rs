//! What the mailbox does in a second, over real HTTP, durable: `cargo bench --bench mailbox -- [VISITS] [SECONDS]`.
//!
//! Fills a store with VISITS visits (10,000 by default), then measures for SECONDS each: messages processed by 32
//! connections, what one costs in processor time, reads and searches while they are processed, bytes on disk for each
//! message, and how fast a receiver catches up. Client and server share the machine and this process. BENCH_DIR names
//! the folder that the store is made in.
//!
//! The mix is that of a hospital's day: of ten messages two admit, three transfer or discharge, four update clinical
//! data, one updates a person. A message is 4 to 7 KB.

#![allow(clippy::disallowed_methods, reason = "a bench prints, and asks loopback")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed")]

#[path = "client/mod.rs"]
mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Http, Server, each, post, processor_time};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: u64 = 32;

fn get(path: &str) -> String {
    format!("GET /fhir/{path} HTTP/1.1\r\nhost: bench\r\n\r\n")
}

/// Names and codes that make the messages as long as real ones.
fn practitioner(n: u64) -> String {
    format!(
        r#"{{"resourceType":"Practitioner","id":"practitioner-{n}","identifier":[{{"system":"urn:oid:2.16.840.1.113883.4.6","value":"999001{n:04}","type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"NPI"}}]}}}}],"name":[{{"family":"Okafor{n}","given":["Adaeze","N"],"prefix":["Dr"],"suffix":["MD"]}}]}}"#
    )
}

fn patient(person: u64, minute: u64) -> String {
    let url = format!("http://bench/fhir/Patient?identifier=urn:oid:1.2.3%7C{person}");
    format!(
        r#"{{"fullUrl":"{url}","resource":{{"resourceType":"Patient","identifier":[{{"type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}}]}},"system":"urn:oid:1.2.3","value":"{person}"}},{{"system":"urn:oid:1.2.4","value":"N{person}"}}],"name":[{{"use":"official","family":"Whitcombe{person}","given":["Eleanor","Ruth"],"prefix":["Mrs"]}}],"gender":"female","birthDate":"1968-02-14","address":[{{"use":"home","line":["{minute} Quarry Rd","Apt 2"],"city":"Maple Hollow","state":"VT","postalCode":"05999","country":"USA"}}],"telecom":[{{"system":"phone","value":"+1 802 5550143","use":"home"}},{{"system":"email","value":"e.whitcombe@mail.example"}}],"maritalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus","code":"M"}}]}},"contact":[{{"relationship":[{{"text":"Spouse"}}],"name":{{"family":"Whitcombe","given":["Daniel"]}},"telecom":[{{"system":"phone","value":"+1 802 5550144"}}]}}]}}}}"#
    )
}

fn visit(visit: u64, person: u64, status: &str, ward: u64) -> String {
    let (one, two) = (practitioner(visit % 97), practitioner(visit % 89 + 100));
    let (a, b) = (visit % 97, visit % 89 + 100);
    format!(
        r##"{{"fullUrl":"http://bench/fhir/Encounter?identifier=urn:visit%7C{visit}","resource":{{"resourceType":"Encounter","contained":[{one},{two},{{"resourceType":"Location","id":"ward","name":"W{ward}","mode":"instance"}},{{"resourceType":"Location","id":"bed","name":"B{ward}","mode":"instance","partOf":{{"reference":"#ward"}}}}],"identifier":[{{"system":"urn:visit","value":"{visit}"}}],"status":"{status}","class":{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"IMP","display":"inpatient encounter"}},"subject":{{"reference":"http://bench/fhir/Patient?identifier=urn:oid:1.2.3%7C{person}"}},"participant":[{{"type":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"ATND"}}]}}],"individual":{{"reference":"#practitioner-{a}"}}}},{{"type":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"ADM"}}]}}],"individual":{{"reference":"#practitioner-{b}"}}}}],"period":{{"start":"2024-05-06T22:10:00-05:00"}},"location":[{{"location":{{"reference":"#bed"}},"status":"active"}}],"hospitalization":{{"admitSource":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/admit-source","code":"emd"}}]}}}}}}}}"##
    )
}

fn clinical(visit: u64, person: u64, version: u64) -> String {
    let subject = format!(r#"{{"reference":"http://bench/fhir/Patient?identifier=urn:oid:1.2.3%7C{person}"}}"#);
    let encounter = format!(r#"{{"reference":"http://bench/fhir/Encounter?identifier=urn:visit%7C{visit}"}}"#);
    let id = |kind: &str| uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{kind} {visit}").as_bytes());
    let (c1, c2, a) = (id("c1"), id(&format!("c2 {version}")), id("a"));
    let condition = |id: uuid::Uuid, code: &str| {
        format!(
            r#"{{"fullUrl":"urn:uuid:{id}","resource":{{"resourceType":"Condition","id":"{id}","clinicalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}}]}},"category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/condition-category","code":"encounter-diagnosis"}}]}}],"code":{{"coding":[{{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"{code}","display":"Unspecified acute appendicitis"}}]}},"subject":{subject},"encounter":{encounter},"onsetDateTime":"2024-05-06"}}}}"#
        )
    };
    format!(
        r#"{},{},{{"fullUrl":"urn:uuid:{a}","resource":{{"resourceType":"AllergyIntolerance","id":"{a}","clinicalStatus":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical","code":"active"}}]}},"code":{{"coding":[{{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"7980","display":"Penicillin G"}}]}},"patient":{subject},"encounter":{encounter},"reaction":[{{"manifestation":[{{"text":"Anaphylaxis"}}],"severity":"severe"}}]}}}}"#,
        condition(c1, "K35.80"),
        condition(c2, "E11.9")
    )
}

fn message(number: u64, event: &str, trigger: &str, entries: &[String]) -> String {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, &number.to_be_bytes());
    let bundle = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, &number.to_be_bytes());
    let at = jiff::Timestamp::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + number);
    format!(
        r#"{{"resourceType":"Bundle","id":"{bundle}","identifier":{{"system":"urn:stoker:message:MAPLEHOLLOW:MHADT","value":"MH{number}"}},"type":"message","timestamp":"{at}","entry":[{{"fullUrl":"urn:uuid:{id}","resource":{{"resourceType":"MessageHeader","id":"{id}","meta":{{"tag":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0003","code":"{trigger}"}}]}},"eventCoding":{{"system":"http://terminology.hl7.org/CodeSystem/message-events","code":"{event}"}},"source":{{"endpoint":"urn:stoker:endpoint:MAPLEHOLLOW:MHADT","name":"MHADT"}},"destination":[{{"endpoint":"urn:stoker:endpoint:MAPLEHOLLOW:STOKER"}}]}}}},{}]}}"#,
        entries.join(",")
    )
}

fn admission(number: u64, n: u64) -> String {
    message(
        number,
        "admin-notify",
        "A01",
        &[patient(n / 2, 0), visit(n, n / 2, "in-progress", n % 40), clinical(n, n / 2, 0)],
    )
}

/// The message with this number in a day of a hospital that has `visits` visits already.
fn of_the_day(number: u64, visits: u64) -> String {
    // Recent visits get most messages; the multiplier only scatters.
    let n = visits - 1 - (number.wrapping_mul(2_654_435_761) % (visits / 4).max(1));
    let person = n / 2;
    match number % 10 {
        0 | 1 => admission(number, visits + number),
        2 | 3 => {
            message(number, "admin-notify", "A02", &[patient(person, 0), visit(n, person, "in-progress", number % 40)])
        }
        4 => message(number, "admin-notify", "A03", &[patient(person, 0), visit(n, person, "finished", number % 40)]),
        5 => message(number, "admin-notify", "A31", &[patient(person, number)]),
        _ => message(
            number,
            "clinical-notify",
            "A08",
            &[patient(person, 0), visit(n, person, "in-progress", 1), clinical(n, person, number)],
        ),
    }
}

/// Sends `count` messages, or until `stop`, over all connections; gives how many were accepted.
async fn send(
    address: SocketAddr,
    first: u64,
    count: u64,
    stop: Arc<AtomicBool>,
    make: impl Fn(u64) -> String + Send + Sync + 'static,
) -> u64 {
    let (next, make) = (Arc::new(AtomicU64::new(0)), Arc::new(make));
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (next, make, stop) = (Arc::clone(&next), Arc::clone(&make), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut http, mut done) = (Http::connect(address).await, 0);
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    let (status, _) = http.ask(&post(&make(first + n))).await;
                    assert_eq!(status, 200);
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut total = 0;
    for worker in workers {
        total += worker.await.unwrap();
    }
    total
}

async fn stop_after(stop: Arc<AtomicBool>, time: Duration) {
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
}

/// Asks the same kind of thing again and again until `stop`; gives the times, sorted.
async fn ask_until(address: SocketAddr, stop: Arc<AtomicBool>, path: impl Fn(u64) -> String) -> Vec<Duration> {
    let (mut http, mut times, mut n) = (Http::connect(address).await, Vec::new(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let asked = Instant::now();
        let (status, _) = http.ask(&get(&path(n))).await;
        assert_eq!(status, 200);
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times.sort();
    times
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[tokio::main]
async fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let visits = numbers.first().copied().unwrap_or(10_000);
    let time = Duration::from_secs(numbers.get(1).copied().unwrap_or(10));
    let server = Server::start().await;
    let address = server.address;
    let running = || Arc::new(AtomicBool::new(false));

    let started = Instant::now();
    send(address, 0, visits, running(), move |n| admission(n, n)).await;
    let rate = visits as f64 / started.elapsed().as_secs_f64();
    println!("fill      {visits} admissions, {rate:.0}/s, {} bytes each on disk", server.size() / visits);

    let (stop, started, before, worked) = (running(), Instant::now(), server.size(), processor_time());
    tokio::spawn(stop_after(Arc::clone(&stop), time));
    let sent = send(address, visits, u64::MAX, stop, move |n| of_the_day(n, visits)).await;
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    let bytes = server.size().saturating_sub(before) / sent.max(1);
    let cost = each(processor_time() - worked, sent);
    println!(
        "process   {sent} messages of the day, {rate:.0}/s, {cost:.0} us of processor each, {bytes} bytes each on disk"
    );

    let mut http = Http::connect(address).await;
    http.ask(&get("Encounter?_count=1")).await;
    let body = String::from_utf8(http.buffer.clone()).unwrap();
    let id = body.split("\"resourceType\":\"Encounter\",\"id\":\"").nth(1).unwrap()[..36].to_owned();
    let (stop, first) = (running(), visits + sent);
    tokio::spawn(stop_after(Arc::clone(&stop), time));
    let load = tokio::spawn(send(address, first, u64::MAX, Arc::clone(&stop), move |n| of_the_day(n, visits)));
    let read = tokio::spawn(ask_until(address, Arc::clone(&stop), move |_| format!("Encounter/{id}")));
    let search =
        ask_until(address, stop, move |n| format!("Encounter?identifier=urn:visit%7C{}", n * 7919 % visits)).await;
    let (read, load) = (read.await.unwrap(), load.await.unwrap());
    println!("under load ({:.0} messages/s)", load as f64 / time.as_secs_f64());
    println!("  read    p50 {:?}, p99 {:?}", percentile(&read, 50), percentile(&read, 99));
    println!("  search  p50 {:?}, p99 {:?}", percentile(&search, 50), percentile(&search, 99));

    let list = "Bundle?message.destination-uri=urn:stoker:endpoint:MAPLEHOLLOW:STOKER";
    let total = first + load;
    let (started, mut polled) = (Instant::now(), 0);
    while polled < total && started.elapsed() < time {
        http.ask(&get(&format!("{list}&_offset={polled}&_count=500"))).await;
        polled += 500;
    }
    println!("poll      {:.0} messages/s, {polled} of {total}", polled as f64 / started.elapsed().as_secs_f64());
    for offset in [0, total.saturating_sub(100)] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..200 {
            let asked = Instant::now();
            http.ask(&get(&format!("{list}&_offset={offset}&_count=50"))).await;
            times.push(asked.elapsed());
        }
        times.sort();
        println!("  page of 50 at offset {offset}: p50 {:?}", percentile(&times, 50));
    }
    drop(http);
    let left = server.close().await;
    println!("closed    {} bytes on disk for each of {total} messages", left / total);
}
