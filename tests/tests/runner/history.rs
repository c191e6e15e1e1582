//! Verify, undo and redo: what is recorded of migrations is checked, taken back, and
//! computed again with corrected code.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use state_migration::{
    Baseline, BaselineKind, CommitMode, ConversionError, Decoder, ErrorKind, EventStore,
    FailureClass, Fingerprint, MIGRATED, MemoryStore, MigrationRegistry, MigrationReport,
    MigrationRunner, Process, RunId, RunState, Runs, Selection, SlateDbStore, SnapshotStore,
    StateMigration, Workflow, WorkflowId,
};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV2ToV3Migration, OrderV3, StateV1,
    StateV2, folded, history, identity, load, order_v1_to_v2, place,
};
use state_migration_tests::stores::OnDisk;

const ORDERS: u64 = 60;

trait Store: EventStore + SnapshotStore + Clone + 'static {}
impl Store for MemoryStore {}
impl Store for SlateDbStore {}

/// The conversion as it was written first: it forgets what was paid.
struct Wrong(WorkflowId, WorkflowId);

impl Wrong {
    fn new() -> Self {
        Self(WorkflowId::of::<OrderV1>(), WorkflowId::of::<OrderV2>())
    }
}

impl StateMigration for Wrong {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.0
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.1
    }

    fn migrate(&self, old: StateV1) -> Result<StateV2, ConversionError> {
        let mut new = order_v1_to_v2(old);
        new.open_cents = i64::try_from(new.cents).unwrap();
        Ok(new)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_bytes(b"wrong")
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

/// The way back from v2.
struct Back(WorkflowId, WorkflowId);

impl StateMigration for Back {
    type FromWorkflow = OrderV2;
    type ToWorkflow = OrderV1;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.0
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.1
    }

    fn migrate(&self, old: StateV2) -> Result<StateV1, ConversionError> {
        let open = u64::try_from(old.open_cents).map_err(|_| "paid too much")?;
        Ok(StateV1 {
            euro: old.cents / 100,
            paid_euro: (old.cents - open) / 100,
            closed: old.closed,
        })
    }

    fn details(&self) -> state_migration::__private::Details {
        state_migration::__private::Details::new().undo()
    }
}

fn wrong() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(Wrong::new())
        .build()
        .unwrap()
}

fn right() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .build()
        .unwrap()
}

fn with_undo() -> MigrationRegistry {
    let back = Back(WorkflowId::of::<OrderV2>(), WorkflowId::of::<OrderV1>());
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(back)
        .build()
        .unwrap()
}

fn to_v3() -> MigrationRegistry {
    MigrationRegistry::builder()
        .with(OrderV1ToV2Migration)
        .with(OrderV2ToV3Migration)
        .build()
        .unwrap()
}

fn runner<S: Store>(
    store: &S,
    code: MigrationRegistry,
) -> MigrationRunner<MigrationRegistry, S, S> {
    MigrationRunner::new(code, store.clone(), store.clone())
        .actor("the test")
        .reason("to see")
}

async fn fill(store: &impl Store) {
    for n in 0..ORDERS {
        place(store, store, n).await.unwrap();
    }
}

/// Orders on which something was paid under v1.
fn is_paid(n: u64) -> bool {
    !n.is_multiple_of(4)
}

fn paid() -> usize {
    (0..ORDERS).filter(|n| is_paid(*n)).count()
}

async fn append<W>(store: &impl Store, n: u64)
where
    W: Workflow<Event = OrderEvent>,
    W::State: serde::de::DeserializeOwned,
{
    let order = Process::<W>::open(identity::<W>(n), store.clone(), store.clone());
    let mut order = order.await.unwrap();
    order.append(&[OrderEvent::Paid { euro: 2 }]).await.unwrap();
}

fn is_done(report: &MigrationReport, migrated: usize) -> RunId {
    assert_eq!(
        (report.migrated, report.error_count),
        (migrated, 0),
        "{report}"
    );
    assert_eq!(report.state, Some(RunState::Done), "{report}");
    report.run.unwrap()
}

