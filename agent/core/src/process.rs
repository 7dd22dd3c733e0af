//! A process: its identity, what it is, what it has used.

mod script;

use crate::time::{Ns, Ticks};
use std::fmt;
use std::sync::Arc;

/// A process number as the kernel shows it. Reused by the kernel, so only a key for looking things up;
/// [`ProcessId`] is the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a process within one boot: its number and its start time (fields 1 and 22 of
/// `/proc/PID/stat`). A reused number gives another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The number.
    pub pid: Pid,
    /// When it was forked, in clock ticks since boot.
    pub start: Ticks,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start)
    }
}

/// Which boot of the host: `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u128);

impl BootId {
    /// Reads the kernel's textual form, 32 hexadecimal digits with dashes between.
    pub fn parse(text: &str) -> Option<BootId> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 {
            return None;
        }
        u128::from_str_radix(&digits, 16).ok().map(BootId)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        let (a, b, c, d) =
            ((x >> 96) & 0xffff_ffff, (x >> 80) & 0xffff, (x >> 64) & 0xffff, (x >> 48) & 0xffff);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", x & 0xffff_ffff_ffff)
    }
}

/// What a process is doing. OpenTelemetry's four values of `process.state`, plus `blocked` for uninterruptible
/// sleep, which nobody wants to see counted among the sleepers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// On a CPU or waiting for one (`R`).
    Running,
    /// Waiting, and can be woken by a signal (`S`), or an idle kernel thread (`I`).
    Sleeping,
    /// Uninterruptible sleep (`D`): mostly disk or a dead network filesystem.
    Blocked,
    /// Stopped by a signal or a tracer (`T`, `t`).
    Stopped,
    /// Ended, not yet waited for (`Z`, `X`).
    Defunct,
}

impl State {
    /// All of them, in the order in which outputs list them.
    pub const ALL: [State; 5] =
        [State::Running, State::Sleeping, State::Blocked, State::Stopped, State::Defunct];

    /// From the letter of field 3 of `/proc/PID/stat`. Letters of future kernels count as sleeping, as ps does.
    pub fn from_letter(letter: u8) -> State {
        match letter {
            b'R' => State::Running,
            b'D' => State::Blocked,
            b'T' | b't' => State::Stopped,
            b'Z' | b'X' | b'x' => State::Defunct,
            _ => State::Sleeping,
        }
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Sleeping => "sleeping",
            State::Blocked => "blocked",
            State::Stopped => "stopped",
            State::Defunct => "defunct",
        }
    }

    /// The place in [`State::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a process has read and written through the kernel, `/proc/PID/io` (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes fetched from storage (`read_bytes`).
    pub read_bytes: u64,
    /// Bytes sent to storage, counted when pages are dirtied (`write_bytes`); what was later truncated away is
    /// not subtracted, for a counter must not fall.
    pub write_bytes: u64,
    /// read-like system calls (`syscr`); `None` where the source counts bytes only.
    pub read_operations: Option<u64>,
    /// write-like system calls (`syscw`); `None` where the source counts bytes only.
    pub write_operations: Option<u64>,
}

impl Io {
    fn since(&self, earlier: &Io) -> Io {
        Io {
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            write_bytes: self.write_bytes.saturating_sub(earlier.write_bytes),
            read_operations: difference(self.read_operations, earlier.read_operations),
            write_operations: difference(self.write_operations, earlier.write_operations),
        }
    }

    fn falls_below(&self, earlier: &Io) -> bool {
        self.read_bytes < earlier.read_bytes
            || self.write_bytes < earlier.write_bytes
            || falls(self.read_operations, earlier.read_operations)
            || falls(self.write_operations, earlier.write_operations)
    }
}

/// `now - earlier`, 0 where that would be negative; `None` where either is unknown.
fn difference(now: Option<u64>, earlier: Option<u64>) -> Option<u64> {
    now.zip(earlier).map(|(now, earlier)| now.saturating_sub(earlier))
}

fn falls(now: Option<u64>, earlier: Option<u64>) -> bool {
    now.zip(earlier).is_some_and(|(now, earlier)| now < earlier)
}

