//! Rules for event stores.

use futures_util::future::join_all;
use state_migration_core::{
    Error, ErrorKind, Event, EventStore, ExpectedSequence, Head, MIGRATED, NewEvent, StreamId,
    Timestamp,
};

use crate::{
    Broken, Checked, Violation, event, events, holds, migrated, of, refused, same, stream, tenant,
    v1, v2,
};

/// Checks an event store.
///
/// # Errors
/// The first rule that the store breaks.
pub async fn event_store(store: &dyn EventStore) -> Result<(), Violation> {
    of(
        "a stream without events has no head and no events",
        empty(store).await,
    )?;
    of(
        "events are read as they were appended",
        round_trip(store).await,
    )?;
    of(
        "an append succeeds only at the expected sequence number",
        expected_end(store).await,
    )?;
    of("events are read in pages", pages(store).await)?;
    of(
        "of concurrent appends at one sequence number, exactly one succeeds",
        one_wins(store).await,
    )?;
    of(
        "the events of different streams are separate",
        neighbours(store).await,
    )?;
    of(
        "streams are listed in order, by prefix and in pages",
        listing(store).await,
    )?;
    of(
        "a `$migrated` event is stored like other events and changes the version in the head",
        migration(store).await,
    )?;
    of(
        "an append by code of another version is rejected",
        fence(store).await,
    )?;
    of(
        "the id that a store keeps is the same in every read",
        one_id(store).await,
    )?;
    of(
        "an append without events or with events of mixed versions is rejected",
        malformed(store).await,
    )
}

fn conflict(error: &Error) -> bool {
    error.is_conflict()
}

async fn one_id(store: &dyn EventStore) -> Checked {
    let id = store.durable_id().await?;
    same("the id in a second read", &store.durable_id().await?, &id)?;
    if let Some(handle) = store.transactional() {
        let of_handle = handle.durable_id().await?;
        same("the id of the transactional handle", &of_handle, &id)?;
    }
    Ok(())
}

async fn empty(store: &dyn EventStore) -> Checked {
    let stream = stream(&tenant(), "none")?;
    same(
        "the head of a stream without events",
        &store.head(&stream).await?,
        &None,
    )?;
    same(
        "the events of a stream without events",
        &store.read_all(&stream, 0, 10).await?,
        &vec![],
    )?;
    same(
        "the events after event 5 of a stream without events",
        &store.read_all(&stream, 5, 10).await?,
        &vec![],
    )
}

async fn round_trip(store: &dyn EventStore) -> Checked {
    let stream = stream(&tenant(), "p")?;
    let payloads = [
        "{}",
        "null",
        "{\"text\":\"\\u0000 ä 🦀\",\"n\":1.50}",
        "[1, 2]",
    ];
    let mut new = Vec::new();
    for (n, payload) in payloads.into_iter().enumerate() {
        let version = u32::try_from(n).unwrap_or(0) + 1;
        new.push(NewEvent::new(v1(), format!("Type{n}"), version, payload)?.finishing(n == 3));
    }
    let appended = store
        .append(&stream, ExpectedSequence::NoStream, new.clone())
        .await?;
    same(
        "the last sequence number of an append",
        &appended.last_sequence,
        &4,
    )?;
    let found = store.read_all(&stream, 0, 10).await?;
    holds(
        "an event has no timestamp",
        found.iter().all(|e| e.time > Timestamp::from_micros(0)),
    )?;
    let wanted: Vec<Event> = new
        .into_iter()
        .zip(1..)
        .zip(&found)
        .map(|((new, sequence), found)| new.record(stream.clone(), sequence, found.time))
        .collect();
    same("the list of events", &found, &wanted)?;
    let head = Head {
        finished: true,
        ..Head::of(4, v1())
    };
    same_head("the head after an append", store.head(&stream).await?, head).map(drop)
}

/// Compares two heads without their revisions, and returns the revision found.
pub(crate) fn same_head(what: &str, found: Option<Head>, wanted: Head) -> Result<u64, Broken> {
    let revision = found.as_ref().map_or(0, |head| head.revision);
    let wanted = Head { revision, ..wanted };
    same(what, &found, &Some(wanted))?;
    Ok(revision)
}

async fn expected_end(store: &dyn EventStore) -> Checked {
    use ExpectedSequence::{Exact, NoStream};
    let stream = stream(&tenant(), "p")?;
    let outcome = store.append(&stream, Exact(1), events(&v1(), 1)?).await;
    refused(
        "an append with `Exact(1)` to a stream without events",
        outcome,
        conflict,
    )?;
    same(
        "the head after a rejected append",
        &store.head(&stream).await?,
        &None,
    )?;
    store.append(&stream, NoStream, events(&v1(), 2)?).await?;
    for expected in [NoStream, Exact(0), Exact(1), Exact(3), Exact(u64::MAX)] {
        let outcome = store.append(&stream, expected, events(&v1(), 3)?).await;
        refused(
            &format!("an append with `{expected:?}` to a stream that ends at event 2"),
            outcome,
            conflict,
        )?;
    }
    same(
        "the number of events after rejected appends",
        &store.read_all(&stream, 0, 10).await?.len(),
        &2,
    )?;
    same(
        "the last sequence number of another append",
        &store
            .append(&stream, Exact(2), events(&v1(), 1)?)
            .await?
            .last_sequence,
        &3,
    )
}

