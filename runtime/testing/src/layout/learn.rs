//! Completion of a draft: a type refuses a value, and the refusal says what to change.

use serde_json::Value;
use state_migration_core::draft::{Asked, Draft, Form, Path, Refusal, Trace};

use crate::layout::Subject;
use crate::layout::value::{TEXTS, leaf, other_forms};

/// The most deserializations for one draft.
const ATTEMPTS: usize = 10_000;

/// Completes drafts of one type.
pub(crate) struct Learner<'a> {
    subject: &'a Subject<'a>,
    trace: Trace,
}

impl<'a> Learner<'a> {
    pub(crate) fn new(subject: &'a Subject<'a>) -> Self {
        let trace = Trace::new(subject.values.clone());
        Self { subject, trace }
    }

    /// Changes a draft until the type accepts it.
    pub(crate) fn complete(&self, draft: Draft) -> Result<Draft, Refusal> {
        let draft = self.accepted(draft)?;
        let draft = self.with_items(draft);
        let draft = self.with_written_fields(draft);
        let draft = self.with_entries(draft);
        Ok(self.with_plain_texts(draft))
    }

    /// Whether the type reads a draft as it is, and writes all its members again.
    pub(crate) fn accepts(&self, draft: &Draft) -> bool {
        self.read(&mut draft.clone()).is_ok() && self.keeps(draft)
    }

    /// Replaces the different texts, which have served their purpose.
    fn with_plain_texts(&self, mut draft: Draft) -> Draft {
        let made_up = |value: &Draft| matches!(&value.form, Form::Leaf(Value::String(_)));
        let all = draft.all().into_iter();
        let texts: Vec<Path> = all
            .filter(|(_, value)| matches!(value.asked, Asked::Any(_)) && made_up(value))
            .map(|(path, _)| path)
            .collect();
        for path in texts {
            let mut plain = draft.clone();
            if let Some(value) = plain.at(&path) {
                value.form = leaf("a");
            }
            if self.read(&mut plain).is_ok() {
                draft = plain;
            }
        }
        draft
    }

    fn accepted(&self, mut draft: Draft) -> Result<Draft, Refusal> {
        let mut refusal = Refusal::Repeat;
        for _ in 0..ATTEMPTS {
            match self.read(&mut draft) {
                Ok(()) => return Ok(draft),
                Err(found) => {
                    let Some(better) = self.improve(&draft, &found) else {
                        return Err(found);
                    };
                    (draft, refusal) = (better, found);
                }
            }
        }
        Err(refusal)
    }

    /// Reads a draft, again for as long as the draft changes.
    fn read(&self, draft: &mut Draft) -> Result<(), Refusal> {
        let mut result = Err(Refusal::Repeat);
        for _ in 0..ATTEMPTS {
            result = self.subject.complete(draft, &self.trace);
            if result != Err(Refusal::Repeat) {
                break;
            }
        }
        result
    }

    fn improve(&self, draft: &Draft, refusal: &Refusal) -> Option<Draft> {
        let last = self.trace.last();
        match refusal {
            Refusal::MissingField(name) => self.with_field(draft, refusal, name),
            Refusal::DuplicateField(name) => self.without_alias(draft, refusal, name),
            Refusal::UnknownVariant { found, variants } => with_variants(draft, found, variants),
            Refusal::Unexpected {
                unit_variant: true, ..
            } => self.with_content(draft, refusal),
            Refusal::Unexpected {
                found, expected, ..
            } => {
                let suspect = place_of_text(draft, found).unwrap_or(last);
                self.with_other_value(draft, refusal, &suspect, Some(expected))
                    .or_else(|| self.with_any_other_value(draft, refusal))
            }
            Refusal::Length { .. } => self.with_item(draft, refusal),
            Refusal::Other(_) => self
                .with_other_value(draft, refusal, &last, None)
                .or_else(|| self.with_any_other_value(draft, refusal))
                .or_else(|| self.with_same_text(draft)),
            Refusal::Repeat => None,
        }
    }

    /// The first of these drafts that is not refused for the same reason.
    fn first_better(
        &self,
        drafts: impl IntoIterator<Item = Draft>,
        refusal: &Refusal,
    ) -> Option<Draft> {
        drafts.into_iter().find_map(|mut draft| {
            let found = self.read(&mut draft);
            let better = found
                .as_ref()
                .err()
                .is_none_or(|found| !same(found, refusal));
            better.then_some(draft)
        })
    }

