//! What whole-agent tests share. The tests themselves are in `tests/tests`, one file a theme.
//!
//! | module | what it gives |
//! |---|---|
//! | [`system`] | the one place where tests start programs, read files and look at the clock |
//! | [`agent`] | the real binary, running |
//! | [`prometheus`] | a real Prometheus that scrapes it |
//! | [`http`] | a plain HTTP client |
//! | [`page`] | a metrics page, to ask for values |
//! | [`pipeline`] | scan, table, collectors, registry and encoders in this process, with the time as an argument |
//! | [`dashboard`] | the dashboards and their queries |
//! | [`host`] | a made-up host: a folder that looks like /proc |
//!
//! A test that cannot run here says so with [`skip`] and returns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this crate is test code: a failed expectation ends the test, which is the point"
)]

pub mod agent;
pub mod crowd;
pub mod dashboard;
pub mod host;
pub mod http;
pub mod page;
pub mod pipeline;
pub mod prometheus;
pub mod system;

/// Says that a test, or a part of it, cannot run here. Loud: on standard error, and in the file named by
/// `PROCAGENT_SKIPS`, which `tests/run` prints at the end and counts.
pub fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    eprintln!("SKIP {test}: {why}");
    if let Some(path) = std::env::var_os("PROCAGENT_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).expect("opens");
        // One write: lines of tests that skip at the same time stay whole.
        file.write_all(format!("SKIP {test}: {why}\n").as_bytes()).expect("writes");
    }
}

/// The folder of the workspace.
pub fn workspace() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}
