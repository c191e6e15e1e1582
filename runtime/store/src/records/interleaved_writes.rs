//! Tests of writes with another write in between: after everything that they
//! read, and before they commit.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use state_migration_core::{
    Batch, Commit, Error, ErrorKind, EventStore, ExpectedSequence, Head, Move, NewEvent, ProcessId,
    ProcessIdentity, ProcessRegistry, RegistryKey, Snapshot, SnapshotStore, StoreId, TenantId,
    TransactionalStore, WorkflowId,
};

use crate::key::KeyRange;
use crate::kv::{Kv, KvTxn, RowsRead};
use crate::memory::{MemoryKv, MemoryScan, MemoryTxn};
use crate::records::RecordStore;

type InterleavedAction = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// An engine that runs an action before the next commit.
#[derive(Clone)]
struct InterleavedKv {
    inner: MemoryKv,
    between: InterleavedAction,
}

struct InterleavedTxn {
    inner: MemoryTxn,
    between: InterleavedAction,
}

impl InterleavedKv {
    fn txn(&self, inner: MemoryTxn) -> InterleavedTxn {
        let between = self.between.clone();
        InterleavedTxn { inner, between }
    }
}

impl Kv for InterleavedKv {
    type Txn = InterleavedTxn;

    fn store_id(&self) -> StoreId {
        self.inner.store_id()
    }
    fn begin(&self) -> Result<InterleavedTxn, Error> {
        Ok(self.txn(self.inner.begin()?))
    }
    fn begin_serializable(&self) -> Result<InterleavedTxn, Error> {
        Ok(self.txn(self.inner.begin_serializable()?))
    }
    fn view(&self) -> Result<InterleavedTxn, Error> {
        self.begin()
    }
    fn rows_read(&self) -> &RowsRead {
        self.inner.rows_read()
    }
    fn is_single_writer(&self) -> bool {
        true
    }
    async fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl KvTxn for InterleavedTxn {
    type Scan = MemoryScan;

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.get(key).await
    }
    async fn scan_part(&self, range: KeyRange, bytes: usize) -> Result<MemoryScan, Error> {
        self.inner.scan_part(range, bytes).await
    }
    fn mark_read(&self, key: &[u8]) -> Result<(), Error> {
        self.inner.mark_read(key)
    }
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        self.inner.put(key, value)
    }
    fn delete(&mut self, key: Vec<u8>) -> Result<(), Error> {
        self.inner.delete(key)
    }
    async fn commit(self) -> Result<(), Error> {
        let between = self.between.lock().unwrap().take();
        if let Some(between) = between {
            between();
        }
        self.inner.commit().await
    }
}

/// A process, and a store with an action before the next commit.
struct Fixture {
    store: RecordStore<InterleavedKv>,
    plain: RecordStore<MemoryKv>,
    between: InterleavedAction,
    identity: ProcessIdentity,
}

fn version(version: &'static str) -> WorkflowId {
    WorkflowId::from_static("order", version)
}

fn event(at: &'static str) -> NewEvent {
    NewEvent::new(version(at), "Placed", 1, "{}").unwrap()
}

impl Fixture {
    fn new() -> Self {
        let (inner, between) = (MemoryKv::default(), InterleavedAction::default());
        let kv = InterleavedKv {
            inner: inner.clone(),
            between: between.clone(),
        };
        let (tenant, process) = (TenantId::new("t").unwrap(), ProcessId::new("p").unwrap());
        Self {
            store: RecordStore::over(kv),
            plain: RecordStore::over(inner),
            between,
            identity: ProcessIdentity::new(process, tenant, version("v1")),
        }
    }

    async fn born(&self, at: &'static str) {
        let none = ExpectedSequence::NoStream;
        let stream = self.identity.stream_id();
        self.plain
            .append(stream, none, vec![event(at)])
            .await
            .unwrap();
    }

    /// Migrates the process to v2 before the next commit.
    fn moves_in_between(&self) {
        let (plain, stream) = (self.plain.clone(), self.identity.stream_id().clone());
        let moves = move || {
            let moves = async {
                let batch = Batch {
                    moves: vec![Move {
                        head: plain.head(&stream).await.unwrap().unwrap(),
                        stream: stream.clone(),
                        event: event("v2"),
                        update_registry: false,
                    }],
                    ..Batch::default()
                };
                assert_eq!(plain.commit(&batch).await.unwrap(), Commit::Written);
            };
            moves.now_or_never().unwrap();
        };
        *self.between.lock().unwrap() = Some(Box::new(moves));
    }

    fn key(&self) -> RegistryKey {
        RegistryKey::from_process(self.identity.process_id().clone())
    }
}

