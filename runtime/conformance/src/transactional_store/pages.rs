//! Rules for what a page shows of each process.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use state_migration_core::{
    ChunkEvent, DueFilter, DueOf, DueProcess, ErrorKind, ExpectedSequence, Head, SkippedBy,
    Snapshot, SnapshotStore, StreamId, StreamRange, TransactionalStore, Verdict, WorkflowId,
};

use crate::transactional_store::{
    Broken, Checked, HeadFilter, head_of, migrate, of_tenant, own, put, put_all, put_each,
    read_to_end, request,
};
use crate::{events, holds, refused, same, stream, tenant};

/// A filter that counts how often it is asked about a version that it excludes.
struct Watched {
    wanted: HeadFilter,
    asked_in_vain: AtomicU64,
}

impl DueFilter for Watched {
    fn versions(&self) -> Option<&std::collections::BTreeSet<WorkflowId>> {
        self.wanted.versions()
    }

    fn verdict(&self, stream: &StreamId, head: &Head) -> Verdict {
        let versions = self.versions();
        if versions.is_some_and(|all| !all.contains(&head.workflow_id)) {
            self.asked_in_vain.fetch_add(1, Ordering::Relaxed);
        }
        self.wanted.verdict(stream, head)
    }
}

fn sequences(process: &DueProcess) -> Vec<u64> {
    process.events.iter().map(|event| event.sequence).collect()
}

/// Checks that a page shows a process with its head and the expected events.
pub(crate) async fn check_process(
    store: &dyn TransactionalStore,
    process: &DueProcess,
    wanted: Range<u64>,
) -> Checked {
    let stream = &process.stream;
    same(
        &format!("the problem of {stream} on a page"),
        &process.problem,
        &None,
    )?;
    let head = store.head(stream).await?;
    same(
        &format!("the head of {stream} on a page"),
        &process.head,
        &head,
    )?;
    same(
        &format!("the list of events of {stream} on a page"),
        &sequences(process),
        &wanted.collect(),
    )?;
    let Some(first) = process.events.first() else {
        return Ok(());
    };
    let all = store
        .read_all(stream, first.sequence - 1, process.events.len())
        .await?;
    for (found, event) in process.events.iter().zip(all) {
        let ChunkEvent {
            sequence,
            event_type,
            schema_version,
            payload,
        } = found;
        same(
            &format!("event {sequence} of {stream} on a page"),
            &(event_type, schema_version, payload),
            &(&event.event_type, &event.schema_version, &event.payload),
        )?;
    }
    Ok(())
}

/// The verdict on a process, by the first letter of its id.
fn by_letter(stream: &StreamId, _: &Head) -> Verdict {
    let pass = |skipped| Verdict::Pass(skipped);
    let process = stream.as_str().rsplit('/').next().unwrap_or_default();
    match process.chars().next() {
        Some('f') => pass(SkippedBy::with(|counts| counts.finished = 1)),
        Some('n') => pass(SkippedBy::with(|counts| counts.not_selected = 2)),
        Some('h') => Verdict::Head,
        _ => Verdict::Due,
    }
}

pub(crate) async fn wanted(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|version| own(&tenant, version));
    let mut all = Vec::new();
    for (version, names) in [
        (&v1, ["due", "f1", "f2", "head", "n1", "z"]),
        (&v2, ["a", "due too", "f3", "head too", "n2", "n3"]),
        (&v3, ["b", "due not", "f4", "head not", "n4", "zz"]),
    ] {
        for (name, many) in names.into_iter().zip(1..) {
            all.push((stream(&tenant, name)?, version.clone(), many));
        }
    }
    put_each(store, &all).await?;
    let filter = Arc::new(Watched {
        wanted: HeadFilter::at([v1.clone(), v2.clone()]).by(by_letter),
        asked_in_vain: AtomicU64::new(0),
    });
    let mut request = request(DueOf::Range(of_tenant(&tenant)));
    request.filter = filter.clone();
    let found = read_to_end(store, request, |_| Ok(())).await?;
    let mut wanted = Vec::new();
    for (name, events) in [
        ("a", 1..2),
        ("due", 1..2),
        ("due too", 1..3),
        ("head", 1..1),
        ("head too", 1..1),
        ("z", 1..7),
    ] {
        wanted.push((stream(&tenant, name)?, events));
    }
    let streams: Vec<StreamId> = wanted.iter().map(|(stream, _)| stream.clone()).collect();
    same("the list of processes", &found.streams(), &streams)?;
    for (process, (_, events)) in found.processes.iter().zip(wanted) {
        check_process(store, process, events).await?;
    }
    same("the number of heads passed", &found.passed.heads, &18)?;
    let mut counted = found.passed.counted;
    counted.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |finished, not_selected| {
        SkippedBy::with(|counts| {
            counts.finished = finished;
            counts.not_selected = not_selected;
        })
    };
    same(
        "the count of processes that the filter skips",
        &counted,
        &vec![(v1, of(2, 2)), (v2, of(1, 4))],
    )?;
    let in_vain = filter.asked_in_vain.load(Ordering::Relaxed);
    same(
        "the number of calls of the filter for versions that it excludes",
        &in_vain,
        &0,
    )?;
    few_among_many(store).await
}

