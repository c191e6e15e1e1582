//! The layout of a type: each place in its JSON with the kind of value there, and samples.
//!
//! The layout says what the type asks for when it is deserialized. What it does not ask
//! for (defaults, what is left out when it is written, the form of a tag) is in the
//! samples: a text that the type reads, with the text that it then writes.

mod describe;
mod learn;
mod sample;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use state_migration_core::draft::{Asked, Draft, Form, Path, Refusal, Trace};

pub(crate) use crate::layout::describe::OPTIONAL;
use crate::layout::describe::{Line, Lines};
use crate::layout::learn::Learner;

/// The most drafts of one type. More means that the type contains too many enums in each
/// other to be listed.
const DRAFTS: usize = 2_000;

/// A type that is known only as code.
pub(crate) struct Subject<'a> {
    pub(crate) complete: &'a dyn Fn(&mut Draft, &Trace) -> Result<(), Refusal>,
    /// Reads JSON and writes it again; without the second if that is unknown.
    pub(crate) rewrite: &'a dyn Fn(&Value) -> Result<Rewritten, String>,
    /// Values for types that refuse others, by name.
    pub(crate) values: &'a BTreeMap<String, Value>,
}

/// What a type writes after it has read a sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rewritten {
    pub(crate) json: Option<Value>,
    /// The name and the schema version of an event.
    pub(crate) event: Option<(String, u32)>,
}

impl Subject<'_> {
    fn complete(&self, draft: &mut Draft, trace: &Trace) -> Result<(), Refusal> {
        (self.complete)(draft, trace)
    }

    fn write(&self, json: &Value) -> Result<Option<Value>, String> {
        (self.rewrite)(json).map(|written| written.json)
    }
}

/// A JSON text that a type reads, with what it then writes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) json: Value,
    pub(crate) written: Rewritten,
}

/// The layout of a type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// The kind of value at each place.
    pub(crate) lines: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
    /// The places that are unknown, with the reason.
    pub(crate) untraced: Vec<(String, String)>,
    /// The places of objects that may have fields which the type neither demands nor
    /// always writes, so that nothing shows them. Not in the file.
    pub(crate) may_have_more: BTreeSet<String>,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines
            && self.samples == other.samples
            && self.untraced == other.untraced
    }
}

/// The beginning of the kind of a place that is unknown.
pub(crate) const NOT_TRACED: &str = "not traced: ";

/// Finds out the layout of a type. `given` are samples of the user.
pub(crate) fn layout_of(subject: &Subject<'_>, given: &[Value]) -> Layout {
    let mut exploration = Exploration::new(subject);
    for (number, value) in (1..).zip(given) {
        exploration.add(
            Draft::from_json(value),
            &format!("the given sample {number}"),
            None,
        );
    }
    let is_known = !exploration.lines.is_empty();
    exploration.add(Draft::hole(), "$", None);
    exploration.finish(is_known)
}

struct Exploration<'a> {
    subject: &'a Subject<'a>,
    learner: Learner<'a>,
    lines: Lines,
    samples: Vec<Sample>,
    /// The variants that were tried, by the place of the enum.
    tried: BTreeSet<(String, &'static str)>,
    drafts: usize,
    may_have_more: BTreeSet<String>,
    refused: Vec<(String, String)>,
}

impl<'a> Exploration<'a> {
    fn new(subject: &'a Subject<'a>) -> Self {
        Self {
            subject,
            learner: Learner::new(subject),
            lines: Lines::default(),
            samples: Vec::new(),
            tried: BTreeSet::new(),
            drafts: 0,
            may_have_more: BTreeSet::new(),
            refused: Vec::new(),
        }
    }

    /// Completes a draft, and the same draft with each other variant of its enums.
    /// `variant` is the path of the variant that distinguishes it from an earlier draft.
    fn add(&mut self, draft: Draft, place: &str, variant: Option<&[usize]>) {
        self.drafts += 1;
        if self.drafts > DRAFTS {
            let reason = format!("it has more than {DRAFTS} combinations of variants");
            self.refused = vec![("$".to_owned(), reason)];
            return;
        }
        let completed = self.complete(draft, variant);
        let draft = match completed {
            Ok(draft) => draft,
            Err(refusal) => {
                self.refused.push((place.to_owned(), refusal.to_string()));
                return;
            }
        };
        let lines = describe::lines(&draft);
        let optional = sample::optional(self.subject, &draft, &lines);
        let within = variant.map_or(&[][..], |path| depending_on(&draft, path));
        let nullable = sample::nullable(self.subject, &draft, &lines);
        let samples = sample::samples(self.subject, &draft, &optional, &nullable, within);
        for sample in samples {
            if !self.samples.contains(&sample) {
                self.samples.push(sample);
            }
        }
        let enums = enums(&lines);
        let open = lines.iter().filter(|line| is_open(line.draft));
        self.may_have_more
            .extend(open.map(|line| line.place.clone()));
        self.lines.add(lines, &optional, &nullable);
        self.with_other_variants(&draft, &enums);
    }

    fn complete(&self, draft: Draft, variant: Option<&[usize]>) -> Result<Draft, Refusal> {
        let buffered = variant.filter(|path| is_buffered_variant(&draft, path));
        let alone = buffered.and_then(|path| without_content(draft.clone(), path));
        let as_tag = buffered.and_then(|path| as_tag(draft.clone(), path));
        if let Some(alone) = alone.filter(|alone| self.learner.accepts(alone)) {
            return Ok(alone);
        }
        if let Some(tagged) = as_tag.and_then(|draft| self.learner.complete(draft).ok()) {
            return Ok(tagged);
        }
        self.learner.complete(draft)
    }

