//! The status that a service reports, and the effect of requests on its run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use state_migration::control_socket::ControlSocket;
use state_migration::{MemoryStore, RunCounts, RunId, RunState, Runs};
use state_migration_tests::scripted_workflow::{Store, Upgrade, at_v2, put, put_at};
use state_migration_tests::stores::OnDisk;
use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::client::{Client, ask, service, slow, until, until_migrated};

async fn status(path: &std::path::Path) -> Value {
    ask(path, json!({"request": "status"})).await
}

async fn counts(store: &impl Store, run: &Value) -> RunCounts {
    let run: RunId = serde_json::from_value(run.clone()).unwrap();
    Runs::of(store).unwrap().counts(run).await.unwrap()
}

/// A dry run is told from a run wherever one is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_said_to_be_one() {
    let service = service(MemoryStore::new(), 200, slow()).await;
    let mut driver = Client::new(&service.path).await;
    driver.ask(json!({"request": "run", "dry_run": true})).await;
    let in_progress = until("it has begun", async || {
        let status = status(&service.path).await;
        status["progress"]["run"].is_string().then_some(status)
    })
    .await;
    assert_eq!(in_progress["progress"]["dry_run"], true, "{in_progress}");
    let second = ask(&service.path, json!({"request": "run"})).await;
    assert_eq!(
        (&second["kind"], &second["run"]),
        (&json!("in_progress"), &Value::Null)
    );
    let message = second["message"].as_str().unwrap();
    assert!(message.starts_with("a dry run is in progress"), "{message}");
    ask(&service.path, json!({"request": "cancel"})).await;
    let ended = driver.end().await;
    assert_eq!(ended["progress"]["dry_run"], true);

    driver.ask(json!({"request": "run"})).await;
    until("the status shows the run", async || {
        let status = status(&service.path).await;
        let progress = &status["progress"];
        (progress["run"].is_string() && progress["dry_run"] == false).then_some(())
    })
    .await;
    let cancelled = ask(&service.path, json!({"request": "cancel"})).await;
    assert_eq!(cancelled["answer"], "status");
}

