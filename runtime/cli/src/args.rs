//! Options of every command.

use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Use this store: a folder, file:///folder, s3://bucket/path,
    /// az://container/path or gs://bucket/path
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STATE_MIGRATION_STORE",
        help_heading = "Store"
    )]
    pub(crate) store: Option<String>,
    /// Read SlateDB settings from a .toml, .json or .yaml file; SLATEDB_*
    /// variables override them
    #[arg(long, global = true, value_name = "FILE", help_heading = "Store")]
    pub(crate) settings: Option<PathBuf>,
    /// Send the command to the service that listens on this control socket; the
    /// answer is about its store, and --store beside --socket only names the
    /// store in suggested commands such as `inspect`
    #[arg(long, global = true, value_name = "PATH", help_heading = "Store")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON, one document per line
    #[arg(long, global = true, action = ArgAction::SetTrue, help_heading = "Output")]
    pub(crate) json: bool,
    /// Color the output; `auto` respects NO_COLOR
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN", help_heading = "Output")]
    pub(crate) color: When,
    /// Log to standard error, with a filter as in RUST_LOG: off, warn,
    /// state_migration=debug
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "STATE_MIGRATION_LOG",
        default_value = "off",
        help_heading = "Output"
    )]
    pub(crate) log: String,
    /// Format log lines as text or JSON
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
