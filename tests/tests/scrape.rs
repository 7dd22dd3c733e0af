//! A real Prometheus scrapes the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_tests::agent::{Agent, OPENMETRICS};
use procagent_tests::prometheus::Prometheus;
use procagent_tests::system::{self, alone, command, run, said, wait_for};
use procagent_tests::{crowd, dashboard, http, skip};
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn prometheus_scrapes_the_agent_and_every_query_of_the_dashboards_returns_data() {
    let agent = Agent::start("interval: 1s");
    let Some(prometheus) = Prometheus::scraping(agent.port) else {
        return skip(
            "prometheus_scrapes_the_agent_and_every_query_of_the_dashboards_returns_data",
            "prometheus is not installed",
        );
    };
    prometheus.wait_query("up == 1", Duration::from_secs(20));
    // Two scrapes make a rate.
    prometheus.wait_query("rate(process_cpu_time_seconds_total[10s])", Duration::from_secs(20));
    for (file, dashboard) in dashboard::all() {
        for query in dashboard::queries(&dashboard) {
            let expression = dashboard::with_variables(&query.expression);
            let answer = prometheus.query(&expression);
            let answer =
                answer.unwrap_or_else(|error| panic!("{file}, {}: {expression}: {error}", query.title));
            assert!(!answer.is_empty(), "{file}, {}: no data: {expression}", query.title);
        }
    }
    // No label of ours collides with one of the target.
    let exported = prometheus.query("{__name__=~\".+\",exported_instance!=\"\"}").unwrap();
    assert!(exported.is_empty(), "{exported:?}");
    let exported = prometheus.query("{__name__=~\".+\",exported_job!=\"\"}").unwrap();
    assert!(exported.is_empty(), "{exported:?}");
}

/// a2: what the agent counts for a busy loop is what the kernel counts for it.
#[test]
fn a2_cpu_time_between_two_samples_is_that_of_the_process() {
    const TEST: &str = "a2_cpu_time_between_two_samples_is_that_of_the_process";
    let _alone = alone();
    let directory = TempDir::new().unwrap();
    let busy = system::start_as(b"busy-loop-a2", directory.path(), "sh", &["-c", "while :; do :; done"]);
    let agent = Agent::start("interval: 1s");
    let Some(prometheus) = Prometheus::scraping(agent.port) else {
        return skip(TEST, "prometheus is not installed");
    };
    // What the kernel says, and when.
    let mut truth: Vec<(f64, u64)> = Vec::new();
    let samples = wait_for(Duration::from_secs(90), "samples 30 s apart", || {
        truth.push((system::wall(), crowd::cpu_microseconds(busy.pid())));
        if !truth.len().is_multiple_of(50) {
            return None;
        }
        let scans = prometheus.query("procagent_scan_time_seconds[90s]").unwrap();
        let scans = scans.first()?.samples.clone();
        let (first, last) = (scans.get(1)?, scans.last()?);
        (last.1 - first.1 >= 30.0).then_some((*first, *last))
    });
    truth.push((system::wall(), crowd::cpu_microseconds(busy.pid())));

    let ((first_scrape, first_scan), (last_scrape, last_scan)) = samples;
    let at = |scrape: f64| {
        let answer = prometheus
            .query(&format!("sum(process_cpu_time_seconds_total{{group=\"busy-loop-a2\"}} @ {scrape:.3})"))
            .unwrap();
        answer.first().expect("the group has a series").samples[0].1
    };
    let counted = at(last_scrape) - at(first_scrape);
    let used = interpolate(&truth, last_scan) - interpolate(&truth, first_scan);
    assert!(used > 3.0, "the loop was busy: {used}");
    assert!((counted / used - 1.0).abs() < 0.05, "{counted} s counted, {used} s used");
}

/// Set in the environment of the child that is busy.
const BUSY: &str = "TEST_OF_TWO_BUSY_THREADS";

