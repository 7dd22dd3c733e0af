//! Clients that are slow, greedy, silent or wrong do not harm those that are not. Real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is the point of a test")]

mod common;

use common::{Answer, Server, families};
use procagent::outputs::http::Limits;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Client and server share this process, and with it the limit on descriptors.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[test]
fn failure_slow_http_client() {
    raise_descriptor_limit();
    // Without a deadline in the time of the test: it is the limit on connections that has to hold.
    let limits = Limits { head: Duration::from_secs(600), ..Limits::default() };
    let server = Server::start(limits, families(5000));
    let whole = server.get("/metrics", "").body.len();
    // 1,000 that have connected: a third says nothing, a third has sent half a head, a third goes on with a byte
    // at a time.
    let mut half_open: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    for stream in half_open.iter_mut().skip(333) {
        // The server may have shown it out already.
        let _shown_out = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for mut stream in half_open.iter().skip(666) {
                    let _shown_out = stream.write_all(b"x");
                }
            }
        });
        // And new silent ones keep coming.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _silent: Vec<_> = (0..50).map(|_| server.connect()).collect();
            }
        });
        for _ in 0..50 {
            let answer = server.get("/metrics", "");
            assert_eq!((answer.status, answer.body.len()), (200, whole));
        }
        done.store(true, Ordering::Relaxed);
    });
    let open = half_open.iter().filter(|stream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream: &TcpStream = stream;
        matches!(stream.read(&mut [0; 1000]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    let open = open.count();
    assert!(open <= limits.connections, "{open} are still open");
}

#[test]
fn a_slow_head_is_given_up() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(limits, families(1));
    let mut stream = server.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed, not timed out");
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

#[test]
fn a_client_that_never_reads_is_dropped_and_harms_nobody() {
    raise_descriptor_limit();
    let limits = Limits { progress: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(limits, families(100_000));
    let whole = server.get("/metrics", "").body.len();
    assert!(whole > 6_000_000, "more than sockets buffer: {whole}");
    let mut greedy: Vec<_> = (0..140).map(|_| server.connect()).collect();
    for stream in &mut greedy {
        let _shown_out = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for _ in 0..5 {
        let answer = server.get("/metrics", "");
        assert_eq!((answer.status, answer.body.len()), (200, whole));
    }
    // They were cut off: what sockets buffered still comes, then the end or a reset, but never the whole.
    std::thread::sleep(Duration::from_millis(1500));
    for mut stream in greedy {
        let mut got = Vec::new();
        let _end_or_reset = stream.read_to_end(&mut got);
        assert!(got.len() < whole, "{}", got.len());
    }
}

#[test]
fn a_client_that_reads_drop_by_drop_ends_with_the_request_deadline() {
    let limits = Limits { request: Duration::from_millis(600), ..Limits::default() };
    let server = Server::start(limits, families(100_000));
    let whole = server.get("/metrics", "").body.len();
    let mut stream = server.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (mut total, mut piece) = (0, [0; 2000]);
    // 2,000 bytes every 2 ms would take 7 s for the whole.
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        total += read;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(total < whole, "{total} of {whole}");
}

#[test]
fn heads_are_bounded_and_bodies_ignored() {
    let server = Server::start(Limits::default(), families(1));
    let mut stream = server.connect();
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000)).as_bytes())
        .unwrap();
    let mut bytes = Vec::new();
    let _end_or_reset = stream.read_to_end(&mut bytes);
    assert!(bytes.is_empty() || Answer::parse(&bytes).status == 431);
    let many = "X: y\r\n".repeat(100);
    assert_eq!(server.get("/", &many).status, 431);
    let mut stream = server.connect();
    stream.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let _end_or_reset = stream.read_to_end(&mut bytes);
    let answer = Answer::parse(&bytes);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    for nonsense in
        ["\x16\x03\x01\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n\r\n\0\0\0\r\n"]
    {
        let mut stream = server.connect();
        stream.write_all(nonsense.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _whatever = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(server.get("/metrics", "").status, 200);
}
