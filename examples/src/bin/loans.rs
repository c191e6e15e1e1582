//! Moves a bank's loan applications, in flight under version 2011 of their
//! workflow, to version 2012 and on to 2013.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use serde::Serialize;
use state_migration::{MigrationRegistry, MigrationReport, MigrationRunner};
use state_migration_examples::import::{Imported, import};
use state_migration_examples::sample;
use state_migration_examples::summary::{Loans, Summary};
use state_migration_examples::xes::XesLog;
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Imports a bank's loan applications under version 2011 of their workflow and
/// migrates them, in flight, to version 2012 and on to 2013.
///
/// The log is imported once; run it again on the same store and nothing is left
/// to do. Exit code 0: all applications are at the newest version; 1: the log
/// or the store cannot be used; 2: some applications could not be migrated.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// An event log in XES (IEEE 1849), plain or gzipped, such as that of the
    /// BPI Challenge 2012. Without it, a small invented one.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The folder of the store. Without it, a new one among the temporary files.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Only import the log: `loans-admin` migrates the applications then.
    #[arg(long, requires = "store", conflicts_with = "json")]
    import_only: bool,
    /// Print the result as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // clap would end with 2, which here means something else.
            let code = u8::from(usage.use_stderr());
            return match usage.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    match run(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all applications are where they are to be.
async fn run(arguments: Arguments) -> Result<bool, Box<dyn Error>> {
    let log = match arguments.log {
        Some(file) => XesLog::file(file),
        None => XesLog::embedded("the sample log", sample::LOG),
    };
    let folder = Folder::new(arguments.store)?;
    let begun = Instant::now();
    let Imported {
        store,
        size,
        imported,
    } = import(&log, folder.path(), |done, all| {
        if done.is_multiple_of(1000) {
            say(format_args!("imported {done} of {all} applications"));
        }
    })
    .await?;
    let folder = folder.keep();
    let import_took = begun.elapsed();
    let (applications, events) = (size.applications, size.events);
    let mut text = String::new();
    if !arguments.json {
        writeln!(
            text,
            "log          {}: {applications} applications, {events} events\n\
             imported     {imported} applications under loan@2011 in {import_took:.1?}",
            log.name()
        )?;
    }
    if arguments.import_only {
        store.close().await?;
        writeln!(text, "store        {}", folder.display())?;
        io::stdout().write_all(text.as_bytes())?;
        return Ok(true);
    }

    let begun = Instant::now();
    let report = MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone())
        .run()
        .await;
    let migration_took = begun.elapsed();
    for warning in &report.warnings {
        say(format_args!("warning: {warning}"));
    }
    for error in &report.errors {
        say(format_args!("error: {error}"));
    }

    let summary = Summary::of(&store).await?;
    store.close().await?;
    if arguments.json {
        let outcome = Outcome::new(imported, &report, &summary, &folder);
        writeln!(text, "{}", serde_json::to_string(&outcome)?)?;
    } else {
        let counts = report.to_string();
        // The errors are on stderr already, and all of them.
        let counts = counts.lines().next().unwrap_or_default();
        writeln!(text, "migration    {counts}; in {migration_took:.1?}")?;
        write_loans(&mut text, &summary)?;
        writeln!(text, "store        {}", folder.display())?;
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(report.is_ok())
}

fn write_loans(text: &mut String, summary: &Summary) -> fmt::Result {
    const DAY: f64 = 86_400.0;
    let applications = summary.loans.total();
    let Loans {
        approved,
        declined,
        cancelled,
        open,
    } = summary.loans;
    writeln!(
        text,
        "loan@2013    {applications:>9} applications\n  \
           approved   {approved:>9}\n  \
           declined   {declined:>9}\n  \
           cancelled  {cancelled:>9}\n  \
           open       {open:>9}"
    )?;
    if summary.behind > 0 {
        writeln!(text, "older        {:>9} applications", summary.behind)?;
    }
    writeln!(text, "requested    {:>9} euro", summary.amount_requested)?;
    if applications > 0 {
        let days = summary.waited_seconds as f64 / applications as f64 / DAY;
        writeln!(text, "waited       {days:>9.1} days on average")?;
    }
    Ok(())
}

/// Tells people something on stderr, if anybody listens.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Where the store is: a folder that was named, or a temporary one that stays
/// only if there is a store in it.
enum Folder {
    Named(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn new(named: Option<PathBuf>) -> io::Result<Self> {
        Ok(match named {
            Some(folder) => Self::Named(folder),
            None => Self::Temporary(tempfile::Builder::new().prefix("loans-").tempdir()?),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn keep(self) -> PathBuf {
        match self {
            Self::Named(folder) => folder,
            Self::Temporary(folder) => folder.keep(),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    imported: u64,
    events: u64,
    migrated: usize,
    skipped: usize,
    errors: usize,
    warnings: usize,
    loans: Loans,
    amount_requested: u128,
    waited_seconds: u128,
    store: String,
    form: Option<String>,
}

impl Outcome {
    fn new(imported: u64, report: &MigrationReport, summary: &Summary, store: &Path) -> Self {
        Self {
            imported,
            events: summary.events,
            migrated: report.migrated,
            skipped: report.skipped,
            errors: report.error_count,
            warnings: report.warning_count,
            loans: summary.loans,
            amount_requested: summary.amount_requested,
            waited_seconds: summary.waited_seconds,
            store: store.display().to_string(),
            form: report.form.map(|form| form.to_string()),
        }
    }
}
