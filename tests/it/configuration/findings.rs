//! What is wrong with a configuration is told in full, by `check` and by every start, in the same words.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use super::{both, program, stoker_in, write};

/// What `check` says of a configuration.
fn told(folder: &Path, config: &str) -> String {
    write(folder, "config.toml", config);
    let out = stoker_in(folder, &["check", "--config", "config.toml"]);
    format!("{}exit {}", both(&out), out.status.code().unwrap())
}

const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A configuration with one fault, and what is said of it: line, key, remedy.
fn faults() -> Vec<(String, &'static str)> {
    let case = |config: &str, told: &'static str| (config.to_owned(), told);
    let token = |more: &str| {
        format!("[[mailbox.auth.tokens]]\nname = \"his\"\nsha256 = \"{HASH}\"\nscopes = [\"system/*.read\"]\n{more}")
    };
    vec![
        case(
            "[[listener]]\nbind = \"127.0.0.1:1\"\n[[listener]]\nname = \"b\"\nbind = \"127.0.0.1:1\"",
            ":5: listener 'b': bind: 127.0.0.1:1 is taken by listener 'adt'",
        ),
        case(
            "[[listener]]\nbind = \"0.0.0.0:1\"\n[[listener]]\nname = \"b\"\nbind = \"127.0.0.1:1\"",
            ":5: listener 'b': bind: 127.0.0.1:1 is taken",
        ),
        case("[http]\nbind = \"127.0.0.1:2575\"", "listener 'adt': bind: 127.0.0.1:2575 is taken by http.bind"),
        case("[[listener]]\n[[listener]]\nbind = \"127.0.0.1:2\"", ":2: listener 'adt': name: two listeners"),
        case("[[listener]]\nzone = \"Oslo\"", ":2: listener 'adt': zone: 'Oslo' is no IANA time zone, as Europe/Oslo"),
        case("[[listener]]\ncharset = \"foo\"", ":2: listener 'adt': charset: no character set is called 'foo'"),
        case("[mapping]\nzone = \"Oslo\"", ":2: mapping.zone: 'Oslo' is no IANA"),
        case("[mapping]\ncharset = \"foo\"", ":2: mapping.charset: 'foo'"),
        case("[mapping]\nbase = \"htp://x\"", ":2: mapping.base: 'htp://x'"),
        case("[[listener]]\nidle_timeout = \"0s\"\n", ":2: listener 'adt': idle_timeout"),
        case("[[listener]]\npipeline = 0", ":2: listener 'adt': pipeline = 0 is out of range"),
        case(
            "[[listener]]\napplication_acks = \"later\"\napplication_acks_to = \"127.0.0.1:2575\"",
            ":3: listener 'adt': application_acks_to: 127.0.0.1:2575 is listener 'adt' of this daemon",
        ),
        case(
            "[journal]\npath = \"x.db\"\n[mailbox]\ndata = \"./x.db\"",
            ":4: mailbox.data: ./x.db and the journal x.db are one file",
        ),
        case(
            "[journal]\npath = \"x.db\"\n[mailbox]\ndata = \"x.db-log0\"",
            ":4: mailbox.data: x.db-log0 and the journal x.db are one file",
        ),
        case("[journal]\npath = \"config.toml\"", ":2: journal.path: its file is the configuration file too"),
        case("[journal]\npath = \"/\"", ":2: journal.path: / is a folder; write the file, as /journal.db"),
        case("[journal]\npath = \"config.toml/journal.db\"", ":2: journal.path: config.toml/journal.db cannot be made"),
        case("[journal]\nreaders = 0", ":2: journal.readers: 0 is out of range: from 1"),
        case("[destination]\nurl = \"htp://x\"", ":2: destination.url: 'htp://x' is no http or https address"),
        case("[destination]\nurl = \"http://127.0.0.1:8575/fihr/$process-message\"", ":2: destination.url"),
        case("[http]\nmailbox = false", "destination.url: leads to this daemon, which has no mailbox"),
        case("[destination]\ntimeout = \"0s\"", ":2: destination.timeout"),
        case("[destination.retry]\nbase = \"0s\"", ":2: destination.retry.base"),
        case("[destination.retry]\nbase = \"10m\"", ":2: destination.retry.base: is longer than"),
        case("[destination]\nparallel = 0", ":2: destination.parallel: 0 is out of range: from 1"),
        case("[destination]\ntoken_file = \"none\"", ":2: destination.token_file: none cannot be read"),
        case(
            "[destination]\ntoken_file = \"config.toml\"\ntoken = \"x\"",
            ":3: destination.token: destination.token_file is given too",
        ),
        case("[destination]\nca_file = \"none.pem\"", ":2: destination.ca_file: none.pem"),
        case("[mailbox]\ndepth_limit = 0", ":2: mailbox.depth_limit: 0 is out of range: from 1 to 127"),
        case("[mailbox]\nbase = \"htp://x\"", ":2: mailbox.base: 'htp://x'"),
        case("[mailbox]\nresponse_hosts = [\"https://x/\"]", ":2: mailbox.response_hosts: 'https://x/' is no host"),
        case("[mailbox]\nresponse_proxy = \"http://\"", ":2: mailbox.response_proxy: is no address of a proxy"),
        case("[destination]\nproxy = \"http://\"", ":2: destination.proxy: is no address of a proxy"),
        case("[mailbox]\nbind = \"0.0.0.0:1\"", ":2: mailbox.bind: the mailbox would be open"),
        case("[http]\nbind = \"0.0.0.0:1\"", ":2: http.bind: the mailbox would be open"),
        case("[http.tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"", ":3: http.tls.key: b.pem"),
        case("[queue]\ndrain = \"0s\"", ":2: queue.drain"),
        case("[log]\nlevel = \"verbos\"", ":2: log.level: 'verbos' is no level; write error, warn, info or debug"),
        case("[identifiers]\nfallback = \"urn:x\"", ":2: identifiers.fallback: without {authority}"),
        case("[identifiers.authorities]\nNORTH = \"mrn\"", ":2: identifiers.authorities.NORTH: 'mrn' is no URI"),
        case(&token("").replace(HASH, "abc"), ":3: mailbox.auth.tokens 'his': sha256 is 64 hexadecimal digits"),
        case(&token("").replace("system/*.read", "everything"), ":4: mailbox.auth.tokens 'his'"),
        case(
            &token("").replace(HASH, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ":3: mailbox.auth.tokens 'his': sha256: is that of an empty token",
        ),
        case(&token(&token("")), ":7: mailbox.auth.tokens 'his': sha256: another entry has the same token"),
        case(
            "[mailbox.auth.jwt]\nkeys = \"none.json\"\nissuer = \"i\"\naudience = \"a\"",
            ":2: mailbox.auth.jwt.keys none.json",
        ),
    ]
}

#[test]
fn each_fault_is_told_with_line_key_and_remedy_and_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    for (config, expected) in faults() {
        let told = told(folder.path(), &config);
        assert!(told.contains(expected) && told.ends_with("exit 1"), "{config}\nexpected {expected}\n{told}");
    }
}

#[test]
fn a_start_refuses_what_the_check_finds_with_the_same_words_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (config, expected) in faults() {
        write(folder.path(), "config.toml", &config);
        let command = if config.contains("[mailbox]") && !config.contains("journal") { "mailbox" } else { "serve" };
        let out = stoker_in(folder.path(), &[command, "--config", "config.toml"]);
        assert_eq!(out.status.code(), Some(2), "{command}: {config}\n{}", both(&out));
        assert!(both(&out).contains(expected), "{config}\nexpected {expected}\n{}", both(&out));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{config} made something");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[http]\nbind = \"127.0.0.1:2575\"\nmax_connections = 0\n[[listener]]\nzone = \"Oslo\"\ncharset = \"foo\"\n\
                  pipeline = 0\nidle_timeout = \"0s\"\n[mailbox]\ndepth_limit = 0\n[log]\nlevel = \"verbos\"\n";
    write(folder.path(), "config.toml", config);
    for command in ["check", "serve"] {
        let told = both(&stoker_in(folder.path(), &[command, "--config", "config.toml"]));
        for line in [3, 4, 5, 6, 7, 8, 10, 12] {
            assert!(told.contains(&format!("config.toml:{line}: ")), "{command}, line {line}: {told}");
        }
    }
}

#[test]
fn journal_and_mailbox_in_one_file_are_found_through_links() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink(path("x.db"), path("soft.db")).unwrap();
    let config = |mailbox: &str| format!("[journal]\npath = \"x.db\"\n[mailbox]\ndata = \"{mailbox}\"\n");
    let dangling = told(folder.path(), &config("soft.db"));
    assert!(dangling.contains(":4: mailbox.data: soft.db and the journal x.db are one file"), "{dangling}");
    std::fs::write(path("x.db"), "").unwrap();
    std::fs::hard_link(path("x.db"), path("hard.db")).unwrap();
    for name in ["soft.db", "hard.db"] {
        let told = told(folder.path(), &config(name));
        assert!(told.contains("are one file") && told.ends_with("exit 1"), "{told}");
    }
    std::fs::create_dir(path("real")).unwrap();
    std::os::unix::fs::symlink(path("real"), path("way")).unwrap();
    let told = told(folder.path(), "[journal]\npath = \"real/j.db\"\n[mailbox]\ndata = \"way/j.db\"\n");
    assert!(told.contains("are one file"), "{told}");
}

