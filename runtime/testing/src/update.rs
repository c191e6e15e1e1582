//! The variables that let a test write its files.

/// What a test writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nothing: it compares.
    No,
    /// What is new or may still change.
    New,
    /// The same, and then marks everything as deployed.
    Deployed,
}

/// The value of a variable.
pub(crate) fn update(variable: &str) -> Result<Update, String> {
    match std::env::var(variable).as_deref() {
        Err(_) | Ok("" | "0") => Ok(Update::No),
        Ok("1") => Ok(Update::New),
        Ok("deployed") if variable == LAYOUTS => Ok(Update::Deployed),
        Ok(other) if variable == LAYOUTS => {
            Err(format!("{variable}={other} is unknown: use 1 or deployed"))
        }
        Ok(other) => Err(format!("{variable}={other} is unknown: use 1")),
    }
}

pub(crate) const LAYOUTS: &str = "UPDATE_LAYOUTS";
pub(crate) const HISTORIES: &str = "UPDATE_HISTORIES";

/// A path relative to the package that is tested, as cargo tells it.
pub(crate) fn in_package(path: &std::path::Path) -> std::path::PathBuf {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => std::path::Path::new(&package).join(path),
        None => path.to_owned(),
    }
}