/// How often a process gave up a CPU, `/proc/PID/task/TID/status` summed over its threads (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// To wait for something (`voluntary_ctxt_switches`).
    pub voluntary: u64,
    /// For another one's turn (`nonvoluntary_ctxt_switches`).
    pub involuntary: u64,
}

impl Switches {
    /// What happened between `earlier` and `self`.
    pub fn since(&self, earlier: &Switches) -> Switches {
        Switches {
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }

    /// Both together.
    pub fn plus(&self, other: &Switches) -> Switches {
        Switches {
            voluntary: self.voluntary.saturating_add(other.voluntary),
            involuntary: self.involuntary.saturating_add(other.involuntary),
        }
    }

    fn falls_below(&self, earlier: &Switches) -> bool {
        self.voluntary < earlier.voluntary || self.involuntary < earlier.involuntary
    }
}

/// How long the threads of a process could not go on for want of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Of a CPU: ready to run, and not running (field 2 of schedstat, Documentation/scheduler/sched-stats.rst).
    pub cpu: Ns,
    /// Of storage (`delayacct_blkio_ticks`, field 42 of stat); `None` where the kernel does not account for it.
    pub block_io: Option<Ns>,
}

impl Delay {
    /// What was waited between `earlier` and `self`.
    pub fn since(&self, earlier: &Delay) -> Delay {
        let block_io = self.block_io.zip(earlier.block_io).map(|(now, before)| now.since(before));
        Delay { cpu: self.cpu.since(earlier.cpu), block_io }
    }

    /// Both together; what either does not know is unknown.
    pub fn plus(&self, other: &Delay) -> Delay {
        let block_io = self.block_io.zip(other.block_io).map(|(one, other)| one.plus(other));
        Delay { cpu: self.cpu.plus(other.cpu), block_io }
    }

    fn falls_below(&self, earlier: &Delay) -> bool {
        self.cpu < earlier.cpu
            || self.block_io.zip(earlier.block_io).is_some_and(|(now, before)| now < before)
    }
}

/// What a process has used since it began: cumulative integers in the unit's grain. Dead threads are included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, the most exact number that the source has; the total is taken from here.
    pub runtime: Ns,
    /// CPU time in user mode, of tick grain: only the ratio to `system` is used. `None` where the source knows
    /// only the total.
    pub user: Option<Ns>,
    /// CPU time in kernel mode, of tick grain; `None` as for `user`.
    pub system: Option<Ns>,
    /// Page faults served without storage; `None` where the source does not count them.
    pub minor_faults: Option<u64>,
    /// Page faults that waited for storage; `None` where the source does not count them.
    pub major_faults: Option<u64>,
    /// Storage traffic; `None` where it could not be read.
    pub io: Option<Io>,
    /// Context switches; `None` until every thread could be read.
    pub context_switches: Option<Switches>,
    /// Delays; `None` until every thread could be read, and where the kernel does not account for them.
    pub delay: Option<Delay>,
}

impl Usage {
    /// The use of a process that has just been born: all of it known, and 0.
    pub const NEWBORN: Usage = Usage {
        runtime: Ns(0),
        user: Some(Ns(0)),
        system: Some(Ns(0)),
        minor_faults: Some(0),
        major_faults: Some(0),
        io: Some(Io { read_bytes: 0, write_bytes: 0, read_operations: Some(0), write_operations: Some(0) }),
        context_switches: Some(Switches { voluntary: 0, involuntary: 0 }),
        delay: Some(Delay { cpu: Ns(0), block_io: Some(Ns(0)) }),
    };

