//! Stage two: adds events up to a state. User code runs here.

use crate::fold::{AnyState, EventView, Fold};
use crate::id::StreamId;
use crate::registry::Route;
use crate::runner::report::{MigrationError, Stage};
use crate::runner::scan::Scanned;
use crate::selection::Selection;
use crate::store::Head;

/// What follows a failure of user code in the report.
pub(super) const WAY_OUT: &str = "; correct the code or the data and run again";

/// A process, folded.
pub(super) struct Folded {
    pub(super) stream: StreamId,
    pub(super) head: Head,
    pub(super) state: AnyState,
}

/// Folds a process that was read; `None` when it is over and the selection
/// leaves such processes alone.
pub(super) fn process(
    route: &Route,
    scanned: Scanned,
    selection: &Selection,
) -> Result<Option<Folded>, MigrationError> {
    let Scanned {
        stream,
        head,
        events,
    } = scanned;
    let mut fold = start(route, &stream)?;
    for event in &events {
        apply(fold.as_mut(), &stream, event.sequence, event.into())?;
    }
    if !is_selected(fold.as_ref(), &stream, selection)? {
        return Ok(None);
    }
    let state = finish(fold, &stream)?;
    Ok(Some(Folded {
        stream,
        head,
        state,
    }))
}

/// Whether a selection wants a process in the state that its fold has come to.
pub(super) fn is_selected(
    fold: &dyn Fold,
    stream: &StreamId,
    selection: &Selection,
) -> Result<bool, MigrationError> {
    catch(|| selection.selects_finished(fold.is_finished()))
        .map_err(|panic| failed(stream, None, panic))
}

/// A fold of the version that a route starts from.
pub(super) fn start(route: &Route, stream: &StreamId) -> Result<Box<dyn Fold>, MigrationError> {
    let step = &route.hops()[0].step;
    catch(|| step.fold()).map_err(|panic| failed(stream, None, panic))
}

/// Folds one event.
pub(super) fn apply(
    fold: &mut dyn Fold,
    stream: &StreamId,
    sequence: u64,
    event: EventView<'_>,
) -> Result<(), MigrationError> {
    // The text of a user's error is user code too.
    let applied = catch(|| {
        fold.apply(event)
            .map_err(|error| error.at(stream, sequence).to_string())
    });
    match applied {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) | Err(message) => Err(failed(stream, Some(sequence), message)),
    }
}

/// The state that a fold has come to.
pub(super) fn finish(fold: Box<dyn Fold>, stream: &StreamId) -> Result<AnyState, MigrationError> {
    catch(|| fold.finish()).map_err(|panic| failed(stream, None, panic))
}

/// A second fold that goes on from where this one is.
pub(super) fn fork(fold: &dyn Fold, stream: &StreamId) -> Result<Box<dyn Fold>, MigrationError> {
    catch(|| fold.fork()).map_err(|panic| failed(stream, None, panic))
}

fn failed(stream: &StreamId, sequence: Option<u64>, message: String) -> MigrationError {
    MigrationError {
        stream_id: stream.clone(),
        stage: Stage::Folding,
        sequence,
        message: message + WAY_OUT,
    }
}

/// Runs user code; a panic becomes a message.
pub(super) fn catch<T>(user_code: impl FnOnce() -> T) -> Result<T, String> {
    // The state that the code worked on is dropped with the failed process, so
    // nothing that a panic left half-done is looked at again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(user_code)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        match text {
            Some(text) => format!("it panicked: {text}"),
            None => "it panicked".to_owned(),
        }
    })
}