    /// Adds a field to one of the maps whose fields are unknown beforehand, the innermost
    /// first.
    fn with_field(&self, draft: &Draft, refusal: &Refusal, name: &str) -> Option<Draft> {
        let maps: Vec<Path> = open_maps(draft)
            .into_iter()
            .filter(|(_, members)| members.iter().all(|(key, _)| key != name))
            .map(|(path, _)| path)
            .rev()
            .collect();
        let one = maps
            .iter()
            .filter_map(|path| with_member(draft.clone(), path, name));
        self.first_better(one, refusal).or_else(|| {
            let everywhere = maps
                .iter()
                .try_fold(draft.clone(), |draft, path| with_member(draft, path, name))?;
            (!maps.is_empty()).then_some(everywhere)
        })
    }

    /// Removes a second name of a field.
    fn without_alias(&self, draft: &Draft, refusal: &Refusal, name: &str) -> Option<Draft> {
        let (path, position) = self.trace.last_key()?;
        let is_alias = |draft: &mut Draft, at: usize| match draft.at(&path).map(|d| &d.form) {
            Some(Form::Map(members)) => members.get(at).is_some_and(|(key, _)| key != name),
            _ => false,
        };
        let without = |at: usize| {
            let mut draft = draft.clone();
            if !is_alias(&mut draft, at) {
                return None;
            }
            if let Some(Form::Map(members)) = draft.at(&path).map(|d| &mut d.form) {
                members.remove(at);
            }
            Some(draft)
        };
        self.first_better((0..=position).rev().filter_map(without), refusal)
    }

    /// Gives content to a variant in a buffered value.
    fn with_content(&self, draft: &Draft, refusal: &Refusal) -> Option<Draft> {
        let paths = draft.all().into_iter().rev().filter_map(|(path, value)| {
            let is_unit = matches!(value.form, Form::Variant(_, None));
            (is_unit && matches!(value.asked, Asked::Enum(_))).then_some(path)
        });
        let drafts = paths.filter_map(|path| {
            let mut draft = draft.clone();
            match &mut draft.at(&path)?.form {
                Form::Variant(_, content) => *content = Some(Box::default()),
                _ => return None,
            }
            Some(draft)
        });
        self.first_better(drafts, refusal)
    }

    /// Adds an item to a list in a buffered value.
    fn with_item(&self, draft: &Draft, refusal: &Refusal) -> Option<Draft> {
        let longer = |(path, value): (Path, &Draft)| {
            let mut draft = draft.clone();
            match (&value.asked, &mut draft.at(&path)?.form) {
                (Asked::Any(_), Form::List(items)) => items.push(Draft::hole()),
                _ => return None,
            }
            Some(draft)
        };
        self.first_better(draft.all().into_iter().rev().filter_map(longer), refusal)
    }

    fn with_other_value(
        &self,
        draft: &Draft,
        refusal: &Refusal,
        path: &[usize],
        expected: Option<&str>,
    ) -> Option<Draft> {
        let mut suspect = draft.clone();
        let value = suspect.at(path)?;
        let forms = other_forms(value, expected, &self.trace);
        let is_direct = matches!(value.asked, Asked::Leaf(_));
        let drafts = forms.into_iter().filter_map(|form| {
            let mut draft = draft.clone();
            let value = draft.at(path)?;
            value.form = form;
            value.expected = expected.map(str::to_owned).or(value.expected.take());
            Some(draft)
        });
        if is_direct {
            return self.first_accepted_at(drafts, path);
        }
        self.first_better(drafts, refusal)
    }

    /// The first of these drafts that is not refused at a place.
    fn first_accepted_at(
        &self,
        drafts: impl IntoIterator<Item = Draft>,
        path: &[usize],
    ) -> Option<Draft> {
        drafts.into_iter().find_map(|mut draft| {
            let value_is_refused = matches!(
                self.read(&mut draft),
                Err(Refusal::Other(_) | Refusal::Unexpected { .. } | Refusal::Length { .. })
            );
            let accepted = !value_is_refused || self.trace.last() != path;
            accepted.then_some(draft)
        })
    }

