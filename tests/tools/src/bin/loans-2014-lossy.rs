//! The operator's tool for the release 2014 of the loans, whose migration loses the
//! offers.

use std::process::ExitCode;

use state_migration::state_migration;
use state_migration_examples::loan_2013::{Loan2013, LoanState2013};

#[path = "../release_2014/mod.rs"]
mod release_2014;

use release_2014::{Loan2014, LoanState2014, take_time};

#[state_migration(from = Loan2013, to = Loan2014)]
fn loan_2013_to_2014(mut loan: LoanState2013) -> LoanState2014 {
    take_time();
    loan.offers.clear();
    let band = match loan.amount_requested {
        0..10_000 => 1,
        10_000..30_000 => 2,
        30_000.. => 3,
    };
    LoanState2014 { loan, band }
}

fn main() -> ExitCode {
    state_migration::cli::main()
}
