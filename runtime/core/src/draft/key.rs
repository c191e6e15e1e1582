//! Keys of maps: texts in JSON, which a type reads as texts, numbers or variants.

use serde::de::{self, Deserializer, Visitor, value::StringDeserializer};
use serde::de::{EnumAccess, IntoDeserializer};

use crate::draft::Refusal;

/// A key; empty until a request says what kind of key it is.
pub(crate) struct Key<'a> {
    pub(crate) text: &'a mut String,
    pub(crate) kind: &'a mut String,
    /// Set if the key is the name of a field.
    pub(crate) is_field: &'a mut bool,
}

impl Key<'_> {
    fn fill(&mut self, kind: &str, text: &str) {
        kind.clone_into(self.kind);
        if self.text.is_empty() {
            text.clone_into(self.text);
        }
    }

    fn parsed<T: std::str::FromStr>(&self) -> Result<T, Refusal> {
        self.text
            .parse()
            .map_err(|_| Refusal::Other(format!("the key {:?} is not a {}", self.text, self.kind)))
    }
}

macro_rules! parsed_keys {
    ($($method:ident $visit:ident $kind:literal $text:literal)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
            self.fill($kind, $text);
            visitor.$visit(self.parsed()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Refusal;

    parsed_keys! {
        deserialize_bool visit_bool "bool" "true"
        deserialize_i8 visit_i8 "i8" "1"
        deserialize_i16 visit_i16 "i16" "1"
        deserialize_i32 visit_i32 "i32" "1"
        deserialize_i64 visit_i64 "i64" "1"
        deserialize_i128 visit_i128 "i128" "1"
        deserialize_u8 visit_u8 "u8" "1"
        deserialize_u16 visit_u16 "u16" "1"
        deserialize_u32 visit_u32 "u32" "1"
        deserialize_u64 visit_u64 "u64" "1"
        deserialize_u128 visit_u128 "u128" "1"
        deserialize_f32 visit_f32 "f32" "1"
        deserialize_f64 visit_f64 "f64" "1"
        deserialize_char visit_char "char" "a"
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        self.fill("string", "a");
        visitor.visit_str(self.text)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        *self.is_field = true;
        if self.text.is_empty() {
            return Err(Refusal::Repeat);
        }
        visitor.visit_str(self.text)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let mut sorted = variants.to_vec();
        sorted.sort_unstable();
        let kind = format!("one of {}", sorted.join(", "));
        self.fill(&kind, variants.first().copied().unwrap_or("a"));
        visitor.visit_enum(KeyVariant(self.text.clone()))
    }

    serde::forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct ignored_any
    }
}

struct KeyVariant(String);

impl<'de> EnumAccess<'de> for KeyVariant {
    type Error = Refusal;
    type Variant = OnlyUnit;

    fn variant_seed<S: de::DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, OnlyUnit), Refusal> {
        let name: StringDeserializer<Refusal> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, OnlyUnit))
    }
}

/// The content of a variant that is a key.
struct OnlyUnit;

fn not_unit<T>() -> Result<T, Refusal> {
    Err(Refusal::Other("a key cannot have content".to_owned()))
}

impl<'de> de::VariantAccess<'de> for OnlyUnit {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        Ok(())
    }

    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Refusal> {
        not_unit()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Refusal> {
        not_unit()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refusal> {
        not_unit()
    }
}
