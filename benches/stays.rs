//! What the mailbox spends on the Bundles that the engine sends: `cargo bench --bench stays -- [STAYS]`.
//!
//! STAYS patients (2,000 by default) are admitted, updated, transferred and discharged: four messages each, mapped with the
//! shipped mappings before the clock starts, 13 KB on average. 32 connections send them to a durable mailbox over HTTP. The
//! work is the same every time, so that `perf stat -e instructions:u` over two builds compares them; the time of a build
//! depends on what else the machine does. BENCH_DIR names the folder that the store is made in.

#![allow(clippy::disallowed_methods, reason = "a bench prints, and asks loopback")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed")]

#[path = "client/mod.rs"]
mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use stoker::mapping::{self, Context, Identifiers, Plan, convert};

use client::{Http, Server, each, post, processor_time};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 32;

/// What happens in a stay, and what the messages about it hold besides the person.
const COURSE: [(&str, &str); 4] = [("A01", FULL), ("A08", FULL), ("A02", SHORT), ("A03", CODED)];
const FULL: &str = "PV2|||I20.9^I10|||||20260301||4||Acute admission\r\
OBX|1|NM|8302-2^Body height^LN||171|cm^centimeter^UCUM|||||F|||20260301080000+0100\r\
OBX|2|NM|29463-7^Body weight^LN||{weight}|kg^kilogram^UCUM|||||F|||20260301080000+0100\r\
AL1|1|DA|7980^Penicillin G^RXNORM|SV|Urticaria|20150301\r\
DG1|1||I20.9^Angina pectoris^I10||20260301080000+0100|A|||||||||1|9144901^Haugen^Ingrid^^^Dr.^^^HPR\r\
DG1|2||E11.9^Type 2 diabetes^I10||20260301080000+0100|A|||||||||2|9144901^Haugen^Ingrid^^^Dr.^^^HPR\r\
PR1|1||71275^CT angiography, chest^C4||20260301090000+0100|D|30\r";
const SHORT: &str = "PV2|||I20.9^I10|||||20260301||4||Acute admission\r";
const CODED: &str = "PV2|||I20.9^I10|||||20260301||4||Acute admission\r\
DG1|1||I20.9^Angina pectoris^I10||20260301080000+0100|F|||||||||1|9144901^Haugen^Ingrid^^^Dr.^^^HPR\r\
DG1|2||E11.9^Type 2 diabetes^I10||20260301080000+0100|F|||||||||2|9144901^Haugen^Ingrid^^^Dr.^^^HPR\r\
PR1|1||71275^CT angiography, chest^C4||20260301090000+0100|D|30\r";

/// The message about step `step` of stay `n`, HL7 v2.
fn message(n: usize, step: usize) -> String {
    let (event, rest) = COURSE[step];
    let hour = 8 + step;
    let bed = if step < 2 { "MED-B^204^1" } else { "MED-C^117^2" };
    let (place, end) = if event == "A03" { ("01", "|20260301110000+0100") } else { ("", "") };
    let kin = if step < 2 {
        "NK1|1|Nordmann^Ola|SPO^Spouse^HL70063|Storgata 1^^Oslo^^0155^NOR^H|^PRN^CP^^47^^90055513||C^Emergency Contact^HL70131\r"
    } else {
        ""
    };
    let doctor = |id: usize, name: &str| format!("{}^{name}^Ingrid^^^Dr.^^^HPR", 9_144_900 + id % 40);
    let (own, attending, admitting) = (doctor(n, "Hansen"), doctor(n / 3, "Haugen"), doctor(n / 7, "Lund"));
    let rest = rest.replace("{weight}", if step == 0 { "82" } else { "81.50" });
    format!(
        "MSH|^~\\&|PAS|NORDHOSP|STOKER|MAILBOX|20260301{hour:02}0000+0100||ADT^{event}^ADT_A01|B{n}-{step}|P|2.5.1|||||NOR|UNICODE UTF-8\r\
         EVN|{event}|20260301{hour:02}0000+0100|||7020099^Aas^Turid^^^^^^HPR|20260301{hour:02}0000+0100|NORDHOSP\r\
         PID|1||M{n:08}^^^NORDHOSP^MR~{n:011}^^^FREG^NI||Nordmann^Kari{n}^Anne^^^^L||19700101|F|||Storgata {n}^^Oslo^^0155^NOR^H||^PRN^PH^^47^^22334455~^NET^Internet^M{n}@example.org|^WPN^PH^^47^^23334455|no|M||A{n:08}^^^NORDHOSP^AN\r\
         PD1|||Nordbyen legesenter^L^8123456|{own}\r{kin}\
         PV1|1|I|{bed}|E|||{attending}|{own}||MED||||7|A0||{admitting}|IP|V{n:08}-1^^^NORDHOSP^VN|||||||||||||||||{place}|||NORDHOSP|||||20260301080000+0100{end}\r{rest}"
    )
}

/// The Bundles of a stay, in order.
fn stay(plan: &Plan, n: usize) -> Vec<String> {
    let map = |step| convert(plan, message(n, step).as_bytes(), &Context::default()).unwrap().body;
    (0..COURSE.len()).map(map).collect()
}

/// A connection that sends one stay after the other.
async fn send(address: SocketAddr, stays: Arc<Vec<Vec<String>>>, next: Arc<AtomicUsize>) {
    let mut http = Http::connect(address).await;
    while let Some(stay) = stays.get(next.fetch_add(1, Ordering::Relaxed)) {
        for bundle in stay {
            let (status, _) = http.ask(&post(bundle)).await;
            let answer = String::from_utf8_lossy(&http.buffer);
            assert!(status == 200 && answer.contains("\"code\":\"ok\""), "{answer}");
        }
    }
}

#[tokio::main]
async fn main() {
    let count: usize = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(2_000);
    let plan = Plan::load(&mapping::MappingConfig::default(), &Identifiers::default()).unwrap();
    let stays: Arc<Vec<_>> = Arc::new((0..count).map(|n| stay(&plan, n)).collect());
    let messages = (count * COURSE.len()) as u64;
    let bytes: usize = stays.iter().flatten().map(String::len).sum();
    println!("mapped    {messages} messages of {} bytes on average", bytes as u64 / messages);

    let server = Server::start().await;
    let address = server.address;

    let (started, worked, next) = (Instant::now(), processor_time(), Arc::new(AtomicUsize::new(0)));
    let all = (0..CONNECTIONS).map(|_| tokio::spawn(send(address, Arc::clone(&stays), Arc::clone(&next))));
    for connection in all.collect::<Vec<_>>() {
        connection.await.unwrap();
    }
    let rate = messages as f64 / started.elapsed().as_secs_f64();
    let cost = each(processor_time() - worked, messages);
    println!("processed {rate:.0}/s, {cost:.0} us of processor each, client included");
    let left = server.close().await;
    println!("closed    {} bytes on disk for each message", left / messages);
}
