//! Differences between JSON values, with their places.

use serde_json::Value;

/// A place where two JSON values differ. `None` is a value that is absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// The place, such as `$.lines[0].price`.
    pub(crate) place: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// The places where two values differ, the innermost ones.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("$", Some(before), Some(after), &mut found);
    found
}

fn compare(
    place: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (name, value) in before {
                compare(
                    &format!("{place}.{name}"),
                    Some(value),
                    after.get(name),
                    found,
                );
            }
            for (name, value) in after {
                if !before.contains_key(name) {
                    compare(&format!("{place}.{name}"), None, Some(value), found);
                }
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                let place = format!("{place}[{index}]");
                compare(&place, before.get(index), after.get(index), found);
            }
        }
        (before, after) if same(before, after) => {}
        (before, after) => found.push(Difference {
            place: place.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

/// Whether two values are the same; `1` and `1.0` are the same number.
fn same(before: Option<&Value>, after: Option<&Value>) -> bool {
    match (before, after) {
        (Some(Value::Number(before)), Some(Value::Number(after))) => {
            before == after
                || (before.is_f64() != after.is_f64() && before.as_f64() == after.as_f64())
        }
        _ => before == after,
    }
}

/// A value in a message.
pub(crate) fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(before: &Value, after: &Value) -> Vec<String> {
        let shown = |d: Difference| {
            let (before, after) = (shown(d.before.as_ref()), shown(d.after.as_ref()));
            format!("{}: {before} {after}", d.place)
        };
        differences(before, after).into_iter().map(shown).collect()
    }

    #[test]
    fn the_innermost_places_are_named() {
        let before = json!({"a": [1, {"b": 2, "c": null}], "d": 1});
        let after = json!({"a": [1, {"b": "2", "e": 3}, 4], "d": 1.0});
        assert_eq!(
            found(&before, &after),
            [
                "$.a[1].b: 2 \"2\"",
                "$.a[1].c: null absent",
                "$.a[1].e: absent 3",
                "$.a[2]: absent 4"
            ]
        );
        assert_eq!(found(&before, &before), [""; 0]);
        assert_eq!(found(&json!(1.5), &json!(1)), ["$: 1.5 1"]);
    }
}
