//! The rule that a page shows each process as of one instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use state_migration_core::{
    DueOf, DueProcess, ExpectedSequence, StreamId, TransactionalStore, WorkflowId,
};

use crate::transactional_store::concurrency::{beside, done, handle};
use crate::transactional_store::{Broken, Checked, head_of, migrate, of_tenant, own, put, request};
use crate::{event, holds, same, stream, tenant};

/// The number of appends concurrent with the pages.
const APPENDS: u64 = 150;

/// Appends to a process, and migrates it from time to time.
async fn append_and_migrate(
    store: Arc<dyn TransactionalStore>,
    stream: StreamId,
    versions: [WorkflowId; 2],
    written: Arc<AtomicU64>,
) -> Checked {
    let mut at = 0;
    for sequence in 2..=APPENDS {
        match sequence % 9 {
            0 => {
                at = 1 - at;
                let stream = std::slice::from_ref(&stream);
                migrate(&*store, stream, &versions[at]).await?;
            }
            _ => {
                let new = vec![event(versions[at].clone(), sequence)?];
                let end = ExpectedSequence::Exact(sequence - 1);
                store.append(&stream, end, new).await?;
            }
        }
        written.store(sequence, Ordering::SeqCst);
    }
    Ok(())
}

/// Checks that the events of a process reach from its baseline to its head.
fn check_whole(process: &DueProcess, at_least: u64, at_most: u64) -> Checked {
    let head = head_of(process)?;
    let found: Vec<u64> = process.events.iter().map(|it| it.sequence).collect();
    let wanted = (head.replay_after() + 1..=head.sequence).collect();
    same(
        &format!(
            "the list of events on a page with a head at event {}",
            head.sequence
        ),
        &found,
        &wanted,
    )?;
    same(
        "the problem of a process with concurrent writers",
        &process.problem,
        &None,
    )?;
    // An append may be written and not counted yet.
    holds(
        &format!(
            "the head on a page is at event {}, expected an event from {at_least} to {at_most}",
            head.sequence
        ),
        (at_least..=at_most).contains(&head.sequence),
    )
}

pub(crate) async fn one_instant(store: &dyn TransactionalStore) -> Checked {
    let tenant = tenant();
    let versions = [own(&tenant, "v1"), own(&tenant, "v2")];
    let mut writers = Vec::new();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let stream = stream(&tenant, name)?;
        put(store, &stream, &versions[0], 1).await?;
        let written = Arc::new(AtomicU64::new(1));
        let work = append_and_migrate(
            handle(store)?,
            stream.clone(),
            versions.clone(),
            written.clone(),
        );
        let is_over = is_over.clone();
        writers.push(beside(async move {
            let outcome = work.await;
            is_over.store(true, Ordering::SeqCst);
            outcome
        })?);
        all.push((stream, written));
    }
    let read = read_beside(store, &tenant, &all, &is_over).await;
    for writer in writers {
        done(writer).await?;
    }
    read
}

async fn read_beside(
    store: &dyn TransactionalStore,
    tenant: &state_migration_core::TenantId,
    all: &[(StreamId, Arc<AtomicU64>)],
    is_over: &AtomicBool,
) -> Checked {
    let names: Vec<StreamId> = all.iter().map(|(stream, _)| stream.clone()).collect();
    let requests = [
        request(DueOf::Range(of_tenant(tenant))),
        request(DueOf::Streams(names.clone())),
    ];
    let mut turn = 0;
    while !is_over.load(Ordering::SeqCst) {
        let written = || all.iter().map(|(_, it)| it.load(Ordering::SeqCst));
        let before: Vec<u64> = written().collect();
        turn += 1;
        let page = store.read_due(requests[turn % 2].clone()).await?;
        let after: Vec<u64> = written().collect();
        if !page.at_end {
            return Err(Broken(format!(
                "a page of three small processes ends after {:?}, expected all three",
                page.up_to
            )));
        }
        let found: Vec<&StreamId> = page.processes.iter().map(|it| &it.stream).collect();
        same("the list of processes", &found, &names.iter().collect())?;
        for (process, (before, after)) in page.processes.iter().zip(before.into_iter().zip(after)) {
            check_whole(process, before, after + 1)?;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
