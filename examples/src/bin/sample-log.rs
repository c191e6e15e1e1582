//! Writes the sample log: `sample-log examples/data/loans-sample.xes.gz`.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use flate2::{Compression, GzBuilder};
use state_migration_examples::sample;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Writes a log of invented loan applications as gzipped XES.
#[derive(Parser)]
struct Arguments {
    /// The file to write.
    file: PathBuf,
    /// How many applications.
    #[arg(long, default_value_t = sample::APPLICATIONS)]
    applications: u32,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    // Without the time of its making, the same log is the same file.
    let mut packed = GzBuilder::new()
        .mtime(0)
        .write(File::create(&arguments.file)?, Compression::best());
    sample::write_log(&mut packed, arguments.applications)?;
    packed.finish()?.flush()
}
