//! The numbers of one process against what the kernel says of it, on this host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::{Agent, procagent, status_field};
use procagent_tests::page::Page;
use procagent_tests::system::{self, run, said, wait_for};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;
use tempfile::TempDir;

fn of(page: &Page, metric: &str, group: &str) -> f64 {
    page.metric(metric).label("group", group).value()
}

/// a3, a5: memory, descriptors and threads of a process at rest.
#[test]
fn a3_a5_memory_and_descriptors_are_those_of_proc() {
    let folder = TempDir::new().unwrap();
    let program = system::start_as(b"resting-a3", folder.path(), "sleep", &["600"]);
    let agent = Agent::start("interval: 500ms");
    let page = agent.next_page(1);
    let pid = program.pid();
    let kib = |field| f64::from(u32::try_from(status_field(pid, field)).unwrap()) * 1024.0;
    // VmRSS is summed from counters that lag behind by some pages on many CPUs; statm is exact.
    let resident = of(&page, "process_memory_usage_bytes", "resting-a3");
    assert!((resident - kib("VmRSS:")).abs() <= 4096.0, "{resident} and {}", kib("VmRSS:"));
    assert_eq!(of(&page, "process_memory_virtual_bytes", "resting-a3"), kib("VmSize:"));
    let open = system::list(format!("/proc/{pid}/fd")).len() as f64;
    assert_eq!(of(&page, "process_unix_file_descriptor_count", "resting-a3"), open);
    let limits = system::read(format!("/proc/{pid}/limits"));
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let limit: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
    let share = of(&page, "process_linux_file_descriptor_utilization_ratio", "resting-a3");
    assert!((share - open / limit).abs() < 1e-6, "{share}");
    assert_eq!(of(&page, "process_thread_count", "resting-a3"), 1.0);
}

/// The four numbers of /proc/PID/io that are exported: bytes read and written, calls that read and wrote.
fn io(pid: u32) -> [f64; 4] {
    let text = system::read(format!("/proc/{pid}/io"));
    ["read_bytes: ", "write_bytes: ", "syscr: ", "syscw: "].map(|field| {
        text.lines().find_map(|line| line.strip_prefix(field)).and_then(|number| number.parse().ok()).unwrap()
    })
}

/// a6: what a process reads and writes while it is watched.
#[test]
fn a6_storage_traffic_is_that_of_proc() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = TempDir::new().unwrap();
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let arguments = [format!("if={}", pipe.display()), format!("of={}", file.display()), "bs=4096".into()];
    let program =
        system::start_as(b"writing-a6", folder.path(), "dd", &arguments.each_ref().map(String::as_str));
    // Opens as soon as dd reads.
    let mut input = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let pid = program.pid();
    input.write_all(&[1; 4096]).unwrap();
    let written = |bytes| {
        wait_for(Duration::from_secs(20), "dd to write", || {
            (std::fs::metadata(&file).map_or(0, |file| file.len()) >= bytes).then_some(())
        });
        // Until it waits for more.
        wait_for(Duration::from_secs(20), "dd to rest", || {
            let before = io(pid);
            std::thread::sleep(Duration::from_millis(100));
            (io(pid) == before).then_some(())
        });
    };
    written(4096);
    let before = io(pid);

    let agent = Agent::start("interval: 500ms");
    agent.next_page(1);
    input.write_all(&vec![2; 4 << 20]).unwrap();
    written((4 << 20) + 4096);
    let after = io(pid);
    let truth = [0, 1, 2, 3].map(|index| after[index] - before[index]);
    let counted = |page: &Page| {
        [
            ("process_disk_io_bytes_total", "read"),
            ("process_disk_io_bytes_total", "write"),
            ("process_disk_operations_total", "read"),
            ("process_disk_operations_total", "write"),
        ]
        .map(|(metric, direction)| {
            page.metric(metric).label("group", "writing-a6").label("disk_io_direction", direction).value()
        })
    };
    // All this took less than a clock tick of CPU, so stat may not have moved, and io is read when it is due:
    // every 30 s.
    let page = agent.page_where(Duration::from_secs(40), "the traffic to be counted", |page| {
        (counted(page)[3] > 0.0).then(|| page.clone())
    });
    assert_eq!(counted(&page), truth);
    assert!(truth[3] >= 1024.0, "4 MiB in pieces of 4 KiB: {truth:?}");
}

/// The page of the host is what /proc/stat and /proc/meminfo say.
#[test]
fn the_host_is_that_of_proc() {
    let agent = Agent::start("interval: 500ms");
    let page = agent.page();
    let meminfo = system::read("/proc/meminfo");
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total: f64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(page.metric("system_memory_limit_bytes").value(), total * 1024.0);
    assert_eq!(page.metric("system_memory_usage_bytes").sum(), total * 1024.0);
    let cpus = system::read("/proc/stat");
    let cpus = cpus.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    assert_eq!(page.metric("system_cpu_logical_count").value(), cpus as f64);
    let by_state = page.metric("system_process_count").sum();
    assert_eq!(page.metric("procagent_process_count").sum(), by_state, "every process is in one group");
}

/// The catalogue that the binary prints, by the name of the family in OpenMetrics: type and labels.
fn catalogue() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let output = run(procagent().args(["metrics", "--format", "json"]));
    assert!(output.status.success(), "{}", said(&output));
    let metrics: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |metric: &Value| {
        let name = text(&metric["prometheus"]);
        let labels = metric["prometheus_labels"].as_array().unwrap().iter().map(text).collect();
        (name.strip_suffix("_total").unwrap_or(&name).to_owned(), (text(&metric["kind"]), labels))
    };
    metrics.iter().map(of).collect()
}

/// Every family and label of a real page is in the catalogue with its type; and every label that the catalogue
/// declares for a family on the page is on one of its series.
#[test]
fn a_real_page_is_what_the_catalogue_says() {
    let agent = Agent::start("interval: 500ms");
    let page = agent.next_page(3);
    let catalogue = catalogue();
    for (family, kind) in page.types() {
        let (declared, _) =
            catalogue.get(family).unwrap_or_else(|| panic!("{family} is not in the catalogue"));
        // Whether a gauge is called so or a sum that may fall: OpenMetrics knows only gauges.
        assert_eq!(kind, declared, "{family}");
    }
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in page.samples() {
        let end = ["_total", "_created"].into_iter().find_map(|end| sample.name.strip_suffix(end));
        let family = end.filter(|family| page.types().contains_key(*family)).unwrap_or(&sample.name);
        assert!(page.types().contains_key(family), "{} is of no family", sample.name);
        seen.entry(family).or_default().extend(sample.labels.keys().map(String::as_str));
    }
    for (family, labels) in seen {
        let declared = catalogue[family].1.iter().map(String::as_str).collect();
        assert_eq!(labels, declared, "{family}");
    }
    // What a host always has is on the page at all.
    assert!(page.types().len() * 4 > catalogue.len() * 3, "{} of {}", page.types().len(), catalogue.len());
}
