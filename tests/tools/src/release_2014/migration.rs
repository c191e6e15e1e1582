//! The migration to version 2014, as it should be.

use state_migration::state_migration;
use state_migration_examples::loan_2013::{Loan2013, LoanState2013};

use crate::release_2014::{Loan2014, LoanState2014, take_time};

#[state_migration(from = Loan2013, to = Loan2014)]
fn loan_2013_to_2014(loan: LoanState2013) -> LoanState2014 {
    take_time();
    let band = match loan.amount_requested {
        0..10_000 => 1,
        10_000..30_000 => 2,
        30_000.. => 3,
    };
    LoanState2014 { loan, band }
}
