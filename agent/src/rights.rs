//! What needs which right: one table for `doctor`, for the documentation, and for the tests that hold units and
//! manifests to it.

use procagent_sources::procfs::probe::{Standing, is_denied};
use std::io;

/// A capability by its number (linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name without `CAP_`.
    pub name: &'static str,
    bit: u32,
}

/// Sees what other users' processes do.
pub const SYS_PTRACE: Capability = Capability { name: "SYS_PTRACE", bit: 19 };
/// Opens files that their modes keep closed.
pub const DAC_READ_SEARCH: Capability = Capability { name: "DAC_READ_SEARCH", bit: 2 };

impl Capability {
    /// Whether it is among these bits.
    pub fn held(self, capabilities: u64) -> bool {
        capabilities & (1 << self.bit) != 0
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    /// What it is for.
    pub feature: &'static str,
    /// What it takes.
    pub needs: &'static str,
    /// What happens where it is not there.
    pub without: &'static str,
    /// The files of a process that are closed then.
    pub files: &'static [&'static str],
    /// The capabilities that open them, all of them together.
    pub capabilities: &'static [Capability],
    /// Whether this version can do it at all.
    pub available: bool,
}

/// Who wants other users' files needs both: the kernel asks for CAP_SYS_PTRACE (ptrace_may_access), and the modes
/// of the files ask for CAP_DAC_READ_SEARCH.
pub const TABLE: [Right; 5] = [
    Right {
        feature: "other users' io, exe, descriptors, smaps",
        needs: "SYS_PTRACE + DAC_READ_SEARCH",
        without: "those fields are absent, and counted",
        files: &["io", "fd", "exe", "smaps_rollup"],
        capabilities: &[SYS_PTRACE, DAC_READ_SEARCH],
        available: true,
    },
    Right {
        feature: "process events of the kernel's connector, taskstats",
        needs: "NET_ADMIN, host pid and network namespace",
        without: "polling",
        files: &[],
        capabilities: &[],
        available: false,
    },
    Right {
        feature: "source ebpf",
        needs: "BPF + PERFMON (root before Linux 5.8), BTF, host pid namespace",
        without: "procfs",
        files: &[],
        capabilities: &[],
        available: false,
    },
    Right {
        feature: "sockets of other network namespaces without ebpf",
        needs: "SYS_ADMIN",
        without: "/proc/PID/net of one member per namespace",
        files: &[],
        capabilities: &[],
        available: false,
    },
    Right {
        feature: "file events with the acting process",
        needs: "SYS_ADMIN",
        without: "inotify, no acting process",
        files: &[],
        capabilities: &[],
        available: false,
    },
];

/// The table as the README has it.
pub fn markdown() -> String {
    let mut out = String::from("| feature | needs | without it |\n|---|---|---|\n");
    for Right { feature, needs, without, .. } in TABLE.iter().filter(|right| right.available) {
        out.push_str(&format!("| {feature} | {needs} | {without} |\n"));
    }
    out
}

/// Where the agent stands, as far as rights go.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// What it is and may.
    pub standing: Standing,
    /// The option of the mount that hides processes.
    pub hidepid: Option<String>,
}

impl Position {
    /// What would open a file of a process that gave this error; `None` where nothing is known to help.
    pub fn fix(&self, file: &str, error: &io::Error) -> Option<String> {
        if !is_denied(error) {
            return None;
        }
        let held = self.standing.capabilities.unwrap_or(0);
        let right = TABLE.iter().find(|right| right.files.contains(&file));
        let wanted = match (right, &self.hidepid) {
            (Some(right), _) => right.capabilities,
            // Who may trace a process sees it (has_pid_permissions, fs/proc/base.c).
            (None, Some(_)) => &[SYS_PTRACE][..],
            (None, None) => &[],
        };
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|capability| !capability.held(held))
            .map(|capability| capability.name)
            .collect();
        match (missing.is_empty(), &self.hidepid) {
            (false, Some(option)) if right.is_none() => Some(format!(
                "mount /proc without {option}, or give the agent the capability {}",
                missing.join(" + ")
            )),
            (false, _) if missing.len() == 1 => Some(format!("give the agent the capability {}", missing[0])),
            (false, _) => Some(format!("give the agent the capabilities {}", missing.join(" + "))),
            (true, _) if !self.standing.initial_user_namespace => Some(
                "the agent runs in a user namespace of its own, where capabilities do not reach the host's \
                 processes: run it without (rootless containers and userns-remap make one)"
                    .to_owned(),
            ),
            (true, _) => Some(
                "refused although the agent has the rights: a security module (AppArmor, SELinux) or a sandbox \
                 stands in between"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> io::Error {
        io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error())
    }

    fn position(capabilities: &[Capability], hidepid: Option<&str>) -> Position {
        let capabilities = capabilities.iter().fold(0, |all, capability| all | 1 << capability.bit);
        Position {
            standing: Standing {
                capabilities: Some(capabilities),
                sees_host_processes: true,
                initial_user_namespace: true,
            },
            hidepid: hidepid.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let fix = |position: Position, file| position.fix(file, &denied()).unwrap_or_default();
        assert!(fix(position(&[], None), "io").ends_with("SYS_PTRACE + DAC_READ_SEARCH"));
        assert!(fix(position(&[SYS_PTRACE], None), "fd").ends_with("capability DAC_READ_SEARCH"));
        assert!(fix(position(&[DAC_READ_SEARCH], None), "exe").ends_with("capability SYS_PTRACE"));
        let both = [SYS_PTRACE, DAC_READ_SEARCH];
        assert!(fix(position(&both, None), "io").contains("a security module"));
        let hidden = fix(position(&[], Some("hidepid=1")), "stat");
        assert!(hidden.contains("without hidepid=1") && hidden.contains("SYS_PTRACE"), "{hidden}");
        let mut rootless = position(&both, None);
        rootless.standing.initial_user_namespace = false;
        assert!(fix(rootless, "io").contains("user namespace"));
        let other = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        assert_eq!(position(&[], None).fix("io", &other), None);
    }
}