    /// What was used between `earlier` and `self`. What would be negative is 0; [`Usage::falls_below`] tells.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            runtime: self.runtime.since(earlier.runtime),
            user: self.user.zip(earlier.user).map(|(now, before)| now.since(before)),
            system: self.system.zip(earlier.system).map(|(now, before)| now.since(before)),
            minor_faults: difference(self.minor_faults, earlier.minor_faults),
            major_faults: difference(self.major_faults, earlier.major_faults),
            io: match (&self.io, &earlier.io) {
                (Some(now), Some(before)) => Some(now.since(before)),
                _ => None,
            },
            context_switches: match (&self.context_switches, &earlier.context_switches) {
                (Some(now), Some(before)) => Some(now.since(before)),
                _ => None,
            },
            delay: match (&self.delay, &earlier.delay) {
                (Some(now), Some(before)) => Some(now.since(before)),
                _ => None,
            },
        }
    }

    /// The highest of each number in `self` and `earlier`; what one of them does not know is as in the other.
    pub fn high_water(&self, earlier: &Usage) -> Usage {
        Usage {
            runtime: self.runtime.max(earlier.runtime),
            user: self.user.max(earlier.user),
            system: self.system.max(earlier.system),
            minor_faults: self.minor_faults.max(earlier.minor_faults),
            major_faults: self.major_faults.max(earlier.major_faults),
            io: either(self.io, earlier.io, |now, before| Io {
                read_bytes: now.read_bytes.max(before.read_bytes),
                write_bytes: now.write_bytes.max(before.write_bytes),
                // `None` is less than any number.
                read_operations: now.read_operations.max(before.read_operations),
                write_operations: now.write_operations.max(before.write_operations),
            }),
            context_switches: either(self.context_switches, earlier.context_switches, |now, before| {
                Switches {
                    voluntary: now.voluntary.max(before.voluntary),
                    involuntary: now.involuntary.max(before.involuntary),
                }
            }),
            delay: either(self.delay, earlier.delay, |now, before| Delay {
                cpu: now.cpu.max(before.cpu),
                block_io: either(now.block_io, before.block_io, Ns::max),
            }),
        }
    }

    /// Whether any cumulative number is below what it was: a kernel or a source contradicting itself.
    pub fn falls_below(&self, earlier: &Usage) -> bool {
        self.runtime < earlier.runtime
            || falls(self.minor_faults, earlier.minor_faults)
            || falls(self.major_faults, earlier.major_faults)
            || matches!((&self.io, &earlier.io), (Some(now), Some(before)) if now.falls_below(before))
            || matches!(
                (&self.context_switches, &earlier.context_switches),
                (Some(now), Some(before)) if now.falls_below(before)
            )
            || matches!((&self.delay, &earlier.delay), (Some(now), Some(before)) if now.falls_below(before))
    }

    /// The CPU time, split into user and system in the ratio of their ticks; together exactly `runtime`. `None`
    /// where the source knows only the total.
    pub fn cpu(&self) -> Option<(Ns, Ns)> {
        let (user, system) = self.user.zip(self.system)?;
        let ticks = user.0.saturating_add(system.0);
        if ticks == 0 {
            return Some((self.runtime, Ns(0)));
        }
        let user = u128::from(self.runtime.0) * u128::from(user.0) / u128::from(ticks);
        let user = Ns(u64::try_from(user).unwrap_or(self.runtime.0).min(self.runtime.0));
        Some((user, self.runtime.since(user)))
    }
}

/// What both know, brought together; else what one of them knows.
fn either<T>(one: Option<T>, other: Option<T>, together: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(together(one, other)),
        (one, other) => one.or(other),
    }
}

/// A command line as the kernel keeps it: arguments, each ended by a NUL byte. Cheap to clone; bounded by the
/// source ([`CommandLine::MAX`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandLine(Arc<[u8]>);

impl CommandLine {
    /// Sources keep this many bytes at most.
    pub const MAX: usize = 4096;

    /// From the bytes of `/proc/PID/cmdline`; the rest past [`CommandLine::MAX`] is dropped.
    pub fn new(bytes: &[u8]) -> CommandLine {
        let bytes = &bytes[..bytes.len().min(CommandLine::MAX)];
        CommandLine(bytes.strip_suffix(b"\0").unwrap_or(bytes).into())
    }

    /// The arguments, the program's own name first. Empty for kernel threads and zombies.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        let all = if self.0.is_empty() { None } else { Some(self.0.split(|byte| *byte == 0)) };
        all.into_iter().flatten()
    }

    /// Keeps only the first `bytes`, for records of ended processes.
    pub fn shorten(&mut self, bytes: usize) {
        if self.0.len() > bytes {
            self.0 = self.0[..bytes].into();
        }
    }
}

