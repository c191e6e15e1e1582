//! SlateDB as a key-value engine.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use slatedb::config::{FlushOptions, FlushType, ScanOptions};
use slatedb::object_store::path::Path;
use slatedb::object_store::{Error as Storage, ObjectStore};
use slatedb::{
    CloseReason, Db, DbIterator, DbSnapshot, DbStatus, DbTransaction, IsolationLevel, SstBlockSize,
    SstReader, VersionedManifest,
};
use state_migration_core::store_api::transactional;
use state_migration_core::{Error, ErrorKind, Rehearsal, RehearsalNeeds, StoreId, Timestamp};
use tokio::sync::watch;

use crate::key::{self, KeyRange};
use crate::kv::{Kv, KvScan, KvTxn, RowCount, RowsRead};
use crate::slate::answer;
use crate::slate::durable::Durability;
use crate::slate::litter::Litter;
use crate::slate::no_retry::TruncatedFile;
use crate::slate::openings::Mark;
use crate::slate::trouble::storage_trouble;
use crate::slate::{SlateDbStoreBuilder, rehearsal};

/// The engine of [`SlateDbStore`](crate::SlateDbStore).
#[derive(Clone)]
pub struct SlateDbKv {
    db: Db,
    /// The location of its files, if it is known.
    files: Option<Files>,
    id: StoreId,
    rows_read: RowsRead,
    durability: Arc<Durability>,
    /// The mark that this program has the database open.
    mark: Option<Mark>,
    /// What removes unused files when the database is closed.
    litter: Option<Litter>,
    /// How the database was opened.
    builder: Option<Arc<SlateDbStoreBuilder>>,
}

/// The location of a database.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) path: Path,
    pub(crate) object_store: Arc<dyn ObjectStore>,
    /// The location as text.
    pub(crate) place: String,
    /// The identity of the folder.
    pub(crate) folder: Option<String>,
    /// The folder that the path is in, on the local disk.
    pub(crate) folder_path: Option<PathBuf>,
    /// The folder for the files of runs, beside those of the database.
    pub(crate) scratch: Option<PathBuf>,
}

impl SlateDbKv {
    pub(crate) fn new(db: Db, files: Option<Files>, durability: Durability) -> Self {
        let id = id_of(&db);
        Self {
            db,
            files,
            id,
            rows_read: RowsRead::default(),
            durability: Arc::new(durability),
            mark: None,
            litter: None,
            builder: None,
        }
    }

    pub(crate) fn opened_by(mut self, builder: &SlateDbStoreBuilder) -> Self {
        self.builder = Some(Arc::new(builder.clone()));
        self
    }

    pub(crate) fn with_litter(mut self, litter: Option<Litter>) -> Self {
        self.litter = litter;
        self
    }

    /// Removes the files that earlier openings have left behind.
    pub(crate) async fn remove_litter(&self) {
        if let (Some(litter), Some(files)) = (&self.litter, &self.files) {
            litter.remove(files).await;
            rehearsal::remove_dead(files).await;
        }
    }

    pub(crate) fn with_mark(mut self, mark: Option<Mark>) -> Self {
        self.mark = mark;
        self
    }

    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    fn txn(&self, isolation: IsolationLevel) -> Result<SlateDbTxn, Error> {
        self.db
            .begin(isolation)
            .map(|txn| SlateDbTxn {
                reads: Reads::Transaction(txn),
                rows_read: self.rows_read.clone(),
            })
            .map_err(|e| self.unless_open("a transaction could not be started", e))
    }

    /// The error of a request that a handle refuses. SlateDB closes a handle for good when
    /// a write in the background fails, and refuses later requests with the first error.
    fn unless_open(&self, what: &str, cause: slatedb::Error) -> Error {
        if self.db.status().close_reason != Some(CloseReason::Panic) {
            return error(what, cause);
        }
        let first = answer::way_out(&cause).unwrap_or_else(|| cause.to_string());
        let message = format!(
            "{what}: a write in the background has failed, and the store is closed in this program; restart the program, or open the store again (the first error was: {first})"
        );
        with_cause(Error::new(ErrorKind::Unavailable, message), cause)
    }
}

/// The id of a database, the same for every clone of its handle.
///
/// A handle has no identity that can be queried, but all clones share the
/// channel on which they publish their status.
fn id_of(db: &Db) -> StoreId {
    static KNOWN: Mutex<Vec<(watch::Receiver<DbStatus>, StoreId)>> = Mutex::new(Vec::new());
    let status = db.subscribe();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(channel, _)| channel.has_changed().is_ok());
    if let Some((_, id)) = known
        .iter()
        .find(|(channel, _)| channel.same_channel(&status))
    {
        return *id;
    }
    let id = StoreId::unique();
    known.push((status, id));
    id
}

