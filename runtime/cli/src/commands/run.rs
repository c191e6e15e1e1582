//! The command `run`.

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::local::{Pace, Signed, Wanted, drive};
use crate::remote::{self, Via, service};
use crate::selection::Planned;
use crate::store::Claim;
use state_migration_control_socket::protocol::{self, Request};
use state_migration_core::{Fingerprint, MigrationRegistry};
use state_migration_runner::MigrationRunner;

/// Migrates the processes that stand behind.
///
/// It wants to be told that this is meant: by the fingerprint that `plan` shows
/// for the same options, or by --yes. Ctrl-C lets it finish what is in hand and
/// prints how to go on; a second one stops it at once, which loses nothing
/// either. A dry run writes nothing and shuts nobody out.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  run --store ./loans --yes\n  run --store ./loans --dry-run\n  run --store ./loans --yes --percent 5 --why 'canary of release 7'\n  run --store ./loans --yes --throttle 500 --json"
)]
pub(crate) struct Run {
    /// The fingerprint of the plan, as `plan` shows it; refuses any other.
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint, conflicts_with_all = ["yes", "dry_run"])]
    plan: Option<Fingerprint>,
    /// Runs without a look at the plan.
    #[arg(long)]
    yes: bool,
    /// Does everything but write: tries every process, and runs its code twice.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    signed: Signed,
    /// Takes the store over from a program that has it open and writes to it;
    /// that one writes nothing from then on. Or from a run that was interrupted
    /// and holds the store.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    planned: Planned,
    #[command(flatten)]
    pace: Pace,
}

impl Run {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if let Some(via) = context.via() {
            return self.through(context, via).await;
        }
        let migrations = context.migrations()?;
        self.planned.check(&migrations)?;
        let plan = self.fingerprint(migrations)?;
        if self.dry_run {
            let command = format!("run{} --plan {plan}", self.planned.arguments());
            let set = |runner| self.planned.apply(runner);
            let (reader, wanted) = (context.reader(), Wanted::DryRun(command));
            return drive(context, reader, set, wanted, &self.pace).await;
        }
        // Check before the store is opened for writing, which fences other writers.
        self.is_meant(context, plan)?;
        let set = |runner| {
            self.planned
                .apply(runner)
                .who(self.signed.who())
                .why(self.signed.why())
                .take_over(self.take_over)
        };
        let store = context.writer(self.take_over, Claim::Of(None));
        drive(context, store, set, Wanted::Run, &self.pace).await
    }

    /// Executes the run inside the service, with the migrations of the service.
    async fn through(self, context: &Context, via: Via) -> Result<Exit, Failure> {
        let look = format!("plan{}", self.planned.arguments());
        if !self.yes && !self.dry_run && self.plan.is_none() {
            return Err(unmeant().next(context.again(&look)));
        }
        service::check(&via, &self.planned).await?;
        let wanted = match self.dry_run {
            true => Wanted::DryRun(look),
            false => Wanted::Run,
        };
        let request = Request::Run(protocol::Run {
            which: self.planned.asked(),
            who: Some(self.signed.who()),
            why: self.signed.why().to_owned(),
            plan: self.plan,
            dry_run: self.dry_run,
            take_over: self.take_over,
            per_second: self.pace.throttle,
        });
        remote::drive(context, via, request, wanted, &self.pace).await
    }

    /// The fingerprint of the current plan.
    fn fingerprint(&self, migrations: MigrationRegistry) -> Result<Fingerprint, Failure> {
        let runner = MigrationRunner::new(migrations, (), ());
        let plan = self.planned.apply(runner).plan();
        let plan = plan.map_err(|error| Failure::refused(error.to_string()))?;
        Ok(plan.fingerprint)
    }

    /// Requires `--yes` or the fingerprint of the current plan.
    fn is_meant(&self, context: &Context, now: Fingerprint) -> Result<(), Failure> {
        let refused = match self.plan {
            _ if self.yes => return Ok(()),
            Some(wanted) if wanted == now => return Ok(()),
            Some(wanted) => Failure::refused(format!(
                "the plan {wanted} is not what would be done now, which is {now}: the options, the migrations or their code are others; look at the plan again"
            )),
            None => unmeant(),
        };
        let look = format!("plan{}", self.planned.arguments());
        Err(refused.next(context.again(&look)))
    }
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let fingerprint = text.parse::<Fingerprint>().ok();
    // Parsing accepts a shorter text, which would be the fingerprint of another plan.
    fingerprint
        .filter(|read| read.to_string() == text.to_ascii_lowercase())
        .ok_or_else(|| {
            "it is no fingerprint, which is 16 digits and letters from a to f; copy the one that `plan` shows".into()
        })
}

fn unmeant() -> Failure {
    Failure::refused(
        "a run changes the store, so say that it is meant: look at the plan and give its fingerprint with --plan, or give --yes",
    )
}
