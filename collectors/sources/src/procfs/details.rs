//! What the readers read of one process: executable, arguments, control group, memory. Any of these reads may hang:
//! the arguments lie in the memory of the process, which another may hold locked (proc_pid_cmdline_read,
//! fs/proc/base.c), or on a filesystem that does not answer.

use super::files::{ProcDir, ReadError, open_at, read_all};
use super::parse::{self, Controller, SmapsRollup};
use procagent_core::process::{CommandLine, ProcessId, bounded_lossy};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CStr;
use std::sync::Arc;

/// Longest path that the kernel gives (PATH_MAX), and room for " (deleted)".
const PATH_MAX: usize = 4096 + 16;

/// Room for any of the files: /proc/PID/cgroup of version 1 has a dozen lines.
const BUFFER: usize = 16 << 10;

/// What was found of one process, each part by itself.
#[derive(Debug)]
pub(super) struct Found {
    pub exe: Result<Arc<str>, ReadError>,
    pub argv: Result<CommandLine, ReadError>,
    pub cgroup: Result<Cgroup, ReadError>,
}

/// The control group of a process.
#[derive(Debug)]
pub(super) struct Cgroup {
    /// What it belongs to.
    pub path: Option<Arc<str>>,
    /// What limits its memory.
    pub memory: Option<(Controller, Box<[u8]>)>,
}

/// A reader's buffer.
pub(super) struct DetailsReader {
    buffer: Vec<u8>,
}

impl DetailsReader {
    pub fn new() -> DetailsReader {
        DetailsReader { buffer: vec![0; BUFFER] }
    }

    /// Reads through the folder of the process, and only if it is still this process: its number may have been
    /// given to another one since the scan saw it.
    pub fn read(&mut self, proc: &ProcDir, id: ProcessId) -> Result<Found, ReadError> {
        let folder = self.folder(proc, id)?;
        Ok(Found { cgroup: self.cgroup(&folder), exe: self.exe(&folder), argv: self.argv(&folder) })
    }

    /// The same for its memory.
    pub fn smaps(&mut self, proc: &ProcDir, id: ProcessId) -> Result<SmapsRollup, ReadError> {
        let folder = self.folder(proc, id)?;
        Ok(parse::smaps_rollup(self.file(&folder, c"smaps_rollup")?)?)
    }

    fn folder(&mut self, proc: &ProcDir, id: ProcessId) -> Result<OwnedFd, ReadError> {
        let folder = proc.open_process(id.pid.0)?;
        let stat = parse::stat(self.file(&folder, c"stat")?)?;
        if stat.start == id.start.0 { Ok(folder) } else { Err(ReadError::System(Errno::SRCH)) }
    }

    fn exe(&mut self, folder: &OwnedFd) -> Result<Arc<str>, ReadError> {
        let length = rustix::fs::readlinkat_raw(folder, c"exe", &mut self.buffer[..PATH_MAX])?;
        Ok(bounded_lossy(&self.buffer[..length], PATH_MAX).into())
    }

    fn argv(&mut self, folder: &OwnedFd) -> Result<CommandLine, ReadError> {
        let file = open_at(folder, c"cmdline")?;
        Ok(CommandLine::new(read_all(&file, &mut self.buffer[..CommandLine::MAX])?))
    }

    fn cgroup(&mut self, folder: &OwnedFd) -> Result<Cgroup, ReadError> {
        let found = parse::cgroup(self.file(folder, c"cgroup")?)?;
        Ok(Cgroup {
            path: found.path().map(|path| bounded_lossy(path, PATH_MAX).into()),
            memory: found.memory_path().map(|(controller, path)| (controller, path.into())),
        })
    }

    fn file(&mut self, folder: impl AsFd, name: &CStr) -> Result<&[u8], ReadError> {
        Ok(read_all(&open_at(folder, name)?, &mut self.buffer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::process::Pid;
    use procagent_core::time::Ticks;
    use std::path::Path;

    #[test]
    fn another_process_of_the_same_number_is_not_read() {
        let proc = ProcDir::open(Path::new("/proc")).unwrap();
        let pid = std::process::id();
        let mut buffer = [0; 4096];
        let file = proc.open_file(c"self/stat").unwrap();
        let start = parse::stat(read_all(&file, &mut buffer).unwrap()).unwrap().start;
        let mut reader = DetailsReader::new();
        let mut read = |start| reader.read(&proc, ProcessId { pid: Pid(pid), start: Ticks(start) });
        let found = read(start).unwrap();
        assert!(found.exe.is_ok() && found.argv.is_ok() && found.cgroup.is_ok());
        assert_eq!(read(start + 1).unwrap_err(), ReadError::System(Errno::SRCH));
    }
}
