//! A part of the configuration that is either `off` or has settings.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// `off`, or a mapping of settings. Nothing at all (`key:` or no key) means the default settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch<T> {
    /// Switched off.
    Off,
    /// On, with these settings.
    On(T),
}

impl<T> Switch<T> {
    /// The settings, unless it is off.
    pub fn on(&self) -> Option<&T> {
        match self {
            Switch::Off => None,
            Switch::On(settings) => Some(settings),
        }
    }
}

impl<T: Default> Default for Switch<T> {
    fn default() -> Switch<T> {
        Switch::On(T::default())
    }
}

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Switch<T>, D::Error> {
        deserializer.deserialize_any(SwitchVisitor(PhantomData))
    }
}

struct SwitchVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("off, or a mapping of settings")
    }

    /// `off` is false in YAML 1.1 and a word in YAML 1.2; parsers differ.
    fn visit_bool<E: Error>(self, on: bool) -> Result<Switch<T>, E> {
        if on { Err(E::invalid_value(Unexpected::Bool(on), &self)) } else { Ok(Switch::Off) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Switch<T>, E> {
        if text == "off" { Ok(Switch::Off) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
    }

    fn visit_unit<E: Error>(self) -> Result<Switch<T>, E> {
        Ok(Switch::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
    }
}
