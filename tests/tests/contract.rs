//! Code, README, dashboards and `deploy/agent.yaml` say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_core::metric::Desc;
use procagent_tests::agent::procagent;
use procagent_tests::system::{self, run, said};
use procagent_tests::{dashboard, workspace};
use std::collections::BTreeSet;

fn all() -> Vec<&'static Desc> {
    let collectors = procagent_collectors::ALL.iter().flat_map(|plugin| plugin.metrics.iter().copied());
    collectors.chain(procagent::own::METRICS.iter().copied()).collect()
}

/// The table in the README is the one that the binary prints, and names every metric.
#[test]
fn readme_lists_exactly_the_metrics_that_exist() {
    let readme = system::read(workspace().join("README.md"));
    let (_, rest) = readme.split_once("<!-- metrics:").expect("the mark before the table");
    let (table, _) = rest.split_once("<!-- /metrics -->").expect("the mark behind it");
    let (_, table) = table.split_once("-->\n").expect("the mark ends its line");
    let output = run(procagent().args(["metrics", "--format", "markdown"]));
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(table.trim() == printed.trim(), "paste the output of `procagent metrics --format markdown`");
    for desc in all() {
        let name = format!("`{}`", desc.prometheus_name());
        assert_eq!(table.matches(&name).count(), 1, "{name}");
    }
}

fn is_metric(word: &str) -> bool {
    ["process_", "procagent_", "system_"].iter().any(|prefix| word.starts_with(prefix))
}

/// Every metric and label that a dashboard asks for exists, and belongs together.
#[test]
fn dashboards_ask_for_metrics_and_labels_that_exist() {
    for (file, dashboard) in dashboard::all() {
        for query in dashboard::queries(&dashboard) {
            let words = words(&query.expression);
            let used: Vec<&Desc> =
                all().into_iter().filter(|desc| words.contains(&*desc.prometheus_name())).collect();
            assert!(!used.is_empty(), "{file}, {}: no metric: {}", query.title, query.expression);
            let mut known: BTreeSet<String> = used.iter().map(|desc| desc.prometheus_name()).collect();
            known.extend(used.iter().flat_map(|desc| desc.prometheus_labels()));
            for word in words.into_iter().filter(|word| is_metric(word)) {
                assert!(known.contains(word), "{file}, {}: no such metric or label: {word}", query.title);
            }
        }
    }
}

fn words(expression: &str) -> BTreeSet<&str> {
    expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect()
}

/// A reader knows what each panel shows, in which unit, and where the data comes from.
#[test]
fn panels_have_descriptions_units_and_places() {
    for (file, dashboard) in dashboard::all() {
        let mut ids = BTreeSet::new();
        for panel in dashboard::panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            assert!(!title.is_empty() && ids.insert(panel["id"].as_u64()), "{file}: {title:?}");
            if panel["type"] == "row" {
                continue;
            }
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{file}: {title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{file}: {title} has no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: {title}");
            let (x, width) = (panel["gridPos"]["x"].as_u64(), panel["gridPos"]["w"].as_u64());
            assert!(x.zip(width).is_some_and(|(x, width)| x + width <= 24), "{file}: {title} is too wide");
        }
    }
}

/// `deploy/agent.yaml` is what `procagent config init` writes: the same commented keys, all of them.
#[test]
fn config_init_writes_the_file_in_deploy() {
    let output = run(procagent().args(["config", "init"]));
    assert!(output.status.success(), "{}", said(&output));
    let shipped = system::read(workspace().join("deploy/agent.yaml"));
    assert!(String::from_utf8_lossy(&output.stdout) == shipped, "deploy/agent.yaml differs from config init");
}

/// The catalogue that the binary prints is the one in the code.
#[test]
fn procagent_metrics_prints_every_metric() {
    let output = run(procagent().arg("metrics"));
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    for desc in all() {
        assert!(text.contains(&desc.prometheus_name()), "{} is not there:\n{text}", desc.name);
    }
}

/// Every test that was owed exists once in the list, with a milestone from 1 to 12.
#[test]
fn the_list_of_owed_tests_is_sound() {
    let list = system::read(workspace().join("tests/regressions.txt"));
    let mut names = BTreeSet::new();
    for line in list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("finished:"))
    {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let milestone = columns.get(1).and_then(|column| column.parse::<u8>().ok());
        assert!(milestone.is_some_and(|milestone| (1..=12).contains(&milestone)), "{line}");
        assert!(columns.len() > 2 && names.insert(columns[0]), "{line}");
    }
    assert!(names.len() > 50);
    assert!(list.lines().any(|line| line.starts_with("finished: ")));
}
