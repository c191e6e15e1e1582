//! A digest of a store, small enough to compare many: the number and the hash of the
//! rows of each table, without the values that differ between two runs of one plan.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeFull;

use slatedb::config::ScanOptions;
use state_migration::{Baseline, MIGRATED, RunId, SlateDbStore};

/// The number of rows of each table, and a hash of them.
pub(crate) type Digest = BTreeMap<char, (u64, u64)>;

/// The same where one run did it all.
pub(crate) async fn of(store: &SlateDbStore, run: RunId) -> Digest {
    of_runs(store, &BTreeSet::from([run])).await
}

/// Goes over all rows outside of the bookkeeping of runs. Of `$migrated`
/// events, the event id, the time and the run are left out; the run must be one
/// of the given ones, and no stream may hold two of one run.
pub(crate) async fn of_runs(store: &SlateDbStore, runs: &BTreeSet<RunId>) -> Digest {
    let mut tables: BTreeMap<char, (u64, DefaultHasher)> = BTreeMap::new();
    let mut migrated: BTreeSet<(Vec<u8>, RunId)> = BTreeSet::new();
    let options = ScanOptions::default().with_read_ahead_bytes(1 << 20);
    let rows = store
        .db()
        .scan_with_options::<RangeFull>(.., &options)
        .await;
    let mut rows = rows.unwrap();
    while let Some(row) = rows.next().await.unwrap() {
        let table = char::from(row.key[0]);
        // Each store has an id of its own.
        if table == 'u' || row.key.starts_with(b"mid") {
            continue;
        }
        let (count, hash) = tables.entry(table).or_default();
        *count += 1;
        row.key.hash(hash);
        match (table == 'e')
            .then(|| Migrated::parse(&row.value))
            .flatten()
        {
            Some(event) => {
                let stream = &row.key[..row.key.len() - 8];
                assert!(
                    migrated.insert((stream.to_vec(), event.baseline.run)),
                    "{} was migrated twice",
                    stream.escape_ascii()
                );
                event.hash(runs, hash);
            }
            None => row.value.hash(hash),
        }
    }
    let finish = |(table, (count, hash)): (char, (u64, DefaultHasher))| {
        let hash = hash.finish();
        (table, (count, hash))
    };
    tables.into_iter().map(finish).collect()
}

/// The record of a `$migrated` event: format, flags, event id, time, then the
/// schema version and three texts, then the baseline.
struct Migrated<'a> {
    flags: &'a [u8],
    names: &'a [u8],
    baseline: Baseline,
}

impl<'a> Migrated<'a> {
    fn parse(record: &'a [u8]) -> Option<Self> {
        let mut at = 2 + 16 + 8 + 4;
        let mut text = &record[..0];
        for _ in 0..3 {
            let len = usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
            text = &record[at + 2..at + 2 + len];
            at += 2 + len;
        }
        (text == MIGRATED.as_bytes()).then(|| Self {
            flags: &record[..2],
            names: &record[2 + 16 + 8..at],
            baseline: serde_json::from_slice(&record[at..]).unwrap(),
        })
    }

    fn hash(&self, runs: &BTreeSet<RunId>, hash: &mut DefaultHasher) {
        let Baseline {
            workflow,
            from,
            to,
            route,
            kind,
            run: by,
            state_schema_version,
            state,
        } = &self.baseline;
        assert!(runs.contains(by), "{by} is not a run of the store");
        (self.flags, self.names, workflow, from, to).hash(hash);
        format!("{kind:?}").hash(hash);
        for hop in route {
            (&hop.to, hop.code.to_string()).hash(hash);
        }
        (state_schema_version, state.get()).hash(hash);
    }
}
