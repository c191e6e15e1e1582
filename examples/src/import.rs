//! Idempotent import of a log into a store.
//!
//! The whole log is checked before the first write. Each application is one
//! atomic append, so a stream that exists is complete. The import has a stream of
//! its own, which records its start and its end. After a kill, the next import
//! continues at the first application that is missing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use state_migration::{
    CorrelationId, Error, EventStore, ExpectedSequence, InvalidId, NewEvent, ProcessIdentity,
    RegistryKey, SlateDbStore, StreamId, TenantId, WorkflowId,
};
use tokio::task::{JoinError, JoinSet};

use crate::loan_2011::{Loan2011, LoanEvent2011};
use crate::xes::{Activity, Application, Happening, LogError, LogFingerprint, LogSize, XesLog};

/// Whose applications they are.
pub const TENANT: &str = "bank";

/// The streams of all applications begin like this.
pub const APPLICATION_STREAMS: &str = "process/bank/";

const BOOK: &str = "import/log";
const BOOK_WORKFLOW: WorkflowId = WorkflowId::from_static("import", "1");
const STARTED: &str = "ImportStarted";
const COMPLETED: &str = "ImportCompleted";

/// How many applications are made durable at once.
const BATCH: usize = 250;

/// How many of them one task writes; the tasks of a batch run side by side.
const SHARE: usize = 64;

/// Why a log could not be brought into a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] Error),
    /// A task that was writing to the store ended early.
    #[error(transparent)]
    Task(#[from] JoinError),
    /// The folder of the store cannot be read.
    #[error("the folder {} cannot be read ({source}); give --store another one", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store was filled from another log.
    #[error(
        "the store {} holds another log than {log}; give --store another folder, or --log the log that the store holds",
        folder.display()
    )]
    AnotherLog {
        /// The folder.
        folder: PathBuf,
        /// The log.
        log: String,
    },
    /// The store has applications that no import brought there.
    #[error(
        "the store {} holds applications that were not imported; give --store another folder",
        folder.display()
    )]
    NotImported {
        /// The folder.
        folder: PathBuf,
    },
    /// The log is not what it was when it was checked.
    #[error(
        "{log} changed while it was imported; give --store another folder and import the log again"
    )]
    Changed {
        /// The log.
        log: String,
    },
}

impl From<InvalidId> for ImportError {
    fn from(error: InvalidId) -> Self {
        Self::Store(error.into())
    }
}

/// A store that holds a whole log.
#[derive(Debug)]
pub struct Imported {
    /// The store.
    pub store: SlateDbStore,
    /// What the log holds.
    pub size: LogSize,
    /// How many applications this import wrote; those that were there already
    /// do not count.
    pub imported: u64,
}

/// The payload of the event that an import begins with.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Started {
    log: LogFingerprint,
    holds: LogSize,
}

/// Where the import into a store stands.
enum Standing {
    NotStarted,
    Started(Started),
    Completed(Started),
}

