//! Read-back of serialized events and states before they are written, by the
//! code that will read them next, so that no value changes between writing and
//! loading.
//!
//! Messages about differences and errors contain places and types only, because
//! the values of events and states may be confidential.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::id::StreamId;
use crate::redaction::{self, Lists, Refusal};
use crate::strict_json;
use crate::workflow::{EventPayload, Workflow};

/// Serializes an event of a stream. Also returns the event that readers of the
/// stream will see.
///
/// [`Workflow::upcast`] may change an event of the current layout on purpose.
/// The comparison is therefore between its two results, which are what is
/// deserialized: for the original event, and for the event read back.
pub(crate) fn event<W: Workflow>(
    stream: &StreamId,
    event: &W::Event,
) -> Result<(NewEvent, W::Event), Error> {
    let new = NewEvent::of::<W>(event).map_err(|error| match error.kind() {
        ErrorKind::Workflow => {
            let message = format!("nothing was appended to {stream}");
            Error::new(ErrorKind::Workflow, message).with_source(error)
        }
        _ => error,
    })?;
    let refused = |why: String| {
        refused::<W::Event>(format!(
            "nothing was appended to {stream}: an event of type {:?} {why}",
            new.event_type()
        ))
    };
    let upcast = |event_type: &str, schema_version, payload| {
        W::upcast(event_type, schema_version, payload)
            .map_err(|error| refused(format!("is rejected by `upcast`: {error}")))
    };
    let written = &new.payload()[..];
    let read = upcast(new.event_type(), new.schema_version(), written)?;
    let (back, again) = there_and_back::<W::Event>(&read).map_err(refused)?;
    let is_upcast = *read != *written;
    if !is_upcast && back.event_type() != new.event_type() {
        return Err(refused(format!(
            "has another type after a round trip: {:?}",
            back.event_type()
        )));
    }
    if again != written {
        let again = upcast(back.event_type(), back.schema_version(), &again)?;
        same(&read, &again).map_err(refused)?;
    }
    Ok((new, back))
}

/// Serializes a state of a stream.
pub(crate) fn state<S: Serialize + DeserializeOwned>(
    stream: &StreamId,
    state: &S,
) -> Result<Vec<u8>, Error> {
    let written = strict_json::to_vec(state).map_err(|error| {
        let message = format!("the state of {stream} cannot be serialized");
        Error::new(ErrorKind::Workflow, message).with_source(error)
    })?;
    there_and_back::<S>(&written)
        .and_then(|(_, again)| match again == written {
            true => Ok(()),
            false => same(&written, &again),
        })
        .map_err(|why| {
            refused::<S>(format!(
                "no snapshot of {stream} was written: its state {why}"
            ))
        })?;
    Ok(written)
}

/// Deserializes a value and serializes it again, or says why that failed.
fn there_and_back<T: Serialize + DeserializeOwned>(json: &[u8]) -> Result<(T, Vec<u8>), String> {
    let back: T = redaction::read(json).map_err(|error| {
        let why = Refusal::of(&error).text(&text(json));
        format!("cannot be deserialized again: {why}")
    })?;
    let again = strict_json::to_vec(&back)
        .map_err(|error| format!("cannot be serialized again: {error}"))?;
    Ok((back, again))
}

fn same(ours: &[u8], theirs: &[u8]) -> Result<(), String> {
    match redaction::difference(&text(ours), &text(theirs), Lists::InAnyOrder) {
        None => Ok(()),
        Some(difference) => Err(format!(
            "changes when it is deserialized and serialized again: {difference}"
        )),
    }
}

fn text(json: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(json)
}

fn refused<T>(what: String) -> Error {
    let name = std::any::type_name::<T>();
    let way_out = format!("; correct how `{name}` is serialized or deserialized");
    Error::new(ErrorKind::Workflow, what + &way_out)
}