/// The number of bytes that a scan prefetches from each file.
const READ_AHEAD: usize = 1 << 20;

/// The block size of SlateDB's files, also as SlateDB's type. Each block is an
/// entry in the index of its file, which is read and cached as a whole, and is
/// a separate object for every reader. With SlateDB's default of 4 KiB, the
/// indexes of a million processes do not fit into their cache.
const BLOCK: usize = 16 << 10;
pub(crate) const BLOCK_SIZE: SstBlockSize = SstBlockSize::Block16Kib;

/// SlateDB's defaults fetch one block at a time, which is five times slower.
/// But everything that is fetched is decoded, even if it is never read.
pub(crate) fn scan_options(bytes: usize) -> ScanOptions {
    let ahead = bytes.clamp(BLOCK, READ_AHEAD);
    ScanOptions::default()
        .with_read_ahead_bytes(ahead)
        .with_max_fetch_tasks(if bytes > ahead { 2 } else { 1 })
}

impl Kv for SlateDbKv {
    type Txn = SlateDbTxn;

    /// The copy has every write that is committed, also those that are not durable yet.
    async fn rehearsal(&self, needs: RehearsalNeeds) -> Result<Box<dyn Rehearsal>, Error> {
        match (&self.builder, &self.files) {
            (Some(builder), Some(files)) => {
                rehearsal::of_writer(&self.db, builder, files, needs).await
            }
            _ => Err(transactional::cannot_rehearse()),
        }
    }

    fn store_id(&self) -> StoreId {
        self.id
    }

    fn begin(&self) -> Result<SlateDbTxn, Error> {
        self.txn(IsolationLevel::Snapshot)
    }

    fn begin_serializable(&self) -> Result<SlateDbTxn, Error> {
        self.txn(IsolationLevel::SerializableSnapshot)
    }

    fn view(&self) -> Result<SlateDbTxn, Error> {
        // Not a transaction: an open one makes SlateDB keep all later writes in
        // memory.
        self.db
            .snapshot()
            .map(|view| SlateDbTxn {
                reads: Reads::View(view),
                rows_read: self.rows_read.clone(),
            })
            .map_err(|e| self.unless_open("the store could not be read", e))
    }

    fn rows_read(&self) -> &RowsRead {
        &self.rows_read
    }

    fn is_single_writer(&self) -> bool {
        // Opening the database fences every earlier writer.
        true
    }

    fn scratch_folder(&self) -> Option<PathBuf> {
        self.files.as_ref()?.scratch.clone()
    }

    fn trouble(&self) -> Option<String> {
        storage_trouble()
    }

    async fn marks(&self, ranges: &[KeyRange]) -> Result<Option<Vec<(Bytes, u64)>>, Error> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        // The indexes of files do not cover rows that are still in memory.
        let memtable = FlushOptions {
            flush_type: FlushType::MemTable,
        };
        // A failure only makes the ranges less even.
        let flushed = self.db.flush_with_options(memtable).await;
        match flushed {
            Ok(()) => Ok(marks(&self.db.manifest(), files, ranges).await.ok()),
            Err(_) => Ok(None),
        }
    }

    async fn flush(&self) -> Result<(), Error> {
        let flushed = self.durability.flush(&self.db).await;
        flushed.map_err(|e| outcome_unknown("a write could not be made durable", e))
    }
}