    fn with_other_variants(&mut self, draft: &Draft, enums: &[EnumAt]) {
        for at in enums {
            self.tried.insert((at.place.clone(), at.current));
        }
        for at in enums {
            for variant in at.variants {
                if self.tried.insert((at.place.clone(), variant))
                    && let Some(other) = with_variant(draft, at, variant)
                {
                    let place = format!("{}<{variant}>", at.place);
                    self.add(other, &place, Some(&at.path));
                }
            }
        }
    }

    /// `is_known`: the samples of the user are enough where none can be made up.
    fn finish(mut self, is_known: bool) -> Layout {
        if is_known {
            self.may_have_more.clear();
            self.refused.retain(|(place, _)| place != "$");
        }
        let mut lines = self.lines.finish();
        for (place, reason) in &self.refused {
            lines.insert(place.clone(), format!("{NOT_TRACED}{reason}"));
        }
        // Another crate may let `serde_json` keep the order of members.
        for sample in &mut self.samples {
            sample.json.sort_all_objects();
            if let Some(written) = &mut sample.written.json {
                written.sort_all_objects();
            }
        }
        self.samples.sort_by_key(|sample| sample.json.to_string());
        Layout {
            lines,
            samples: self.samples,
            untraced: self.refused,
            may_have_more: self.may_have_more,
        }
    }
}

/// Whether the names of the fields of an object are unknown beforehand.
fn is_open(draft: &Draft) -> bool {
    let is_object = matches!(draft.form, Form::Map(_));
    is_object && matches!(draft.asked, Asked::OpenStruct | Asked::Any(_))
}

/// An enum in a draft.
struct EnumAt {
    path: Path,
    place: String,
    current: &'static str,
    variants: &'static [&'static str],
    is_tag: bool,
}

fn enums(lines: &[Line<'_>]) -> Vec<EnumAt> {
    let enum_at = |line: &Line<'_>| {
        let (variants, is_tag) = match &line.draft.asked {
            Asked::Enum(variants) => (*variants, false),
            Asked::Tag(variants) => (*variants, true),
            _ => return None,
        };
        let Form::Variant(name, _) = &line.draft.form else {
            return None;
        };
        Some(EnumAt {
            path: line.path.clone(),
            place: line.place.clone(),
            current: variants.iter().find(|variant| *variant == name)?,
            variants,
            is_tag,
        })
    };
    lines.iter().filter_map(enum_at).collect()
}

/// Whether a value is a variant in a buffered object, whose form is unknown: it is a tag of
/// the object, or a value of its own.
fn is_buffered_variant(draft: &Draft, path: &[usize]) -> bool {
    let Some((position, parent)) = path.split_last() else {
        return false;
    };
    draft
        .get(parent)
        .is_some_and(|parent| match (&parent.asked, &parent.form) {
            (Asked::Any(_) | Asked::OpenStruct, Form::Map(members)) => members
                .get(*position)
                .is_some_and(|(_, value)| matches!(value.asked, Asked::Enum(_))),
            _ => false,
        })
}

/// What depends on a variant: its content, or the object that it tags.
fn depending_on<'a>(draft: &Draft, path: &'a [usize]) -> &'a [usize] {
    let is_content = draft.get(path).is_some_and(|value| {
        let has_content = matches!(value.form, Form::Variant(_, Some(_)));
        has_content && matches!(value.asked, Asked::Enum(_))
    });
    match path.split_last() {
        Some((_, parent)) if !is_content => parent,
        _ => path,
    }
}

fn without_content(mut draft: Draft, path: &[usize]) -> Option<Draft> {
    match &mut draft.at(path)?.form {
        Form::Variant(_, content) => *content = None,
        _ => return None,
    }
    Some(draft)
}

/// The draft with a variant as a tag, and without the fields that depend on it.
fn as_tag(draft: Draft, path: &[usize]) -> Option<Draft> {
    let mut draft = without_content(draft, path)?;
    let variant = draft.at(path)?;
    if let Asked::Enum(variants) = variant.asked {
        variant.asked = Asked::Tag(variants);
    }
    let (_, parent) = path.split_last()?;
    if let Form::Map(members) = &mut draft.at(parent)?.form {
        keep_tags(members);
    }
    Some(draft)
}

/// Keeps the tags of an object, and removes the fields that depend on them.
fn keep_tags(members: &mut Vec<(String, Draft)>) {
    members.retain(|(_, value)| matches!(value.asked, Asked::Tag(_)));
}

/// The draft with another variant. Values beside it are made up again if they depend on
/// the variant.
fn with_variant(draft: &Draft, at: &EnumAt, variant: &str) -> Option<Draft> {
    let mut draft = draft.clone();
    let content = (!at.is_tag).then(Box::default);
    draft.at(&at.path)?.form = Form::Variant(variant.to_owned(), content);
    let (position, parent) = at
        .path
        .split_last()
        .map_or((0, None), |(p, parent)| (*p, Some(parent)));
    let Some(parent) = parent.and_then(|parent| draft.at(parent)) else {
        return Some(draft);
    };
    if let Form::Map(members) = &mut parent.form {
        if at.is_tag {
            keep_tags(members);
        } else if parent.asked == Asked::Struct && members.len() == 2 {
            // An adjacent tag with its content, perhaps.
            members[1 - position].1 = Draft::hole();
        }
    }
    Some(draft)
}