/// The baselines of an order, in order.
async fn baselines(store: &impl Store, n: u64) -> Vec<Baseline> {
    let stream = identity::<OrderV1>(n).stream_id().clone();
    let events = store.read_all(&stream, 0, 1_000).await.unwrap();
    let migrated = events.iter().filter(|event| event.event_type == MIGRATED);
    migrated
        .map(|event| Baseline::from_event(event).unwrap())
        .collect()
}

async fn are_as_before(store: &impl Store) {
    for n in 0..ORDERS {
        let state = load::<OrderV1, _>(store, n).await.unwrap();
        assert_eq!(state, folded::<OrderV1>(n), "order {n}");
    }
}

// To see it fail: let `compare` in `stages/history.rs` compare nothing.
async fn a_wrong_conversion_is_found_redone_and_undone(store: impl Store) {
    fill(&store).await;
    let run = is_done(&runner(&store, wrong()).run().await, ORDERS as usize);

    // Verified by the code of the run, and by the corrected code.
    let verified = runner(&store, wrong()).verify(Some(run)).await;
    assert_eq!(
        (verified.verified, verified.error_count),
        (ORDERS as usize, 0),
        "{verified}"
    );
    assert_eq!(verified.state, Some(RunState::Done));
    let verified = runner(&store, right()).verify(None).await;
    assert_eq!(
        verified.failed_by_class[&FailureClass::VerifiesDifferently],
        paid(),
        "{verified}"
    );
    assert_eq!(verified.verified, ORDERS as usize - paid());
    let message = &verified.errors[0].message;
    assert!(
        message.contains("`open_cents`") || message.contains("/open_cents"),
        "{message}"
    );
    assert!(
        message.ends_with("redo the run if the edit is a correction"),
        "{message}"
    );
    assert!(verified.errors[0].sequence.is_some());
    let other = runner(&store, right()).verify(Some(RunId::random())).await;
    assert_eq!(other.state, None, "{other}");

    // A prediction writes nothing.
    let before = Runs::of(&store).unwrap().list().await.unwrap().len();
    let predicted = runner(&store, right()).dry_redo(run).await;
    assert_eq!(
        (predicted.migrated, predicted.error_count),
        (paid(), 0),
        "{predicted}"
    );
    assert!(predicted.dry_run);
    let places = [("\"/open_cents\" differs".to_owned(), paid())];
    assert_eq!(predicted.differences, places.into());
    let redone = runner(&store, right()).redo(run).await;
    is_done(&redone, paid());
    assert_eq!(redone.skipped_by.already_there, ORDERS as usize - paid());
    for n in 0..ORDERS {
        let state = load::<OrderV2, _>(&store, n).await.unwrap();
        assert_eq!(state, order_v1_to_v2(folded::<OrderV1>(n)), "order {n}");
        let all = baselines(&store, n).await;
        assert_eq!(all.len(), 1 + usize::from(is_paid(n)), "order {n}");
        if is_paid(n) {
            let sequence = history(n).len() as u64 + 1;
            assert_eq!(all[1].kind, BaselineKind::Redo { of: run, sequence });
        }
    }
    // Nothing is left to correct, and nothing to complain of but the first states.
    let again = runner(&store, right()).redo(run).await;
    is_done(&again, 0);
    let verified = runner(&store, right()).verify(Some(run)).await;
    assert_eq!(
        (verified.verified, verified.error_count),
        (ORDERS as usize, 0),
        "the wrong states have no effect any more: {verified}"
    );
    let redo = redone.run.unwrap();
    let verified = runner(&store, right()).verify(Some(redo)).await;
    assert_eq!(
        (verified.verified, verified.error_count),
        (paid(), 0),
        "{verified}"
    );

    // Undone, which is predicted, and stays so.
    let predicted = runner(&store, right()).dry_undo(run).await;
    assert_eq!(
        (predicted.migrated, predicted.error_count),
        (ORDERS as usize, 0),
        "{predicted}"
    );
    let undone = runner(&store, right()).undo(run).await;
    let undo = is_done(&undone, ORDERS as usize);
    assert_eq!(undone.by_function, 0);
    are_as_before(&store).await;
    for n in 0..ORDERS {
        let last = baselines(&store, n).await.pop().unwrap();
        assert_eq!(
            last.kind,
            BaselineKind::Undo {
                of: run,
                exact: true
            }
        );
        assert_eq!((last.from.as_str(), last.to.as_str()), ("v2", "v1"));
    }
    let again = runner(&store, right()).undo(run).await;
    is_done(&again, 0);
    assert_eq!(again.skipped_by.already_there, ORDERS as usize);
    let verified = runner(&store, right()).verify(Some(undo)).await;
    assert_eq!(
        (verified.verified, verified.error_count),
        (ORDERS as usize, 0),
        "{verified}"
    );
    let all = Runs::of(&store).unwrap().list().await.unwrap();
    assert_eq!(
        all.len(),
        before + 4,
        "the two that found nothing to change are recorded"
    );

    // Neither the code of the run nor that of the redo migrates again, in no form.
    for code in [wrong, right] {
        for refused in [
            runner(&store, code()).run().await,
            runner(&store, code()).dry_run().await,
        ] {
            assert_eq!(refused.state, None, "{refused}");
            assert_eq!(refused.errors[0].class, FailureClass::Undone, "{refused}");
        }
        let opener = runner(&store, code());
        let opened = opener.open::<OrderV2>(identity::<OrderV2>(3)).await;
        assert_eq!(*opened.unwrap_err().kind(), ErrorKind::Undone { run });
    }
    are_as_before(&store).await;

    // Other code does, and so does the same code if that is meant.
    let longer = runner(&store, to_v3());
    let opened = longer.open::<OrderV3>(identity::<OrderV3>(3)).await;
    assert!(opened.is_err(), "its route begins with the same code");
    // A part of them is taken again, and the rest stays undone.
    let one = Selection::all().streams([identity::<OrderV1>(7).stream_id().clone()]);
    let some = Selection::all().in_flight().first(2);
    for (part, taken) in [(one, 1), (some, 2)] {
        let part = runner(&store, right()).again(true).select(part).run().await;
        is_done(&part, taken);
        let rest = runner(&store, right()).run().await;
        assert_eq!(rest.errors[0].class, FailureClass::Undone, "{rest}");
    }
    let again = runner(&store, right()).again(true);
    is_done(&again.run().await, ORDERS as usize - 3);
    place(&store, &store, ORDERS).await.unwrap();
    is_done(&runner(&store, right()).run().await, 1);
    for n in 0..ORDERS {
        let state = load::<OrderV2, _>(&store, n).await.unwrap();
        assert_eq!(state, order_v1_to_v2(folded::<OrderV1>(n)), "order {n}");
    }
}

