//! Rules for the limits of a page, and for where the next page starts.

use std::sync::Arc;

use state_migration_core::{
    ChunkProblem, DueOf, DuePage, DueProcess, ExpectedSequence, NewEvent, SkippedBy, StreamId,
    TenantId, TransactionalStore, Verdict,
};

use crate::transactional_store::{
    Checked, HeadFilter, of_tenant, own, put_each, read_to_end, request,
};
use crate::{Broken, holds, same, stream, tenant};

/// Checks that `up_to` of a page is not before its last process.
fn check_up_to(page: &DuePage) -> Checked {
    let last = page.processes.last().map(|last| &last.stream);
    holds(
        &format!(
            "`up_to` of a page is {:?}, expected the last process {last:?} or a later stream",
            page.up_to
        ),
        last <= page.up_to.as_ref(),
    )
}

fn heads_on(page: &DuePage) -> u64 {
    let before = page.processes.iter().map(|it| it.passed.heads);
    before.sum::<u64>() + page.passed.heads
}

pub(crate) async fn continuing(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let (v1, v2) = (own(&tenant, "v1"), own(&tenant, "v2"));
    let (mut all, mut due) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let stream = stream(&tenant, &format!("{n:02}"))?;
        let version = if n % 4 == 2 { &v2 } else { &v1 };
        all.push((stream.clone(), version.clone(), n % 5 + 1));
        // A few due processes at the start, then a gap, and a last one at the
        // end.
        if n % 4 != 2 && n % 3 == 0 && !(12..30).contains(&n) {
            due.push((stream, n % 5 + 1));
        }
    }
    put_each(store, &all).await?;
    let filter = HeadFilter::at([v1.clone()]).by(|stream, _| {
        let digits = stream.as_str().rsplit('/').next();
        let n: u64 = digits.and_then(|n| n.parse().ok()).unwrap_or_default();
        match n.is_multiple_of(3) && !(12..30).contains(&n) {
            true => Verdict::Due,
            false => Verdict::Pass(SkippedBy::with(|counts| counts.not_selected = 1)),
        }
    });
    let mut all = request(DueOf::Range(of_tenant(&tenant)));
    all.filter = Arc::new(filter);
    let passed = vec![(
        v1,
        SkippedBy::with(|counts| counts.not_selected = 30 - due.len()),
    )];
    let (streams, many): (Vec<StreamId>, Vec<u64>) = due.into_iter().unzip();
    for (max_processes, max_heads, max_bytes) in [
        (100, 100, 1 << 20),
        (1, 100, 1 << 20),
        (3, 100, 1 << 20),
        (100, 1, 1 << 20),
        (100, 7, 1 << 20),
        (100, 40, 1 << 20),
        (2, 5, 1 << 20),
        (100, 100, 1),
        (100, 100, 60),
        (4, 9, 30),
    ] {
        let mut request = all.clone();
        request.max_processes = max_processes;
        request.max_heads = max_heads;
        request.max_bytes = max_bytes;
        let with = format!(
            "in pages of {max_processes} processes, {max_heads} heads and {max_bytes} bytes"
        );
        let found = read_to_end(store, request, |page| {
            check_up_to(page)?;
            holds(
                &format!(
                    "the number of processes on a page is {}, expected at most {max_processes}",
                    page.processes.len()
                ),
                page.processes.len() <= max_processes,
            )?;
            let heads = heads_on(page);
            holds(
                &format!("the number of heads on a page is {heads}, expected at most {max_heads}"),
                heads <= max_heads as u64,
            )
        });
        let found = found.await?;
        same(
            &format!("the list of processes {with}"),
            &found.streams(),
            &streams,
        )?;
        let events = found.processes.iter().map(|it| it.events.len() as u64);
        same(
            &format!("the number of events of each process {with}"),
            &events.collect(),
            &many,
        )?;
        same(
            &format!("the number of heads passed {with}"),
            &found.passed.heads,
            &40,
        )?;
        same(
            &format!("the count of skipped processes {with}"),
            &found.passed.counted,
            &passed,
        )?;
    }
    by_name_in_pages(store, &streams).await
}

/// The same limits apply where the streams are named.
async fn by_name_in_pages(store: &dyn TransactionalStore, streams: &[StreamId]) -> Checked {
    for (max_processes, max_heads) in [(100, 1), (100, 2), (1, 100), (3, 100), (2, 3)] {
        let mut request = request(DueOf::Streams(streams.to_vec()));
        request.max_processes = max_processes;
        request.max_heads = max_heads;
        let most = max_processes.min(max_heads);
        let with = format!("by id, in pages of {max_processes} processes and {max_heads} heads");
        let found = read_to_end(store, request, |page| {
            check_up_to(page)?;
            let heads = heads_on(page);
            holds(
                &format!(
                    "the number of heads on a page {with} is {heads}, expected at most {most}"
                ),
                heads <= most as u64,
            )
        });
        let found = found.await?;
        let what = format!("the list of processes {with}");
        same(&what, &found.streams(), &streams.to_vec())?;
        let heads = found.passed.heads;
        same(
            "the number of heads passed",
            &heads,
            &(streams.len() as u64),
        )?;
    }
    Ok(())
}

