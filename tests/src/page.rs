//! A metrics page as its readers see it: tests ask for values, not for internals.

use std::collections::BTreeMap;

/// One line of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name, suffixes included.
    pub name: String,
    /// The labels, unescaped.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// A parsed page of either text format.
#[derive(Clone, Debug)]
pub struct Page {
    samples: Vec<Sample>,
    types: BTreeMap<String, String>,
}

impl Page {
    /// Parses a page; panics at a line that is no sample and no comment.
    pub fn parse(text: &str) -> Page {
        let mut page = Page { samples: Vec::new(), types: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some((name, kind)) =
                    comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' '))
                {
                    page.types.insert(name.to_owned(), kind.to_owned());
                }
            } else {
                let sample = parse_sample(line).unwrap_or_else(|| panic!("no sample: {line:?}"));
                page.samples.push(sample);
            }
        }
        page
    }

    /// All samples of this name.
    pub fn metric<'a>(&'a self, name: &str) -> Query<'a> {
        Query { name: name.to_owned(), found: self.samples.iter().filter(|s| s.name == name).collect() }
    }

    /// All samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The type of each family that says one.
    pub fn types(&self) -> &BTreeMap<String, String> {
        &self.types
    }
}

/// Samples of one metric, narrowed by label.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    name: String,
    found: Vec<&'a Sample>,
}

impl<'a> Query<'a> {
    /// Only those with this label value.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Query<'a> {
        self.found.retain(|sample| sample.labels.get(name).is_some_and(|have| have == value));
        self
    }

    /// The value of the one sample that is left; panics unless there is exactly one.
    pub fn value(&self) -> f64 {
        match self.found[..] {
            [sample] => sample.value,
            _ => panic!("{} samples of {}, not one: {:?}", self.found.len(), self.name, self.found),
        }
    }

    /// The same where there may be none.
    pub fn find(&self) -> Option<f64> {
        if self.found.is_empty() { None } else { Some(self.value()) }
    }

    /// All that are left, added up.
    pub fn sum(&self) -> f64 {
        self.found.iter().map(|sample| sample.value).sum()
    }

    /// Whether none is left.
    pub fn is_absent(&self) -> bool {
        self.found.is_empty()
    }

    /// The values of a label among those that are left, sorted.
    pub fn values_of(&self, label: &str) -> Vec<&'a str> {
        let mut values: Vec<_> =
            self.found.iter().filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = parse_labels(inside, &mut labels)?;
    }
    // A timestamp or an exemplar may follow.
    let value = rest.trim_start().split(' ').next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads labels up to the closing brace; what follows it is returned.
fn parse_labels<'a>(mut text: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some(rest);
        }
        let (name, quoted) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (index, '"') => break index,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    escaped @ ('"' | '\\') => value.push(escaped),
                    _ => return None,
                },
                (_, plain) => value.push(plain),
            }
        };
        labels.insert(name.to_owned(), value);
        text = &quoted[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let page = Page::parse(
            "# TYPE a counter\n# HELP a b\na_total{x=\"1\",y=\"q\\\"\\\\\\n}{\"} 3\na_total{x=\"2\"} 4\nb 0.5\n# EOF\n",
        );
        assert_eq!(page.metric("a_total").label("y", "q\"\\\n}{").value(), 3.0);
        assert_eq!(page.metric("a_total").sum(), 7.0);
        assert_eq!(page.metric("b").value(), 0.5);
        assert_eq!(page.metric("a_total").values_of("x"), ["1", "2"]);
        assert!(page.metric("c").is_absent());
        assert_eq!(page.types()["a"], "counter");
    }
}
