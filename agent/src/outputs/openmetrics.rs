//! The two text formats that Prometheus reads, as pure functions of frozen families.
//!
//! OpenMetrics 1.0.0 comes from `prometheus-client`. The classic format 0.0.4 is the same text with its metadata
//! lines rewritten, for the two differ in nothing else: classic names the metadata after the samples, and has
//! neither units nor an end mark.
//!
//! The unit of work is one family, so that a server can do other things in between. Names and help texts are
//! constants that [`Desc::check`] has found harmless; label values come from programs and are escaped.

use procagent_core::group::GroupLabels;
use procagent_core::metric::{Desc, Kind, prometheus_label};
use procagent_core::registry::{Families, Family, Point};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::{self, Write};
use std::sync::Arc;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Classic,
}

impl Format {
    /// The exact `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What stands after the last family.
    pub const fn end(self) -> &'static str {
        match self {
            Format::OpenMetrics => "# EOF\n",
            Format::Classic => "",
        }
    }
}

/// The whole page.
pub fn page(families: &Arc<Families>, format: Format) -> String {
    let mut page = String::new();
    for index in 0..families.families.len() {
        encode_family(families, index, format, &mut page);
    }
    page.push_str(format.end());
    page
}

/// Appends the family of this index; an index beyond the last appends nothing.
pub fn encode_family(families: &Arc<Families>, index: usize, format: Format, page: &mut String) {
    match format {
        Format::OpenMetrics => encode_openmetrics(families, index, page),
        Format::Classic => {
            let mut family = String::new();
            encode_openmetrics(families, index, &mut family);
            classic(&family, page);
        }
    }
}

/// Appends the text of one OpenMetrics family as classic text 0.0.4: HELP and TYPE carry the name of the samples,
/// which for counters ends in `_total`; UNIT and EOF are dropped, for there they would be comments.
///
/// Samples never begin with `#`, and metadata stands before them (OpenMetrics 1.0.0, "MetricFamily"), so only the
/// first lines are looked at.
pub fn classic(openmetrics: &str, page: &mut String) {
    let samples = metadata_end(openmetrics);
    let (metadata, samples) = openmetrics.split_at(samples);
    let total = if metadata.lines().any(|line| line.starts_with("# TYPE ") && line.ends_with(" counter")) {
        "_total"
    } else {
        ""
    };
    for line in metadata.lines() {
        let Some((keyword, (name, text))) = line
            .strip_prefix("# ")
            .and_then(|rest| rest.split_once(' '))
            .and_then(|(keyword, rest)| Some((keyword, rest.split_once(' ')?)))
        else {
            continue;
        };
        if keyword != "UNIT" {
            let _infallible = writeln!(page, "# {keyword} {name}{total} {text}");
        }
    }
    page.push_str(samples);
}

fn metadata_end(family: &str) -> usize {
    let mut end = 0;
    for line in family.split_inclusive('\n') {
        if !line.starts_with('#') {
            break;
        }
        end += line.len();
    }
    end
}

fn encode_openmetrics(families: &Arc<Families>, index: usize, page: &mut String) {
    let Some(family) = families.families.get(index) else { return };
    page.reserve(family.points.len() * 160 + 200);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(OneFamily { families: Arc::clone(families), index }));
    // A String takes everything, and nothing below fails on its own.
    let _infallible = encode_registry(page, &registry);
}

/// One family as `prometheus-client` wants it: owned, for its registry keeps collectors for ever.
#[derive(Debug)]
struct OneFamily {
    families: Arc<Families>,
    index: usize,
}

impl Collector for OneFamily {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(Family { desc, points }) = self.families.families.get(self.index) else { return Ok(()) };
        let (name, unit) = name_and_unit(desc);
        let kind = match desc.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut encoder = encoder.encode_descriptor(&name, desc.help, unit.as_ref(), kind)?;
        let names: Vec<String> = desc.labels.iter().map(|label| prometheus_label(label)).collect();
        let mut group_names = GroupNames::default();
        for point in points {
            group_names.update(point.group.as_deref());
            let labels = Labels { group_names: &group_names.names, names: &names, point };
            if labels.is_empty() {
                encode_value(&mut encoder, desc, point.value)?;
            } else {
                encode_value(&mut encoder.encode_family(&labels)?, desc, point.value)?;
            }
        }
        Ok(())
    }
}

/// The library appends the unit to the name on its own.
fn name_and_unit(desc: &Desc) -> (String, Option<Unit>) {
    let family = desc.prometheus_family();
    let stem =
        desc.unit.suffix().and_then(|unit| Some((family.strip_suffix(unit)?.strip_suffix('_')?, unit)));
    match stem {
        Some((stem, unit)) => (stem.to_owned(), Some(Unit::Other(unit.to_owned()))),
        None => (family, None),
    }
}

