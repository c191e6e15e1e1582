//! Values to try where a type has refused one.

use serde_json::Value;
use state_migration_core::draft::{Asked, Draft, Form, Trace};

/// Values for texts that a type validates, in the order in which they are tried.
pub(crate) const TEXTS: [&str; 14] = [
    "a",
    "",
    "1",
    "1.5",
    "00000000-0000-0000-0000-000000000001",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "00:00:00",
    "127.0.0.1",
    "127.0.0.1:80",
    "http://example.com/",
    "a@example.com",
    "EUR",
];

/// Values for numbers that a type validates.
const NUMBERS: [i64; 6] = [1, 0, 2, 10, 100, 1000];

pub(crate) fn leaf(value: impl Into<Value>) -> Form {
    Form::Leaf(value.into())
}

/// Other values for one that was refused; the most probable first.
pub(crate) fn other_forms(value: &Draft, expected: Option<&str>, trace: &Trace) -> Vec<Form> {
    let texts = TEXTS.iter().map(|text| leaf(*text));
    let numbers = NUMBERS.iter().map(|number| leaf(*number));
    match (&value.asked, &value.form) {
        (Asked::Leaf(_), Form::Leaf(Value::String(_))) => texts.collect(),
        (Asked::Leaf(_), Form::Leaf(Value::Number(_))) => numbers.collect(),
        (Asked::Any(_), _) => {
            let generic = [
                leaf(trace.new_text()),
                leaf(1),
                Form::Map(Vec::new()),
                Form::List(Vec::new()),
                leaf(true),
                leaf(1.5),
                leaf(Value::Null),
            ];
            match expected.and_then(|expected| probable(expected, trace)) {
                Some(Form::Leaf(Value::String(text))) => {
                    std::iter::once(leaf(text)).chain(texts).collect()
                }
                Some(form) => vec![form],
                None => texts.chain(numbers).chain(generic).collect(),
            }
        }
        _ => Vec::new(),
    }
}

/// A value for what serde says that it expects.
fn probable(expected: &str, trace: &Trace) -> Option<Form> {
    const NUMBERS: [&str; 12] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
    ];
    let starts = |with: &[&str]| with.iter().any(|start| expected.starts_with(start));
    if NUMBERS.contains(&expected) {
        Some(leaf(1))
    } else if ["f32", "f64"].contains(&expected) {
        Some(leaf(1.5))
    } else if expected == "a boolean" {
        Some(leaf(true))
    } else if expected == "a character" {
        Some(leaf("a"))
    } else if starts(&["struct", "a map", "internally tagged enum", "adjacently"]) {
        Some(Form::Map(Vec::new()))
    } else if starts(&["a sequence", "a tuple", "tuple", "an array"]) {
        Some(Form::List(Vec::new()))
    } else if starts(&["unit", "null"]) {
        Some(leaf(Value::Null))
    } else if starts(&["a string", "string", "variant identifier", "enum"]) {
        Some(leaf(trace.new_text()))
    } else {
        None
    }
}
