//! `procagent doctor` names what cannot be read here, and what would help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent::rights::{self, TABLE};
use procagent_tests::agent::{binary, procagent};
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::system::{self, command, run, said};
use procagent_tests::{skip, workspace};
use serde_json::Value;
use std::process::Output;

/// Runs it as user 65534 with these capabilities and no other; `None`, and a loud skip, where that cannot be done.
fn as_nobody(test: &str, capabilities: &[&str], args: &[&str]) -> Option<Output> {
    if !system::root() || system::find("setpriv").is_none() {
        skip(test, "only root with setpriv can take rights away one by one");
        return None;
    }
    let list: String = capabilities.iter().map(|capability| format!(",+{capability}")).collect();
    let inherited = format!("--inh-caps=-all{list}");
    // Ambient ones survive exec by a user that is not root (capabilities(7)).
    let ambient = format!("--ambient-caps=-all{list}");
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", &inherited, &ambient, "--"];
    if !run(command("setpriv").args(user).arg(binary()).arg("--version")).status.success() {
        skip(test, "user 65534 cannot run the binary where it lies, or setpriv may not give capabilities");
        return None;
    }
    let output = run(command("setpriv").args(user).arg(binary()).arg("doctor").args(args));
    assert!(output.status.success(), "a report is no failure: {}", said(&output));
    Some(output)
}

fn file<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["process_files"].as_array().unwrap().iter().find(|file| file["file"] == name).expect(name)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

/// Text of the first screen: what is wrong comes before the tables.
fn first_screen(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).split("Files of processes").next().unwrap().to_owned()
}

#[test]
fn all_that_is_read_is_looked_at() {
    let report = json(&run(procagent().args(["doctor", "--json"])));
    let names: Vec<&str> =
        report["process_files"].as_array().unwrap().iter().filter_map(|file| file["file"].as_str()).collect();
    assert_eq!(
        names,
        [
            "stat",
            "statm",
            "status",
            "io",
            "fd",
            "limits",
            "exe",
            "cmdline",
            "cgroup",
            "schedstat",
            "task",
            "smaps_rollup"
        ]
    );
    for field in procagent_core::snapshot::Field::ALL.map(procagent_core::snapshot::Field::as_str) {
        let host = ["host_stat", "meminfo", "passwd"].contains(&field);
        assert!(host || names.contains(&field), "{field} is read and not looked at");
    }
    let stat = file(&report, "stat");
    assert!(stat["readable"].as_u64().unwrap() >= 1 && stat["denied"] == 0, "{stat}");
    assert_eq!(report["host_files"][1]["readable"], 1);
    assert_eq!(report["agent"]["source"], "procfs");
    assert!(report["descriptors"]["kept"].as_u64().unwrap() <= 4096);
    assert!(report["not_in_this_version"].as_array().unwrap().contains(&"events".into()));
}

/// j5: without rights it names both capabilities, and the file that each would open.
#[test]
fn failure_no_privilege_explained() {
    let test = "failure_no_privilege_explained";
    let Some(output) = as_nobody(test, &[], &["--json"]) else { return };
    let report = json(&output);
    assert_eq!(report["complete"], false);
    for name in ["io", "exe", "smaps_rollup"] {
        let io = file(&report, name);
        assert!(io["denied"].as_u64().unwrap() >= 1, "{io}");
        assert_eq!(io["fix"], "give the agent the capabilities SYS_PTRACE + DAC_READ_SEARCH");
        assert!(io["example"]["pid"].as_u64().unwrap() >= 1, "{io}");
        assert!(io["example"]["error"].as_str().unwrap().contains("ermi"), "{io}");
    }
    assert_eq!(file(&report, "stat")["denied"], 0, "nothing but what is closed is said to be");
    let text = as_nobody(test, &[], &[]).unwrap();
    let first = first_screen(&text);
    assert!(first.contains("SYS_PTRACE + DAC_READ_SEARCH"), "{first}");
    assert!(first.lines().count() < 8, "{first}");
}