/// Others write all the time, so that workers take turns: one of them has the
/// turn when the run is paused, and others have chunks that are not told yet.
async fn paused_counts_are_durable(store: impl Store) {
    const JOBS: u64 = 400;
    let upgrade = Upgrade::with(|_| {
        std::thread::sleep(Duration::from_millis(8));
        Ok(())
    });
    let service = service(store, JOBS, upgrade).await;
    let (path, store) = (service.path.clone(), service.store.clone());
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in JOBS.. {
                put_at(&store, n, "v2", "").await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut driver = Client::new(&path).await;
    driver.ask(json!({"request": "run"})).await;
    let mut before = 0;
    for _ in 0..5 {
        until_migrated(&service, before + 3).await;
        ask(&path, json!({"request": "pause"})).await;
        let paused = until("it is paused", async || {
            let status = status(&path).await;
            (status["progress"]["state"] == "paused").then_some(status)
        })
        .await;
        // From the first moment on, what is said is what is there.
        let said = paused["progress"]["counts"]["migrated"].as_u64().unwrap();
        let kept = counts(&store, &paused["progress"]["run"]).await;
        let moved = at_v2(&store, 0..JOBS).await.unwrap().len() as u64;
        assert_eq!((said, kept.migrated), (moved, moved));
        sleep(Duration::from_millis(200)).await;
        let later = status(&path).await;
        assert_eq!(later["progress"], paused["progress"]);
        assert_eq!(at_v2(&store, 0..JOBS).await.unwrap().len() as u64, moved);
        assert!(moved < JOBS, "it was over too soon");
        before = moved;
        ask(&path, json!({"request": "unpause"})).await;
    }
    ask(&path, json!({"request": "cancel"})).await;
    assert_eq!(driver.end().await["report"]["state"], "cancelled");
    writer.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_paused_run_counts_is_what_is_durable_in_memory() {
    paused_counts_are_durable(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_paused_run_counts_is_what_is_durable_on_disk() {
    let disk = OnDisk::new().await.unwrap();
    paused_counts_are_durable((*disk).clone()).await;
}

/// A throttle that is set in the middle of a run holds from then on, as the
/// status says.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_that_is_set_after_the_run_began_holds() {
    const JOBS: u64 = 600;
    let service = service(MemoryStore::new(), JOBS, slow()).await;
    let path = service.path.clone();
    let mut driver = Client::new(&path).await;
    driver.ask(json!({"request": "run"})).await;
    until_migrated(&service, 4).await;
    let told = ask(&path, json!({"request": "throttle", "per_second": 20})).await;
    assert_eq!(told["per_second"], 20);
    let (began, run) = (Instant::now(), told["progress"]["run"].clone());
    let before = counts(&service.store, &run).await.migrated;
    // Each of the workers may have had four chunks of two processes in progress.
    let in_progress = 16 * 4 * 2;
    let more = in_progress + 60;
    until_migrated(&service, before + more).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "{more} more in {took:?}");
    assert_eq!(status(&path).await["per_second"], 20);
    // After another throttle, no worker continues at the old rate or without a limit.
    ask(&path, json!({"request": "throttle", "per_second": 1})).await;
    let (began, before) = (Instant::now(), service.control.progress().counts.migrated);
    sleep(Duration::from_secs(2)).await;
    let now = service.control.progress().counts.migrated;
    let most = 4 + began.elapsed().as_secs();
    assert!(
        now - before <= most,
        "{} more, {most} at most",
        now - before
    );
    assert_eq!(status(&path).await["per_second"], 1);
    ask(&path, json!({"request": "throttle", "per_second": null})).await;
    assert_eq!(driver.end().await["report"]["migrated"], JOBS);
    // One that is said with a run holds from its first process on.
    for n in JOBS..JOBS + 40 {
        put(&service.store, n).await.unwrap();
    }
    driver
        .ask(json!({"request": "run", "per_second": 10}))
        .await;
    let began = Instant::now();
    until("it is another run", async || {
        let progress = driver.answer().await["progress"].clone();
        let is_another = progress["run"].is_string() && progress["run"] != run;
        is_another.then_some(())
    })
    .await;
    until_migrated(&service, 11).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert_eq!(status(&path).await["per_second"], 10);
    ask(&path, json!({"request": "cancel"})).await;
    driver.end().await;
}

/// The limit of a run protects the service during that run only. The test fails if `end`
/// of a run leaves its limit, and without `throttle_again`.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_a_run_ends_with_it_and_a_resumed_run_has_its_own() {
    const JOBS: u64 = 2_000;
    let service = service(MemoryStore::new(), JOBS, slow()).await;
    let path = service.path.clone();
    let mut driver = Client::new(&path).await;
    // Begins a run, and cancels it after a few processes. Returns it, with its limit.
    let mut cancelled = async |request: Value| {
        let before = service.control.progress().counts.migrated;
        driver.ask(request).await;
        until("it migrates", async || {
            let progress = service.control.progress();
            let moves = progress.run.is_some() && progress.counts.migrated != before;
            (moves && progress.counts.migrated > 0).then_some(())
        })
        .await;
        let limit = status(&path).await["per_second"].clone();
        ask(&path, json!({"request": "cancel"})).await;
        let ended = driver.end().await;
        assert_eq!(ended["report"]["state"], "cancelled", "{ended}");
        (ended["report"]["run"].clone(), limit)
    };
    let (limited, limit) = cancelled(json!({"request": "run", "per_second": 20})).await;
    assert_eq!(limit, 20);
    assert_eq!(status(&path).await["per_second"], Value::Null);
    let (_, limit) = cancelled(json!({"request": "run"})).await;
    assert_eq!(limit, Value::Null, "the limit is that of another run");
    let resume = json!({"request": "resume", "run": limited});
    let (again, limit) = cancelled(resume.clone()).await;
    assert_eq!((&again, limit), (&limited, json!(20)));
    assert_eq!(status(&path).await["per_second"], Value::Null);
    // The lower limit of the run and of the service.
    ask(&path, json!({"request": "throttle", "per_second": 900})).await;
    let (_, limit) = cancelled(json!({"request": "run"})).await;
    assert_eq!(limit, 900, "the limit of the service is for all runs");
    let (_, limit) = cancelled(resume).await;
    assert_eq!(limit, 20);
    assert_eq!(status(&path).await["per_second"], 900);
    let other = json!({"request": "resume", "run": limited, "per_second": 30});
    let (_, limit) = cancelled(other).await;
    assert_eq!(limit, 30, "another limit was requested");
}

/// As many as want to may connect and say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_ask_for_nothing_make_place_for_one_that_cancels() {
    let service = service(MemoryStore::new(), 400, slow()).await;
    let mut driver = Client::new(&service.path).await;
    driver.ask(json!({"request": "run"})).await;
    until_migrated(&service, 4).await;
    let mut idle = Vec::new();
    for n in 0..40 {
        let mut client = Client(tokio::io::BufReader::new(
            UnixStream::connect(&service.path).await.unwrap(),
        ));
        if n % 2 == 0 {
            // An incomplete request.
            client.send(b"{\"version\":2,").await;
        }
        idle.push(client);
    }
    let cancelled = ask(&service.path, json!({"request": "cancel"})).await;
    assert_eq!(cancelled["answer"], "status", "{cancelled}");
    assert_eq!(driver.end().await["report"]["state"], "cancelled");
    // Those who came first were told why they had to go.
    for first in &mut idle[..9] {
        let told = first.answer().await;
        assert_eq!(told["kind"], "too_many");
        assert!(told["message"].as_str().unwrap().ends_with("connect again"));
        assert_eq!(first.hear().await, None);
    }
    // The last one is there still, and so is one that had asked for something.
    let last = idle.last_mut().unwrap();
    last.ask(json!({"request": "status"})).await;
    assert_eq!(last.answer().await["answer"], "status");
}

