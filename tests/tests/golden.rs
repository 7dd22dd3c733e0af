//! Hosts on disk, captured or made by hand (`hosts/README.md` says which), and the pages they make, in both
//! formats. `UPDATE_GOLDEN=1 cargo test --test golden` writes the expected pages anew; the difference is then read
//! in git.
//!
//! `hosts/NAME/1` is what a first scan finds, `hosts/NAME/2` holds what differs at the second, 5 s later; its file
//! `ended` names the processes that are gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent::outputs::openmetrics::{Format, page};
use procagent_core::testing::at;
use procagent_core::time::{Ns, Timestamp};
use procagent_tests::pipeline::Pipeline;
use procagent_tests::system;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// Lays one tree over another: files in place, links anew.
fn lay(from: &Path, over: &Path) {
    std::fs::create_dir_all(over).unwrap();
    for name in system::list(from) {
        let (source, target) = (from.join(&name), over.join(&name));
        if let Some(link) = system::link(&source) {
            let _may_not_be_there = std::fs::remove_file(&target);
            symlink(link, &target).unwrap();
        } else if source.is_dir() {
            lay(&source, &target);
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

/// The time of a scan: what the tree says of the time since boot.
fn time_of(root: &Path) -> Timestamp {
    let uptime = system::read(root.join("proc/uptime"));
    let (seconds, hundredths) = uptime.split(' ').next().and_then(|first| first.split_once('.')).unwrap();
    let passed = Ns::from_secs(seconds.parse().unwrap())
        .plus(Ns::from_millis(hundredths.parse::<u64>().unwrap() * 10));
    Timestamp { mono: passed, boot: passed, wall: at(0).wall.plus(passed) }
}

/// The page of the second scan.
fn page_of(host: &Path, format: Format) -> String {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    lay(&host.join("1"), root);
    let mut pipeline = Pipeline::new(root);
    pipeline.families_at(time_of(root));
    for pid in system::try_read(host.join("2/ended")).unwrap_or_default().lines() {
        std::fs::remove_dir_all(root.join("proc").join(pid)).unwrap();
    }
    lay(&host.join("2"), root);
    page(&pipeline.families_at(time_of(root)), format)
}

#[test]
fn pages_of_stored_hosts() {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts");
    let mut seen = 0;
    for name in system::list(&hosts).into_iter().filter(|name| hosts.join(name).is_dir()) {
        for (format, suffix) in [(Format::OpenMetrics, "openmetrics"), (Format::Classic, "classic")] {
            let expected = hosts.join(format!("{name}.{suffix}.expected"));
            let page = page_of(&hosts.join(&name), format);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                system::write(&expected, &page);
            }
            let wanted = system::try_read(&expected).unwrap_or_default();
            for (number, (have, want)) in page.lines().zip(wanted.lines()).enumerate() {
                assert_eq!(have, want, "{}:{}", expected.display(), number + 1);
            }
            assert_eq!(page.len(), wanted.len(), "{}: one goes on", expected.display());
        }
        seen += 1;
    }
    assert!(seen > 2);
}
