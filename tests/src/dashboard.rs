//! The dashboards in `grafana/`, as tests read them.

use crate::system;
use serde_json::Value;

/// One query of a dashboard.
#[derive(Clone, Debug)]
pub struct Query {
    /// The panel's or variable's title.
    pub title: String,
    /// PromQL, with Grafana's variables.
    pub expression: String,
}

/// All dashboards with their file names.
pub fn all() -> Vec<(String, Value)> {
    let folder = crate::workspace().join("grafana");
    let files = system::list(&folder).into_iter().filter(|name| name.ends_with(".json"));
    let all: Vec<_> = files
        .map(|name| {
            let json = serde_json::from_str(&system::read(folder.join(&name)));
            (name.clone(), json.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect();
    assert!(!all.is_empty(), "there is a dashboard");
    all
}

/// All panels, those inside rows included.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let direct = dashboard["panels"].as_array().into_iter().flatten();
    direct.flat_map(|panel| std::iter::once(panel).chain(panels(panel))).collect()
}

/// The queries of all panels, and of the variables as the metric that they ask for.
pub fn queries(dashboard: &Value) -> Vec<Query> {
    let of_panels = panels(dashboard).into_iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.filter_map(|target| Some((panel["title"].as_str()?, target["expr"].as_str()?)))
    });
    let of_variables =
        dashboard["templating"]["list"].as_array().into_iter().flatten().filter_map(|variable| {
            let inside = variable["definition"].as_str()?.strip_prefix("label_values(")?.strip_suffix(')')?;
            Some((variable["name"].as_str()?, inside.rsplit_once(',')?.0))
        });
    of_panels
        .chain(of_variables)
        .map(|(title, expression)| Query { title: title.to_owned(), expression: expression.to_owned() })
        .collect()
}

/// A query with values for Grafana's variables: everything, over ten seconds.
pub fn with_variables(expression: &str) -> String {
    [("$__rate_interval", "10s"), ("$__interval", "10s"), ("$__range", "60s"), ("$instance", ".*")]
        .into_iter()
        .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
}