/// a2: two busy threads rate above one CPU, and of the first sample alone there is no rate, rather than one of 0.
#[test]
fn a2_two_busy_threads_rate_above_one_cpu_and_one_sample_has_no_rate() {
    const TEST: &str = "a2_two_busy_threads_rate_above_one_cpu_and_one_sample_has_no_rate";
    if std::env::var_os(BUSY).is_some() {
        return be_busy();
    }
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return skip(TEST, "one CPU is never busy for two seconds a second");
    }
    let _alone = alone();
    let agent = Agent::start("interval: 1s");
    let Some(prometheus) = Prometheus::scraping(agent.port) else {
        return skip(TEST, "prometheus is not installed");
    };
    // This program once more, under a name of its own.
    let directory = TempDir::new().unwrap();
    let name = directory.path().join("two-threads-a2");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &name).unwrap();
    let mut line = command(&name);
    line.args(["--exact", TEST]).env(BUSY, "1").stdout(std::process::Stdio::null());
    let busy = system::Program::start(&mut line);

    let series = "process_cpu_time_seconds_total{group=\"two-threads-a2\"}";
    // What the kernel gave it: on a machine that others keep busy that is never more than one CPU.
    let (mut truth, mut most) = (Vec::new(), 0.0_f64);
    let fast = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(200));
        truth.push((system::wall(), crowd::cpu_microseconds(busy.pid()) as f64 / 1e6));
        if let [.., (t0, v0), _, _, _, _, _, _, _, _, _, _, (t1, v1)] = truth[..] {
            most = most.max((v1 - v0) / (t1 - t0));
        }
        !prometheus.query(&format!("sum(rate({series}[5s])) > 1.5")).unwrap().is_empty()
    });
    if !fast {
        assert!(most < 1.7, "it had {most} CPUs, and the rate was never above 1.5");
        skip(TEST, "in two minutes this machine never had 1.5 CPUs for it");
    }
    // As of the first sample: the same expression, over a range that holds it and no other.
    let samples = prometheus.query(&format!("{series}[10m]")).unwrap();
    assert_eq!(samples.len(), 2, "user and system: {samples:?}");
    let first = samples[0].samples[0].0;
    let at_first =
        |what: &str| prometheus.query(&format!("sum({what}({series}[10s] @ {first:.3}))")).unwrap();
    assert_eq!(at_first("count_over_time")[0].samples[0].1, 2.0, "one sample of each");
    let rate = at_first("rate");
    assert!(rate.is_empty(), "{rate:?}");
}

/// Two threads that compute until whoever started them is gone.
fn be_busy() {
    let parent = rustix::process::getppid();
    let spin = || while rustix::process::getppid() == parent {};
    std::thread::scope(|scope| {
        scope.spawn(spin);
        spin();
    });
}

/// Seconds at a time between two samples of microseconds.
fn interpolate(samples: &[(f64, u64)], at: f64) -> f64 {
    let after = samples.iter().position(|(time, _)| *time >= at).expect("sampled until then");
    let ((t0, v0), (t1, v1)) = (samples[after - 1], samples[after]);
    (v0 as f64 + (v1 - v0) as f64 * (at - t0) / (t1 - t0)) / 1e6
}

/// Names that programs can give themselves; no slash and no NUL, which no name can have.
const HOSTILE: [&[u8]; 8] = [
    b"quo\"te",
    b"new\nline 1",
    b"br{a}ces=,",
    b"back\\slash\\",
    b"inval\xff\xfeid",
    "emoji\u{1f980}\u{200d}".as_bytes(),
    b"# EOF",
    b" total} 1",
];

/// The page stays a page whatever programs call themselves: Prometheus's own checker and the strict OpenMetrics
/// parser take it, and each name is there.
#[test]
fn failure_hostile_name() {
    let directory = TempDir::new().unwrap();
    let _running = HOSTILE.map(|name| system::start_as(name, directory.path(), "sleep", &["600"]));
    let agent = Agent::start("interval: 1s");
    let page = agent.next_page(1);
    let groups = page.metric("process_thread_count").values_of("group");
    for name in HOSTILE {
        let name = String::from_utf8_lossy(name);
        assert!(groups.contains(&&*name), "{name:?} is not among {groups:?}");
    }

    let file = directory.path().join("page");
    system::write(&file, http::get(agent.port, "/metrics", &["Accept: text/plain; version=0.0.4"]).body);
    if system::find("promtool").is_some() {
        let output =
            run(command("sh").arg("-c").arg("exec promtool check metrics < \"$1\"").arg("sh").arg(&file));
        // 3 is a matter of style. OpenTelemetry's names of counts end so, and we keep them verbatim.
        let text = String::from_utf8_lossy(&output.stderr);
        let styled = |line: &str| line.ends_with("should not have \"_count\" suffix");
        assert!(matches!(output.status.code(), Some(0 | 3)) && text.lines().all(styled), "{}", said(&output));
    } else {
        skip("failure_hostile_name", "promtool is not installed");
    }
    system::write(&file, http::get(agent.port, "/metrics", &[OPENMETRICS]).body);
    let python = std::env::var_os("PROCAGENT_PYTHON").unwrap_or_else(|| "python3".into());
    let has_parser = run(command(&python).args(["-c", "import prometheus_client"])).status.success();
    if !has_parser {
        return skip(
            "failure_hostile_name",
            "the strict OpenMetrics parser (PyPI prometheus-client) is not installed",
        );
    }
    let output = run(command(&python).args(["-c", PARSE]).arg(&file));
    assert!(output.status.success(), "{}", said(&output));
}

const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
text = open(sys.argv[1], encoding='utf-8', newline='').read()
count = sum(len(family.samples) for family in parse(text))
assert count > 100, count
";
