//! Which files of /proc can be read here, and what the kernel says where one cannot: for reports, not for numbers.
//! Reads may hang as any read of a process may; whoever probes does so on a thread that can be left behind.
#![allow(
    clippy::disallowed_methods,
    reason = "tries every file of a process, for people who wait for the answer"
)]

use super::files::{PidPath, ProcDir, ReadError, open_at, read_all, read_start};
use super::parse;
use super::pids::Pids;
use super::settings::OpenError;
use procagent_core::users::Users;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};

/// The number of the initial pid namespace's inode (PROC_PID_INIT_INO, include/uapi/linux/nsfs.h).
const INITIAL_PID_NAMESPACE: &[u8] = b"pid:[4026531836]";

/// Files of a process, in the order of [`ProcessProbe::files`].
pub const PROCESS_FILES: [&str; 12] = [
    "stat",
    "statm",
    "status",
    "io",
    "fd",
    "limits",
    "exe",
    "cmdline",
    "cgroup",
    "schedstat",
    "task",
    "smaps_rollup",
];

/// Files of the host, in the order of [`Probe::host`].
pub const HOST_FILES: [&str; 3] = ["stat", "meminfo", "passwd"];

/// An open /proc.
#[derive(Debug)]
pub struct Probe {
    root: PathBuf,
    proc: ProcDir,
}

/// What could be read of one process.
#[derive(Debug)]
pub struct ProcessProbe {
    /// One entry for each of [`PROCESS_FILES`].
    pub files: [io::Result<()>; PROCESS_FILES.len()],
    /// Its effective user.
    pub uid: Option<u32>,
}

/// What the agent itself is and may, as its own /proc tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its effective capabilities, one bit each (capabilities(7)); `None` where it has no /proc.
    pub capabilities: Option<u64>,
    /// Whether it is in the initial pid namespace, or looks at a /proc of it.
    pub sees_host_processes: bool,
    /// Whether it is in the initial user namespace, where capabilities hold for all of the host's processes.
    pub initial_user_namespace: bool,
}

impl Probe {
    /// Opens `<root>/proc`.
    ///
    /// # Errors
    /// When it cannot be opened. The text says what to do.
    pub fn open(root: &Path) -> Result<Probe, OpenError> {
        let folder = root.join("proc");
        let proc = ProcDir::open(&folder).map_err(|errno| OpenError::new(folder, errno.into()))?;
        Ok(Probe { root: root.to_owned(), proc })
    }

    /// All processes, those not that the mount hides.
    ///
    /// # Errors
    /// Those of getdents64(2).
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        Ok(Pids::new().list(self.proc.fd())?.to_vec())
    }

    /// Tries every file of the host; one entry for each of [`HOST_FILES`].
    pub fn host(&self) -> [io::Result<()>; HOST_FILES.len()] {
        let read = |path: &CStr| Ok(self.proc.read_host_file(path, &mut Vec::new())?);
        [read(c"stat"), read(c"meminfo"), read_passwd(&self.root).map(drop).map_err(io::Error::from)]
    }

    /// Tries every file of a process. `None` for one that has ended, for a zombie and for a thread of the kernel,
    /// which have nothing to read.
    pub fn process(&self, pid: u32) -> Option<ProcessProbe> {
        let stat = self.open_and_read(pid, "stat");
        if let Ok(line) = &stat {
            let stat = parse::stat(line).ok()?;
            if stat.kernel_thread() || stat.zombie() {
                return None;
            }
        }
        let read = |file| self.open_and_read(pid, file).map(drop);
        let status = self.open_and_read(pid, "status");
        let users = status.as_ref().ok().and_then(|status| parse::status(status).ok());
        let files = [
            stat.map(drop),
            read("statm"),
            status.map(drop),
            read("io"),
            self.proc.count_descriptors(pid, &mut Vec::with_capacity(4096)).map(drop),
            read("limits"),
            self.link(pid),
            read("cmdline"),
            read("cgroup"),
            read("schedstat"),
            self.proc.open_file(PidPath::new(pid, "task").as_c_str()).map(drop),
            // Opening checks the permission (smaps_rollup_open, fs/proc/task_mmu.c); reading would halt the process.
            self.proc.open_file(PidPath::new(pid, "smaps_rollup").as_c_str()).map(drop),
        ];
        let ended = |result: &Result<(), Errno>| matches!(result, Err(Errno::SRCH));
        if files.iter().any(ended) || self.open_and_read(pid, "stat") == Err(Errno::NOENT) {
            return None;
        }
        let uid = users.map(|users| users.effective);
        Some(ProcessProbe { files: files.map(|result| Ok(result?)), uid })
    }

    fn open_and_read(&self, pid: u32, file: &str) -> Result<Vec<u8>, Errno> {
        let open = self.proc.open_file(PidPath::new(pid, file).as_c_str())?;
        let mut buffer = vec![0; 4096];
        let length = read_start(&open, &mut buffer)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn link(&self, pid: u32) -> Result<(), Errno> {
        let mut buffer = [0; 4096];
        let path = PidPath::new(pid, "exe");
        rustix::fs::readlinkat_raw(self.proc.fd(), path.as_c_str(), &mut buffer[..]).map(drop)
    }

    /// Whether process 2 is the thread that makes the kernel's threads, which is so in the initial pid namespace
    /// alone (rest_init, init/main.c).
    fn shows_kernel_threads(&self) -> bool {
        let line = self.open_and_read(2, "stat");
        line.is_ok_and(|line| parse::stat(&line).is_ok_and(|stat| stat.kernel_thread()))
    }

    /// What the agent is and may.
    pub fn standing(&self) -> Standing {
        let file = |path: &str| {
            let open = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            let mut buffer = vec![0; 4096];
            let length = read_start(&open, &mut buffer)?.len();
            buffer.truncate(length);
            Ok::<_, Errno>(buffer)
        };
        let namespace = rustix::fs::readlinkat(CWD, c"/proc/self/ns/pid", Vec::new());
        let initial = namespace.is_ok_and(|name| name.as_bytes() == INITIAL_PID_NAMESPACE);
        Standing {
            capabilities: file("/proc/self/status").ok().and_then(|status| effective_capabilities(&status)),
            sees_host_processes: initial || self.shows_kernel_threads(),
            initial_user_namespace: file("/proc/self/uid_map").map_or(true, |map| maps_all(&map)),
        }
    }
}