/// The first keys of the blocks of ranges in all files, each with the number
/// of rows put in the block.
pub(crate) async fn marks(
    manifest: &VersionedManifest,
    files: &Files,
    ranges: &[KeyRange],
) -> Result<Vec<(Bytes, u64)>, slatedb::Error> {
    let (Some(start), Some(end)) = (
        ranges.iter().map(|range| &range.start).min(),
        ranges.iter().map(|range| &range.end).max(),
    ) else {
        return Ok(Vec::new());
    };
    let bounds = Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end);
    let runs = manifest.compacted().iter();
    let sorted = runs.flat_map(|run| run.tables_covering_range(bounds.clone()));
    let reader = |path: Path| SstReader::new(path, files.object_store.clone(), None, None);
    let own = reader(files.path.clone());
    // The files of a copy are those of the original.
    let external = manifest.external_dbs().iter();
    let external: Vec<_> = external
        .map(|original| (&original.sst_ids, reader(original.path.clone().into())))
        .collect();
    let mut marks = Vec::new();
    for view in manifest.l0().iter().chain(sorted) {
        let mut external = external.iter();
        let original = external.find(|(files, _)| files.contains(&view.sst.id));
        let reader = original.map_or(&own, |(_, reader)| reader);
        let file = reader.open_with_handle(view.sst.clone())?;
        let (index, stats) = (file.index().await?, file.stats().await?);
        let blocks = stats.map(|stats| stats.block_stats).unwrap_or_default();
        for range in ranges {
            let (start, end) = (&range.start[..], &range.end[..]);
            // The block before the first one that starts in the range may end in it.
            let first = index.partition_point(|key| key < start).saturating_sub(1);
            for block in first..index.len() {
                let Some((_, key)) = index.get(block).filter(|(_, key)| *key < end) else {
                    break;
                };
                let rows = u64::from(blocks.get(block).map_or(1, |block| block.num_puts));
                let next = index.get(block + 1).map(|(_, next)| next);
                if next.is_some_and(|next| next <= start) {
                    continue;
                }
                // About half of a block on a border of the range is in the range.
                let is_on_border = key < start || next.is_some_and(|next| next > end);
                let rows = if is_on_border { rows / 2 } else { rows };
                marks.push((Bytes::copy_from_slice(key.max(start)), rows));
            }
        }
    }
    Ok(marks)
}

/// A transaction or a view of [`SlateDbKv`].
pub struct SlateDbTxn {
    reads: Reads,
    rows_read: RowsRead,
}

enum Reads {
    Transaction(DbTransaction),
    View(Arc<DbSnapshot>),
}

impl SlateDbTxn {
    fn writable(&self) -> Result<&DbTransaction, Error> {
        match &self.reads {
            Reads::Transaction(txn) => Ok(txn),
            Reads::View(_) => Err(Error::invalid("a read-only view cannot be written to")),
        }
    }
}

impl KvTxn for SlateDbTxn {
    type Scan = SlateDbScan;

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.rows_read.add(1);
        match &self.reads {
            Reads::Transaction(txn) => txn.get(key).await,
            Reads::View(view) => view.get(key).await,
        }
        .map_err(|e| error(&format!("{} could not be read", key::name(key)), e))
    }

    async fn scan_part(&self, range: KeyRange, bytes: usize) -> Result<SlateDbScan, Error> {
        let count = self.rows_read.count();
        if range.is_empty() {
            return Ok(SlateDbScan::nothing(range.end, count));
        }
        let options = scan_options(bytes);
        let rows = match &self.reads {
            Reads::Transaction(txn) => txn.scan_with_options(range.clone(), &options).await,
            Reads::View(view) => view.scan_with_options(range.clone(), &options).await,
        };
        SlateDbScan::of(rows, range.end, count)
    }

    fn mark_read(&self, key: &[u8]) -> Result<(), Error> {
        self.writable()?
            .mark_read([key])
            .map_err(|e| error("a read could not be added to a transaction", e))
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Error> {
        self.writable()?
            .put(key, value)
            .map_err(|e| error("a record could not be written", e))
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<(), Error> {
        self.writable()?
            .delete(key)
            .map_err(|e| error("a record could not be removed", e))
    }

    async fn commit(self) -> Result<(), Error> {
        match self.reads {
            Reads::Transaction(txn) => txn
                .commit()
                .await
                .map(drop)
                .map_err(|e| outcome_unknown("a transaction could not be committed", e)),
            Reads::View(_) => Err(Error::invalid("a read-only view cannot be committed")),
        }
    }
}

/// A scan of [`SlateDbKv`]: the only place that calls SlateDB's iterator.
///
/// Dropping an unfinished future of the iterator makes it end early without an
/// error, so a scan fails after that happened.
pub struct SlateDbScan {
    /// `None` if the range is empty.
    rows: Option<DbIterator>,
    end: Vec<u8>,
    /// The previous key; no key is empty.
    last: Vec<u8>,
    in_progress: bool,
    count: RowCount,
}

impl SlateDbScan {
    pub(crate) fn of(
        rows: Result<DbIterator, slatedb::Error>,
        end: Vec<u8>,
        count: RowCount,
    ) -> Result<Self, Error> {
        let rows = rows.map_err(|e| error("a scan could not be started", e))?;
        Ok(Self {
            rows: Some(rows),
            ..Self::nothing(end, count)
        })
    }

    /// A scan of an empty range.
    pub(crate) fn nothing(end: Vec<u8>, count: RowCount) -> Self {
        Self {
            rows: None,
            end,
            last: Vec::new(),
            in_progress: false,
            count,
        }
    }

    /// The description of a failure, with the position of the scan.
    fn failed(&self) -> String {
        match &self.last[..] {
            [] => format!("a scan that ends before {} failed", key::name(&self.end)),
            last => format!("a scan failed after {}", key::name(last)),
        }
    }

    fn start(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.in_progress, true) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "a scan was interrupted and cannot continue; start it again",
            ));
        }
        Ok(())
    }
}

