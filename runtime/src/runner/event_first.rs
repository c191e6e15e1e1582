//! The form over separate handles: every stream is looked at, the `$migrated`
//! event is appended at the expected head, and snapshot and process registry
//! follow. What does not land there is a warning, and is set right by the next
//! run; the event alone decides where a process stands.

use futures_util::StreamExt;
use futures_util::stream;

use crate::error::Error;
use crate::id::StreamId;
use crate::process_registry::ProcessRegistry;
use crate::registry::{Route, Standing};
use crate::runner::code::Code;
use crate::runner::lazy::{self, Lazy};
use crate::runner::plan::{listing_failed, no_route};
use crate::runner::report::{CommitForm, MigrationError, MigrationReport, Stage, Visited};
use crate::runner::work::{ATTEMPTS, twice};
use crate::runner::{Run, commit, convert, decode_back, fold, registry_update, scan};
use crate::snapshot::SnapshotStore;
use crate::store::{EventStore, Head};

/// How many streams are worked on at a time.
const AT_A_TIME: usize = 16;

const PAGE: usize = 256;

struct Stores<'a> {
    events: &'a dyn EventStore,
    snapshots: &'a dyn SnapshotStore,
    registry: Option<&'a dyn ProcessRegistry>,
    code: Code,
}

/// Migrates one process as it is opened.
pub(super) async fn lazy(
    run: &Run,
    events: &dyn EventStore,
    snapshots: &dyn SnapshotStore,
    code: &Code,
    stream: &StreamId,
) -> Result<Lazy, Error> {
    if run.selection.limit().is_some() {
        return Ok(Lazy::LeftAlone);
    }
    let stores = Stores {
        events,
        snapshots,
        registry: None,
        code: code.clone(),
    };
    match migrate(run, &stores, stream).await.0 {
        Outcome::Migrated | Outcome::AlreadyThere { .. } => Ok(Lazy::Moved),
        Outcome::Failed(error) => Err(lazy::refused(&error)),
        Outcome::Empty | Outcome::OtherWorkflow | Outcome::NotSelected | Outcome::Finished => {
            Ok(Lazy::LeftAlone)
        }
    }
}

/// What became of one stream.
enum Outcome {
    Empty,
    OtherWorkflow,
    NotSelected,
    Finished,
    AlreadyThere { repaired: bool },
    Migrated,
    Failed(MigrationError),
}

pub(super) async fn run(
    run: &Run,
    events: &dyn EventStore,
    snapshots: &dyn SnapshotStore,
    registry: Option<&dyn ProcessRegistry>,
) -> MigrationReport {
    let stores = &Stores {
        events,
        snapshots,
        registry,
        code: Code::new(run.deadline),
    };
    let mut report = MigrationReport::of(run.id, CommitForm::EventFirst, Visited::ByFullScan);
    report.dry_run = run.dry;
    let prefix = run.selection.list_prefix();
    // The first so many are found by going through all in order.
    let mut left = run.selection.limit();
    let at_a_time = left.map_or(AT_A_TIME, |_| 1);
    let mut after = None;
    if left == Some(0) {
        return report;
    }
    loop {
        let page = match events
            .list_streams(prefix.as_deref(), after.as_ref(), PAGE)
            .await
        {
            Ok(page) => page,
            Err(error) => {
                report.fail(listing_failed(&error));
                return report;
            }
        };
        let at_end = page.len() < PAGE;
        after = page.last().cloned();
        // By value: futures that borrow from the page would keep a run from
        // being a task of its own.
        let mut outcomes = stream::iter(page)
            .map(|stream| async move {
                let outcome = migrate(run, stores, &stream).await;
                (stream, outcome)
            })
            .buffered(at_a_time);
        while let Some((stream, (outcome, warnings))) = outcomes.next().await {
            for warning in warnings {
                report.warn(stream.clone(), warning);
            }
            match outcome {
                Outcome::Empty => report.skip(|s| s.empty += 1),
                Outcome::OtherWorkflow => report.skip(|s| s.other_workflow += 1),
                Outcome::AlreadyThere { repaired } => {
                    report.skip(|s| s.already_there += 1);
                    report.repaired += usize::from(repaired);
                }
                Outcome::NotSelected => report.skip(|s| s.not_selected += 1),
                Outcome::Finished => report.skip(|s| s.finished += 1),
                Outcome::Migrated => {
                    report.migrated += 1;
                    report.unregistered += usize::from(stream.process().is_none());
                    left = left.map(|left| left.saturating_sub(1));
                }
                Outcome::Failed(error) => {
                    // One that no route is for is not among the first so many.
                    let one = usize::from(error.stage != Stage::Routing);
                    report.fail(error);
                    left = left.map(|left| left.saturating_sub(one));
                }
            }
            if left == Some(0) {
                return report;
            }
        }
        if at_end {
            return report;
        }
    }
}

