//! A server on its own thread, and clients of all kinds.
#![allow(dead_code, reason = "each test file uses its part")]

use procagent::outputs::http::{self, Health, Limits};
use procagent_core::group::GroupLabels;
use procagent_core::metric::{Counter, Unit};
use procagent_core::registry::{Families, Family, Point};
use procagent_core::time::{Ns, Timestamp};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

static CPU: Counter<1> =
    Counter::per_group("process.cpu.time", Unit::Seconds, &["cpu.mode"], "CPU time used");

/// One family with this many series, about 75 bytes each.
pub fn families(series: usize) -> Arc<Families> {
    let point = |index: usize| Point {
        group: Some(Arc::new(GroupLabels::named(&format!("group-{index}")))),
        values: ["user"].map(Box::from).into(),
        value: index as u64,
        start: Ns(0),
    };
    let family = Family { desc: CPU.desc(), points: (0..series).map(point).collect() };
    Arc::new(Families { at: Timestamp::default(), families: vec![family] })
}

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub families: watch::Sender<Arc<Families>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(limits: Limits, first: Arc<Families>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Server::start_on(listener, limits, first)
    }

    pub fn start_on(listener: TcpListener, limits: Limits, first: Arc<Families>) -> Server {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (families, receiver) = watch::channel(first);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let health = Health::new(Arc::new(AtomicU64::new(0)), Ns(0), Timestamp::default);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = http::serve_within(limits, listener, receiver, health) => {}
                    _ = stopped => {}
                }
            });
        });
        Server { address, families, stop: Some(stop), thread: Some(thread) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends a whole request and reads the whole answer.
    pub fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    pub fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take().into_iter().for_each(|stop| stop.send(()).unwrap());
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Answer { status: head[9..12].parse().unwrap(), head, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(have, value)| have.eq_ignore_ascii_case(name).then_some(value))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
