//! `/proc/meminfo`, proc_meminfo(5). The parser of `procfs-core` is the oracle of the tests only: it overflows and
//! cuts characters apart on hostile input.

use super::{Malformed, decimal, lines, words};
use procagent_core::snapshot::Memory;

/// Reads the file. What kernels before 3.14 and captures leave out is absent; the total must be there.
pub fn meminfo(bytes: &[u8]) -> Result<Memory, Malformed> {
    let mut found = [None; FIELDS.len()];
    for line in lines(bytes) {
        for (slot, field) in found.iter_mut().zip(FIELDS) {
            if let Some(rest) = line.strip_prefix(field.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) {
                // The unit is always kB, and a kB is 1024 bytes.
                let kilobytes = words(rest).next().and_then(decimal);
                *slot = kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024));
            }
        }
    }
    let needed = |index: usize| found[index].ok_or(Malformed { field: FIELDS[index] });
    // Reclaimable slab is cache too; shared memory is counted as cached and cannot be dropped.
    let cached = needed(3)?.saturating_add(found[4].unwrap_or(0)).saturating_sub(found[5].unwrap_or(0));
    Ok(Memory {
        total: needed(0)?,
        free: needed(1)?,
        buffers: Some(needed(2)?),
        cached: Some(cached),
        available: found[6],
    })
}

const FIELDS: [&str; 7] =
    ["MemTotal", "MemFree", "Buffers", "Cached", "SReclaimable", "Shmem", "MemAvailable"];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "MemTotal: 1000 kB\nMemFree:      100 kB\nMemAvailable: 700 kB\nBuffers: 10 kB\n\
        Cached: 500 kB\nSwapCached: 77 kB\nShmem: 50 kB\nSReclaimable: 30 kB\n";

    #[test]
    fn memory_in_bytes() {
        let expected = Memory {
            total: 1000 * 1024,
            free: 100 * 1024,
            buffers: Some(10 * 1024),
            cached: Some(480 * 1024),
            available: Some(700 * 1024),
        };
        assert_eq!(meminfo(TEXT.as_bytes()), Ok(expected));
        let old = TEXT.replace("MemAvailable", "x");
        assert_eq!(meminfo(old.as_bytes()), Ok(Memory { available: None, ..expected }));
    }

    #[test]
    fn hostile() {
        for bad in ["", "MemTotal:", "\u{e9} 3 kB", "MemTotal: x kB", ": : :"] {
            assert!(meminfo(bad.as_bytes()).is_err(), "{bad}");
        }
        let huge = TEXT.replace("1000", "18446744073709551615");
        assert_eq!(meminfo(huge.as_bytes()), Err(Malformed { field: "MemTotal" }));
    }
}
