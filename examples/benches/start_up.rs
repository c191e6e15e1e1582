//! The start-up cost of the operator's tool: `loans-admin --help` against a Rust
//! program that does nothing, started in turns. The benchmark fails above [`MOST`]
//! times the cost of that program. It compares the fastest starts, which were
//! disturbed the least.
//!
//! `cargo bench -p state-migration-examples --bench start_up [-- ROUNDS]`

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 300;

/// How many times as long as an empty program `--help` may take.
const MOST: f64 = 5.0;

fn main() -> Result<(), Box<dyn Error>> {
    let said = std::env::args().find_map(|word| word.parse().ok());
    let rounds: usize = said.unwrap_or(ROUNDS);
    let folder = tempfile::tempdir()?;
    let (source, empty) = (folder.path().join("empty.rs"), folder.path().join("empty"));
    std::fs::write(&source, "fn main() {}\n")?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["-C", "opt-level=3", "-o"])
        .arg(&empty)
        .arg(&source)
        .status()?;
    if !built.success() {
        return Err("the empty program could not be built".into());
    }
    let tool = Path::new(env!("CARGO_BIN_EXE_loans-admin"));
    let commands = ["--help", "migrations", "run --help"];
    let mut nothing = Vec::new();
    let mut times = vec![Vec::new(); commands.len()];
    // The first ones read the programs from the disk.
    for round in 0..rounds + 5 {
        let one = start(&empty, "")?;
        let all = commands.map(|command| start(tool, command));
        if round < 5 {
            continue;
        }
        nothing.push(one);
        for (times, time) in times.iter_mut().zip(all) {
            times.push(time?);
        }
    }
    let floor = Times::of(&mut nothing);
    println!(
        "{:24} {:>11} {:>11}",
        "of starts", "the fastest", "the median"
    );
    println!("{:24} {}", "an empty program", floor.text());
    let mut help = f64::MAX;
    for (command, mut times) in commands.into_iter().zip(times) {
        let times = Times::of(&mut times);
        let ratio = |time: Duration, floor: Duration| time.as_secs_f64() / floor.as_secs_f64();
        let fastest = ratio(times.fastest, floor.fastest);
        println!(
            "{:24} {}  {fastest:.2} and {:.2} times",
            format!("loans-admin {command}"),
            times.text(),
            ratio(times.median, floor.median)
        );
        if command == "--help" {
            help = fastest;
        }
    }
    println!("{rounds} starts each");
    if help > MOST {
        return Err(format!(
            "--help takes {help:.2} times as long as nothing at all, and {MOST} are allowed"
        )
        .into());
    }
    Ok(())
}

struct Times {
    fastest: Duration,
    median: Duration,
}

impl Times {
    fn of(times: &mut [Duration]) -> Self {
        times.sort();
        Self {
            fastest: times[0],
            median: times[times.len() / 2],
        }
    }

    fn text(&self) -> String {
        format!("{:>11} {:>11}", micros(self.fastest), micros(self.median))
    }
}

/// How long a program takes from its start to its end.
fn start(program: &Path, arguments: &str) -> Result<Duration, Box<dyn Error>> {
    let mut command = Command::new(program);
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let ended = command.status()?;
    let took = begun.elapsed();
    if !ended.success() {
        return Err(format!("{} {arguments} failed", program.display()).into());
    }
    Ok(took)
}

fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}