/// A certificate for these years, and its key, as `NAME.pem` and `NAME.key`.
fn certificate(folder: &Path, name: &str, from: i32, until: i32) {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    write(folder, &format!("{name}.pem"), &params.self_signed(&key).unwrap().pem());
    write(folder, &format!("{name}.key"), &key.serialize_pem());
}

#[test]
fn certificates_out_of_their_time_or_with_another_key_are_faults_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "old", 2001, 2002);
    certificate(folder.path(), "new", 2901, 2902);
    certificate(folder.path(), "good", 2003, 2902);
    for (table, spoken) in [
        ("[[listener]]\n[listener.tls]", "listener 'adt': tls"),
        ("\n[http.tls]", "http.tls"),
        ("\n[mailbox.tls]", "mailbox.tls"),
    ] {
        let tls = |certificate: &str, key: &str| {
            told(folder.path(), &format!("{table}\ncertificate = \"{certificate}.pem\"\nkey = \"{key}.key\"\n"))
        };
        let good = tls("good", "good");
        assert!(good.ends_with("exit 0"), "{good}");
        for (certificate, key, expected) in [
            (
                "old",
                "old",
                format!(":3: {spoken}.certificate: old.pem: the certificate has expired (2002-01-01); renew it"),
            ),
            (
                "new",
                "new",
                format!(":3: {spoken}.certificate: new.pem: the certificate is not valid before 2901-01-01"),
            ),
            ("good", "old", format!(":4: {spoken}.key: old.key is not the key of the certificate in good.pem")),
        ] {
            let told = tls(certificate, key);
            assert!(told.contains(&expected) && told.ends_with("exit 1"), "{expected}\n{told}");
        }
    }
    let both = ["old.pem", "old.key"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap()).concat();
    write(folder.path(), "us.pem", &both);
    let told = told(folder.path(), "[destination]\nidentity_file = \"us.pem\"\n");
    assert!(told.contains(":2: destination.identity_file: us.pem: the certificate has expired"), "{told}");
}

