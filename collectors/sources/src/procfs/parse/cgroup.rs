//! `/proc/PID/cgroup`, cgroups(7): a line a hierarchy, `number:controllers:path`.

use super::{Malformed, decimal, lines};

/// Where a process stands. Paths are as the kernel gives them, below the root of the hierarchy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// In the unified hierarchy (version 2).
    pub unified: Option<&'a [u8]>,
    /// In the hierarchy of version 1 that limits memory.
    pub memory: Option<&'a [u8]>,
    /// In systemd's own hierarchy of version 1.
    pub systemd: Option<&'a [u8]>,
}

/// Which hierarchy limits the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// `memory.limit_in_bytes` of version 1.
    Memory,
    /// `memory.max` of version 2.
    Unified,
}

impl<'a> Cgroup<'a> {
    /// The path that says most about what the process belongs to. On a hybrid host the unified hierarchy holds
    /// what systemd put there, and else only its root.
    pub fn path(&self) -> Option<&'a [u8]> {
        let candidates = [self.unified, self.systemd, self.memory];
        let below_root = candidates.iter().flatten().find(|path| **path != b"/");
        below_root.or(candidates.iter().flatten().next()).copied()
    }

    /// The path whose limits hold for its memory. A controller is in one hierarchy only (cgroups(7)).
    pub fn memory_path(&self) -> Option<(Controller, &'a [u8])> {
        let memory = self.memory.map(|path| (Controller::Memory, path));
        memory.or(self.unified.map(|path| (Controller::Unified, path)))
    }
}

/// Reads the file. Lines that are not understood are passed over; one must be.
pub fn cgroup(bytes: &[u8]) -> Result<Cgroup<'_>, Malformed> {
    let mut found = Cgroup::default();
    let mut understood = false;
    for line in lines(bytes) {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if decimal(number).is_none() || path.first() != Some(&b'/') {
            continue;
        }
        understood = true;
        if number == b"0" && controllers.is_empty() {
            found.unified = Some(path);
        } else if controllers == b"name=systemd" {
            found.systemd = Some(path);
        } else if controllers.split(|byte| *byte == b',').any(|controller| controller == b"memory") {
            found.memory = Some(path);
        }
    }
    if understood { Ok(found) } else { Err(Malformed { field: "cgroup" }) }
}

/// Reads `memory.max` or `memory.limit_in_bytes`, in bytes; `None` for `max`.
pub fn memory_limit(bytes: &[u8]) -> Result<Option<u64>, Malformed> {
    match bytes.trim_ascii() {
        b"max" => Ok(None),
        number => decimal(number).map(Some).ok_or(Malformed { field: "memory.max" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2() {
        let got = cgroup(b"0::/system.slice/ssh.service\n").unwrap();
        assert_eq!(got.path(), Some(&b"/system.slice/ssh.service"[..]));
        assert_eq!(got.memory_path(), Some((Controller::Unified, &b"/system.slice/ssh.service"[..])));
    }

    #[test]
    fn hybrid() {
        let got = cgroup(b"9:cpu,memory:/a:b\n1:name=systemd:/c\n0::/\n").unwrap();
        assert_eq!(got.path(), Some(&b"/c"[..]));
        assert_eq!(got.memory_path(), Some((Controller::Memory, &b"/a:b"[..])));
    }

    #[test]
    fn only_the_root() {
        assert_eq!(cgroup(b"0::/\n").unwrap().path(), Some(&b"/"[..]));
        assert_eq!(cgroup(b"3:pids:/x\n").unwrap().path(), None);
    }

    #[test]
    fn hostile() {
        for bad in [&b""[..], b"\n\n", b"0:/", b"x::/a", b"0::relative", b"::/", b"\xff:\xff:\xff"] {
            assert!(cgroup(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn limits() {
        assert_eq!(memory_limit(b"max\n"), Ok(None));
        assert_eq!(memory_limit(b"4096\n"), Ok(Some(4096)));
        assert!(memory_limit(b"").is_err());
        assert!(memory_limit(b"-1").is_err());
    }
}
