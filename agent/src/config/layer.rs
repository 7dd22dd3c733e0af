//! One layer of configuration: every key optional. The file, the variables and the command line are each one.

use super::rules::{self, CheckedRule, LabelWord, Preset, Texts};
use super::{Config, Control, Level, LogFormat, SourceChoice};
use procagent_core::duration;
use procagent_core::group::Unmatched;
use procagent_core::switch::Switch;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde_saphyr::Spanned;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All keys there are. One that is absent, or has no value, leaves what the layer below says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct Layer {
    #[serde(deserialize_with = "interval_option")]
    pub interval: Option<Duration>,
    #[serde(deserialize_with = "source")]
    pub source: Option<SourceChoice>,
    #[serde(deserialize_with = "at_most::<_, 10_000_000>")]
    pub remember: Option<usize>,
    pub host: Option<Host>,
    pub groups: Option<Groups>,
    pub collectors: Option<procagent_collectors::Settings>,
    pub outputs: Option<Outputs>,
    pub log: Option<Log>,
}

/// The part `host`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct Host {
    #[serde(deserialize_with = "absolute")]
    pub root: Option<PathBuf>,
    #[serde(deserialize_with = "at_most::<_, 1_000_000>")]
    pub descriptors: Option<usize>,
}

/// The part `groups`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct Groups {
    pub labels: Option<Vec<Spanned<LabelWord>>>,
    #[serde(deserialize_with = "at_most::<_, 100_000>")]
    pub limit: Option<usize>,
    #[serde(deserialize_with = "duration::option")]
    pub forget: Option<Duration>,
    #[serde(deserialize_with = "unmatched")]
    pub unmatched: Option<Unmatched>,
    pub presets: Option<Vec<Preset>>,
    pub health: Option<Health>,
    pub rules: Option<Vec<Spanned<Rule>>>,
    /// What `rules` and `presets` amount to; filled in when they were checked.
    #[serde(skip)]
    pub checked: Option<Vec<CheckedRule>>,
}

/// The part `groups.health`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct Health {
    #[serde(deserialize_with = "health_period")]
    pub every: Option<Duration>,
    #[serde(deserialize_with = "at_most::<_, 1_000_000>")]
    pub retries: Option<usize>,
    pub exit_on_failed: Option<bool>,
}

/// One of `groups.rules`, as it stands in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of procagent_core::group::RuleText")]
pub struct Rule {
    pub group: Option<Spanned<String>>,
    #[serde(rename = "match")]
    pub conditions: Option<Conditions>,
    pub descendants: Option<bool>,
    pub expect: Option<Spanned<bool>>,
    pub version: Option<Spanned<String>>,
}

/// The part `match` of a rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of procagent_core::group::Conditions")]
pub struct Conditions {
    pub name: Option<Spanned<Texts>>,
    pub exe: Option<Spanned<Texts>>,
    pub cmdline: Option<Spanned<Texts>>,
    pub user: Option<Spanned<Texts>>,
    pub unit: Option<Spanned<Texts>>,
    pub container: Option<Spanned<Texts>>,
}

/// The part `outputs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct Outputs {
    #[serde(deserialize_with = "at_most::<_, 10_000_000>")]
    pub series_limit: Option<usize>,
    pub prometheus: Option<Switch<PrometheusLayer>>,
    #[serde(deserialize_with = "control")]
    pub control: Option<Control>,
}

/// The part `outputs.prometheus`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct PrometheusLayer {
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
}

/// The part `log`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys are those of Config")]
pub struct Log {
    pub level: Option<Level>,
    pub format: Option<LogFormat>,
}

impl Layer {
    /// Lays this over `below`.
    pub fn over(self, mut below: Config) -> Config {
        set(&mut below.interval, self.interval);
        set(&mut below.source, self.source);
        set(&mut below.remember, self.remember);
        set(&mut below.collectors, self.collectors);
        let host = self.host.unwrap_or_default();
        set(&mut below.host.root, host.root);
        set(&mut below.host.descriptors, host.descriptors);
        let groups = self.groups.unwrap_or_default();
        set(&mut below.groups.labels, groups.labels.map(rules::labels));
        set(&mut below.groups.limit, groups.limit);
        set(&mut below.groups.forget, groups.forget);
        set(&mut below.groups.unmatched, groups.unmatched);
        set(&mut below.groups.rules, groups.checked);
        let health = groups.health.unwrap_or_default();
        set(&mut below.groups.health.every, health.every);
        set(&mut below.groups.health.retries, health.retries.and_then(|retries| u32::try_from(retries).ok()));
        set(&mut below.groups.health.exit_on_failed, health.exit_on_failed);
        let outputs = self.outputs.unwrap_or_default();
        set(&mut below.outputs.series_limit, outputs.series_limit);
        set(&mut below.outputs.control, outputs.control);
        match outputs.prometheus {
            None => {}
            Some(Switch::Off) => below.outputs.prometheus = Switch::Off,
            Some(Switch::On(layer)) => {
                let mut prometheus = below.outputs.prometheus.on().cloned().unwrap_or_default();
                set(&mut prometheus.listen, layer.listen);
                below.outputs.prometheus = Switch::On(prometheus);
            }
        }
        let log = self.log.unwrap_or_default();
        set(&mut below.log.level, log.level);
        set(&mut below.log.format, log.format);
        below
    }
}

