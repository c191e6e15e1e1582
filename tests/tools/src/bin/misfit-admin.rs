//! The operator's tool for a release whose migrations do not fit together: two
//! of them lead from one version of the loans.

use std::process::ExitCode;

use state_migration::{Workflow, no_migration, state_migration};
use state_migration_examples::loan_2012::{Loan2012, LoanState2012};
use state_migration_examples::loan_2013::{LoanEvent2013, LoanState2013};
use state_migration_examples::migrations::loan_2012_to_2013;

#[path = "../release_2014/mod.rs"]
#[allow(dead_code)]
mod release_2014;

use release_2014::{Loan2014, LoanState2014};

#[state_migration(from = Loan2012, to = Loan2014, note = "in one go")]
fn loan_2012_to_2014(old: LoanState2012) -> LoanState2014 {
    LoanState2014 {
        loan: loan_2012_to_2013(old),
        band: 1,
    }
}

/// A version that was left out.
struct Loan2009;

impl Workflow for Loan2009 {
    const NAME: &'static str = "loan";
    const VERSION: &'static str = "2009";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = LoanState2013;
    type Event = LoanEvent2013;

    fn apply(state: LoanState2013, _: &LoanEvent2013) -> LoanState2013 {
        state
    }
}

no_migration!(Loan2009, reason = "never deployed");

fn main() -> ExitCode {
    state_migration::cli::main()
}
