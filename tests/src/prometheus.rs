//! A real Prometheus, Debian's package, that scrapes one agent.

use crate::http;
use crate::system::{self, Program, command, wait_for};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// A running Prometheus. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    _program: Program,
    port: u16,
    _directory: TempDir,
}

/// One series of an answer: its labels and its samples as (seconds, value).
#[derive(Clone, Debug)]
pub struct Series {
    /// Labels, `__name__` included.
    pub labels: Value,
    /// The samples, oldest first.
    pub samples: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts one that scrapes the agent on `port` every second; `None` where Prometheus is not installed.
    pub fn scraping(port: u16) -> Option<Prometheus> {
        system::find("prometheus")?;
        let directory = TempDir::new().expect("a temporary folder");
        let config = directory.path().join("prometheus.yml");
        system::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s}}\n\
                 scrape_configs: [{{job_name: procagent, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
            ),
        );
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let own_port = system::free_port();
        let program = Program::start(
            command("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{own_port}"))
                .stdout(Stdio::null())
                .stderr(log),
        );
        let prometheus = Prometheus { _program: program, port: own_port, _directory: directory };
        wait_for(Duration::from_secs(30), "Prometheus to be ready", || {
            http::try_get(own_port, "/-/ready", &[]).ok().filter(|answer| answer.status == 200)
        });
        assert!(system::listener(prometheus._program.pid(), own_port), "somebody else listens on {own_port}");
        Some(prometheus)
    }

    /// The answer to an instant query: a vector with one sample a series, a matrix with all raw ones. The error
    /// is Prometheus's own text.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>, String> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        let answer = http::get(self.port, &path, &[]);
        let json: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        if let Some(error) = json["error"].as_str() {
            return Err(error.to_owned());
        }
        let result = json["data"]["result"].as_array().ok_or("no vector and no matrix")?;
        Ok(result.iter().map(series).collect())
    }

    /// The first non-empty answer to a query; panics when there is none in time.
    pub fn wait_query(&self, expression: &str, at_most: Duration) -> Vec<Series> {
        wait_for(at_most, expression, || {
            let answer = self.query(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            (!answer.is_empty()).then_some(answer)
        })
    }

    /// Where it is; for tools that ask it themselves.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn series(result: &Value) -> Series {
    let one = result["value"].as_array().map(|pair| vec![Value::Array(pair.clone())]);
    let all = one.or_else(|| result["values"].as_array().cloned()).unwrap_or_default();
    let samples =
        all.iter().filter_map(|pair| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?))).collect();
    Series { labels: result["metric"].clone(), samples }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
