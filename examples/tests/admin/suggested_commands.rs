//! The commands that the program suggests after `next:` are valid.

use std::path::Path;

use crate::program::{Ran, finish, program};
use crate::sample::Sample;

/// Types each line that was said, over a store of its own that is as this one:
/// none is refused as wrong.
#[track_caller]
pub(crate) fn can_be_typed(sample: &Sample, said: &Ran) {
    for line in said.next() {
        let sample = sample.copied();
        let programs = Path::new(crate::PROGRAM).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut typed = program("sh", &["-e", "-c", &line]);
        typed
            .current_dir(sample.folder())
            .env("PATH", format!("{}:{path}", programs.display()));
        let ended = finish(typed);
        assert!(matches!(ended.code, Some(0 | 2..=4)), "{line}: {ended:?}");
    }
}
