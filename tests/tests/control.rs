//! The running agent is asked by its control socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent::control::client::AskError;
use procagent_tests::agent::{Agent, procagent};
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::skip;
use procagent_tests::system::{self, command, run, said, time, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn on(host: &FakeHost, more: &str) -> String {
    format!("interval: 500ms\nhost: {{ root: \"{}\" }}\n{more}", host.root().display())
}

/// What the agent says at its control socket, once it is there.
fn ask(agent: &Agent, path: &str) -> Value {
    let body = wait_for(PATIENCE, "an answer", || agent.ask(path).ok());
    serde_json::from_str(&body).unwrap()
}

#[test]
fn status_says_how_it_goes() {
    let agent = Agent::start("interval: 200ms");
    agent.next_page(2);
    let status = ask(&agent, "/status");
    assert_eq!(status["version"], procagent::VERSION);
    assert!(status["scans"].as_u64().unwrap() >= 2, "{status}");
    assert!(status["processes"].as_u64().unwrap() > 1 && status["series"].as_u64().unwrap() > 50, "{status}");
    assert!(status["groups"].as_u64().unwrap() >= 1, "{status}");
    assert_eq!(status["config"], agent.config_file().to_str().unwrap());
    assert!((system::wall() - status["started"].as_f64().unwrap()).abs() < 60.0, "{status}");
    assert_eq!(status["config_success"], true);
}

/// Rules, labels, folding, and why a process is where it is.
#[test]
fn explain_tells_where_a_process_counts_and_why() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(50, "shop").start(500));
    host.put(&FakeProcess::new(51, "worker").start(500).parent(50));
    host.put(&FakeProcess::new(52, "stray").start(500));
    host.put(&FakeProcess::new(2, "kthreadd").start(1).of_kernel());
    let rules = "groups:\n  rules:\n    - { group: depot, match: { name: depot } }\n    \
                 - { group: sales, match: { name: shop }, descendants: true }";
    let agent = Agent::start(&on(&host, rules));
    agent.next_page(2);
    let explain = |pid: u32| ask(&agent, &format!("/explain?pid={pid}"));

    let shop = explain(50);
    assert_eq!((&shop["name"], &shop["exe"]), (&"shop".into(), &"/usr/bin/shop".into()));
    assert_eq!((&shop["uid"], &shop["rule"]), (&0.into(), &"groups.rules[1]".into()));
    assert_eq!(shop["why"], "groups.rules[1] matches it");
    assert_eq!(shop["labels"], serde_json::json!([["group", "sales"]]));
    assert_eq!((&shop["folded_into"], &shop["answered_by"]), (&Value::Null, &"agent".into()));
    let series: Vec<&str> = shop["series"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(series.contains(&"process_thread_count"), "{series:?}");
    assert!(series.contains(&"process_cpu_time_seconds_total{cpu_mode=\"user\"}"), "{series:?}");
    assert_eq!(
        explain(51)["why"],
        "no rule matches it; it descends from process 50, which groups.rules[1] matches"
    );
    assert_eq!(explain(51)["labels"][0][1], "sales");
    assert!(
        explain(52)["why"].as_str().unwrap().starts_with("no rule matches it; it is in the group of its")
    );
    assert_eq!(
        (&explain(2)["why"], &explain(2)["labels"][0][1]),
        (&"it is a thread of the kernel".into(), &"kernel".into())
    );

    // And the command that people use prints the same.
    let output = run(procagent().args(["explain", "50", "--socket"]).arg(agent.control()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", said(&output));
    for words in [
        "process 50: shop",
        "group: sales",
        "groups.rules[1] matches it",
        "group=\"sales\"",
        "process_thread_count",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let output = run(procagent()
        .args(["explain", "50", "--format", "json", "--config"])
        .arg(agent.config_file())
        .env("RUNTIME_DIRECTORY", agent.control().parent().unwrap()));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json, explain(50), "found by the configuration");
    let output = run(procagent().args(["explain", "4000000", "--socket"]).arg(agent.control()));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the last scan saw no process 4000000"), "{}", said(&output));
}

#[test]
fn explain_names_the_fold_and_what_cannot_be_read() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(50, "large").start(500));
    host.put(&FakeProcess::new(51, "small").start(500));
    let gone = host.file(51, "io");
    std::fs::remove_file(&gone).unwrap();
    let agent = Agent::start(&on(&host, "groups: { limit: 0 }"));
    agent.next_page(2);
    let small = ask(&agent, "/explain?pid=51");
    let counts_in = small["folded_into"].as_str().or(small["labels"][0][1].as_str());
    assert_eq!(counts_in, Some("other"), "{small}");
    let fields: Vec<&str> =
        small["unreadable"].as_array().unwrap().iter().filter_map(|file| file["field"].as_str()).collect();
    assert!(fields.contains(&"io"), "{small}");
}

