//! What a client may be sent: `Accept` and `Accept-Encoding` (RFC 9110, sections 12.4.2 to 12.5.3).

use crate::outputs::openmetrics::Format;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName};

/// The format that the client likes best. OpenMetrics has to be asked for by name; whoever accepts neither gets
/// classic text, as all exporters do.
pub fn format(headers: &HeaderMap) -> Format {
    let (mut openmetrics, mut classic) = (0, 0);
    for choice in choices(headers, &ACCEPT) {
        match choice.name.as_str() {
            "application/openmetrics-text" if choice.version_is(&["1.0.0"]) => {
                openmetrics = openmetrics.max(choice.weight);
            }
            "text/plain" | "text/*" | "*/*" if choice.version_is(&["0.0.4"]) => {
                classic = classic.max(choice.weight);
            }
            _ => {}
        }
    }
    if openmetrics > 0 && openmetrics >= classic { Format::OpenMetrics } else { Format::Classic }
}

/// Whether the body goes out as gzip.
pub fn gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, 0);
    for choice in choices(headers, &ACCEPT_ENCODING) {
        match choice.name.as_str() {
            "gzip" | "x-gzip" => gzip = gzip.max(Some(choice.weight)),
            "*" => any = any.max(Some(choice.weight)),
            "identity" => identity = identity.max(choice.weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity
}

struct Choice {
    name: String,
    version: Option<String>,
    /// In thousandths; 0 is a refusal.
    weight: u16,
}

impl Choice {
    /// Without a version, any.
    fn version_is(&self, known: &[&str]) -> bool {
        self.version.as_deref().is_none_or(|version| known.contains(&version))
    }
}

fn choices<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Choice> + 'a {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(choice)
}

fn choice(text: &str) -> Option<Choice> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let mut choice = Choice { name, version: None, weight: 1000 };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => choice.weight = weight(value)?,
            "version" => choice.version = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(choice)
}

/// `0`, `0.5`, `1.000`: at most three digits after the point (RFC 9110, section 12.4.2). Nonsense is no choice.
fn weight(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn formats() {
        let format = |lines: &[&str]| format(&headers(ACCEPT, lines));
        // What Prometheus 2.42 and 3.5 send.
        let old = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let new = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                   application/openmetrics-text;version=0.0.1;q=0.5,\
                   text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format(&[old]), Format::OpenMetrics);
        assert_eq!(format(&[new]), Format::OpenMetrics);
        assert_eq!(format(&["application/openmetrics-text"]), Format::OpenMetrics);
        assert_eq!(
            format(&["text/plain;q=0.5", "Application/OpenMetrics-Text; Version=\"1.0.0\""]),
            Format::OpenMetrics
        );
        assert_eq!(format(&["application/openmetrics-text;version=0.0.1"]), Format::Classic);
        assert_eq!(format(&["application/openmetrics-text;q=0.1, text/plain"]), Format::Classic);
        assert_eq!(format(&["application/openmetrics-text;q=0"]), Format::Classic);
        assert_eq!(format(&["application/openmetrics-text;q=7"]), Format::Classic);
        assert_eq!(format(&["*/*"]), Format::Classic);
        assert_eq!(format(&["image/png"]), Format::Classic);
        assert_eq!(format(&[",;=,;q=,"]), Format::Classic);
        assert_eq!(format(&[]), Format::Classic);
    }

    #[test]
    fn codings() {
        let gzip = |lines: &[&str]| gzip(&headers(ACCEPT_ENCODING, lines));
        for yes in ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "*", "GZIP;Q=0.001", "identity, gzip", "x-gzip"] {
            assert!(gzip(&[yes]), "{yes}");
        }
        for no in [
            "",
            "identity",
            "gzip;q=0",
            "gzip;q=0, *",
            "*;q=0",
            "br",
            "identity, gzip;q=0.5",
            "gzip;q=0.0001",
        ] {
            assert!(!gzip(&[no]), "{no}");
        }
        assert!(!gzip(&[]));
        assert!(gzip(&["br", "gzip"]));
    }
}
