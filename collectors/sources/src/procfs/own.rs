//! The agent's own numbers. Always from its own /proc: below `host.root` there may be another host.

use super::files::{ProcDir, ReadError, read_start};
use super::parse;
use procagent_core::snapshot::AgentReading;
use procagent_core::time::Ticks;
use rustix::fd::OwnedFd;
use std::path::Path;

/// The open files that tell of the agent itself.
#[derive(Debug)]
pub(super) struct Own {
    proc: ProcDir,
    stat: OwnedFd,
    statm: OwnedFd,
}

impl Own {
    /// `None` where there is no /proc to see oneself in.
    pub fn open() -> Option<Own> {
        let proc = ProcDir::open(Path::new("/proc")).ok()?;
        let stat = proc.open_file(c"self/stat").ok()?;
        let statm = proc.open_file(c"self/statm").ok()?;
        Some(Own { proc, stat, statm })
    }

    /// Reads them. `listing` is room for names.
    pub fn read(
        &self,
        ticks_per_second: u64,
        page_size: u64,
        buffer: &mut [u8],
        listing: &mut Vec<u8>,
    ) -> Result<AgentReading, ReadError> {
        let stat = parse::stat(read_start(&self.stat, buffer)?)?;
        let statm = parse::statm(read_start(&self.statm, buffer)?)?;
        let ticks = Ticks(stat.user_ticks.saturating_add(stat.system_ticks));
        Ok(AgentReading {
            cpu: ticks.to_ns(ticks_per_second),
            resident_memory: statm.resident_pages.saturating_mul(page_size),
            descriptors: u64::from(self.proc.count_descriptors(stat.pid, listing)?),
            started: Ticks(stat.start).to_ns(ticks_per_second),
        })
    }
}
