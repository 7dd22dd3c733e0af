//! What the agent does when something goes wrong: the real binary, one failure a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::{Agent, binary, procagent};
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::http;
use procagent_tests::prometheus::Prometheus;
use procagent_tests::skip;
use procagent_tests::system::{self, command, run, said, time, wait_for};
use rustix::process::Signal;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The agent ends at once on this configuration: its exit code and what it says.
fn refused(config: &str) -> (Option<i32>, String) {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("agent.yaml");
    system::write(&file, config);
    let output = run(command("timeout").arg("10").arg(binary()).arg("--config").arg(&file));
    let text = said(&output);
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code(), text)
}

fn on(host: &FakeHost) -> String {
    format!("interval: 1s\nhost: {{ root: \"{}\" }}", host.root().display())
}

#[test]
fn failure_port_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = refused(&format!("outputs: {{ prometheus: {{ listen: \"{address}\" }} }}\n"));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&address), "names the address: {text}");
}

#[test]
fn failure_host_root_is_no_proc() {
    let empty = tempfile::TempDir::new().unwrap();
    let (code, text) = refused(&format!("host: {{ root: \"{}\" }}\n", empty.path().display()));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&*empty.path().to_string_lossy()), "names the folder: {text}");
}

#[test]
fn failure_host_root_is_unreadable() {
    let host = FakeHost::new();
    let proc = host.root().join("proc");
    std::fs::set_permissions(&proc, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = directory.path().join("agent.yaml");
    let listen = format!("outputs: {{ prometheus: {{ listen: \"127.0.0.1:{}\" }} }}", system::free_port());
    system::write(&file, format!("{}\n{listen}\n", on(&host)));
    let mut line = command("timeout");
    line.arg("10");
    // Root reads everything.
    if system::root() {
        if system::find("setpriv").is_none() {
            return skip(
                "failure_host_root_is_unreadable",
                "root reads everything, and setpriv is not there",
            );
        }
        line.args(NOBODY);
    }
    let output = run(line.arg(binary()).arg("--config").arg(&file));
    std::fs::set_permissions(&proc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&*proc.to_string_lossy()) && !text.contains("panicked"), "{text}");
}

/// What runs a program as a user without any right.
const NOBODY: [&str; 6] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"];

/// The prefix that takes all privilege away; `None`, and a loud skip, where that cannot be done.
fn nobody(test: &str) -> Option<&'static [&'static str]> {
    if !system::root() {
        return Some(&[]);
    }
    if system::find("setpriv").is_none() {
        skip(test, "runs as root, and setpriv is not there");
        return None;
    }
    // The binary may lie in a folder that only root can enter.
    let mut probe = command(NOBODY[0]);
    probe.args(&NOBODY[1..]).arg(binary()).arg("--version");
    if !run(&mut probe).status.success() {
        skip(test, "user 65534 cannot run the binary where it lies");
        return None;
    }
    Some(&NOBODY)
}

/// j5, a12: without any right the agent runs, and says in numbers what it could not read.
#[test]
fn failure_no_privilege() {
    let Some(prefix) = nobody("failure_no_privilege") else { return };
    let agent = Agent::launch("interval: 500ms", prefix);
    agent.wait_ready();
    let page = agent.next_page(3);
    assert!(page.metric("procagent_process_count").sum() > 1.0);
    assert_eq!(page.metric("procagent_collector_up").label("collector", "process").value(), 1.0);
    // Process 1 is somebody else's wherever this runs without rights.
    let denied = page.metric("procagent_errors_total").label("reason", "denied").sum();
    assert!(denied > 0.0, "somebody else's processes are there");
    let log = agent.log();
    assert!(log.lines().count() < 20, "one line, not one a process:\n{log}");
}

/// a10: what is denied is absent and counted, and costs no other field.
#[test]
fn failure_process_denied() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(50, "closed").start(500));
    host.put(&FakeProcess::new(51, "open").start(500));
    let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(host.file(50, "io"), none).unwrap();
    let Some(prefix) = nobody("failure_process_denied") else { return };
    let agent = Agent::launch(&on(&host), prefix);
    agent.wait_ready();
    let page = agent.page();
    assert!(page.metric("process_disk_io_bytes_total").label("group", "closed").is_absent());
    assert!(page.metric("process_memory_usage_bytes").label("group", "closed").value() > 0.0);
    assert!(!page.metric("process_disk_io_bytes_total").label("group", "open").is_absent());
    let denied = page.metric("procagent_errors_total").label("field", "io").label("reason", "denied").value();
    assert!(denied >= 1.0);
}

