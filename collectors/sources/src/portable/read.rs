//! What `sysinfo` says of one process, in the words of the core. The library writes 0 for what it could not read;
//! here that is absent again.

use procagent_core::plugin::Needs;
use procagent_core::process::{CommandLine, Io, Pid, ProcessId, State, Usage, bounded_lossy};
use procagent_core::snapshot::{Details, Field, FieldErrors, Reading, Reason, Smaps, Users};
use procagent_core::time::Ns;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use sysinfo::{Process, ProcessStatus, ThreadKind};

/// Longer paths are cut (PATH_MAX, limits.h).
const PATH_MAX: usize = 4096;

/// The numbers of a process. `host_memory` limits its memory where no control group does.
pub(super) fn reading(
    id: ProcessId,
    process: &Process,
    needs: Needs,
    host_memory: Option<u64>,
    errors: &mut FieldErrors,
) -> Reading {
    let state = state(process.status());
    let kernel_thread = process.thread_kind() == Some(ThreadKind::Kernel);
    // Kernel threads have none of this, and what has ended has let go of it.
    let expected = !kernel_thread && state != State::Defunct;
    let when = |need| expected && needs.contain(need);
    let descriptors = when(Needs::DESCRIPTORS).then(|| open_files(process, errors)).flatten();
    let memory = |bytes| Some(bytes).filter(|bytes| *bytes > 0 && when(Needs::MEMORY));
    let resident_memory = memory(process.memory());
    Reading {
        id,
        parent: process.parent().map_or(Pid(0), |parent| Pid(parent.as_u32())),
        state,
        kernel_thread,
        usage: Usage {
            runtime: Ns::from_millis(process.accumulated_cpu_time()),
            io: when(Needs::IO).then(|| io(process, descriptors, errors)).flatten(),
            ..Usage::default()
        },
        threads: None,
        nice: None,
        virtual_memory: memory(process.virtual_memory()),
        resident_memory,
        smaps: Smaps::Unread,
        threads_read: None,
        memory_limit: resident_memory.and_then(|_| memory_limit(process).or(host_memory)),
        descriptors,
        // Elsewhere the library knows the agent's own limit only.
        descriptor_limit: (when(Needs::DESCRIPTORS) && cfg!(target_os = "linux"))
            .then(|| process.open_files_limit().map(|limit| limit as u64))
            .flatten(),
        users: users(process).filter(|_| needs.contain(Needs::USERS)),
    }
}

fn state(status: ProcessStatus) -> State {
    match status {
        ProcessStatus::Run => State::Running,
        ProcessStatus::UninterruptibleDiskSleep => State::Blocked,
        ProcessStatus::Stop | ProcessStatus::Tracing => State::Stopped,
        ProcessStatus::Zombie | ProcessStatus::Dead => State::Defunct,
        _ => State::Sleeping,
    }
}

/// Bytes since the process began; on Windows all that it read and wrote, not storage alone.
fn io(process: &Process, descriptors: Option<u32>, errors: &mut FieldErrors) -> Option<Io> {
    let total = process.disk_usage();
    let io = Io {
        read_bytes: total.total_read_bytes,
        write_bytes: total.total_written_bytes,
        read_operations: None,
        write_operations: None,
    };
    // Two zeros may mean "refused". Counting descriptors takes the same rights on each of these systems.
    let refused = io == Io::default() && descriptors.is_none() && process.open_files().is_none();
    if refused {
        errors.count(Field::Io, Reason::Denied);
    }
    (!refused).then_some(io)
}

fn open_files(process: &Process, errors: &mut FieldErrors) -> Option<u32> {
    let count = process.open_files().and_then(|count| u32::try_from(count).ok());
    if count.is_none() {
        errors.count(Field::Descriptors, Reason::Denied);
    }
    count
}

/// What its control group allows. Only Linux has such.
fn memory_limit(process: &Process) -> Option<u64> {
    process.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0)
}

#[cfg(unix)]
fn users(process: &Process) -> Option<Users> {
    let (real, effective) = process.user_id().zip(process.effective_user_id())?;
    Some(Users { real: **real, effective: **effective })
}

#[cfg(not(unix))]
fn users(_: &Process) -> Option<Users> {
    None
}

/// Changes when the process runs another program or is given other arguments.
pub(super) fn program(process: &Process) -> u64 {
    let mut hasher = DefaultHasher::new();
    (process.exe(), process.cmd()).hash(&mut hasher);
    hasher.finish()
}

/// The short name: up to 15 bytes on Linux, the name of the executable elsewhere.
pub(super) fn comm(process: &Process) -> Box<[u8]> {
    process.name().as_encoded_bytes().into()
}

pub(super) fn details(id: ProcessId, process: &Process) -> Details {
    let exe = process.exe().map(|path| bounded_lossy(path.as_os_str().as_encoded_bytes(), PATH_MAX).into());
    Details { id, comm: comm(process), exe, argv: arguments(process), cgroup: None }
}

/// `None` for an empty command line, which is also what an unreadable one looks like.
fn arguments(process: &Process) -> Option<CommandLine> {
    let mut bytes = Vec::new();
    for argument in process.cmd() {
        bytes.extend_from_slice(argument.as_encoded_bytes());
        bytes.push(0);
        if bytes.len() > CommandLine::MAX {
            break;
        }
    }
    (!bytes.is_empty()).then(|| CommandLine::new(&bytes))
}
