//! Memory of the running agent at 300 and at 10,000 processes: resident, and what its memory control group is charged
//! with. That includes the kernel's share: kept descriptors, and the inodes of every file of /proc that was opened,
//! which the kernel keeps until memory is short. So the agent runs twice: unbounded, for the figure, and in a group
//! limited to the budget, where it has to live and to scan on.
//! `cargo bench -p procagent-tests --bench memory`; exits with 1 when a budget is broken.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a bench: what is not as expected ends it"
)]

use procagent_tests::crowd::{crowd, release_binary, resident};
use procagent_tests::page::Page;
use procagent_tests::system::{Program, command, free_port, listener, read, try_read, wait_for, write};
use procagent_tests::{http, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// Processes, bounds of resident and of control group memory.
const BUDGETS: [(usize, u64, u64); 2] = [(300, 15 * MIB, 40 * MIB), (10_000, 40 * MIB, 100 * MIB)];

fn main() {
    let agent = release_binary();
    let mut broken = false;
    println!(
        "{:>9}  {:>12}  {:>15}  {:>15}  (budget)",
        "processes", "resident MiB", "cgroup MiB", "without limit"
    );
    for (processes, most_resident, most_group) in BUDGETS {
        // A crowd of its own: inodes that one group has been charged with cost the next one nothing.
        let unbounded = charged_without_limit(&agent, processes);
        let _crowd = crowd(processes);
        let group = Group::make(Some(most_group));
        let port = free_port();
        let arguments =
            ["--listen", &format!("127.0.0.1:{port}"), "--interval", "500ms", "--log-level", "error"];
        let mut start = match &group {
            Some(group) => group.command(&agent),
            None => command(&agent),
        };
        let agent = Program::start(start.args(arguments).stderr(std::process::Stdio::null()));
        wait_for(Duration::from_secs(60), "the agent", || listener(agent.pid(), port).then_some(()));
        // Two scans in a second: six seconds are past second sight, when descriptors are kept.
        std::thread::sleep(Duration::from_secs(6));
        let scan = || {
            Page::parse(http::get(port, "/metrics", &[]).text()).metric("procagent_scan_time_seconds").value()
        };
        http::get(port, "/metrics", &["Accept: application/openmetrics-text", "Accept-Encoding: gzip"]);
        let before = scan();
        wait_for(Duration::from_secs(30), "the next scan", || (scan() > before).then_some(()));
        let resident = resident(agent.pid());
        let charged = group.as_ref().map(Group::charged);
        drop(agent);
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        println!(
            "{processes:>9}  {:>12.1}  {:>15}  {:>15}  ({} and {})",
            mib(resident),
            charged.map_or("not measured".into(), |bytes| format!("{:.1}", mib(bytes))),
            unbounded.map_or("not measured".into(), |bytes| format!("{:.1}", mib(bytes))),
            most_resident / MIB,
            most_group / MIB,
        );
        broken |= resident > most_resident || charged.is_some_and(|bytes| bytes > most_group);
    }
    if broken {
        std::process::exit(1);
    }
}

/// What an agent is charged with that nothing limits, after a few scans.
fn charged_without_limit(agent: &Path, processes: usize) -> Option<u64> {
    let _crowd = crowd(processes);
    let group = Group::make(None)?;
    let port = free_port();
    let arguments = ["--listen", &format!("127.0.0.1:{port}"), "--interval", "500ms", "--log-level", "error"];
    let agent = Program::start(group.command(agent).args(arguments).stderr(std::process::Stdio::null()));
    wait_for(Duration::from_secs(60), "the agent", || listener(agent.pid(), port).then_some(()));
    std::thread::sleep(Duration::from_secs(6));
    Some(group.charged())
}

/// A memory control group of our own, version 1 or 2; removed when dropped.
struct Group {
    folder: PathBuf,
    usage: &'static str,
}

impl Group {
    fn make(limit: Option<u64>) -> Option<Group> {
        for (parent, usage, most) in [
            ("/sys/fs/cgroup/memory", "memory.usage_in_bytes", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.current", "memory.max"),
        ] {
            let folder = PathBuf::from(parent).join(format!("procagent-bench-{}", std::process::id()));
            if std::fs::create_dir(&folder).is_ok() {
                if folder.join(usage).exists() {
                    if let Some(limit) = limit {
                        write(folder.join(most), limit.to_string());
                    }
                    return Some(Group { folder, usage });
                }
                let _removed = std::fs::remove_dir(&folder);
            }
        }
        skip("bench memory", "no memory control group can be made here: only resident memory is measured");
        None
    }

    /// A command that joins the group before it becomes `program`, so that everything is charged here.
    fn command(&self, program: &Path) -> Command {
        let mut command = command("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.folder.join("cgroup.procs"))
            .arg(program);
        command
    }

    fn charged(&self) -> u64 {
        assert!(try_read(self.folder.join("cgroup.procs")).is_some_and(|pids| !pids.trim().is_empty()));
        read(self.folder.join(self.usage)).trim().parse().expect("bytes")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group can only go once its last process is reaped.
        let _removed = std::fs::remove_dir(&self.folder);
    }
}
