//! A mailbox in memory, asked as over HTTP.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::Value;
use stoker::mailbox::{Mailbox, MailboxConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// The longest that an answer to some kilobytes may take, in a build that is ten times as slow as others.
const LONGEST: Duration = Duration::from_secs(3);

/// One for all: its threads are made once.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());

pub struct Asked {
    mailbox: Mailbox,
    router: Router,
    _folder: TempDir,
}

pub struct Reply {
    pub status: u16,
    pub text: String,
}

impl Asked {
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let config = MailboxConfig { data: folder.path().join("mailbox.db"), readers: 1, ..MailboxConfig::default() };
        let mailbox = Mailbox::open(&config).unwrap();
        let router = RUNTIME.block_on(async { mailbox.router(&[]) });
        Self { mailbox, router, _folder: folder }
    }

    /// No request is answered by a fault of the mailbox's, nor late.
    pub fn ask(&self, request: Request<Body>) -> Reply {
        let began = Instant::now();
        let reply = RUNTIME.block_on(async {
            let answer: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
            let (head, body) = answer.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            Reply { status: head.status.as_u16(), text: String::from_utf8(body.into()).unwrap() }
        });
        assert!(reply.status < 500, "{} {}", reply.status, reply.text);
        assert!(began.elapsed() < LONGEST, "it took {:?}", began.elapsed());
        reply
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask(Request::get(path).header("host", "localhost").body(Body::empty()).unwrap())
    }

    pub fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> Reply {
        self.ask(
            Request::post(path).header("host", "localhost").header("content-type", kind).body(body.into()).unwrap(),
        )
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl Reply {
    /// A refusal says why: an OperationOutcome with an issue.
    pub fn json(&self) -> Value {
        let json: Value = serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text));
        if self.status >= 400 {
            assert_eq!(json["resourceType"], "OperationOutcome", "{}", self.text);
            assert!(
                json["issue"][0]["diagnostics"].is_string() || json["issue"][0]["details"].is_object(),
                "{}",
                self.text
            );
        }
        json
    }
}