fn is_fenced<T>(outcome: Result<T, Error>) -> bool {
    outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::Migrated { .. }))
}

#[tokio::test]
async fn a_registration_by_code_of_a_version_that_the_process_leaves_meanwhile_is_refused() {
    let world = Fixture::new();
    world.born("v1").await;
    world.moves_in_between();
    let (tenant, key) = (world.identity.tenant_id(), world.key());
    assert!(is_fenced(
        world.store.register(tenant, &key, &world.identity).await
    ));
    assert_eq!(world.plain.lookup(tenant, &key).await.unwrap(), None);
}

#[tokio::test]
async fn a_removal_by_code_of_a_version_that_the_process_leaves_meanwhile_is_refused() {
    let world = Fixture::new();
    world.born("v1").await;
    let (tenant, key) = (world.identity.tenant_id(), world.key());
    let registered = world.plain.register(tenant, &key, &world.identity);
    registered.await.unwrap();
    world.moves_in_between();
    assert!(is_fenced(
        world.store.remove(tenant, &key, &world.identity).await
    ));
    assert!(world.plain.lookup(tenant, &key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_registration_for_a_process_that_is_born_at_another_version_meanwhile_is_refused() {
    let world = Fixture::new();
    let (plain, stream) = (world.plain.clone(), world.identity.stream_id().clone());
    let born = move || {
        let none = ExpectedSequence::NoStream;
        let born = plain
            .append(&stream, none, vec![event("v2")])
            .now_or_never();
        born.unwrap().unwrap();
    };
    *world.between.lock().unwrap() = Some(Box::new(born));
    let (tenant, key) = (world.identity.tenant_id(), world.key());
    assert!(is_fenced(
        world.store.register(tenant, &key, &world.identity).await
    ));
}

#[tokio::test]
async fn a_replacement_of_an_entry_whose_process_moves_meanwhile_is_not_made() {
    let world = Fixture::new();
    world.born("v1").await;
    let (tenant, key) = (world.identity.tenant_id(), world.key());
    world
        .plain
        .register(tenant, &key, &world.identity)
        .await
        .unwrap();
    world.moves_in_between();
    let other = ProcessIdentity::new(ProcessId::new("q").unwrap(), tenant.clone(), version("v1"));
    let replaced = world
        .store
        .replace(tenant, &key, &world.identity, &other)
        .await;
    assert!(!replaced.unwrap(), "the entry says v2 by now");
}

#[tokio::test]
async fn a_snapshot_of_a_version_that_the_process_leaves_meanwhile_is_refused() {
    let world = Fixture::new();
    world.born("v1").await;
    world.moves_in_between();
    let snapshot = Snapshot {
        stream_id: world.identity.stream_id().clone(),
        sequence: 1,
        workflow_id: version("v1"),
        state_schema_version: 1,
        state: Bytes::from_static(b"{}"),
    };
    assert!(is_fenced(world.store.save(&snapshot).await));
    let kept = world.plain.load(world.identity.stream_id()).await.unwrap();
    assert_eq!(kept, None);
}

#[tokio::test]
async fn a_batch_with_a_read_point_of_another_page_does_not_overwrite_an_append() {
    let world = Fixture::new();
    world.born("v1").await;
    let stream = world.identity.stream_id();
    let old: Head = world.plain.head(stream).await.unwrap().unwrap();
    let one = ExpectedSequence::Exact(1);
    world
        .plain
        .append(stream, one, vec![event("v1")])
        .await
        .unwrap();
    let everything = state_migration_core::DueRequest {
        of: state_migration_core::DueOf::Streams(vec![stream.clone()]),
        filter: Arc::new(All),
        max_processes: 1,
        max_heads: 1,
        max_bytes: 1_000,
        max_process_bytes: 1_000,
        events_after: None,
        snapshots: Arc::default(),
        all_events: false,
        whole_history: false,
    };
    let page = world.plain.read_due(everything).await.unwrap();
    let batch = Batch {
        moves: vec![Move {
            stream: stream.clone(),
            head: old,
            event: event("v2"),
            update_registry: false,
        }],
        ..Batch::default()
    };
    let commit = world.plain.commit_unflushed(&batch, page.read_point).await;
    assert!(matches!(commit.unwrap(), Commit::Stale(stale) if stale.streams == [stream.clone()]));
}

struct All;

impl state_migration_core::DueFilter for All {
    fn versions(&self) -> Option<&std::collections::BTreeSet<WorkflowId>> {
        None
    }
    fn verdict(
        &self,
        _: &state_migration_core::StreamId,
        _: &Head,
    ) -> state_migration_core::Verdict {
        state_migration_core::Verdict::Due
    }
}
