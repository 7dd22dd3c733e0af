//! `procagent explain PID`: which group a process counts in, and why.

use super::text::{line, shown};
use super::{Failure, print, print_json};
use crate::agent;
use crate::cli::{Explain, Format};
use crate::config::{Config, Request, Variables, load};
use crate::control::client::{AskError, get};
use crate::control::{Reader, socket};
use crate::explanation::{AnsweredBy, Explanation};
use procagent_core::process::Pid;
use procagent_core::snapshot::Snapshot;
use std::io::ErrorKind;
use std::path::Path;

/// Asks the agent; where none answers, scans by itself.
pub fn run(options: &Explain) -> Result<(), Failure> {
    let variables = Variables::of_this_process();
    let request = Request { file: options.config.clone(), ..Request::default() };
    let config = load(request, &variables)?.config;
    let (explanation, remark) = match &options.socket {
        Some(socket) => (ask(socket, options.pid).map_err(|error| unanswered(socket, &error))?, None),
        None => ask_or_scan(&config, &variables, options.pid)?,
    };
    match options.format {
        Format::Json => print_json(&explanation),
        Format::Text => print(&text(&explanation, remark.as_deref())),
    }
}

/// The answer, and what is to be said of it.
fn ask_or_scan(
    config: &Config,
    variables: &Variables,
    pid: u32,
) -> Result<(Explanation, Option<String>), Failure> {
    let why = match socket::path(&config.outputs.control, variables) {
        Err(why) => why,
        Ok(None) => "outputs.control is off".to_owned(),
        Ok(Some(socket)) => match ask(&socket, pid) {
            Ok(explanation) => return Ok((explanation, None)),
            Err(AskError::NoAgent(error)) if error.kind() == ErrorKind::PermissionDenied => {
                format!("{} may not be used by this user", socket.display())
            }
            Err(AskError::NoAgent(_)) => format!("no agent answers at {}", socket.display()),
            Err(error) => return Err(unanswered(&socket, &error)),
        },
    };
    let remark = format!(
        "{why}; this is from a scan of the command's own, with its own rights and the configuration it found"
    );
    Ok((scan(config, pid)?, Some(remark)))
}

fn ask(socket: &Path, pid: u32) -> Result<Explanation, AskError> {
    let body = get(socket, &format!("/explain?pid={pid}"))?;
    serde_json::from_str(&body).map_err(|error| AskError::Broken(error.into()))
}

fn unanswered(socket: &Path, error: &AskError) -> Failure {
    Failure::Unanswered(format!("{}: {error}", socket.display()))
}

fn scan(config: &Config, pid: u32) -> Result<Explanation, Failure> {
    let (mut source, mut judge) = agent::prepare(config)?;
    agent::scan_into(&mut *source, &mut judge, &mut Snapshot::default())?;
    let Some(mut explanation) = judge.explain(Pid(pid)) else {
        return Err(Failure::Unanswered(format!("there is no process {pid} that can be seen from here")));
    };
    explanation.answered_by = AnsweredBy::OwnScan;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime =
        runtime.map_err(|error| Failure::Unanswered(format!("cannot start the I/O runtime: {error}")))?;
    runtime.block_on(Reader::new(config.host.root.clone()).add_to(&mut explanation));
    Ok(explanation)
}

fn text(explanation: &Explanation, remark: Option<&str>) -> String {
    let Explanation { pid, name, comm, exe, uid, user, unit, container, .. } = explanation;
    let known = |value: &Option<String>| value.as_deref().map_or_else(|| "unknown".to_owned(), shown);
    let there = |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), shown);
    let user = match (user, uid) {
        (Some(user), Some(uid)) => format!("{} ({uid})", shown(user)),
        (_, Some(uid)) => uid.to_string(),
        _ => "unknown".to_owned(),
    };
    let mut out = format!("process {pid}: {}\n", shown(name));
    out.push_str(&line("executable", &known(exe)));
    out.push_str(&line("short name", &shown(comm)));
    out.push_str(&line("user", &user));
    out.push_str(&line("unit", &there(unit)));
    out.push_str(&line("container", &there(container)));
    out.push_str(&group_text(explanation));
    out.push_str(&format!("series: {}\n", explanation.series.len()));
    explanation.series.iter().for_each(|series| out.push_str(&format!("  {}\n", shown(series))));
    if explanation.unreadable.is_empty() && explanation.warning.is_none() {
        out.push_str("unreadable: nothing\n");
    } else if !explanation.unreadable.is_empty() {
        out.push_str("unreadable:\n");
    }
    for unreadable in &explanation.unreadable {
        let fix = unreadable.fix.as_ref().map_or_else(String::new, |fix| format!("; {fix}"));
        out.push_str(&line(&unreadable.field, &format!("{}{fix}", unreadable.error)));
    }
    explanation.warning.iter().for_each(|warning| out.push_str(&format!("warning: {warning}\n")));
    remark.iter().for_each(|remark| out.push_str(&format!("note: {remark}\n")));
    out
}

fn group_text(explanation: &Explanation) -> String {
    let name = explanation.labels.first().map_or_else(|| "none".to_owned(), |(_, name)| shown(name));
    let mut out = format!("group: {name}\n");
    out.push_str(&line("why", &explanation.why));
    let labels: Vec<String> =
        explanation.labels.iter().map(|(name, value)| format!("{name}={:?}", shown(value))).collect();
    if !labels.is_empty() {
        out.push_str(&line("labels", &labels.join(", ")));
        let counts_in = match &explanation.folded_into {
            None => "series of its own".to_owned(),
            Some(other) => format!("the group {other}, for groups.limit is reached and this one is small"),
        };
        out.push_str(&line("counts in", &counts_in));
    }
    out
}
