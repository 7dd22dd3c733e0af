//! The two text formats that Prometheus reads, as pure functions of frozen families.
//!
//! OpenMetrics 1.0.0 comes from `prometheus-client`. The classic format 0.0.4 is the same text with its metadata
//! lines rewritten, for the two differ in nothing else: classic names the metadata after the samples, and has
//! neither units nor an end mark.
//!
//! The unit of work is one family, so that a server can do other things in between. Names and help texts are
//! constants that [`Desc::check`] has found harmless; label values come from programs and are escaped.

use procagent_core::group::GroupLabels;
use procagent_core::metric::{Desc, Kind, Unit, prometheus_label};
use procagent_core::registry::{Families, Family, Point};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
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

/// Appends the end mark of OpenMetrics.
pub fn encode_end(format: Format, page: &mut String) {
    if format == Format::OpenMetrics {
        let _infallible = encode_eof(page);
    }
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
            encode_value(&mut encoder.encode_family(&labels)?, desc, point.value)?;
        }
        Ok(())
    }
}

/// The library appends the unit to the name on its own.
fn name_and_unit(desc: &Desc) -> (String, Option<prometheus_client::registry::Unit>) {
    let family = desc.prometheus_family();
    let stem = desc.unit.suffix().and_then(|unit| Some((family.strip_suffix(unit)?.strip_suffix('_')?, unit)));
    match stem {
        Some((stem, unit)) => {
            (stem.to_owned(), Some(prometheus_client::registry::Unit::Other(unit.to_owned())))
        }
        None => (family, None),
    }
}

/// Whole numbers are written as such; the others as the float nearest to value / grain.
fn encode_value(encoder: &mut MetricEncoder<'_>, desc: &Desc, value: u64) -> fmt::Result {
    let grain = desc.unit.grain();
    let whole = value.is_multiple_of(grain);
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds above 2^53 are 104 days: 15 digits remain exact")]
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

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let group = self.point.group.iter().flat_map(|group| group.0.iter().map(|(_, value)| value));
        let values = group.chain(self.point.values.iter());
        for (name, value) in self.group_names.iter().chain(self.names).zip(values) {
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