/// Does what is to be done about one stream; returns what is left to do as warnings.
async fn migrate(run: &Run, stores: &Stores<'_>, stream: &StreamId) -> (Outcome, Vec<String>) {
    let mut warnings = Vec::new();
    if !run.selection.selects(stream) {
        return (Outcome::NotSelected, warnings);
    }
    for _ in 0..ATTEMPTS {
        let head = match stores.events.head(stream).await {
            Ok(Some(head)) => head,
            Ok(None) => return (Outcome::Empty, warnings),
            Err(error) => return (Outcome::Failed(scan::unread(stream, &error)), warnings),
        };
        if !run.selection.selects_workflow(head.workflow_id.name()) {
            return (Outcome::NotSelected, warnings);
        }
        let route = match run.migrations.standing(&head.workflow_id) {
            Standing::OtherWorkflow => return (Outcome::OtherWorkflow, warnings),
            Standing::Newest => {
                let repaired = tell(stores, stream, &head, &mut warnings).await;
                return (Outcome::AlreadyThere { repaired }, warnings);
            }
            Standing::NoRoute => {
                let error = no_route(&run.migrations, stream.clone(), &head.workflow_id);
                return (Outcome::Failed(error), warnings);
            }
            Standing::Behind(route) => route,
        };
        let mut converted = match read(run, stores, stream, head.clone(), &route).await {
            Ok(converted) => converted,
            Err(error) => return (Outcome::Failed(error), warnings),
        };
        if run.dry || run.twice {
            let again = read(run, stores, stream, head, &route).await;
            converted = match twice(stream, converted, again) {
                Ok(converted) => converted,
                Err(error) => return (Outcome::Failed(error), warnings),
            };
        }
        let Some(converted) = converted else {
            return (Outcome::Finished, warnings);
        };
        if run.dry {
            let (id, deadline) = (stream.clone(), stores.code.deadline());
            let (route, unchecked) = (route.clone(), run.unchecked.clone());
            let checked = stores
                .code
                .run(move |watch| {
                    watch.over(&id, deadline, || {
                        decode_back::check(&route, &id, &converted.state, &unchecked)
                    })
                })
                .await;
            return match checked.unwrap_or_else(|none| Err(none.of(stream))) {
                Ok(()) => (Outcome::Migrated, warnings),
                Err(error) => (Outcome::Failed(error), warnings),
            };
        }
        if let Err(error) = commit::event(stores.events, &converted).await {
            // An answer may be lost after the write has happened.
            match commit::has_landed(stores.events, &converted).await {
                Ok(true) => {}
                // Somebody appended, or migrated it: look again.
                Ok(false) if moved_on(&error) => continue,
                _ => return (Outcome::Failed(commit::failed(stream, &error)), warnings),
            }
        }
        let head = Head {
            sequence: converted.head.sequence + 1,
            workflow_id: route.target().clone(),
            baseline: Some(converted.head.sequence + 1),
            finished: converted.event.finishes(),
        };
        let schema = route.hops()[route.hops().len() - 1].target_schema_version();
        if let Err(error) = commit::snapshot(stores.snapshots, converted, schema).await {
            warnings.push(format!(
                "migrated, but its snapshot could not be written, so it is loaded from the migration event: {error}"
            ));
        }
        tell(stores, stream, &head, &mut warnings).await;
        return (Outcome::Migrated, warnings);
    }
    (Outcome::Failed(commit::busy(stream, ATTEMPTS)), warnings)
}

fn moved_on(error: &Error) -> bool {
    use crate::error::ErrorKind::{Conflict, Migrated, WrongVersion};
    matches!(
        error.kind(),
        Conflict | Migrated { .. } | WrongVersion { .. }
    )
}

/// Reads, folds and converts a process; `None` when it is over and the
/// selection leaves such processes alone.
async fn read(
    run: &Run,
    stores: &Stores<'_>,
    stream: &StreamId,
    head: Head,
    route: &Route,
) -> Result<Option<convert::Converted>, MigrationError> {
    let mut fold = fold::start(route, stream)?;
    let mut at = head.replay_after();
    while at < head.sequence {
        let page = stores
            .events
            .read_all(stream, at, PAGE)
            .await
            .map_err(|e| scan::unread(stream, &e))?;
        let (id, through, deadline) = (stream.clone(), head.sequence, stores.code.deadline());
        (fold, at) = stores
            .code
            .run(move |watch| {
                watch.over(&id, deadline, || {
                    for event in scan::follow(&id, &page, at, through)? {
                        fold::apply(&mut fold, &id, event.sequence, event.into())?;
                        at = event.sequence;
                    }
                    Ok((fold, at))
                })
            })
            .await
            .map_err(|none| none.of(stream))??;
    }
    let (id, deadline) = (stream.clone(), stores.code.deadline());
    let (selection, route, run) = (run.selection.clone(), route.clone(), run.id);
    stores
        .code
        .run(move |watch| {
            watch.over(&id.clone(), deadline, || {
                let Some(folded) = fold::finish(fold, id, head, &selection)? else {
                    return Ok(None);
                };
                convert::process(&route, run, folded).map(Some)
            })
        })
        .await
        .map_err(|none| none.of(stream))?
}

/// Tells the process registry where the process stands. Returns whether it did not know.
async fn tell(
    stores: &Stores<'_>,
    stream: &StreamId,
    head: &Head,
    warnings: &mut Vec<String>,
) -> bool {
    let Some(registry) = stores.registry else {
        return false;
    };
    match registry_update::process(registry, stream, &head.workflow_id).await {
        Ok(rewritten) => rewritten,
        Err(error) => {
            warnings.push(registry_update::warning(&error));
            false
        }
    }
}
