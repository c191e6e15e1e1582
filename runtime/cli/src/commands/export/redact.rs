//! Replacement of values under JSON pointers.
//!
//! Equal values get equal replacements within one export, of the same length and shape:
//! letters stay letters, digits stay digits, and everything else stays as it is. A
//! replacement is random, so that nothing of the value can be computed from it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde_json::value::RawValue;
use state_migration_core::{MIGRATED, redaction};
use uuid::Uuid;

/// How often another replacement is drawn if one is taken.
const ATTEMPTS: usize = 64;

/// Letters that replace others, by the number of their bytes in UTF-8.
const LETTERS: [&[char]; 3] = [
    &['ä', 'é', 'ø', 'ñ', 'ç', 'ü', 'ß', 'ő'],
    &['日', '月', '山', '川', '木', '火', '水', '金'],
    &['𐐨', '𐐩', '𐐪', '𐐫', '𐐬', '𐐭', '𐐮', '𐐯'],
];

/// A JSON pointer, in which `*` is any member or element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('/') {
            Some(rest) => Ok(Self(
                rest.split('/')
                    .map(|step| step.replace("~1", "/").replace("~0", "~"))
                    .collect(),
            )),
            None => Err("a JSON pointer begins with `/`, such as /customer/name".to_owned()),
        }
    }
}

impl Pointer {
    fn covers(&self, path: &[String]) -> bool {
        let same = |(wanted, step): (&String, &String)| wanted == "*" || wanted == step;
        self.0.len() <= path.len() && self.0.iter().zip(path).all(same)
    }
}

/// Replaces values, and notes what it leaves.
pub(crate) struct Redactor {
    pointers: Vec<Pointer>,
    replaced: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    /// The pointers under which a value was found.
    used: BTreeSet<usize>,
    /// The places of texts and numbers that stay readable, with `*` for each position in a list.
    pub(crate) readable: BTreeSet<(String, String)>,
    /// Values that were replaced.
    pub(crate) values: u64,
}

impl Redactor {
    pub(crate) fn new(pointers: Vec<Pointer>) -> Self {
        Self {
            pointers,
            replaced: BTreeMap::new(),
            taken: BTreeSet::new(),
            used: BTreeSet::new(),
            readable: BTreeSet::new(),
            values: 0,
        }
    }

    /// The pointers that no value was found under.
    pub(crate) fn unused(&self) -> impl Iterator<Item = String> + '_ {
        let unused = self.pointers.iter().enumerate();
        let unused = unused.filter(|(at, _)| !self.used.contains(at));
        unused.map(|(_, pointer)| format!("/{}", pointer.0.join("/")))
    }

    /// The payload of an event of this type with replacements; `None` if it is not JSON.
    pub(crate) fn payload(&mut self, event_type: &str, json: &str) -> Option<String> {
        redaction::rewrite(json, &mut |path, value| self.value(event_type, path, value))
    }

    /// The replacement of a value that is neither an object nor a list.
    fn value(&mut self, event_type: &str, path: &[String], value: &RawValue) -> Option<String> {
        // Versions and fingerprints, without which the history cannot be replayed.
        if event_type == MIGRATED && path.first().is_none_or(|first| first != "state") {
            return None;
        }
        let mut pointers = self.pointers.iter().enumerate();
        let covering = pointers.find(|(_, pointer)| pointer.covers(path));
        let is_text = value.get().starts_with('"');
        let is_number = |first: char| first == '-' || first.is_ascii_digit();
        let is_number = value.get().starts_with(is_number);
        let Some((at, _)) = covering else {
            if is_text || is_number {
                let is_index = |step: &&String| step.bytes().all(|byte| byte.is_ascii_digit());
                let step = |step: &String| match is_index(&step) {
                    true => "/*".to_owned(),
                    false => format!("/{step}"),
                };
                let place = path.iter().map(step).collect();
                self.readable.insert((event_type.to_owned(), place));
            }
            return None;
        };
        self.used.insert(at);
        if is_text {
            let text: String = serde_json::from_str(value.get()).ok()?;
            self.values += 1;
            serde_json::to_string(&self.replacement(&text)).ok()
        } else if is_number {
            self.values += 1;
            Some(self.number(value.get()))
        } else {
            // A boolean or a null says little, and has no other shape.
            None
        }
    }

    fn replacement(&mut self, text: &str) -> String {
        let like = |random: &mut Random| text.chars().map(|letter| random.like(letter)).collect();
        self.drawn(text, text, like)
    }

    /// A number with as many digits. Its exponent, which may take it out of range, and a zero
    /// before the point stay.
    fn number(&mut self, text: &str) -> String {
        let is_exponent = |letter: char| matches!(letter, 'e' | 'E');
        let exponent = text.find(is_exponent).unwrap_or(text.len());
        let (digits, exponent) = text.split_at(exponent);
        let first = digits.find(|letter: char| letter.is_ascii_digit());
        let like = |random: &mut Random| {
            let digits = digits.char_indices().map(|(at, old)| match old {
                '0' if Some(at) == first => old,
                _ if Some(at) == first => char::from(b'1' + random.below(9)),
                old => random.like(old),
            });
            digits.chain(exponent.chars()).collect()
        };
        // A text of the same digits has another replacement.
        self.drawn(&format!("number {text}"), text, like)
    }

    /// The replacement that is known by a name, or a new one, which is not the value itself
    /// and not that of another one if that can be.
    fn drawn(
        &mut self,
        known_by: &str,
        text: &str,
        like: impl Fn(&mut Random) -> String,
    ) -> String {
        if let Some(known) = self.replaced.get(known_by) {
            return known.clone();
        }
        let mut new = text.to_owned();
        let mut random = Random::default();
        for _ in 0..ATTEMPTS {
            let drawn = like(&mut random);
            // A short text may have no other shape.
            if drawn == text {
                continue;
            }
            let is_taken = self.taken.contains(&drawn);
            new = drawn;
            if !is_taken {
                break;
            }
        }
        self.taken.insert(new.clone());
        self.replaced.insert(known_by.to_owned(), new.clone());
        new
    }
}

