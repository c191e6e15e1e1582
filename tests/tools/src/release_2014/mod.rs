//! The next release of the loans: version 2014 puts each of them into a band of
//! amounts. It is a folder of its own for the programs that have it, since what
//! is in the library is linked into all.

use serde::{Deserialize, Serialize};
use state_migration::{Totals, Workflow};
use state_migration_examples::loan_2013::{Loan2013, LoanEvent2013, LoanState2013};

/// Loan applications, version 2014.
pub struct Loan2014;

/// An application, version 2014.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct LoanState2014 {
    /// All that version 2013 knows.
    pub loan: LoanState2013,
    /// The band of the amount, from 1.
    pub band: u8,
}

impl Workflow for Loan2014 {
    const NAME: &'static str = "loan";
    const VERSION: &'static str = "2014";
    const STATE_SCHEMA_VERSION: u32 = 4;
    type State = LoanState2014;
    type Event = LoanEvent2013;

    fn apply(mut state: LoanState2014, event: &LoanEvent2013) -> LoanState2014 {
        state.loan = Loan2013::apply(state.loan, event);
        state
    }

    fn totals(state: &LoanState2014) -> Totals {
        Loan2013::totals(&state.loan)
    }
}

/// How long the conversion of one application is to take, as a test wants it.
pub fn take_time() {
    let millis = std::env::var("LOANS_TAKE_MS").ok();
    if let Some(millis) = millis.and_then(|millis| millis.parse().ok()) {
        std::thread::sleep(std::time::Duration::from_millis(millis));
    }
}
