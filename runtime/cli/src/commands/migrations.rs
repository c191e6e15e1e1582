//! The command `migrations`.

use std::fmt::{self, Write};

use serde::Serialize;
use state_migration_core::{MigrationRegistry, Problem};
use state_migration_runner::forecast::linked::{
    Decision, Linked, LinkedMigration, LinkedVersion, MigrationKind,
};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::view::output::{Answer, BAD, BOLD, DIM, plain, table, to_type};

/// List the migrations and versions that are linked into this program
///
/// Opens no store. If the migrations are inconsistent, all of them are listed
/// together with the problems, and the exit code is 4. With --socket, lists
/// what is linked into the service.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  migrations\n  migrations --json")]
pub(crate) struct Migrations {}

impl Migrations {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let view = match context.client() {
            Some(client) => LinkedView {
                linked: client.migrations().await?,
                problems: Vec::new(),
                next: Vec::new(),
            },
            None => LinkedView::of_program(context)?,
        };
        context.output.answer(&view)?;
        Ok(if view.problems.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        })
    }
}

/// The linked migrations and versions.
#[derive(Debug, Serialize)]
struct LinkedView {
    #[serde(flatten)]
    linked: Linked,
    /// Why the migrations are inconsistent.
    problems: Vec<String>,
    next: Vec<String>,
}

impl LinkedView {
    /// What is linked into this program.
    fn of_program(context: &Context) -> Result<Self, Failure> {
        let problems: Vec<String> = match MigrationRegistry::linked() {
            Ok(_) => Vec::new(),
            Err(error) if error.problems() == [Problem::NothingLinked] => {
                return Err(context.unlinked());
            }
            Err(error) => error.problems().iter().map(ToString::to_string).collect(),
        };
        let next = match problems.is_empty() {
            true => Vec::new(),
            false => vec![context.command_line("graph")],
        };
        Ok(Self {
            linked: Linked::of_program(),
            problems,
            next,
        })
    }
}

/// The kind of a migration as text.
fn kind(what: MigrationKind) -> &'static str {
    match what {
        MigrationKind::Conversion => "conversion",
        MigrationKind::SameState => "same state",
        MigrationKind::Undo => "undo",
    }
}

fn place(migration: &LinkedMigration) -> String {
    match (&migration.file, migration.line, &migration.package) {
        (Some(file), Some(line), Some(package)) => {
            format!("\n  {}:{line} in package {}", plain(file), plain(package))
        }
        _ => String::new(),
    }
}

fn decision(version: &LinkedVersion) -> String {
    match version.decision {
        Decision::Migrates => "migrates".to_owned(),
        Decision::Newest => "newest".to_owned(),
        Decision::Stays => {
            let reason = version.reason.as_deref();
            format!("stays: {}", plain(reason.unwrap_or_default()))
        }
        Decision::Undecided => format!("{BAD}undecided{BAD:#}"),
    }
}

impl Answer for LinkedView {
    const KIND: &'static str = "migrations";

    fn text(&self, out: &mut String) -> fmt::Result {
        for migration in &self.linked.migrations {
            let LinkedMigration {
                from,
                to,
                what,
                function,
                fingerprint,
                ..
            } = migration;
            writeln!(
                out,
                "{BOLD}{} -> {}{BOLD:#}  {}  {DIM}{fingerprint}{DIM:#}",
                plain(from),
                plain(to),
                kind(*what)
            )?;
            writeln!(out, "  {}{}", plain(function), place(migration))?;
            if let Some(note) = &migration.note {
                writeln!(out, "  {}", plain(note))?;
            }
            writeln!(out)?;
        }
        let rows = self
            .linked
            .versions
            .iter()
            .map(|version| vec![plain(&version.version), decision(version)]);
        out.push_str(&table(&["VERSION", "STATUS"], rows));
        if !self.problems.is_empty() {
            writeln!(out)?;
        }
        for problem in &self.problems {
            writeln!(out, "{BAD}problem:{BAD:#} {problem}")?;
        }
        to_type(&self.next, out)
    }
}
