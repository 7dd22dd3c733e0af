//! Our parsers against those of the `procfs` crate, on every file of every host in `hosts/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_sources::procfs::parse;
use procagent_tests::system;
use procfs::process::{Io, LimitValue, Limits, Schedstat, SmapsRollup, Stat, StatM, Status};
use procfs::{
    FromBufRead as _, FromRead as _, FromReadSI as _, KernelStats, Meminfo, ProcResult, ProcessCGroups,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

/// Ticks a second of all hosts in `hosts/`.
const TICKS_PER_SECOND: u64 = 100;

/// How many files of each name were compared.
type Compared = BTreeMap<String, u32>;

/// Both read the same, or both refuse.
fn same<T: PartialEq + Debug>(path: &Path, ours: Result<T, parse::Malformed>, theirs: ProcResult<T>) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{}", path.display()),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{}: ours {ours:?}, theirs {theirs:?}", path.display()),
    }
}

fn stat(path: &Path, bytes: &[u8]) {
    // The crate keeps a name as text, ours as bytes.
    let ours = parse::stat(bytes).map(|stat| {
        let comm = String::from_utf8_lossy(stat.comm.as_bytes()).into_owned();
        let identity =
            (stat.pid.to_string(), comm, char::from(stat.state), stat.parent.to_string(), stat.start);
        let usage = [stat.user_ticks, stat.system_ticks, stat.minor_faults, stat.major_faults];
        let rest = [stat.virtual_memory, stat.start_code, stat.arg_start, stat.block_io_ticks];
        (identity, usage, rest, stat.flags, i64::from(stat.nice), i64::from(stat.threads))
    });
    let theirs = Stat::from_read(bytes).map(|stat| {
        let identity = (stat.pid.to_string(), stat.comm, stat.state, stat.ppid.to_string(), stat.starttime);
        let usage = [stat.utime, stat.stime, stat.minflt, stat.majflt];
        let rest = [stat.vsize, stat.startcode, stat.arg_start.unwrap(), stat.delayacct_blkio_ticks.unwrap()];
        (identity, usage, rest, stat.flags, stat.nice, stat.num_threads)
    });
    same(path, ours, theirs);
}

fn statm(path: &Path, bytes: &[u8]) {
    let ours = parse::statm(bytes).map(|statm| (statm.virtual_pages, statm.resident_pages));
    same(path, ours, StatM::from_read(bytes).map(|statm| (statm.size, statm.resident)));
}

fn status(path: &Path, bytes: &[u8]) {
    // The crate takes text only; names are bytes.
    let text = String::from_utf8_lossy(bytes);
    let theirs = || Status::from_read(text.as_bytes());
    let ours = parse::status(bytes).map(|users| (users.real, users.effective));
    same(path, ours, theirs().map(|status| (status.ruid, status.euid)));
    let ours = parse::switches(bytes).map(|switches| (Some(switches.voluntary), Some(switches.involuntary)));
    same(path, ours, theirs().map(|s| (s.voluntary_ctxt_switches, s.nonvoluntary_ctxt_switches)));
}

fn io(path: &Path, bytes: &[u8]) {
    let ours = parse::io(bytes)
        .map(|io| ([io.read_bytes, io.write_bytes], [io.read_operations, io.write_operations]));
    same(
        path,
        ours,
        Io::from_read(bytes).map(|io| ([io.read_bytes, io.write_bytes], [Some(io.syscr), Some(io.syscw)])),
    );
}

fn limits(path: &Path, bytes: &[u8]) {
    let theirs = Limits::from_read(bytes).map(|limits| match limits.max_open_files.soft_limit {
        LimitValue::Value(limit) => limit,
        LimitValue::Unlimited => u64::MAX,
    });
    same(path, parse::limits(bytes), theirs);
}

fn cgroup(path: &Path, bytes: &[u8]) {
    let text = |path: Option<&[u8]>| path.map(|path| String::from_utf8_lossy(path).into_owned());
    let ours = parse::cgroup(bytes).map(|group| [group.memory, group.systemd, group.unified].map(text));
    let theirs = ProcessCGroups::from_read(bytes).map(|groups| {
        let of = |name: &str| {
            let controls = |controllers: &[String]| controllers.iter().any(|have| have == name);
            groups.0.iter().find(|group| controls(&group.controllers)).map(|group| group.pathname.clone())
        };
        let unified = groups.0.iter().find(|group| group.hierarchy == 0).map(|group| group.pathname.clone());
        [of("memory"), of("name=systemd"), unified]
    });
    same(path, ours, theirs);
}

