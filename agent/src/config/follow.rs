//! Follows a deserializer through the file: knows under which key it is, and expands `${NAME}` in the strings that
//! pass. Doing it here, after the YAML is parsed, means that no variable can change the structure of the file.

use super::variables::{Expanded, Variables};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::cell::RefCell;
use std::fmt;

/// What is known when something goes wrong.
pub struct Trail<'a> {
    variables: &'a Variables,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The key that was read last and whose value has not been read yet.
    key: Option<String>,
    /// From the innermost outwards: filled while an error travels out.
    path: Vec<String>,
    /// Variables that went into strings so far.
    used: Vec<(String, String)>,
}

impl<'a> Trail<'a> {
    /// At the root of a file.
    pub fn new(variables: &'a Variables) -> Trail<'a> {
        Trail { variables, state: RefCell::default() }
    }

    /// Where the error came from, such as `outputs.prometheus.listen` or `groups.rules[1].group`; empty at the root.
    pub fn path(&self) -> String {
        let state = self.state.borrow();
        let mut path = String::new();
        for step in state.path.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    /// `message` with the names of variables in place of their values: they may be secret.
    pub fn without_values(&self, message: &str) -> String {
        let state = self.state.borrow();
        state.used.iter().filter(|(_, value)| !value.is_empty()).fold(message.to_owned(), |text, used| {
            let (name, value) = used;
            text.replace(value, &format!("${{{name}}}"))
        })
    }

    fn step_out(&self, of: String) {
        self.state.borrow_mut().path.push(of);
    }

    fn expand<E: Error>(&self, text: &str) -> Result<Option<String>, E> {
        let Some(Expanded { text, used }) = self.variables.expand(text).map_err(E::custom)? else {
            return Ok(None);
        };
        self.state.borrow_mut().used.extend(used);
        Ok(Some(text))
    }
}

/// A deserializer, visitor, seed or access that is followed.
pub struct Follow<'a, T> {
    inner: T,
    trail: &'a Trail<'a>,
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Key,
    Value,
    /// What the YAML library wraps around a value to say where it stands: its keys are not the file's.
    Span,
}

/// By this name the YAML library's `Spanned` asks for the wrapper.
const SPANNED: &str = "__yaml_spanned";

impl<'a, T> Follow<'a, T> {
    /// Follows from the root of a file.
    pub fn new(inner: T, trail: &'a Trail<'a>) -> Follow<'a, T> {
        Follow { inner, trail, role: Role::Value }
    }

    fn with<U>(&self, inner: U) -> Follow<'a, U> {
        Follow { inner, trail: self.trail, role: self.role }
    }
}

macro_rules! follow_visitor {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.with(visitor);
            self.inner.$method(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Follow<'_, D> {
    type Error = D::Error;

    follow_visitor!(
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq deserialize_map
        deserialize_identifier deserialize_ignored_any
    );

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let mut visitor = self.with(visitor);
        if name == SPANNED {
            visitor.role = Role::Span;
        }
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_tuple_struct(name, length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.with(visitor);
        self.inner.deserialize_enum(name, variants, visitor)
    }
}

macro_rules! pass_on {
    ($($method:ident($value:ty))*) => {$(
        fn $method<E: Error>(self, value: $value) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Follow<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_on!(
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128) visit_u8(u8)
        visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64)
        visit_char(char) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    );

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        match self.role {
            Role::Key => {
                self.trail.state.borrow_mut().key = Some(text.to_owned());
                self.inner.visit_str(text)
            }
            Role::Value | Role::Span => match self.trail.expand(text)? {
                Some(expanded) => self.inner.visit_string(expanded),
                None => self.inner.visit_str(text),
            },
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.visit_str(text)
    }

    fn visit_string<E: Error>(self, text: String) -> Result<V::Value, E> {
        self.visit_str(&text)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        let items = Items { inner: self.with(items), next: 0 };
        self.inner.visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = self.with(map);
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.with(access);
        self.inner.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Follow<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.deserialize(deserializer)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Follow<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        if self.role == Role::Span {
            return self.inner.next_key_seed(seed);
        }
        self.trail.state.borrow_mut().key = None;
        let seed = Follow { inner: seed, trail: self.trail, role: Role::Key };
        self.inner.next_key_seed(seed).inspect_err(|_| {
            let key = self.trail.state.borrow_mut().key.take();
            key.into_iter().for_each(|key| self.trail.step_out(key));
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let key = self.trail.state.borrow_mut().key.take().filter(|_| self.role != Role::Span);
        let seed = Follow { inner: seed, trail: self.trail, role: Role::Value };
        let result = self.inner.next_value_seed(seed);
        result.inspect_err(|_| key.into_iter().for_each(|key| self.trail.step_out(key)))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The items of a list, counted from 0 as in `rules[0]`.
struct Items<'a, A> {
    inner: Follow<'a, A>,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let (index, seed) = (self.next, self.inner.with(seed));
        self.next += 1;
        let result = self.inner.inner.next_element_seed(seed);
        result.inspect_err(|_| self.inner.trail.step_out(format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.inner.size_hint()
    }
}

impl<'de, 'a, A: EnumAccess<'de>> EnumAccess<'de> for Follow<'a, A> {
    type Error = A::Error;
    type Variant = Follow<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (trail, role, seed) = (self.trail, self.role, self.with(seed));
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Follow { inner: variant, trail, role }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Follow<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
