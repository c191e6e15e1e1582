//! The steps of a world, drawn from a seed. A step carries its own seed, so
//! that it does the same when others before it are left out.

use fastrand::Rng;

use super::faults::Rates;
use super::workflows::Code;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The seed of all random decisions within the step.
    pub seed: u64,
    /// The operation.
    pub act: Act,
    /// The faults of the object store during the step.
    pub rates: Rates,
    /// The number of the write in the step at which the program dies. If the step has
    /// fewer writes, the program dies after the step.
    pub crash: Option<u32>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Appends at the expected place; the value is the number of appends.
    Append(u32),
    /// Appends at a place that is not the end of the stream.
    WrongPlace,
    /// Appends with the code of another version.
    WrongVersion,
    /// Several writers append at the same place of one stream; the value is their
    /// number.
    Race(u32),
    /// Saves a snapshot of a process.
    Snapshot,
    /// Puts entries into the process registry, or removes them.
    Registry,
    /// Opens processes under their newest version.
    Open,
    /// A run.
    Run(Box<Run>),
    /// A run that writes nothing.
    DryRun(Code),
    /// Resumes an interrupted run.
    Resume,
    /// Retries the failures of a run, with corrected code.
    Retry,
    /// A run on a copy of the store.
    Rehearse(Code),
    /// Computes the states of all migrations again, and those of one run as if it had to be
    /// corrected.
    Verify,
    /// Takes back what a run has migrated.
    Undo,
    /// Removes the events that no replay reads.
    Erase,
    /// Holds a process, or releases it.
    Hold,
    /// Time passes, in which the store flushes, compacts and collects garbage.
    Idle(u64),
    /// The clock of the program jumps, by milliseconds.
    Jump(i64),
    /// Reads the whole store slowly, by a reader, while it is written to.
    Scan,
    /// Another program opens the store, which fences this program.
    Fence,
    /// Closes the store and opens it again.
    Reopen,
    /// A fail point of SlateDB goes off while processes are appended to.
    FailPoint(FailPoint),
    /// Consecutive requests fail while processes are appended to; the value is their
    /// number.
    Outage(u32),
}

impl Act {
    /// What it is counted as.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Append(_) => "step: append",
            Self::WrongPlace => "step: append at a wrong place",
            Self::WrongVersion => "step: write of a wrong version",
            Self::Race(_) => "step: race",
            Self::Snapshot => "step: snapshot",
            Self::Registry => "step: registry",
            Self::Open => "step: open",
            Self::Run(_) => "step: run",
            Self::DryRun(_) => "step: dry run",
            Self::Resume => "step: resume",
            Self::Retry => "step: retry",
            Self::Rehearse(_) => "step: rehearsal",
            Self::Verify => "step: verify and redo",
            Self::Undo => "step: undo",
            Self::Erase => "step: erase",
            Self::Hold => "step: hold or release",
            Self::Idle(_) => "step: idle",
            Self::Jump(_) => "step: clock jumps",
            Self::Scan => "step: scan by a reader",
            Self::Fence => "step: fenced by another writer",
            Self::Reopen => "step: close",
            Self::FailPoint(_) => "step: fail point",
            Self::Outage(_) => "step: outage",
        }
    }
}

/// A fail point of SlateDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPoint {
    /// Before a batch is tracked for conflicts.
    PreCommit,
    /// After it, and before it can be read.
    PostCommit,
    /// Instead of writing a file of the log.
    WalWrite,
}

impl FailPoint {
    /// Its name in SlateDB.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PreCommit => "write-batch-pre-commit",
            Self::PostCommit => "write-batch-post-commit",
            Self::WalWrite => "write-wal-sst-io-error",
        }
    }
}

