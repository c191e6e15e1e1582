//! Writes the stores that are frozen under `tests/fixtures`, with the format of
//! this version of the crate:
//! `cargo run -p state-migration-tests --bin freeze -- FOLDER`, and with `runs`
//! after the folder for the one of which the rows of runs are read, `words` for
//! the one in which these say all that they can, `executions` for the one with a
//! run that was resumed, or `newer` for one of a format that is not there yet.

use std::error::Error;
use std::num::NonZeroU32;

use futures_util::StreamExt;
use serde_json::{Value, json};
use state_migration::{
    Batch, Commit, EventStore, ExpectedSequence, FailureClass, MemoryStore, MigrationRegistry,
    MigrationRunner, NewEvent, Process, RunId, RunState, Runs, Selection, SlateDbStore, Stage,
    TransactionalStore, WorkflowId,
};
use state_migration_tests::faulty::{ALL, Faulty};
use state_migration_tests::orders::{
    OrderEvent, OrderV1, OrderV1ToV2Migration, OrderV2, OrderV3, UNTAXABLE, identity, place,
    register, tenant,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name a folder that is not there yet")?;
    let store = SlateDbStore::open_local(&folder).await?;
    match std::env::args().nth(2).as_deref() {
        Some("runs") => return runs(store).await,
        Some("words") => return words(store).await,
        Some("executions") => return executions(store).await,
        Some("newer") => return newer(store).await,
        _ => {}
    }
    // Orders 0 to 5 are migrated; the registry elsewhere of 5 could not be told.
    for n in 0..6 {
        place(&store, &store, n).await?;
        register(&store, n).await?;
    }
    let elsewhere = Faulty::over(MemoryStore::new());
    register(&elsewhere, 5).await?;
    elsewhere
        .faults
        .register
        .store(ALL, std::sync::atomic::Ordering::SeqCst);
    let runner = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone());
    let report = runner.run_and_update_registry(&elsewhere).await;
    println!("{report}");
    let mut order =
        Process::<OrderV2>::open(identity::<OrderV2>(0), store.clone(), store.clone()).await?;
    order.append(&[OrderEvent::Paid { euro: 1 }]).await?;
    order.take_snapshot().await?;
    // Orders 6 to 11 are not.
    for n in 6..12 {
        place(&store, &store, n).await?;
        register(&store, n).await?;
    }
    let order =
        Process::<OrderV1>::open(identity::<OrderV1>(6), store.clone(), store.clone()).await?;
    order.take_snapshot().await?;
    // Order 7 has an event with metadata, 11 is held, and 12 is born while a run
    // closes its version.
    let stream = |n: u64| identity::<OrderV1>(n).stream_id().clone();
    let head = store.head(&stream(7)).await?.ok_or("it is there")?;
    let paid = NewEvent::of::<OrderV1>(&OrderEvent::Paid { euro: 1 })?
        .with_metadata("actor", "ann")
        .with_metadata("correlation", "17");
    store
        .append(
            &stream(7),
            ExpectedSequence::Exact(head.sequence),
            vec![paid],
        )
        .await?;
    let history = Runs::of(&store).ok_or("the store keeps runs")?;
    history.hold(&stream(11), "ann", "in court").await?;
    let closing = Batch {
        closing: Some((RunId::random(), vec![WorkflowId::of::<OrderV1>()])),
        ..Batch::default()
    };
    if store.commit(&closing).await? != Commit::Written {
        return Err("nothing else writes".into());
    }
    place(&store, &store, 12).await?;
    store.close().await?;
    Ok(())
}

/// A store with a run of each kind and each end.
async fn runs(store: SlateDbStore) -> Result<(), Box<dyn Error>> {
    // Orders 4 and 9 are over; the last cannot be migrated to v3.
    for n in (0..12).chain([UNTAXABLE - 1]) {
        place(&store, &store, n).await?;
    }
    let stream = |n: u64| identity::<OrderV1>(n).stream_id().clone();
    let runner = || -> Result<_, Box<dyn Error>> {
        let linked = MigrationRegistry::linked()?;
        Ok(MigrationRunner::new(linked, store.clone(), store.clone()))
    };
    let history = Runs::of(&store).ok_or("the store keeps runs")?;
    history.hold(&stream(3), "ann", "in court").await?;
    // 1: as it is opened. 2: with an error, and two left as finished. 3: the
    // failure again. 4: ended before its end.
    let opener = runner()?.actor("the service").reason("as they come");
    opener.open::<OrderV3>(identity::<OrderV3>(0)).await?;
    let failing = [1, 2, 4, 9, UNTAXABLE - 1].map(stream);
    let selection = Selection::all().streams(failing).in_flight();
    let report = runner()?
        .actor("bob")
        .reason("canary")
        .select(selection)
        .run()
        .await;
    println!("{report}");
    let run = report.run.ok_or("it ran")?;
    let report = runner()?
        .actor("bob")
        .reason("again")
        .retry(run, &[FailureClass::Refused])
        .await;
    println!("{report}");
    let cancelled = runner()?
        .actor("carl")
        .reason("all")
        .check_determinism(true);
    cancelled.control().cancel();
    println!("{}", cancelled.run().await);
    store.close().await?;
    Ok(())
}

