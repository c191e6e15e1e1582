//! Places in the JSON text of a state, and what is wrong there, told without its
//! values: they may be nobody's business.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

/// How many levels a place is followed down a state; serde_json reads no more.
pub(crate) const LEVELS: usize = 128;

/// The path of the innermost value that a place in the text of a state is in.
fn path_at(json: &str, offset: usize, may_be_just_behind: bool) -> String {
    let mut path = String::new();
    let mut here = json;
    for _ in 0..LEVELS {
        let Some(members) = Members::of(here) else {
            break;
        };
        let found = members.by_name.into_iter().find(|(_, value)| {
            // The members are parts of the same text.
            let start = value.get().as_ptr() as usize - json.as_ptr() as usize;
            let end = start + value.get().len() + usize::from(may_be_just_behind);
            (start..end).contains(&offset)
        });
        let Some((name, value)) = found else { break };
        path.push_str(&name.step());
        here = value.get();
    }
    path
}

pub(crate) fn place(path: &str) -> String {
    if path.is_empty() {
        "the whole of it".to_owned()
    } else {
        format!("{path:?}")
    }
}

/// The name of a member.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Index(usize),
    Key(String),
}

impl Name {
    /// One step of a JSON pointer.
    pub(crate) fn step(&self) -> String {
        match self {
            Self::Index(index) => format!("/{index}"),
            Self::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        }
    }
}

/// The members of an object or a list, as they are written: a number that is
/// parsed may not be the one that is in the text.
pub(crate) struct Members<'a> {
    pub(crate) is_list: bool,
    pub(crate) by_name: BTreeMap<Name, &'a RawValue>,
}

impl<'a> Members<'a> {
    /// `None` where the text is neither an object nor a list.
    pub(crate) fn of(json: &'a str) -> Option<Self> {
        let is_list = json.trim_start().starts_with('[');
        let by_name = if is_list {
            let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            let names = (0..).map(Name::Index);
            names.zip(list).collect()
        } else {
            let object: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            let members = object.into_iter();
            members
                .map(|(key, value)| (Name::Key(key), value))
                .collect()
        };
        Some(Self { is_list, by_name })
    }
}

/// Why a state could not be read, as far as it can be told without its values.
pub(crate) struct Refusal {
    /// What is wrong, in words of serde's and of the type's.
    what: Option<String>,
    /// Whether the type expects text that lives longer than the reading.
    pub(crate) borrows: bool,
    line: usize,
    column: usize,
    /// Whether the value in question may end where the reading stopped.
    of_a_value: bool,
}

impl Refusal {
    pub(crate) fn of(error: &serde_json::Error) -> Self {
        let mut text = error.to_string();
        if error.line() > 0
            && let Some(place) = text.rfind(" at line ")
        {
            text.truncate(place);
        }
        // serde's own forms, in which it is known where values of the state stand.
        let starts = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
        let of_a_value = starts(&["invalid type: ", "invalid value: ", "unknown variant `"]);
        // Where nothing is expected, the last of these words may be the value's.
        let nothing = [", there are no variants", ", there are no fields"];
        let nothing = nothing.iter().any(|end| text.ends_with(end));
        let expected = text
            .rsplit_once(", expected ")
            .filter(|_| !nothing)
            .map(|(_, expected)| expected);
        let what = if of_a_value || starts(&["invalid length ", "unknown field `"]) {
            expected.map(|expected| format!("expected {expected}"))
        } else if starts(&["missing field `", "duplicate field `"]) {
            Some(text.clone())
        } else {
            None
        };
        Self {
            borrows: of_a_value && expected.is_some_and(|e| e.starts_with("a borrowed ")),
            what,
            line: error.line(),
            column: error.column(),
            of_a_value,
        }
    }

    fn what(&self) -> &str {
        self.what.as_deref().unwrap_or("the type refuses it")
    }

    /// The same with the path to the place.
    pub(crate) fn text(&self, json: &str) -> String {
        let what = self.what();
        if self.line == 0 || self.column == 0 {
            return what.to_owned();
        }
        let before = json.split_inclusive('\n').take(self.line - 1);
        let line = before.map(str::len).sum::<usize>();
        let path = path_at(json, line + self.column - 1, self.of_a_value);
        format!("{what} at {}", place(&path))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())?;
        if self.line > 0 {
            write!(f, " at line {} column {}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// What an error of reading JSON says, without the values that serde puts into it.
pub(crate) fn without_values(error: &serde_json::Error) -> String {
    // What serde_json says of the text itself holds no values.
    match error.is_data() {
        true => Refusal::of(error).to_string(),
        false => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: serde::de::DeserializeOwned>(json: &str) -> String {
        match serde_json::from_reader::<_, T>(json.as_bytes()) {
            Ok(_) => "not refused".to_owned(),
            Err(error) => Refusal::of(&error).text(json),
        }
    }

    #[test]
    fn a_refusal_is_told_without_values() {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct Person {
            age: u8,
            name: String,
        }
        #[derive(serde::Deserialize)]
        enum Size {
            Small,
            Large,
        }
        type People = BTreeMap<String, Vec<Person>>;
        for (json, expected) in [
            (
                r#"{"a":[{"age":1,"name":"x"},{"name":"x","age":"secret"}]}"#,
                r#"expected u8 at "/a/1/age""#,
            ),
            (
                r#"{"a":[{"age":70000,"name":"x"}]}"#,
                r#"expected u8 at "/a/0/age""#,
            ),
            (
                r#"{"a":[{"name":"x","age":70000}]}"#,
                r#"expected u8 at "/a/0/age""#,
            ),
            (r#"{"a":[{"age":1}]}"#, r#"missing field `name` at "/a/0""#),
            (
                "{\"a\":[\n{\"age\":1}]}",
                r#"missing field `name` at "/a/0""#,
            ),
            (r#"{"a":7}"#, r#"expected a sequence at "/a""#),
            ("[]", "expected a map at the whole of it"),
        ] {
            assert_eq!(refused::<People>(json), expected, "{json}");
        }
        assert_eq!(
            refused::<Vec<Size>>(r#"["Small","Large","secret, expected secret"]"#),
            r#"expected `Small` or `Large` at "/2""#
        );
        #[derive(Debug, serde::Deserialize)]
        enum Nothing {}
        let secret = r#""secret, expected secret""#;
        assert_eq!(
            refused::<Nothing>(secret),
            "the type refuses it at the whole of it"
        );
        let error = serde_json::from_str::<Nothing>(secret).unwrap_err();
        assert_eq!(
            without_values(&error),
            "the type refuses it at line 1 column 25"
        );
        assert_eq!(
            refused::<Vec<std::net::IpAddr>>(r#"["secret"]"#),
            r#"the type refuses it at "/0""#
        );
    }
}
