//! What the doctor found, and how it says so.

use crate::commands::text::line;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The whole report. What people need first comes first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of the agent.
    pub version: &'static str,
    /// Whether everything can be read that this version reads.
    pub complete: bool,
    /// What would help, the most important first.
    pub advice: Vec<String>,
    /// The host as it is seen from here.
    pub host: Host,
    /// Who looks.
    pub rights: Rights,
    /// How an agent would run here.
    pub agent: Agent,
    /// Descriptors of /proc.
    pub descriptors: Descriptors,
    /// Files of processes.
    pub process_files: Vec<Counted>,
    /// Files of the host.
    pub host_files: Vec<Counted>,
    /// What is asked for and not there yet.
    pub not_in_this_version: Vec<&'static str>,
}

/// The host as it is seen from here.
#[derive(Debug, Serialize)]
pub struct Host {
    /// Where its /proc is.
    pub proc: PathBuf,
    /// The option of the mount that hides processes.
    pub hidepid: Option<String>,
    /// Processes that were looked at.
    pub processes: usize,
    /// Threads of the kernel and zombies, which have nothing to read.
    pub left_out: usize,
    /// Processes whose files hang.
    pub stuck: Vec<u32>,
    /// Whether all of the host's processes are there.
    pub host_pid_namespace: bool,
    /// Whether capabilities reach the host's processes.
    pub initial_user_namespace: bool,
    /// Which control groups there are.
    pub control_groups: Option<&'static str>,
}

/// Who looks.
#[derive(Debug, Serialize)]
pub struct Rights {
    /// The effective user.
    pub uid: u32,
    /// Capabilities of use that it has.
    pub held: Vec<&'static str>,
    /// Those that it has not.
    pub missing: Vec<&'static str>,
}

/// How an agent would run here.
#[derive(Debug, Serialize)]
pub struct Agent {
    /// The file of its configuration; `None` for the defaults.
    pub config: Option<PathBuf>,
    /// What would read the processes.
    pub source: &'static str,
    /// Why that.
    pub source_why: &'static str,
}

/// Descriptors of /proc that stay open.
#[derive(Debug, Serialize)]
pub struct Descriptors {
    /// `host.descriptors`.
    pub wanted: u64,
    /// RLIMIT_NOFILE; `None` is unlimited.
    pub limit: Option<u64>,
    /// What comes of both.
    pub kept: u64,
}

/// How a file fares over all processes.
#[derive(Debug, Serialize)]
pub struct Counted {
    /// Its name in /proc.
    pub file: &'static str,
    /// What is known by it.
    pub gives: &'static str,
    /// Read.
    pub readable: usize,
    /// Refused (EACCES, EPERM).
    pub denied: usize,
    /// Failed otherwise.
    pub other: usize,
    /// One of those that were refused or failed.
    pub example: Option<Example>,
    /// What would help.
    pub fix: Option<String>,
}

/// One that could not be read.
#[derive(Debug, Serialize)]
pub struct Example {
    /// The process; `None` for the host.
    pub pid: Option<u32>,
    /// What the kernel says.
    pub error: String,
}

impl Counted {
    fn unreadable(&self) -> usize {
        self.denied + self.other
    }
}

impl Report {
    pub(super) fn is_complete(&self) -> bool {
        // Without names of users their numbers do; everything else is missed.
        let host_files = self.host_files.iter().filter(|file| file.file != "passwd");
        let all = self.process_files.iter().chain(host_files).all(|file| file.unreadable() == 0);
        let hidden = self.host.hidepid.is_some() && self.rights.missing.contains(&"SYS_PTRACE");
        all && !hidden && self.host.host_pid_namespace && self.host.stuck.is_empty()
    }

