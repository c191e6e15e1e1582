//! The command `migrations`.

use std::fmt::{self, Write};

use serde::Serialize;
use state_migration_core::registry::End;
use state_migration_core::{Migration, MigrationRegistry, Problem, WorkflowId};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::view::output::{Answer, BAD, BOLD, DIM, plain, table, to_type};

/// List the migrations and versions that are linked into this program
///
/// Opens no store. If the migrations are inconsistent, all of them are listed
/// together with the problems, and the exit code is 4.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  migrations\n  migrations --json")]
pub(crate) struct Migrations {}

impl Migrations {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let linked = Linked::new(context)?;
        context.output.answer(&linked)?;
        Ok(if linked.problems.is_empty() {
            Exit::Done
        } else {
            Exit::Refused
        })
    }
}

/// The linked migrations and versions.
#[derive(Debug, Serialize)]
struct Linked {
    migrations: Vec<LinkedMigration>,
    versions: Vec<LinkedVersion>,
    /// Why the migrations are inconsistent.
    problems: Vec<String>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LinkedMigration {
    from: String,
    to: String,
    what: MigrationKind,
    function: String,
    package: Option<&'static str>,
    file: Option<&'static str>,
    line: Option<u32>,
    note: Option<&'static str>,
    fingerprint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum MigrationKind {
    Conversion,
    SameState,
    Undo,
}

impl fmt::Display for MigrationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conversion => "conversion",
            Self::SameState => "same state",
            Self::Undo => "undo",
        })
    }
}

#[derive(Debug, Serialize)]
struct LinkedVersion {
    version: String,
    decision: VersionDecision,
    /// The declared reason why processes stay at the version.
    reason: Option<&'static str>,
}

/// What was decided for the processes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum VersionDecision {
    Migrates,
    Newest,
    Stays,
    Undecided,
}

impl LinkedMigration {
    fn of(migration: &Migration) -> Self {
        let at = migration.defined_at();
        Self {
            from: migration.source().to_string(),
            to: migration.target().to_string(),
            what: match (migration.is_undo(), migration.is_identity()) {
                (true, _) => MigrationKind::Undo,
                (false, true) => MigrationKind::SameState,
                (false, false) => MigrationKind::Conversion,
            },
            function: migration.place().name().into_owned(),
            package: at.map(|at| at.package),
            file: at.map(|at| at.file),
            line: at.map(|at| at.line),
            note: migration.note(),
            fingerprint: migration.fingerprint().to_string(),
        }
    }

    fn place(&self) -> String {
        match (self.file, self.line, self.package) {
            (Some(file), Some(line), Some(package)) => {
                format!("\n  {file}:{line} in package {package}")
            }
            _ => String::new(),
        }
    }
}

impl LinkedVersion {
    fn of((name, version, end, reason): (&str, &str, End, Option<&'static str>)) -> Self {
        let decision = match end {
            End::None => VersionDecision::Migrates,
            End::Newest => VersionDecision::Newest,
            End::Stays => VersionDecision::Stays,
            End::Undecided => VersionDecision::Undecided,
        };
        let id = WorkflowId::new(name.to_owned(), version.to_owned());
        Self {
            version: id.to_string(),
            decision,
            reason,
        }
    }

    fn decision(&self) -> String {
        match (self.decision, self.reason) {
            (VersionDecision::Migrates, _) => "migrates".to_owned(),
            (VersionDecision::Newest, _) => "newest".to_owned(),
            (VersionDecision::Stays, reason) => {
                format!("stays: {}", plain(reason.unwrap_or_default()))
            }
            (VersionDecision::Undecided, _) => format!("{BAD}undecided{BAD:#}"),
        }
    }
}

impl Linked {
    fn new(context: &Context) -> Result<Self, Failure> {
        let problems = match MigrationRegistry::linked() {
            Ok(_) => Vec::new(),
            Err(error) if error.problems() == [Problem::NothingLinked] => {
                return Err(context.unlinked());
            }
            Err(error) => error.problems().iter().map(ToString::to_string).collect(),
        };
        let drawing = MigrationRegistry::drawing_of_linked();
        let next = if problems.is_empty() {
            Vec::new()
        } else {
            vec![context.command_line("graph")]
        };
        Ok(Self {
            migrations: MigrationRegistry::all_linked()
                .iter()
                .map(LinkedMigration::of)
                .collect(),
            versions: drawing.ends().map(LinkedVersion::of).collect(),
            problems,
            next,
        })
    }
}

impl Answer for Linked {
    const KIND: &'static str = "migrations";

    fn text(&self, out: &mut String) -> fmt::Result {
        for migration in &self.migrations {
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
                "{BOLD}{from} -> {to}{BOLD:#}  {what}  {DIM}{fingerprint}{DIM:#}"
            )?;
            writeln!(out, "  {}{}", plain(function), migration.place())?;
            if let Some(note) = migration.note {
                writeln!(out, "  {}", plain(note))?;
            }
            writeln!(out)?;
        }
        let rows = self
            .versions
            .iter()
            .map(|version| vec![plain(&version.version), version.decision()]);
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
