//! What the benches of the mailbox share: a durable one over HTTP, a plain client, and what was spent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use stoker::mailbox::{Mailbox, MailboxConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A mailbox in a folder of its own, in BENCH_DIR where that is set.
pub struct Server {
    pub address: SocketAddr,
    folder: tempfile::TempDir,
    end: CancellationToken,
    served: JoinHandle<io::Result<()>>,
}

impl Server {
    pub async fn start() -> Self {
        let place = std::env::var_os("BENCH_DIR").unwrap_or_else(|| std::env::temp_dir().into());
        let folder = tempfile::tempdir_in(place).unwrap();
        let config = MailboxConfig { data: folder.path().join("mailbox.db"), ..MailboxConfig::default() };
        let mailbox = Mailbox::open(&config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let served = tokio::spawn(stoker::mailbox::serve(listener, mailbox, end.clone()));
        Self { address, folder, end, served }
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    /// Ends it; the bytes that are on disk then.
    pub async fn close(mut self) -> u64 {
        self.end.cancel();
        (&mut self.served).await.unwrap().unwrap();
        self.size()
    }
}

/// One connection that asks and waits for each answer.
pub struct Http {
    stream: TcpStream,
    pub buffer: Vec<u8>,
}

impl Http {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(1 << 20) }
    }

    /// Sends a request, reads the answer whole, and gives its status and length.
    pub async fn ask(&mut self, request: &str) -> (u16, usize) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the server closed");
        };
        let text = std::str::from_utf8(&self.buffer[..head]).unwrap().to_ascii_lowercase();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        while self.buffer.len() < head + length {
            self.stream.read_buf(&mut self.buffer).await.unwrap();
        }
        (status, length)
    }
}

pub fn post(body: &str) -> String {
    format!(
        "POST /fhir/$process-message HTTP/1.1\r\nhost: bench\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Processor time of this process so far, client and server, all threads. What a message costs of it does not depend on
/// what else the machine does.
pub fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name comes field 3 of proc(5); 14 and 15 are wanted, hundredths of a second.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let hundredths: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * hundredths)
}

pub fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}
