//! The agent's own cost stays bounded, whatever comes and goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::{Agent, OPENMETRICS};
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::page::{Page, Sample};
use procagent_tests::system::{self, Program, alone, command, wait_for};
use procagent_tests::{crowd, http};
use std::collections::{BTreeSet, HashSet};
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

/// The agent's open files: those below /proc/NUMBER with the process, and how many there are of others.
fn open_files(agent: &Agent) -> (BTreeSet<(String, u32)>, usize) {
    let folder = format!("/proc/{}/fd", agent.pid());
    let (mut kept, mut others) = (BTreeSet::new(), 0);
    for name in system::list(&folder) {
        // Closed since it was listed.
        let Some(target) = system::link(format!("{folder}/{name}")) else { continue };
        let process = target.strip_prefix("/proc").ok().and_then(|path| path.iter().next());
        match process.and_then(|pid| pid.to_str()?.parse().ok()) {
            Some(pid) => _ = kept.insert((name, pid)),
            None => others += 1,
        }
    }
    (kept, others)
}

/// Descriptors are kept of processes that live, and closed when they are gone: whole crowds, and thousands that come
/// and go between.
#[test]
fn open_fds_stay_flat() {
    let agent = Agent::start("interval: 100ms");
    let (_, before) = open_files(&agent);
    for _ in 0..4 {
        let crowd = crowd::crowd(100);
        let pids: BTreeSet<u32> = crowd.iter().map(system::Program::pid).collect();
        let of_crowd = || open_files(&agent).0.iter().filter(|(_, pid)| pids.contains(pid)).count();
        wait_for(Duration::from_secs(30), "descriptors of the crowd to be kept", || {
            (of_crowd() >= pids.len()).then_some(())
        });
        pass(1000);
        drop(crowd);
        // One scan may have begun before they ended.
        agent.next_page(2);
        assert_eq!(of_crowd(), 0, "they are gone");
    }
    // On this host others come and go as well: nobody who is gone stays for more than two scans.
    let gone = || {
        let lives = |pid: u32| std::path::Path::new(&format!("/proc/{pid}/stat")).exists();
        open_files(&agent).0.into_iter().filter(|(_, pid)| !lives(*pid)).collect::<BTreeSet<_>>()
    };
    let first = gone();
    agent.next_page(2);
    assert_eq!(first.intersection(&gone()).next(), None);
    // A connection of ours may or may not be closed yet.
    let (_, after) = open_files(&agent);
    assert!(after.abs_diff(before) <= 3, "{before} before, {after} after");
}

/// Metrics whose values differ between two agents on one host by nature: their own time and cost, and how old what
/// they read is.
fn of_the_agent_itself(name: &str) -> bool {
    let own = [
        "procagent_collector_duration_seconds",
        "procagent_scan_duration_seconds",
        "procagent_scan_time_seconds",
        "procagent_scan_missed_total",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "procagent_config_reload_time_seconds",
        // At the time of each agent's own scan, since its own start, and as often as it tried.
        "process_uptime_seconds",
        "procagent_errors_total",
    ];
    own.contains(&name) || name.ends_with("_age_seconds") || name.ends_with("_created")
}

/// However many ask, they get what the last scan saw; and an agent that was asked goes on exactly as one that was
/// not.
#[test]
fn scrape_does_not_mutate() {
    let host = FakeHost::new();
    let put = |step: u64| {
        for pid in 50..60 {
            let process = FakeProcess::new(pid, &format!("worker{}", pid % 3)).start(500);
            host.put(&FakeProcess { write_bytes: step << 20, ..process.cpu(step * u64::from(pid), step) });
        }
        host.cpu(step * 1000, step * 100);
    };
    put(1);
    let config = format!("interval: 2s\nhost: {{ root: \"{}\" }}", host.root().display());
    let (asked, left_alone) = (Agent::start(&config), Agent::start(&config));
    let time = |page: &Page| page.metric("procagent_scan_time_seconds").value();
    // Right after a scan, so that none comes between.
    let first = time(&asked.next_page(1));
    let bodies: HashSet<Vec<u8>> = std::thread::scope(|scope| {
        let ask = |number: i32| match number % 4 {
            0 => http::get(asked.port, "/metrics", &[]).body,
            1 => http::get(asked.port, "/metrics", &["Accept-Encoding: gzip"]).body,
            2 => http::get(asked.port, "/metrics", &[OPENMETRICS]).body,
            _ => http::get(asked.port, "/metrics", &[OPENMETRICS, "Accept-Encoding: gzip"]).body,
        };
        let readers: Vec<_> = (0..40).map(|number| scope.spawn(move || ask(number))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert_eq!(time(&asked.page()), first, "no scan came between");
    assert_eq!(bodies.len(), 4, "one body for each format and coding");

    put(2);
    let next = |agent: &Agent| {
        agent.page_where(Duration::from_secs(60), "the next scan", |page| {
            let written = page.metric("process_disk_io_bytes_total").label("group", "worker1").sum();
            (written > 0.0).then(|| page.clone())
        })
    };
    let asked = next(&asked);
    // Its next scan is over as well, so that the first page it is asked for is the one to compare.
    std::thread::sleep(Duration::from_millis(2500));
    let left_alone = next(&left_alone);
    let values = |page: &Page| -> Vec<Sample> {
        page.samples().iter().filter(|sample| !of_the_agent_itself(&sample.name)).cloned().collect()
    };
    let (asked, left_alone) = (values(&asked), values(&left_alone));
    assert!(asked.len() > 100, "{}", asked.len());
    for (asked, left_alone) in asked.iter().zip(&left_alone) {
        assert_eq!(asked, left_alone);
    }
    assert_eq!(asked.len(), left_alone.len());
}