/// How a run is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// With which code.
    pub code: Code,
    /// How many processes a chunk holds at most.
    pub chunk: usize,
    /// Whether every stream is looked at.
    pub full: bool,
    /// Whether it gives way to others.
    pub yields: bool,
    /// Whether user code runs twice.
    pub twice: bool,
    /// The processes that the run selects.
    pub selected: Selected,
    /// The limit of processes per second.
    pub throttle: Option<u32>,
    /// The number of writers that append during the run.
    pub writers: u32,
    /// The number of appends by each of them.
    pub appends: u32,
    /// The actions of an operator during the run.
    pub operator: Operator,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// All.
    All,
    /// What is not over.
    InFlight,
    /// One tenant.
    Tenant,
    /// One workflow.
    Workflow,
    /// A share of all.
    Percent(u32),
    /// At most this number of processes.
    First(usize),
}

/// The actions of an operator while a run is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Nothing.
    Looks,
    /// Pauses the run, and unpauses it.
    Pauses,
    /// Ends it.
    Cancels,
    /// Holds processes, and releases them.
    Holds,
    /// Opens processes, which migrates them at once.
    Opens,
    /// Tries to start another run.
    RunsToo,
}

/// Draws the steps of a world.
#[must_use]
pub fn draw(seed: u64, steps: usize) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed ^ 0x5745_5053);
    (0..steps).map(|n| step(&mut rng, n)).collect()
}

fn step(rng: &mut Rng, n: usize) -> Step {
    let act = if n < 6 { Act::Append(8) } else { act(rng) };
    let rates = match rng.u32(0..10) {
        0..5 => Rates::NONE,
        5..9 => Rates::LIGHT,
        _ => Rates::HEAVY,
    };
    let crash = (rng.u32(0..100) < 22).then(|| match rng.bool() {
        true => rng.u32(1..6),
        false => rng.u32(1..40),
    });
    Step {
        seed: rng.u64(..),
        act,
        rates,
        crash,
    }
}

fn act(rng: &mut Rng) -> Act {
    match rng.u32(0..100) {
        0..10 => Act::Append(rng.u32(1..12)),
        10..13 => Act::WrongPlace,
        13..16 => Act::WrongVersion,
        16..22 => Act::Race(rng.u32(2..5)),
        22..25 => Act::Snapshot,
        25..30 => Act::Registry,
        30..34 => Act::Open,
        34..52 => Act::Run(Box::new(run(rng))),
        52..54 => Act::Rehearse(code(rng)),
        54..56 => Act::Verify,
        56..58 => Act::Undo,
        58..59 => Act::DryRun(code(rng)),
        59..60 => Act::Erase,
        60..71 => Act::Resume,
        71..74 => Act::Retry,
        74..78 => Act::Hold,
        78..81 => Act::Idle(rng.u64(1..60_000)),
        81..84 => Act::Jump(rng.i64(-4_000..120_000)),
        84..87 => Act::Scan,
        87..90 => Act::Fence,
        90..93 => Act::Reopen,
        93..97 => Act::FailPoint(match rng.u32(0..3) {
            0 => FailPoint::PreCommit,
            1 => FailPoint::PostCommit,
            _ => FailPoint::WalWrite,
        }),
        _ => Act::Outage(rng.u32(1..40)),
    }
}

fn code(rng: &mut Rng) -> Code {
    Code::ALL[rng.usize(0..Code::ALL.len())]
}

fn run(rng: &mut Rng) -> Run {
    Run {
        code: code(rng),
        chunk: [1, 2, 3, 8, 512][rng.usize(0..5)],
        full: rng.u32(0..4) == 0,
        yields: rng.u32(0..4) != 0,
        twice: rng.u32(0..6) == 0,
        selected: match rng.u32(0..10) {
            0 => Selected::InFlight,
            1 => Selected::Tenant,
            2 => Selected::Workflow,
            3 => Selected::Percent(rng.u32(1..100)),
            4 => Selected::First(rng.usize(1..12)),
            _ => Selected::All,
        },
        throttle: (rng.u32(0..4) == 0).then(|| rng.u32(1..200)),
        writers: rng.u32(0..5),
        appends: rng.u32(1..60),
        operator: match rng.u32(0..10) {
            0 => Operator::Pauses,
            1 => Operator::Cancels,
            2 => Operator::Holds,
            3 | 4 => Operator::Opens,
            5 => Operator::RunsToo,
            _ => Operator::Looks,
        },
    }
}
