//! What is printed with `--json` is what `docs/cli.schema.json` describes.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../docs/cli.schema.json");

/// Checks a document that a program has printed.
#[track_caller]
pub(crate) fn assert_valid(document: &Value) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| {
        let schema = serde_json::from_str(SCHEMA).unwrap();
        jsonschema::draft202012::new(&schema).unwrap()
    });
    assert!(validator.is_valid(document), "{document:#}");
}
