//! The host's own numbers: `/proc/stat`, `/proc/meminfo`, the boot.

use super::files::{ProcDir, ReadError};
use super::parse;
use procagent_core::plugin::Needs;
use procagent_core::process::BootId;
use procagent_core::snapshot::{Field, FieldErrors, HostReading};
use std::ffi::CStr;

/// Reads what is needed of it; memory limits need the host's memory too.
pub(super) fn read(
    proc: &ProcDir,
    needs: Needs,
    ticks_per_second: u64,
    buffer: &mut Vec<u8>,
    host: &mut HostReading,
    errors: &mut FieldErrors,
) {
    if needs.contain(Needs::HOST) {
        match file(proc, c"stat", buffer, |bytes| parse::host_stat(bytes, ticks_per_second)) {
            Ok(stat) => {
                host.cpu = Some(stat.cpu);
                host.cpus = Some(stat.cpus).filter(|cpus| *cpus > 0);
                host.forks = stat.forks;
            }
            Err(error) => errors.count(Field::HostStat, error.reason()),
        }
    }
    if needs.contain(Needs::HOST) || needs.contain(Needs::MEMORY) {
        match file(proc, c"meminfo", buffer, parse::meminfo) {
            Ok(memory) => host.memory = Some(memory),
            Err(error) => errors.count(Field::Meminfo, error.reason()),
        }
    }
}

/// Whether this is a /proc at all.
pub(super) fn check(proc: &ProcDir, ticks_per_second: u64, buffer: &mut Vec<u8>) -> Result<(), ReadError> {
    file(proc, c"stat", buffer, |bytes| parse::host_stat(bytes, ticks_per_second)).map(|_| ())
}

/// Which boot this is; all zeros where a captured tree does not say.
pub(super) fn boot_id(proc: &ProcDir, buffer: &mut Vec<u8>) -> BootId {
    let read = proc.read_host_file(c"sys/kernel/random/boot_id", buffer);
    let text = read.ok().and_then(|()| std::str::from_utf8(buffer).ok());
    text.and_then(BootId::parse).unwrap_or_default()
}

fn file<T>(
    proc: &ProcDir,
    path: &CStr,
    buffer: &mut Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Result<T, parse::Malformed>,
) -> Result<T, ReadError> {
    proc.read_host_file(path, buffer)?;
    Ok(parse(buffer)?)
}