fn schedstat(path: &Path, bytes: &[u8]) {
    let ours = parse::schedstat(bytes).map(|stat| [stat.runtime, stat.run_delay, stat.timeslices]);
    same(
        path,
        ours,
        Schedstat::from_read(bytes).map(|stat| [stat.sum_exec_runtime, stat.run_delay, stat.pcount]),
    );
}

fn smaps_rollup(path: &Path, bytes: &[u8]) {
    let ours = parse::smaps_rollup(bytes).map(|sums| [sums.pss, sums.uss, sums.swap]);
    let theirs = SmapsRollup::from_buf_read(bytes).map(|rollup| {
        let sums = &rollup.memory_map_rollup.0[0].extension.map;
        [sums["Pss"], sums["Private_Clean"] + sums["Private_Dirty"], sums["Swap"]]
    });
    same(path, ours, theirs);
}

fn host_stat(path: &Path, bytes: &[u8]) {
    let nanoseconds = |ticks: u64| ticks * 1_000_000_000 / TICKS_PER_SECOND;
    let ours = parse::host_stat(bytes, TICKS_PER_SECOND).map(|stat| {
        let cpu = stat.cpu;
        let times =
            [cpu.user, cpu.nice, cpu.system, cpu.idle, cpu.iowait, cpu.interrupt, cpu.softirq, cpu.steal];
        (times.map(|time| time.0), stat.cpus as usize, stat.forks)
    });
    let theirs = KernelStats::from_read(bytes, procfs::current_system_info()).map(|stat| {
        let cpu = stat.total;
        let later = [cpu.iowait, cpu.irq, cpu.softirq, cpu.steal].map(Option::unwrap);
        let times = [cpu.user, cpu.nice, cpu.system, cpu.idle, later[0], later[1], later[2], later[3]];
        (times.map(nanoseconds), stat.cpu_time.len(), Some(stat.processes))
    });
    same(path, ours, theirs);
}

fn meminfo(path: &Path, bytes: &[u8]) {
    let ours = parse::meminfo(bytes)
        .map(|memory| (memory.total, memory.free, memory.buffers, memory.cached, memory.available));
    let theirs = Meminfo::from_read(bytes).map(|memory| {
        // As free(1) counts: page cache and reclaimable slab, without shared memory.
        let cached = memory.cached + memory.s_reclaimable.unwrap() - memory.shmem.unwrap();
        (memory.mem_total, memory.mem_free, Some(memory.buffers), Some(cached), memory.mem_available)
    });
    same(path, ours, theirs);
}

/// Compares every file below `folder` that has a parser.
fn compare(folder: &Path, compared: &mut Compared) {
    for name in system::list(folder) {
        let path = folder.join(&name);
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            compare(&path, compared);
            continue;
        }
        let of_host = folder.ends_with("proc");
        let parser = match name.as_str() {
            "stat" if of_host => host_stat,
            "meminfo" if of_host => meminfo,
            "stat" => stat,
            "statm" => statm,
            "status" => status,
            "io" => io,
            "limits" => limits,
            "cgroup" => cgroup,
            "schedstat" => schedstat,
            "smaps_rollup" => smaps_rollup,
            _ => continue,
        };
        let bytes = system::read_bytes(&path);
        // What the kernel writes of the defunct, and what is read of a process that has just gone.
        if !bytes.is_empty() {
            parser(&path, &bytes);
            *compared.entry(if of_host { format!("host {name}") } else { name }).or_default() += 1;
        }
    }
}

#[test]
fn parsers_agree_with_the_procfs_crate_on_every_stored_host() {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts");
    for name in system::list(&hosts).into_iter().filter(|name| hosts.join(name).is_dir()) {
        let mut compared = Compared::new();
        compare(&hosts.join(&name), &mut compared);
        for file in ["stat", "statm", "status", "io", "limits", "cgroup", "host stat", "host meminfo"] {
            assert!(compared.contains_key(file), "{name} has no {file}: {compared:?}");
        }
    }
}
