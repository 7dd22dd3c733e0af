//! What benches need: the release build of the agent, many idle processes, and what a process costs.

use crate::system::{Program, command, read, run, said};
use std::path::PathBuf;
use std::process::Stdio;

/// Builds the agent as it is shipped and says where it is.
pub fn release_binary() -> PathBuf {
    let mut build = command(env!("CARGO"));
    build.args(["build", "--release", "--quiet", "--package", "procagent"]).current_dir(crate::workspace());
    let output = run(&mut build);
    assert!(output.status.success(), "the agent does not build: {}", said(&output));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::workspace().join("target"), PathBuf::from);
    target.join("release/procagent")
}

/// This many `sleep infinity`; all killed when dropped.
pub fn crowd(size: usize) -> Vec<Program> {
    let sleeper =
        || Program::start(command("sleep").arg("infinity").stdout(Stdio::null()).stderr(Stdio::null()));
    (0..size).map(|_| sleeper()).collect()
}

/// CPU time that a process has used, user and system, in microseconds. Grain: a clock tick of 10 ms.
pub fn cpu_microseconds(pid: u32) -> u64 {
    let stat = read(format!("/proc/{pid}/stat"));
    // proc(5): utime and stime are fields 14 and 15; the name in field 2 ends at the last parenthesis.
    let after = &stat[stat.rfind(')').expect("a name in parentheses") + 2..];
    let ticks: u64 =
        after.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
}

/// Resident memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = read(format!("/proc/{pid}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}
