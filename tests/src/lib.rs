//! What the integration tests share: workflows, stores that fail on demand,
//! and byte-for-byte copies of stores.

pub mod faulty;
pub mod jobs;
pub mod killer;
pub mod lossy;
pub mod orders;
pub mod stores;
pub mod torture;