// To see it fail: let `undone::close` add the plan of the undo.
async fn a_corrected_release_takes_a_run_back_and_migrates(store: impl Store) {
    fill(&store).await;
    let run = is_done(&runner(&store, wrong()).run().await, ORDERS as usize);
    is_done(&runner(&store, right()).undo(run).await, ORDERS as usize);
    are_as_before(&store).await;
    let refused = runner(&store, wrong()).run().await;
    assert_eq!(refused.errors[0].class, FailureClass::Undone, "{refused}");
    is_done(&runner(&store, right()).run().await, ORDERS as usize);
}

// To see it fail: let `undone::close` set `partial: false`, let `Filter::keeps` look at holds
// alone, let `Head::after_migration` forget `undone` in a redo, or let `check_one` pass what
// is closed for some.
async fn only_the_processes_of_a_partial_undo_stay(store: impl Store) {
    fill(&store).await;
    let all = ORDERS as usize;
    let first = is_done(&runner(&store, wrong()).run().await, all);
    let second = runner(&store, to_v3()).run().await;
    let second = is_done(&second, all);
    let stream = |n: u64| identity::<OrderV1>(n).stream_id().clone();
    let some = Selection::all().streams([stream(3), stream(7)]);
    let undo = runner(&store, to_v3()).select(some);
    is_done(&undo.undo(second).await, 2);
    for head in [stream(3), stream(7)] {
        assert!(store.head(&head).await.unwrap().unwrap().undone);
    }
    // A redo of the run before leaves them where they are.
    let redone = runner(&store, to_v3()).redo(first).await;
    assert_eq!(redone.error_count, 0, "{redone}");
    place(&store, &store, ORDERS).await.unwrap();
    place(&store, &store, ORDERS + 1).await.unwrap();

    // Other processes take the route.
    let again = || runner(&store, to_v3());
    let predicted = again().dry_run().await;
    let opened = again().open::<OrderV3>(identity::<OrderV3>(ORDERS)).await;
    opened.unwrap();
    let opened = again().open::<OrderV3>(identity::<OrderV3>(3)).await;
    assert_eq!(
        *opened.unwrap_err().kind(),
        ErrorKind::Undone { run: second }
    );
    let run = again().run().await;
    is_done(&run, 1);
    for (report, migrated) in [(&predicted, 2), (&run, 1)] {
        assert_eq!(report.migrated, migrated, "{report}");
        assert_eq!(report.skipped_by.undone, 2, "{report}");
    }
    // A run over separate stores leaves them out, too.
    let separate = MigrationRunner::new(to_v3(), store.clone(), MemoryStore::new());
    let report = separate.run().await;
    assert_eq!(report.form, Some(CommitMode::EventFirst), "{report}");
    assert_eq!(
        (report.migrated, report.skipped_by.undone),
        (0, 2),
        "{report}"
    );
    let opened = separate.open::<OrderV3>(identity::<OrderV3>(3)).await;
    assert_eq!(
        *opened.unwrap_err().kind(),
        ErrorKind::Undone { run: second }
    );
    // Another code, or the word of an operator, takes them.
    let one = Selection::all().streams([stream(3)]);
    is_done(&again().again(true).select(one).run().await, 1);
    let left = again().run().await;
    is_done(&left, 0);
    assert_eq!(left.skipped_by.undone, 1, "{left}");
    is_done(&again().again(true).run().await, 1);
    let none = again().run().await;
    assert_eq!((none.migrated, none.skipped_by.undone), (0, 0), "{none}");
}

