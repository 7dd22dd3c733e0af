//! The real binary follows its configuration while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::Agent;
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::page::Page;
use procagent_tests::system::{self, wait_for};
use rustix::process::Signal;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A host with a process `shop`, and one of another name.
fn host() -> FakeHost {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(50, "shop").start(500).cpu(100, 0));
    host.put(&FakeProcess::new(51, "depot").start(500));
    host
}

/// Puts `shop` into this group. Scans are rare: what changes shows at once all the same.
fn grouping(host: &FakeHost, group: &str) -> String {
    format!(
        "interval: 1h\nhost: {{ root: \"{}\" }}\ngroups:\n  rules:\n    - group: {group}\n      match: {{ name: shop }}",
        host.root().display()
    )
}

fn start(host: &FakeHost) -> Agent {
    let agent = Agent::start(&grouping(host, "first"));
    assert!(has(&agent, "first"));
    agent
}

fn has(agent: &Agent, group: &str) -> bool {
    !agent.page().metric("process_thread_count").label("group", group).is_absent()
}

fn wait_for_group(agent: &Agent, group: &str) {
    wait_for(PATIENCE, "the change to take effect", || {
        assert!(!agent.log().contains("ERROR"), "{}", agent.log());
        has(agent, group).then_some(())
    });
}

fn wait_for_log(agent: &Agent, words: &str) {
    wait_for(PATIENCE, words, || agent.log().contains(words).then_some(()));
}

fn success(agent: &Agent) -> f64 {
    agent.page().metric("procagent_config_reload_success").value()
}

#[test]
fn reload_of_a_file_that_is_written_in_place() {
    let host = host();
    let agent = start(&host);
    let loaded = |agent: &Agent| agent.page().metric("procagent_config_reload_time_seconds").value();
    let before = loaded(&agent);
    assert!(before > 1e9 && success(&agent) == 1.0);
    for group in ["second", "third"] {
        system::write(agent.config_file(), agent.with_port(&grouping(&host, group)));
        wait_for_group(&agent, group);
    }
    assert!(!has(&agent, "first"));
    assert!(loaded(&agent) > before && success(&agent) == 1.0);
    assert!(agent.log().contains("changed: groups"), "{}", agent.log());
}

#[test]
fn reload_of_a_file_that_is_renamed_into_place() {
    let host = host();
    let agent = start(&host);
    for group in ["second", "third"] {
        replace(&agent, &grouping(&host, group));
        wait_for_group(&agent, group);
    }
}

fn replace(agent: &Agent, config: &str) {
    let new = agent.folder().join(".agent.yaml.swp");
    system::write(&new, agent.with_port(config));
    std::fs::rename(new, agent.config_file()).unwrap();
}

