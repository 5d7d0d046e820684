//! What mapping a message costs, from its bytes to the Bundle's bytes, on one core.
//!
//! `cargo bench --bench mapping -- --min-time 2 --sample-size 10`. Times are of this machine; compare the fastest, within
//! one run. `convert` is the sum of three stages, which have benches of their own: the index (`index_only`), the fields
//! taken apart (`index_and_take_apart` less the index), and the writing of the tree (`write_only`); what
//! is left is the walk over the rules. `explain` is the same walk with a recorder that keeps everything; `convert` has
//! one whose bodies are empty.
//!
//! A whole run, with files: a million messages made of the samples, and what they take in time and memory.
//!
//! ```text
//! for i in $(seq 15000); do for f in samples/*.hl7; do cat $f; echo; done; done > /tmp/many.hl7
//! /usr/bin/time -v target/release/stoker convert /tmp/many.hl7 > /dev/null
//! ```

#![allow(clippy::disallowed_methods, reason = "a bench prints, and asks loopback")]

use divan::{Bencher, black_box};
use serde_json::Value;
use stoker::fhir::{Arena, List, Node, Object};
use stoker::mapping::{Context, Identifiers, MappingConfig, Plan, convert, explain};
use stoker::v2::Message;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn plan() -> Plan {
    Plan::load(&MappingConfig::default(), &Identifiers::default()).expect("the shipped mappings compile")
}

const SMALL: &str = "MSH|^~\\&|PAS|NORDHOSP|STOKER|NAV|20260301080000+0100||ADT^A31^ADT_A05|S1|P|2.5.1\r\
EVN||20260301080000+0100\r\
PID|1||M00000042^^^NORDHOSP^MR||Nordmann^Kari^Anne||19700101|F|||Storgata 1^^Oslo^^0155^NOR||^PRN^PH^^47^^22334455|||M\r\
PD1||||9144955^Hansen^Per^^^dr.\r";

const TYPICAL: &str = include_str!("a01.hl7");

/// Forty segments and nine kilobytes: the typical message with observations, notes and diagnoses.
fn large() -> String {
    let mut text = TYPICAL.trim_end_matches('\r').to_owned();
    for n in 3..18 {
        text.push_str(&format!(
            "\rOBX|{n}|NM|8310-5^Body temperature^LN||38.{n}|Cel^degree Celsius^UCUM|36.5-37.5|H|||F|||20260301101500+0100\
             ||9144955^Hansen^Per^^^dr.^^^&2.16.578.1.12.4.1.4.4&ISO^L^^^HPR|||||||||Nordhosp^L\
             \rNTE|1|L|Taken on the ward before the antipyretic was given, see the chart of this day for the others"
        ));
    }
    for n in 3..9 {
        text.push_str(&format!(
            "\rDG1|{n}||J{n}8.9^Pneumonia, unspecified organism^I10||20260301093000+0100|W|||||||||{n}"
        ));
    }
    text.push('\r');
    text
}

fn run(bencher: Bencher<'_, '_>, message: &str) {
    let plan = plan();
    let context = Context::default();
    bencher
        .counter(divan::counter::BytesCount::new(message.len()))
        .bench(|| convert(&plan, black_box(message.as_bytes()), &context).expect("it maps").body.len());
}

#[divan::bench]
fn convert_small_400_bytes(bencher: Bencher<'_, '_>) {
    run(bencher, SMALL);
}

#[divan::bench]
fn convert_typical_a01(bencher: Bencher<'_, '_>) {
    run(bencher, TYPICAL);
}

#[divan::bench]
fn convert_large_40_segments(bencher: Bencher<'_, '_>) {
    run(bencher, &large());
}

#[divan::bench]
fn index_only_typical_a01(bencher: Bencher<'_, '_>) {
    bencher.bench(|| Message::parse(black_box(TYPICAL)).expect("it parses").len());
}

#[divan::bench]
fn index_and_take_apart_typical_a01(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let message = Message::parse(black_box(TYPICAL)).expect("it parses");
        let fields = |segment| (1..=message.field_count(segment)).map(move |field| (segment, field));
        let all = (0..message.len()).flat_map(fields);
        all.map(|(segment, field)| message.repetitions(segment, field)).sum::<usize>()
    });
}

#[divan::bench]
fn write_only_typical_a01(bencher: Bencher<'_, '_>) {
    let body = convert(&plan(), TYPICAL.as_bytes(), &Context::default()).expect("it maps").body;
    let value: Value = serde_json::from_str(&body).expect("it is JSON");
    let arena = Arena::new();
    let tree = node(&value, &arena);
    assert_eq!(tree.to_json().len(), body.len());
    bencher.bench_local(|| {
        let mut out = String::with_capacity(16 << 10);
        black_box(&tree).write(&mut out);
        out.len()
    });
}

fn node<'a>(value: &'a Value, arena: &'a Arena) -> Node<'a> {
    match value {
        Value::Object(members) => {
            let mut object = Object::new(arena);
            members.iter().for_each(|(name, value)| object.push(name, node(value, arena)));
            Node::Object(object)
        }
        Value::Array(items) => Node::List(List::from_iter_in(items.iter().map(|item| node(item, arena)), arena)),
        Value::String(text) => Node::Text(text),
        Value::Bool(truth) => Node::Bool(*truth),
        other => Node::Number(arena.alloc_str(&other.to_string())),
    }
}

#[divan::bench]
fn explain_typical_a01(bencher: Bencher<'_, '_>) {
    let plan = plan();
    let context = Context::default();
    bencher.bench(|| explain(&plan, black_box(TYPICAL.as_bytes()), &context).assignments.len());
}

#[divan::bench]
fn hl7_parser_whole_typical_a01(bencher: Bencher<'_, '_>) {
    bencher.bench(|| hl7_parser::Message::parse(black_box(TYPICAL)).expect("it parses").segments().count());
}

#[divan::bench]
fn compile_the_shipped_plan(bencher: Bencher<'_, '_>) {
    bencher.bench(plan);
}