/// Whole numbers are written as such; the others as the float nearest to value / grain.
fn encode_value(encoder: &mut MetricEncoder<'_>, desc: &Desc, value: u64) -> fmt::Result {
    let grain = desc.unit.grain();
    let whole = value.is_multiple_of(grain);
    #[expect(
        clippy::cast_precision_loss,
        reason = "nanoseconds above 2^53 are 104 days: 15 digits remain exact"
    )]
    let float = || value as f64 / grain as f64;
    match (desc.kind, whole) {
        (Kind::Counter, true) => encoder.encode_counter::<NoLabelSet, _, u64>(&(value / grain), None),
        (Kind::Counter, false) => encoder.encode_counter::<NoLabelSet, _, u64>(&float(), None),
        (Kind::Gauge, true) => encoder.encode_gauge(&(value / grain)),
        (Kind::Gauge, false) => encoder.encode_gauge(&float()),
    }
}

/// The names of the group's labels as Prometheus writes them, worked out anew only when they change.
#[derive(Default)]
struct GroupNames {
    of: Vec<&'static str>,
    names: Vec<String>,
}

impl GroupNames {
    fn update(&mut self, group: Option<&GroupLabels>) {
        let labels = group.map_or(&[][..], |group| &group.0);
        if !self.of.iter().copied().eq(labels.iter().map(|(name, _)| *name)) {
            self.of = labels.iter().map(|(name, _)| *name).collect();
            self.names = self.of.iter().map(|name| prometheus_label(name)).collect();
        }
    }
}

struct Labels<'a> {
    group_names: &'a [String],
    names: &'a [String],
    point: &'a Point,
}