/// A selection with every restriction.
fn selection() -> Selection {
    Selection::all()
        .workflow("order")
        .tenant(tenant())
        .prefix("process/shop/")
        .streams([0, UNTAXABLE - 1].map(|n| identity::<OrderV1>(n).stream_id().clone()))
        .first(1_000)
        .percent(100.0)
        .in_flight()
}

/// A store with a run that was throttled, then interrupted, then resumed by force with
/// other code, and cancelled.
async fn executions(store: SlateDbStore) -> Result<(), Box<dyn Error>> {
    // An order that was undone.
    place(&store, &store, 2).await?;
    let undone = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .select(Selection::all().streams([identity::<OrderV1>(2).stream_id().clone()]));
    let run = undone.run().await.run.ok_or("the run was recorded")?;
    println!("{}", undone.undo(run).await);
    for n in 0..2 {
        place(&store, &store, n).await?;
    }
    let first = MigrationRunner::new(OrderV1ToV2Migration, store.clone(), store.clone())
        .actor("ann")
        .reason("release 7")
        .select(selection());
    let control = first.control();
    let control = control.on_behalf_of("carl", "peak hour");
    control.throttle(NonZeroU32::new(50));
    control.pause();
    let paused = async {
        let mut progress = control.watch();
        while let Some(now) = progress.next().await {
            if now.state == RunState::Paused {
                return now.run;
            }
        }
        None
    };
    let run = tokio::select! {
        _ = first.run() => None,
        run = paused => run,
    };
    let run = run.ok_or("the run was paused")?;
    let resumed = MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone())
        .actor("bob")
        .reason("the night shift")
        .force(true);
    resumed.control().cancel();
    println!("{}", resumed.resume(run).await);
    let history = Runs::of(&store).ok_or("the store keeps runs")?;
    println!("{:#?}", history.executions(run).await?);
    // What is left out where it is 0.
    for (key, row) in store.rows(b"", None, 1_000).await? {
        let mut value: Value = serde_json::from_slice(&row[1..])?;
        match key[0] {
            b'g' => {
                value["counts"]["migrated_further"] = json!(1);
                value["by_workflow"] = json!([{"workflow": "order", "migrated": 1, "failed": 2, "skipped": 3, "not_selected": 4, "migrated_further": 1}]);
            }
            b'x' if !value["before"].is_null() => value["decided_again"] = json!(1),
            _ => continue,
        }
        let row = [&row[..1], &serde_json::to_vec(&value)?].concat();
        store.db().put([b"u", &key[..]].concat(), row).await?;
    }
    store.close().await?;
    Ok(())
}

