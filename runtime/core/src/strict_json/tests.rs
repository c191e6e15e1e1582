//! Tests of the strict serializer against that of `serde_json`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::*;

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
struct Newtype<T>(T);

#[derive(Serialize)]
struct Pair<T>(u8, T);

#[derive(Serialize)]
struct Named<T> {
    a: u8,
    b: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<u8>,
}

impl<T> Named<T> {
    fn new(b: T) -> Self {
        let skipped = None;
        Self { a: 1, b, skipped }
    }
}

#[derive(Serialize)]
enum Variant<T> {
    Unit,
    Newtype(T),
    Tuple(u8, T),
    Struct {
        a: u8,
        b: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        skipped: Option<u8>,
    },
}

impl<T> Variant<T> {
    fn fields(b: T) -> Self {
        let skipped = None;
        Self::Struct { a: 1, b, skipped }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    Newtype(Named<T>),
    Struct { b: T },
}

#[derive(Serialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent<T> {
    Newtype(T),
    Tuple(u8, T),
    Struct { b: T },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Untagged<T> {
    Newtype(T),
    Struct { b: T },
}

#[derive(Serialize)]
struct Flattened<T> {
    a: u8,
    #[serde(flatten)]
    rest: T,
}

/// A value that is written through its `Display`.
struct Shown(&'static str);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes, which serde writes as a sequence by default.
struct Bytes;

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[0, 255])
    }
}

/// A value with different human-readable and binary forms.
struct ForPeople;

impl Serialize for ForPeople {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match serializer.is_human_readable() {
            true => "people",
            false => "programs",
        };
        serializer.serialize_str(text)
    }
}

/// A map whose keys and values are serialized separately.
struct KeyByKey<K, V>(K, V);

impl<K: Serialize, V: Serialize> Serialize for KeyByKey<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_key(&self.0)?;
        map.serialize_value(&self.1)?;
        map.end()
    }
}

/// A map with one entry and any type of key.
struct Entry<K, V>(K, V);

impl<K: Serialize, V: Serialize> Serialize for Entry<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, &self.1)])
    }
}

/// A number that is written through a raw JSON text.
struct Raw(&'static str);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.0).unwrap();
        raw.serialize(serializer)
    }
}

/// A value that fails after a part of it was written.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut parts = serializer.serialize_struct("Unwritable", 2)?;
        parts.serialize_field("first", &1)?;
        Err(S::Error::custom("not for paper"))
    }
}

/// A sequence whose length is not known in advance.
struct Unsized;

impl Serialize for Unsized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&1)?;
        list.end()
    }
}

/// Checks that the text equals that of `serde_json`.
fn as_serde_json(value: impl Serialize) {
    let ours = String::from_utf8(to_vec(&value).unwrap()).unwrap();
    assert_eq!(ours, serde_json::to_string(&value).unwrap());
}

fn refusal(value: impl Serialize) -> String {
    to_vec(&value).unwrap_err().to_string()
}

#[test]
fn all_kinds_of_values_are_written_as_by_serde_json() {
    as_serde_json(true);
    as_serde_json((-8_i8, -16_i16, -32_i32, i64::MIN, i128::MIN));
    as_serde_json((8_u8, 16_u16, 32_u32, u64::MAX, u128::MAX));
    as_serde_json((0.1_f32, f32::MAX, f32::MIN_POSITIVE, -0.0_f32));
    as_serde_json((0.1_f64, f64::MAX, f64::MIN_POSITIVE, -0.0_f64));
    as_serde_json(('ä', "a\"\\\u{1}", Bytes));
    as_serde_json((None::<u8>, Some(1.5), (), Unit));
    as_serde_json((Newtype(1.5), Pair(1, 1.5), Named::new(1.5)));
    as_serde_json((Variant::<u8>::Unit, Variant::Newtype(1.5)));
    as_serde_json((Variant::Tuple(1, 1.5), Variant::fields(1.5)));
    as_serde_json((vec![vec![1.5], vec![]], Unsized));
    as_serde_json(Named::new(Some(1_u8)).b);
    as_serde_json((Tagged::Newtype(Named::new(1.5)), Tagged::Struct { b: 1.5 }));
    as_serde_json((Adjacent::Newtype(1.5), Adjacent::Tuple(1, 1.5)));
    as_serde_json((Adjacent::Struct { b: 1.5 }, Untagged::Newtype(1.5)));
    as_serde_json(Untagged::Struct { b: 1.5 });
    as_serde_json((Shown("shown"), ForPeople));
    as_serde_json(serde_json::json!({"a": [1, 1.5, null, {"b": "c"}]}));
}

