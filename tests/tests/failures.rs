//! What the agent does when something goes wrong: the real binary, one failure a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::{Agent, binary, procagent};
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::http;
use procagent_tests::page::Page;
use procagent_tests::prometheus::Prometheus;
use procagent_tests::skip;
use procagent_tests::system::{self, command, run, said, wait_for};
use rustix::process::Signal;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("denied")).collect();
    assert!(lines.len() == 1 && lines[0].contains(" WARN "), "one line, not one a process or a scan:\n{log}");
    for field in ["io", "exe"] {
        assert!(lines[0].contains(&format!("{field} of ")), "{log}");
    }
}

/// Two rights, as `setpriv` names them, given so that they survive the change of user and exec: those of the
/// systemd unit and of the DaemonSet, and no other.
const TWO_RIGHTS: [&str; 9] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all,+sys_ptrace,+dac_read_search",
    "--inh-caps=-all,+sys_ptrace,+dac_read_search",
    "--ambient-caps=-all,+sys_ptrace,+dac_read_search",
    "--no-new-privs",
    "--",
];

/// j5: what root's processes read and write, and which program they are, can be read with the two rights that every
/// deployment gives, and not without.
#[test]
fn j5_two_rights_are_enough() {
    const TEST: &str = "j5_two_rights_are_enough";
    if !system::root() {
        return skip(TEST, "only root can give rights");
    }
    let Some(nobody) = nobody(TEST) else { return };
    let directory = tempfile::TempDir::new().unwrap();
    // Known by its exe alone: the name that it was started by is that of a link, and its arguments name another.
    let (program, name) = (directory.path().join("exe-of-root"), directory.path().join("comm-of-root"));
    std::fs::copy(system::find("sleep").unwrap(), &program).unwrap();
    std::os::unix::fs::symlink(&program, &name).unwrap();
    let mut line = command(&name);
    std::os::unix::process::CommandExt::arg0(&mut line, "neither");
    let _running = system::Program::start(line.arg("600"));

    let page = |prefix: &[&str]| {
        let agent = Agent::launch("interval: 500ms", prefix);
        agent.wait_ready();
        agent.next_page(2)
    };
    let has = |page: &Page, metric: &str, group: &str| !page.metric(metric).label("group", group).is_absent();
    let with = page(&TWO_RIGHTS);
    assert!(has(&with, "process_thread_count", "exe-of-root"), "exe is read");
    assert!(has(&with, "process_disk_io_bytes_total", "exe-of-root"), "io is read");
    assert!(has(&with, "process_unix_file_descriptor_count", "exe-of-root"), "descriptors are counted");
    let without = page(nobody);
    assert!(has(&without, "process_thread_count", "comm-of-root"), "comm is all there is");
    assert!(!has(&without, "process_thread_count", "exe-of-root"));
    assert!(!has(&without, "process_disk_io_bytes_total", "comm-of-root"));
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
    // Of a process that is new; in a made-up tree no file is kept open, so that any other would do as well.
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

/// A thousand connections that send half a request, drop by drop, or nothing, and come again as often as the agent
/// closes them: every scrape of a real Prometheus meanwhile succeeds, and soon.
#[test]
fn slow_clients_leave_a_real_scrape_unharmed() {
    raise_descriptor_limit();
    let agent = Agent::start("interval: 1s");
    let Some(prometheus) = Prometheus::scraping(agent.port) else {
        return skip("slow_clients_leave_a_real_scrape_unharmed", "prometheus is not installed");
    };
    prometheus.wait_query("up == 1", Duration::from_secs(30));
    let (stop, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            let mut slow = SlowClients::new(agent.port);
            while !stop.load(Ordering::Relaxed) {
                opened.fetch_add(slow.refill(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        wait_for(Duration::from_secs(60), "all clients to be there", || {
            (opened.load(Ordering::Relaxed) >= SLOW_CLIENTS).then_some(())
        });
        // Twenty seconds under that load, and a whole window of scrapes in them.
        let value =
            |expression: &str| prometheus.query(expression).unwrap().first().map(|one| one.samples[0].1);
        let now = || value("max(timestamp(up))").unwrap_or_default();
        let begun = now();
        wait_for(Duration::from_secs(120), "a window of scrapes", || (now() >= begun + 21.0).then_some(()));
        assert_eq!(value("min_over_time(up[20s])"), Some(1.0));
        assert!(value("count_over_time(up[20s])") >= Some(15.0), "every second");
        let longest = value("max_over_time(scrape_duration_seconds[20s])").unwrap();
        assert!(longest < 2.0, "{longest} s");
    });
    // The agent has closed some, or the flood was none.
    assert!(opened.into_inner() > SLOW_CLIENTS);
}

/// As many as one script can easily open.
const SLOW_CLIENTS: usize = 1000;

/// Connections that never finish a request.
struct SlowClients {
    port: u16,
    streams: Vec<Option<TcpStream>>,
}

impl SlowClients {
    fn new(port: u16) -> SlowClients {
        SlowClients { port, streams: (0..SLOW_CLIENTS).map(|_| None).collect() }
    }

    /// Opens again what was closed, sends one more byte of each slow head, and says how many were opened.
    fn refill(&mut self) -> usize {
        let mut opened = 0;
        for (number, slot) in self.streams.iter_mut().enumerate() {
            let half_open = number % 2 == 0;
            let lives = slot
                .as_mut()
                .is_some_and(|stream| lives(stream) && (half_open || stream.write(b"x").is_ok()));
            if lives {
                continue;
            }
            let address = ([127, 0, 0, 1], self.port).into();
            // Where its queue is full, the next round tries again.
            *slot = TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
            let Some(stream) = slot else { continue };
            stream.set_nonblocking(true).unwrap();
            if !half_open {
                let _may_be_closed = stream.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
            }
            opened += 1;
        }
        opened
    }
}

/// Whether the other end has not closed it. It may answer before, for instance that it took too long.
fn lives(stream: &mut TcpStream) -> bool {
    match std::io::Read::read(stream, &mut [0; 256]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
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
