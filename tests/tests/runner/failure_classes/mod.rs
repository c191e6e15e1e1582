//! The runner against bad data, bad user code and other writers: what fails is
//! one entry in the report and stays as it was, and the others are migrated.
//!
//! Every scenario runs in both forms, over both stores that ship.

pub(crate) mod fixture;

mod checked_large;
mod counts;
mod damage;
mod each_class;
mod large;
mod races;
mod routing;
mod store_failures;
mod user_code;