async fn few_among_many(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (mut all, mut due) = (Vec::new(), Vec::new());
    for n in 0..60 {
        let letter = if n % 25 == 3 { 'd' } else { 'f' };
        let stream = stream(&tenant, &format!("{letter}{n:02}"))?;
        all.push((stream.clone(), own(&tenant, "v1"), 2));
        if letter == 'd' {
            due.push(stream);
        }
    }
    put_each(store, &all).await?;
    let mut request = request(DueOf::Range(of_tenant(&tenant)));
    request.filter = Arc::new(HeadFilter::all().by(by_letter));
    let found = read_to_end(store, request, |_| Ok(())).await?;
    same(
        "the list of a few due processes among many",
        &found.streams(),
        &due,
    )?;
    for process in &found.processes {
        check_process(store, process, 1..3).await?;
    }
    same("the number of heads passed", &found.passed.heads, &60)
}

pub(crate) async fn bounded(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let names = ["a", "a b", "ab", "b", "c"];
    let all = put_all(store, &tenant, &names, &own(&tenant, "v1")).await?;
    let within = |after: &StreamId, through: &StreamId| StreamRange {
        after: Some(after.clone()),
        through: Some(through.clone()),
    };
    for (range, wanted) in [
        (of_tenant(&tenant), &all[..]),
        (within(&all[0], &all[2]), &all[1..=2]),
        (within(&all[2], &stream(&tenant, "bb")?), &all[3..=3]),
        (within(&stream(&tenant, "aa")?, &all[4]), &all[2..=4]),
        (within(&all[1], &all[1]), &[]),
        (within(&all[3], &all[1]), &[]),
    ] {
        let what = format!("the list of processes in {range:?}");
        let request = request(DueOf::Range(range.clone()));
        let found = read_to_end(store, request, |page| match &page.up_to {
            Some(up_to) => holds(
                &format!("`up_to` of a page is {up_to}, expected a stream in {range:?}"),
                range.after.as_ref() < Some(up_to)
                    && range.through.as_ref().is_none_or(|end| up_to <= end),
            ),
            None => holds(
                "a page with processes has no `up_to`",
                page.processes.is_empty(),
            ),
        });
        let found = found.await?;
        same(&what, &found.streams(), &wanted.to_vec())?;
        let heads = found.passed.heads;
        same("the number of heads passed", &heads, &(wanted.len() as u64))?;
    }
    Ok(())
}

/// The only process on all pages of a request.
async fn only(
    store: &dyn TransactionalStore,
    request: state_migration_core::DueRequest,
) -> Result<DueProcess, Broken> {
    let mut found = read_to_end(store, request, |_| Ok(())).await?;
    match (found.processes.pop(), found.processes.is_empty()) {
        (Some(process), true) => Ok(process),
        (last, _) => Err(Broken(format!(
            "the processes of a request are {:?} and {last:?}, expected exactly one",
            found.processes
        ))),
    }
}

pub(crate) async fn baseline(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let [v1, v2, v3] = ["v1", "v2", "v3"].map(|version| own(&tenant, version));
    let stream = stream(&tenant, "p")?;
    put(store, &stream, &v1, 3).await?;
    let by_range = || request(DueOf::Range(of_tenant(&tenant)));
    let by_name = || request(DueOf::Streams(vec![stream.clone()]));
    let both = async |events: Range<u64>| {
        for request in [by_range(), by_name()] {
            let process = only(store, request).await?;
            check_process(store, &process, events.clone()).await?;
        }
        Ok::<(), Broken>(())
    };
    both(1..4).await?;
    migrate(store, std::slice::from_ref(&stream), &v2).await?;
    both(4..5).await?;
    let more = events(&v2, 2)?;
    store
        .append(&stream, ExpectedSequence::Exact(4), more)
        .await?;
    both(4..7).await?;
    for (after, wanted) in [(0, 4..7), (3, 4..7), (5, 6..7), (6, 7..7), (60, 7..7)] {
        let mut request = by_name();
        request.events_after = Some(after);
        let process = only(store, request).await?;
        check_process(store, &process, wanted).await?;
    }
    migrate(store, std::slice::from_ref(&stream), &v3).await?;
    both(7..8).await?;
    // Events before the baseline are events of other versions, which a run reads only
    // where it asks for them.
    for mut request in [by_range(), by_name()] {
        request.whole_history = true;
        let process = only(store, request).await?;
        check_process(store, &process, 1..8).await?;
    }
    Ok(())
}

