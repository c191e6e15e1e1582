//! The operator's tool for parcels whose conversion does what the parcel says, also end
//! the program. With `fill FOLDER COUNT [FATE@N …]` it makes a store of parcels at v1,
//! with `serve FOLDER` it is a service that resumes the last run, or starts one, and with
//! `listen FOLDER SOCKET` it is a service that does what the control socket requests.
//!
//! `RISKY_LOG` is a file: each parcel writes a line there before it ends the program.
//! `RISKY_DEADLINE_MS` is the deadline of the service.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use state_migration::control_socket::ControlSocket;
use state_migration::{
    EventPayload, ExpectedSequence, MigrationRegistry, MigrationRunner, NewEvent, ProcessId,
    RunControl, Runs, SlateDbStore, StreamId, TenantId, Workflow, state_migration,
};

#[derive(Serialize, Deserialize)]
struct Sent {
    n: u64,
    fate: String,
}

impl EventPayload for Sent {
    fn event_type(&self) -> &'static str {
        "ParcelSent"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Parcel {
    n: u64,
    fate: String,
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Labelled {
    n: u64,
    label: String,
}

struct ParcelV1;
struct ParcelV2;

impl Workflow for ParcelV1 {
    const NAME: &'static str = "parcel";
    const VERSION: &'static str = "1";
    type State = Parcel;
    type Event = Sent;

    fn apply(_: Parcel, Sent { n, fate }: &Sent) -> Parcel {
        Parcel {
            n: *n,
            fate: fate.clone(),
        }
    }
}

impl Workflow for ParcelV2 {
    const NAME: &'static str = "parcel";
    const VERSION: &'static str = "2";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = Labelled;
    type Event = Sent;

    fn apply(state: Labelled, _: &Sent) -> Labelled {
        state
    }
}

#[state_migration(from = ParcelV1, to = ParcelV2)]
fn parcel_1_to_2(Parcel { n, fate }: Parcel) -> Labelled {
    let mut label = String::new();
    match fate.split_once(':').unwrap_or((&fate, "")) {
        ("aborts", _) => {
            log(n);
            std::process::abort();
        }
        ("late", ms) => {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
            log(n);
            std::process::abort();
        }
        ("overflows", _) => {
            log(n);
            label = deep(n).to_string();
        }
        ("exits", _) => {
            log(n);
            std::process::exit(0);
        }
        ("allocates", _) => {
            log(n);
            const TIB: usize = 1 << 40;
            // Aborts, unless the system promises memory that it does not have.
            drop(std::hint::black_box(Vec::<u8>::with_capacity(TIB)));
            if let Ok(layout) = std::alloc::Layout::array::<u8>(TIB) {
                std::alloc::handle_alloc_error(layout);
            }
        }
        ("never-returns", _) => loop {
            std::thread::park();
        },
        ("sleeps", ms) => {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
        }
        ("works", us) => {
            let (began, long) = (
                Instant::now(),
                Duration::from_micros(us.parse().unwrap_or(0)),
            );
            while began.elapsed() < long {
                std::hint::spin_loop();
            }
        }
        ("grows", bytes) => label = "x".repeat(bytes.parse().unwrap_or(0)),
        _ => {}
    }
    Labelled { n, label }
}

/// Recurses until the stack ends.
fn deep(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 64]);
    if frame[0] == u64::MAX {
        return 0;
    }
    deep(frame[1] + 1) + frame[2]
}

/// Says that a parcel is about to end the program.
fn log(n: u64) {
    let Some(path) = std::env::var_os("RISKY_LOG") else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    if let Ok(mut file) = file {
        // One write, so that no line is cut into by that of another thread.
        let _ = file.write_all(format!("{n}\n").as_bytes());
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["fill", folder, count, fates @ ..] => in_runtime(fill(folder, count, fates)),
        ["serve", folder] => in_runtime(serve(folder)),
        ["listen", folder, socket] => in_runtime(listen(folder, socket)),
        _ => return state_migration::cli::main(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(
    work: impl Future<Output = Result<(), Box<dyn Error>>>,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // Code that never returns must not block the exit.
    runtime.shutdown_background();
    done
}

/// Makes a store of parcels, of which some have the fates that are given.
async fn fill(folder: &str, count: &str, fates: &[&str]) -> Result<(), Box<dyn Error>> {
    let store = SlateDbStore::open_local(folder).await?;
    let (mut others, mut special) = ("", Vec::new());
    for fate in fates {
        match fate.split_once('@') {
            Some((fate, n)) => special.push((n.parse::<u64>()?, fate)),
            None => others = fate,
        }
    }
    let mut waiting = Vec::new();
    for n in 0..count.parse()? {
        let fate = special.iter().find(|(at, _)| *at == n);
        let fate = fate.map_or(others, |(_, fate)| fate).to_owned();
        let id = ProcessId::new(format!("{n:05}"))?;
        let stream = StreamId::for_process(&TenantId::new("post")?, &id);
        let sent = vec![NewEvent::of::<ParcelV1>(&Sent { n, fate })?];
        let appended = store.append_unflushed(&stream, ExpectedSequence::NoStream, sent);
        waiting.push(appended.await?);
    }
    for appended in waiting {
        appended.durable().await?;
    }
    store.close().await?;
    Ok(())
}

/// Runs to the end of a run, and prints its result.
async fn serve(folder: &str) -> Result<(), Box<dyn Error>> {
    let store = SlateDbStore::open_local(folder).await?;
    let mut runner =
        MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone());
    if let Ok(ms) = std::env::var("RISKY_DEADLINE_MS") {
        runner = runner.deadline(Duration::from_millis(ms.parse()?));
    }
    let teller = tokio::spawn(tell(runner.control()));
    let runs = Runs::of(&store).ok_or("the store keeps runs")?;
    let last = runs.list().await?.pop();
    let report = match last.filter(|run| !run.state.is_done()) {
        Some(run) => runner.resume(run.id).await,
        None => runner.run().await,
    };
    teller.abort();
    for error in &report.errors {
        println!("failed {} {}", error.subject, error.class);
    }
    let state = report.state.map_or_else(String::new, |it| it.to_string());
    println!("peak {}", status("VmHWM:"));
    println!("threads {}", status("Threads:"));
    println!("ended {} {} {state}", report.migrated, report.error_count);
    store.close().await?;
    Ok(())
}

/// Serves the control socket until the program ends.
async fn listen(folder: &str, socket: &str) -> Result<(), Box<dyn Error>> {
    let socket = ControlSocket::bind(socket)?;
    let store = SlateDbStore::open_local(folder).await?;
    let runner = MigrationRunner::new(MigrationRegistry::linked()?, store.clone(), store.clone());
    let _serving = socket.serve(Arc::new(runner))?;
    println!("listening");
    std::future::pending().await
}

/// A number that the system knows of this program.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Prints what is durable, and whether suspects are still tried.
async fn tell(control: RunControl) {
    let mut progress = control.watch();
    while let Some(progress) = progress.next().await {
        let what = match progress.suspects {
            0 => "durable",
            _ => "trying",
        };
        println!("{what} {}", progress.counts.migrated);
    }
}
