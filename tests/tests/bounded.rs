//! The agent's own cost stays bounded, whatever comes and goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::Agent;
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::http;
use procagent_tests::system::{self, Program, alone, command};
use std::collections::HashSet;
use std::time::Duration;

/// How many short processes pass.
const PROCESSES: u32 = 100_000;

/// j7: after 100,000 short processes the agent is no larger than 10 % and 2 MiB more.
#[test]
fn j7_memory_is_flat_while_short_processes_pass() {
    let _alone = alone();
    let agent = Agent::start("interval: 50ms\nremember: 500");
    // Until the ring of ended processes is full, memory grows as it should.
    pass(PROCESSES / 10);
    agent.next_page(2);
    let before = agent.resident_kib();
    pass(PROCESSES);
    let page = agent.next_page(2);
    let after = agent.resident_kib();
    assert!(page.metric("procagent_process_started_total").sum() > 100.0, "some of them were seen");
    assert!(after * 10 <= before * 11 + 10 * 2048, "{before} KiB before, {after} KiB after");
}

/// Forks this many processes, on two shells at once, and waits for all of them.
fn pass(count: u32) {
    let script = format!("i=0; while [ $i -lt {} ]; do (:); i=$((i+1)); done", count / 2);
    let mut shells = [0; 2].map(|_| Program::start(command("sh").arg("-c").arg(&script)));
    for shell in &mut shells {
        assert!(shell.wait(Duration::from_secs(300)).success());
    }
}

/// Descriptors of processes that are gone are closed.
#[test]
fn open_fds_stay_flat() {
    let host = FakeHost::new();
    let agent = Agent::start(&format!("interval: 100ms\nhost: {{ root: \"{}\" }}", host.root().display()));
    let crowd = |first: u32| (first..first + 100).map(|pid| FakeProcess::new(pid, "crowd").start(500));
    let mut open = Vec::new();
    for round in 0..6 {
        let first = 1000 + round * 100;
        crowd(first).for_each(|process| host.put(&process));
        agent.next_page(3);
        open.push(system::list(format!("/proc/{}/fd", agent.pid())).len());
        crowd(first).for_each(|process| host.end(process.pid));
        agent.next_page(3);
    }
    let (least, most) = (open.iter().min().unwrap(), open.iter().max().unwrap());
    // A connection of ours may or may not be closed yet.
    assert!(most - least <= 4, "{open:?}");
}

/// However many ask, they get what the last scan saw, and asking changes nothing.
#[test]
fn scrape_does_not_mutate() {
    let host = FakeHost::new();
    let agent = Agent::start(&format!("interval: 1h\nhost: {{ root: \"{}\" }}", host.root().display()));
    let bodies: HashSet<Vec<u8>> = std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..20).map(|_| scope.spawn(|| http::get(agent.port, "/metrics", &[]).body)).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert_eq!(bodies.len(), 1);
}
