//! Groups by rules, on real processes: names, the limit, expected groups, memory that is too large to look at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::Agent;
use procagent_tests::page::Page;
use procagent_tests::system::{self, Program, alone, command, start_as};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A crowd of more names than there may be groups: the limit holds, and nobody is lost.
#[test]
fn six_hundred_names_fit_into_five_hundred_groups_and_other() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let crowd: Vec<Program> = (0..600)
        .map(|number| start_as(format!("crowd-{number:03}").as_bytes(), folder.path(), "sleep", &["600"]))
        .collect();
    let agent = Agent::start("interval: 500ms\ngroups: { limit: 500 }");
    let page = agent.next_page(3);
    let groups = page.metric("process_thread_count").values_of("group");
    assert!(groups.contains(&"other"), "{} groups", groups.len());
    assert_eq!(groups.len(), 501, "500 of their own, and other");
    assert!(page.metric("procagent_groups_folded").value() >= 100.0);
    let members = |page: &Page| page.metric("procagent_process_count").sum();
    let on_host = page.metric("system_process_count").sum();
    assert_eq!(members(&page), on_host, "every process counts in one group");
    assert_eq!(page.metric("procagent_scan_failed_total").value(), 0.0);
    drop(crowd);
}

/// What an expected group says while its program is absent, started, killed, and started again.
#[test]
fn an_expected_group_over_its_whole_life() {
    let folder = TempDir::new().unwrap();
    let agent = Agent::start(
        "interval: 200ms\ngroups:\n  health: { every: 500ms, retries: 4 }\n  rules:\n    - group: ledger\n      \
         match: { name: ledgerd }\n      expect: true\n      descendants: true\n      version: \"7\"",
    );
    let of = |page: &Page, metric: &str| page.metric(metric).label("group", "ledger").find();
    let page = agent.page();
    assert_eq!(of(&page, "process_thread_count"), Some(0.0), "zeros from the first page on");
    assert_eq!(page.metric("process_cpu_time_seconds_total").label("group", "ledger").sum(), 0.0);
    assert_eq!(of(&page, "procagent_group_info"), Some(1.0));
    agent.page_where(PATIENCE, "failed", |page| {
        (of(page, "procagent_group_failed") == Some(1.0)).then_some(())
    });

    let running = start_as(b"ledgerd", folder.path(), "sleep", &["600"]);
    let again = || {
        let mut line = command(folder.path().join("ledgerd"));
        Program::start(line.arg("600").stdout(Stdio::null()))
    };
    let here = |restarts: f64| {
        agent.page_where(PATIENCE, "its program", |page| {
            let there = of(page, "process_thread_count") == Some(1.0);
            let counted = of(page, "procagent_group_restarts_total") == Some(restarts);
            (there && counted && of(page, "procagent_group_failed") == Some(0.0)).then_some(())
        });
    };
    let gone = || {
        agent.page_where(PATIENCE, "its end", |page| {
            (of(page, "process_thread_count") == Some(0.0)).then_some(())
        });
    };
    here(0.0);
    drop(running);
    gone();
    let running = again();
    here(1.0);
    drop(running);
    gone();
    let _running = again();
    here(2.0);
    agent.next_page(5);
    here(2.0);
}

/// One name is not the start of another, nor is a name cut where the kernel cuts it.
#[test]
fn b1_wazuh_daemons_have_groups_of_their_own() {
    let folder = TempDir::new().unwrap();
    let daemons = ["wazuh-db", "wazuh-dbd", "wazuh-logcollector", "wazuh-integratord"];
    let _running = daemons.map(|name| start_as(name.as_bytes(), folder.path(), "sleep", &["600"]));
    let script = folder.path().join("wazuh_apid.py");
    system::write(&script, "import time\ntime.sleep(600)\n");
    let _script = Program::start(command("python3").arg(&script).stdout(Stdio::null()));
    // Naming a daemon makes nobody one.
    let log = folder.path().join("wazuh-db.log");
    system::write(&log, "");
    let _reader = Program::start(command("tail").arg("-f").arg(&log).stdout(Stdio::null()));
    let agent = Agent::start("interval: 500ms\ngroups: { presets: [wazuh], unmatched: drop }");
    let page = agent.next_page(1);
    for name in daemons.into_iter().chain(["wazuh-apid"]) {
        let members = page.metric("procagent_process_count").label("group", name).sum();
        assert_eq!(members, 1.0, "{name}");
    }
    let groups = page.metric("process_thread_count").values_of("group");
    assert!(!groups.contains(&"tail"), "what no rule matches is dropped: {groups:?}");
}

/// Reading the mappings of a large process would halt it: it is left out, and counted.
#[test]
fn a_process_above_max_resident_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let hold = |bytes: &str| format!("$x = \"x\" x ({bytes}); sleep 600");
    let _large = start_as(b"large-one", folder.path(), "perl", &["-e", &hold("96 << 20")]);
    let _small = start_as(b"small-one", folder.path(), "perl", &["-e", &hold("1 << 20")]);
    let agent = Agent::start(
        "interval: 500ms\ncollectors: { process: { smaps: { every: 1s, max_resident: 64MiB } } }",
    );
    let proportional =
        |page: &Page, group: &str| page.metric("process_linux_memory_pss_bytes").label("group", group).find();
    let page = agent.page_where(PATIENCE, "the small one", |page| {
        let large = page.metric("process_memory_usage_bytes").label("group", "large-one").find();
        (proportional(page, "small-one").is_some() && large > Some(90e6)).then(|| page.clone())
    });
    assert_eq!(proportional(&page, "large-one"), None);
    assert!(page.metric("procagent_smaps_skipped").value() >= 1.0);
}
