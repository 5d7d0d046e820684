//! What the foes send: well-formed, and more of something than anybody needs.

use std::fmt::Write;

/// MSH and EVN of a message of the foes' own facility, whose patients nobody else has.
fn head(event: &str, structure: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|FOE|FOE|STOKER|FOE|20260301120000+0100||ADT^{event}^{structure}|{control_id}|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
         EVN|{event}|20260301120000+0100\r"
    )
}

fn admission(name: &str, doctors: &str, more: &str) -> Vec<u8> {
    let head = head("A01", "ADT_A01", name);
    format!(
        "{head}PID|1||F{name}^^^FOE^MR||Foe^Fritz||19700101|M\r\
         PV1|1|I|WARD^1^1^FOE||||{doctors}|||MED||||||||IP|V{name}^^^FOE^VN\r{more}"
    )
    .into_bytes()
}

/// An A01 whose PV1-7 has so many repetitions: 212 KB with 18,000.
pub fn repetitions(name: &str, count: usize) -> Vec<u8> {
    let mut doctors = String::new();
    (0..count).for_each(|n| write!(doctors, "{}D{n:05}^Does", if n > 0 { "~" } else { "" }).unwrap());
    admission(name, &doctors, "")
}

/// An A01 with so many OBX: 0.8 MB with 30,000.
pub fn observations(name: &str, count: usize) -> Vec<u8> {
    let mut more = String::new();
    (1..=count).for_each(|n| write!(more, "OBX|{n}|NM|C{n}||5||||||F\r").unwrap());
    admission(name, "", &more)
}

/// An A40 with so many groups of PID and MRG: 240 KB with 4,500. The name is as short as it can be.
pub fn groups(name: &str, count: usize) -> Vec<u8> {
    let mut text = head("A40", "ADT_A39", name);
    let tag = name.rsplit_once("groups-").map_or(name, |(_, tag)| tag);
    for n in 0..count {
        write!(text, "PID|||K{tag}-{n}^^^FOE^MR\rMRG|O{tag}-{n}^^^FOE^MR\r").unwrap();
    }
    text.into_bytes()
}

/// An A01 of so many bytes, nearly all of them one value.
pub fn long(name: &str, length: usize) -> Vec<u8> {
    let value = "long ".repeat(length / 5);
    admission(name, "", &format!("OBX|1|TX|C^T||{value}||||||F\r"))
}

/// A message Bundle for a mailbox with so many Observations, each of which refers to the one before it: 14 MB with 40,000.
pub fn bundle(name: u64, count: usize) -> String {
    const BASE: &str = "http://f";
    let (patient, visit) = (
        format!("{BASE}/Patient?identifier=urn:f:m%7C{name}"),
        format!("{BASE}/Encounter?identifier=urn:f:v%7C{name}"),
    );
    let uuid = |n: usize| format!("{name:08x}-0000-4000-8000-{n:012x}");
    let mut text = format!(
        r#"{{"resourceType":"Bundle","id":"{0}","type":"message","timestamp":"2026-03-01T11:00:00Z","entry":[
{{"fullUrl":"urn:uuid:{1}","resource":{{"resourceType":"MessageHeader","id":"{1}","eventCoding":{{"system":"http://terminology.hl7.org/CodeSystem/message-events","code":"clinical-notify"}},"meta":{{"tag":[{{"system":"http://terminology.hl7.org/CodeSystem/v2-0003","code":"A01"}}]}},"source":{{"endpoint":"urn:foe"}},"destination":[{{"endpoint":"urn:foe:to"}}]}}}},
{{"fullUrl":"{patient}","resource":{{"resourceType":"Patient","identifier":[{{"system":"urn:f:m","value":"{name}"}}]}}}},
{{"fullUrl":"{visit}","resource":{{"resourceType":"Encounter","identifier":[{{"system":"urn:f:v","value":"{name}"}}],"status":"in-progress","class":{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"IMP"}},"subject":{{"reference":"{patient}"}}}}}}"#,
        uuid(0),
        uuid(1),
    );
    for n in 2..count + 2 {
        let before = if n > 2 {
            format!(r#","derivedFrom":[{{"reference":"urn:uuid:{}"}}]"#, uuid(n - 1))
        } else {
            String::new()
        };
        write!(
            text,
            r#",{{"fullUrl":"urn:uuid:{0}","resource":{{"resourceType":"Observation","status":"final","code":{{"text":"c"}},"subject":{{"reference":"{patient}"}},"encounter":{{"reference":"{visit}"}}{before}}}}}"#,
            uuid(n)
        )
        .unwrap();
    }
    text.push_str("]}");
    text
}
