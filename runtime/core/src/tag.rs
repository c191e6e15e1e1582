//! The tag of an event: the part of its JSON that names the variant.
//!
//! An event whose variant the code does not know is not the same as an event with an
//! unknown value in one of its fields. serde has one error for both, so the place of the
//! error decides, together with the way in which the type is deserialized.

use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::redaction;

/// Whether an error of deserializing an `E` is about the variant of the `E` itself.
///
/// A struct of two fields is taken for an adjacently tagged enum, which serde deserializes
/// in the same way.
pub(crate) fn is_unknown<E: DeserializeOwned>(payload: &[u8], error: &serde_json::Error) -> bool {
    // serde has no error kind for this; the start of its message has been the same since
    // 1.0.
    if !error.to_string().starts_with("unknown variant `") {
        return false;
    }
    let Ok(json) = std::str::from_utf8(payload) else {
        return false;
    };
    let Some(path) = redaction::path_of(json, error) else {
        return false;
    };
    match Shape::of::<E>() {
        // The name of the variant is the whole text, or the key of its only member.
        Shape::ExternallyTagged => path.is_empty(),
        // serde deserializes all members but the tag after it has read the whole text, so
        // that their errors have no place in it.
        Shape::InternallyTagged => path.starts_with('/') && !path[1..].contains('/'),
        Shape::Fields([tag, _]) => path == redaction::Name::Key((*tag).to_owned()).step(),
        Shape::Fields(_) | Shape::Other => false,
    }
}

/// The way in which a type is deserialized, as the error of a deserializer that has no
/// value.
#[derive(Debug, Clone, Copy)]
enum Shape {
    ExternallyTagged,
    InternallyTagged,
    /// A struct with these fields, or an adjacently tagged enum.
    Fields(&'static [&'static str]),
    Other,
}

impl Shape {
    fn of<E: DeserializeOwned>() -> Self {
        match E::deserialize(NoValue) {
            Ok(_) => Self::Other,
            Err(shape) => shape,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Shape {}

impl de::Error for Shape {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

/// A deserializer without a value, which finds out what a type asks it for.
struct NoValue;

impl<'de> Deserializer<'de> for NoValue {
    type Error = Shape;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Shape> {
        Err(Shape::InternallyTagged)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Shape> {
        Err(Shape::ExternallyTagged)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Shape> {
        Err(Shape::Fields(fields))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Shape> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Shape> {
        Err(Shape::Other)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
#[allow(clippy::panic, dead_code)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    enum How {
        ByPost,
    }

    #[derive(Deserialize)]
    enum External {
        Placed { how: How },
        Paid(Flat),
        Closed,
    }

    #[derive(Deserialize)]
    struct Flat {
        #[serde(flatten)]
        part: Part,
    }

    #[derive(Deserialize)]
    struct Part {
        how: How,
    }

    #[derive(Deserialize)]
    #[serde(tag = "type")]
    enum Internal {
        Placed { how: How },
        Closed,
    }

    #[derive(Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Adjacent {
        Placed { how: How },
        Closed,
    }

    #[derive(Deserialize)]
    struct Plain {
        how: How,
        often: u8,
        when: u8,
    }

    #[derive(Deserialize)]
    struct Wrapped(External);

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Strict {
        #[serde(deserialize_with = "refuses")]
        Named(String),
    }

    fn refuses<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        let name = String::deserialize(from)?;
        Err(de::Error::custom(format!("unknown variant `{name}`")))
    }

    fn is_unknown_in<E: DeserializeOwned>(json: &str) -> bool {
        match redaction::read::<E>(json.as_bytes()) {
            Ok(_) => panic!("{json} can be read"),
            Err(error) => is_unknown::<E>(json.as_bytes(), &error),
        }
    }

    #[test]
    fn the_variant_of_an_event_is_told_from_the_value_of_a_field() {
        for (json, unknown) in [
            (r#""Lost""#, true),
            (r#"{"Lost":{"a":1}}"#, true),
            ("{\n  \"Lost\": {}\n}", true),
            (r#"{"Lo`st":1}"#, true),
            (r#"{"Placed":{"how":"Lost"}}"#, false),
            (r#"{"Paid":{"how":"Lost"}}"#, false),
            (r#"["Lost"]"#, false),
        ] {
            assert_eq!(is_unknown_in::<External>(json), unknown, "{json}");
            assert_eq!(is_unknown_in::<Wrapped>(json), unknown, "{json}");
        }
        for (json, unknown) in [
            (r#"{"type":"Lost","a":1}"#, true),
            (r#"{"a":1,"type":"Lost"}"#, true),
            (r#"{"type":"Placed","how":"Lost"}"#, false),
            (r#"{"how":"Lost","type":"Placed"}"#, false),
            (r#"{"type":"Placed","how":"Lost" }"#, false),
            (r#"{"type":"Placed"}"#, false),
        ] {
            assert_eq!(is_unknown_in::<Internal>(json), unknown, "{json}");
        }
        for (json, unknown) in [
            (r#"{"type":"Lost","data":{}}"#, true),
            (r#"{"data":{},"type":"Lost"}"#, true),
            (r#"{"type":"Placed","data":{"how":"Lost"}}"#, false),
            (r#"{"data":{"how":"Lost"},"type":"Placed"}"#, false),
        ] {
            assert_eq!(is_unknown_in::<Adjacent>(json), unknown, "{json}");
        }
        assert!(!is_unknown_in::<Plain>(
            r#"{"how":"Lost","often":1,"when":1}"#
        ));
        assert!(!is_unknown_in::<Flat>(r#"{"how":"Lost"}"#));
        assert!(!is_unknown_in::<Strict>(r#"{"named":"named"}"#));
    }
}
