//! Cost of the page: encoding per series at 5,000 and 50,000 series with three to five labels, gzip apart, and what a
//! second scraper of the same page costs.
//! `cargo bench -p procagent-tests --bench encode`; exits with 1 when a budget is broken.
#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    reason = "figures for people; what fails ends the bench"
)]

use flate2::Compression;
use flate2::write::GzEncoder;
use procagent::outputs::http::{self, Health};
use procagent::outputs::openmetrics::{Format, page};
use procagent_core::group::GroupLabels;
use procagent_core::metric::{Counter, Desc, Gauge, Unit};
use procagent_core::registry::{Families, Family, Point};
use procagent_core::time::{Ns, Timestamp};
use procagent_tests::http::get;
use procagent_tests::system::time;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::watch;

/// Per series, without gzip.
const ENCODE_BUDGET: Duration = Duration::from_nanos(250);
/// A second scraper's share of the first one's cost.
const SECOND_BUDGET: f64 = 0.05;
const ROUNDS: usize = 15;

static CPU: Counter<1> =
    Counter::per_group("process.cpu.time", Unit::Seconds, &["cpu.mode"], "CPU time used");
static IO: Counter<1> =
    Counter::per_group("process.disk.io", Unit::Bytes, &["disk.io.direction"], "Bytes read and written");
static FAULTS: Counter<2> = Counter::per_group(
    "process.paging.faults",
    Unit::Count("fault"),
    &["system.paging.fault.type", "source"],
    "Page faults",
);
static MEMORY: Gauge<0> = Gauge::per_group("process.memory.usage", Unit::Bytes, &[], "Resident memory");
static UTILIZATION: Gauge<0> =
    Gauge::per_group("process.memory.utilization", Unit::Ratio, &[], "Share of memory");

/// As many series as asked for, of five metrics, two points a group and metric.
fn families(series: usize) -> Arc<Families> {
    let descs: [(&'static Desc, [&[&str]; 2]); 5] = [
        (CPU.desc(), [&["user"], &["system"]]),
        (IO.desc(), [&["read"], &["write"]]),
        (FAULTS.desc(), [&["major", "scan"], &["minor", "scan"]]),
        (MEMORY.desc(), [&[], &[]]),
        (UTILIZATION.desc(), [&[], &[]]),
    ];
    let groups: Vec<Arc<GroupLabels>> = (0..series / descs.len() / 2).map(group).collect();
    let point = |group: &Arc<GroupLabels>, values: &[&str], value: u64| Point {
        group: Some(Arc::clone(group)),
        values: values.iter().map(|value| Box::from(*value)).collect(),
        value,
        start: Ns(0),
    };
    let family = |(desc, values): &(&'static Desc, [&[&str]; 2])| Family {
        desc,
        points: groups
            .iter()
            .zip(1..)
            .flat_map(|(group, number): (_, u64)| {
                values.map(|values| point(group, values, number * 123_456_789_012))
            })
            .collect(),
    };
    Arc::new(Families { at: Timestamp::default(), families: descs.iter().map(family).collect() })
}

fn group(number: usize) -> Arc<GroupLabels> {
    Arc::new(GroupLabels(vec![
        ("group", format!("service-{number}").into()),
        ("process.user.name", "www-data".into()),
        ("container.id", format!("{number:012x}").into()),
    ]))
}

/// The fastest of some rounds: the others met something else on this machine.
fn fastest<T>(mut what: impl FnMut() -> T) -> Duration {
    (0..ROUNDS).map(|_| time(|| black_box(what())).1).min().unwrap_or_default()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Times of the first and of a second scrape of one page, over HTTP with gzip as Prometheus asks for it.
fn scrapes(families: &Arc<Families>) -> (Duration, Duration) {
    let (sender, receiver) = watch::channel(Arc::clone(families));
    let (port_in, port_out) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = http::bind(([127, 0, 0, 1], 0).into()).expect("a port");
            port_in.send(listener.local_addr().expect("an address").port()).expect("the bench listens");
            let health = Health::new(Arc::new(AtomicU64::new(0)), Ns(0), Timestamp::default);
            http::serve(listener, receiver, health).await;
        });
    });
    let port = port_out.recv().expect("the server starts");
    let headers = ["Accept: application/openmetrics-text", "Accept-Encoding: gzip"];
    let scrape = || time(|| black_box(get(port, "/metrics", &headers).body.len())).1;
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            sender.send_replace(Arc::new(Families::clone(families)));
            (scrape(), scrape())
        })
        .collect();
    let fastest = |times: Vec<Duration>| times.into_iter().min().unwrap_or_default();
    (fastest(rounds.iter().map(|r| r.0).collect()), fastest(rounds.iter().map(|r| r.1).collect()))
}

fn main() {
    let mut broken = false;
    for series in [5_000, 50_000] {
        let families = families(series);
        let per_series = |duration: Duration| duration.as_nanos() as f64 / series as f64;
        let openmetrics = fastest(|| page(&families, Format::OpenMetrics));
        let classic = fastest(|| page(&families, Format::Classic));
        let text = page(&families, Format::OpenMetrics);
        let compressed = fastest(|| gzip(&text));
        let (first, second) = scrapes(&families);
        let share = second.as_secs_f64() / first.as_secs_f64();
        println!("{series} series, {} bytes, {} with gzip", text.len(), gzip(&text).len());
        println!(
            "  OpenMetrics      {:>6.0} ns per series (budget {})",
            per_series(openmetrics),
            ENCODE_BUDGET.as_nanos()
        );
        println!(
            "  classic          {:>6.0} ns per series (budget {})",
            per_series(classic),
            ENCODE_BUDGET.as_nanos()
        );
        println!("  gzip level 1     {:>6.0} ns per series", per_series(compressed));
        println!("  first scrape     {:>6.2} ms", first.as_secs_f64() * 1e3);
        println!(
            "  second scrape    {:>6.2} ms, {:.1} % (budget {:.0} %)",
            second.as_secs_f64() * 1e3,
            share * 1e2,
            SECOND_BUDGET * 1e2
        );
        let budget = f64::from(u32::try_from(ENCODE_BUDGET.as_nanos()).unwrap_or(u32::MAX));
        broken |= per_series(openmetrics).max(per_series(classic)) > budget;
        // Of a small page most is the connection itself.
        broken |= series >= 50_000 && share > SECOND_BUDGET;
    }
    if broken {
        println!("A budget is broken.");
        std::process::exit(1);
    }
}
