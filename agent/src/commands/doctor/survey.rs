//! Tries the files of every process, and gives up on those that hang.

use procagent_sources::procfs::probe::{PROCESS_FILES, Probe, ProcessProbe};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A process whose files take longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so many that hang no more are tried.
const STUCK_MAX: usize = 8;

/// What came of it.
pub struct Survey {
    /// What was found, by process.
    pub probed: Vec<(u32, ProcessProbe)>,
    /// Processes whose files hang.
    pub stuck: Vec<u32>,
    /// Threads of the kernel, zombies, and what ended meanwhile.
    pub left_out: usize,
}

/// Tries every process in turn.
pub fn survey(probe: &Arc<Probe>, pids: &[u32]) -> io::Result<Survey> {
    let mut survey = Survey { probed: Vec::new(), stuck: Vec::new(), left_out: 0 };
    let mut rest = pids;
    while !rest.is_empty() && survey.stuck.len() < STUCK_MAX {
        let answers = start(Arc::clone(probe), rest.to_vec())?;
        rest = take(&answers, rest, &mut survey);
    }
    Ok(survey)
}

/// A thread that may have to be left behind.
fn start(probe: Arc<Probe>, pids: Vec<u32>) -> io::Result<Receiver<Option<ProcessProbe>>> {
    let (answer, answers) = channel();
    thread::Builder::new().name("survey".into()).spawn(move || {
        for pid in pids {
            if answer.send(probe.process(pid)).is_err() {
                return;
            }
        }
    })?;
    Ok(answers)
}

/// Takes answers until one does not come; returns those that were not tried.
fn take<'a>(answers: &Receiver<Option<ProcessProbe>>, pids: &'a [u32], survey: &mut Survey) -> &'a [u32] {
    for (index, pid) in pids.iter().enumerate() {
        match answers.recv_timeout(PATIENCE) {
            Ok(Some(found)) => survey.probed.push((*pid, found)),
            Ok(None) => survey.left_out += 1,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                survey.stuck.push(*pid);
                return &pids[index + 1..];
            }
        }
    }
    &[]
}

/// The results of one file, with the processes they are of.
pub fn file<'a>(survey: &'a Survey, name: &str) -> Vec<(u32, &'a io::Result<()>)> {
    let index = PROCESS_FILES.iter().position(|file| *file == name);
    survey.probed.iter().filter_map(|(pid, found)| Some((*pid, found.files.get(index?)?))).collect()
}