/// Random choices.
#[derive(Default)]
struct Random {
    bytes: Vec<u8>,
}

impl Random {
    fn below(&mut self, end: u8) -> u8 {
        let byte = self.bytes.pop().unwrap_or_else(|| {
            // Two of the bytes of such an id are not random throughout.
            let id = Uuid::new_v4().into_bytes();
            self.bytes.extend_from_slice(&id[9..]);
            id[0]
        });
        byte % end.max(1)
    }

    /// A character of the same kind, with as many bytes.
    fn like(&mut self, old: char) -> char {
        match old {
            '0'..='9' => char::from(b'0' + self.below(10)),
            'a'..='z' => char::from(b'a' + self.below(26)),
            'A'..='Z' => char::from(b'A' + self.below(26)),
            old if old.is_alphanumeric() && old.len_utf8() > 1 => {
                let letters = LETTERS[old.len_utf8() - 2];
                letters[usize::from(self.below(8))]
            }
            old => old,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn redactor(pointers: &[&str]) -> Redactor {
        Redactor::new(pointers.iter().map(|it| it.parse().unwrap()).collect())
    }

    /// The kind of each character.
    fn shape(text: &str) -> String {
        let kind = |letter: char| match letter {
            letter if letter.is_ascii_digit() => '9',
            letter if letter.is_ascii_lowercase() => 'a',
            letter if letter.is_ascii_uppercase() => 'A',
            letter if letter.is_alphanumeric() => 'ä',
            letter => letter,
        };
        text.chars().map(kind).collect()
    }

    #[test]
    fn equal_values_get_equal_replacements_of_the_same_shape() {
        let mut redactor = redactor(&["/customer", "/items/*/note", "/iban"]);
        let json = r#"{"customer":{"name":"Ann O'Neill-Čapek 日本","age":61,"vip":true},"items":[{"note":"A-17","price":3},{"note":"A-17","price":4}],"iban":"DE89 3704","kind":"new","n":-12.50e3}"#;
        let redacted = redactor.payload("Placed", json).unwrap();
        let (old, new): (serde_json::Value, serde_json::Value) = (
            serde_json::from_str(json).unwrap(),
            serde_json::from_str(&redacted).unwrap(),
        );
        for place in ["/customer/name", "/items/0/note", "/iban"] {
            let text = |value: &serde_json::Value| {
                value.pointer(place).unwrap().as_str().unwrap().to_owned()
            };
            let (old, new) = (text(&old), text(&new));
            assert_ne!(old, new);
            assert_eq!((old.len(), shape(&old)), (new.len(), shape(&new)));
        }
        assert_eq!(new["items"][0]["note"], new["items"][1]["note"]);
        assert!((10..100).contains(&new["customer"]["age"].as_u64().unwrap()));
        for same in ["/customer/vip", "/items/1/price", "/kind", "/n"] {
            assert_eq!(old.pointer(same), new.pointer(same));
        }
        // The same in another event, and the other names stay apart.
        let again = r#"{"iban":"DE89 3704","customer":"DE89 3705"}"#;
        let again = redactor.payload("Paid", again).unwrap();
        let again: serde_json::Value = serde_json::from_str(&again).unwrap();
        assert_eq!(again["iban"], new["iban"]);
        assert_ne!(again["customer"], new["iban"]);
        let readable = ["/items/*/price", "/kind", "/n"];
        let readable = readable.map(|it| ("Placed".to_owned(), it.to_owned()));
        assert_eq!(redactor.readable, readable.into());
        assert_eq!(redactor.unused().count(), 0);
        assert_eq!(redactor.payload("Paid", "not json"), None);
    }

    #[test]
    fn numbers_keep_their_digits_and_their_zeros() {
        let mut redactor = redactor(&["/a"]);
        for number in ["0", "7", "-120.50", "12345678901234567890123", "1.5e-7"] {
            let json = format!("{{\"a\":{number}}}");
            let new = redactor.payload("e", &json).unwrap();
            assert_eq!(new.len(), json.len(), "{new}");
            assert_eq!(shape(&new), shape(&json), "{new}");
            assert!(
                serde_json::from_str::<serde_json::Value>(&new).is_ok(),
                "{new}"
            );
        }
        assert!("a".parse::<Pointer>().is_err());

        // Small numbers differ from what they were, and from each other.
        let mut redactor = self::redactor(&["/a"]);
        let mut all = BTreeSet::new();
        for digit in 1..9 {
            let json = format!("{{\"a\":{digit}}}");
            let new = redactor.payload("e", &json).unwrap();
            assert_ne!(new, json);
            all.insert(new);
        }
        assert!(all.len() > 6, "{all:?}");
        let new = redactor.payload("e", r#"{"a":-1000.00e-05}"#).unwrap();
        assert!(new.ends_with("e-05}") && !new.contains("000"), "{new}");
    }
}
