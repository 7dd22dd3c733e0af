//! The names of users, from the host's file of them. It may lie on a filesystem that does not answer, so the
//! readers read it; it is read again when its time, its size or the file itself is another.

use super::files::{ReadError, open_at};
use super::readers::{Answer, Ask, End, Readers};
use procagent_core::snapshot::{Field, FieldErrors, Reason};
use procagent_core::time::Ns;
use procagent_core::users::Users;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

/// How often the file is looked at.
const REFRESH: Ns = Ns::from_secs(30);

/// Of a longer file the beginning is read: some ten thousand users.
const FILE_MAX: usize = 1 << 20;

/// By what a file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: i64,
    seconds: i64,
    nanoseconds: i64,
}

/// What a look at the file gave.
#[derive(Debug)]
pub(super) enum Passwd {
    /// It is the one that is known.
    Same,
    /// It is another one.
    Other(Stamp, Arc<Users>),
}

/// The users as last read.
#[derive(Debug, Default)]
pub(super) struct KnownUsers {
    users: Arc<Users>,
    stamp: Option<Stamp>,
    job: Option<u64>,
    due: Ns,
}

impl KnownUsers {
    /// The names.
    pub fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// Sends for the file if it is time. One that hangs is left alone until it answers.
    pub fn send(&mut self, readers: &mut Readers, now: Ns) {
        if self.job.is_none() && now >= self.due {
            self.due = now.plus(REFRESH);
            self.job = readers.ask(Ask::Passwd(self.stamp));
        }
    }

    /// Takes in what became of it.
    pub fn take(&mut self, job: u64, end: End, errors: &mut FieldErrors) {
        if self.job != Some(job) {
            return;
        }
        self.job = None;
        match end {
            End::Read(Answer::Passwd(Ok(Passwd::Other(stamp, users)))) => {
                (self.stamp, self.users) = (Some(stamp), users);
            }
            // A host without the file has no names.
            End::Read(Answer::Passwd(Err(ReadError::System(Errno::NOENT)))) => {
                *self = KnownUsers { due: self.due, ..KnownUsers::default() }
            }
            End::Read(Answer::Passwd(Err(error))) => errors.count(Field::Passwd, error.reason()),
            End::Read(_) => {}
            End::Stuck => {
                self.job = Some(job);
                errors.count(Field::Passwd, Reason::Timeout);
            }
            End::Refused => errors.count(Field::Passwd, Reason::Failed),
        }
    }
}

/// Reads the file, unless it is the one known.
pub(super) fn read(path: &Path, known: Option<Stamp>) -> Result<Passwd, ReadError> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::NOENT)?;
    let file = open_at(CWD, &path)?;
    let stat = rustix::fs::fstat(&file)?;
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        reason = "their types differ between platforms"
    )]
    let stamp = Stamp {
        inode: stat.st_ino as u64,
        size: stat.st_size as i64,
        seconds: stat.st_mtime as i64,
        nanoseconds: stat.st_mtime_nsec as i64,
    };
    if known == Some(stamp) {
        return Ok(Passwd::Same);
    }
    let mut text = Vec::new();
    while text.len() < FILE_MAX {
        text.reserve(64 << 10);
        let more =
            rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)))?;
        if more == 0 {
            break;
        }
    }
    if text.len() > FILE_MAX {
        text.truncate(FILE_MAX);
        // Half a line would be another user.
        let end = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        text.truncate(end);
    }
    Ok(Passwd::Other(stamp, Arc::new(Users::parse(&text))))
}
