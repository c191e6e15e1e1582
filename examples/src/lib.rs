//! A bank's loan applications, in flight under version 2011 of their workflow,
//! moved to version 2012 and on to 2013.
//!
//! - [`loan_2011`], [`loan_2012`], [`loan_2013`]: three versions of one workflow.
//! - [`migrations`]: the two annotated functions that lead from one to the next.
//! - [`predicates`]: which loans a run can be limited to, by their state.
//! - [`xes`]: reads and checks an event log; [`sample`] makes one up.
//! - [`import`]: brings a log into a store, once; [`summary`]: what the store
//!   says about the loans afterwards.
//!
//! The program `loans` puts them together.

pub mod import;
pub mod loan_2011;
pub mod loan_2012;
pub mod loan_2013;
pub mod migrations;
pub mod offer;
pub mod predicates;
pub mod sample;
pub mod summary;
pub mod work_item;
pub mod xes;