/// Creates processes with the given numbers of events of a hundred bytes each.
async fn large(
    store: &dyn TransactionalStore,
    tenant: &TenantId,
    processes: &[(&str, u64)],
) -> Result<Vec<StreamId>, Broken> {
    let version = own(tenant, "v1");
    let payload = format!("{{\"text\":\"{}\"}}", "x".repeat(89));
    let mut streams = Vec::new();
    for (name, many) in processes {
        let stream = stream(tenant, name)?;
        let new: Result<Vec<NewEvent>, _> = (0..*many)
            .map(|_| NewEvent::new(version.clone(), "Counted", 1, payload.clone()))
            .collect();
        store
            .append(&stream, ExpectedSequence::NoStream, new?)
            .await?;
        streams.push(stream);
    }
    Ok(streams)
}

fn bytes_of<'a>(processes: impl IntoIterator<Item = &'a DueProcess>) -> usize {
    let events = processes.into_iter().flat_map(|it| &it.events);
    events.map(|event| event.payload.len()).sum()
}

pub(crate) async fn bytes(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let all = large(store, &tenant, &names.map(|name| (name, 10))).await?;
    for max_bytes in [1, 1_500, 2_500, 1 << 20] {
        for of in [
            DueOf::Range(of_tenant(&tenant)),
            DueOf::Streams(all.clone()),
        ] {
            let mut request = request(of);
            request.max_bytes = max_bytes;
            let found = read_to_end(store, request, |page| {
                check_up_to(page)?;
                let Some((_, before)) = page.processes.split_last() else {
                    return Ok(());
                };
                let bytes = bytes_of(before);
                holds(
                    &format!(
                        "a page has another process after {bytes} bytes, expected its end at {max_bytes} bytes"
                    ),
                    bytes < max_bytes,
                )
            });
            let found = found.await?;
            let what = format!("the list of processes in pages of {max_bytes} bytes");
            same(&what, &found.streams(), &all)?;
            same("the number of bytes", &bytes_of(&found.processes), &8_000)?;
            let heads = found.passed.heads;
            same("the number of heads passed", &heads, &8)?;
        }
    }
    Ok(())
}

pub(crate) async fn too_large(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let processes = [
        ("a", 1),
        ("b", 100),
        ("c", 1),
        ("d", 2),
        ("e", 100),
        ("f", 99),
    ];
    let all = large(store, &tenant, &processes).await?;
    for of in [
        DueOf::Range(of_tenant(&tenant)),
        DueOf::Streams(all.clone()),
    ] {
        let mut request = request(of);
        request.max_process_bytes = 5_000;
        let found = read_to_end(store, request.clone(), |page| {
            check_up_to(page)?;
            let is_too_large = |it: &DueProcess| it.problem == Some(ChunkProblem::TooLarge);
            let is_among = page.processes.len() > 1 && page.processes.iter().any(is_too_large);
            holds(
                "a process that is too large is not alone on its page",
                !is_among,
            )
        });
        let found = found.await?;
        let seen = found.processes.iter().map(|it| {
            let sequence = it.head.as_ref().map(|head| head.sequence);
            (
                it.stream.clone(),
                sequence,
                it.problem.clone(),
                it.events.len() as u64,
            )
        });
        let wanted = all.iter().zip(processes).map(|(stream, (_, many))| {
            let problem = (many > 50).then_some(ChunkProblem::TooLarge);
            let events = if many > 50 { 0 } else { many };
            (stream.clone(), Some(many), problem, events)
        });
        same(
            "the list of processes",
            &seen.collect::<Vec<_>>(),
            &wanted.collect(),
        )?;
        same("the number of heads passed", &found.passed.heads, &6)?;
    }
    // Events that are not read do not count: here, all but the last one.
    let mut rest = request(DueOf::Streams(vec![all[1].clone()]));
    rest.max_process_bytes = 5_000;
    rest.events_after = Some(99);
    let found = read_to_end(store, rest, |_| Ok(())).await?;
    let seen: Vec<_> = found
        .processes
        .iter()
        .map(|it| (&it.problem, it.events.len()))
        .collect();
    same(
        "the problem and the number of events of a large process after event 99",
        &seen,
        &vec![(&None, 1)],
    )?;
    // The process is too large for this reader, but not for others.
    let found = read_to_end(store, request(DueOf::Range(of_tenant(&tenant))), |_| Ok(())).await?;
    let many: u64 = found
        .processes
        .iter()
        .map(|it| it.events.len() as u64)
        .sum();
    same("the number of events with a higher limit", &many, &303)?;
    Ok(())
}
