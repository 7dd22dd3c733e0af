//! `/proc/PID/io`, proc_pid_io(5): a line a counter.

use super::{Malformed, decimal, lines};
use procagent_core::process::Io;

/// Reads the counters. All four must be there: a kernel has all or, without `CONFIG_TASK_IO_ACCOUNTING`, the file
/// is missing.
pub fn io(bytes: &[u8]) -> Result<Io, Malformed> {
    let mut found = [None; 4];
    for line in lines(bytes) {
        for (slot, field) in found.iter_mut().zip(FIELDS) {
            let value = line.strip_prefix(field.as_bytes()).and_then(|rest| rest.strip_prefix(b": "));
            if let Some(value) = value {
                *slot = decimal(value);
            }
        }
    }
    let at = |index: usize| found[index].ok_or(Malformed { field: FIELDS[index] });
    Ok(Io {
        read_bytes: at(0)?,
        write_bytes: at(1)?,
        read_operations: Some(at(2)?),
        write_operations: Some(at(3)?),
    })
}

const FIELDS: [&str; 4] = ["read_bytes", "write_bytes", "syscr", "syscw"];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "rchar: 3\nwchar: 4\nsyscr: 5\nsyscw: 6\nread_bytes: 7\nwrite_bytes: 8\n\
        cancelled_write_bytes: 9\n";

    #[test]
    fn counters() {
        let expected =
            Io { read_bytes: 7, write_bytes: 8, read_operations: Some(5), write_operations: Some(6) };
        assert_eq!(io(TEXT.as_bytes()), Ok(expected));
    }

    #[test]
    fn each_counter_is_needed() {
        for field in FIELDS {
            let without = TEXT.replace(&format!("\n{field}: "), &format!("\nx{field}: "));
            assert_eq!(io(without.as_bytes()), Err(Malformed { field }));
            let negative = TEXT.replace(&format!("\n{field}: "), &format!("\n{field}: -"));
            assert_eq!(io(negative.as_bytes()), Err(Malformed { field }));
        }
        assert!(io(b"").is_err());
    }
}
