//! The options that take a store over from the program that has it open.

use std::time::Duration;

/// The time without a write after which a program of another machine counts as dead.
pub(crate) const QUIET: Duration = Duration::from_secs(10);

/// Whether to take over the store.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct TakeOver {
    /// Take over the store from an interrupted run, or from a program of another
    /// machine that has written nothing for 10 seconds
    #[arg(long)]
    take_over: bool,
    /// Take over the store from any program, even if it is alive; that program
    /// can no longer write to the store
    #[arg(long)]
    fence_live_program: bool,
}

impl TakeOver {
    /// Whether an interrupted run does not prevent the command.
    pub(crate) fn is_meant(self) -> bool {
        self.take_over || self.fence_live_program
    }

    /// Whether even a program that is alive is fenced.
    pub(crate) fn fences(self) -> bool {
        self.fence_live_program
    }
}
