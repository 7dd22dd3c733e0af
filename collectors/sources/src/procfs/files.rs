//! The open /proc: every open and every read of it goes through here. All descriptors are close-on-exec.
#![allow(clippy::disallowed_methods, reason = "this is the place that opens files of processes")]

use super::parse::Malformed;
use procagent_core::snapshot::Reason;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, RawDir};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io::Write as _;
use std::path::Path;

/// Files of the host are not longer than this; `/proc/stat` of 8,192 CPUs with all their interrupts is not.
const HOST_FILE_MAX: usize = 4 << 20;

/// An open /proc, or a captured tree of one.
#[derive(Debug)]
pub(super) struct ProcDir {
    fd: OwnedFd,
    /// Whether the kernel serves it. A captured tree is made of plain files.
    live: bool,
}

/// Why a file gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    System(Errno),
    Malformed,
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> ReadError {
        ReadError::System(errno)
    }
}

impl From<Malformed> for ReadError {
    fn from(_: Malformed) -> ReadError {
        ReadError::Malformed
    }
}

impl ReadError {
    /// The one place that decides what an error means.
    pub fn reason(self) -> Reason {
        match self {
            ReadError::Malformed => Reason::Malformed,
            // The file of an ended process cannot be opened (ENOENT), nor read where it was open (ESRCH).
            ReadError::System(Errno::NOENT | Errno::SRCH) => Reason::Vanished,
            ReadError::System(Errno::ACCESS | Errno::PERM) => Reason::Denied,
            ReadError::System(_) => Reason::Failed,
        }
    }

    /// Whether no descriptor is to be had, for this process (EMFILE) or for the whole host (ENFILE).
    pub fn out_of_descriptors(self) -> bool {
        matches!(self, ReadError::System(Errno::MFILE | Errno::NFILE))
    }
}

/// The path `PID/file` below /proc, built without allocation.
pub(super) struct PidPath {
    bytes: [u8; 24],
}

impl PidPath {
    /// `file` is at most 12 bytes long; empty for the folder of the process.
    pub fn new(pid: u32, file: &str) -> PidPath {
        let mut bytes = [0; 24];
        let mut rest = &mut bytes[..23];
        // A pid has ten digits at most, so all fits; were it not so, the file would not be found.
        let _fits = if file.is_empty() { write!(rest, "{pid}") } else { write!(rest, "{pid}/{file}") };
        PidPath { bytes }
    }

    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl ProcDir {
    pub fn open(path: &Path) -> Result<ProcDir, Errno> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let live = rustix::fs::fstatfs(&fd)?.f_type == PROC_SUPER_MAGIC;
        Ok(ProcDir { fd, live })
    }

    /// Whether the kernel serves it.
    pub fn live(&self) -> bool {
        self.live
    }

    /// The folder itself, for listing.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens a file of a process.
    pub fn open_file(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        open_at(&self.fd, path)
    }

    /// Opens the folder of a process: what is read through it later is of that process or fails, also when the
    /// number has been given to another one meanwhile.
    pub fn open_process(&self, pid: u32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, PidPath::new(pid, "").as_c_str(), flags, Mode::empty())
    }

    /// How many descriptors a process has open. `listing` is room for names.
    pub fn count_descriptors(&self, pid: u32, listing: &mut Vec<u8>) -> Result<u32, Errno> {
        let path = PidPath::new(pid, "fd");
        if self.live {
            // Since Linux 6.2 the size of the folder is their number (proc_readfd_count, fs/proc/fd.c); before it
            // is always 0.
            let stat = rustix::fs::statat(&self.fd, path.as_c_str(), rustix::fs::AtFlags::empty())?;
            if let Some(count) = u32::try_from(stat.st_size).ok().filter(|count| *count > 0) {
                return Ok(count);
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.fd, path.as_c_str(), flags, Mode::empty())?;
        let mut count = 0;
        let mut entries = RawDir::new(&folder, listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            count += u32::from(entry?.file_name().to_bytes()[..1] != *b".");
        }
        Ok(count)
    }

    /// Reads a file of the host into `buffer`, whole.
    pub fn read_host_file(&self, path: &CStr, buffer: &mut Vec<u8>) -> Result<(), Errno> {
        read_whole(&open_at(&self.fd, path)?, buffer)
    }
}

/// Opens a file for reading. Without `O_NONBLOCK`: files of /proc do not know it.
pub(super) fn open_at(folder: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Reads from the beginning, in one go: the kernel builds the text anew at offset 0, and gives it whole where the
/// buffer is large enough (seq_read_iter, fs/seq_file.c).
pub(super) fn read_start(file: impl AsFd, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let length = rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut *buffer, 0))?;
    Ok(&buffer[..length])
}

/// Reads from where the file stands until the buffer is full or the file ends.
pub(super) fn read_all(file: impl AsFd, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let mut length = 0;
    while length < buffer.len() {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer[length..]))? {
            0 => break,
            more => length += more,
        }
    }
    Ok(&buffer[..length])
}

fn read_whole(file: impl AsFd, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    buffer.clear();
    while buffer.len() < HOST_FILE_MAX {
        buffer.reserve(16 << 10);
        let before = buffer.len();
        rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(buffer)))?;
        if buffer.len() == before {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_errors_mean() {
        let reason = |errno: Errno| ReadError::from(errno).reason();
        assert_eq!(reason(Errno::NOENT), Reason::Vanished);
        assert_eq!(reason(Errno::SRCH), Reason::Vanished);
        assert_eq!(reason(Errno::ACCESS), Reason::Denied);
        assert_eq!(reason(Errno::PERM), Reason::Denied);
        for errno in [Errno::MFILE, Errno::IO, Errno::NOTDIR, Errno::INVAL] {
            assert_eq!(reason(errno), Reason::Failed);
        }
        assert_eq!(ReadError::from(Malformed { field: "x" }).reason(), Reason::Malformed);
        assert!(ReadError::from(Errno::NFILE).out_of_descriptors());
        assert!(!ReadError::from(Errno::ACCESS).out_of_descriptors());
    }

    #[test]
    fn paths_of_processes() {
        assert_eq!(PidPath::new(7, "stat").as_c_str(), c"7/stat");
        assert_eq!(PidPath::new(u32::MAX, "status").as_c_str(), c"4294967295/status");
        assert_eq!(PidPath::new(1, "").as_c_str(), c"1");
    }
}