/// What is known of one process. `None` means that it could not be read; never 0, never -1.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its identity.
    pub id: ProcessId,
    /// The process that forked it, as far as it was seen; stays the same when the kernel gives it another parent.
    pub parent: Option<ProcessId>,
    /// The number of its present parent, 1 or a subreaper once the first one has ended.
    pub parent_pid: Pid,
    /// The name of its program: [`program_name`].
    pub name: Arc<str>,
    /// The kernel's short name, 15 bytes at most, changed by the process at will.
    pub comm: Arc<str>,
    /// Where its program lies; " (deleted)" at the end when it is gone.
    pub exe: Option<Arc<str>>,
    /// Its arguments.
    pub argv: Option<CommandLine>,
    /// Its effective user.
    pub user: Option<u32>,
    /// Its control group, without the mount point.
    pub cgroup: Option<Arc<str>>,
    /// Whether it is a thread of the kernel.
    pub kernel_thread: bool,
}

/// Names are cut here; no program of use is longer (NAME_MAX, limits.h).
pub const NAME_MAX: usize = 255;

/// The length to which the kernel cuts `comm` (TASK_COMM_LEN - 1, linux/sched.h).
const COMM_MAX: usize = 15;

/// The name of a program: a script's base name; else the base name of `argv[0]` where `comm` is its first 15 bytes;
/// else the executable's base name; else `comm`. Invalid UTF-8 is replaced, the length is bounded, and the
/// result is never empty.
pub fn program_name(comm: &[u8], exe: Option<&str>, argv: Option<&CommandLine>) -> String {
    let exe_name = exe.map(|path| base_name(path.strip_suffix(" (deleted)").unwrap_or(path).as_bytes()));
    let script = argv.and_then(|argv| script::script_name(comm, exe_name, argv));
    let first = argv
        .and_then(|argv| argv.args().next())
        .map(base_name)
        .filter(|name| !name.is_empty() && &name[..name.len().min(COMM_MAX)] == comm);
    let name = [script, first, exe_name, Some(comm)].into_iter().flatten().find(|name| !name.is_empty());
    bounded_lossy(name.unwrap_or(b"(unnamed)"), NAME_MAX)
}

/// Bytes from outside as text: invalid UTF-8 replaced, at most `max` bytes, cut between characters.
pub fn bounded_lossy(bytes: &[u8], max: usize) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(max)]).into_owned();
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}