// To see it fail: let `RunLog::end` open the routes of an undo only when the undo is done.
async fn an_undo_that_was_cancelled_before_its_first_process_closes_nothing(store: impl Store) {
    fill(&store).await;
    let run = is_done(&runner(&store, right()).run().await, ORDERS as usize);
    let stopped = runner(&store, right());
    stopped.control().cancel();
    let undo = stopped.undo(run).await;
    assert_eq!((undo.state, undo.migrated), (Some(RunState::Cancelled), 0));
    place(&store, &store, ORDERS).await.unwrap();
    is_done(&runner(&store, right()).run().await, 1);
    // Once it is resumed, it closes them.
    let resumed = runner(&store, right()).resume(undo.run.unwrap()).await;
    is_done(&resumed, ORDERS as usize);
    let refused = runner(&store, right()).run().await;
    assert_eq!(refused.errors[0].class, FailureClass::Undone, "{refused}");
}

// To see it fail: let `newer_versions` return all versions that the store lists.
async fn a_release_that_was_undone_lets_the_one_before_in(store: impl Store) {
    fill(&store).await;
    let run = is_done(&runner(&store, to_v3()).run().await, ORDERS as usize);
    let refused = async || {
        let older = runner(&store, right());
        let plan = older.plan().unwrap();
        let forecast = older.forecast(older.run_options(), &plan, None, 0).await;
        forecast.unwrap().refused
    };
    let why = refused().await.unwrap();
    assert!(why.contains("the store has processes at order@v3"), "{why}");
    is_done(&runner(&store, to_v3()).undo(run).await, ORDERS as usize);
    assert_eq!(refused().await, None);
}

