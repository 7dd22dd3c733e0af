//! What well-behaved clients get.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is the point of a test")]

mod common;

use common::{Server, families};
use flate2::read::GzDecoder;
use procagent::outputs::http::Limits;
use procagent::outputs::openmetrics::{Format, page};
use procagent_core::registry::Families;
use std::io::Read as _;
use std::sync::Arc;

#[test]
fn formats_and_codings() {
    let families = families(100);
    let server = Server::start(Limits::default(), Arc::clone(&families));
    for (accept, format) in [
        ("", Format::Classic),
        ("Accept: application/openmetrics-text; version=1.0.0\r\n", Format::OpenMetrics),
    ] {
        let want = page(&families, format);
        let plain = server.get("/metrics", accept);
        assert_eq!(plain.header("content-type"), Some(format.content_type()));
        assert_eq!(plain.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.text(), want);
        let packed = server.get("/metrics", &format!("{accept}Accept-Encoding: gzip\r\n"));
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert_eq!(packed.header("content-length"), Some(packed.body.len().to_string().as_str()));
        let mut text = String::new();
        GzDecoder::new(&*packed.body).read_to_string(&mut text).unwrap();
        assert_eq!(text, want);
        let head =
            server.ask(&format!("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{accept}\r\n"));
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(want.len().to_string().as_str()));
    }
}

#[test]
fn routes() {
    let server = Server::start(Limits::default(), Arc::new(Families::default()));
    let status = |path| server.get(path, "").status;
    assert_eq!((status("/metrics"), status("/-/ready"), status("/-/healthy")), (503, 503, 200));
    server.families.send_replace(families(1));
    assert_eq!((status("/metrics"), status("/-/ready"), status("/-/healthy")), (200, 200, 200));
    assert_eq!((status("/metrics/"), status("/x"), status("/metrics?x=1")), (404, 404, 200));
    let landing = server.get("/", "");
    assert_eq!(landing.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(landing.text().contains("href=\"/metrics\"") && landing.text().contains(procagent::VERSION));
    let post = server.ask("DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn each_scan_has_its_page() {
    let server = Server::start(Limits::default(), families(1));
    let lines = || server.get("/metrics", "").text().lines().count();
    assert_eq!((lines(), lines()), (3, 3));
    server.families.send_replace(families(7));
    assert_eq!(lines(), 9);
}
