//! `/proc/PID/smaps_rollup`, proc_pid_smaps(5): the sums over all mappings, a line a field.

use super::{Malformed, decimal, lines, words};

/// The fields that are used, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SmapsRollup {
    /// `Pss`: each page divided by the number of processes that map it.
    pub pss: u64,
    /// `Private_Clean` and `Private_Dirty`: what no other process maps.
    pub uss: u64,
    /// `Swap`.
    pub swap: u64,
}

/// Reads the sums. All four fields must be there; kernels built without swap write it as 0.
pub fn smaps_rollup(bytes: &[u8]) -> Result<SmapsRollup, Malformed> {
    let mut found = [None; FIELDS.len()];
    for line in lines(bytes) {
        for (slot, field) in found.iter_mut().zip(FIELDS) {
            if let Some(rest) = line.strip_prefix(field.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) {
                let mut words = words(rest);
                let kilobytes = words.next().and_then(decimal);
                // The unit is always kB, and a kB is 1024 bytes; without it the number may be half of one.
                let whole = words.next() == Some(b"kB");
                *slot = kilobytes.filter(|_| whole).and_then(|kilobytes| kilobytes.checked_mul(1024));
            }
        }
    }
    let at = |index: usize| found[index].ok_or(Malformed { field: FIELDS[index] });
    Ok(SmapsRollup { pss: at(0)?, uss: at(1)?.saturating_add(at(2)?), swap: at(3)? })
}

const FIELDS: [&str; 4] = ["Pss", "Private_Clean", "Private_Dirty", "Swap"];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "55e426b5c000-7ffd0a57f000 ---p 00000000 00:00 0                          [rollup]\n\
        Rss:                1800 kB\nPss:                 325 kB\nPss_Dirty:           112 kB\n\
        Shared_Clean:       1640 kB\nPrivate_Clean:        48 kB\nPrivate_Dirty:       112 kB\n\
        Swap:                  7 kB\nSwapPss:               3 kB\nLocked:                0 kB\n";

    #[test]
    fn sums_in_bytes() {
        let expected = SmapsRollup { pss: 325 * 1024, uss: 160 * 1024, swap: 7 * 1024 };
        assert_eq!(smaps_rollup(TEXT.as_bytes()), Ok(expected));
    }

    #[test]
    fn each_field_is_needed_and_whole() {
        for field in FIELDS {
            let without = TEXT.replace(&format!("\n{field}:"), &format!("\nX{field}:"));
            assert_eq!(smaps_rollup(without.as_bytes()), Err(Malformed { field }));
        }
        let cut = TEXT.split_once("7 kB").unwrap().0;
        assert_eq!(smaps_rollup(format!("{cut}7").as_bytes()), Err(Malformed { field: "Swap" }));
        let huge = TEXT.replace(" 325 ", " 18446744073709551615 ");
        assert_eq!(smaps_rollup(huge.as_bytes()), Err(Malformed { field: "Pss" }));
        assert!(smaps_rollup(b"").is_err());
    }
}