// To see it fail: let `resumable` not ask for an undo.
async fn an_undone_run_is_not_resumed(store: impl Store) {
    fill(&store).await;
    let stopped = runner(&store, right()).chunk_processes(1);
    let control = stopped.control();
    control.throttle_next(NonZeroU32::new(100));
    let stop = async {
        while control.progress().counts.migrated < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        control.cancel();
    };
    let (stopped, ()) = tokio::join!(stopped.run(), stop);
    assert_eq!(stopped.state, Some(RunState::Cancelled), "{stopped}");
    let run = stopped.run.unwrap();
    is_done(&runner(&store, right()).undo(run).await, stopped.migrated);
    for again in [false, true] {
        let resumed = runner(&store, right()).again(again).resume(run).await;
        let message = &resumed.errors[0].message;
        assert!(message.contains("so it is not resumed"), "{resumed}");
    }
    are_as_before(&store).await;
    let again = runner(&store, right()).again(true);
    is_done(&again.run().await, ORDERS as usize);
}

// To see it fail: let `Replay::redo` keep the differences of the events that it replaces.
async fn a_redo_is_redone(store: impl Store) {
    fill(&store).await;
    let run = is_done(&runner(&store, right()).run().await, ORDERS as usize);
    let wrong_redo = is_done(&runner(&store, wrong()).redo(run).await, paid());
    let verified = runner(&store, right()).verify(None).await;
    assert_eq!(verified.error_count, paid(), "{verified}");
    let message = &verified.errors[0].message;
    assert!(message.contains("recorded by a redo"), "{message}");
    let redo = is_done(&runner(&store, right()).redo(run).await, paid());
    for which in [None, Some(run), Some(wrong_redo), Some(redo)] {
        let verified = runner(&store, right()).verify(which).await;
        assert_eq!(verified.error_count, 0, "{verified}");
        assert!(verified.verified >= paid(), "{verified}");
    }
}

// To see it fail: let `finish_undo` take every process for untouched.
async fn later_events_are_kept(store: impl Store) {
    fill(&store).await;
    let run = is_done(&runner(&store, wrong()).run().await, ORDERS as usize);
    let later: BTreeSet<u64> = (0..ORDERS).filter(|n| n % 2 == 0).collect();
    for n in &later {
        append::<OrderV2>(&store, *n).await;
    }
    // A redo computes the events after the migration, too.
    let redone = runner(&store, right()).redo(run).await;
    is_done(&redone, paid());
    let mut states = Vec::new();
    for n in 0..ORDERS {
        let mut expected = order_v1_to_v2(folded::<OrderV1>(n));
        if later.contains(&n) {
            expected = OrderV2::apply(expected, &OrderEvent::Paid { euro: 2 });
        }
        let state = load::<OrderV2, _>(&store, n).await.unwrap();
        assert_eq!(state, expected, "order {n}");
        states.push(state);
    }
    // Without an undo function, the processes with later events stay.
    let predicted = runner(&store, right()).dry_undo(run).await;
    let undone = runner(&store, right()).undo(run).await;
    for report in [&predicted, &undone] {
        assert_eq!(
            report.failed_by_class[&FailureClass::CannotUndo],
            later.len(),
            "{report}"
        );
        assert_eq!(report.migrated, ORDERS as usize - later.len(), "{report}");
        let message = &report.errors[0].message;
        assert!(message.contains("1 events since the run"), "{message}");
    }
    assert_eq!(undone.state, Some(RunState::DoneWithErrors));
    for n in 0..ORDERS {
        match later.contains(&n) {
            true => {
                let state = load::<OrderV2, _>(&store, n).await.unwrap();
                assert_eq!(state, states[n as usize], "order {n}");
            }
            false => {
                let state = load::<OrderV1, _>(&store, n).await.unwrap();
                assert_eq!(state, folded::<OrderV1>(n), "order {n}");
            }
        }
    }
    // With one, they go back and keep what was paid.
    let undone = runner(&store, with_undo()).undo(run).await;
    let v1 = |n: u64| OrderV1::apply(folded::<OrderV1>(n), &OrderEvent::Paid { euro: 2 });
    // The undo function refuses those that have paid too much.
    let (refused, back): (Vec<u64>, Vec<u64>) = later
        .into_iter()
        .partition(|n| v1(*n).paid_euro > v1(*n).euro);
    assert!(back.len() > 1, "{back:?}");
    let of_function = undone.failed_by_class.get(&FailureClass::Refused).copied();
    assert_eq!(of_function.unwrap_or(0), refused.len(), "{undone}");
    assert_eq!(undone.error_count, refused.len(), "{undone}");
    assert_eq!(undone.by_function, back.len(), "{undone}");
    for n in back {
        let v1 = v1(n);
        let state = load::<OrderV1, _>(&store, n).await.unwrap();
        assert_eq!(state, v1, "order {n}");
        let last = baselines(&store, n).await.pop().unwrap();
        assert_eq!(
            last.kind,
            BaselineKind::Undo {
                of: run,
                exact: false
            }
        );
    }
}

