//! Code, README, dashboards and `deploy/agent.yaml` say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_core::metric::Desc;
use procagent_tests::agent::procagent;
use procagent_tests::system::{self, run, said};
use procagent_tests::{dashboard, workspace};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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

/// Every test of the workspace with the lines above it that belong to it: comments and attributes.
fn tests_of_the_workspace() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for room in ["agent", "collectors", "rules", "tests"] {
        visit(&workspace().join(room), &mut |source| {
            let mut above = String::new();
            for line in source.lines().map(str::trim) {
                let name = line
                    .trim_start_matches("async ")
                    .strip_prefix("fn ")
                    .and_then(|rest| rest.split_once('('));
                match name {
                    Some((name, _)) if above.contains("#[test]") || above.contains("#[tokio::test") => {
                        found.push((name.to_owned(), std::mem::take(&mut above)));
                    }
                    _ if line.starts_with("///") || line.starts_with("#[") => above.extend([line, "\n"]),
                    _ => above.clear(),
                }
            }
        });
    }
    found
}

fn visit(folder: &Path, source: &mut impl FnMut(String)) {
    for name in system::list(folder) {
        let path = folder.join(&name);
        if path.is_dir() && !path.is_symlink() && name != "hosts" && name != "target" {
            visit(&path, source);
        } else if name.ends_with(".rs") {
            source(system::read(path));
        }
    }
}

/// Whether this is the id of a row, such as A2.
fn is_row(word: &str) -> bool {
    let (letter, number) = word.split_at_checked(1).unwrap_or_default();
    "abjABJ".contains(letter) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The ids that the name of a test carries: `a3_a5_...`.
fn rows_in_name(name: &str) -> impl Iterator<Item = String> {
    name.split('_').take_while(|word| is_row(word)).map(str::to_uppercase)
}

/// The ids that its comment begins with: `a2, a3: ...` or `A2 of tests/ROWS.md ...`.
fn rows_in_comment(above: &str) -> impl Iterator<Item = String> {
    let head = above.trim_start_matches("/// ").split([':', '.']).next().unwrap_or_default();
    let words: Vec<&str> = head.trim_end_matches(" of tests/ROWS").split(", ").collect();
    let all = words.iter().all(|word| is_row(word));
    words.into_iter().filter(move |_| all).map(str::to_uppercase)
}

/// `tests/ROWS.md` names tests that exist; every row that a test speaks of is there, and names the tests that carry
/// its id.
#[test]
fn rows_and_tests_name_each_other() {
    let tests = tests_of_the_workspace();
    let names: BTreeSet<&str> = tests.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains("rows_and_tests_name_each_other") && names.len() > 100, "{}", names.len());
    let text = system::read(workspace().join("tests/ROWS.md"));
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, must_hold, shown_by] = cells[..] else { panic!("three cells: {line}") };
        let shown_by: Vec<&str> = shown_by.split_whitespace().map(|name| name.trim_matches('`')).collect();
        assert!(must_hold.ends_with('.') && !shown_by.is_empty(), "{line}");
        for name in &shown_by {
            assert!(names.contains(name), "{id}: there is no test {name}");
        }
        assert!(rows.insert(id, shown_by).is_none(), "{id} is there twice");
    }
    assert!(rows.len() > 15, "{rows:?}");
    for (name, above) in &tests {
        for id in rows_in_comment(above) {
            assert!(rows.contains_key(&*id), "{name} speaks of {id}: tests/ROWS.md has no such row");
        }
        for id in rows_in_name(name) {
            let shown_by = rows.get(&*id).is_some_and(|shown_by| shown_by.contains(&&**name));
            assert!(shown_by, "tests/ROWS.md does not name {name} at {id}");
        }
    }
}