/// The names of users by `<root>/etc/passwd`, of which no more than the first MiB is read; none where it cannot be.
pub fn users(root: &Path) -> Users {
    read_passwd(root).map(|passwd| Users::parse(&passwd)).unwrap_or_default()
}

fn read_passwd(root: &Path) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(root.join("etc/passwd"), flags, Mode::empty())?;
    let mut buffer = vec![0; 1 << 20];
    let length = read_all(&file, &mut buffer)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// The options of a /proc mounted at this place that hide processes, such as `hidepid=invisible`; `None` where
/// nothing is hidden or the mount is not found.
pub fn hidepid(place: &Path) -> Option<String> {
    let file = open_at(CWD, c"/proc/self/mountinfo").ok()?;
    let mut text = Vec::new();
    // Mounts are many where containers are; their table is bounded by the kernel (mount-max).
    while text.len() < 16 << 20 {
        text.reserve(64 << 10);
        let before = text.len();
        rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)))
            .ok()?;
        if text.len() == before {
            break;
        }
    }
    hidepid_in(&String::from_utf8_lossy(&text), place)
}

/// From the text of proc_pid_mountinfo(5). The last mount of a place covers those before it.
fn hidepid_in(mountinfo: &str, place: &Path) -> Option<String> {
    let line = mountinfo.lines().rfind(|line| {
        line.split(' ').nth(4).is_some_and(|point| Path::new(&point.replace("\\040", " ")) == place)
    })?;
    let options = line.split(' ').next_back()?.split(',');
    let visible = ["hidepid=0", "hidepid=off"];
    let mut hiding = options.filter(|option| option.starts_with("hidepid=") && !visible.contains(option));
    hiding.next().map(str::to_owned)
}

fn effective_capabilities(status: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether a uid_map maps every user to itself (user_namespaces(7)).
fn maps_all(map: &[u8]) -> bool {
    let text = String::from_utf8_lossy(map);
    text.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether the error means that it may not be read.
pub fn is_denied(error: &io::Error) -> bool {
    Errno::from_io_error(error)
        .is_some_and(|errno| ReadError::System(errno).reason() == procagent_core::snapshot::Reason::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_hide() {
        let mounts = "22 1 0:20 / / rw - ext4 /dev/vda rw\n\
                      23 22 0:21 / /proc rw,nosuid - proc proc rw\n\
                      24 22 0:22 / /host/my\\040proc rw - proc proc rw,gid=27,hidepid=invisible\n\
                      25 22 0:23 / /off rw - proc proc rw,hidepid=off\n\
                      26 23 0:24 / /proc rw - proc proc rw,hidepid=2\n";
        let hidden = |place| hidepid_in(mounts, Path::new(place));
        assert_eq!(hidden("/host/my proc").as_deref(), Some("hidepid=invisible"));
        assert_eq!(hidden("/proc").as_deref(), Some("hidepid=2"), "the last mount covers the first");
        assert_eq!((hidden("/off"), hidden("/"), hidden("/nowhere")), (None, None, None));
    }

    #[test]
    fn capabilities_and_user_namespaces() {
        let status = b"Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t0000000000080004\nCapBnd:\tffff\n";
        assert_eq!(effective_capabilities(status), Some(1 << 19 | 1 << 2));
        assert_eq!(effective_capabilities(b"Name:\tx\n"), None);
        assert!(maps_all(b"         0          0 4294967295\n"));
        assert!(!maps_all(b"0 1000 1\n"));
    }

    #[test]
    fn the_test_itself_can_be_read() {
        let probe = Probe::open(Path::new("/")).unwrap();
        let pid = std::process::id();
        assert!(probe.pids().unwrap().contains(&pid));
        let ProcessProbe { files, uid } = probe.process(pid).unwrap();
        assert_eq!(uid, Some(rustix::process::geteuid().as_raw()));
        for (name, result) in PROCESS_FILES.iter().zip(&files) {
            assert!(result.is_ok(), "{name}: {result:?}");
        }
        assert!(probe.process(u32::MAX).is_none());
        assert_eq!(&*users(Path::new("/")).name(0), "root");
        assert!(users(Path::new("/proc")).is_empty());
        assert!(probe.host().iter().all(Result::is_ok));
        assert!(probe.standing().capabilities.is_some());
    }
}