// To see it fail: let `finish_undo` not look for a later level.
async fn runs_are_undone_from_the_last_on(store: impl Store) {
    fill(&store).await;
    let first = is_done(&runner(&store, right()).run().await, ORDERS as usize);
    let second = is_done(&runner(&store, to_v3()).run().await, ORDERS as usize);
    let refused = runner(&store, to_v3()).undo(first).await;
    assert_eq!(
        refused.failed_by_class[&FailureClass::CannotUndo],
        ORDERS as usize
    );
    assert!(
        refused.errors[0]
            .message
            .contains(&format!("run {second} migrated"))
    );
    is_done(&runner(&store, to_v3()).undo(second).await, ORDERS as usize);
    for n in 0..ORDERS {
        let state = load::<OrderV2, _>(&store, n).await.unwrap();
        assert_eq!(state, order_v1_to_v2(folded::<OrderV1>(n)), "order {n}");
    }
    is_done(&runner(&store, to_v3()).undo(first).await, ORDERS as usize);
    are_as_before(&store).await;
    let verified = runner(&store, to_v3()).verify(None).await;
    assert_eq!(
        (verified.verified, verified.error_count),
        (ORDERS as usize, 0),
        "{verified}"
    );

    // Several hops of one run go back at once, also of processes that were opened.
    let again = runner(&store, to_v3()).again(true);
    again
        .open::<OrderV3>(identity::<OrderV3>(0))
        .await
        .unwrap_err();
    let third = is_done(&again.run().await, ORDERS as usize);
    is_done(&runner(&store, to_v3()).undo(third).await, ORDERS as usize);
    are_as_before(&store).await;
}

async fn others_are_counted_and_not_touched(store: impl Store) {
    fill(&store).await;
    let one = Selection::all().streams([identity::<OrderV1>(7).stream_id().clone()]);
    is_done(&runner(&store, right()).select(one).run().await, 1);
    let run = is_done(&runner(&store, right()).run().await, ORDERS as usize - 1);
    let runs = Runs::of(&store).unwrap();
    let held = identity::<OrderV1>(9).stream_id().clone();
    runs.hold(&held, "the test", "to see").await.unwrap();
    let born = Process::<OrderV2>::open(identity::<OrderV2>(ORDERS), store.clone(), store.clone());
    let mut born = born.await.unwrap();
    born.append(&[OrderEvent::Placed { euro: 1 }])
        .await
        .unwrap();
    let verified = runner(&store, right()).verify(None).await;
    assert_eq!(
        verified.verified, ORDERS as usize,
        "held ones, too: {verified}"
    );
    // An undo that takes nothing back closes no route.
    let none = Selection::all().streams([identity::<OrderV1>(7).stream_id().clone()]);
    let undone = runner(&store, right()).select(none).undo(run).await;
    is_done(&undone, 0);
    place(&store, &store, ORDERS + 1).await.unwrap();
    is_done(&runner(&store, right()).run().await, 1);
    let undone = runner(&store, right()).undo(run).await;
    is_done(&undone, ORDERS as usize - 2);
    let skipped = undone.skipped_by;
    assert_eq!(
        (skipped.held, skipped.never_migrated, skipped.not_selected),
        (1, 1, 2),
        "{undone}"
    );
    assert_eq!(baselines(&store, 9).await.len(), 1);
    let undo = undone.run.unwrap();
    let refused = runner(&store, right()).retry(undo, &[]).await;
    assert!(
        refused.errors[0].message.contains("are not retried"),
        "{refused}"
    );
    let refused = runner(&store, right()).undo(undo).await;
    assert!(
        refused.errors[0].message.contains("of kind undo"),
        "{refused}"
    );
}