/// As the kubelet does it: the file is a link through `..data`, which is exchanged for another folder.
#[test]
fn reload_of_a_config_map() {
    let host = host();
    let agent = start(&host);
    let version = |number: u32, config: &str| {
        let folder = format!("..2026_11_20_{number}");
        std::fs::create_dir(agent.folder().join(&folder)).unwrap();
        system::write(agent.folder().join(&folder).join("agent.yaml"), agent.with_port(config));
        exchange(&agent.folder().join("..data"), &folder);
    };
    version(1, &grouping(&host, "first"));
    exchange(&agent.config_file(), "..data/agent.yaml");
    for (number, group) in [(2, "second"), (3, "third")] {
        version(number, &grouping(&host, group));
        std::fs::remove_dir_all(agent.folder().join(format!("..2026_11_20_{}", number - 1))).unwrap();
        wait_for_group(&agent, group);
        // The agent's log lies beside its configuration here, and what it said is a change in that folder too.
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Puts a link in place of what is there, in one step.
fn exchange(link: &Path, target: &str) {
    let new = link.with_file_name("..data_tmp");
    symlink(target, &new).unwrap();
    std::fs::rename(new, link).unwrap();
}

/// The file is a link to one that lies elsewhere, and that one is edited.
#[test]
fn reload_of_what_a_link_points_to() {
    let host = host();
    let agent = start(&host);
    let elsewhere = tempfile::TempDir::new().unwrap();
    let target = elsewhere.path().join("real.yaml");
    system::write(&target, agent.with_port(&grouping(&host, "second")));
    exchange(&agent.config_file(), target.to_str().unwrap());
    wait_for_group(&agent, "second");
    // The agent's log lies beside its configuration here, and what it said is a change in that folder too.
    std::thread::sleep(Duration::from_secs(1));
    system::write(&target, agent.with_port(&grouping(&host, "third")));
    wait_for_group(&agent, "third");
}

#[test]
fn failure_bad_config_on_reload() {
    let host = host();
    let agent = start(&host);
    let broken = grouping(&host, "second").replace("name: shop", "nam: shop");
    system::write(agent.config_file(), agent.with_port(&broken));
    let message = "agent.yaml:6:16: groups.rules[0].match.nam: unknown key; known here: name, exe";
    wait_for_log(&agent, message);
    // Other files beside it are no reason to say it again.
    for number in 0..5 {
        system::write(agent.folder().join("other"), number.to_string());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(agent.log().matches(message).count(), 1, "{}", agent.log());
    assert!(agent.log().contains("6 |       match: { nam: shop }"), "with the place:\n{}", agent.log());
    assert!(has(&agent, "first") && !has(&agent, "second"), "the one before stays in force");
    let status: serde_json::Value = serde_json::from_str(&agent.ask("/status").unwrap()).unwrap();
    assert_eq!(status["config_success"], false);
    assert!(status["config_change"].as_str().unwrap().contains(message), "{status}");

    // The log says it once more to who asks; a right one mends it.
    agent.signal(Signal::HUP);
    wait_for(PATIENCE, "an answer to SIGHUP", || (agent.log().matches(message).count() == 2).then_some(()));
    replace(&agent, &grouping(&host, "third"));
    wait_for(PATIENCE, "the right one to take effect", || has(&agent, "third").then_some(()));
    assert_eq!(success(&agent), 1.0);
}

/// A refusal shows in the numbers with the next scan.
#[test]
fn refusals_are_counted_down_and_up_again() {
    let host = host();
    let config =
        |interval: &str| format!("interval: {interval}\nhost: {{ root: \"{}\" }}", host.root().display());
    let agent = Agent::start(&config("100ms"));
    for (text, want) in [("interval: soon", 0.0), ("interval: 200ms", 1.0), ("intervall: 1s", 0.0)] {
        let text = text.replace("interval: 200ms", &config("200ms"));
        system::write(agent.config_file(), agent.with_port(&text));
        wait_for(PATIENCE, "the numbers to say so", || (success(&agent) == want).then_some(()));
    }
    // The same as before the mistake: nothing changes, and it counts as right.
    system::write(agent.config_file(), agent.with_port(&config("200ms")));
    wait_for(PATIENCE, "the numbers to say so", || (success(&agent) == 1.0).then_some(()));
}

#[test]
fn a_deleted_configuration_is_a_mistake_and_not_the_wish_for_defaults() {
    let host = host();
    let agent = start(&host);
    let text = system::read(agent.config_file());
    std::fs::remove_file(agent.config_file()).unwrap();
    wait_for_log(&agent, "there is no such file");
    assert!(has(&agent, "first"));
    agent.signal(Signal::HUP);
    wait_for(PATIENCE, "an answer to SIGHUP", || {
        (agent.log().matches("there is no such file").count() == 2).then_some(())
    });
    system::write(agent.config_file(), text.replace("first", "second"));
    wait_for(PATIENCE, "the new file", || has(&agent, "second").then_some(()));
}

#[test]
fn sighup_reloads_and_says_so() {
    let agent = Agent::start("interval: 200ms");
    agent.signal(Signal::HUP);
    wait_for_log(&agent, "changed: nothing");
    assert_eq!(success(&agent), 1.0);
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let host = host();
    let agent = start(&host);
    let other = grouping(&host, "second").replace(&*host.root().to_string_lossy(), "/elsewhere");
    let text = agent.with_port(&other).replace(&agent.port.to_string(), "1");
    system::write(agent.config_file(), format!("{text}log: {{ format: json }}\n"));
    wait_for_group(&agent, "second");
    let log = agent.log();
    assert!(
        log.contains("restart the agent for the new value of host.root, outputs.prometheus, log.format"),
        "{log}"
    );
}

#[test]
fn interval_collectors_limits_and_log_level_change_at_once() {
    let host = host();
    let agent = start(&host);
    let base = grouping(&host, "first");
    let change = |text: String| system::write(agent.config_file(), agent.with_port(&text));

    change(base.replace("1h", "100ms"));
    agent.next_page(5);
    change(format!("{base}\nlog: {{ level: error }}").replace("1h", "100ms"));
    std::thread::sleep(Duration::from_secs(1));
    let quiet = agent.log();
    change(format!("{base}\nlog: {{ level: error }}\ncollectors: {{ process: off }}").replace("1h", "100ms"));
    wait_for(PATIENCE, "the collector to be off", || (!has(&agent, "first")).then_some(()));
    assert!(agent.page().metric("procagent_collector_up").label("collector", "process").is_absent());
    assert_eq!(agent.log(), quiet, "nothing is worth a line below error");
    change(base.replace("1h", "100ms"));
    wait_for(PATIENCE, "the collector to be on", || has(&agent, "first").then_some(()));
}

/// The counters of what stays as it is go on; those of a group that nobody belongs to any more end.
#[test]
fn a_reload_keeps_counters() {
    let host = host();
    let agent = Agent::start(&grouping(&host, "first").replace("1h", "100ms"));
    host.put(&FakeProcess::new(50, "shop").start(500).cpu(700, 0));
    host.put(&FakeProcess::new(51, "depot").start(500).cpu(300, 0));
    let cpu = |group: &str| {
        let page = agent.page();
        let metric = page.metric("process_cpu_time_seconds_total").label("group", group);
        metric.label("cpu_mode", "user").find()
    };
    let created = |group: &str| {
        let page = agent.page();
        let metric = page.metric("process_cpu_time_seconds_created").label("group", group);
        metric.label("cpu_mode", "user").find()
    };
    wait_for(PATIENCE, "the CPU time", || {
        (cpu("first") == Some(6.0) && cpu("depot") == Some(3.0)).then_some(())
    });
    let since = created("depot");
    system::write(agent.config_file(), agent.with_port(&grouping(&host, "second").replace("1h", "100ms")));
    wait_for_group(&agent, "second");
    agent.next_page(2);
    assert_eq!((cpu("depot"), created("depot")), (Some(3.0), since));
    assert_eq!(cpu("first"), None);
    assert_eq!(cpu("second"), Some(0.0), "what was used before counted for the other group");
}

/// The agent ends for an expected group that does not come, if it is told to.
#[test]
fn an_expected_group_that_fails_can_end_the_agent() {
    let host = host();
    let config = |exit: bool| {
        format!(
            "{}\n    - {{ group: absent, match: {{ name: nobody-has-this-name }}, expect: true }}\n  \
             health: {{ every: 100ms, retries: 5, exit_on_failed: {exit} }}",
            grouping(&host, "first").replace("1h", "100ms")
        )
    };
    let mut agent = Agent::start(&config(false));
    std::thread::sleep(Duration::from_secs(2));
    agent.next_page(1);
    system::write(agent.config_file(), agent.with_port(&config(true)));
    assert_eq!(agent.wait(PATIENCE).code(), Some(1), "{}", agent.log());
    assert!(agent.log().contains("the expected group absent has failed"), "{}", agent.log());
    assert!(!agent.control().exists(), "it leaves no socket behind");
}

/// Counters that the new settings do not produce end; standing still, they would read as a rate of zero.
#[test]
fn counters_that_are_switched_off_end_and_the_others_go_on() {
    let agent = Agent::start("interval: 200ms");
    let gone = |page: &Page| page.metric("process_context_switches_total").is_absent();
    let operations =
        |page: &Page| page.metric("process_disk_operations_total").label("group", "procagent").sum();
    let patience = Duration::from_secs(20);
    let before = agent.page_where(patience, "both", |page| {
        (!gone(page) && operations(page) > 100.0).then(|| operations(page))
    });
    let config = agent.with_port("interval: 200ms\ncollectors: { process: { threads: off } }");
    system::write(agent.config_file(), config);
    let after = agent.page_where(patience, "their end", |page| gone(page).then(|| operations(page)));
    assert!(after >= before, "what is still counted goes on: {before}, {after}");
}
