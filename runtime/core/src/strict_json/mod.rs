//! JSON without silent loss. `serde_json` writes `null` for a number that is
//! NaN or infinite, and an `Option` reads that `null` back as `None`; here such
//! a number is an error, anywhere in a value.
//!
//! Everything else is `serde_json`: a wrapper around its serializer forwards
//! every call and checks floating-point numbers. It cannot detect a `Serialize`
//! implementation that loses the number itself, for example through
//! `serde_json::to_value`.

use std::fmt::Display;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::redaction::{Name, place};

/// The reason why a number is rejected.
const NOT_FINITE: &str = "a number that JSON cannot represent (NaN or infinite)";

/// Appends a value as JSON. After an error the text is unchanged.
pub(crate) fn to_writer<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), serde_json::Error> {
    let start = out.len();
    let mut json = serde_json::Serializer::new(&mut *out);
    value.serialize(Strict(&mut json)).map_err(|error| {
        let error = with_place(error, &out[start..]);
        out.truncate(start);
        error
    })
}

/// Serializes a value as JSON.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::with_capacity(128);
    to_writer(&mut json, value)?;
    Ok(json)
}

/// Adds the place where serialization stopped to the error. The place is
/// derived from the text written so far, so that successful calls track
/// nothing.
fn with_place(error: serde_json::Error, written: &[u8]) -> serde_json::Error {
    let text = error.to_string();
    let (path, is_key) = path_of_end(written);
    let at = match text == NOT_FINITE {
        true if is_key => "in a key of",
        false if path.is_empty() => return error,
        _ => "at",
    };
    serde_json::Error::custom(format!("{text} {at} {}", place(&path)))
}

/// The path of the next value after an incomplete JSON text; `true` if a key
/// comes next, with the path of its object.
fn path_of_end(written: &[u8]) -> (String, bool) {
    let mut within: Vec<Option<Name>> = Vec::new();
    // Whether the text ends with a complete value.
    let mut complete = false;
    let mut at = 0;
    while let Some(byte) = written.get(at) {
        let mut end = at + 1;
        let is_complete = match byte {
            b'{' => {
                within.push(None);
                false
            }
            b'[' => {
                within.push(Some(Name::Index(0)));
                false
            }
            b'}' | b']' => {
                within.pop();
                true
            }
            b',' => {
                match within.last_mut() {
                    Some(Some(Name::Index(index))) => *index += 1,
                    Some(key) => *key = None,
                    None => {}
                }
                false
            }
            b':' => false,
            b'"' => {
                let Some(length) = string(&written[at..]) else {
                    // The serialization stopped inside this string.
                    break;
                };
                end = at + length;
                match within.last_mut() {
                    Some(key @ None) => {
                        let name = serde_json::from_slice(&written[at..end]);
                        *key = Some(Name::Key(name.unwrap_or_default()));
                        false
                    }
                    _ => true,
                }
            }
            _ => true,
        };
        complete = is_complete;
        at = end;
    }
    if complete {
        // The value that contains this one cannot be written.
        within.pop();
    }
    let is_key = matches!(within.last(), Some(None));
    let steps = within.iter().flatten().map(Name::step);
    (steps.collect(), is_key)
}

/// The length of the string at the start of the text; `None` if it is
/// incomplete.
fn string(json: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A serializer, or a part of one, that rejects numbers that are not finite.
struct Strict<S>(S);

/// A value that is serialized through [`Strict`].
struct Value<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Value<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Strict(serializer))
    }
}

macro_rules! as_they_are {
    ($($method:ident($type:ty)),* $(,)?) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.0.$method(value)
        }
    )*};
}

macro_rules! finite {
    ($($method:ident($type:ty)),*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            if value.is_finite() {
                self.0.$method(value)
            } else {
                Err(S::Error::custom(NOT_FINITE))
            }
        }
    )*};
}

impl<S: Serializer> Serializer for Strict<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Strict<S::SerializeSeq>;
    type SerializeTuple = Strict<S::SerializeTuple>;
    type SerializeTupleStruct = Strict<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Strict<S::SerializeTupleVariant>;
    type SerializeMap = Strict<S::SerializeMap>;
    type SerializeStruct = Strict<S::SerializeStruct>;
    type SerializeStructVariant = Strict<S::SerializeStructVariant>;

    finite!(serialize_f32(f32), serialize_f64(f64));

    as_they_are!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    );

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Value(value))
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Value(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Value(value);
        self.0
            .serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.0.serialize_seq(len).map(Strict)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.0.serialize_tuple(len).map(Strict)
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.0.serialize_tuple_struct(name, len).map(Strict)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let tuple = self.0.serialize_tuple_variant(name, index, variant, len);
        tuple.map(Strict)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.0.serialize_map(len).map(Strict)
    }

    // `serde_json` recognizes its own `RawValue` and `Number` by this name.
    #[inline]
    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.0.serialize_struct(name, len).map(Strict)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let fields = self.0.serialize_struct_variant(name, index, variant, len);
        fields.map(Strict)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Sequences and tuples: their elements are values.
macro_rules! elements {
    ($($trait:ident $method:ident),*) => {$(
        impl<S: $trait> $trait for Strict<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.0.$method(&Value(value))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// Structs: their fields are values with a name.
macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl<S: $trait> $trait for Strict<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.0.serialize_field(key, &Value(value))
            }

            #[inline]
            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(key)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Strict<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(&Value(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&Value(value))
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), S::Error> {
        self.0.serialize_entry(&Value(key), &Value(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

#[cfg(test)]
mod tests;