/// A store whose bookkeeping says every word that it can: runs of each kind, in
/// each state, failures of each class, at each stage, ranges of each part, suspects of
/// each verdict. The
/// rows are those of one run, with other words put into copies of them.
async fn words(store: SlateDbStore) -> Result<(), Box<dyn Error>> {
    for n in [0, UNTAXABLE - 1] {
        place(&store, &store, n).await?;
    }
    let linked = MigrationRegistry::linked()?;
    let selection = selection();
    let runner = MigrationRunner::new(linked, store.clone(), store.clone())
        .actor("ann")
        .reason("to say all words")
        .select(selection)
        .count_up_to_date(true);
    println!("{}", runner.run().await);
    let rows = store.rows(b"", None, 1_000).await?;
    let first = |table: u8| -> Result<Value, Box<dyn Error>> {
        let row = rows.iter().find(|(key, _)| key[0] == table);
        let (_, row) = row.ok_or("the run left no such row")?;
        Ok(serde_json::from_slice(&row[1..])?)
    };
    let put = async |key: &[&[u8]], row: &Value| -> Result<(), Box<dyn Error>> {
        let key = [&[&b"u"[..]], key].concat().concat();
        let row = [&[2][..], &serde_json::to_vec(row)?].concat();
        store.db().put(key, row).await?;
        Ok(())
    };
    let (a_run, a_range, a_failure) = (first(b'r')?, first(b'g')?, first(b'f')?);
    let (mut number, mut last) = (1, RunId::random());
    // A program of another machine, which may be alive.
    let program = json!({"id": RunId::random(), "name": "loans", "pid": 7, "host": "db3", "user": "ann", "machine": "another", "start": 8});
    for kind in [
        json!("migrate"),
        json!("lazy"),
        json!({"retry": {"of": a_run["id"], "classes": FailureClass::ALL}}),
        json!({"undo": {"of": a_run["id"]}}),
        json!({"redo": {"of": a_run["id"]}}),
        json!("erase"),
    ] {
        for state in [
            RunState::Planned,
            RunState::Running,
            RunState::Paused,
            RunState::Cancelled,
            RunState::Done,
            RunState::DoneWithErrors,
        ] {
            let (mut run, before) = (a_run.clone(), last);
            number += 1;
            last = RunId::random();
            run["id"] = json!(last);
            run["number"] = json!(number);
            run["kind"] = kind.clone();
            run["state"] = json!(state);
            run["took_over"] = json!(before);
            run["ended"] = match state.is_done() || state == RunState::Cancelled {
                true => run["ended"].clone(),
                false => Value::Null,
            };
            run["plan"]["selection"]["matching"] = json!("large");
            run["plan"]["selection"]["except_failed_in"] = json!(before);
            let at = json!({"name": "order", "version": "v1"});
            run["plan"]["predicate"] = json!([{"at": at, "code": run["plan"]["fingerprint"]}]);
            if kind == "lazy" && state != RunState::Running {
                run["program"] = program.clone();
            }
            run["plan"]["steps"][0]["note"] = json!("from euro to cents");
            run["plan"]["stays"] =
                json!([{"at": {"name": "order", "version": "v0"}, "reason": "never deployed"}]);
            put(&[b"r", last.as_uuid().as_bytes()], &run).await?;
        }
    }
    let of = last.as_uuid();
    let stages = [
        Stage::Planning,
        Stage::Routing,
        Stage::Reading,
        Stage::Folding,
        Stage::Converting,
        Stage::Encoding,
        Stage::Committing,
    ];
    for (n, class) in FailureClass::ALL.into_iter().enumerate() {
        let identity = identity::<OrderV1>(n as u64);
        let mut failure = a_failure.clone();
        failure["error"]["stream_id"] = json!(identity.stream_id());
        failure["error"]["class"] = json!(class);
        failure["error"]["stage"] = json!(stages[n % stages.len()]);
        failure["error"]["sequence"] = json!((n % 2 == 0).then_some(n + 1));
        failure["at"] = json!((n % 2 == 0).then_some(&identity.workflow_id));
        let stream = identity.stream_id().as_str().as_bytes();
        put(&[b"f", of.as_bytes(), stream], &failure).await?;
    }
    let parts = [json!("migrate"), json!("sweep")];
    for (n, part) in (0_u32..).zip(parts) {
        let mut range = a_range.clone();
        range["part"] = part;
        for end in ["after", "through", "at"] {
            range[end] = json!(identity::<OrderV1>(0).stream_id());
        }
        range["by_workflow"] = json!([{"workflow": "order", "migrated": 1, "failed": 2, "skipped": 3, "not_selected": 4}]);
        range["stays"] = json!([{"name": "order", "version": "v1"}]);
        range["unread"] = json!(true);
        range["totals"] = json!({"before": {"amount": "1.50"}, "after": {"amount": "2"}});
        put(&[b"g", of.as_bytes(), &n.to_be_bytes()], &range).await?;
    }
    let verdicts = ["suspected", "survived", "never_returned", "ended_program"];
    for (n, verdict) in (0..).zip(verdicts) {
        let suspect = json!({
            "run": last,
            "code": a_run["plan"]["fingerprint"],
            "deaths": n + 1,
            "verdict": verdict,
        });
        let identity = identity::<OrderV1>(n);
        put(&[b"d", identity.stream_id().as_str().as_bytes()], &suspect).await?;
    }
    let undone = json!({"hops": a_run["plan"]["routes"][0]["hops"], "of": last, "by": last, "partial": true});
    put(&[b"u", b"order@v1"], &json!({"routes": [undone]})).await?;
    let holder = json!({"run": last, "execution": RunId::random(), "program": program});
    put(&[b"c"], &json!({"holder": holder})).await?;
    put(&[b"n"], &json!({"runs": number})).await?;
    store.close().await?;
    Ok(())
}

/// A store as one of the next format may look: its mark says so, and this crate
/// is to look no further.
async fn newer(store: SlateDbStore) -> Result<(), Box<dyn Error>> {
    for n in 0..3 {
        place(&store, &store, n).await?;
        register(&store, n).await?;
    }
    store.db().put(b"mformat\0\x01", [3]).await?;
    store.close().await?;
    Ok(())
}
