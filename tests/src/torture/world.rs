//! A world: one object store, the programs that live one after the other over
//! it, and the model that they are held to.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use slatedb::config::{
    CompactorOptions, GarbageCollectorDirectoryOptions, GarbageCollectorOptions, Settings,
};
use slatedb::fail_parallel::FailPointRegistry;
use state_migration::{Error, ProcessId, ProcessIdentity, SlateDbStore, TenantId};
use tokio::runtime::Builder;

use super::check;
use super::clock::{LifeClock, WorldClock};
use super::counts::Counts;
use super::faults::{Bucket, Faults, FaultyStore, Rates};
use super::life::{self, Life};
use super::model::{Kind, Model, Wrong};
use super::steps::Step;
use super::workflows::Version;
use crate::orders::id;

/// What a world went wrong by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The step after which it was found; the number of steps: at the end.
    pub step: usize,
    /// What it is.
    pub wrong: Wrong,
}

/// Does something to the store after a step that the step does not ask for, so
/// that a test can see that it is found.
pub type Defect = dyn Fn(&Step, SlateDbStore) -> BoxFuture<'static, ()> + Sync;

/// One world.
pub struct World<'d> {
    seed: u64,
    openings: Cell<u64>,
    bucket: Arc<Bucket>,
    clock: Arc<WorldClock>,
    settings: Settings,
    defect: Option<&'d Defect>,
    pub(super) model: RefCell<Model>,
    pub(super) counts: RefCell<Counts>,
    /// The number of the write at which the program dies while it opens the store.
    dies_opening: Cell<Option<u32>>,
    /// Whether the last program came so far as to open the store.
    opened: Cell<bool>,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By a simulated crash.
    Crash,
    /// The store is of no use any more and is opened again.
    Restart,
    /// The store was closed.
    Closed,
    /// All steps were taken.
    Over,
}

/// For how long nothing may happen before a step counts as one that hangs. It
/// is virtual, and goes fast while a thread of the run is at work.
const PATIENCE: Duration = Duration::from_secs(1_000 * 3_600);

/// How much of a stack a world has.
const STACK: usize = 64 << 20;

const TENANTS: [&str; 3] = ["a", "a b", "ab"];

/// `count` processes of all workflows and tenants.
pub(super) fn processes(rng: &mut Rng, count: usize) -> Vec<ProcessIdentity> {
    let lines = [
        Version::ParcelV1,
        Version::ParcelV1,
        Version::MeterV1,
        Version::NoteV1,
    ];
    (0..count)
        .map(|n| {
            let tenant: TenantId = id(TENANTS[rng.usize(0..TENANTS.len())]);
            let process: ProcessId = id(&format!("p{n:03}"));
            ProcessIdentity::new(process, tenant, lines[n % lines.len()].id())
        })
        .collect()
}

/// Settings that make files small and short-lived.
fn settings(rng: &mut Rng) -> Settings {
    let collect = |rng: &mut Rng| {
        Some(GarbageCollectorDirectoryOptions {
            interval: Some(Duration::from_secs(rng.u64(2..30))),
            min_age: Duration::from_secs(rng.u64(10..40)),
            dry_run: false,
        })
    };
    let defaults = GarbageCollectorOptions::default();
    let collector = GarbageCollectorOptions {
        manifest_options: collect(rng),
        wal_options: collect(rng),
        compacted_options: collect(rng),
        compactions_options: collect(rng),
        object_store_max_retries: Some(8),
        ..defaults
    };
    let compactor = CompactorOptions {
        poll_interval: Duration::from_millis(rng.u64(500..8_000)),
        checkpoint_lifetime: Duration::from_secs(rng.u64(1..60)),
        ..CompactorOptions::default()
    };
    let file = 1 << rng.u32(12..18);
    Settings {
        flush_interval: (rng.u32(0..4) != 0).then(|| Duration::from_millis(rng.u64(100..3_000))),
        manifest_poll_interval: Duration::from_millis(rng.u64(500..8_000)),
        l0_sst_size_bytes: file,
        max_unflushed_bytes: file * 64,
        l0_max_ssts: 16,
        l0_max_ssts_per_key: 16,
        object_store_max_retries: Some(8),
        compactor_options: Some(compactor),
        garbage_collector_options: Some(collector),
        ..Settings::default()
    }
}

impl<'d> World<'d> {
    fn new(seed: u64, defect: Option<&'d Defect>) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x0057_4f52_4c44);
        let count = rng.usize(6..30);
        let processes = processes(&mut rng, count);
        Self {
            seed,
            openings: Cell::new(0),
            bucket: Arc::default(),
            clock: WorldClock::new(),
            settings: settings(&mut rng),
            defect,
            model: RefCell::new(Model::new(processes)),
            counts: RefCell::default(),
            dies_opening: Cell::new(None),
            opened: Cell::new(false),
        }
    }

