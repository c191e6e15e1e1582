//! A run beside a program that goes on writing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use state_migration::{
    EventPayload, EventStore, ExpectedSequence, NewEvent, SlateDbStore, StreamId,
};

use super::Bench;
use crate::data;
use crate::family;
use crate::measure::{How, median, permille, run};

/// Case 7: somebody appends to other processes while all migrate.
pub(super) async fn live(bench: &mut Bench) {
    let (place, shape) = bench.base().await;
    let (mut idle, mut busy) = (Latencies::default(), Latencies::default());
    let (mut runs, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..bench.sizes.rounds {
        let copy = place.copy();
        let store = copy.place.open().await;
        STOP.store(false, Ordering::SeqCst);
        let appends = tokio::spawn(append_for(store.clone(), bench.sizes.idle));
        idle.add(appends.await.expect("a task"));
        let appends = tokio::spawn(append_for(store.clone(), Duration::MAX));
        let (took, report) = run(&store, family::one(), How::Run).await;
        STOP.store(true, Ordering::SeqCst);
        assert_eq!(report.migrated, shape.processes);
        let appends = appends.await.expect("a task");
        rates.push(appends.durable.len() as f64 / took.as_secs_f64());
        busy.add(appends);
        runs.push(took.as_secs_f64());
        store.close().await.expect("a close");
    }
    let figures = &mut bench.figures;
    let flush_interval = slatedb::config::Settings::default().flush_interval;
    let flush_interval = flush_interval.unwrap_or_default().as_secs_f64();
    figures.set("live.flush_interval_ms", flush_interval * 1_000.0);
    figures.set("live.appends_per_s_wanted", 1.0 / PACE.as_secs_f64());
    figures.set("live.appends_per_s_reached", median(rates));
    figures.set("live.run_s", median(runs));
    for (name, latencies) in [("idle", &mut idle), ("busy", &mut busy)] {
        figures.set(
            &format!("live.{name}_appends"),
            latencies.durable.len() as f64,
        );
        for (what, times) in [
            ("durable", &mut latencies.durable),
            ("visible", &mut latencies.visible),
        ] {
            figures.set(&format!("live.{name}_{what}_p50_ms"), permille(times, 500));
            figures.set(&format!("live.{name}_{what}_p99_ms"), permille(times, 990));
        }
    }
    let ratio = |what: &str| {
        let of = |state| figures.get(&format!("live.{state}_{what}_p99_ms"));
        of("busy").zip(of("idle")).map_or(f64::NAN, |(b, i)| b / i)
    };
    let (durable, visible) = (ratio("durable"), ratio("visible"));
    figures.set("live.durable_p99_ratio", durable);
    figures.set("live.visible_p99_ratio", visible);
}

/// In milliseconds.
#[derive(Default)]
struct Latencies {
    visible: Vec<f64>,
    durable: Vec<f64>,
}

impl Latencies {
    fn add(&mut self, other: Self) {
        self.visible.extend(other.visible);
        self.durable.extend(other.durable);
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

/// How often an append begins.
const PACE: Duration = Duration::from_millis(5);

/// Appends to processes of another workflow, one after the other.
async fn append_for(store: SlateDbStore, time: Duration) -> Latencies {
    let mut latencies = Latencies::default();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let began = Instant::now();
    while began.elapsed() < time && !STOP.load(Ordering::SeqCst) {
        pace.tick().await;
        let stream = format!("process/live/{:04}", rng.u32(0..1_000));
        let stream = StreamId::new(stream).expect("an id");
        let event = data::event(&mut rng, 2, 10);
        let payload = serde_json::to_vec(&event).expect("an event");
        let event = NewEvent::new(family::id(49, 0), event.event_type(), 1, payload);
        let began = Instant::now();
        let head = store.head(&stream).await.expect("a head");
        let expected = head.map_or(ExpectedSequence::NoStream, |head| {
            ExpectedSequence::Exact(head.sequence)
        });
        let appended = store
            .append_unflushed(&stream, expected, vec![event.expect("an event")])
            .await
            .expect("an append");
        latencies
            .visible
            .push(began.elapsed().as_secs_f64() * 1_000.0);
        appended.durable().await.expect("durable");
        latencies
            .durable
            .push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    latencies
}
