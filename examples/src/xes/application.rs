//! One trace of the log as a loan application.

use chrono::{DateTime, FixedOffset};
use process_mining::core::event_data::case_centric::{Attribute, AttributeValue, Trace};
use state_migration::ProcessId;

use super::error::{Fault, Place, Problem, shown};
use crate::loan_2012::{Status, Transition};
use crate::offer::OfferState;

/// A loan application, as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its number.
    pub number: ProcessId,
    /// The amount asked for, in whole euro.
    pub amount_requested: u64,
    /// When it was made.
    pub registered_at: DateTime<FixedOffset>,
    /// What happened to it, in the order of the log; the first is the submission.
    pub activities: Vec<Activity>,
}

/// One event of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What happened.
    pub happening: Happening,
    /// When.
    pub at: DateTime<FixedOffset>,
}

/// What an event of an application says, in the words of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// `A_SUBMITTED`, the first of all.
    Submitted,
    /// Another `A_` activity.
    Status(String),
    /// An `O_` activity.
    Offer(String),
    /// A `W_` activity.
    WorkItem {
        /// The work item.
        item: String,
        /// `SCHEDULE`, `START` or `COMPLETE`.
        transition: String,
    },
}

impl Application {
    pub(super) fn from_trace(trace: Trace, ordinal: u64) -> Result<Self, Fault> {
        let mut place = Place::Application {
            ordinal,
            number: None,
        };
        let mut read = |trace: Trace| {
            let name = text(
                &trace.attributes,
                "concept:name",
                "the application's number",
            )?;
            let number = ProcessId::new(name).map_err(Problem::Number)?;
            place = Place::Application {
                ordinal,
                number: Some(number.to_string()),
            };
            let amount_requested = amount(&trace.attributes)?;
            let registered_at = date(&trace.attributes, "REG_DATE")?;
            if trace.events.is_empty() {
                return Err(Problem::NoEvents);
            }
            let application = place.clone();
            let mut activities = Vec::with_capacity(trace.events.len());
            for (index, event) in trace.events.into_iter().enumerate() {
                place = Place::Event {
                    event: index as u64 + 1,
                    application: Box::new(application.clone()),
                };
                let activity = Activity::from_attributes(&event.attributes)?;
                if (activity.happening == Happening::Submitted) != (index == 0) {
                    return Err(Problem::Submission);
                }
                activities.push(activity);
            }
            Ok(Self {
                number,
                amount_requested,
                registered_at,
                activities,
            })
        };
        read(trace).map_err(|problem| Fault { place, problem })
    }
}

impl Activity {
    fn from_attributes(attributes: &[Attribute]) -> Result<Self, Problem> {
        let name = text(attributes, "concept:name", "the name of an activity")?;
        let at = date(attributes, "time:timestamp")?;
        let transition = text(attributes, "lifecycle:transition", "a transition")?;
        let happening = if name == "A_SUBMITTED" {
            Happening::Submitted
        } else if Status::from_activity(name).is_some() {
            Happening::Status(name.to_owned())
        } else if OfferState::from_activity(name).is_some() {
            Happening::Offer(name.to_owned())
        } else if name.len() > 2 && name.starts_with("W_") {
            Happening::WorkItem {
                item: name.to_owned(),
                transition: transition.to_owned(),
            }
        } else {
            return Err(Problem::UnknownActivity(shown(name)));
        };
        let wanted = match &happening {
            Happening::WorkItem { .. } if Transition::from_lifecycle(transition).is_none() => {
                "SCHEDULE, START or COMPLETE"
            }
            Happening::WorkItem { .. } => return Ok(Self { happening, at }),
            // A status or a state is reached when the activity is complete.
            _ if transition != "COMPLETE" => "COMPLETE",
            _ => return Ok(Self { happening, at }),
        };
        Err(Problem::UnknownTransition {
            activity: name.to_owned(),
            transition: transition.to_owned(),
            wanted,
        })
    }
}

fn find<'a>(
    attributes: &'a [Attribute],
    key: &'static str,
    kind: &'static str,
) -> Result<&'a AttributeValue, Problem> {
    let mut with_key = attributes.iter().filter(|attribute| attribute.key == key);
    let Some(first) = with_key.next() else {
        return Err(Problem::Missing { key, kind });
    };
    if with_key.next().is_some() {
        return Err(Problem::Twice(key));
    }
    Ok(&first.value)
}

fn text<'a>(
    attributes: &'a [Attribute],
    key: &'static str,
    wanted: &'static str,
) -> Result<&'a str, Problem> {
    match find(attributes, key, "string")? {
        AttributeValue::String(text) if !text.is_empty() => Ok(text),
        other => Err(unusable(key, other, wanted)),
    }
}

fn date(attributes: &[Attribute], key: &'static str) -> Result<DateTime<FixedOffset>, Problem> {
    match find(attributes, key, "date")? {
        AttributeValue::Date(date) => Ok(*date),
        other => Err(unusable(
            key,
            other,
            "a <date> such as 2011-10-01T09:00:00+02:00",
        )),
    }
}

fn amount(attributes: &[Attribute]) -> Result<u64, Problem> {
    const KEY: &str = "AMOUNT_REQ";
    let value = find(attributes, KEY, "string")?;
    match value {
        AttributeValue::String(text) => text.trim().parse().ok(),
        AttributeValue::Int(whole) => u64::try_from(*whole).ok(),
        _ => None,
    }
    .ok_or_else(|| unusable(KEY, value, "a whole number of euro"))
}

fn unusable(key: &'static str, value: &AttributeValue, wanted: &'static str) -> Problem {
    let value = match value {
        // The parser keeps nothing of what it could not read.
        AttributeValue::None() => "unreadable".to_owned(),
        AttributeValue::String(text) => format!("\"{}\"", shown(text)),
        other => shown(&other.to_string()),
    };
    Problem::Unusable { key, value, wanted }
}