    /// Says what would help.
    pub(super) fn advise(&mut self) {
        let Host { hidepid, processes, stuck, host_pid_namespace, .. } = &self.host;
        if !host_pid_namespace {
            self.advice.push(
                "only processes of this container are seen: share the host's pid namespace (Kubernetes: hostPID: \
                 true; podman and docker: --pid=host), or mount the host's /proc and name it in host.root"
                    .to_owned(),
            );
        }
        if let Some(option) = hidepid.as_ref().filter(|_| self.rights.missing.contains(&"SYS_PTRACE")) {
            self.advice.push(format!(
                "/proc is mounted with {option}, which hides processes of other users: mount it without, or give the \
                 agent the capability SYS_PTRACE"
            ));
        }
        let mut fixes: BTreeMap<&str, Vec<&Counted>> = BTreeMap::new();
        for file in &self.process_files {
            fixes.entry(file.fix.as_deref().unwrap_or_default()).or_default().push(file);
        }
        for (fix, files) in fixes.iter().filter(|(fix, _)| !fix.is_empty()) {
            let names: Vec<&str> = files.iter().map(|file| file.file).collect();
            let most = files.iter().map(|file| file.unreadable()).max().unwrap_or(0);
            self.advice.push(format!(
                "{} of {most} of {processes} processes cannot be read: {fix}",
                names.join(", ")
            ));
        }
        if !stuck.is_empty() {
            let pids: Vec<String> = stuck.iter().map(u32::to_string).collect();
            self.advice.push(format!(
                "reading processes {} hangs; the agent passes them over, but something is wrong with them",
                pids.join(", ")
            ));
        }
        let Descriptors { wanted, limit, kept } = &self.descriptors;
        if let Some(limit) = limit.filter(|_| kept < wanted && *kept < *processes as u64) {
            self.advice.push(format!(
                "RLIMIT_NOFILE is {limit}: scans cost less with {} (LimitNOFILE= of a unit, ulimit -n)",
                wanted.saturating_add(256)
            ));
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("procagent {}: what can be seen of this host\n\n", self.version);
        if self.complete {
            out.push_str(&format!("Everything can be read of all {} processes.\n", self.host.processes));
        } else {
            out.push_str(
                "Not everything can be read. The agent runs all the same; what is missing is absent.\n",
            );
        }
        for (number, advice) in self.advice.iter().enumerate() {
            out.push_str(&format!("  {}. {advice}\n", number + 1));
        }
        out.push_str("\nFiles of processes\n");
        out.push_str(&table(&self.process_files));
        out.push_str("\nFiles of the host\n");
        out.push_str(&table(&self.host_files));
        out.push_str("\nFrom where it was looked\n");
        self.position(&mut out);
        out.push_str("\nA running agent may have other rights; `procagent explain PID` asks it.\n");
        out
    }

    fn position(&self, out: &mut String) {
        let Host { proc, hidepid, processes, left_out, host_pid_namespace, initial_user_namespace, .. } =
            &self.host;
        let Rights { uid, held, missing } = &self.rights;
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let namespace = |host: bool| if host { "the host's" } else { "its own" };
        let hides = hidepid
            .as_deref()
            .map_or("hides nothing".to_owned(), |option| format!("hides processes: {option}"));
        let file = self
            .agent
            .config
            .as_ref()
            .map_or_else(|| "none; the defaults are in force".to_owned(), |file| file.display().to_string());
        let Descriptors { wanted, limit, kept } = &self.descriptors;
        let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        for (name, value) in [
            ("user", format!("{uid}; capabilities of use: {}; missing: {}", list(held), list(missing))),
            ("/proc", format!("{}; {hides}", proc.display())),
            (
                "processes",
                format!("{processes}, and {left_out} kernel threads and zombies without files to read"),
            ),
            ("pid namespace", namespace(*host_pid_namespace).to_owned()),
            ("user namespace", namespace(*initial_user_namespace).to_owned()),
            (
                "control groups",
                self.host.control_groups.unwrap_or("not mounted: limits of memory are unknown").to_owned(),
            ),
            ("descriptors", format!("{kept} kept open (host.descriptors: {wanted}; RLIMIT_NOFILE: {limit})")),
            ("configuration", file),
            ("source", format!("{} ({})", self.agent.source, self.agent.source_why)),
            ("not there yet", self.not_in_this_version.join(", ")),
        ] {
            out.push_str(&line(name, &value));
        }
    }
}

fn table(files: &[Counted]) -> String {
    let mut out = format!("  {:<13} {:>8} {:>7} {:>6}  gives\n", "file", "readable", "denied", "other");
    for Counted { file, gives, readable, denied, other, example, .. } in files {
        let example = match example {
            Some(Example { pid: Some(pid), error }) => format!(" (such as process {pid}: {error})"),
            Some(Example { pid: None, error }) => format!(" ({error})"),
            None => String::new(),
        };
        out.push_str(&format!("  {file:<13} {readable:>8} {denied:>7} {other:>6}  {gives}{example}\n"));
    }
    out
}
