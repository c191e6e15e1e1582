//! Options of every command.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};

/// What holds for every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// The store: a folder, file:///folder, memory:, s3://bucket/path,
    /// az://container/path or gs://bucket/path.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STATE_MIGRATION_STORE",
        help_heading = "Store"
    )]
    pub(crate) store: Option<String>,
    /// Settings of SlateDB from a .toml, .json or .yaml file; variables that
    /// begin with SLATEDB_ go before it.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Store")]
    pub(crate) settings: Option<PathBuf>,
    /// The control socket of a service that has the store open: the command
    /// goes to that service.
    #[arg(long, global = true, value_name = "SOCKET", help_heading = "Store")]
    pub(crate) via: Option<PathBuf>,
    /// Prints JSON; progress is a line each.
    #[arg(long, global = true, action = ArgAction::SetTrue, help_heading = "Output")]
    pub(crate) json: bool,
    /// When to use colours; auto heeds NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN", help_heading = "Output")]
    pub(crate) color: When,
    /// What is logged to standard error, as in RUST_LOG: off, warn,
    /// state_migration=debug.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "STATE_MIGRATION_LOG",
        default_value = "off",
        help_heading = "Output"
    )]
    pub(crate) log: String,
    /// How it is logged.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}
