//! Checks of the data: its size, and its equality with rows written by the store
//! itself.

use fastrand::Rng;
use state_migration::{
    CorrelationId, EventPayload, ExpectedSequence, NewEvent, ProcessId, ProcessIdentity,
    ProcessRegistry, RegistryKey, StreamId, TenantId,
};

use crate::data::{self, SEED, Shape, event, processes, write_all};
use crate::location::Place;

/// Checks that events and states have the documented size.
fn check_sizes() {
    const EVENTS: usize = 1_000;
    let mut rng = Rng::with_seed(SEED);
    let events = (0..EVENTS).map(|number| {
        let event = event(&mut rng, number as u64 % 10 + 1, 10);
        serde_json::to_vec(&event).expect("an event").len()
    });
    let event = events.sum::<usize>() / EVENTS;
    let state = data::state_bytes(10);
    assert!((270..330).contains(&event), "{event} bytes for an event");
    assert!((540.0..660.0).contains(&state), "{state} bytes for a state");
}

/// Checks that the generated rows equal those of the store, except for ids and times of
/// events.
pub async fn check() {
    check_sizes();
    let shape = Shape {
        is_at: |number| (number % 3, 0),
        ..Shape::new(7)
    };
    let raw = Place::memory().open().await;
    write_all(raw.db(), &shape).await;
    let own = Place::memory().open().await;
    let mut rng = Rng::with_seed(SEED + 1);
    let all = processes(&shape);
    for sequence in 1..=shape.events {
        for made in &all {
            let stream = StreamId::new(&made.stream).expect("an id");
            let event = event(&mut rng, sequence, shape.events);
            rng.u128(..);
            let payload = serde_json::to_vec(&event).expect("an event");
            let event = NewEvent::new(made.at.clone(), event.event_type(), 1, payload);
            let expected = match sequence {
                1 => ExpectedSequence::NoStream,
                _ => ExpectedSequence::Exact(sequence - 1),
            };
            let event = event.expect("an event");
            let appended = own.append_unflushed(&stream, expected, vec![event]).await;
            let _ = appended.expect("an append").value();
            if sequence == 1 {
                let tenant = TenantId::new(&made.tenant).expect("an id");
                let process = ProcessId::new(&made.process).expect("an id");
                let identity =
                    ProcessIdentity::new(process.clone(), tenant.clone(), made.at.clone());
                let reply = format!("order-{}", made.process);
                let reply = CorrelationId::new(reply).expect("an id");
                for key in [
                    RegistryKey::from_process(process.clone()),
                    RegistryKey::Correlation(reply),
                ] {
                    let registered = own.register(&tenant, &key, &identity).await;
                    registered.expect("an entry");
                }
            }
        }
    }
    own.flush().await.expect("a flush");
    let (raw, own) = (rows(raw.db()).await, rows(own.db()).await);
    assert_eq!(raw.len(), own.len(), "as many rows as the store writes");
    for ((key, ours), (other_key, stores)) in raw.iter().zip(&own) {
        assert_eq!(key, other_key, "the keys that the store writes");
        // Each store has an id of its own.
        if key.starts_with(b"mid") {
            continue;
        }
        let from = if key[0] == b'e' { 2 + 16 + 8 } else { 0 };
        assert_eq!(ours[from..], stores[from..], "{}", key.escape_ascii());
    }
}

async fn rows(db: &slatedb::Db) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let mut scan = db.scan::<std::ops::RangeFull>(..).await.expect("a scan");
    let mut rows = Vec::new();
    while let Some(row) = scan.next().await.expect("a row") {
        rows.push((row.key, row.value));
    }
    rows
}