/// What needs the code of a version, also in the history of large processes.
async fn what_needs_a_version_is_counted(store: impl Store) {
    fill(&store).await;
    let runs = Runs::of(&store).unwrap();
    let (v1, v2) = (WorkflowId::of::<OrderV1>(), WorkflowId::of::<OrderV2>());
    let of_v1 = runs.removal(&v1).await.unwrap();
    assert!(of_v1.is_blocked() && of_v1.is_listed);
    assert_eq!((of_v1.counts.processes, of_v1.history), (ORDERS, 0));
    // A run that is not over needs both versions.
    let cancelled = runner(&store, right());
    cancelled.control().cancel();
    let run = cancelled.run().await.run.unwrap();
    let number = runs.get(run).await.unwrap().unwrap().number;
    assert_eq!(runs.removal(&v1).await.unwrap().runs, [number]);
    assert_eq!(runs.removal(&v2).await.unwrap().runs, [number]);
    is_done(&runner(&store, right()).resume(run).await, ORDERS as usize);
    let of_v1 = runs.removal(&v1).await.unwrap();
    assert!(!of_v1.is_blocked() && !of_v1.is_listed, "{of_v1:?}");
    assert_eq!((of_v1.counts.processes, of_v1.history), (0, ORDERS));
    is_done(&runner(&store, to_v3()).run().await, ORDERS as usize);
    let of_v2 = runs.removal(&v2).await.unwrap();
    assert_eq!((of_v2.counts.processes, of_v2.history), (0, ORDERS));
    let of_none = runs.removal(&WorkflowId::new("order", "v0")).await.unwrap();
    assert!(!of_none.is_blocked() && of_none.history == 0, "{of_none:?}");
    let of_v3 = runs.removal(&WorkflowId::of::<OrderV3>()).await.unwrap();
    assert_eq!(of_v3.counts.processes, ORDERS);
}

/// A process that does not fit into a page is replayed part by part.
async fn large_processes_are_undone_and_redone(store: impl Store) {
    const EVENTS: usize = 30_000;
    place(&store, &store, 1).await.unwrap();
    let order = Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone());
    let mut order = order.await.unwrap();
    for _ in 0..EVENTS / 1_000 {
        order
            .append(&vec![OrderEvent::Placed { euro: 3 }; 1_000])
            .await
            .unwrap();
    }
    let v1 = order.state().clone();
    let run = is_done(&runner(&store, wrong()).run().await, 1);
    append::<OrderV2>(&store, 1).await;
    let checked = runner(&store, right()).check_determinism(true);
    let redone = checked.redo(run).await;
    is_done(&redone, 1);
    assert_eq!(redone.large, 1);
    let expected = OrderV2::apply(order_v1_to_v2(v1.clone()), &OrderEvent::Paid { euro: 2 });
    assert_eq!(load::<OrderV2, _>(&store, 1).await.unwrap(), expected);
    let verified = checked.verify(None).await;
    assert_eq!(
        (verified.verified, verified.error_count),
        (1, 0),
        "{verified}"
    );
    let undone = runner(&store, with_undo()).undo(run).await;
    is_done(&undone, 1);
    assert_eq!(undone.by_function, 1);
    let expected = OrderV1::apply(v1, &OrderEvent::Paid { euro: 2 });
    assert_eq!(load::<OrderV1, _>(&store, 1).await.unwrap(), expected);
    let runs = Runs::of(&store).unwrap();
    let of_v2 = runs.removal(&WorkflowId::of::<OrderV2>()).await.unwrap();
    assert_eq!((of_v2.counts.processes, of_v2.history), (0, 1));
}

/// The conversion of a release in which it refuses every order.
struct Refuses(Wrong);

impl StateMigration for Refuses {
    type FromWorkflow = OrderV1;
    type ToWorkflow = OrderV2;

