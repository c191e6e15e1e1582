//! Seeded worlds in which everything goes wrong, and a model that the store is
//! held to.
//!
//! A [`World`] is drawn from a seed: processes of several workflows, tenants, and
//! a list of [steps](steps::Step). Programs live in it one after the other, each on
//! a runtime of its own with paused time, over one bucket in memory; a program
//! that crashes loses its runtime at that instant, and with it all that was not
//! in the bucket. After every step the store is compared with the [`Model`].

mod check;
pub mod clock;
pub mod counts;
pub mod faults;
mod history;
mod interference;
pub mod kills;
mod life;
pub mod model;
mod operations;
mod runs;
pub mod shrink;
pub mod steps;
pub mod workflows;
mod world;

pub use model::Model;
pub use world::{Defect, Violation, World};