async fn pages(store: &dyn EventStore) -> Checked {
    let stream = stream(&tenant(), "p")?;
    store
        .append(&stream, ExpectedSequence::NoStream, events(&v1(), 300)?)
        .await?;
    let sequences = |page: Vec<Event>| page.into_iter().map(|e| e.sequence).collect::<Vec<_>>();
    for (after, limit, first, last) in [
        (0, 1, 1, 1),
        (0, 299, 1, 299),
        (7, 5, 8, 12),
        (255, 2, 256, 257),
        (298, 10, 299, 300),
    ] {
        let found = sequences(store.read_all(&stream, after, limit).await?);
        same(
            &format!("a page of {limit} events after event {after}"),
            &found,
            &(first..=last).collect(),
        )?;
    }
    same(
        "a page after the last event",
        &sequences(store.read_all(&stream, 300, 10).await?),
        &vec![],
    )?;
    same(
        "a page after the highest sequence number",
        &sequences(store.read_all(&stream, u64::MAX, 10).await?),
        &vec![],
    )?;
    same(
        "a page with limit 0",
        &sequences(store.read_all(&stream, 0, 0).await?),
        &vec![],
    )
}

async fn one_wins(store: &dyn EventStore) -> Checked {
    let stream = stream(&tenant(), "p")?;
    let mut last = 0;
    for _ in 0..5 {
        let expected = if last == 0 {
            ExpectedSequence::NoStream
        } else {
            ExpectedSequence::Exact(last)
        };
        let mut appends = Vec::new();
        for n in 0..8 {
            appends.push(store.append(&stream, expected, vec![event(v1(), n)?, event(v1(), n)?]));
        }
        let outcomes = join_all(appends).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        same("the number of appends that succeeded", &won, &1)?;
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            refused("a concurrent append that lost", outcome, conflict)?;
        }
        last += 2;
        let found = store.read_all(&stream, 0, 100).await?;
        same(
            "the number of events after concurrent appends",
            &(found.len() as u64),
            &last,
        )?;
        let pair = &found[found.len() - 2..];
        same(
            "the payload of the second event of the successful append",
            &pair[1].payload,
            &pair[0].payload,
        )?;
    }
    Ok(())
}

async fn neighbours(store: &dyn EventStore) -> Checked {
    let tenant = tenant();
    let names = [
        "a",
        "a ",
        "a!",
        "ab",
        "a\u{7e}",
        "a\u{e4}",
        "a\u{10ffff}",
        "A",
        "aa",
    ];
    for (n, name) in names.iter().enumerate() {
        let new = events(&v1(), n as u64 + 1)?;
        store
            .append(&stream(&tenant, name)?, ExpectedSequence::NoStream, new)
            .await?;
    }
    for (n, name) in names.iter().enumerate() {
        let stream = stream(&tenant, name)?;
        let found = store.read_all(&stream, 0, 100).await?;
        same(
            &format!("the number of events of process {name:?}"),
            &found.len(),
            &(n + 1),
        )?;
        holds(
            "an event has the id of another stream",
            found.iter().all(|e| e.stream_id == stream),
        )?;
    }
    Ok(())
}

async fn listing(store: &dyn EventStore) -> Checked {
    let tenant = tenant();
    let mut wanted = Vec::new();
    // Some of the ids differ from the prefix of others only where a pattern of a
    // query language has a wildcard, or where letters are compared without case.
    let names = [
        "b", "a", "ab", "c c", "ä", "aa", "A", "Ab", "a_", "a_b", "a%", "a%b", "a*b", "a\\b", "Ä",
    ];
    for name in names {
        let stream = stream(&tenant, name)?;
        store
            .append(&stream, ExpectedSequence::NoStream, events(&v1(), 1)?)
            .await?;
        wanted.push(stream);
    }
    wanted.sort();
    let prefix = format!("process/{tenant}/");
    same(
        "the list of streams",
        &store.list_streams(Some(&prefix), None, 100).await?,
        &wanted,
    )?;
    for name in names {
        let longer = format!("{prefix}{name}");
        let starts = |stream: &&StreamId| stream.as_str().starts_with(&longer);
        same(
            &format!("the list of streams whose ids start with {longer:?}"),
            &store.list_streams(Some(&longer), None, 100).await?,
            &wanted.iter().filter(starts).cloned().collect(),
        )?;
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_streams(Some(&prefix), after.as_ref(), 2).await?;
        holds(
            "a page of streams is longer than its limit",
            page.len() <= 2,
        )?;
        let at_end = page.len() < 2;
        after = page.last().cloned().or(after);
        found.extend(page);
        if at_end {
            break;
        }
    }
    same("the list of streams in pages of 2", &found, &wanted)?;
    let missing = stream(&tenant, "aaa")?;
    let after: Vec<StreamId> = wanted.iter().filter(|s| **s > missing).cloned().collect();
    let found = store
        .list_streams(Some(&prefix), Some(&missing), 100)
        .await?;
    same(
        "the list of streams after a stream that does not exist",
        &found,
        &after,
    )?;
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_streams(None, after.as_ref(), 100).await?;
        let at_end = page.len() < 100;
        after = page.last().cloned().or(after);
        all.extend(page);
        if at_end {
            break;
        }
    }
    holds(
        "a stream is missing from the list without a prefix",
        wanted.iter().all(|s| all.contains(s)),
    )
}