/// Without an agent the command scans by itself, and says so.
#[test]
fn explain_without_an_agent_scans() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(50, "shop").start(500));
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("agent.yaml");
    system::write(&file, on(&host, "groups:\n  rules:\n    - { group: sales, match: { name: shop } }\n"));
    let explain = |more: &[&str]| {
        run(procagent()
            .args(["explain", "50", "--config"])
            .arg(&file)
            .args(more)
            .env("RUNTIME_DIRECTORY", folder.path()))
    };
    let output = explain(&[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", said(&output));
    assert!(text.contains("group: sales") && text.contains("note: no agent answers at "), "{text}");
    let json: Value = serde_json::from_slice(&explain(&["--format", "json"]).stdout).unwrap();
    assert_eq!(json["answered_by"], "own_scan");
    let output = explain(&["--socket", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "an agent that was named has to answer: {}", said(&output));
}

/// A name cannot colour the terminal of who asks.
#[test]
fn explain_shows_hostile_names_plainly() {
    let host = FakeHost::new();
    let mut process = FakeProcess::new(50, "x").start(500);
    process.comm = b"a\x1b[31m".to_vec();
    (process.exe, process.argv) = (Some("/tmp/\u{1b}]0;x\u{7}".into()), vec![b"/bin/a\x1b[31m".to_vec()]);
    host.put(&process);
    let agent = Agent::start(&on(&host, ""));
    let output = run(procagent().args(["explain", "50", "--socket"]).arg(agent.control()));
    assert!(output.status.success(), "{}", said(&output));
    assert!(!output.stdout.contains(&0x1b), "{}", said(&output));
}

/// A question does not wait for the scan that hangs, and the answer says how old what it rests on is.
#[test]
fn questions_are_answered_while_a_scan_hangs() {
    let host = FakeHost::new();
    let agent = Agent::start(&on(&host, ""));
    host.hang(71, "stat");
    let hung = wait_for(PATIENCE, "the scan to hang", || {
        let status = ask(&agent, "/status");
        (status["scan_age"].as_f64().unwrap() > 3.0).then_some(status)
    });
    let (status, took) = time(|| ask(&agent, "/status"));
    assert_eq!(status["scans"], hung["scans"]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ask(&agent, "/explain?pid=1")["name"], "init");
}

/// A file of the process that hangs costs the answer a second and a part, not the agent.
#[test]
fn explain_of_a_process_that_hangs() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(60, "stuck").start(500));
    host.hang(60, "cmdline");
    let agent = Agent::start(&on(&host, ""));
    agent.next_page(1);
    for _ in 0..6 {
        let explanation = ask(&agent, "/explain?pid=60");
        let warning = explanation["warning"].as_str().unwrap();
        assert!(warning.contains("hang"), "{warning}");
    }
    assert_eq!(ask(&agent, "/explain?pid=1")["comm"], "init");
    agent.next_page(1);
}

