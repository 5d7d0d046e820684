//! Durable acks a second, and the same for the smallest program that could make them: a server that appends each message
//! to a file and syncs once for all that wait. `cargo bench --bench intake -- [connections ...]`, by default 1 10 50 200.
//!
//! Both run as processes of their own and are asked by the same client over loopback, in turn, three times; the best of
//! each counts, because what else the machine does only ever makes it slower. Nothing is delivered meanwhile.

#![allow(clippy::disallowed_methods, reason = "a bench prints, and asks loopback")]

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use stoker::mllp::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long one measurement runs.
const RUN: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Fallible<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let first = arguments.next();
    if first.as_deref() == Some("yardstick") {
        let (address, file) = (arguments.next().ok_or("no address")?, arguments.next().ok_or("no file")?);
        return runtime.block_on(yardstick(address.parse()?, Path::new(&file)));
    }
    let mut counts: Vec<usize> = first.into_iter().chain(arguments).map(|n| n.parse()).collect::<Result<_, _>>()?;
    if counts.is_empty() {
        counts = vec![1, 10, 50, 200];
    }
    let mut out = std::io::stdout();
    for connections in counts {
        let (mut bare, mut ours) = (0.0_f64, 0.0_f64);
        for _ in 0..3 {
            bare = bare.max(runtime.block_on(measure(connections, start_yardstick))?);
            ours = ours.max(runtime.block_on(measure(connections, start_stoker))?);
        }
        writeln!(out, "{connections:4} connections: {ours:7.0} acks/s, bare {bare:7.0}, ratio {:.2}", ours / bare)?;
    }
    Ok(())
}

/// A process that is killed when it is not needed any more.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

async fn measure(connections: usize, start: fn(SocketAddr, &Path) -> Fallible<Child>) -> Fallible<f64> {
    let folder = tempfile::TempDir::new_in(std::env::var("BENCH_DIR").unwrap_or("/tmp".into()))?;
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let _server = Server(start(address, folder.path())?);
    let mut clients = Vec::new();
    while clients.len() < connections {
        match Client::connect(address, PATIENCE).await {
            Ok(client) => clients.push(client),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // not yet listening
        }
    }
    let began = Instant::now();
    let senders = clients.into_iter().enumerate().map(|(n, client)| tokio::spawn(send(client, n, began + RUN)));
    let mut acked = 0;
    for sender in join_all(senders).await {
        acked += sender??;
    }
    Ok(acked as f64 / began.elapsed().as_secs_f64())
}

/// One message after the other, each when the last is acknowledged.
async fn send(mut client: Client, connection: usize, until: Instant) -> Fallible<usize> {
    for n in 0.. {
        if Instant::now() >= until {
            return Ok(n);
        }
        let ack = client.send(&message(connection, n)).await?;
        if !ack.is_some_and(|ack| ack.is_positive()) {
            return Err("a message was not acknowledged".into());
        }
    }
    Ok(0)
}

/// An admission of some 1,300 bytes.
fn message(connection: usize, n: usize) -> Vec<u8> {
    let filling = "NTE|1||a note that is as long as the segments of a real admission are together".repeat(12);
    format!(
        "MSH|^~\\&|ADT|HOSP|HUB|HOSP|20260110080000||ADT^A01^ADT_A01|{connection}-{n}|P|2.5.1\r\
         EVN||20260110080000\rPID|1||{connection}-{}^^^HOSP^MR||NORDMANN^OLA||19700101|M\r\
         PV1|1|I|WARD^101^A^HOSP||||||||||||||||{connection}-{n}^^^HOSP^VN\r{filling}\r",
        n / 4
    )
    .into_bytes()
}

fn start_stoker(address: SocketAddr, folder: &Path) -> Fallible<Child> {
    let config = folder.join("config.toml");
    let text = format!(
        "[http]\nbind = \"127.0.0.1:0\"\nmailbox = false\n[[listener]]\nbind = \"{address}\"\nmax_connections = 1000\nmax_connections_per_peer = 0\n\
         [journal]\npath = \"{}\"\n[destination]\nurl = \"http://127.0.0.1:9/\"\n",
        folder.join("journal.db").display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
    Ok(command.args(["serve", "--config"]).arg(config).stderr(Stdio::null()).spawn()?)
}

fn start_yardstick(address: SocketAddr, folder: &Path) -> Fallible<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(["yardstick", &address.to_string()]).arg(folder.join("appended")).spawn()?)
}

type Waiting = (Bytes, oneshot::Sender<()>);

/// Takes frames, knows nothing of what is in them but MSH-10, appends, syncs, answers AA.
async fn yardstick(address: SocketAddr, path: &Path) -> Fallible<()> {
    let listener = TcpListener::bind(address).await?;
    let (posts, waiting) = mpsc::channel(1024);
    let file = File::create(path)?;
    std::thread::spawn(move || append(file, waiting));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(acknowledge(stream, posts.clone()));
    }
}

fn append(mut file: File, mut waiting: mpsc::Receiver<Waiting>) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, 1024) > 0 {
        let bytes: Vec<u8> = group.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
        if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        for (_, reply) in group.drain(..) {
            if reply.send(()).is_err() {
                return;
            }
        }
    }
}

async fn acknowledge(mut stream: TcpStream, posts: mpsc::Sender<Waiting>) -> Fallible<()> {
    let mut buffer = bytes::BytesMut::with_capacity(16 << 10);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(end) = memchr::memchr(0x1C, &buffer) {
            let frame = buffer.split_to(buffer.len().min(end + 2)).freeze();
            let id = frame.split(|byte| *byte == b'|').nth(9).unwrap_or_default().to_vec();
            let (reply, synced) = oneshot::channel();
            posts.send((frame, reply)).await?;
            synced.await?;
            let ack = [b"\x0BMSH|^~\\&|||||1||ACK|1|P|2.5.1\rMSA|AA|".as_slice(), &id, b"\r\x1C\r"].concat();
            stream.write_all(&ack).await?;
        }
    }
}
