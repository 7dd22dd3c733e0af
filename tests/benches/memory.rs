//! Memory of the running agent at 300 and at 10,000 processes: resident, and what its memory control group is charged
//! with, which includes the kernel's share of kept descriptors.
//! `cargo bench -p procagent-tests --bench memory`; exits with 1 when a budget is broken.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a bench: what is not as expected ends it"
)]

use procagent_tests::crowd::{crowd, release_binary, resident};
use procagent_tests::system::{Program, command, free_port, listener, read, try_read, wait_for};
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
    println!("{:>9}  {:>12}  {:>15}  (budget)", "processes", "resident MiB", "cgroup MiB");
    for (processes, most_resident, most_group) in BUDGETS {
        let _crowd = crowd(processes);
        let group = Group::make();
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
        http::get(port, "/metrics", &[]);
        http::get(port, "/metrics", &["Accept: application/openmetrics-text", "Accept-Encoding: gzip"]);
        let resident = resident(agent.pid());
        let charged = group.as_ref().map(Group::charged);
        drop(agent);
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        println!(
            "{processes:>9}  {:>12.1}  {:>15}  ({} and {})",
            mib(resident),
            charged.map_or("not measured".into(), |bytes| format!("{:.1}", mib(bytes))),
            most_resident / MIB,
            most_group / MIB,
        );
        broken |= resident > most_resident || charged.is_some_and(|bytes| bytes > most_group);
    }
    if broken {
        std::process::exit(1);
    }
}

/// A memory control group of our own, version 1 or 2; removed when dropped.
struct Group {
    folder: PathBuf,
    usage: &'static str,
}

impl Group {
    fn make() -> Option<Group> {
        for (parent, usage) in
            [("/sys/fs/cgroup/memory", "memory.usage_in_bytes"), ("/sys/fs/cgroup", "memory.current")]
        {
            let folder = PathBuf::from(parent).join(format!("procagent-bench-{}", std::process::id()));
            if std::fs::create_dir(&folder).is_ok() {
                if folder.join(usage).exists() {
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