/// What an earlier program of the service left behind: here a run that was
/// dropped in its middle, which leaves the same in the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_interrupted_is_resumed_or_taken_over_from() {
    const JOBS: u64 = 60;
    let disk = OnDisk::new().await.unwrap();
    let store = (*disk).clone();
    for n in 0..JOBS {
        put(&store, n).await.unwrap();
    }
    let interrupt = async || {
        let runner = Upgrade::with(|_| {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        });
        let runner = runner.runner(&store).chunk_processes(1);
        let control = runner.control();
        let before = control.progress().counts.migrated;
        let run = tokio::spawn(async move { runner.run().await });
        until("it is in its middle", async || {
            (control.progress().counts.migrated > before).then_some(())
        })
        .await;
        run.abort();
        assert!(run.await.unwrap_err().is_cancelled());
        control.progress().run.unwrap().to_string()
    };
    let first = interrupt().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let serving = ControlSocket::bind(&path).unwrap();
    let runner = Arc::new(Upgrade::new().runner(&store));
    let serving = serving.serve(runner.clone()).unwrap();
    let mut client = Client::new(&path).await;

    let end = async |client: &mut Client| {
        client.ask(json!({"request": "runs", "limit": 0})).await;
        let mut told = Vec::new();
        loop {
            let answer = client.answer().await;
            match answer["answer"].as_str() {
                Some("run") => told.push(answer["record"]["id"].clone()),
                _ => return (told, answer),
            }
        }
    };
    let (told, last) = end(&mut client).await;
    assert_eq!(
        told,
        [json!(first)],
        "the run that claims the store is listed"
    );
    assert_eq!(
        (&last["claimed_by"], &last["interrupted"]),
        (&json!(first), &json!(first))
    );
    client.ask(json!({"request": "run"})).await;
    let refused = client.end().await;
    assert_eq!(
        (&refused["kind"], &refused["run"]),
        (&json!("interrupted"), &json!(first))
    );
    // A dry run is allowed.
    client.ask(json!({"request": "run", "dry_run": true})).await;
    assert_eq!(client.end().await["answer"], "ended");
    let runs = Runs::of(&store).unwrap();
    assert_eq!(
        runs.list().await.unwrap().len(),
        1,
        "a refused request starts no run"
    );

    client
        .ask(json!({"request": "run", "take_over": true}))
        .await;
    let ended = client.end().await;
    assert_eq!(ended["report"]["state"], "done", "{ended}");
    let all = runs.list().await.unwrap();
    assert_eq!(all[1].took_over.unwrap().to_string(), first);
    assert_eq!(
        all[0].state,
        RunState::Running,
        "the end of the run was not recorded"
    );
    let (_, last) = end(&mut client).await;
    assert_eq!(
        (&last["claimed_by"], &last["interrupted"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(at_v2(&store, 0..JOBS).await.unwrap().len() as u64, JOBS);

    // Only the run that claims the store can be resumed without taking over.
    for n in JOBS..2 * JOBS {
        put(&store, n).await.unwrap();
    }
    let second = interrupt().await;
    client
        .ask(json!({"request": "resume", "run": first, "force": true}))
        .await;
    assert_eq!(client.end().await["kind"], "interrupted");
    client
        .ask(json!({"request": "resume", "run": second, "force": true}))
        .await;
    let ended = client.end().await;
    assert_eq!(
        (&ended["report"]["state"], &ended["report"]["migrated"]),
        (&json!("done"), &json!(JOBS))
    );
    serving.close().await;
}
