//! Broken configurations and what the real binary says about them. `UPDATE_GOLDEN=1` writes the expected messages
//! anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a failed expectation is the point of a test; it runs the binary and reads its own files"
)]

use procagent::config::{Config, Level, LogFormat, Request, SourceChoice, Variables, load};
use procagent_core::switch::Switch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const SECRET: &str = "hunter2";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs")
}

/// Runs the binary in the folder of configurations, so that messages name files without their folders.
fn procagent(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_procagent"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn failure_bad_config() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 30, "{}", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        for arguments in [&["config", "check", name][..], &["--once", "--config", name]] {
            let output = procagent(arguments, &[("PROCAGENT_TEST_SECRET", SECRET)]);
            let message = said(&output);
            assert_eq!(output.status.code(), Some(2), "{name}: {message}");
            assert!(output.stdout.is_empty(), "{name}");
            assert!(!message.contains(SECRET), "{name} shows a secret: {message}");
            assert!(message.starts_with(&format!("procagent: {name}:")), "{name}: {message}");
            let golden = folder().join(name.replace(".yaml", ".expected"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&golden, &message).unwrap();
            } else if fs::read_to_string(&golden).ok().as_deref() != Some(message.as_str()) {
                wrong.push(format!("{name}:\n{message}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not as in *.expected:\n{}", wrong.join("\n"));
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} belongs to no configuration", path.display());
    }
}

#[test]
fn failure_config_that_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large.yaml");
    fs::write(&large, format!("interval: 5s #{}", "x".repeat(1024 * 1024))).unwrap();
    for (file, why) in [
        ("no_such_file.yaml", "there is no such file"),
        (".", "this is a folder"),
        (large.to_str().unwrap(), "larger than 1 MiB"),
        ("/proc/self/mem", "cannot be read"),
        ("/dev/zero", "larger than 1 MiB"),
    ] {
        let output = procagent(&["--config", file], &[]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}

#[test]
fn failure_bad_usage() {
    for arguments in [
        &["--interval", "5"][..],
        &["--listen", "9257"],
        &["--log-level", "loud"],
        &["--host-root", "here"],
        &["--no-such-option"],
        &["config"],
        &["config", "check"],
        &["metrics", "--format", "xml"],
        &["--debug", "--log-level", "info"],
    ] {
        let output = procagent(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(!output.stderr.is_empty());
    }
    for (variable, value) in [
        ("PROCAGENT_INTERVAL", "5"),
        ("PROCAGENT_LISTEN", "x"),
        ("PROCAGENT_LOG_LEVEL", "x"),
        ("PROCAGENT_HOST_ROOT", ""),
    ] {
        let output = procagent(&["--once"], &[(variable, value)]);
        assert_eq!(output.status.code(), Some(2), "{variable}: {}", said(&output));
        assert!(said(&output).contains(variable), "{}", said(&output));
    }
}

fn read(text: &str, request: Request, variables: &Variables) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    fs::write(&file, text).unwrap();
    load(Request { file: Some(file), ..request }, variables).unwrap_or_else(|error| panic!("{error}")).config
}

#[test]
fn sp_config_honoured() {
    let file = |text| read(text, Request::default(), &Variables::default());
    // Nothing, in all its forms, is the defaults.
    for text in ["", "# only a comment\n", "---\n", "{}", "host:\ngroups: {}\nlog:\n  level:\nremember: ~\n"]
    {
        assert_eq!(file(text), Config::default(), "{text:?}");
    }
    // Every key does something, and 0 is a value.
    let config = file(
        "interval: 500ms\nsource: procfs\nremember: 0\nhost: { root: /host, descriptors: 0 }\n\
         groups: { limit: 0, forget: 0s }\ncollectors: { process: off }\n\
         outputs: { series_limit: 0, prometheus: off }\nlog: { level: debug, format: json }\n",
    );
    assert_eq!(config.interval, Duration::from_millis(500));
    assert_eq!(config.source, SourceChoice::Procfs);
    assert_eq!(config.remember, 0);
    assert_eq!((config.host.root, config.host.descriptors), (PathBuf::from("/host"), 0));
    assert_eq!((config.groups.limit, config.groups.forget), (0, Duration::ZERO));
    assert_eq!(config.collectors.process, Switch::Off);
    assert_eq!((config.outputs.series_limit, config.outputs.prometheus), (0, Switch::Off));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, LogFormat::Json));
    assert_eq!(file("outputs: { prometheus: false }").outputs.prometheus, Switch::Off);

    // Command line over file over variables over defaults.
    let variables = Variables::from([
        ("PROCAGENT_INTERVAL", "1s"),
        ("PROCAGENT_LISTEN", "127.0.0.1:1"),
        ("PROCAGENT_LOG_LEVEL", "error"),
        ("PROCAGENT_HOST_ROOT", "/variable"),
        ("ROOT", "/expanded"),
    ]);
    let listen = |config: &Config| config.outputs.prometheus.on().map(|prometheus| prometheus.listen.port());
    let from_variables = read("", Request::default(), &variables);
    assert_eq!(from_variables.interval, Duration::from_secs(1));
    assert_eq!(listen(&from_variables), Some(1));
    assert_eq!(from_variables.log.level, Level::Error);
    assert_eq!(from_variables.host.root, PathBuf::from("/variable"));
    let text = "interval: 2s\nhost: { root: \"${ROOT}/x\" }\noutputs: { prometheus: { listen: '127.0.0.1:2' } }\n\
                log: { level: warn }\n";
    let from_file = read(text, Request::default(), &variables);
    assert_eq!(from_file.interval, Duration::from_secs(2));
    assert_eq!(listen(&from_file), Some(2));
    assert_eq!(from_file.log.level, Level::Warn);
    assert_eq!(from_file.host.root, PathBuf::from("/expanded/x"));
    let request = Request {
        file: None,
        interval: Some(Duration::from_secs(3)),
        listen: Some("127.0.0.1:3".parse().unwrap()),
        host_root: Some(PathBuf::from("/given")),
        log_level: Some(Level::Trace),
    };
    let from_command_line = read(text, request.clone(), &variables);
    assert_eq!(from_command_line.interval, Duration::from_secs(3));
    assert_eq!(listen(&from_command_line), Some(3));
    assert_eq!(from_command_line.log.level, Level::Trace);
    assert_eq!(from_command_line.host.root, PathBuf::from("/given"));
    assert_eq!(listen(&read("outputs: { prometheus: off }", request, &variables)), Some(3));
    assert_eq!(listen(&read("outputs: { prometheus: off }", Request::default(), &variables)), None);
}