    /// The same text for all values in buffered ones, for types that validate it.
    fn with_same_text(&self, draft: &Draft) -> Option<Draft> {
        let is_text = |value: &Draft| {
            let text = matches!(&value.form, Form::Leaf(Value::String(_)));
            text && matches!(value.asked, Asked::Any(_))
        };
        let all = draft.all().into_iter();
        let texts: Vec<Path> = all
            .filter(|(_, v)| is_text(v))
            .map(|(path, _)| path)
            .collect();
        TEXTS.iter().find_map(|text| {
            let mut draft = draft.clone();
            for path in &texts {
                draft.at(path)?.form = leaf(*text);
            }
            self.read(&mut draft).is_ok().then_some(draft)
        })
    }

    /// Another value where any is asked for, if the type then no longer complains.
    fn with_any_other_value(&self, draft: &Draft, refusal: &Refusal) -> Option<Draft> {
        let paths = draft.all().into_iter().rev().filter_map(|(path, value)| {
            let is_open = matches!(value.form, Form::Leaf(_) | Form::List(_));
            (is_open && matches!(value.asked, Asked::Any(_))).then_some(path)
        });
        let mut paths = paths.collect::<Vec<_>>().into_iter();
        paths.find_map(|path| self.with_other_value(draft, refusal, &path, None))
    }

    /// Puts an item into each list in a buffered value.
    fn with_items(&self, mut draft: Draft) -> Draft {
        let is_empty = |value: &Draft| matches!(&value.form, Form::List(items) if items.is_empty());
        let empty: Vec<Path> = draft
            .all()
            .into_iter()
            .filter(|(_, value)| matches!(value.asked, Asked::Any(_)) && is_empty(value))
            .map(|(path, _)| path)
            .collect();
        for path in empty {
            let mut longer = draft.clone();
            if let Some(value) = longer.at(&path) {
                value.form = Form::List(vec![Draft::hole()]);
            }
            if let Ok(longer) = self.accepted(longer) {
                draft = longer;
            }
        }
        draft
    }

    /// Puts an entry into each map in a buffered value, and a further field into a struct
    /// that keeps those that it does not know.
    fn with_entries(&self, mut draft: Draft) -> Draft {
        for (path, keys) in open_for_entries(&draft) {
            let entry = keys.iter().find_map(|(key, kind)| {
                let mut more = self
                    .accepted(with_member(draft.clone(), &path, key)?)
                    .ok()?;
                if let Some(kind) = kind {
                    more.at(&path)?.asked = Asked::Map((*kind).to_owned());
                }
                let more = self.accepted(more).ok()?;
                self.keeps(&more).then_some(more)
            });
            draft = entry.unwrap_or(draft);
        }
        draft
    }

    /// Whether all members of a draft are written again.
    fn keeps(&self, draft: &Draft) -> bool {
        let mut kept = true;
        let mut check = |_: &Path, draft: &Draft, written: &Value| {
            if let Form::Map(members) = &draft.form {
                kept &= members.iter().all(|(name, _)| written.get(name).is_some());
            }
        };
        match self.subject.write(&draft.to_json()) {
            Ok(Some(written)) => beside(draft, &written, &mut Path::new(), &mut check),
            _ => return false,
        }
        kept
    }

    /// Adds fields that the type writes, but does not demand.
    fn with_written_fields(&self, mut draft: Draft) -> Draft {
        let Ok(Some(written)) = self.subject.write(&draft.to_json()) else {
            return draft;
        };
        for (path, name) in written_only(&draft, &written) {
            if let Some(more) = with_member(draft.clone(), &path, &name)
                && let Ok(more) = self.accepted(more)
            {
                draft = more;
            }
        }
        draft
    }
}

/// Whether a type refuses two drafts at the same place, as far as that is known.
fn same(a: &Refusal, b: &Refusal) -> bool {
    match (a, b) {
        (
            Refusal::Unexpected {
                expected: a,
                unit_variant: a_unit,
                ..
            },
            Refusal::Unexpected {
                expected: b,
                unit_variant: b_unit,
                ..
            },
        ) => a == b && a_unit == b_unit,
        // Another value was refused by the type itself, or is of a wrong type now.
        (Refusal::Other(_) | Refusal::Unexpected { .. }, Refusal::Other(_)) => true,
        _ => a == b,
    }
}

