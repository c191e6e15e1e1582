//! What is said of a run before it begins: how long it takes, and what would fail.
//!
//! User code sleeps for a known time here, so that the tests do not depend on the machine.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use state_migration::{FailureClass, MemoryStore, Selection, Subject};
use state_migration_tests::faulty::Faulty;
use state_migration_tests::scripted_workflow::{Upgrade, put, stream};
use tokio::time::{sleep, timeout};

const JOBS: u64 = 200;

async fn jobs(number: u64) -> MemoryStore {
    let store = MemoryStore::new();
    for n in 0..number {
        put(&store, n).await.unwrap();
    }
    store
}

fn sleeping(millis: u64) -> Upgrade {
    Upgrade::with(move |_| {
        std::thread::sleep(Duration::from_millis(millis));
        Ok(())
    })
}

/// The forecast of a run with the options of a runner.
macro_rules! forecast {
    ($runner:expr, $throttle:expr, $most:expr) => {{
        let plan = $runner.plan().unwrap();
        let forecast = $runner.forecast($runner.run_options(), &plan, $throttle, $most);
        forecast.await.unwrap()
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_takes_as_long_as_was_estimated() {
    // Two workers, and one in order.
    for (selection, sample) in [(Selection::all(), 64), (Selection::all().first(30), 16)] {
        let store = jobs(130).await;
        let runner = sleeping(60).runner(&store).select(selection);
        let runner = runner.yield_to_writers(false);
        let forecast = forecast!(runner, None, sample);
        let began = Instant::now();
        let report = runner.run().await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert_eq!(forecast.due, report.migrated as u64);
        let (low, high) = (forecast.estimate.low_ms, forecast.estimate.high_ms);
        let (low, high) = (low.unwrap(), high.unwrap());
        assert!(
            low <= took * 2 && took <= high * 2,
            "{low} to {high}: {took}"
        );
        assert!(
            took <= low * 2 && high <= took * 2,
            "{low} to {high}: {took}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_takes_too_long_reports_what_it_has_tried() {
    let store = jobs(JOBS).await;
    let upgrade = Upgrade::with(|job| {
        std::thread::sleep(Duration::from_millis(300));
        match job.n % 2 {
            0 => Ok(()),
            _ => Err("not this one".into()),
        }
    });
    let runner = upgrade.runner(&store);
    let began = Instant::now();
    let forecast = forecast!(runner, None, 200);
    assert!(began.elapsed() < Duration::from_secs(12));
    let sample = forecast.sample.unwrap();
    assert_eq!(sample.chosen, JOBS);
    assert!(
        (1..JOBS).contains(&sample.processes),
        "{} were tried",
        sample.processes
    );
    let [refused] = sample.failures.as_slice() else {
        panic!("{:?}", sample.failures);
    };
    assert_eq!(refused.class, FailureClass::Refused);
    assert_eq!(refused.count, sample.failed);
    assert_eq!(refused.expected, sample.failed * JOBS / sample.processes);
    assert!(
        (40..160).contains(&refused.expected),
        "{}",
        refused.expected
    );
    // No worker is faster than the code.
    let workers = 3.0 * std::thread::available_parallelism().unwrap().get() as f64;
    let least = JOBS as f64 * 300.0 / workers;
    assert!(forecast.estimate.low_ms.unwrap() as f64 >= least * 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_bounds_the_estimate_and_the_one_of_an_earlier_run_does_not() {
    let store = jobs(JOBS).await;
    let runner = Upgrade::new()
        .runner(&store)
        .select(Selection::all().first(20));
    runner.control().throttle(NonZeroU32::new(10));
    assert_eq!(runner.run().await.migrated, 20);
    let runner = runner.select(Selection::all());
    let limited = forecast!(runner, NonZeroU32::new(10), 64).estimate;
    assert_eq!(limited.low_ms, Some((JOBS - 20) * 100));
    assert_eq!(limited.high_ms, limited.low_ms);
    // Without a sample, the limit is all that is known.
    let limited = forecast!(runner, NonZeroU32::new(10), 0).estimate;
    assert_eq!(limited.low_ms, Some((JOBS - 20) * 100));
    assert_eq!(limited.high_ms, None);
    let free = forecast!(runner, None, 64).estimate;
    assert!(free.high_ms.unwrap() < (JOBS - 20) * 50, "{free:?}");
    // A limit above what the run reaches has no effect.
    let high = forecast!(runner, NonZeroU32::new(u32::MAX), 64).estimate;
    assert!(high.high_ms.unwrap() < (JOBS - 20) * 50, "{high:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_class_the_first_process_in_order_is_named() {
    let store = jobs(JOBS).await;
    let upgrade = Upgrade::with(|job| match job.n {
        17 | 90 | 150 | 199 => Err("not this one".into()),
        40 | 160 => panic!("oh"),
        _ => Ok(()),
    });
    let runner = upgrade.runner(&store);
    let forecast = forecast!(runner, None, 1_000);
    let sample = forecast.sample.unwrap();
    let failures = sample.failures.iter().map(|failures| {
        let subject = failures.subject.clone();
        (failures.class, failures.count, failures.expected, subject)
    });
    assert_eq!(
        Vec::from_iter(failures),
        [
            (FailureClass::Refused, 4, 4, Subject::Stream(stream(17))),
            (FailureClass::Panic, 2, 2, Subject::Stream(stream(40))),
        ]
    );
    assert_eq!((sample.processes, sample.failed), (JOBS, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_says_how_often_it_converts() {
    for (twice, times) in [(false, 1), (true, 2)] {
        let store = jobs(JOBS).await;
        let upgrade = Upgrade::new();
        let seen = upgrade.seen();
        let runner = upgrade.runner(&store).check_determinism(twice);
        let sample = forecast!(runner, None, 40).sample.unwrap();
        assert_eq!((sample.processes, sample.conversions), (40, times));
        assert_eq!(seen.all().len(), 40);
        assert!(seen.all().values().all(|often| *often == u64::from(times)));
        // Nothing was migrated, and nothing counts as a run.
        assert_eq!(runner.control().progress().run, None);
        assert_eq!(runner.run().await.migrated as u64, JOBS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_that_is_dropped_runs_no_more_code() {
    let store = jobs(JOBS).await;
    let upgrade = sleeping(50);
    let seen = upgrade.seen();
    let runner = upgrade.runner(&store);
    let plan = runner.plan().unwrap();
    let forecast = runner.forecast(runner.run_options(), &plan, None, 1_000);
    let left = timeout(Duration::from_millis(500), forecast).await;
    assert!(left.is_err(), "it took less time than the code");
    // The processes that are in user code are the last.
    sleep(Duration::from_millis(300)).await;
    let then = seen.total();
    assert!((1..JOBS).contains(&then), "{then}");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(seen.total(), then);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_in_separate_stores_are_counted_and_not_tried() {
    let store = jobs(JOBS).await;
    Upgrade::new()
        .runner(&store)
        .select(Selection::all().first(5))
        .run()
        .await;
    let separate = Faulty::over(store);
    let upgrade = Upgrade::new();
    let seen = upgrade.seen();
    let runner = state_migration::MigrationRunner::new(upgrade, separate.clone(), separate);
    let forecast = forecast!(runner, None, 100);
    assert_eq!(forecast.due, JOBS - 5);
    let counts = forecast.versions.versions.iter();
    let counts = counts.map(|at| (at.version.version(), at.counts.processes, at.counts.due));
    assert_eq!(
        Vec::from_iter(counts),
        [("v1", JOBS - 5, JOBS - 5), ("v2", 5, 0)]
    );
    assert_eq!(forecast.sample, None);
    assert_eq!(forecast.estimate.low_ms, None);
    assert_eq!(seen.total(), 0);
}
