CREATE TABLE IF NOT EXISTS store (id TEXT NOT NULL);

-- One row for each stream: the version of a process stands here and nowhere else.
CREATE TABLE IF NOT EXISTS heads (
    stream      TEXT PRIMARY KEY,
    sequence    INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,
    baseline    INTEGER,
    first_kept  INTEGER NOT NULL,
    finished    INTEGER NOT NULL,
    finished_by INTEGER,
    held        INTEGER NOT NULL,
    undone      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS events (
    stream     TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    event_id   TEXT NOT NULL,
    time       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    event_type TEXT NOT NULL,
    schema     INTEGER NOT NULL,
    payload    BLOB NOT NULL,
    metadata   TEXT NOT NULL,
    finishes   INTEGER NOT NULL,
    PRIMARY KEY (stream, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS snapshots (
    stream   TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    name     TEXT NOT NULL,
    version  TEXT NOT NULL,
    schema   INTEGER NOT NULL,
    state    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The version of an entry is used only for a process that has no events yet.
CREATE TABLE IF NOT EXISTS entries (
    tenant  TEXT NOT NULL,
    key     TEXT NOT NULL,
    process TEXT NOT NULL,
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_process ON entries (tenant, process);

-- The rows of runs, whose content only the runner knows.
CREATE TABLE IF NOT EXISTS run_rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- The versions at which processes may be; `closing` is the run that closes one of them.
CREATE TABLE IF NOT EXISTS versions (
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    closing TEXT,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

-- The processes that arrived at a version while a run closed it.
CREATE TABLE IF NOT EXISTS births (
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    stream  TEXT NOT NULL,
    PRIMARY KEY (name, version, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS holds (
    stream TEXT PRIMARY KEY,
    actor  TEXT NOT NULL,
    reason TEXT NOT NULL,
    time   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The processes whose version a separate process registry does not have yet.
CREATE TABLE IF NOT EXISTS pending_registry_updates (stream TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
