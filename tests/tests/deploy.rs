//! What `deploy/` holds works as it is: checked by the tools of those who read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::{binary, procagent};
use procagent_tests::system::{self, command, run, said};
use procagent_tests::{skip, workspace};
use std::path::PathBuf;

fn deploy(file: &str) -> PathBuf {
    workspace().join("deploy").join(file)
}

/// Capabilities with which the agent reads what it should: no more, no less, in every kind of deployment.
const CAPABILITIES: [&str; 2] = ["SYS_PTRACE", "DAC_READ_SEARCH"];

/// j9: systemd finds nothing to say about the unit, and little to be afraid of.
#[test]
fn j9_systemd_takes_the_unit() {
    if system::find("systemd-analyze").is_none() {
        return skip("j9_systemd_takes_the_unit", "systemd-analyze is not installed");
    }
    let unit = system::read(deploy("procagent.service"));
    // The binary is not installed here; the rest of the line stays.
    let installed = "ExecStart=/usr/bin/procagent ";
    assert!(unit.contains(installed));
    let directory = tempfile::TempDir::new().unwrap();
    let copy = directory.path().join("procagent.service");
    system::write(&copy, unit.replace(installed, &format!("ExecStart={} ", binary().display())));

    let verify = run(command("systemd-analyze").arg("verify").arg(&copy));
    // An unknown key is only a line on standard error.
    assert!(verify.status.success() && verify.stderr.is_empty(), "{}", said(&verify));
    // From 0, safe, to 100. Two capabilities and a network are what it must have.
    let mut security = command("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=30"]).arg(&copy);
    let security = run(&mut security);
    assert!(security.status.success(), "{}", said(&security));
}

/// What a restart cannot mend ends the service: the exit code of a broken configuration is the one that the unit
/// names.
#[test]
fn a_broken_configuration_is_not_restarted_for_ever() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("agent.yaml");
    system::write(&file, "no_such_key: 1\n");
    let output = run(procagent().arg("--config").arg(&file));
    let code = output.status.code().unwrap();
    let unit = system::read(deploy("procagent.service"));
    assert!(unit.contains("\nRestart=on-failure\n"));
    assert!(unit.contains(&format!("\nRestartPreventExitStatus={code}\n")), "exit {code}: {}", said(&output));
}

#[test]
fn every_deployment_gives_the_same_capabilities() {
    let unit = system::read(deploy("procagent.service"));
    let wanted = CAPABILITIES.map(|name| format!("CAP_{name}")).join(" ");
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        assert!(unit.contains(&format!("\n{key}={wanted}\n")), "{key}={wanted}");
    }
    for would_hide in ["ProtectProc", "ProcSubset", "PrivateUsers"] {
        assert!(!unit.contains(&format!("\n{would_hide}=")), "{would_hide} would hide the processes");
    }
    let daemonset = system::read(deploy("kubernetes/daemonset.yaml"));
    assert!(daemonset.contains(&format!("add: [{}]", CAPABILITIES.join(", "))));
    assert!(daemonset.contains("drop: [ALL]"));
}

#[test]
fn kubernetes_takes_the_daemonset() {
    const TEST: &str = "kubernetes_takes_the_daemonset";
    let Some(python) = std::env::var_os("PROCAGENT_PYTHON").map(PathBuf::from) else {
        return skip(TEST, "PROCAGENT_PYTHON names no Python with kubernetes-validate; tests/run makes one");
    };
    let validate = python.with_file_name("kubernetes-validate");
    if !validate.is_file() {
        return skip(TEST, "kubernetes-validate is not installed");
    }
    let output = run(command(validate).arg("--strict").arg(deploy("kubernetes/daemonset.yaml")));
    assert!(output.status.success(), "{}", said(&output));
}

/// The configuration inside the ConfigMap: what stands indented below `agent.yaml: |`.
fn embedded_config() -> String {
    let daemonset = system::read(deploy("kubernetes/daemonset.yaml"));
    let lines = daemonset.lines().skip_while(|line| line.trim() != "agent.yaml: |").skip(1);
    let config: Vec<&str> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!config.is_empty(), "the ConfigMap holds agent.yaml");
    config.join("\n") + "\n"
}

#[test]
fn the_agent_takes_every_configuration_in_deploy() {
    let directory = tempfile::TempDir::new().unwrap();
    let embedded = directory.path().join("agent.yaml");
    system::write(&embedded, embedded_config());
    for file in [deploy("agent.yaml"), embedded] {
        let output = run(procagent().args(["config", "check"]).arg(&file));
        assert!(output.status.success(), "{}: {}", file.display(), said(&output));
    }
}

#[test]
fn probes_and_ports_of_the_daemonset_are_those_of_the_agent() {
    let daemonset = system::read(deploy("kubernetes/daemonset.yaml"));
    let config = embedded_config();
    let port = config.split("listen: \"0.0.0.0:").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(daemonset.contains(&format!("containerPort: {port}\n")));
    assert!(daemonset.contains(&format!("prometheus.io/port: \"{port}\"\n")));
    let prometheus = system::read(deploy("prometheus.yml"));
    assert!(prometheus.contains(&format!("127.0.0.1:{port}")), "the default port");
}

#[test]
fn prometheus_takes_the_scrape_configuration() {
    if system::find("promtool").is_none() {
        return skip("prometheus_takes_the_scrape_configuration", "promtool is not installed");
    }
    let output = run(command("promtool").args(["check", "config"]).arg(deploy("prometheus.yml")));
    assert!(output.status.success(), "{}", said(&output));
}
