//! Logging to standard error, as text or as JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::{Global, LogFormat};
use crate::exit_code::{Failure, Reason};
use crate::view::output::Output;

/// Starts logging with the filter of `--log`; does nothing if logging is off.
pub(crate) fn init(global: &Global, output: Output) -> Result<(), Failure> {
    let filter = filter(&global.log)?;
    let Some(filter) = filter else { return Ok(()) };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::CLOSE)
        // The message would use a macro that panics if standard error is closed.
        .log_internal_errors(false)
        .with_ansi(output.colors_errors());
    let began = match global.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().with_ansi(false).try_init(),
    };
    began.map_err(|error| {
        Failure::environment(
            Reason::Usage,
            format!("cannot log, because this program has its own logger: {error}; omit --log"),
        )
    })
}

/// Parses a filter; `None` if logging is off.
fn filter(text: &str) -> Result<Option<EnvFilter>, Failure> {
    if matches!(text.trim(), "" | "off") {
        return Ok(None);
    }
    let filter = EnvFilter::builder().parse(text).map_err(|error| {
        Failure::environment(Reason::Usage, format!(
            "invalid filter --log {text:?} ({error}); give a level such as debug, or levels by target such as state_migration=debug,slatedb=warn"
        ))
    })?;
    // A mistyped level would be parsed as a target, and nothing would be logged.
    let is_level = |word: &str| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        levels.contains(&word.to_ascii_lowercase().as_str())
    };
    let mistyped = text
        .split(',')
        .map(str::trim)
        .find(|part| part.chars().all(char::is_alphabetic) && !is_level(part));
    match mistyped.filter(|part| !part.is_empty()) {
        Some(part) => Err(Failure::environment(
            Reason::Usage,
            format!(
                "invalid filter --log {text:?}: {part:?} is not a level; give off, error, warn, info, debug or trace, or {part}=LEVEL if it is a target"
            ),
        )),
        None => Ok(Some(filter)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels_by_target() {
        for nothing in ["off", "", " off "] {
            assert!(filter(nothing).unwrap().is_none());
        }
        for good in [
            "debug",
            "WARN",
            "state_migration=debug,slatedb=warn",
            "info,slatedb=off",
        ] {
            assert!(filter(good).unwrap().is_some(), "{good}");
        }
        for (bad, says) in [
            ("loud", "\"loud\" is not a level"),
            ("info,verbos", "\"verbos\" is not a level"),
            ("state_migration=loud", "invalid filter"),
            ("a=b=c", "invalid filter"),
        ] {
            let error = filter(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
