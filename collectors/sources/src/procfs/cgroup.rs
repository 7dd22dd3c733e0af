//! How much memory control groups allow: the smallest limit of a group and all above it. Shared by the processes
//! of a group and read again every 30 seconds.
#![allow(clippy::disallowed_methods, reason = "opens files of control groups, which cannot hang")]

use super::files::{ReadError, open_at, read_all};
use super::parse::{self, Controller};
use procagent_core::time::Ns;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How old a limit may get.
const REFRESH: Ns = Ns::from_secs(30);

/// A control group that limits memory.
#[derive(Debug)]
pub(super) struct MemoryCgroup {
    /// [`UNLIMITED`] and [`UNKNOWN`] are special; no real limit is that large.
    limit: AtomicU64,
    read_at: AtomicU64,
}

const UNLIMITED: u64 = u64::MAX;
const UNKNOWN: u64 = u64::MAX - 1;

impl MemoryCgroup {
    /// What a process of this group may use on a host with this much memory; `None` where it could not be read.
    pub fn limit(&self, host: Option<u64>) -> Option<u64> {
        match self.limit.load(Ordering::Relaxed) {
            UNKNOWN => None,
            // Version 1 says "none" by the largest multiple of the page size; a limit above what there is limits nothing.
            limit => match host {
                Some(host) => Some(limit.min(host)),
                None => Some(limit).filter(|limit| *limit < i64::MAX as u64 & !0xffff),
            },
        }
    }
}

/// Every control group that has processes.
#[derive(Debug)]
pub(super) struct MemoryCgroups {
    /// Roots of the hierarchies, where mounted.
    memory: Option<OwnedFd>,
    unified: Option<OwnedFd>,
    groups: HashMap<(Controller, Box<[u8]>), Arc<MemoryCgroup>>,
}

impl MemoryCgroups {
    /// `mount` is `<host.root>/sys/fs/cgroup`: the unified hierarchy, or (hybrid, version 1) a folder of all.
    pub fn open(mount: &Path) -> MemoryCgroups {
        let folder = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()
        };
        MemoryCgroups {
            memory: folder(&mount.join("memory")),
            unified: folder(&mount.join("unified")).or_else(|| folder(mount)),
            groups: HashMap::new(),
        }
    }

    /// The group at a path, shared.
    pub fn get(
        &mut self,
        controller: Controller,
        path: Box<[u8]>,
        now: Ns,
    ) -> Result<Arc<MemoryCgroup>, ReadError> {
        let key = (controller, path);
        if let Some(group) = self.groups.get(&key) {
            return Ok(Arc::clone(group));
        }
        let limit = self.read(key.0, &key.1);
        let group = Arc::new(MemoryCgroup {
            limit: AtomicU64::new(*limit.as_ref().unwrap_or(&UNKNOWN)),
            read_at: AtomicU64::new(now.0),
        });
        self.groups.insert(key, Arc::clone(&group));
        limit.map(|_| group)
    }

    /// Forgets groups without processes and reads limits that are due. Calls `failed` for each that cannot be read.
    pub fn refresh(&mut self, now: Ns, mut failed: impl FnMut(ReadError)) {
        self.groups.retain(|_, group| Arc::strong_count(group) > 1);
        for ((controller, path), group) in &self.groups {
            if now.since(Ns(group.read_at.load(Ordering::Relaxed))) < REFRESH {
                continue;
            }
            let limit = self.read(*controller, path).unwrap_or_else(|error| {
                failed(error);
                UNKNOWN
            });
            group.limit.store(limit, Ordering::Relaxed);
            group.read_at.store(now.0, Ordering::Relaxed);
        }
    }

    /// The smallest limit on the way from `path` to the root.
    fn read(&self, controller: Controller, path: &[u8]) -> Result<u64, ReadError> {
        let (root, file) = match controller {
            Controller::Memory => (&self.memory, "memory.limit_in_bytes"),
            Controller::Unified => (&self.unified, "memory.max"),
        };
        let Some(root) = root else { return Ok(UNLIMITED) };
        // Seen from inside another control group namespace (cgroup_namespaces(7)): not to be found from here.
        if path.split(|byte| *byte == b'/').any(|part| part == b"..") {
            return Err(ReadError::System(Errno::XDEV));
        }
        let mut smallest = UNLIMITED;
        let mut path = path;
        loop {
            let name = [b".", path.strip_suffix(b"/").unwrap_or(path), b"/", file.as_bytes()].concat();
            if let Some(limit) = read_limit(root, name)? {
                smallest = smallest.min(limit);
            }
            match path.iter().rposition(|byte| *byte == b'/') {
                Some(0) if path.len() > 1 => path = b"/",
                Some(slash) if slash > 0 => path = &path[..slash],
                _ => return Ok(smallest),
            }
        }
    }
}

/// `None` also where there is no such file: the root has none, nor has a group whose controller is not enabled.
fn read_limit(root: &OwnedFd, name: Vec<u8>) -> Result<Option<u64>, ReadError> {
    let name = CString::new(name).map_err(|_| ReadError::Malformed)?;
    let mut buffer = [0; 64];
    match open_at(root, &name) {
        Ok(file) => Ok(parse::memory_limit(read_all(&file, &mut buffer)?)?),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
