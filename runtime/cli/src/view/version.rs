//! The status of a version as text.

use state_migration_runner::forecast::version_status::{VersionDecision, VersionState};

use crate::view::output::{BAD, GOOD, plain};

pub(crate) fn status(decision: &VersionDecision) -> String {
    let bad = |text: &str| format!("{BAD}{text}{BAD:#}");
    let named = |text: &Option<String>| plain(text.as_deref().unwrap_or("?"));
    match decision.status {
        VersionState::Newest => format!("{GOOD}newest{GOOD:#}"),
        VersionState::Outdated => format!("outdated: {}", named(&decision.route)),
        VersionState::Stays => format!("stays: {}", named(&decision.reason)),
        VersionState::Undecided => bad("undecided"),
        VersionState::UnknownVersion => bad("unknown version"),
        VersionState::NewerThanProgram => bad("newer than this program"),
        VersionState::NoMigrations => "no migrations".to_owned(),
        VersionState::OtherWorkflow => "unknown workflow".to_owned(),
    }
}
