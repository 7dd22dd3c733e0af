//! The rules of groups: from what stands in the file to what the core compiles, with the place of what is wrong.

use super::ConfigError;
use super::error::Place;
use super::layer::{self, Layer, shorten};
use super::snippet::snippet;
use procagent_core::group::{self, Label, PRESETS, Problem, RuleError, RuleText, preset};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// Rules at most, and entries of one condition: each may cost a regular expression.
const RULES_MAX: usize = 1000;
const ENTRIES_MAX: usize = 1000;

/// A rule that was checked.
#[derive(Clone, Debug)]
pub struct CheckedRule {
    /// Where it came from: `groups.rules[0]`, or `preset wazuh`.
    pub origin: String,
    text: RuleText,
    rule: group::Rule,
}

impl CheckedRule {
    /// The rule.
    pub fn rule(&self) -> &group::Rule {
        &self.rule
    }

    /// The same as people write it.
    pub fn text(&self) -> &RuleText {
        &self.text
    }
}

impl PartialEq for CheckedRule {
    /// What was compiled follows from the text.
    fn eq(&self, other: &CheckedRule) -> bool {
        self.origin == other.origin && self.text == other.text
    }
}

/// A word of `groups.labels`.
#[derive(Clone, Copy, Debug)]
pub struct LabelWord(Label);

impl<'de> Deserialize<'de> for LabelWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LabelWord, D::Error> {
        let text = String::deserialize(deserializer)?;
        match &*text {
            "user" => Ok(LabelWord(Label::User)),
            "unit" => Ok(LabelWord(Label::Unit)),
            "container" => Ok(LabelWord(Label::Container)),
            "namespace" | "pod" | "k8s_container" => Err(D::Error::custom(format!(
                "this version has no label `{text}`: there are user, unit, container"
            ))),
            _ => Err(D::Error::custom(format!(
                "`{}` is unknown: write user, unit or container",
                shorten(&text)
            ))),
        }
    }
}

/// A word of `groups.presets`.
#[derive(Clone, Debug)]
pub struct Preset(String);

impl<'de> Deserialize<'de> for Preset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Preset, D::Error> {
        let text = String::deserialize(deserializer)?;
        if PRESETS.contains(&&*text) {
            return Ok(Preset(text));
        }
        Err(D::Error::custom(format!("`{}` is no preset: there is {}", shorten(&text), PRESETS.join(", "))))
    }
}

/// One text, or a list of them.
#[derive(Clone, Debug)]
pub enum Texts {
    /// One.
    One(String),
    /// A list, each with its place.
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts (numbers in quotes)")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(Texts::Many(texts))
    }
}

/// The labels of a list that was checked.
pub(super) fn labels(words: Vec<Spanned<LabelWord>>) -> Vec<Label> {
    words.into_iter().map(|word| word.value.0).collect()
}

/// Checks what the shape of the file cannot say: labels and rules. Fills in what the rules amount to.
pub(super) fn check(origin: &str, text: &str, mut layer: Layer) -> Result<Layer, ConfigError> {
    let Some(groups) = &mut layer.groups else { return Ok(layer) };
    let wrong = |wrong: Wrong| ConfigError {
        origin: origin.to_owned(),
        place: wrong.place,
        key: wrong.key,
        message: wrong.message,
        snippet: wrong.place.map(|place| snippet(text, place)).unwrap_or_default(),
    };
    check_labels(groups.labels.as_deref().unwrap_or_default()).map_err(wrong)?;
    if groups.rules.is_some() || groups.presets.is_some() {
        groups.checked = Some(checked(groups).map_err(wrong)?);
    }
    Ok(layer)
}

/// What is wrong, where.
struct Wrong {
    place: Option<Place>,
    key: String,
    message: String,
}

fn place<T>(spanned: &Spanned<T>) -> Option<Place> {
    Some(Place { line: spanned.referenced.line(), column: spanned.referenced.column() })
}

fn check_labels(labels: &[Spanned<LabelWord>]) -> Result<(), Wrong> {
    for (index, label) in labels.iter().enumerate() {
        if labels[..index].iter().any(|before| before.value.0 == label.value.0) {
            let message = "this label is there twice".to_owned();
            return Err(Wrong { place: place(label), key: format!("groups.labels[{index}]"), message });
        }
    }
    Ok(())
}