pub(crate) async fn by_name(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let mut all = put_all(store, &tenant, &["a", "c", "f", "h"], &v1).await?;
    all.extend(put_all(store, &tenant, &["b", "e"], &v2).await?);
    all.sort();
    let nothing = [stream(&tenant, "d")?, stream(&tenant, "zzz")?];
    let mut names: Vec<StreamId> = all.iter().chain(&nothing).cloned().collect();
    names.sort();
    let mut request = request(DueOf::Streams(names));
    request.filter = Arc::new(HeadFilter::at([v1]).by(by_letter));
    let found = read_to_end(store, request, |_| Ok(())).await?;
    let mut wanted = all.clone();
    wanted.retain(|stream| !stream.as_str().ends_with("/f"));
    same("the list of processes", &found.streams(), &wanted)?;
    for process in &found.processes {
        let last = u64::from(!process.stream.as_str().ends_with("/h"));
        check_process(store, process, 1..last + 1).await?;
    }
    let none = crate::transactional_store::request(DueOf::Streams(vec![]));
    let none = read_to_end(store, none, |_| Ok(())).await?;
    same(
        "the list of processes of a request without streams",
        &none.streams(),
        &vec![],
    )?;
    let (a, b) = (all[0].clone(), all[1].clone());
    for (what, names) in [
        ("unsorted streams", vec![b, a.clone()]),
        ("a repeated stream", vec![a.clone(), a]),
    ] {
        let page = store
            .read_due(crate::transactional_store::request(DueOf::Streams(names)))
            .await;
        refused(&format!("a page of {what}"), page, |error| {
            *error.kind() == ErrorKind::Invalid
        })?;
    }
    Ok(())
}

pub(crate) async fn snapshots(
    store: &dyn TransactionalStore,
    snapshots: &dyn SnapshotStore,
) -> Checked {
    const EVENTS: u64 = 200;
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let stream = stream(&tenant, "p")?;
    put(store, &stream, &v1, EVENTS).await?;
    let snapshot = |version: &WorkflowId, sequence| Snapshot {
        stream_id: stream.clone(),
        sequence,
        workflow_id: version.clone(),
        state_schema_version: 3,
        state: "{\"n\": 1}".into(),
    };
    let check = async |asked_for: Option<(&WorkflowId, u32)>, fits: &Snapshot, all: Range<u64>| {
        for of in [
            DueOf::Streams(vec![stream.clone()]),
            DueOf::Range(of_tenant(&tenant)),
        ] {
            let mut request = request(of);
            let versions = asked_for.into_iter();
            let versions = versions.map(|(version, schema)| (version.clone(), schema));
            request.snapshots = Arc::new(versions.collect());
            let process = only(store, request).await?;
            let mut events = all.clone();
            if let Some(found) = &process.snapshot {
                let head = head_of(&process)?;
                let may = asked_for == Some((&head.workflow_id, 3));
                holds(
                    &format!(
                        "the snapshot has schema version 3, expected None for the request {asked_for:?}"
                    ),
                    may,
                )?;
                same("the snapshot", found, fits)?;
                events = fits.sequence + 1..all.end;
            }
            check_process(store, &process, events).await?;
        }
        Ok::<(), Broken>(())
    };
    let first = snapshot(&v1, 190);
    snapshots.save(&first).await?;
    for asked_for in [None, Some((&v1, 2)), Some((&v2, 3)), Some((&v1, 3))] {
        check(asked_for, &first, 1..EVENTS + 1).await?;
    }
    // The old snapshot is still stored, but belongs to the version before the
    // migration.
    migrate(store, std::slice::from_ref(&stream), &v2).await?;
    let more = events(&v2, EVENTS)?;
    store
        .append(&stream, ExpectedSequence::Exact(EVENTS + 1), more)
        .await?;
    let second = snapshot(&v2, 2 * EVENTS);
    for asked_for in [None, Some((&v1, 3)), Some((&v2, 3))] {
        check(asked_for, &second, EVENTS + 1..2 * EVENTS + 2).await?;
        if asked_for.is_none() {
            continue;
        }
        snapshots.save(&second).await?;
    }
    check(Some((&v2, 3)), &second, EVENTS + 1..2 * EVENTS + 2).await?;
    // A snapshot after the last event is rejected, or is not used.
    let ahead = snapshot(&v2, 9 * EVENTS);
    let fits = match snapshots.save(&ahead).await {
        Ok(()) => None,
        Err(_) => Some(second),
    };
    let mut request = request(DueOf::Streams(vec![stream.clone()]));
    request.snapshots = Arc::new([(v2.clone(), 3)].into());
    let process = only(store, request).await?;
    let found = process.snapshot.as_ref();
    holds(
        &format!(
            "a page has a snapshot at event {:?}, after the last event of the process",
            found.map(|it| it.sequence)
        ),
        found.is_none() || found == fits.as_ref(),
    )?;
    let after = found.map_or(EVENTS, |it| it.sequence);
    check_process(store, &process, after + 1..2 * EVENTS + 2).await
}
