//! Predicates on the states of loans, which `--matching` names.

use state_migration::{Predicates, predicate};

use crate::loan_2011::Loan2011;
use crate::loan_2012::Loan2012;

/// The predicates of the service and of the operator's tool.
#[must_use]
pub fn predicates() -> Predicates {
    Predicates::new()
        .with(predicate!("undecided", Loan2011, |loan| loan
            .decision
            .is_empty()))
        .with(predicate!("undecided", Loan2012, |loan| loan
            .decision
            .is_none()))
}