#[test]
fn sp_config_honoured_by_the_binary() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.yaml");
    let file = file.to_str().unwrap();
    let once = |text: &str, more: &[&str]| {
        fs::write(file, text).unwrap();
        let output = procagent(&[&["--once", "--config", file], more].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(String::from_utf8(output.stdout.clone()).unwrap().contains("\nprocagent_build_info{"));
        said(&output)
    };
    assert!(once("log: { level: info }", &[]).contains("configuration: "));
    assert_eq!(once("log: { level: error }", &[]), "");
    assert!(once("log: { level: error }", &["--log-level", "info"]).contains("configuration: "));
    assert!(once("log: { level: error }", &["--debug"]).contains("configuration: "));
    let json = once("log: { format: json }", &[]);
    let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "INFO");
}

#[test]
fn without_a_configuration_the_defaults_are_used_with_a_warning() {
    if Path::new(procagent::config::load::DEFAULT_PATH).exists() {
        return skip(
            "without_a_configuration_the_defaults_are_used_with_a_warning",
            "this machine has a configuration",
        );
    }
    let output = procagent(&["--once"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("WARN no configuration"), "{}", said(&output));
}

/// Says that a test could not run, where people and `tests/run` see it.
fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    eprintln!("SKIP {test}: {why}");
    if let Some(path) = std::env::var_os("PROCAGENT_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(format!("SKIP {test}: {why}\n").as_bytes()).unwrap();
    }
}