/// Opens the store in `folder` and brings the log into it, unless it is there.
/// `progress` is called with the number of durable applications and of all.
///
/// # Errors
/// The log or the folder cannot be used, and nothing was written. Or the store
/// failed, and the next import continues from that point.
pub async fn import(
    log: &XesLog,
    folder: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Imported, ImportError> {
    let fingerprint = log.fingerprint()?;
    // A log that cannot be used leaves no store behind.
    let checked = if is_vacant(folder)? {
        Some(log.check()?)
    } else {
        None
    };
    let store = SlateDbStore::open_local(folder).await?;
    let (started, resumes) = match standing(&store).await? {
        Standing::Started(started) | Standing::Completed(started) if started.log != fingerprint => {
            return Err(ImportError::AnotherLog {
                folder: folder.to_owned(),
                log: log.name().to_owned(),
            });
        }
        Standing::Completed(started) => {
            return Ok(Imported {
                store,
                size: started.holds,
                imported: 0,
            });
        }
        Standing::Started(started) => (started, true),
        Standing::NotStarted => {
            let holds = match checked {
                Some(holds) => holds,
                None => log.check()?,
            };
            if !store
                .list_streams(Some(APPLICATION_STREAMS), None, 1)
                .await?
                .is_empty()
            {
                return Err(ImportError::NotImported {
                    folder: folder.to_owned(),
                });
            }
            let log = fingerprint;
            let started = Started { log, holds };
            write_down(&store, ExpectedSequence::NoStream, STARTED, started).await?;
            (started, false)
        }
    };
    let imported = import_applications(log, &store, started.holds, resumes, progress).await?;
    if log.fingerprint()? != started.log {
        return Err(ImportError::Changed {
            log: log.name().to_owned(),
        });
    }
    write_down(&store, ExpectedSequence::Exact(1), COMPLETED, started).await?;
    Ok(Imported {
        store,
        size: started.holds,
        imported,
    })
}

async fn import_applications(
    log: &XesLog,
    store: &SlateDbStore,
    holds: LogSize,
    resumes: bool,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, ImportError> {
    let (mut durable, mut imported) = (0, 0);
    let mut applications = log.applications()?;
    let mut writing = JoinSet::new();
    let mut being_written = 0;
    loop {
        // Read while the batch before is written.
        let batch = applications
            .by_ref()
            .take(BATCH)
            .collect::<Result<Vec<_>, _>>()?;
        while let Some(written) = writing.join_next().await {
            imported += written??;
        }
        if being_written > 0 {
            store.flush().await?;
            durable += being_written;
            progress(durable, holds.applications);
        }
        if batch.is_empty() {
            return Ok(imported);
        }
        being_written = batch.len() as u64;
        let mut batch = batch.into_iter();
        loop {
            let share: Vec<_> = batch.by_ref().take(SHARE).collect();
            if share.is_empty() {
                break;
            }
            writing.spawn(write(store.clone(), share, resumes));
        }
    }
}

/// Writes applications, not yet durably, and says how many were not there.
async fn write(
    store: SlateDbStore,
    applications: Vec<Application>,
    resumes: bool,
) -> Result<u64, Error> {
    let tenant = TenantId::new(TENANT)?;
    let mut imported = 0;
    for application in applications {
        let number = application.number.clone();
        let identity = ProcessIdentity::of::<Loan2011>(tenant.clone(), number.clone());
        let is_there = resumes && store.head(identity.stream_id()).await?.is_some();
        if !is_there {
            let events = events_of(&application)?;
            let _ = store
                .append_unflushed(identity.stream_id(), ExpectedSequence::NoStream, events)
                .await?;
            imported += 1;
        }
        // Also for a stream that was there: the import may have been killed
        // between the two.
        let correlation = CorrelationId::new(number.as_str())?;
        for key in [
            RegistryKey::Process(number),
            RegistryKey::Correlation(correlation),
        ] {
            let _ = store.register_unflushed(&tenant, &key, &identity).await?;
        }
    }
    Ok(imported)
}

/// The application as version 2011 would have recorded it.
fn events_of(application: &Application) -> Result<Vec<NewEvent>, Error> {
    application
        .activities
        .iter()
        .map(|activity| NewEvent::of::<Loan2011>(&event_of(application, activity)))
        .collect()
}

/// One event of an application as version 2011 would have recorded it.
#[must_use]
pub fn event_of(application: &Application, activity: &Activity) -> LoanEvent2011 {
    let at = activity.at.to_rfc3339();
    match &activity.happening {
        Happening::Submitted => LoanEvent2011::ApplicationSubmitted {
            application: application.number.to_string(),
            amount_requested: application.amount_requested.to_string(),
            submitted_at: application.registered_at.to_rfc3339(),
            at,
        },
        Happening::Status(status) => LoanEvent2011::ApplicationStatusChanged {
            status: status.clone(),
            at,
        },
        Happening::Offer(offer) => LoanEvent2011::OfferChanged {
            offer: offer.clone(),
            at,
        },
        Happening::WorkItem { item, transition } => LoanEvent2011::WorkItemChanged {
            item: item.clone(),
            transition: transition.clone(),
            at,
        },
    }
}

async fn standing(store: &SlateDbStore) -> Result<Standing, Error> {
    let events = store.read(&StreamId::new(BOOK)?, 0, 2).await?;
    let Some(first) = events.first() else {
        return Ok(Standing::NotStarted);
    };
    let started: Started = serde_json::from_slice(&first.payload).map_err(|error| {
        let message = format!("the first event of stream {BOOK} says nothing about an import");
        Error::new(state_migration::ErrorKind::Corrupt, message).with_source(error)
    })?;
    Ok(
        if events.iter().any(|event| event.event_type == COMPLETED) {
            Standing::Completed(started)
        } else {
            Standing::Started(started)
        },
    )
}

async fn write_down(
    store: &SlateDbStore,
    expected: ExpectedSequence,
    event_type: &'static str,
    import: Started,
) -> Result<(), Error> {
    let payload = serde_json::json!(import).to_string();
    let event = NewEvent::new(BOOK_WORKFLOW, event_type, 1, payload)?;
    store
        .append(&StreamId::new(BOOK)?, expected, vec![event])
        .await?;
    Ok(())
}

/// Whether there is nothing in the folder yet that could be a store.
fn is_vacant(folder: &Path) -> Result<bool, ImportError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(ImportError::Folder {
            folder: folder.to_owned(),
            source,
        }),
    }
}
