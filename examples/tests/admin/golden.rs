//! Golden files of the output of the program. `GOLDEN=overwrite` rewrites them.

use std::fs;
use std::path::Path;

/// Compares what was said, already masked, with the golden of this name.
#[track_caller]
pub(crate) fn assert_golden(name: &str, said: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(crate::GOLDENS)
        .join(name);
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "overwrite") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        return fs::write(file, said).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!(
            "{error}; GOLDEN=overwrite writes {}:\n{said}",
            file.display()
        )
    });
    assert_eq!(
        golden,
        said,
        "{} is another; GOLDEN=overwrite writes it anew:\n{said}",
        file.display()
    );
}
