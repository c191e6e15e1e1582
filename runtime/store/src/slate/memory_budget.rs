//! The memory budget of a database, and how it is divided.

use std::sync::Arc;

use slatedb::config::{DbReaderOptions, Settings};
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::db_cache::{DbCache, SplitCache};

const MIB: usize = 1 << 20;

/// The default budget of a database.
pub(crate) const DEFAULT: usize = 256 * MIB;

/// With less, the write buffers of a compaction would not fit.
const LEAST: usize = 64 * MIB;

/// The largest file for flushed rows, and the number of concurrent flushes:
/// SlateDB's defaults.
const LARGEST_FILE: usize = 64 * MIB;
const MOST_FLUSHES: usize = 4;

/// The largest file that a compaction writes. The index of a file is read and
/// cached as a whole. With SlateDB's default of 256 MiB, the few indexes that a
/// run needs at a time exceed their cache, and each scan reads them again.
const LARGEST_COMPACTED: usize = 64 * MIB;

/// The amount of data in files waiting for compaction before writers are
/// blocked, as in SlateDB's defaults. A scan reads from each of these files.
const WAITING: usize = 512 * MIB;
const FEWEST_WAITING: usize = 8;
const MOST_WAITING: usize = 16;

/// The number of files that a compaction reads concurrently.
const SOURCES: usize = 8;

/// The number of fetches in progress for each of them; one more is being read.
const FETCHES: usize = 2;

/// The largest fetch: SlateDB's default.
const LARGEST_FETCH: usize = 2 * MIB;

/// SlateDB's buffer for a file that a compaction writes.
const WRITE_BUFFER: usize = 10 * MIB;

/// The division of the budget by purpose, in bytes or counts.
///
/// Three sixteenths are unassigned, because a row that waits to be written
/// takes about twice its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    block_cache: usize,
    meta_cache: usize,
    unflushed: usize,
    /// The size of the files for flushed rows, and the number of concurrent
    /// flushes.
    file: usize,
    flushes: usize,
    /// The number of concurrent compactions, and of parts in each.
    compactions: usize,
    parts: usize,
    /// The size of each fetch.
    fetch: usize,
}

impl Memory {
    pub(crate) fn of(bytes: usize) -> Self {
        let bytes = bytes.max(LEAST);
        let eighth = bytes / 8;
        let file = eighth.min(LARGEST_FILE);
        let compactions = (eighth / (16 * MIB)).clamp(1, 4);
        let parts = (eighth / (128 * MIB)).clamp(1, 4);
        let at_once = compactions * parts;
        let fetches = at_once * SOURCES * (FETCHES + 1);
        let to_fetch = bytes / 16 * 3 - at_once * WRITE_BUFFER;
        Self {
            block_cache: eighth / 2,
            meta_cache: eighth / 2 * 3,
            unflushed: eighth * 2,
            file,
            flushes: (eighth / file).clamp(1, MOST_FLUSHES),
            compactions,
            parts,
            fetch: (to_fetch / fetches).min(LARGEST_FETCH),
        }
    }

    /// Sets the limits of a writer.
    pub(crate) fn set(self, settings: &mut Settings) {
        settings.max_unflushed_bytes = self.unflushed;
        settings.l0_sst_size_bytes = self.file;
        settings.l0_flush_parallelism = self.flushes;
        let waiting = (WAITING / self.file).clamp(FEWEST_WAITING, MOST_WAITING);
        settings.l0_max_ssts = waiting;
        settings.l0_max_ssts_per_key = waiting;
        // Without a compactor, or with workers elsewhere, there is nothing to
        // set.
        let Some(compactor) = &mut settings.compactor_options else {
            return;
        };
        compactor.max_concurrent_compactions = self.compactions;
        if let Some(worker) = &mut compactor.worker {
            worker.max_concurrent_compactions = self.compactions;
            worker.max_subcompactions = self.parts;
            worker.max_sst_size = LARGEST_COMPACTED;
            worker.max_fetch_tasks = FETCHES;
            worker.bytes_to_fetch = self.fetch;
        }
    }

    /// Sets the limits of a reader.
    pub(crate) fn set_reader(self, options: &mut DbReaderOptions) {
        options.max_memtable_bytes = self.file as u64;
    }

    pub(crate) fn cache(self) -> Arc<dyn DbCache> {
        let cache = SplitCache::new()
            .with_block_cache(Some(Arc::new(cache_of(self.block_cache))))
            .with_meta_cache(Some(Arc::new(cache_of(self.meta_cache))))
            .build();
        Arc::new(cache)
    }
}

fn cache_of(bytes: usize) -> MokaCache {
    MokaCache::new_with_opts(MokaCacheOptions {
        max_capacity: bytes as u64,
        time_to_live: None,
        time_to_idle: None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use slatedb::config::{CompactionWorkerOptions, CompactorOptions};

    use super::*;

    fn settings(memory: Memory) -> Settings {
        let mut settings = Settings::default();
        memory.set(&mut settings);
        settings
    }

    /// The maximum memory of SlateDB with the given settings, without its
    /// caches.
    fn taken(settings: &Settings) -> usize {
        let CompactorOptions { worker, .. } = settings.compactor_options.clone().unwrap();
        let CompactionWorkerOptions {
            max_concurrent_compactions,
            max_subcompactions,
            max_fetch_tasks,
            bytes_to_fetch,
            ..
        } = worker.unwrap();
        let reads = SOURCES * (max_fetch_tasks + 1) * bytes_to_fetch;
        settings.max_unflushed_bytes
            + settings.l0_flush_parallelism * settings.l0_sst_size_bytes
            + max_concurrent_compactions * max_subcompactions * (WRITE_BUFFER + reads)
    }

    #[test]
    fn all_shares_together_are_no_more_than_the_whole() {
        for mib in 64..=4096 {
            let memory = Memory::of(mib * MIB);
            let settings = settings(memory);
            settings.validate().unwrap();
            let all = memory.block_cache + memory.meta_cache + taken(&settings);
            assert!(all <= mib * MIB, "{mib} MiB: {all} by {memory:?}");
            // With the overhead of waiting rows, the total is close to the
            // budget.
            let real = all + memory.unflushed;
            assert!(
                (mib * 7 / 8..=mib * 9 / 8).contains(&(real / MIB)),
                "{mib} MiB: {real} by {memory:?}"
            );
            assert!(memory.fetch >= 64 << 10, "{mib} MiB: {memory:?}");
        }
    }

    #[test]
    fn what_is_too_little_or_more_than_there_is_works_too() {
        assert_eq!(Memory::of(0), Memory::of(LEAST));
        let settings = settings(Memory::of(usize::MAX));
        settings.validate().unwrap();
        assert_eq!(settings.l0_sst_size_bytes, LARGEST_FILE);
        assert_eq!(settings.l0_flush_parallelism, MOST_FLUSHES);
        assert_eq!(settings.l0_max_ssts, FEWEST_WAITING);
    }

    #[test]
    fn a_database_without_a_compactor_gets_none() {
        let mut settings = Settings {
            compactor_options: None,
            ..Settings::default()
        };
        Memory::of(DEFAULT).set(&mut settings);
        assert!(settings.compactor_options.is_none());
        settings.validate().unwrap();
    }
}
