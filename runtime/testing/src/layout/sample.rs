//! Samples of a type: a draft, and the same draft with members missing, options null, lists
//! empty or values zero.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use state_migration_core::draft::{Asked, Draft, Form, Path};

use crate::layout::describe::Line;
use crate::layout::{Sample, Subject};

/// The members that may be missing.
pub(crate) fn optional(subject: &Subject<'_>, draft: &Draft, lines: &[Line<'_>]) -> BTreeSet<Path> {
    let members = lines.iter().filter_map(|line| line.member.clone());
    let may_be_missing = |path: &Path| {
        let without = Change::Missing(&BTreeSet::from([path.clone()])).of(draft, &[]);
        (subject.rewrite)(&without).is_ok()
    };
    members.filter(may_be_missing).collect()
}

/// The buffered values that may be null. An option elsewhere is known as such.
pub(crate) fn nullable(subject: &Subject<'_>, draft: &Draft, lines: &[Line<'_>]) -> BTreeSet<Path> {
    let is_buffered = |line: &&Line<'_>| {
        let is_null = matches!(line.draft.form, Form::Leaf(Value::Null));
        matches!(line.draft.asked, Asked::Any(_)) && !is_null && line.path != Path::new()
    };
    let paths = lines
        .iter()
        .filter(is_buffered)
        .map(|line| line.path.clone());
    let may_be_null = |path: &Path| {
        let null = Change::Null(&BTreeSet::from([path.clone()])).of(draft, &[]);
        (subject.rewrite)(&null).is_ok()
    };
    paths.filter(may_be_null).collect()
}

/// The deepest values in values of the same kind that are changed.
const LEVELS: usize = 4;

/// The samples of a draft. What is changed lies within a path.
pub(crate) fn samples(
    subject: &Subject<'_>,
    draft: &Draft,
    optional: &BTreeSet<Path>,
    nullable: &BTreeSet<Path>,
    within: &[usize],
) -> Vec<Sample> {
    let changes = [
        Change::Nothing,
        Change::Missing(optional),
        Change::Null(nullable),
        Change::Empty,
        Change::Zero,
    ];
    let mut samples: Vec<Sample> = Vec::new();
    for change in changes {
        for level in 0..LEVELS {
            let json = change.at_level(draft, within, level);
            let is_new = samples.iter().all(|sample| sample.json != json);
            if is_new && let Ok(written) = (subject.rewrite)(&json) {
                samples.push(Sample { json, written });
            }
        }
    }
    samples
}

/// A change of all values of a kind.
enum Change<'a> {
    Nothing,
    Missing(&'a BTreeSet<Path>),
    /// Options, and these values.
    Null(&'a BTreeSet<Path>),
    Empty,
    Zero,
}

/// The result of a change at one place.
enum Changed {
    Missing,
    To(Value),
}

impl Change<'_> {
    /// The changed JSON.
    fn of(&self, draft: &Draft, within: &[usize]) -> Value {
        self.at_level(draft, within, 0)
    }

    /// The JSON with a change of those values that lie in `level` others of the same kind.
    fn at_level(&self, draft: &Draft, within: &[usize], level: usize) -> Value {
        let mut path = Path::new();
        self.changed(draft, &mut path, within, level)
            .unwrap_or_default()
    }

    /// `None` if the value is missing.
    fn changed(
        &self,
        draft: &Draft,
        path: &mut Path,
        within: &[usize],
        mut level: usize,
    ) -> Option<Value> {
        if path.starts_with(within)
            && let Some(changed) = self.replacement(draft, path)
        {
            match level.checked_sub(1) {
                Some(inside) => level = inside,
                None => match changed {
                    Changed::Missing => return None,
                    Changed::To(value) => return Some(value),
                },
            }
        }
        let mut child = |position: usize, draft: &Draft| {
            path.push(position);
            let value = self.changed(draft, path, within, level);
            path.pop();
            value
        };
        Some(match &draft.form {
            Form::Hole => Value::Null,
            Form::Leaf(value) => value.clone(),
            Form::Inner(inner) => child(0, inner).unwrap_or_default(),
            Form::List(items) => items
                .iter()
                .enumerate()
                .map(|(position, item)| child(position, item).unwrap_or_default())
                .collect(),
            Form::Map(members) => members
                .iter()
                .enumerate()
                .filter_map(|(position, (name, value))| {
                    Some((name.clone(), child(position, value)?))
                })
                .collect::<Map<_, _>>()
                .into(),
            Form::Variant(name, None) => Value::String(name.clone()),
            Form::Variant(name, Some(content)) => {
                let content = child(0, content).unwrap_or_default();
                Map::from_iter([(name.clone(), content)]).into()
            }
        })
    }

    fn replacement(&self, draft: &Draft, path: &Path) -> Option<Changed> {
        let value = match (self, &draft.asked, &draft.form) {
            (Self::Missing(paths), ..) if paths.contains(path) => return Some(Changed::Missing),
            (Self::Null(_), Asked::Option, _) => Value::Null,
            (Self::Null(paths), ..) if paths.contains(path) => Value::Null,
            (Self::Empty, Asked::List | Asked::Any(_), Form::List(_)) => Value::Array(Vec::new()),
            (Self::Empty, Asked::Map(_), Form::Map(_)) => Map::new().into(),
            (Self::Zero, Asked::Leaf(_) | Asked::Any(_), Form::Leaf(value)) => zero(value),
            _ => return None,
        };
        Some(Changed::To(value))
    }
}

fn zero(value: &Value) -> Value {
    match value {
        Value::Bool(_) => false.into(),
        Value::Number(number) if number.is_f64() => 0.0.into(),
        Value::Number(_) => 0.into(),
        Value::String(_) => "".into(),
        other => other.clone(),
    }
}
