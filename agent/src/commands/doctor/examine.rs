//! Looks at host, rights and limits.

use super::report::{Agent, Counted, Descriptors, Example, Host, Report, Rights};
use super::survey::{Survey, file, survey};
use crate::agent::AgentError;
use crate::commands::Failure;
use crate::config::{Config, Loaded, SourceChoice};
use crate::rights::{Position, TABLE};
use procagent_sources::procfs::probe::{HOST_FILES, PROCESS_FILES, Probe, hidepid, is_denied};
use rustix::process::{Resource, geteuid, getrlimit};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Descriptors that the agent needs for other things than /proc.
const RESERVE: u64 = 256;

/// Makes the report.
pub fn examine(loaded: &Loaded) -> Result<Report, Failure> {
    let config = &loaded.config;
    let root = &config.host.root;
    let proc = root.join("proc");
    let probe = Arc::new(Probe::open(root).map_err(|error| AgentError::Source(error.into()))?);
    let failed = |what: &'static str| move |error| AgentError::System(what, error);
    let pids = probe.pids().map_err(failed("list the processes of /proc"))?;
    let survey = survey(&probe, &pids).map_err(failed("start a thread"))?;
    let position = Position { standing: probe.standing(), hidepid: hidepid(&proc) };
    let host_files = HOST_FILES.iter().zip(probe.host()).map(|(name, result)| host_file(name, &result));
    let mut report = Report {
        version: crate::VERSION,
        complete: false,
        advice: Vec::new(),
        host: Host {
            proc: proc.clone(),
            hidepid: position.hidepid.clone(),
            processes: survey.probed.len(),
            left_out: survey.left_out,
            stuck: survey.stuck.clone(),
            host_pid_namespace: position.standing.sees_host_processes,
            initial_user_namespace: position.standing.initial_user_namespace,
            control_groups: control_groups(root),
        },
        rights: rights(&position),
        agent: agent(config, loaded),
        descriptors: descriptors(config),
        process_files: PROCESS_FILES.iter().map(|name| process_file(name, &survey, &position)).collect(),
        host_files: host_files.collect(),
        not_in_this_version: vec!["events", "source ebpf"],
    };
    report.complete = report.is_complete();
    report.advise();
    Ok(report)
}

fn process_file(name: &'static str, survey: &Survey, position: &Position) -> Counted {
    let results = file(survey, name);
    let refused = results.iter().filter_map(|(pid, result)| Some((*pid, result.as_ref().err()?)));
    let (denied, other): (Vec<_>, Vec<_>) = refused.partition(|(_, error)| is_denied(error));
    let worst = denied.first().or(other.first());
    Counted {
        file: name,
        gives: gives(name),
        readable: results.len() - denied.len() - other.len(),
        denied: denied.len(),
        other: other.len(),
        example: worst.map(|(pid, error)| Example { pid: Some(*pid), error: error.to_string() }),
        fix: worst.and_then(|(_, error)| position.fix(name, error)),
    }
}

fn host_file(name: &'static str, result: &io::Result<()>) -> Counted {
    let denied = result.as_ref().is_err_and(is_denied);
    Counted {
        file: name,
        gives: if name == "stat" { "CPU time, processes created" } else { gives(name) },
        readable: usize::from(result.is_ok()),
        denied: usize::from(denied),
        other: usize::from(result.is_err() && !denied),
        example: result.as_ref().err().map(|error| Example { pid: None, error: error.to_string() }),
        fix: None,
    }
}

/// What is known by a file.
fn gives(file: &str) -> &'static str {
    match file {
        "stat" => "CPU time, state, threads, page faults",
        "statm" => "resident memory",
        "status" => "user",
        "io" => "bytes read and written",
        "fd" => "open descriptors",
        "limits" => "limit of descriptors",
        "exe" => "executable, part of the name",
        "cmdline" => "arguments, part of the name",
        "cgroup" => "unit, container, limit of memory",
        "schedstat" => "time spent waiting for a CPU",
        "task" => "threads one by one",
        "passwd" => "names of users, else numbers",
        "smaps_rollup" => "PSS, USS, swap",
        "meminfo" => "memory",
        _ => "",
    }
}

fn rights(position: &Position) -> Rights {
    let bits = position.standing.capabilities.unwrap_or(0);
    let wanted = TABLE.iter().filter(|right| right.available).flat_map(|right| right.capabilities);
    let (held, missing): (Vec<_>, Vec<_>) = wanted.partition(|capability| capability.held(bits));
    let names = |capabilities: Vec<&crate::rights::Capability>| {
        capabilities.into_iter().map(|capability| capability.name).collect()
    };
    Rights { uid: geteuid().as_raw(), held: names(held), missing: names(missing) }
}

fn agent(config: &Config, loaded: &Loaded) -> Agent {
    let source_why = match config.source {
        SourceChoice::Auto => "source: auto takes the best there is",
        SourceChoice::Procfs => "source: procfs",
        SourceChoice::Portable => {
            "source: portable; what follows is of /proc, which it does not use by itself"
        }
    };
    let source = if config.source == SourceChoice::Portable { "portable" } else { "procfs" };
    Agent { config: loaded.file.clone(), source, source_why }
}

fn descriptors(config: &Config) -> Descriptors {
    let limit = getrlimit(Resource::Nofile).current;
    let wanted = config.host.descriptors as u64;
    Descriptors { wanted, limit, kept: wanted.min(limit.unwrap_or(u64::MAX).saturating_sub(RESERVE)) }
}

/// What of control groups is there to read limits of memory from (cgroups(7)).
fn control_groups(root: &Path) -> Option<&'static str> {
    let mount = root.join("sys/fs/cgroup");
    match (mount.join("cgroup.controllers").exists(), mount.join("memory").exists()) {
        (true, _) => Some("version 2"),
        (false, true) => Some("version 1"),
        (false, false) => None,
    }
}
