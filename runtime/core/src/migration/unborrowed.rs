//! Deserialization of a type that may borrow for `'static` from a text with a
//! shorter lifetime: the type is never given borrowed data. A type that
//! requires it, such as `&str`, gets the same error as from a reader.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// A wrapper between the two. `'de` is the lifetime of the text.
pub(crate) struct Unborrowed<'de, T>(T, PhantomData<&'de ()>);

impl<T> Unborrowed<'_, T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(inner, PhantomData)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

impl<'de, T: Deserialize<'static>> Deserialize<'de> for Unborrowed<'de, T> {
    fn deserialize<D: Deserializer<'de>>(inner: D) -> Result<Self, D::Error> {
        T::deserialize(Unborrowed::new(inner)).map(Self::new)
    }
}

macro_rules! pass_to_deserializer {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'static>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* Unborrowed::new(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'static> for Unborrowed<'de, D> {
    type Error = D::Error;

    pass_to_deserializer! {
        deserialize_any()
        deserialize_bool()
        deserialize_i8()
        deserialize_i16()
        deserialize_i32()
        deserialize_i64()
        deserialize_i128()
        deserialize_u8()
        deserialize_u16()
        deserialize_u32()
        deserialize_u64()
        deserialize_u128()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_option()
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq()
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier()
        deserialize_ignored_any()
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! pass_to_visitor {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

/// Passes borrowed data on as data that must be copied.
impl<'de, V: Visitor<'static>> Visitor<'de> for Unborrowed<'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    pass_to_visitor! {
        visit_bool(bool)
        visit_i8(i8)
        visit_i16(i16)
        visit_i32(i32)
        visit_i64(i64)
        visit_i128(i128)
        visit_u8(u8)
        visit_u16(u16)
        visit_u32(u32)
        visit_u64(u64)
        visit_u128(u128)
        visit_f32(f32)
        visit_f64(f64)
        visit_char(char)
        visit_str(&str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Unborrowed::new(inner))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Unborrowed::new(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Unborrowed::new(inner))
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Unborrowed::new(inner))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Unborrowed::new(inner))
    }
}

impl<'de, S: DeserializeSeed<'static>> DeserializeSeed<'de> for Unborrowed<'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Unborrowed::new(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'static> for Unborrowed<'de, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'static>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Unborrowed::new(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'static> for Unborrowed<'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'static>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Unborrowed::new(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Unborrowed::new(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'static> for Unborrowed<'de, A> {
    type Error = A::Error;
    type Variant = Unborrowed<'de, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'static>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(Unborrowed::new(seed))?;
        Ok((value, Unborrowed::new(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'static> for Unborrowed<'de, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'static>>(
        self,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Unborrowed::new(seed))
    }

    fn tuple_variant<V: Visitor<'static>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Unborrowed::new(visitor))
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Unborrowed::new(visitor))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        whole: (u8, i8, u64, i64, u128, i128),
        real: (f32, f64),
        text: (String, char, bool, ()),
        list: Vec<Option<Kind>>,
        by_number: BTreeMap<u32, Newtype>,
        tree: Tree,
        tagged: Tagged,
        either: [Either; 3],
        value: Value,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        Newtype(u8),
        Tuple(u8, String),
        Struct { a: u8 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(Unit);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Tree {
        branches: Vec<Tree>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "of")]
    enum Tagged {
        Number(u8),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u8),
        Text(String),
        None,
    }

    fn unborrowed<T: Deserialize<'static>>(json: &[u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice::<Unborrowed<'_, T>>(json).map(Unborrowed::into_inner)
    }

    #[test]
    fn each_kind_of_value_is_read_as_it_is_without_a_detour() {
        let json = json!({
            "whole": [200, -100, u64::MAX, i64::MIN, 7, -7],
            "real": [1.5, -2.25],
            "text": ["with \"quotes\" and é", "ß", true, null],
            "list": [null, "Unit", {"Newtype": 1}, {"Tuple": [2, "two"]}, {"Struct": {"a": 3}}],
            "by_number": {"17": null},
            "tree": {"branches": [{"branches": []}, {"branches": [{"branches": []}]}]},
            "tagged": {"kind": "Number", "of": 4},
            "either": [5, "five", null],
            "value": {"a": [1, -1, 0.5, "x", null, {}]},
            "more": {"of": "the rest"},
        });
        let json = json.to_string();
        let direct: All = serde_json::from_str(&json).unwrap();
        assert_eq!(unborrowed::<All>(json.as_bytes()).unwrap(), direct);
        assert_eq!(
            serde_json::to_value(&direct).unwrap()["more"]["of"],
            "the rest"
        );
        let raw: Box<RawValue> = unborrowed(b"{\"b\" : [ 1 ]}").unwrap();
        assert_eq!(raw.get(), "{\"b\" : [ 1 ]}");
    }

    #[test]
    fn refusals_are_the_same() {
        for json in [
            "{\"branches\": 1}",
            "{}",
            "{\"branches\": [{]}",
            "7",
            "\"\u{1}\"",
        ] {
            let direct = serde_json::from_str::<Tree>(json).unwrap_err();
            let refused = unborrowed::<Tree>(json.as_bytes()).unwrap_err();
            assert_eq!(refused.to_string(), direct.to_string());
        }
    }

    #[test]
    fn nothing_is_lent() {
        let refused = unborrowed::<&'static str>(b"\"text\"").unwrap_err();
        let expected = "invalid type: string \"text\", expected a borrowed string";
        assert!(refused.to_string().starts_with(expected), "{refused}");
        assert!(unborrowed::<&'static [u8]>(b"\"text\"").is_err());
    }
}
