//! Everything between /proc and the page, in this process, with the time as an argument.

use crate::page::Page;
use procagent::judge::{Grouping, Judge, Limits};
use procagent::outputs::openmetrics::{self, Format};
use procagent::own::ScanCounts;
use procagent_core::registry::Families;
use procagent_core::snapshot::{Snapshot, Source};
use procagent_core::testing::at;
use procagent_core::time::{Ns, Timestamp};
use procagent_sources::procfs::{Procfs, Settings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Clock ticks a second and bytes a page of all made-up and captured hosts.
const TICKS_PER_SECOND: u64 = 100;
const PAGE: u64 = 4096;

/// Source and judge, wired as in the agent.
pub struct Pipeline {
    source: Procfs,
    judge: Judge,
    snapshot: Snapshot,
}

impl Pipeline {
    /// Over the host below this folder, with the agent's default bounds.
    pub fn new(root: &Path) -> Pipeline {
        Pipeline::with_interval(root, Ns::from_secs(5))
    }

    /// The same for another interval.
    pub fn with_interval(root: &Path, interval: Ns) -> Pipeline {
        let settings = Settings {
            root: root.to_owned(),
            descriptors: 4096,
            ticks_per_second: TICKS_PER_SECOND,
            page_size: PAGE,
            // What is read here are plain files: however busy the machine is, they will come.
            read_deadline: Duration::from_secs(20),
            clock: || Ns(0),
        };
        let source = Procfs::open(settings).expect("the folder looks like a host");
        let collectors = procagent_collectors::ALL.iter().filter_map(|plugin| {
            Some((plugin.name, (plugin.build)(&procagent_collectors::Settings::default())?))
        });
        let limits = Limits { remember: 100, series: 50_000, collector: interval };
        let (collectors, grouping) = (collectors.collect(), Grouping::default());
        let judge = Judge::new(collectors, grouping, limits, source.offers(), TICKS_PER_SECOND, || at(0));
        Pipeline { source, judge, snapshot: Snapshot::default() }
    }

    /// One scan, this many seconds after boot, and its page.
    pub fn tick(&mut self, second: u64) -> Page {
        self.tick_at(at(second))
    }

    /// The same with three clocks.
    pub fn tick_at(&mut self, now: Timestamp) -> Page {
        Page::parse(&openmetrics::page(&self.families_at(now), Format::OpenMetrics))
    }

    /// The families of one scan, without what differs from run to run: the agent's own use of the machine and
    /// what it was built from.
    pub fn families_at(&mut self, now: Timestamp) -> Arc<Families> {
        self.snapshot.clear();
        self.snapshot.begun = now;
        self.source.scan(self.judge.needs(), &mut self.snapshot).expect("the host can be read");
        self.snapshot.ended = now;
        self.snapshot.agent = None;
        let mut families = self.judge.tick(&self.snapshot, ScanCounts::default());
        families.families.retain(|family| family.desc.name != "procagent.build.info");
        Arc::new(families)
    }
}
