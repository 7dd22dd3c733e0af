//! The real binary, running on a configuration of its own.

use crate::http::{self, Answer};
use crate::page::Page;
use crate::system::{self, Program, command, wait_for};
use procagent::control::client::{self, AskError};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// OpenMetrics, as Prometheus asks for it.
pub const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0";

/// The binary: the one that `PROCAGENT_BINARY` names, else it is built now.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("PROCAGENT_BINARY") {
            return PathBuf::from(path);
        }
        let mut build = command(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "procagent"]).current_dir(crate::workspace());
        let output = system::run(&mut build);
        assert!(output.status.success(), "the agent does not build: {}", system::said(&output));
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| crate::workspace().join("target"), PathBuf::from);
        target.join("debug/procagent")
    })
}

/// A command line of the binary. Its environment says nothing to the agent.
pub fn procagent() -> Command {
    let mut procagent = command(binary());
    clean(&mut procagent);
    procagent
}

fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PROCAGENT_") || text.starts_with("OTEL_") {
            command.env_remove(&name);
        }
    }
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    system::run(procagent().args(args))
}

/// A running agent. Killed when dropped.
#[derive(Debug)]
pub struct Agent {
    program: Program,
    /// Where it serves.
    pub port: u16,
    directory: TempDir,
}

impl Agent {
    /// Starts it and waits until it is ready. `config` is YAML without `outputs:`; the agent listens on a free port.
    pub fn start(config: &str) -> Agent {
        let agent = Agent::launch(config, &[]);
        agent.wait_ready();
        agent
    }

    /// Starts it without waiting. `prefix` is a command line that runs it, such as that of `setpriv`.
    pub fn launch(config: &str, prefix: &[&str]) -> Agent {
        let port = system::free_port();
        let directory = TempDir::new().expect("a temporary folder");
        let file = directory.path().join("agent.yaml");
        system::write(&file, with_port(config, port));
        // Whoever the agent runs as has to read it, and to make its control socket.
        let run = directory.path().join("run");
        std::fs::create_dir(&run).expect("the folder is new");
        for (folder, mode) in [(directory.path(), 0o755), (&run, 0o777)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(folder, mode).expect("the folder is ours");
        }
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");

        let mut line = match prefix {
            [] => procagent(),
            [first, rest @ ..] => {
                let mut line = command(first);
                line.args(rest).arg(binary());
                clean(&mut line);
                line
            }
        };
        line.arg("--config").arg(&file).env("RUNTIME_DIRECTORY", &run).stdout(Stdio::null()).stderr(log);
        Agent { program: Program::start(&mut line), port, directory }
    }

    /// Waits until a first tick is served; panics with the log when that takes 20 s or the agent ends.
    pub fn wait_ready(&self) {
        wait_for(Duration::from_secs(20), "the agent to be ready", || {
            assert!(self.runs(), "the agent ended: {}", self.log());
            http::try_get(self.port, "/-/ready", &[]).ok().filter(|answer| answer.status == 200)
        });
        assert!(system::listener(self.pid(), self.port), "somebody else listens on port {}", self.port);
    }

    fn runs(&self) -> bool {
        // Not `ended()`, which would need `&mut`: a zombie counts as ended.
        system::try_read(format!("/proc/{}/stat", self.pid())).is_some_and(|stat| {
            stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z'))
        })
    }

    /// The folder of its configuration.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration's file.
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("agent.yaml")
    }

    /// `config` with what the agent was started with besides.
    pub fn with_port(&self, config: &str) -> String {
        with_port(config, self.port)
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        self.folder().join("run/control.sock")
    }

    /// GET from its control socket.
    pub fn ask(&self, path: &str) -> Result<String, AskError> {
        client::get(&self.control(), path)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// GET from it.
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.port, path, &[])
    }

    /// The present page, as OpenMetrics.
    pub fn page(&self) -> Page {
        let answer = http::get(self.port, "/metrics", &[OPENMETRICS]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        Page::parse(answer.text())
    }

    /// The first page on which `what` gives an answer; panics when there is none in time.
    pub fn page_where<T>(&self, at_most: Duration, what: &str, mut ask: impl FnMut(&Page) -> Option<T>) -> T {
        wait_for(at_most, what, || ask(&self.page()))
    }

    /// Waits for `count` more scans and returns the page of the last.
    pub fn next_page(&self, count: u32) -> Page {
        let mut page = self.page();
        for _ in 0..count {
            let before = page.metric("procagent_scan_time_seconds").find();
            page = self.page_where(Duration::from_secs(30), "the next scan", |page| {
                (page.metric("procagent_scan_time_seconds").find() > before).then(|| page.clone())
            });
        }
        page
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self, at_most: Duration) -> ExitStatus {
        self.program.wait(at_most)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        system::read(self.directory.path().join("log"))
    }

    /// Its resident memory in KiB, from `VmRSS`.
    pub fn resident_kib(&self) -> u64 {
        status_field(self.pid(), "VmRSS:")
    }
}

fn with_port(config: &str, port: u16) -> String {
    format!("{config}\noutputs: {{ prometheus: {{ listen: \"127.0.0.1:{port}\" }} }}\n")
}

/// A numeric field of /proc/PID/status.
pub fn status_field(pid: u32, field: &str) -> u64 {
    let status = system::read(format!("/proc/{pid}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