/// A read that never comes back costs the field that was read, not the tick.
#[test]
fn failure_process_hangs() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(61, "fine").start(500));
    let agent = Agent::start(&on(&host));
    // All of it at once: a source that looks in between must not see it whole.
    let stuck = FakeProcess::new(60, "stuck").start(500);
    host.hang(60, "cmdline");
    host.put_without(&stuck, "cmdline");
    gives_up_on_cmdline(&agent);
    agent.next_page(2);
    assert_eq!(agent.get("/-/healthy").status, 200);
}

/// The same from the beginning: the port is bound, the first page comes.
#[test]
fn stuck_cmdline_does_not_block() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(60, "stuck").start(500));
    host.put(&FakeProcess::new(61, "fine").start(500));
    host.hang(60, "cmdline");
    gives_up_on_cmdline(&Agent::start(&on(&host)));
}

fn gives_up_on_cmdline(agent: &Agent) {
    let page = agent.page_where(Duration::from_secs(30), "the read to be given up", |page| {
        let errors =
            page.metric("procagent_errors_total").label("field", "cmdline").label("reason", "timeout");
        (errors.sum() > 0.0).then(|| page.clone())
    });
    assert_eq!(page.metric("process_thread_count").label("group", "fine").value(), 1.0);
    assert_eq!(page.metric("process_thread_count").label("group", "stuck").value(), 1.0, "known by comm");
}

/// Scrapes answer with the last numbers while a scan hangs; the time of the scan stands still, `/-/healthy` says so
/// after a minute, and SIGTERM ends it all the same.
#[test]
fn failure_scan_hangs() {
    let host = FakeHost::new();
    let mut agent = Agent::start(&on(&host));
    let stands = |agent: &Agent| agent.page().metric("procagent_scan_time_seconds").value();
    // Of a process that is new: what the source knows it keeps open.
    host.hang(71, "stat");
    wait_for(Duration::from_secs(20), "the scan to hang", || {
        let before = stands(&agent);
        std::thread::sleep(Duration::from_secs(3));
        (stands(&agent) == before).then_some(())
    });
    assert_eq!(agent.get("/-/healthy").status, 200, "three missed scans are no illness yet");
    let last = stands(&agent);
    wait_for(Duration::from_secs(75), "/-/healthy to say 503", || {
        assert_eq!(stands(&agent), last, "scrapes answer with the last numbers");
        std::thread::sleep(Duration::from_secs(1));
        (agent.get("/-/healthy").status == 503).then_some(())
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait(Duration::from_secs(2)).code(), Some(0), "{}", agent.log());
}

/// j6: SIGTERM under load.
#[test]
fn failure_sigterm() {
    ends_on(Signal::TERM);
}

/// j6: SIGINT under load.
#[test]
fn failure_sigint() {
    ends_on(Signal::INT);
}

/// Does something at the end of its scope, however that is left.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn ends_on(signal: Signal) {
    let mut agent = Agent::start("interval: 100ms");
    let port = agent.port;
    let stop = AtomicBool::new(false);
    // One that connected and says nothing must not hold the end up.
    let _silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _may_be_cut = http::try_get(port, "/metrics", &[]);
                }
            });
        }
        // Also when the agent does not end in time: the readers must, for the scope waits for them.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(300));
        agent.signal(signal);
        let status = agent.wait(Duration::from_secs(2));
        assert_eq!(status.code(), Some(0), "{}", agent.log());
    });
}

/// A thousand connections that send half a request, or nothing, leave a real scrape unharmed.
#[test]
fn slow_clients_leave_a_real_scrape_unharmed() {
    raise_descriptor_limit();
    let agent = Agent::start("interval: 1s");
    let mut slow = Vec::new();
    for number in 0..1000 {
        // Beyond its limit the agent may leave a connection in the queue, or close it.
        let address = ([127, 0, 0, 1], agent.port).into();
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) else {
            continue;
        };
        if number % 2 == 0 {
            let _may_be_closed = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
        }
        slow.push(stream);
    }
    assert!(slow.len() > 100, "only {} connections", slow.len());
    let (page, took) = time(|| {
        wait_for(Duration::from_secs(60), "a page", || http::try_get(agent.port, "/metrics", &[]).ok())
    });
    assert_eq!(page.status, 200, "after {took:?}");
    let Some(prometheus) = Prometheus::scraping(agent.port) else {
        return skip("slow_clients_leave_a_real_scrape_unharmed", "prometheus is not installed");
    };
    let up = wait_for(Duration::from_secs(60), "a scrape", || {
        prometheus.query("up == 1").unwrap().first().cloned()
    });
    assert_eq!(up.samples[0].1, 1.0);
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
}

/// Somebody's slip, not a failure of the host: an unknown option is refused with the usage, exit 2.
#[test]
fn unknown_options_are_refused() {
    let output = run(procagent().arg("--no-such-option"));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