impl Labels<'_> {
    fn is_empty(&self) -> bool {
        self.group_names.is_empty() && self.names.is_empty()
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let group = self.point.group.iter().flat_map(|group| group.0.iter().map(|(_, value)| value));
        let values = group.chain(self.point.values.iter());
        let names = self.group_names.iter().chain(self.names);
        // An empty value is the same as no label (Prometheus, data model).
        for (name, value) in names.zip(values).filter(|(_, value)| !value.is_empty()) {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            key.write_str(name)?;
            let mut text = key.encode_label_value()?;
            text.write_str(value)?;
            text.finish()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::metric::{Counter, Gauge, Scope, Unit};
    use procagent_core::time::{Ns, Timestamp};

    fn families(list: Vec<(&'static Desc, Vec<Point>)>) -> Arc<Families> {
        let families = list.into_iter().map(|(desc, points)| Family { desc, points }).collect();
        Arc::new(Families { at: Timestamp::default(), families })
    }

    fn point(group: Option<&str>, values: &[&str], value: u64) -> Point {
        Point {
            group: group.map(|name| Arc::new(GroupLabels::named(name))),
            values: values.iter().map(|value| Box::from(*value)).collect(),
            value,
            start: Ns(0),
        }
    }

    static CPU: Counter<1> =
        Counter::per_group("process.cpu.time", Unit::Seconds, &["cpu.mode"], "CPU time used");
    static MEMORY: Gauge<0> = Gauge::per_group("process.memory.usage", Unit::Bytes, &[], "Resident memory");
    static UP: Gauge<0> = Gauge::per_host("procagent.up", Unit::None, &[], "Whether it is up");

    fn sample() -> Arc<Families> {
        families(vec![
            (
                CPU.desc(),
                vec![
                    point(Some("a"), &["user"], 1_500_000_000),
                    point(Some("a"), &["system"], 2_000_000_000),
                ],
            ),
            (MEMORY.desc(), vec![point(Some("a"), &[], u64::MAX)]),
            (UP.desc(), vec![point(None, &[], 1)]),
        ])
    }

    #[test]
    fn openmetrics_text() {
        let want = "\
# HELP process_cpu_time_seconds CPU time used
# TYPE process_cpu_time_seconds counter
# UNIT process_cpu_time_seconds seconds
process_cpu_time_seconds_total{group=\"a\",cpu_mode=\"user\"} 1.5
process_cpu_time_seconds_total{group=\"a\",cpu_mode=\"system\"} 2
# HELP process_memory_usage_bytes Resident memory
# TYPE process_memory_usage_bytes gauge
# UNIT process_memory_usage_bytes bytes
process_memory_usage_bytes{group=\"a\"} 18446744073709551615
# HELP procagent_up Whether it is up
# TYPE procagent_up gauge
procagent_up 1
# EOF
";
        assert_eq!(page(&sample(), Format::OpenMetrics), want);
    }

    #[test]
    fn classic_text_differs_in_the_metadata_only() {
        let want = "\
# HELP process_cpu_time_seconds_total CPU time used
# TYPE process_cpu_time_seconds_total counter
process_cpu_time_seconds_total{group=\"a\",cpu_mode=\"user\"} 1.5
process_cpu_time_seconds_total{group=\"a\",cpu_mode=\"system\"} 2
# HELP process_memory_usage_bytes Resident memory
# TYPE process_memory_usage_bytes gauge
process_memory_usage_bytes{group=\"a\"} 18446744073709551615
# HELP procagent_up Whether it is up
# TYPE procagent_up gauge
procagent_up 1
";
        assert_eq!(page(&sample(), Format::Classic), want);
        assert_eq!(page(&families(vec![]), Format::Classic), "");
        assert_eq!(page(&families(vec![]), Format::OpenMetrics), "# EOF\n");
    }

    #[test]
    fn names_are_those_of_the_definition_for_every_kind_and_unit() {
        let units = [Unit::Seconds, Unit::Bytes, Unit::Ratio, Unit::Count("thing"), Unit::None];
        for name in ["a.b", "seconds", "a.bytes", "a.ratio", "x_y.seconds.old"] {
            for (kind, unit) in [Kind::Counter, Kind::Gauge].into_iter().flat_map(|k| units.map(|u| (k, u))) {
                let desc: &'static Desc = Box::leak(Box::new(Desc {
                    name,
                    help: "x",
                    kind,
                    unit,
                    labels: &["l.x"],
                    scope: Scope::Host,
                }));
                let families = families(vec![(desc, vec![point(None, &["v"], 0)])]);
                let sample = format!("\n{}{{l_x=\"v\"}} 0\n", desc.prometheus_name());
                let openmetrics = page(&families, Format::OpenMetrics);
                assert!(openmetrics.contains(&sample), "{desc:?}: {openmetrics}");
                assert!(
                    openmetrics.contains(&format!("# TYPE {} ", desc.prometheus_family())),
                    "{openmetrics}"
                );
                let classic = page(&families, Format::Classic);
                assert!(classic.contains(&format!("# TYPE {} ", desc.prometheus_name())), "{classic}");
                assert!(classic.contains(&sample), "{classic}");
            }
        }
    }

    #[test]
    fn an_empty_label_is_none() {
        let families = families(vec![(CPU.desc(), vec![point(Some("a"), &[""], 0)])]);
        for format in [Format::OpenMetrics, Format::Classic] {
            let page = page(&families, format);
            assert!(page.contains("process_cpu_time_seconds_total{group=\"a\"} 0\n"), "{page}");
        }
    }

    #[test]
    fn label_values_are_hostile() {
        let cases = [
            (r#"say "hi""#, r#"say \"hi\""#),
            (r"C:\n", r"C:\\n"),
            ("two\nlines", r"two\nlines"),
            ("} 1\n# EOF\n", r"} 1\n# EOF\n"),
            ("{a=\"b\"}", r#"{a=\"b\"}"#),
            ("\u{1f980}\u{fffd}", "\u{1f980}\u{fffd}"),
            ("\r\t\u{1b}[31m\u{7f}", "\r\t\u{1b}[31m\u{7f}"),
        ];
        for (value, written) in cases {
            let families = families(vec![(CPU.desc(), vec![point(Some(value), &[value], 0)])]);
            for format in [Format::OpenMetrics, Format::Classic] {
                let page = page(&families, format);
                let want = format!(
                    "process_cpu_time_seconds_total{{group=\"{written}\",cpu_mode=\"{written}\"}} 0\n"
                );
                assert!(page.contains(&want), "{page}");
                let expected_lines = if format == Format::OpenMetrics { 5 } else { 3 };
                assert_eq!(page.split_terminator('\n').count(), expected_lines, "{page}");
            }
        }
    }

    #[test]
    fn groups_with_more_labels_than_others_are_written_whole() {
        let more = GroupLabels(vec![("group", "a".into()), ("process.user.name", "root".into())]);
        let wide = Point { group: Some(Arc::new(more)), ..point(None, &["user"], 0) };
        let families = families(vec![(CPU.desc(), vec![wide, point(Some("b"), &["user"], 0)])]);
        let page = page(&families, Format::Classic);
        assert!(page.contains("{group=\"a\",process_user_name=\"root\",cpu_mode=\"user\"} 0\n"), "{page}");
        assert!(page.contains("{group=\"b\",cpu_mode=\"user\"} 0\n"), "{page}");
    }

    #[test]
    fn values_are_divided_once() {
        let value = |value| {
            let page = page(
                &families(vec![(CPU.desc(), vec![point(Some("a"), &["user"], value)])]),
                Format::Classic,
            );
            page.trim_end().rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(value(0), "0");
        assert_eq!(value(100_000_000), "0.1");
        assert_eq!(value(1), "1e-9");
        assert_eq!(value(1_234_567_890_123_456), "1234567.890123456");
        assert_eq!(value(7_000_000_000_000_000_000), "7000000000");
    }
}