#[test]
fn the_socket_is_private_and_takes_get_only() {
    let agent = Agent::start("interval: 500ms");
    ask(&agent, "/status");
    let mode = std::fs::metadata(agent.control()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    for (request, status) in [
        ("POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", "405"),
        ("DELETE /status HTTP/1.1\r\nHost: x\r\n", "405"),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n", "404"),
        ("GET /explain HTTP/1.1\r\nHost: x\r\n", "400"),
        ("GET /explain?pid=1x HTTP/1.1\r\nHost: x\r\n", "400"),
        ("GET /explain?pid=99999999999 HTTP/1.1\r\nHost: x\r\n", "400"),
    ] {
        let mut stream = UnixStream::connect(agent.control()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.get(9..12), Some(status), "{request}: {answer}");
    }
}

/// Even where the modes let another user in, the agent does not.
#[test]
fn other_users_are_turned_away() {
    let test = "other_users_are_turned_away";
    if !system::root() || system::find("setpriv").is_none() {
        return skip(test, "only root with setpriv can be another user");
    }
    let agent = Agent::start("interval: 500ms");
    ask(&agent, "/status");
    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    };
    open(agent.control().parent().unwrap());
    open(&agent.control());
    let mut line = command("setpriv");
    line.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]);
    line.arg(procagent_tests::agent::binary()).args(["explain", "1", "--socket"]).arg(agent.control());
    let output = run(&mut line);
    if said(&output).contains("No such file") || said(&output).contains("failed to execute") {
        return skip(test, "user 65534 cannot run the binary where it lies");
    }
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(!said(&output).contains("group:"), "{}", said(&output));
    ask(&agent, "/status");
}

/// What another agent serves stays; what a killed one left is replaced; what is no socket stays.
#[test]
fn the_socket_of_another_is_respected() {
    let run_folder = tempfile::TempDir::new().unwrap();
    let socket = run_folder.path().join("control.sock");
    // The port comes in a second `outputs:`; so does this.
    let start = || {
        let agent = Agent::launch("interval: 500ms", &[]);
        let text = system::read(agent.config_file());
        let with_socket =
            text.replace("outputs: {", &format!("outputs: {{ control: \"{}\",", socket.display()));
        (agent, with_socket)
    };
    let (agent, text) = start();
    drop(agent);
    let launch = |text: &str| {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("agent.yaml");
        let port = system::free_port();
        let listen = text.find("listen").unwrap();
        let text = format!("{}listen: \"127.0.0.1:{port}\" }} }}\n", &text[..listen]);
        system::write(&file, text);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let program = system::Program::start(procagent().arg("--config").arg(&file).stderr(log));
        let said = folder.path().join("log");
        (program, folder, said)
    };
    let started = |said: &std::path::Path| {
        wait_for(PATIENCE, "the start", || {
            system::try_read(said).filter(|log| log.contains("control socket"))
        })
    };
    let answers = || procagent::control::client::get(&socket, "/status").is_ok();
    let (mut first, _folder, log) = launch(&text);
    assert!(started(&log).contains("control socket: "), "{}", system::read(&log));
    assert!(answers());
    let (second, _other, log) = launch(&text);
    assert!(started(&log).contains("another agent serves it"), "{}", system::read(&log));
    assert!(answers());
    drop(second);
    assert!(answers(), "the end of the second took nothing from the first");

    first.signal(Signal::KILL);
    first.wait(PATIENCE);
    assert!(socket.exists() && !answers());
    let (mut third, _folder, log) = launch(&text);
    assert!(started(&log).contains("control socket: "), "{}", system::read(&log));
    assert!(answers());
    third.signal(Signal::TERM);
    third.wait(PATIENCE);
    assert!(!socket.exists(), "removed at the end");

    system::write(&socket, "precious");
    let (_fourth, _folder, log) = launch(&text);
    assert!(started(&log).contains("something else than a socket"), "{}", system::read(&log));
    assert_eq!(system::read(&socket), "precious");
}

#[test]
fn nobody_answers_where_it_is_off() {
    let folder = tempfile::TempDir::new().unwrap();
    let missing = procagent::control::client::get(&folder.path().join("x"), "/status");
    assert!(matches!(missing, Err(AskError::NoAgent(_))));
}