    fn source_workflow_id(&self) -> &WorkflowId {
        &self.0.0
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        &self.0.1
    }

    fn migrate(&self, _: StateV1) -> Result<StateV2, ConversionError> {
        Err("not this one".into())
    }

    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<StateV2>())
    }
}

/// To see it fail: let `replay_once` begin with corrections.
async fn an_exact_undo_needs_no_conversion(store: impl Store) {
    place(&store, &store, 0).await.unwrap();
    place(&store, &store, 1).await.unwrap();
    let order = Process::<OrderV1>::open(identity::<OrderV1>(1), store.clone(), store.clone());
    let mut order = order.await.unwrap();
    for _ in 0..30 {
        let many = vec![OrderEvent::Placed { euro: 3 }; 1_000];
        order.append(&many).await.unwrap();
    }
    let v1 = order.state().clone();
    let run = is_done(&runner(&store, right()).run().await, 2);
    let back = Back(WorkflowId::of::<OrderV2>(), WorkflowId::of::<OrderV1>());
    let refuses = MigrationRegistry::builder()
        .with(Refuses(Wrong::new()))
        .with(back);
    let refusing = runner(&store, refuses.build().unwrap());
    let verified = refusing.verify(Some(run)).await;
    assert_eq!(verified.error_count, 2, "{verified}");
    for error in &verified.errors {
        assert!(error.sequence.is_some(), "{verified}");
    }
    let undone = refusing.undo(run).await;
    is_done(&undone, 2);
    assert_eq!(undone.large, 1, "{undone}");
    assert_eq!(load::<OrderV1, _>(&store, 1).await.unwrap(), v1);
}

/// To see it fail: let `finish_undo` look only at the events since the migration.
async fn what_was_erased_with_a_migration_is_not_undone(store: impl Store) {
    fill(&store).await;
    let all = ORDERS as usize;
    let run = is_done(&runner(&store, wrong()).run().await, all);
    let redone = runner(&store, right()).redo(run).await.migrated;
    assert!(
        (1..all).contains(&redone),
        "some begin with a redo, and some do not"
    );
    for n in 0..ORDERS {
        append::<OrderV2>(&store, n).await;
    }
    is_done(&runner(&store, right()).erase().await, all);
    let before = heads(&store).await;
    // An undo function is no help: it is not known what the process was.
    for code in [right(), with_undo()] {
        for undone in [
            runner(&store, code.clone()).dry_undo(run).await,
            runner(&store, code).undo(run).await,
        ] {
            let erased = undone.failed_by_class.get(&FailureClass::Erased).copied();
            assert_eq!((erased, undone.error_count), (Some(all), all), "{undone}");
        }
    }
    assert!(heads(&store).await == before, "a process has changed");
}

/// The head of each order.
async fn heads(store: &impl Store) -> Vec<String> {
    let mut heads = Vec::new();
    for n in 0..ORDERS {
        let stream = identity::<OrderV1>(n).stream_id().clone();
        heads.push(format!("{:?}", store.head(&stream).await.unwrap()));
    }
    heads
}

macro_rules! in_memory_and_on_disk {
    ($($name:ident,)+) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::MemoryStore::new()).await;
            })+
        }

        mod on_disk {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let store = super::OnDisk::new().await.unwrap();
                super::$name((*store).clone()).await;
                store.close().await.unwrap();
            })+
        }
    };
}

in_memory_and_on_disk! {
    a_wrong_conversion_is_found_redone_and_undone,
    a_corrected_release_takes_a_run_back_and_migrates,
    only_the_processes_of_a_partial_undo_stay,
    a_release_that_was_undone_lets_the_one_before_in,
    an_undo_that_was_cancelled_before_its_first_process_closes_nothing,
    a_redo_is_redone,
    an_undone_run_is_not_resumed,
    later_events_are_kept,
    runs_are_undone_from_the_last_on,
    others_are_counted_and_not_touched,
    what_needs_a_version_is_counted,
    large_processes_are_undone_and_redone,
    an_exact_undo_needs_no_conversion,
    what_was_erased_with_a_migration_is_not_undone,
}