#[test]
fn the_variable_for_the_log_is_checked_as_the_key_is() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["check", "serve", "mailbox"] {
        let out = program(folder.path(), &[command]).env("STOKER_LOG", "verbos").stdin(Stdio::null()).output().unwrap();
        assert_ne!(out.status.code(), Some(0), "{command}");
        assert!(both(&out).contains("STOKER_LOG: 'verbos' is no level; write error"), "{command}: {}", both(&out));
    }
}

#[test]
fn ports_that_are_taken_are_all_told_at_the_start_with_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (http, mllp) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (http, mllp) =
        (http.local_addr().map(|at| (http, at)).unwrap(), mllp.local_addr().map(|at| (mllp, at)).unwrap());
    let config =
        format!("[http]\nbind = \"{}\"\n[[listener]]\nbind = \"{}\"\n[mailbox]\nbind = \"{0}\"\n", http.1, mllp.1);
    write(folder.path(), "config.toml", &config);
    assert_eq!(stoker_in(folder.path(), &["check", "--config", "config.toml"]).status.code(), Some(0));
    let out = both(&stoker_in(folder.path(), &["serve", "--config", "config.toml"]));
    for (line, key) in [(2, "http.bind"), (4, "listener 'adt': bind")] {
        assert!(out.contains(&format!("config.toml:{line}: {key}: cannot listen on")), "{out}");
    }
    assert!(out.contains("another process listens there; stop it (ss -ltnp"), "{out}");
    let out = both(&stoker_in(folder.path(), &["mailbox", "--config", "config.toml"]));
    assert!(out.contains("mailbox.bind: cannot listen on") && out.contains("another process listens there"), "{out}");
}

#[test]
fn what_is_shown_as_the_default_passes() {
    let folder = tempfile::tempdir().unwrap();
    let shown = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap();
    let told = told(folder.path(), &shown);
    assert!(told.ends_with("exit 0") && !told.contains("warning"), "{told}");
}