type Member = (String, Draft);

/// A key to try, and the kind of the keys of the map that accepts it.
type KeyToTry = (&'static str, Option<&'static str>);

/// The maps that may accept entries, with the keys to try.
fn open_for_entries(draft: &Draft) -> Vec<(Path, &'static [KeyToTry])> {
    const OF_MAP: &[KeyToTry] = &[
        ("a", Some("string")),
        ("1", Some("integer")),
        ("true", Some("bool")),
    ];
    const OF_STRUCT: &[KeyToTry] = &[("any other field", None)];
    let maps = draft.all().into_iter();
    maps.filter_map(|(path, value)| match (&value.asked, &value.form) {
        (Asked::Any(_), Form::Map(members)) if members.is_empty() => Some((path, OF_MAP)),
        (Asked::OpenStruct, Form::Map(_)) => Some((path, OF_STRUCT)),
        _ => None,
    })
    .collect()
}

/// The maps whose fields are unknown beforehand.
fn open_maps(draft: &Draft) -> Vec<(Path, &Vec<Member>)> {
    let all = draft.all().into_iter();
    all.filter_map(|(path, value)| match (&value.asked, &value.form) {
        (Asked::OpenStruct | Asked::Any(_), Form::Map(members)) => Some((path, members)),
        _ => None,
    })
    .collect()
}

fn with_member(mut draft: Draft, path: &[usize], name: &str) -> Option<Draft> {
    match &mut draft.at(path)?.form {
        Form::Map(members) if members.iter().all(|(known, _)| known != name) => {
            members.push((name.to_owned(), Draft::hole()));
        }
        _ => return None,
    }
    Some(draft)
}

fn with_variants(draft: &Draft, found: &str, variants: &'static [&'static str]) -> Option<Draft> {
    let path = place_of_text(draft, found)?;
    let mut draft = draft.clone();
    let value = draft.at(&path)?;
    value.asked = match &value.asked {
        Asked::Any(expected) if expected == "a tag" => Asked::Tag(variants),
        _ => Asked::Enum(variants),
    };
    value.form = Form::Variant((*variants.first()?).to_owned(), None);
    Some(draft)
}

/// The value whose text is in a message.
fn place_of_text(draft: &Draft, message: &str) -> Option<Path> {
    let all = draft.all().into_iter();
    let made_up = all.filter_map(|(path, value)| match &value.form {
        Form::Leaf(Value::String(text)) if text.starts_with("text ") => Some((path, text)),
        _ => None,
    });
    let mut found = made_up
        .filter(|(_, text)| message == text.as_str() || message.ends_with(&format!("\"{text}\"")));
    found.next().map(|(path, _)| path)
}

/// The members that only the written JSON has, of maps whose fields are unknown beforehand.
fn written_only(draft: &Draft, written: &Value) -> Vec<(Path, String)> {
    let mut found = Vec::new();
    let mut add = |path: &Path, draft: &Draft, written: &Value| {
        let is_open = matches!(draft.asked, Asked::OpenStruct | Asked::Any(_));
        if let (true, Form::Map(members), Value::Object(object)) = (is_open, &draft.form, written) {
            let new = |name: &&String| members.iter().all(|(known, _)| known != *name);
            let names = object.keys().filter(new);
            found.extend(names.map(|name| (path.clone(), name.clone())));
        }
    };
    beside(draft, written, &mut Path::new(), &mut add);
    found
}

/// Calls a function for each value of a draft that has a counterpart in a JSON value.
fn beside(
    draft: &Draft,
    json: &Value,
    path: &mut Path,
    visit: &mut dyn FnMut(&Path, &Draft, &Value),
) {
    visit(path, draft, json);
    let counterpart = |position: usize| match &draft.form {
        Form::Inner(_) => Some(json),
        Form::List(_) => json.get(position),
        Form::Map(members) => json.get(&members.get(position)?.0),
        Form::Variant(name, _) => json.get(name),
        Form::Hole | Form::Leaf(_) => None,
    };
    for (position, child) in draft.children().into_iter().enumerate() {
        if let Some(json) = counterpart(position) {
            path.push(position);
            beside(child, json, path, visit);
            path.pop();
        }
    }
}