impl KvScan for SlateDbScan {
    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        self.start()?;
        let Some(rows) = &mut self.rows else {
            self.in_progress = false;
            return Ok(None);
        };
        let row = match rows.next().await {
            Ok(row) => row,
            Err(failed) => return Err(error(&self.failed(), failed)),
        };
        if let Some(row) = &row {
            if self.last[..] >= row.key[..] {
                return Err(Error::corrupt(format!(
                    "a scan returned the key \"{}\" out of order",
                    row.key.escape_ascii()
                )));
            }
            self.last.clear();
            self.last.extend_from_slice(&row.key);
            self.count.one_more();
        }
        self.in_progress = false;
        Ok(row.map(|row| (row.key, row.value)))
    }

    async fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        if *key >= self.end[..] {
            self.rows = None;
        }
        self.start()?;
        if let Some(rows) = &mut self.rows
            && let Err(failed) = rows.seek(key).await
        {
            let what = format!("a scan failed while seeking {}", key::name(key));
            return Err(error(&what, failed));
        }
        self.in_progress = false;
        Ok(())
    }
}

pub(crate) const NO_ANSWER: &str = "the object store did not answer; check it and try again";

/// Converts a read error of SlateDB, with what to do about it.
pub(crate) fn error(what: &str, error: slatedb::Error) -> Error {
    use slatedb::ErrorKind as Slate;
    if let Some(file) = damaged_file(&error) {
        let message = format!(
            "{what}: the file {file} of the database is damaged; restore the file from a backup (SlateDB says: {error})"
        );
        return Error::corrupt(message).with_source(error);
    }
    let (kind, way_out) = match error.kind() {
        Slate::Transaction => (
            ErrorKind::Conflict,
            "conflict with another transaction; load again and retry",
        ),
        Slate::Closed(CloseReason::Fenced) => (
            ErrorKind::Fenced,
            "this writer is fenced: another program has opened the store; stop using this handle",
        ),
        Slate::Closed(_) => (ErrorKind::Invalid, "the store is closed; open it again"),
        Slate::Unavailable => (
            ErrorKind::Unavailable,
            &*answer::way_out(&error).unwrap_or_else(|| NO_ANSWER.to_owned()),
        ),
        Slate::Data if is_file_gone(&error) => (
            ErrorKind::Unavailable,
            "a file of the database is missing; read again, and restore the file from a backup if it is still missing",
        ),
        Slate::Data => {
            let message = format!("{what}: {} (SlateDB says: {error})", damaged("it"));
            return Error::corrupt(message).with_source(error);
        }
        Slate::Invalid if is_of_the_clock(&error) => {
            let message = format!("{what}: {}", behind(&error.to_string()));
            return Error::new(ErrorKind::Unavailable, message).with_source(error);
        }
        Slate::Invalid => (ErrorKind::Invalid, "the database rejected the request"),
        _ => (ErrorKind::Unavailable, "SlateDB failed"),
    };
    with_cause(Error::new(kind, format!("{what}: {way_out}")), error)
}

/// Adds the cause. Of an answer that is told in a sentence, the answer alone.
fn with_cause(error: Error, cause: slatedb::Error) -> Error {
    match answer::find(&cause) {
        Some(answer) => error.with_source(answer.said.clone()),
        None => error.with_source(cause),
    }
}

/// The message for an unreadable database, with what to restore.
pub(crate) fn damaged(what: &str) -> String {
    format!(
        "the database is damaged or was written by another version of SlateDB; restore {what} from a backup"
    )
}

/// The file that an error reports as damaged.
pub(crate) fn damaged_file(error: &slatedb::Error) -> Option<String> {
    let short = in_causes(error, |cause| cause.downcast_ref::<TruncatedFile>());
    if let Some(short) = short {
        return Some(short.file.to_string());
    }
    // SlateDB names the file only in its message.
    let text = error.to_string();
    named_file(&text)
}

