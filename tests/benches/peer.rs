//! What watching a crowd costs, against prometheus-process-exporter in the same run: CPU per process and scrape.
//! `cargo bench -p procagent-tests --bench peer`; exits with 1 when the budget is broken.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a bench: what is not as expected ends it"
)]

use procagent_tests::crowd::{cpu_microseconds, crowd, release_binary};
use procagent_tests::page::Page;
use procagent_tests::system::{Program, command, find, free_port, listener, wait_for, write};
use procagent_tests::{http, skip};
use std::time::Duration;

const PROCESSES: usize = 3000;
const ROUNDS: u64 = 20;
/// As many times cheaper as the peer, at least.
const BUDGET: f64 = 10.0;

fn main() {
    let Some(peer) = find("prometheus-process-exporter") else {
        return skip("bench peer", "prometheus-process-exporter is not installed");
    };
    let agent = release_binary();
    let _crowd = crowd(PROCESSES);
    let folder = tempfile::tempdir().expect("a folder");

    let config = folder.path().join("peer.yml");
    write(&config, "process_names: [{name: \"{{.Comm}}\", cmdline: ['.+']}]\n");
    let port = free_port();
    let peer = Program::start(
        command(peer)
            .arg("-config.path")
            .arg(&config)
            .args(["-web.listen-address", &format!("127.0.0.1:{port}")])
            .args(["-threads=false", "-gather-smaps=false"])
            .stderr(std::process::Stdio::null()),
    );
    wait_for(Duration::from_secs(60), "the peer", || listener(peer.pid(), port).then_some(()));
    http::get(port, "/metrics", &[]);
    let before = cpu_microseconds(peer.pid());
    for _ in 0..ROUNDS {
        http::get(port, "/metrics", &[]);
    }
    let theirs = cpu_microseconds(peer.pid()) - before;
    drop(peer);

    let port = free_port();
    let agent = Program::start(
        command(agent)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--interval", "500ms", "--log-level", "error"])
            .stderr(std::process::Stdio::null()),
    );
    wait_for(Duration::from_secs(60), "the agent", || listener(agent.pid(), port).then_some(()));
    // From second sight on descriptors are kept: the steady state begins with the third scan.
    let scan = |port| {
        let answer = http::get(port, "/metrics", &[]);
        let page = (answer.status == 200).then(|| Page::parse(answer.text()))?;
        page.metric("procagent_scan_time_seconds").find()
    };
    let next = |after: Option<f64>| {
        wait_for(Duration::from_secs(30), "the next scan", || scan(port).filter(|at| Some(*at) != after))
    };
    let mut last = (0..3).fold(None, |last, _| Some(next(last)));
    let before = cpu_microseconds(agent.pid());
    for _ in 0..ROUNDS {
        last = Some(next(last));
    }
    let ours = cpu_microseconds(agent.pid()) - before;

    let per = |total: u64| total as f64 / ROUNDS as f64 / PROCESSES as f64;
    let ratio = theirs as f64 / ours.max(1) as f64;
    println!("{PROCESSES} idle processes, {ROUNDS} rounds; CPU microseconds per process and round");
    println!("  prometheus-process-exporter  {:8.2}", per(theirs));
    println!(
        "  procagent                    {:8.2}  (scan, groups, collectors, and the page polled until it is new)",
        per(ours)
    );
    println!("  ratio                        {ratio:8.1}  (budget: at least {BUDGET})");
    if ratio < BUDGET {
        std::process::exit(1);
    }
}