async fn migration(store: &dyn EventStore) -> Checked {
    use ExpectedSequence::{Exact, NoStream};
    let stream = stream(&tenant(), "p")?;
    store.append(&stream, NoStream, events(&v1(), 2)?).await?;
    let event = migrated()?;
    refused(
        "a `$migrated` event at another sequence number",
        store.append(&stream, Exact(1), vec![event.clone()]).await,
        conflict,
    )?;
    store.append(&stream, Exact(2), vec![event.clone()]).await?;
    let at_v2 = |sequence| Head {
        baseline: Some(3),
        ..Head::of(sequence, v2())
    };
    let before = same_head(
        "the head after a `$migrated` event",
        store.head(&stream).await?,
        at_v2(3),
    )?;
    store.append(&stream, Exact(3), events(&v2(), 2)?).await?;
    let after = store.head(&stream).await?;
    let after = same_head("the head after further events", after, at_v2(5))?;
    holds(
        &format!(
            "the revision of the head after an append is {after}, expected more than {before}"
        ),
        after > before,
    )?;
    let all = store.read_all(&stream, 0, 10).await?;
    same("the number of all events", &all.len(), &5)?;
    same(
        "the type of the third event",
        &&*all[2].event_type,
        &MIGRATED,
    )?;
    same(
        "the payload of the third event",
        &all[2].payload,
        event.payload(),
    )?;
    same(
        "the id of the third event",
        &all[2].event_id,
        &event.event_id(),
    )?;
    let sequences = |page: Vec<Event>| page.into_iter().map(|e| e.sequence).collect::<Vec<_>>();
    same(
        "the list of sequence numbers from `read`",
        &sequences(store.read(&stream, 0, 10).await?),
        &vec![1, 2, 4, 5],
    )?;
    same(
        "the list of sequence numbers in a page of 3 from `read`",
        &sequences(store.read(&stream, 0, 3).await?),
        &vec![1, 2, 4],
    )
}

async fn fence(store: &dyn EventStore) -> Checked {
    use ExpectedSequence::{Exact, NoStream};
    let stream = stream(&tenant(), "p")?;
    store.append(&stream, NoStream, events(&v1(), 2)?).await?;
    let outcome = store.append(&stream, Exact(2), events(&v2(), 1)?).await;
    refused("an append by code of v2 to a process at v1", outcome, |e| {
        *e.kind() == ErrorKind::WrongVersion { stands_at: v1() }
    })?;
    store.append(&stream, Exact(2), vec![migrated()?]).await?;
    let outcome = store.append(&stream, Exact(3), events(&v1(), 1)?).await;
    refused("an append by code of v1 to a process at v2", outcome, |e| {
        *e.kind() == ErrorKind::Migrated { to: v2() }
    })?;
    // Code of the old version knows neither the migration nor its event.
    let outcome = store.append(&stream, Exact(2), events(&v1(), 1)?).await;
    refused(
        "an append by code of v1 at the last event of v1",
        outcome,
        |e| *e.kind() == ErrorKind::Migrated { to: v2() },
    )?;
    same(
        "the number of events after rejected appends",
        &store.read_all(&stream, 0, 10).await?.len(),
        &3,
    )
}

async fn malformed(store: &dyn EventStore) -> Checked {
    let stream = stream(&tenant(), "p")?;
    let invalid = |error: &Error| *error.kind() == ErrorKind::Invalid;
    let outcome = store
        .append(&stream, ExpectedSequence::NoStream, vec![])
        .await;
    refused("an append without events", outcome, invalid)?;
    let mixed = vec![event(v1(), 1)?, event(v2(), 1)?];
    let outcome = store
        .append(&stream, ExpectedSequence::NoStream, mixed)
        .await;
    refused("an append with events of v1 and v2", outcome, invalid)?;
    let outcome = store
        .append(&stream, ExpectedSequence::NoStream, vec![migrated()?])
        .await;
    refused(
        "a `$migrated` event for a stream without events",
        outcome,
        invalid,
    )?;
    same(
        "the head after rejected appends",
        &store.head(&stream).await?,
        &None,
    )
}