/// The file in the text of a checksum mismatch, which may be part of a longer text.
fn named_file(text: &str) -> Option<String> {
    const SUFFIX: &str = ".sst";
    let (_, file) = text.split_once("checksum mismatch in ")?;
    let end = file.find(SUFFIX)? + SUFFIX.len();
    Some(file[..end].to_owned())
}

/// Whether the clock went backwards: SlateDB timestamps its reads and writes,
/// and reports that only in its message.
fn is_of_the_clock(error: &slatedb::Error) -> bool {
    error.to_string().contains("invalid clock tick")
}

/// What to do about a clock that went backwards.
fn behind(text: &str) -> String {
    let tick = |name: &str| -> Option<u64> {
        let (_, rest) = text.split_once(&format!("{name}=`"))?;
        rest.split_once('`')?.0.parse().ok()
    };
    let (Some(last), Some(now)) = (tick("last_tick"), tick("next_tick")) else {
        return "the system clock is behind the last write to the database; set the clock, or wait and try again".to_owned();
    };
    // Rounded up, so that a wait of this time is enough.
    let seconds = last.saturating_sub(now).div_ceil(1_000);
    let behind = match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    };
    let until = Timestamp::from_micros(last.div_ceil(1_000).saturating_mul(1_000_000)).to_seconds();
    format!(
        "the system clock is {behind} behind the last write to the database; set the clock of this machine, or wait until {until} if the clock of that write was ahead"
    )
}

pub(crate) fn is_file_gone(error: &slatedb::Error) -> bool {
    in_causes(error, |cause| {
        matches!(storage_error(cause), Some(Storage::NotFound { .. })).then_some(())
    })
    .is_some()
}

/// Applies `says` to an error and its sources, from the outermost inwards.
pub(crate) fn in_causes<'a, T>(
    error: &'a (dyn std::error::Error + 'static),
    says: impl Fn(&'a (dyn std::error::Error + 'static)) -> Option<T>,
) -> Option<T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(said) = says(error) {
            return Some(said);
        }
        cause = error.source();
    }
    None
}

pub(crate) fn storage_error<'a>(
    cause: &'a (dyn std::error::Error + 'static),
) -> Option<&'a Storage> {
    // SlateDB shares some sources in an `Arc`.
    let shared = cause.downcast_ref::<Arc<Storage>>().map(Arc::as_ref);
    shared.or(cause.downcast_ref())
}

/// The same for a write, which may have happened although it failed.
fn outcome_unknown(what: &str, slate: slatedb::Error) -> Error {
    use slatedb::ErrorKind as Slate;
    match slate.kind() {
        Slate::Transaction
        | Slate::Closed(CloseReason::Fenced | CloseReason::Clean)
        | Slate::Invalid => error(what, slate),
        _ => {
            let unknown = "the outcome is unknown; read before trying again";
            let message = match answer::way_out(&slate) {
                Some(way_out) => format!("{what}: {way_out}; {unknown}"),
                None => format!("{what}, and {unknown}"),
            };
            with_cause(Error::new(ErrorKind::OutcomeUnknown, message), slate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_named_without_the_text_around_it() {
        let file = "loans (old)/wal/00000000000000000031.sst";
        for text in [
            format!("Data error: checksum mismatch in {file}"),
            format!("Data error: WAL error (Data error: checksum mismatch in {file})"),
            format!("checksum mismatch in {file} (again)"),
        ] {
            assert_eq!(named_file(&text).as_deref(), Some(file), "{text}");
        }
        assert_eq!(named_file("checksum mismatch"), None);
    }

    #[test]
    fn a_clock_that_is_behind_is_told_by_how_much_and_until_when() {
        let text = |last: u64, now: u64| {
            format!(
                "Invalid error: invalid clock tick, must be monotonic. last_tick=`{last}`, next_tick=`{now}`"
            )
        };
        for (ms, told) in [
            (1, "1 s"),
            (119_000, "119 s"),
            (119_001, "2 min"),
            (59 * 60_000 + 1, "60 min"),
            (26 * 3_600_000, "26 h"),
        ] {
            let said = behind(&text(1_317_423_524_546, 1_317_423_524_546 - ms));
            let expected = format!(
                "the system clock is {told} behind the last write to the database; set the clock of this machine, or wait until 2011-09-30T22:58:45Z if the clock of that write was ahead"
            );
            assert_eq!(said, expected);
        }
        let said = behind("invalid clock tick");
        assert!(said.contains("set the clock, or wait"), "{said}");
    }
}
