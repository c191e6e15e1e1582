//! `cargo bench -p state-migration --bench migration`: compares a run with its floor,
//! which is measured on a copy of the same store.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod cases;
mod check;
mod child;
mod conflicts;
mod data;
mod family;
mod floor;
mod layout;
mod location;
mod measure;
mod wal_rows;
mod write;

use std::path::PathBuf;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures migrations against floors that are measured in the same run, and says
/// what is as it must be.
#[derive(Parser)]
struct Args {
    /// Writes the figures to a file, as one flat object of numbers.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Uses smaller sizes, and ends within three minutes.
    #[arg(long)]
    quick: bool,
    /// How many processes the cases have, unless they say otherwise.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    processes: Option<usize>,
    /// How often each case is measured; the median counts.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    rounds: Option<usize>,
    /// Where the stores are made; a folder for temporary files otherwise.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Keeps the stores in a folder, and takes those that are there: the same data
    /// for several measurements of one program.
    #[arg(long, value_name = "FOLDER")]
    stores: Option<PathBuf>,
    /// Only the cases with these names.
    #[arg(long, value_name = "CASE", value_delimiter = ',', value_parser = cases::NAMES)]
    only: Vec<String>,
    /// Cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
    /// What a child of the benchmark is to do.
    #[arg(long, hide = true)]
    child: Option<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // The tests of all targets start the program like this, without optimizations.
    if cfg!(debug_assertions) && !args.bench && args.child.is_none() {
        println!("not measured without optimizations; the data is checked");
        return runtime.block_on(check::check());
    }
    match &args.child {
        Some(task) => runtime.block_on(child::act(task, &args)),
        None => runtime.block_on(cases::all(&args)),
    }
}