#[test]
fn all_kinds_of_keys_are_written_as_by_serde_json() {
    as_serde_json(Entry(true, 1));
    as_serde_json((Entry(i8::MIN, 1), Entry(i64::MIN, 1), Entry(i128::MIN, 1)));
    as_serde_json((Entry(u8::MAX, 1), Entry(u64::MAX, 1), Entry(u128::MAX, 1)));
    as_serde_json((Entry(0.1_f32, 1), Entry(0.1_f64, 1), Entry('k', 1)));
    as_serde_json((Entry("a\"b", 1), Entry(Shown("shown"), 1)));
    as_serde_json((Entry(Newtype("k"), 1), Entry(Some("k"), 1)));
    as_serde_json((Entry(Variant::<u8>::Unit, 1), KeyByKey("k", 1.5)));
    as_serde_json(BTreeMap::from([("a", BTreeMap::from([(1_u64, 1.5)]))]));
    let map = Flattened {
        a: 1,
        rest: BTreeMap::from([(2_u64, 1.5)]),
    };
    as_serde_json(map);
}

#[test]
fn raw_json_is_written_as_it_is() {
    let raw = r#"{ "a" : 340282366920938463463374607431768211456 }"#;
    let json = to_vec(&Named::new(Raw(raw))).unwrap();
    assert_eq!(json, format!(r#"{{"a":1,"b":{raw}}}"#).as_bytes());
    let json = to_vec(&Tagged::Struct { b: Raw(raw) }).unwrap();
    assert_eq!(json, format!(r#"{{"kind":"Struct","b":{raw}}}"#).as_bytes());
}

/// Checks that the number is rejected in every kind of value, and at which
/// place.
fn refused_everywhere<T: Serialize + Copy>(number: T) {
    let at = |value: &dyn erased::Value, place: &str| {
        let expected = format!("a number that JSON cannot represent (NaN or infinite) {place}");
        assert_eq!(value.refusal(), expected);
    };
    at(&number, "at the top level");
    at(&Some(number), "at the top level");
    at(&Newtype(Newtype(number)), "at the top level");
    at(&vec![None, Some(number)], "at \"/1\"");
    at(&(1, number), "at \"/1\"");
    at(&Pair(1, number), "at \"/1\"");
    at(&Named::new(number), "at \"/b\"");
    at(&Variant::Newtype(number), "at \"/Newtype\"");
    at(&Variant::Tuple(1, number), "at \"/Tuple/1\"");
    at(&Variant::fields(number), "at \"/Struct/b\"");
    at(&Tagged::Newtype(Named::new(number)), "at \"/b\"");
    at(&Tagged::Struct { b: Some(number) }, "at \"/b\"");
    at(&Adjacent::Newtype(number), "at \"/of\"");
    at(&Adjacent::Tuple(1, number), "at \"/of/1\"");
    at(&Adjacent::Struct { b: number }, "at \"/of/b\"");
    at(&Untagged::Newtype(number), "at the top level");
    at(&Untagged::Struct { b: number }, "at \"/b\"");
    let rest = Named::new(Some(number));
    at(&Flattened { a: 1, rest }, "at \"/b\"");
    let rest = BTreeMap::from([("c", number)]);
    at(&Flattened { a: 1, rest }, "at \"/c\"");
    let rest = Tagged::Struct { b: number };
    at(&Flattened { a: 1, rest }, "at \"/b\"");
    at(&Entry("k", number), "at \"/k\"");
    at(&KeyByKey("k", number), "at \"/k\"");
    at(&Entry(number, 1), "in a key of the top level");
    at(&KeyByKey(number, 1), "in a key of the top level");
    at(&Named::new(Entry(number, 1)), "in a key of \"/b\"");
    at(&Named::new(Entry(Some(number), 1)), "in a key of \"/b\"");
}

/// Type erasure for values in one list.
mod erased {
    pub(crate) trait Value {
        fn refusal(&self) -> String;
    }

    impl<T: serde::Serialize> Value for T {
        fn refusal(&self) -> String {
            super::refusal(self)
        }
    }
}

#[test]
fn a_number_that_json_does_not_have_is_refused_wherever_it_is() {
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refused_everywhere(number);
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused_everywhere(number);
    }
}

#[test]
fn a_refusal_names_the_place_and_leaves_the_text_as_it_was() {
    let deep = Named::new(vec![
        BTreeMap::from([("a/\"b~", vec![1.0])]),
        BTreeMap::from([("a,{", vec![]), ("a/\"b~", vec![0.0, f64::NAN])]),
    ]);
    let mut out = b"before".to_vec();
    let refused = to_writer(&mut out, &deep).unwrap_err().to_string();
    assert!(refused.ends_with(r#" at "/b/1/a~1\"b~0/1""#), "{refused}");
    assert_eq!(out, b"before");
}

#[test]
fn other_refusals_have_their_place_too() {
    assert_eq!(refusal(Unwritable), "not for paper");
    let within = Named::new(vec![Some(Unwritable)]);
    assert_eq!(refusal(within), "not for paper at \"/b/0\"");
    let key = Named::new(Entry(vec![1], 1));
    assert_eq!(refusal(key), "key must be a string at \"/b\"");
}
