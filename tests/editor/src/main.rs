//! Checks of what an editor shows of the macros, over rust-analyzer as a library.
//!
//! `cargo run --manifest-path tests/editor/Cargo.toml` runs all checks, and those whose
//! names contain a word if it is given as an argument.

mod checks;
mod editor;
mod expected;
mod standard_library;

use std::path::Path;
use std::process::ExitCode;
use std::{env, mem, thread};

use editor::{Answer, Editor};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the checks could not be run: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the checks, and says whether all of them are right.
fn run() -> Answer<bool> {
    let here = env::var("CARGO_MANIFEST_DIR");
    let here = Path::new(here.as_deref().unwrap_or(env!("CARGO_MANIFEST_DIR")));
    // Beside the build of this program, in a folder of its own.
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2).unwrap_or(here);
    let wanted = env::args().nth(1).unwrap_or_default();
    let std = target.join("std");
    standard_library::write(&std)?;
    let load = || Editor::load(&here.join("fixture"), &std, &target.join("fixture"));
    let mut editor = load()?;
    let checks = checks::all();
    let mut wrong = Vec::new();
    let mut run = 0;
    for check in checks.iter().filter(|check| check.name.contains(&wanted)) {
        run += 1;
        // rust-analyzer panics on some expansions, where the user sees nothing.
        let run = thread::scope(|scope| {
            let check = || check.run(&mut editor).map_err(|found| found.to_string());
            scope.spawn(check).join()
        });
        let found = match run {
            Ok(Ok(())) => continue,
            Ok(Err(found)) => found,
            Err(_) => {
                // Its next change would wait for the query that panicked.
                mem::forget(mem::replace(&mut editor, load()?));
                "rust-analyzer panicked".to_owned()
            }
        };
        wrong.push(format!("{}\n  {found}", check.name));
    }
    println!("{run} checks, {} right", run - wrong.len());
    if !wrong.is_empty() {
        println!("\nwrong:\n{}", wrong.join("\n"));
    }
    Ok(wrong.is_empty() && run > 0)
}
