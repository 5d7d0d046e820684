//! Messages that take long to map, or for ever: they keep nobody waiting, the process ends all the same, and a person has the
//! last word.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Daemon, stoker, text};

fn adt(id: &str, patient: &str, doctors: &str) -> String {
    format!(
        "MSH|^~\\&|APP|HOSP|||20260110120000+0100||ADT^A01|{id}|P|2.5\rPID|1||{patient}^^^NORD^MR\r\
         PV1|1|I|||||{doctors}||||||||||||V{patient}\r"
    )
}

/// So many doctors, all of them others.
fn doctors(count: usize) -> String {
    (0..count).map(|n| format!("{n}^Name")).collect::<Vec<_>>().join("~")
}

fn send(daemon: &Daemon, messages: &str) {
    let file = daemon.file("sent.hl7");
    std::fs::write(&file, messages).unwrap();
    let out = stoker(&["send", &file, "--to", &daemon.mllp.to_string(), "-q"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

fn queue(daemon: &Daemon, args: &[&str]) -> String {
    let out = stoker(&[&["queue"], args, &["--config", &daemon.file("config.toml")]].concat());
    assert!(out.status.success(), "{args:?} {}\n{}", text(&out.stderr), daemon.log());
    text(&out.stdout) + &text(&out.stderr)
}

/// Control id and status of every message, the oldest first.
fn standing(daemon: &Daemon) -> Vec<(String, String)> {
    let listed = queue(daemon, &["list", "--json"]);
    let rows = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let mut rows: Vec<_> = rows.map(|row| (word(&row, "control_id"), word(&row, "status"))).collect();
    rows.reverse();
    rows
}

fn eventually(daemon: &Daemon, expected: &[(&str, &str)]) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = standing(daemon);
        if found.iter().map(|(id, status)| (&**id, &**status)).eq(expected.iter().copied()) {
            return;
        }
        assert!(Instant::now() < until, "{found:?}, not {expected:?}\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn messages_that_are_mapped_without_end_keep_nobody_waiting_and_the_process_ends() {
    // Nothing is refused for what it costs, and no thread for long mappings is left.
    let mut daemon = Daemon::start("[mapping]\nbudget = 1000000000\n[queue]\ndrain = \"1s\"\n");
    let endless = doctors(900_000);
    for n in 0..4 {
        send(&daemon, &adt(&format!("long{n}"), &format!("10{n}"), &endless));
    }
    send(&daemon, &(adt("a", "1", "7^Doc") + &adt("b", "2", "7^Doc") + &adt("short", "100", "7^Doc")));
    let long = |n: usize, status| (["long0", "long1", "long2", "long3"][n], status);
    let waiting = [0, 1, 2, 3].map(|n| long(n, "received"));
    eventually(&daemon, &[&waiting[..], &[("a", "delivered"), ("b", "delivered"), ("short", "received")]].concat());

    let asked = Instant::now();
    queue(&daemon, &["discard", "4", "--yes", "--by", "jo"]);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "an order took {took:?}"); // the commands themselves are slow in a debug build
    assert_eq!(standing(&daemon)[3].1, "skipped");

    let told = Instant::now();
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    let took = told.elapsed();
    assert!(took < Duration::from_secs(8), "it took {took:?} to end\n{}", daemon.log());
    assert!(daemon.log().contains("still being mapped"), "{}", daemon.log());
}

#[test]
fn a_message_over_its_budget_is_a_dead_letter_that_says_so_until_a_person_raises_it() {
    let mut daemon = Daemon::start("[mapping]\nbudget = 40000\n");
    send(&daemon, &(adt("much", "1", &doctors(2_000)) + &adt("little", "2", "7^Doc")));
    eventually(&daemon, &[("much", "dead"), ("little", "delivered")]);
    let shown = queue(&daemon, &["show", "1"]);
    assert!(shown.contains("40000 steps") && shown.contains("mapping.budget"), "{shown}");
    queue(&daemon, &["retry", "1", "--budget", "50000", "--yes", "--by", "jo"]);
    eventually(&daemon, &[("much", "dead"), ("little", "delivered")]);
    assert!(queue(&daemon, &["show", "1"]).contains("50000 steps"));

    // What a person has given it holds over a restart.
    queue(&daemon, &["pause", "--by", "jo"]);
    queue(&daemon, &["retry", "1", "--budget", "30000000", "--yes", "--by", "jo"]);
    daemon.kill();
    daemon.restart();
    queue(&daemon, &["resume", "--by", "jo"]);
    eventually(&daemon, &[("much", "delivered"), ("little", "delivered")]);
    assert!(queue(&daemon, &["log"]).contains("--budget 30000000"));
}
