//! The comparison of a version in the file with the same version in the code.

use std::collections::BTreeSet;

use crate::json::{differences, shown};
use crate::layout::{Layout, NOT_TRACED, Rewritten, Sample};
use crate::lock::{Part, Section};

/// A change of a layout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// The type: that of the state or that of the events.
    pub(crate) of: Of,
    /// The place in its JSON.
    pub(crate) place: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    State,
    Event,
}

/// Reads a sample with the code of today.
pub(crate) type Rewrite<'a> = &'a dyn Fn(Of, &Sample) -> Result<Rewritten, String>;

/// The changes of a version that matter for stored JSON. Harmless are another order of
/// fields or variants, which the layout does not have, and a member that may be missing
/// now: what is stored has it.
pub(crate) fn changes(before: &Section, after: &Section, rewrite: Rewrite<'_>) -> Vec<Change> {
    let parts = [
        (Of::State, &before.state, &after.state),
        (Of::Event, &before.event, &after.event),
    ];
    let of_part = |(of, before, after): (Of, &Part, &Part)| {
        let mut found = of_lines(of, &before.layout, &after.layout);
        found.extend(of_schema(of, before, after));
        let mut told: BTreeSet<String> = found.iter().map(|change| change.place.clone()).collect();
        let samples = before.layout.samples.iter();
        let of_samples = samples.flat_map(|sample| of_sample(of, sample, rewrite(of, sample)));
        for change in of_samples {
            // A change of a place is told once.
            if told.insert(change.place.clone()) {
                found.push(change);
            }
        }
        found
    };
    parts.into_iter().flat_map(of_part).collect()
}

const ABSENT: &str = "absent";

fn of_lines(of: Of, before: &Layout, after: &Layout) -> Vec<Change> {
    // What could not be traced then is only in the samples.
    if before
        .lines
        .get("$")
        .is_none_or(|kind| kind.starts_with(NOT_TRACED))
    {
        return Vec::new();
    }
    let places: BTreeSet<&String> = before.lines.keys().chain(after.lines.keys()).collect();
    let change = |place: &String| {
        let (before, after) = (before.lines.get(place), after.lines.get(place));
        if before == after || is_harmless(before, after) {
            return None;
        }
        let shown = |kind: Option<&String>| kind.map_or(ABSENT, String::as_str).to_owned();
        Some(Change {
            of,
            place: place.clone(),
            before: shown(before),
            after: shown(after),
        })
    };
    places.into_iter().filter_map(change).collect()
}

fn is_harmless(before: Option<&String>, after: Option<&String>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    let may_be_missing_now = after.strip_suffix(crate::layout::OPTIONAL) == Some(before);
    may_be_missing_now || before.starts_with(NOT_TRACED)
}

fn of_schema(of: Of, before: &Part, after: &Part) -> Option<Change> {
    let (Some(schema), false) = (&before.schema, before.schema == after.schema) else {
        return None;
    };
    let line = |text: &str| {
        let other = after.schema.as_deref().unwrap_or_default();
        let mut lines = text.lines().zip(other.lines());
        lines
            .find(|(a, b)| a != b)
            .map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()))
    };
    let (before, after) = line(schema).unwrap_or_else(|| {
        (
            "the schema in the file".to_owned(),
            "another schema".to_owned(),
        )
    });
    Some(Change {
        of,
        place: "its schema".to_owned(),
        before,
        after,
    })
}

fn of_sample(of: Of, sample: &Sample, today: Result<Rewritten, String>) -> Vec<Change> {
    let json = &sample.json;
    let change = |place: String, before: String, after: String| Change {
        of,
        place,
        before,
        after,
    };
    let today = match today {
        Ok(today) => today,
        Err(error) => {
            let after = format!("not read: {error}");
            return vec![change("$".to_owned(), format!("{json} was read"), after)];
        }
    };
    let mut found = Vec::new();
    if let (Some(before), Some(after)) = (&sample.written.json, &today.json) {
        for difference in differences(before, after) {
            let written = |value| format!("{} was written for {json}", shown(value));
            let writes = |value| format!("{} is written", shown(value));
            found.push(change(
                difference.place,
                written(difference.before.as_ref()),
                writes(difference.after.as_ref()),
            ));
        }
    }
    if sample.written.event != today.event {
        let name = |event: &Option<(String, u32)>| match event {
            Some((name, schema_version)) => format!("{name:?}, schema version {schema_version}"),
            None => ABSENT.to_owned(),
        };
        let before = format!("{} for {json}", name(&sample.written.event));
        found.push(change("event_type".to_owned(), before, name(&today.event)));
    }
    found
}
