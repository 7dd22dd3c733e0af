//! The commands of the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed expectation is the point of a test; it runs the binary"
)]

use procagent_core::metric::Desc;
use std::process::{Command, Output, Stdio};

fn procagent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_procagent")).args(arguments).env_clear().output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = procagent(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_default_configuration_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    std::fs::write(&file, printed(&["config", "init"])).unwrap();
    let said = printed(&["config", "check", file.to_str().unwrap()]);
    assert!(
        said.starts_with("ok\n") && said.contains("127.0.0.1:9257") && said.contains("every 5s"),
        "{said}"
    );
}

#[test]
fn the_catalogue_has_every_metric() {
    let own = procagent::own::METRICS.iter().copied();
    let collectors = procagent_collectors::ALL.iter().flat_map(|plugin| plugin.metrics.iter().copied());
    let descs: Vec<&Desc> = collectors.chain(own).collect();
    let text = printed(&["metrics"]);
    let json: Vec<serde_json::Value> =
        serde_json::from_str(&printed(&["metrics", "--format", "json"])).unwrap();
    assert_eq!(json.len(), descs.len());
    for (desc, entry) in descs.iter().zip(&json) {
        let named = text.lines().any(|line| line.split('{').next() == Some(desc.prometheus_name().as_str()));
        assert!(named, "{} is missing:\n{text}", desc.prometheus_name());
        assert_eq!(entry["name"], desc.name);
        assert_eq!(entry["prometheus"], desc.prometheus_name());
        assert_eq!(entry["help"], desc.help);
        assert_eq!(entry["prometheus_labels"], serde_json::json!(desc.prometheus_labels()));
    }
}

#[test]
fn help_and_version_say_what_is_needed() {
    let help = printed(&["--help"]);
    for word in [
        "--config",
        "--once",
        "--listen",
        "--interval",
        "--host-root",
        "--log-level",
        "--debug",
        "Exit codes",
        "config",
        "metrics",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let version = printed(&["--version"]);
    assert_eq!(version, format!("procagent {} (revision {})\n", procagent::VERSION, procagent::REVISION));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for arguments in [&["metrics"][..], &["config", "init"], &["--help"], &["--once", "--log-level", "error"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_procagent"))
            .args(arguments)
            .stdout(Stdio::from(writer))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_procagent"))
        .args(["config", "init"])
        .stdout(Stdio::from(full))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}
