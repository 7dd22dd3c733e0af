//! The one place that knows the YAML library: its errors end here, worded for people.

use super::error::{ConfigError, Place};
use super::follow::{Follow, Trail};
use super::snippet::{is_secret, snippet};
use super::variables::Variables;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter, Options, UserMessageFormatter};

/// Reads `text`, which came from `origin`. A file without content is `T::default()`.
pub fn parse<T: DeserializeOwned + Default>(
    origin: &str,
    text: &str,
    variables: &Variables,
) -> Result<T, ConfigError> {
    let trail = Trail::new(variables);
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        Option::<T>::deserialize(Follow::new(deserializer, &trail))
    });
    match read {
        Ok(value) => Ok(value.unwrap_or_default()),
        Err(error) => Err(describe(origin, text, &error, &trail)),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        reject_unsupported_tags: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        // Ours leaves secrets out.
        with_snippet: false,
    }
}

fn describe(origin: &str, text: &str, error: &Error, trail: &Trail<'_>) -> ConfigError {
    let error = error.without_snippet();
    let place = error.location().map(|location| Place { line: location.line(), column: location.column() });
    let mut key = trail.path();
    // The library finds it before the key is handed out.
    if let Error::DuplicateMappingKey { key: Some(twice), .. } = error {
        key = if key.is_empty() { twice.clone() } else { format!("{key}.{twice}") };
    }
    let message = if is_secret(&key) && !matches!(error, Error::SerdeUnknownField { .. }) {
        "the value is not what is expected here; it is not shown, for it may be secret".to_owned()
    } else {
        trail.without_values(&message(error))
    };
    let snippet = place.map(|place| snippet(text, place)).unwrap_or_default();
    ConfigError { origin: origin.to_owned(), place, key, message, snippet }
}

fn message(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { expected, .. } if expected.is_empty() => {
            "unknown key; none is known here".to_owned()
        }
        Error::SerdeUnknownField { expected, .. } => {
            format!("unknown key; known here: {}", expected.join(", "))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is unknown: write {}", one_of(expected))
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {expected}, found {}", unexpected.chars().take(80).collect::<String>())
        }
        Error::DuplicateMappingKey { .. } => "this key is there twice".to_owned(),
        Error::Unexpected { expected: "mapping start", .. } => {
            "expected keys and values, as in `key: value`".to_owned()
        }
        Error::Unexpected { expected: "sequence start", .. } => {
            "expected a list: `[a, b]`, or a line with `- ` for each entry".to_owned()
        }
        Error::Unexpected { expected: "string scalar", .. }
        | Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => "expected one value here".to_owned(),
        Error::MergeKeyNotAllowed { .. } => "`<<` is not supported: write the keys out".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a second document begins here: one file is one configuration".to_owned()
        }
        Error::Message { msg, .. } => msg.clone(),
        Error::AliasError { error, .. } => message(error),
        error => match UserMessageFormatter.format_message(error) {
            text if text.starts_with("tabs disallowed") => {
                "a tab stands here: YAML is indented by spaces".to_owned()
            }
            text => text.into_owned(),
        },
    }
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::config::DEFAULT;
    use crate::config::Config;
    use crate::config::layer::Layer;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The keys that the code knows under `path`, as it says itself when it meets another one.
    fn known(path: &[&str]) -> BTreeSet<String> {
        let text = path.iter().rfold("{ zzz: 1 }".to_owned(), |inner, key| format!("{{ {key}: {inner} }}"));
        let message = parse::<Layer>("x", &text, &Variables::default()).unwrap_err().message;
        let keys = message.rsplit_once("known here: ").map_or("", |(_, keys)| keys);
        keys.split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    fn compare(file: &Value, path: &mut Vec<&str>) -> usize {
        let Value::Object(mapping) = file else { return 1 };
        let there: BTreeSet<String> = mapping.keys().cloned().collect();
        assert_eq!(there, known(path), "under {path:?}");
        mapping
            .iter()
            .map(|(key, value)| {
                let key: &'static str = key.clone().leak();
                path.push(key);
                let below = compare(value, path);
                path.pop();
                below
            })
            .sum()
    }

    #[test]
    fn the_file_in_deploy_has_every_key_with_its_default() {
        let file: Value = serde_saphyr::from_str(DEFAULT).unwrap();
        assert!(compare(&file, &mut Vec::new()) >= 10, "no keys were compared");
        let layer: Layer = parse("agent.yaml", DEFAULT, &Variables::default()).unwrap();
        assert_eq!(layer.over(Config::default()), Config::default());
        // And it says so: laid over other values it brings the defaults back.
        let mut other =
            Config { remember: 1, interval: std::time::Duration::from_secs(1), ..Config::default() };
        (other.groups.limit, other.outputs.series_limit, other.host.descriptors) = (1, 1, 1);
        let layer: Layer = parse("agent.yaml", DEFAULT, &Variables::default()).unwrap();
        assert_eq!(layer.over(other), Config::default());
    }
}
