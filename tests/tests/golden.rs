//! Captured hosts and the pages they make, in both formats. `UPDATE_GOLDEN=1 cargo test --test golden` writes the
//! expected pages anew; the difference is then read in git.
//!
//! `hosts/NAME/1` is a /proc as a first scan finds it, `hosts/NAME/2` holds what has changed 5 s later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent::outputs::openmetrics::{Format, page};
use procagent_core::testing::at;
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

#[test]
fn pages_of_captured_hosts() {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts");
    let mut seen = 0;
    for name in system::list(&hosts).into_iter().filter(|name| hosts.join(name).is_dir()) {
        let directory = TempDir::new().unwrap();
        lay(&hosts.join(&name).join("1"), directory.path());
        let mut pipeline = Pipeline::new(directory.path());
        pipeline.families_at(at(5000));
        lay(&hosts.join(&name).join("2"), directory.path());
        let families = pipeline.families_at(at(5005));
        for (format, suffix) in [(Format::OpenMetrics, "openmetrics"), (Format::Classic, "classic")] {
            let expected = hosts.join(format!("{name}.{suffix}.expected"));
            let page = page(&families, format);
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
    assert!(seen > 0);
}