fn set<T>(below: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *below = value;
    }
}

/// Below this the agent would do nothing but scan.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);

/// # Errors
/// What is wrong, and what would be right.
pub fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval < INTERVAL_MIN {
        return Err(format!("`{text}` is too short: 10ms is the least"));
    }
    if interval > INTERVAL_MAX {
        return Err(format!("`{text}` is too long: 1d is the most"));
    }
    Ok(interval)
}

/// # Errors
/// What is wrong, and what would be right.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let shown = shorten(text);
        format!("`{shown}` is no IP address with a port: write 127.0.0.1:9257, [::1]:9257, or 0.0.0.0:9257 for all")
    })
}

/// # Errors
/// What is wrong, and what would be right.
pub fn parse_root(text: &str) -> Result<PathBuf, String> {
    if Path::new(text).is_absolute() {
        return Ok(PathBuf::from(text));
    }
    let shown = shorten(text);
    Err(format!(
        "`{shown}` is no absolute path: write / or, in a container, the folder where the host's / is mounted"
    ))
}

fn interval_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text(deserializer, parse_interval)
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    text(deserializer, parse_address)
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    text(deserializer, parse_root)
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SourceChoice>, D::Error> {
    text(deserializer, |text| match text {
        "auto" => Ok(SourceChoice::Auto),
        "procfs" => Ok(SourceChoice::Procfs),
        "portable" if cfg!(feature = "portable") => Ok(SourceChoice::Portable),
        "portable" => {
            Err("this build has no source `portable`: write auto or procfs, or take a build that was \
                           made with `cargo build --features portable`"
                .to_owned())
        }
        "ebpf" => Err(format!("this build has no source `{text}`: write auto or procfs")),
        _ => Err(format!("`{}` is unknown: write auto or procfs", shorten(text))),
    })
}

fn unmatched<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Unmatched>, D::Error> {
    text(deserializer, |text| match text {
        "name" => Ok(Unmatched::Name),
        "other" => Ok(Unmatched::Other),
        "drop" => Ok(Unmatched::Drop),
        _ => Err(format!("`{}` is unknown: write name, other or drop", shorten(text))),
    })
}

fn health_period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text(deserializer, |text| match duration::parse(text)? {
        Duration::ZERO => Err("a period takes some time: write 10s or the like".to_owned()),
        period => Ok(period),
    })
}

fn control<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Control>, D::Error> {
    // Some parsers take `off` for the word, some for false.
    match deserializer.deserialize_any(Word)? {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(Some(Control::Usual)),
        Some(text) if text == "off" => Ok(Some(Control::Off)),
        Some(text) if Path::new(&text).is_absolute() => Ok(Some(Control::At(PathBuf::from(text)))),
        Some(text) => Err(D::Error::custom(format!(
            "`{}` is no absolute path: write where the socket shall be, \"\" for the usual place, or off",
            shorten(&text)
        ))),
    }
}

/// A word, or nothing.
struct Word;

impl Visitor<'_> for Word {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or off")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
        if on { Err(E::invalid_value(Unexpected::Bool(on), &self)) } else { Ok(Some("off".to_owned())) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse(&text).map_err(D::Error::custom)).transpose()
}

/// A count with an upper bound, so that no typing error asks for more memory than there is. Quoted numbers are
/// strings, and refused.
fn at_most<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Option<usize>, D::Error> {
    // An error made here points at the value; made inside the visitor it would point at the key.
    match deserializer.deserialize_any(Count)? {
        Ok(None) => Ok(None),
        Ok(Some(number)) if number <= MAX as u64 => Ok(usize::try_from(number).ok()),
        Ok(Some(number)) => {
            Err(D::Error::custom(format!("{number} is too large: write a whole number from 0 to {MAX}")))
        }
        Err(found) => Err(D::Error::custom(format!(
            "expected a whole number from 0 to {MAX}, found {}",
            shorten(&found)
        ))),
    }
}

/// Takes whatever stands there: a number, nothing, or what it is instead.
struct Count;

impl Visitor<'_> for Count {
    type Value = Result<Option<u64>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Ok(Some(number)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map(Some).map_err(|_| Unexpected::Signed(number).to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Err(Unexpected::Float(number).to_string()))
    }

    fn visit_bool<E: Error>(self, fact: bool) -> Result<Self::Value, E> {
        Ok(Err(Unexpected::Bool(fact).to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Err(Unexpected::Str(text).to_string()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(None))
    }
}

/// Enough of a value to recognise it by.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Prometheus;

    #[test]
    fn an_empty_layer_changes_nothing() {
        assert_eq!(Layer::default().over(Config::default()), Config::default());
    }

    #[test]
    fn off_and_on_again() {
        let off = Layer {
            outputs: Some(Outputs { prometheus: Some(Switch::Off), ..Outputs::default() }),
            ..Layer::default()
        };
        let config = off.over(Config::default());
        assert_eq!(config.outputs.prometheus, Switch::Off);
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        let on = Some(Switch::On(PrometheusLayer { listen: Some(listen) }));
        let on =
            Layer { outputs: Some(Outputs { prometheus: on, ..Outputs::default() }), ..Layer::default() };
        let config = on.over(config);
        assert_eq!(config.outputs.prometheus, Switch::On(Prometheus { listen }));
    }
}
