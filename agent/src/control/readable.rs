//! What of a process can be read, as the agent sees it, with its own rights.

use crate::explanation::{Explanation, Unreadable};
use crate::rights::Position;
use procagent_sources::procfs::probe::{PROCESS_FILES, Probe, ProcessProbe, hidepid, users};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// How long it may take.
const DEADLINE: Duration = Duration::from_secs(1);

/// Threads that may be stuck in a read at most.
const STUCK_MAX: usize = 4;

/// Tries the files of processes.
#[derive(Clone, Debug)]
pub struct Reader {
    root: PathBuf,
    threads: Arc<Semaphore>,
}

impl Reader {
    /// Over the /proc below this folder.
    pub fn new(root: PathBuf) -> Reader {
        Reader { root, threads: Arc::new(Semaphore::new(STUCK_MAX)) }
    }

    /// Adds to an explanation what can be read of its process only by asking for it.
    pub async fn add_to(&self, explanation: &mut Explanation) {
        match self.read(explanation.pid).await {
            Ok(found) => {
                explanation.unreadable = found.unreadable;
                explanation.uid = explanation.uid.or(found.uid);
                explanation.user = explanation.user.take().or(found.user);
            }
            Err(why) => explanation.warning = Some(why),
        }
    }

    /// Tries every file of a process on a thread of its own, for any of these reads may hang; it is left behind then.
    /// An error says why it could not be tried.
    async fn read(&self, pid: u32) -> Result<Found, String> {
        let Ok(permit) = Arc::clone(&self.threads).try_acquire_owned() else {
            return Err("what can be read of it was not tried: too many such reads hang already".to_owned());
        };
        let (reply, answer) = oneshot::channel();
        let root = self.root.clone();
        let started = std::thread::Builder::new().name("probe".into()).spawn(move || {
            let _nobody_waits = reply.send(try_files(&root, pid));
            drop(permit);
        });
        if let Err(error) = started {
            return Err(format!("what can be read of it was not tried: {error}"));
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(found)) => found,
            _ => Err("reading its files hangs; what is not known of it may be missing for that".to_owned()),
        }
    }
}

/// What was found of a process.
#[derive(Default)]
struct Found {
    unreadable: Vec<Unreadable>,
    uid: Option<u32>,
    user: Option<String>,
}

fn try_files(root: &Path, pid: u32) -> Result<Found, String> {
    let probe = Probe::open(root).map_err(|error| error.to_string())?;
    let Some(ProcessProbe { files, uid }) = probe.process(pid) else { return Ok(Found::default()) };
    let position = Position { standing: probe.standing(), hidepid: hidepid(&root.join("proc")) };
    let refused = |(file, result): (&&str, std::io::Result<()>)| {
        let error = result.err()?;
        Some(Unreadable {
            field: (*file).to_owned(),
            fix: position.fix(file, &error),
            error: error.to_string(),
        })
    };
    Ok(Found {
        unreadable: PROCESS_FILES.iter().zip(files).filter_map(refused).collect(),
        uid,
        user: uid.and_then(|uid| users(root).get(uid).map(ToString::to_string)),
    })
}
