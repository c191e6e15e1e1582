//! The code that the integration tests share: workflows, stores that fail on demand,
//! and byte-for-byte copies of stores.

pub mod faulty;
pub mod killer;
pub mod lost_answers;
pub mod orders;
pub mod scripted_workflow;
pub mod secrets;
pub mod size;
pub mod stores;
pub mod torture;