/// Either capability alone opens nothing, and the other one is named.
#[test]
fn one_capability_of_the_two_is_not_enough() {
    let test = "one_capability_of_the_two_is_not_enough";
    for (held, missing) in [("sys_ptrace", "DAC_READ_SEARCH"), ("dac_read_search", "SYS_PTRACE")] {
        let Some(output) = as_nobody(test, &[held], &["--json"]) else { return };
        let report = json(&output);
        assert!(file(&report, "io")["denied"].as_u64().unwrap() >= 1, "{report}");
        assert_eq!(file(&report, "io")["fix"], format!("give the agent the capability {missing}"));
    }
}

/// Both together open what can be opened; what is closed all the same is not blamed on them.
#[test]
fn both_capabilities_are_enough() {
    let test = "both_capabilities_are_enough";
    let Some(alone) = as_nobody(test, &[], &["--json"]) else { return };
    let Some(both) = as_nobody(test, &["sys_ptrace", "dac_read_search"], &["--json"]) else { return };
    let (alone, both) = (json(&alone), json(&both));
    let denied = |report: &Value| file(report, "io")["denied"].as_u64().unwrap();
    assert!(denied(&both) < denied(&alone), "{both}");
    assert_eq!(both["rights"]["missing"], serde_json::json!([]));
    let advice = both["advice"].to_string();
    assert!(!advice.contains("give the agent the capabilit"), "{advice}");
}

/// What the table says, unit and manifest give.
#[test]
fn the_table_of_rights_is_what_is_deployed_and_documented() {
    let unit = system::read(workspace().join("deploy/procagent.service"));
    let manifest = system::read(workspace().join("deploy/kubernetes/daemonset.yaml"));
    for capability in TABLE.iter().filter(|right| right.available).flat_map(|right| right.capabilities) {
        assert!(unit.contains(&format!("CAP_{}", capability.name)), "{}", capability.name);
        assert!(manifest.contains(capability.name), "{}", capability.name);
    }
    let readme = system::read(workspace().join("README.md"));
    assert!(readme.contains(&rights::markdown()), "the README has this table:\n{}", rights::markdown());
}

/// A made-up host is looked at as it is; one of its processes hangs, and is named.
#[test]
fn a_process_that_hangs_is_named() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(60, "stuck").start(500));
    host.put(&FakeProcess::new(61, "fine").start(500));
    host.hang(60, "cmdline");
    let output = run(procagent().args(["doctor", "--json", "--host-root"]).arg(host.root()));
    let report = json(&output);
    assert_eq!(report["host"]["stuck"], serde_json::json!([60]), "{report}");
    assert_eq!(file(&report, "cmdline")["readable"], 2, "the others are looked at all the same: {report}");
    assert!(report["advice"].to_string().contains("60"), "{report}");
}

#[test]
fn a_proc_that_cannot_be_read_is_a_failure() {
    let empty = tempfile::TempDir::new().unwrap();
    let output = run(procagent().args(["doctor", "--host-root"]).arg(empty.path()));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&*empty.path().to_string_lossy()), "{}", said(&output));
}

/// `config check` says what the configuration makes of this host.
#[test]
fn config_check_tries_the_configuration_out() {
    let host = FakeHost::new();
    for pid in 50..60 {
        host.put(&FakeProcess::new(pid, &format!("program-{pid}")).start(500));
    }
    let folder = tempfile::TempDir::new().unwrap();
    let config = folder.path().join("agent.yaml");
    system::write(
        &config,
        format!("host: {{ root: \"{}\" }}\ngroups: {{ limit: 4 }}\n", host.root().display()),
    );
    let check = |more: &[&str]| {
        let output = run(procagent().args(["config", "check"]).arg(&config).args(more));
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check(&[]);
    assert!(text.contains("11 processes in 5 groups"), "4 and other: {text}");
    assert!(text.contains("7 groups fold into `other`"), "{text}");
    assert!(text.contains("ms of CPU time"), "{text}");
    assert!(!check(&["--no-scan"]).contains("processes in"));
    system::write(&config, "host: { root: /this/is/elsewhere }\n");
    assert!(check(&[]).contains("not tried out on this host: cannot read /this/is/elsewhere/proc"));
}
