//! A process without free descriptors cannot accept, and goes on when it has some again. Alone in its file, for the
//! limit is the whole process's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is the point of a test")]

mod common;

use common::{Answer, Server, families};
use procagent::outputs::http::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

#[test]
fn failure_no_free_descriptor_for_a_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel completes connections before anyone accepts them.
    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let server = Server::start_on(listener, Limits::default(), families(1));
    // The first accept may win against the limit; the others meet it.
    let used =
        TcpListener::bind("127.0.0.1:0").map(|socket| std::os::fd::AsRawFd::as_raw_fd(&socket)).unwrap();
    let before = getrlimit(Resource::Nofile);
    let current = Some(u64::try_from(used).unwrap());
    setrlimit(Resource::Nofile, Rlimit { current, maximum: before.maximum }).unwrap();
    let mut late = Vec::new();
    // Connections that use up what is left, if anything is.
    while let Ok(stream) = TcpStream::connect(address) {
        late.push(stream);
    }
    std::thread::sleep(Duration::from_millis(300));
    setrlimit(Resource::Nofile, before).unwrap();
    clients.extend(late);
    for stream in &mut clients {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    }
    for mut stream in clients {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(Answer::parse(&bytes).status, 200);
    }
    drop(server);
}