fn checked(groups: &layer::Groups) -> Result<Vec<CheckedRule>, Wrong> {
    let in_file = groups.rules.as_deref().unwrap_or_default();
    let mut checked: Vec<CheckedRule> = Vec::new();
    for (index, rule) in in_file.iter().enumerate() {
        let key = format!("groups.rules[{index}]");
        let wrong = |message: String| Wrong { place: place(rule), key: key.clone(), message };
        if index == RULES_MAX {
            return Err(wrong(format!("there are more than {RULES_MAX} rules")));
        }
        let text = as_text(&rule.value).map_err(wrong)?;
        let built = group::Rule::build(&text).map_err(|error| point_at(&key, rule, &error))?;
        // A name with placeholders leaves processes without a value for them to the next rule.
        let covers = |other: &&CheckedRule| {
            other.text.conditions == text.conditions && other.rule.group.literal().is_some()
        };
        if let Some(before) = checked.iter().find(covers) {
            return Err(wrong(format!(
                "no process can get here: {} has the same conditions and comes first",
                before.origin
            )));
        }
        checked.push(CheckedRule { origin: key, text, rule: built });
    }
    for Preset(name) in groups.presets.as_deref().unwrap_or_default() {
        for text in preset(name).unwrap_or_default() {
            let origin = format!("preset {name}");
            let rule = group::Rule::build(&text).map_err(|error| Wrong {
                place: None,
                key: "groups.presets".to_owned(),
                message: format!("{origin}: {error}"),
            })?;
            checked.push(CheckedRule { origin, text, rule });
        }
    }
    Ok(checked)
}

fn as_text(rule: &layer::Rule) -> Result<RuleText, String> {
    let Some(group) = &rule.group else {
        return Err("`group` is missing: say which group the matching processes belong to".to_owned());
    };
    let Some(conditions) = &rule.conditions else {
        return Err(
            "`match` is missing: say which processes belong to the group; `match: {}` takes all".to_owned()
        );
    };
    let texts = |key: &str, texts: &Option<Spanned<Texts>>| match texts.as_ref().map(|texts| &texts.value) {
        None => Ok(Vec::new()),
        Some(Texts::One(text)) => Ok(vec![text.clone()]),
        Some(Texts::Many(list)) if list.is_empty() => {
            Err(format!("`match.{key}` is an empty list, which nothing matches: leave the key out"))
        }
        Some(Texts::Many(list)) if list.len() > ENTRIES_MAX => {
            Err(format!("`match.{key}` has more than {ENTRIES_MAX} entries"))
        }
        Some(Texts::Many(list)) => Ok(list.iter().map(|text| text.value.clone()).collect()),
    };
    Ok(RuleText {
        group: group.value.clone(),
        conditions: group::Conditions {
            name: texts("name", &conditions.name)?,
            user: texts("user", &conditions.user)?,
            exe: texts("exe", &conditions.exe)?,
            unit: texts("unit", &conditions.unit)?,
            container: texts("container", &conditions.container)?,
            cmdline: texts("cmdline", &conditions.cmdline)?,
        },
        descendants: rule.descendants.unwrap_or(false),
        expect: rule.expect.as_ref().is_some_and(|expect| expect.value),
        version: rule.version.as_ref().map(|version| version.value.clone()),
    })
}

/// Turns the core's words for a part of a rule into a key and a place in the file.
fn point_at(key: &str, rule: &Spanned<layer::Rule>, error: &RuleError) -> Wrong {
    use group::Place as Part;
    let conditions = rule.value.conditions.as_ref();
    let texts = match error.place {
        Part::Group | Part::Expect | Part::Version => None,
        Part::Name(_) => conditions.and_then(|conditions| conditions.name.as_ref()),
        Part::User(_) => conditions.and_then(|conditions| conditions.user.as_ref()),
        Part::Exe(_) => conditions.and_then(|conditions| conditions.exe.as_ref()),
        Part::Unit(_) => conditions.and_then(|conditions| conditions.unit.as_ref()),
        Part::Container(_) => conditions.and_then(|conditions| conditions.container.as_ref()),
        Part::Cmdline(_) => conditions.and_then(|conditions| conditions.cmdline.as_ref()),
    };
    let (found, entry) = match (error.place, texts.map(|texts| &texts.value), error.place.index()) {
        (_, Some(Texts::Many(list)), Some(index)) => (list.get(index).and_then(place), format!("[{index}]")),
        (Part::Group, ..) => (rule.value.group.as_ref().and_then(place), String::new()),
        (Part::Expect, ..) => (rule.value.expect.as_ref().and_then(place), String::new()),
        (Part::Version, ..) => (rule.value.version.as_ref().and_then(place), String::new()),
        _ => (texts.and_then(place), String::new()),
    };
    Wrong {
        place: found.or(place(rule)),
        key: format!("{key}.{}{entry}", error.place.keys().join(".")),
        message: message(&error.problem),
    }
}

fn message(problem: &Problem) -> String {
    match problem {
        // The library's message draws the pattern again; the file is shown anyway.
        Problem::Pattern(text) => {
            let last = text.lines().next_back().unwrap_or_default();
            format!("is no regular expression: {}", last.trim_start_matches("error: "))
        }
        problem => problem.to_string(),
    }
}
