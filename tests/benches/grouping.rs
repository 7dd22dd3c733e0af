//! Cost of groups with 100 rules, 20 of them regular expressions: what a tick costs per process while every group is
//! known, against merging the same scan; and what one decision costs.
//! `cargo bench -p procagent-tests --bench grouping`; exits with 1 when a budget is broken.
#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    reason = "figures for people; what fails ends the bench"
)]

use procagent_core::group::{Conditions, Groups, Label, Rule, RuleText, Settings};
use procagent_core::process::{CommandLine, Pid};
use procagent_core::snapshot::{Snapshot, Users};
use procagent_core::table::Table;
use procagent_core::testing::{at, reading, snapshot, used};
use procagent_core::time::Ns;
use procagent_tests::system::time;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const PROCESSES: u32 = 3000;
const ROUNDS: u64 = 200;
/// Per process and tick: weighing the groups and looking up where a process counts, three collectors' worth.
const TICK_BUDGET: Duration = Duration::from_nanos(200);
/// Per decision, which is made at birth and exec. Spread over a tick in which one process in a hundred is new it stays
/// within the same budget.
const DECISION_BUDGET: Duration = Duration::from_micros(20);

fn main() {
    let mut groups = Groups::new(settings());
    let mut table = Table::new(1000, 100);
    let first = scan(0);
    table.merge(&first);
    let ((), all) = time(|| table.assign(&mut groups, first.begun.mono));
    black_box(groups.settle(&table, &first));
    let again: Vec<Duration> = (0..5)
        .map(|_| {
            table.regroup_all();
            time(|| table.assign(&mut groups, first.begun.mono)).1
        })
        .collect();

    let (mut merging, mut grouping) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut scan = scan(round);
        scan.details.clear();
        merging.push(time(|| table.merge(&scan)).1);
        grouping.push(time(|| tick(&mut table, &mut groups, &scan)).1);
    }
    let per_process = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2] / PROCESSES
    };
    let (first, decision) = (all / PROCESSES, per_process(again));
    let (merging, grouping) = (per_process(merging), per_process(grouping));
    println!("{PROCESSES} processes, 100 rules (20 regular expressions, 30 globs), labels user and unit");
    println!("groups: {} with series, {} folded", groups.len(), groups.folded());
    println!(
        "tick, cached: {grouping:?} per process (budget {TICK_BUDGET:?}); merging the scan: {merging:?}"
    );
    println!("decision: {decision:?} per process (budget {DECISION_BUDGET:?}); the first ones: {first:?}");
    if grouping > TICK_BUDGET || decision > DECISION_BUDGET {
        println!("BROKEN");
        std::process::exit(1);
    }
}

/// What groups cost in a tick.
fn tick(table: &mut Table, groups: &mut Groups, scan: &Snapshot) {
    table.assign(groups, scan.begun.mono);
    black_box(groups.settle(table, scan));
    for _ in 0..3 {
        for seen in table.seen(scan) {
            black_box(groups.resolve(seen.group));
        }
    }
}

fn settings() -> Settings {
    let list = |text: String| vec![text];
    let rule = |index: usize| {
        let conditions = match index % 10 {
            0..2 => Conditions {
                cmdline: list(format!(r"--service-{index}=(?<app>[\w-]+)\b")),
                ..Conditions::default()
            },
            2..5 => Conditions { exe: list(format!("/opt/*/service-{index}")), ..Conditions::default() },
            _ => Conditions { name: list(format!("daemon-{index}")), ..Conditions::default() },
        };
        let group = if index % 10 < 2 { "{name}:{app}".to_owned() } else { format!("group-{index}") };
        let descendants = index.is_multiple_of(4);
        let text = RuleText { group, conditions, descendants, ..RuleText::default() };
        Rule::build(&text).expect("the rule is right")
    };
    let rules: Vec<Rule> = (0..100).map(rule).collect();
    Settings { rules, labels: vec![Label::User, Label::Unit], ..Settings::default() }
}

/// Most programs match no rule, so that all of them are tried.
fn scan(round: u64) -> Snapshot {
    let processes = (2..PROCESSES + 2).map(|pid| {
        let mut reading = used(reading(pid, u64::from(pid)), Ns(u64::from(pid % 7) * round * 1000));
        reading.parent = Pid(1 + pid / 3);
        reading.users = Some(Users { real: pid % 5, effective: pid % 5 });
        reading.resident_memory = Some(u64::from(pid) << 10);
        (reading, "program")
    });
    let mut scan = Snapshot { begun: at(1000 + round * 5), ..snapshot(1000 + round * 5, processes) };
    for (index, details) in scan.details.iter_mut().enumerate() {
        let number = index % 700;
        let arguments = "--port=8080 --data=/var/lib/service --verbose ".repeat(3);
        let line = format!("/usr/bin/program-{number} --service-{number}=shop-{number} {arguments}");
        details.comm = format!("program-{number}").into_bytes().into();
        details.exe = Some(format!("/usr/bin/program-{number}").into());
        details.argv = Some(CommandLine::new(line.replace(' ', "\0").as_bytes()));
        details.cgroup = Some(Arc::from(format!("/system.slice/program-{number}.service")));
    }
    scan
}
