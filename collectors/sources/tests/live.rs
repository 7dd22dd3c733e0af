//! Scans of the host that runs the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use procagent_core::plugin::Needs;
use procagent_core::snapshot::{Snapshot, Source as _};
use procagent_sources::{Procfs, Settings};

#[test]
fn the_living_host() {
    let mut procfs = Procfs::open(Settings::default()).unwrap();
    let mut snapshot = Snapshot::default();
    for _ in 0..3 {
        snapshot.clear();
        procfs.scan(procfs.offers(), &mut snapshot).unwrap();
        eprintln!("{} {} {:?}", snapshot.processes.len(), snapshot.details.len(), snapshot.agent);
        eprintln!("{:?}", snapshot.errors.iter().filter(|e| e.2 > 0).collect::<Vec<_>>());
    }
    let me = std::process::id();
    let own = snapshot.processes.iter().find(|reading| reading.id.pid.0 == me).unwrap();
    eprintln!("{own:?} {:?}", snapshot.host);
    assert!(Needs::NOTHING == Needs::default());
}
