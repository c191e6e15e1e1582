//! Signals that interrupt a command.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use futures_util::future::{Either, select};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::exit_code::{Exit, Failure, Reason};

/// The name of the signal of a terminal that is closed.
pub(crate) const HANGUP: &str = "SIGHUP";

/// The usual stack size of a main thread.
const STACK: usize = 16 << 20;

/// Maximum time to print why the tool ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// Receives the signals that arrive while this exists, and disables their default
/// action.
pub(crate) struct Signals(mpsc::UnboundedReceiver<&'static str>);

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::unbounded_channel();
        listen(&sender).map_err(|error| {
            Failure::environment(
                Reason::System,
                format!("cannot listen for signals: {error}"),
            )
        })?;
        Ok(Self(receiver))
    }

    /// The name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        match self.0.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }

    /// Waits for a future, or fails with the name of the next signal.
    pub(crate) async fn or<T>(&mut self, it: impl Future<Output = T>) -> Result<T, &'static str> {
        let (it, next) = (pin!(it), pin!(self.next()));
        match select(it, next).await {
            Either::Left((it, _)) => Ok(it),
            Either::Right((name, _)) => Err(name),
        }
    }
}

/// Executes a command until it ends, or until a signal unless it handles signals
/// itself.
///
/// The command has its own thread, so that blocking output, such as a pipe without a
/// reader, does not block the tool.
pub(crate) async fn interruptible<F>(
    handles_signals: &AtomicBool,
    interrupted: &str,
    command: impl FnOnce() -> F + Send + 'static,
) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let mut signals = Signals::listen()?;
    let runtime = Handle::current();
    let (sender, mut ended) = oneshot::channel();
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        // The receiver is gone if the command was interrupted.
        let _ = sender.send(runtime.block_on(command()));
    });
    let thread = thread.map_err(|error| {
        Failure::environment(
            Reason::System,
            format!("cannot start a thread: {error}; check the resource limits of the system"),
        )
    })?;
    loop {
        match signals.or(&mut ended).await {
            Ok(Ok(ended)) => return ended,
            Ok(Err(_)) => {
                return match thread.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => Err(Failure::environment(
                        Reason::Bug,
                        "the command ended without a result; report it as a bug",
                    )),
                };
            }
            Err(_) if handles_signals.load(Ordering::SeqCst) => {}
            Err(signal) => {
                return Err(Failure::interrupted(format!("{signal}: {interrupted}")));
            }
        }
    }
}

/// Prints a final message in a time limit, since the output may block, as it may have
/// blocked the interrupted command.
pub(crate) fn say_last(say: impl FnOnce() + Send + 'static) {
    let (done, said) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        say();
        let _ = done.send(());
    });
    if thread.is_ok() {
        let _ = said.recv_timeout(PATIENCE);
    }
}

#[cfg(unix)]
fn listen(sender: &mpsc::UnboundedSender<&'static str>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut kinds = vec![
        (SignalKind::interrupt(), "SIGINT"),
        (SignalKind::terminate(), "SIGTERM"),
    ];
    if !outlives_its_terminal() {
        kinds.push((SignalKind::hangup(), HANGUP));
    }
    for (kind, name) in kinds {
        let (mut signal, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                // A terminal that is closed may send the signal more than once.
                if sender.send(name).is_err() || kind == SignalKind::hangup() {
                    break;
                }
            }
            // Later signals are consumed without effect.
            while signal.recv().await.is_some() {}
        });
    }
    Ok(())
}

/// Whether the program was started to survive its terminal, for example by `nohup`. A
/// handler for the signal would replace that setting.
#[cfg(unix)]
fn outlives_its_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
fn listen(sender: &mpsc::UnboundedSender<&'static str>) -> io::Result<()> {
    let sender = sender.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && sender.send("Ctrl-C").is_ok() {}
    });
    Ok(())
}
