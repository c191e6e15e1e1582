//! The identity of the build of this program.
//!
//! `Workflow::is_finished` has no fingerprint of its own, so what one build has decided with
//! it is not taken over by another build, which may have corrected it.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::SystemTime;

use state_migration_core::Fingerprint;

/// Bytes at the start of an executable file that are hashed. They contain the identifier of
/// the build, where the linker writes one.
const HEADER: u64 = 64 << 10;

/// A fingerprint that differs between builds of this program; 0 if its file cannot be read.
pub(crate) fn fingerprint() -> Fingerprint {
    static BUILD: OnceLock<Fingerprint> = OnceLock::new();
    *BUILD.get_or_init(|| of_this_program().unwrap_or_default())
}

fn of_this_program() -> io::Result<Fingerprint> {
    let file = File::open(std::env::current_exe()?)?;
    let about = file.metadata()?;
    let written = about.modified()?.duration_since(SystemTime::UNIX_EPOCH);
    let written = written.map_or(0, |since| since.as_nanos());
    let mut bytes = Vec::new();
    bytes.extend(about.len().to_le_bytes());
    bytes.extend(written.to_le_bytes());
    file.take(HEADER).read_to_end(&mut bytes)?;
    Ok(Fingerprint::of_bytes(&bytes))
}