fn base_name(path: &[u8]) -> &[u8] {
    let separates = |byte: &u8| *byte == b'/' || cfg!(windows) && *byte == b'\\';
    path.rsplit(separates).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(comm: &str, exe: Option<&str>, argv: &[&str]) -> String {
        let mut bytes = argv.join("\0").into_bytes();
        bytes.push(0);
        let argv = if argv.is_empty() { None } else { Some(CommandLine::new(&bytes)) };
        program_name(comm.as_bytes(), exe, argv.as_ref())
    }

    #[test]
    fn program_names() {
        for (comm, exe, argv, want) in [
            ("nginx", Some("/usr/sbin/nginx"), &["nginx: master process nginx -g"][..], "nginx"),
            (
                "systemd-journal",
                Some("/usr/lib/systemd/systemd-journald"),
                &["/lib/systemd/systemd-journald"],
                "systemd-journald",
            ),
            ("bash", Some("/usr/bin/bash"), &["-bash"], "bash"),
            (
                "wazuh_apid.py",
                Some("/usr/bin/python3.11"),
                &["python3", "/var/ossec/api/scripts/wazuh_apid.py"],
                "wazuh_apid.py",
            ),
            (
                "wazuh_clusterd.",
                Some("/var/ossec/framework/python/bin/python3.10"),
                &["/usr/bin/python3", "/x/wazuh_clusterd.py"],
                "wazuh_clusterd.py",
            ),
            ("python3", Some("/usr/bin/python3.11"), &["python3", "-u", "app.py", "--port=1"], "app.py"),
            ("python3", Some("/usr/bin/python3.11"), &["python3", "-m", "http.server"], "http.server"),
            ("python3", Some("/usr/bin/python3.11"), &["python3", "-c", "import time"], "python3"),
            ("sh", Some("/usr/bin/dash"), &["sh", "-c", "sleep 1"], "sh"),
            ("MainThread", Some("/usr/bin/node"), &["node", "/srv/app/server.js"], "node"),
            ("redis-server", Some("/opt/x (deleted)"), &["/usr/bin/redis-server *:6379"], "x"),
            ("cat", None, &["cat", "/etc/passwd"], "cat"),
            ("kworker/0:1", None, &[], "kworker/0:1"),
            ("", None, &[], "(unnamed)"),
        ] {
            assert_eq!(name(comm, exe, argv), want, "{comm} {exe:?} {argv:?}");
        }
    }

    #[test]
    fn one_name_is_not_the_start_of_another() {
        assert_eq!(name("wazuh-db", Some("/x/wazuh-db"), &["/x/wazuh-db"]), "wazuh-db");
        assert_eq!(name("wazuh-dbd", Some("/x/wazuh-dbd"), &["/x/wazuh-dbd"]), "wazuh-dbd");
    }

    #[test]
    fn names_are_valid_and_bounded() {
        assert_eq!(program_name(b"a\xffb", None, None), "a\u{fffd}b");
        let long = vec![0xff; 4000];
        let got = program_name(&long[..15], None, Some(&CommandLine::new(&long)));
        assert!(got.len() <= NAME_MAX, "{}", got.len());
    }

    #[test]
    fn command_lines_split_at_nul() {
        let args = |bytes: &[u8]| CommandLine::new(bytes).args().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(args(b"a\0b c\0"), [b"a".to_vec(), b"b c".to_vec()]);
        assert_eq!(args(b"a\0\0"), [b"a".to_vec(), b"".to_vec()]);
        assert!(args(b"").is_empty());
    }

    #[test]
    fn boot_id_round_trip() {
        let text = "0b5a1c2e-9f31-4cf8-8a5d-001122334455";
        assert_eq!(BootId::parse(&format!("{text}\n")).map(|id| id.to_string()).as_deref(), Some(text));
        assert_eq!(BootId::parse("nonsense"), None);
    }

    #[test]
    fn what_was_unknown_gives_no_difference_and_is_not_forgotten() {
        let switches = |voluntary| Some(Switches { voluntary, involuntary: 1 });
        let delay = |block_io| Some(Delay { cpu: Ns(5), block_io });
        let before = Usage { context_switches: None, delay: delay(None), ..Usage::default() };
        let now = Usage { context_switches: switches(7), delay: delay(Some(Ns(3))), ..Usage::default() };
        let delta = now.since(&before);
        assert_eq!((delta.context_switches, delta.delay), (None, Some(Delay { cpu: Ns(0), block_io: None })));
        assert_eq!(before.high_water(&now), now);
        let born = now.since(&Usage::NEWBORN);
        assert_eq!((born.context_switches, born.delay), (switches(7), delay(Some(Ns(3)))));
        let fallen = Usage { context_switches: switches(6), ..now };
        assert!(fallen.falls_below(&now) && !now.falls_below(&fallen));
        assert_eq!(fallen.since(&now).context_switches, Some(Switches::default()));
    }

    #[test]
    fn cpu_modes_add_up_to_the_runtime() {
        let usage = Usage { runtime: Ns(1001), user: Some(Ns(20)), system: Some(Ns(10)), ..Usage::default() };
        assert_eq!(usage.cpu(), Some((Ns(667), Ns(334))));
        let no_ticks = Usage { runtime: Ns(7), ..Usage::NEWBORN };
        assert_eq!(no_ticks.cpu(), Some((Ns(7), Ns(0))));
    }

    #[test]
    fn what_is_not_known_has_no_difference() {
        let total_only = Usage { runtime: Ns(9), ..Usage::default() };
        let since_birth = total_only.since(&Usage::NEWBORN);
        assert_eq!((since_birth.runtime, since_birth.cpu()), (Ns(9), None), "a total is no user time");
        assert_eq!((since_birth.minor_faults, since_birth.io), (None, None));
        assert!(!total_only.falls_below(&Usage::NEWBORN));
    }
}