    /// Takes the steps, and compares the store with the model after each.
    ///
    /// # Errors
    /// The store is not as it must be; beside what was counted by then.
    ///
    /// # Panics
    /// What the world itself panicked with.
    pub fn run(
        seed: u64,
        steps: &[Step],
        defect: Option<&'d Defect>,
    ) -> (Counts, Result<(), Violation>) {
        // Without optimisation the futures of a run take more than threads get.
        let thread = std::thread::Builder::new().stack_size(STACK);
        std::thread::scope(|scope| {
            let world = thread.spawn_scoped(scope, || Self::run_here(seed, steps, defect));
            match world.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(ended)) => ended,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // There is no thread to be had; this one may do.
                Err(_) => Self::run_here(seed, steps, defect),
            }
        })
    }

    fn run_here(
        seed: u64,
        steps: &[Step],
        defect: Option<&'d Defect>,
    ) -> (Counts, Result<(), Violation>) {
        let world = Self::new(seed, defect);
        let mut next = 0;
        let result = loop {
            match world.life(steps, &mut next) {
                Ok(End::Over) => break Ok(()),
                Ok(End::Crash) => {
                    world.count("simulated crashes");
                    world.crashed(steps.get(next).map_or(0, |step| step.seed));
                }
                Ok(End::Closed) => world.count("closed and opened again"),
                Ok(End::Restart) => world.count("restarts after an error"),
                Err(wrong) => break Err(Violation { step: next, wrong }),
            }
        };
        let model = world.model.into_inner();
        let mut counts = world.counts.into_inner();
        if result.is_ok() {
            counts.add("events found", model.events());
        }
        match &result {
            Err(Violation { wrong, .. }) if wrong.kind == Kind::Lost => counts.add("lost", 1),
            Err(Violation { wrong, .. }) if wrong.kind == Kind::Doubled => counts.add("doubled", 1),
            _ => {}
        }
        (counts, result)
    }

    /// After some crashes the next program dies as it opens the store.
    fn crashed(&self, seed: u64) {
        let dies = self.opened.take() && seed.is_multiple_of(5);
        let writes = u32::try_from(seed / 5 % 10).unwrap_or(0) + 1;
        self.dies_opening.set(dies.then_some(writes));
    }

    pub(super) fn count(&self, what: &'static str) {
        self.counts.borrow_mut().add(what, 1);
    }

    pub(super) fn count_all(&self, what: &'static str, more: u64) {
        self.counts.borrow_mut().add(what, more);
    }

    pub(super) fn jump(&self, millis: i64) {
        self.clock.jump(millis);
    }

    /// One program, from the opening of the store to its end. Nothing of it is
    /// left when its runtime is gone.
    fn life(&self, steps: &[Step], next: &mut usize) -> Result<End, Wrong> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // Time flies while user code is at work on its own threads: let them.
            .on_thread_park(std::thread::yield_now)
            .build()
            .map_err(|error| Wrong::other(format!("no runtime: {error}")))?;
        let end = runtime.block_on(async {
            let clock = self.clock.life();
            let faults = Faults::new(clock.clone());
            let lived = async {
                tokio::select! {
                    biased;
                    () = faults.death() => Ok(End::Crash),
                    end = self.live(&clock, &faults, steps, next) => end,
                }
            };
            let end = tokio::time::timeout(PATIENCE, lived).await;
            clock.end();
            self.counts.borrow_mut().merge(&faults.take_counts());
            end.unwrap_or_else(|_| Err(Wrong::other("the step does not come to an end")))
        });
        drop(runtime);
        end
    }

    async fn live(
        &self,
        clock: &Arc<LifeClock>,
        faults: &Arc<Faults>,
        steps: &[Step],
        next: &mut usize,
    ) -> Result<End, Wrong> {
        let seed = steps.get(*next).map_or(0, |step| step.seed);
        let rates = match seed % 4 {
            0 => Rates::LIGHT,
            _ => Rates::NONE,
        };
        faults.set(seed, rates);
        faults.crash_in(self.dies_opening.take());
        let mut opened = self.open(clock, faults).await;
        faults.crash_in(None);
        faults.set(seed, Rates::NONE);
        if opened.is_err() {
            self.count("openings that failed");
            opened = self.open(clock, faults).await;
        }
        let (store, fail_points) = opened
            .map_err(|error| Wrong::other(format!("the store cannot be opened again: {error}")))?;
        let mut life = Life {
            world: self,
            clock: clock.clone(),
            faults: faults.clone(),
            store,
            fail_points,
        };
        self.opened.set(true);
        check::whole(life.held(), true).await?;
        while let Some(step) = steps.get(*next) {
            *next += 1;
            if let Some(end) = life::take(&mut life, step).await? {
                return Ok(end);
            }
            if let Some(defect) = self.defect {
                defect(step, life.store.clone()).await;
            }
        }
        life::finish(&mut life).await?;
        Ok(End::Over)
    }

    /// Opens the store as the program of a life does.
    pub(super) async fn open(
        &self,
        clock: &Arc<LifeClock>,
        faults: &Arc<Faults>,
    ) -> Result<(SlateDbStore, Arc<FailPointRegistry>), Error> {
        let fail_points = Arc::new(FailPointRegistry::new());
        let (clock, points) = (clock.clone(), fail_points.clone());
        self.openings.set(self.openings.get() + 1);
        let seed = self.seed.wrapping_add(self.openings.get());
        let store = self
            .builder(faults)
            .configure(move |builder| {
                builder
                    .with_seed(seed)
                    .with_system_clock(clock.clone())
                    .with_fp_registry(points.clone())
            })
            .open()
            .await?;
        Ok((store, fail_points))
    }

    pub(super) fn builder(&self, faults: &Arc<Faults>) -> state_migration::SlateDbStoreBuilder {
        let bucket = FaultyStore::new(self.bucket.clone(), faults.clone());
        SlateDbStore::builder("db", Arc::new(bucket)).settings(self.settings.clone())
    }
}
