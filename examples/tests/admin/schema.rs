//! `docs/cli.schema.json` describes what every command prints with `--json`.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value};

use crate::program::{bare, finish};

const SCHEMA: &str = include_str!("../../../docs/cli.schema.json");

pub(crate) fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Checks a document that the program has printed.
#[track_caller]
pub(crate) fn assert_valid(document: &Value) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| {
        let options = jsonschema::draft202012::options();
        options
            .should_validate_formats(true)
            .build(&schema())
            .unwrap()
    });
    if validator.is_valid(document) {
        return;
    }
    // Of a choice of all kinds an error says nothing; of the one it claims to
    // be it does.
    let kind = document["kind"].as_str().unwrap_or("?");
    let mut one = schema();
    let object = one.as_object_mut().unwrap();
    object.remove("oneOf");
    object.insert("$ref".into(), format!("#/$defs/{kind}").into());
    let errors = match jsonschema::draft202012::options().build(&one) {
        Ok(one) => {
            let errors = one.iter_errors(document);
            let errors = errors.map(|error| format!("{}: {error}", error.instance_path()));
            errors.collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("the schema has no kind {kind:?}: {error}"),
    };
    panic!("{errors}\n{document:#}");
}

/// Every schema of an object with fields, wherever it is.
fn objects(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) && fields.contains_key("type")
            {
                visit(path, fields);
            }
            for (name, value) in fields {
                objects(value, &format!("{path}/{name}"), visit);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                objects(value, &format!("{path}/{at}"), visit);
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_is_described_and_always_there() {
    let schema = schema();
    let mut seen = 0;
    objects(&schema, "", &mut |path, object| {
        seen += 1;
        assert_eq!(object["additionalProperties"], false, "{path}");
        let properties: BTreeSet<&str> = object["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let required: BTreeSet<&str> = object["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(properties, required, "{path}");
    });
    assert!(seen > 15, "{seen}");
    let definitions = schema["$defs"].as_object().unwrap();
    let kinds = definitions
        .iter()
        .filter(|(_, definition)| definition["properties"]["kind"]["const"].is_string());
    let kinds: BTreeSet<String> = kinds
        .map(|(name, definition)| {
            assert_eq!(definition["properties"]["kind"]["const"], name.as_str());
            format!("#/$defs/{name}")
        })
        .collect();
    let choice = schema["oneOf"].as_array().unwrap().iter();
    let choice = choice.map(|one| one["$ref"].as_str().unwrap().to_owned());
    assert_eq!(choice.collect::<BTreeSet<_>>(), kinds);
}

#[test]
fn a_document_with_another_field_or_of_another_version_is_not_valid() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let said = finish(bare(&["graph", "--json"])).exits(0).json();
    assert!(validator.is_valid(&said));
    for (field, value) in [
        ("more", Value::Null),
        ("schema", 1.into()),
        ("kind", "migrations".into()),
        ("format", "picture".into()),
    ] {
        let mut other = said.clone();
        other[field] = value;
        assert!(!validator.is_valid(&other), "{field}");
    }
    let mut less = said;
    less.as_object_mut().unwrap().remove("drawing");
    assert!(!validator.is_valid(&less));
}
