//! A service that works on the loans all the time, and offers a control socket:
//! `loans-admin --socket` drives a run inside of it.
//!
//! It writes each loan under the version at which that one stands, which is how
//! a service lives through a migration.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::Parser;
use state_migration::control_socket::ControlSocket;
use state_migration::{
    ErrorKind, EventStore, MigrationRegistry, MigrationRunner, Process, ProcessIdentity,
    SlateDbStore, StreamId,
};
use state_migration_examples::import::{APPLICATION_STREAMS, import};
use state_migration_examples::loan_2011::{Loan2011, LoanEvent2011};
use state_migration_examples::loan_2013::{Loan2013, LoanEvent2013};
use state_migration_examples::predicates::predicates;
use state_migration_examples::sample;
use state_migration_examples::xes::XesLog;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn Error + Send + Sync>;

/// How many loans are written to at a time.
const CLERKS: usize = 4;

/// How often a loan is looked for under both versions.
const ATTEMPTS: usize = 16;

/// Works on the loans of a store until it is told to end (SIGTERM or Ctrl-C).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The folder of the store; a new one is filled from the sample log.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// An event log in XES that fills a new store, instead of the sample log.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where to offer the control socket.
    #[arg(long, value_name = "SOCKET")]
    socket: PathBuf,
    /// Writes down every event that it has appended, durably: stream, sequence
    /// number, version and work item.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How many loans it works on.
    #[arg(long, value_name = "N", default_value_t = 40)]
    loans: usize,
    /// How long each clerk rests after each event, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20)]
    rest: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Failed> {
    // The socket is bound before the store is opened, so that a second service fails
    // here and does not fence the first.
    let socket = ControlSocket::bind(&arguments.socket)?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let log = match arguments.log {
        Some(file) => XesLog::file(file),
        None => XesLog::embedded("the sample log", sample::LOG),
    };
    let store = import(&log, &arguments.store, |_, _| {}).await?.store;
    let runner = MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone())
        .predicates(predicates());
    let serving = socket.serve(Arc::new(runner))?;

    let loans = store
        .list_streams(Some(APPLICATION_STREAMS), None, arguments.loans)
        .await?;
    let (sender, mut written) = mpsc::channel(64);
    let (stop, stopped) = watch::channel(false);
    let mut clerks = JoinSet::new();
    let share = loans.len().div_ceil(CLERKS).max(1);
    for (clerk, loans) in loans.chunks(share).enumerate() {
        let desk = Desk {
            clerk,
            store: store.clone(),
            loans: loans.to_vec(),
            rest: Duration::from_millis(arguments.rest),
            written: sender.clone(),
        };
        clerks.spawn(desk.work(stopped.clone()));
    }
    drop(sender);
    let mut journal = Journal::new(arguments.journal.as_deref())?;
    say(&format!("listening on {}", serving.path().display()));

    let ended = loop {
        tokio::select! {
            entry = written.recv() => match entry {
                Some(entry) => journal.write(&entry)?,
                // All clerks have ended, which they do for a reason only.
                None => break Ok(()),
            },
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            Some(ended) = clerks.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break Err(error),
                Err(error) => break Err(error.into()),
            },
        }
    };
    stop.send_replace(true);
    while let Some(entry) = written.recv().await {
        journal.write(&entry)?;
    }
    while let Some(ended) = clerks.join_next().await {
        ended??;
    }
    serving.close().await;
    store.close().await?;
    ended?;
    say(&format!("{} events appended", journal.entries));
    Ok(())
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// An event that is in the store, durably.
struct Entry {
    stream: StreamId,
    sequence: u64,
    version: &'static str,
    item: String,
}

struct Journal {
    file: Option<std::fs::File>,
    entries: u64,
}

impl Journal {
    fn new(path: Option<&Path>) -> Result<Self, std::io::Error> {
        let file = path.map(std::fs::File::create).transpose()?;
        Ok(Self { file, entries: 0 })
    }

    fn write(&mut self, entry: &Entry) -> Result<(), std::io::Error> {
        self.entries += 1;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let Entry {
            stream,
            sequence,
            version,
            item,
        } = entry;
        writeln!(file, "{stream}\t{sequence}\t{version}\t{item}")
    }
}

/// A loan, under the version at which it stands.
enum Loan {
    Of2011(Process<Loan2011>),
    Of2013(Process<Loan2013>),
}

impl Loan {
    async fn open(store: &SlateDbStore, stream: &StreamId) -> Result<Self, Failed> {
        let (tenant, process) = stream.process().ok_or("a stream is no loan")?;
        for _ in 0..ATTEMPTS {
            let (events, snapshots) = (store.clone(), store.clone());
            let new = ProcessIdentity::of::<Loan2013>(tenant.clone(), process.clone());
            match Process::open(new, events, snapshots).await {
                Ok(loan) => return Ok(Self::Of2013(loan)),
                Err(error) if is_elsewhere(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
            let (events, snapshots) = (store.clone(), store.clone());
            let old = ProcessIdentity::of::<Loan2011>(tenant.clone(), process.clone());
            match Process::open(old, events, snapshots).await {
                Ok(loan) => return Ok(Self::Of2011(loan)),
                // The loan was migrated between the two attempts.
                Err(error) if is_elsewhere(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(format!("{stream} is at a version that this service does not support").into())
    }

    /// Appends an event; returns its sequence number and its version.
    async fn schedule(
        &mut self,
        item: &str,
    ) -> Result<(u64, &'static str), state_migration::Error> {
        let (item, at) = (item.to_owned(), Utc::now());
        match self {
            Self::Of2011(loan) => {
                let event = LoanEvent2011::WorkItemChanged {
                    item,
                    transition: "SCHEDULE".to_owned(),
                    at: at.to_rfc3339(),
                };
                loan.append(&[event]).await?;
                Ok((loan.sequence(), "2011"))
            }
            Self::Of2013(loan) => {
                let event = LoanEvent2013::WorkItemScheduled { item, at };
                loan.append(&[event]).await?;
                Ok((loan.sequence(), "2013"))
            }
        }
    }
}

/// Whether the loan is at another version than the code.
fn is_elsewhere(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Migrated { .. } | ErrorKind::WrongVersion { .. }
    )
}

/// One of several who work on loans of their own.
struct Desk {
    clerk: usize,
    store: SlateDbStore,
    loans: Vec<StreamId>,
    rest: Duration,
    written: mpsc::Sender<Entry>,
}

impl Desk {
    /// Works until it is told to stop.
    async fn work(self, stopped: watch::Receiver<bool>) -> Result<(), Failed> {
        for (number, stream) in self.loans.iter().cycle().enumerate() {
            if *stopped.borrow() {
                return Ok(());
            }
            let item = format!("W_Nabellen {}-{number}", self.clerk);
            let (sequence, version) = self.schedule(stream, &item).await?;
            let entry = Entry {
                stream: stream.clone(),
                sequence,
                version,
                item,
            };
            if self.written.send(entry).await.is_err() {
                return Ok(());
            }
            sleep(self.rest).await;
        }
        Ok(())
    }

    /// Appends one event under the version that the loan has at that time.
    async fn schedule(&self, stream: &StreamId, item: &str) -> Result<(u64, &'static str), Failed> {
        loop {
            let mut loan = Loan::open(&self.store, stream).await?;
            match loan.schedule(item).await {
                Ok(appended) => return Ok(appended),
                // A run was faster.
                Err(error) if is_elsewhere(error.kind()) || error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
