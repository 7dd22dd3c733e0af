//! `procagent metrics`: the catalogue of all metrics, from their definitions.

use super::{Failure, print, print_json};
use crate::cli::CatalogueFormat;
use procagent_core::metric::{Desc, Kind, Scope};
use serde::Serialize;
use std::fmt::Write as _;

/// One line of the catalogue.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// The collector that publishes it; `agent` for the agent's own.
    pub collector: &'static str,
    /// The OpenTelemetry name.
    pub name: &'static str,
    /// The Prometheus name.
    pub prometheus: String,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// The UCUM code of its unit; may be empty.
    pub unit: String,
    /// Whose number it is: `group` or `host`.
    pub scope: &'static str,
    /// OpenTelemetry names of its own labels; those of the group come on top.
    pub labels: &'static [&'static str],
    /// Prometheus names of all its labels.
    pub prometheus_labels: Vec<String>,
    /// What it means.
    pub help: &'static str,
}

/// All metrics, the collectors' in the order of their list, then the agent's own.
pub fn catalogue() -> Vec<Entry> {
    let collectors = procagent_collectors::ALL
        .iter()
        .flat_map(|plugin| plugin.metrics.iter().map(|desc| entry(plugin.name, desc)));
    collectors.chain(crate::own::METRICS.iter().map(|desc| entry("agent", desc))).collect()
}

fn entry(collector: &'static str, desc: &'static Desc) -> Entry {
    Entry {
        collector,
        name: desc.name,
        prometheus: desc.prometheus_name(),
        kind: match desc.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        },
        unit: desc.unit.ucum(),
        scope: match desc.scope {
            Scope::Group => "group",
            Scope::Host => "host",
        },
        labels: desc.labels,
        prometheus_labels: desc.prometheus_labels(),
        help: desc.help,
    }
}

/// Prints the catalogue.
pub fn run(format: CatalogueFormat) -> Result<(), Failure> {
    match format {
        CatalogueFormat::Text => print(&text(&catalogue())),
        CatalogueFormat::Json => print_json(&catalogue()),
        CatalogueFormat::Markdown => print(&markdown(&catalogue())),
    }
}

fn markdown(catalogue: &[Entry]) -> String {
    let mut out = String::from("| metric | labels | meaning |\n|---|---|---|\n");
    for Entry { prometheus, prometheus_labels, help, .. } in catalogue {
        let labels: Vec<_> = prometheus_labels.iter().map(|label| format!("`{label}`")).collect();
        let _infallible =
            writeln!(out, "| `{prometheus}` | {} | {} |", labels.join(" "), help.replace('|', "\\|"));
    }
    out
}

fn text(catalogue: &[Entry]) -> String {
    let mut out = String::new();
    let mut collector = "";
    for entry in catalogue {
        if entry.collector != collector {
            collector = entry.collector;
            let gap = if out.is_empty() { "" } else { "\n" };
            let _infallible = writeln!(out, "{gap}[{collector}]");
        }
        let labels = match entry.prometheus_labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let unit = if entry.unit.is_empty() { "no unit" } else { &entry.unit };
        let _infallible = writeln!(
            out,
            "{}{labels}\n    {}\n    {}, {unit}; OpenTelemetry: {}",
            entry.prometheus, entry.help, entry.kind, entry.name
        );
    }
    out
}
