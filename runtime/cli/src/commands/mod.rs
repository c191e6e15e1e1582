//! The commands, one file each.

pub(crate) mod completions;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod inspect;
pub(crate) mod migrations;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod processes;
pub(crate) mod rehearse;
pub(crate) mod removal;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod throttle;
pub(crate) mod watch;
