//! User code that calls `std::process::exit`.
//!
//! The program would end with the exit code that user code has chosen, such as 0, although
//! its run has not ended: a supervisor or a job would take the run for done. On systems that
//! run the destructors of the thread that exits, such as Linux, the program aborts instead.

use std::cell::RefCell;
use std::io::Write as _;

use state_migration_core::StreamId;

thread_local! {
    static IN_CODE: InCode = const { InCode(RefCell::new(None)) };
}

/// The process that the code on this thread works on.
struct InCode(RefCell<Option<StreamId>>);

impl Drop for InCode {
    fn drop(&mut self) {
        if let Some(stream) = self.0.get_mut().take() {
            let _ = writeln!(
                std::io::stderr(),
                "error: user code called `exit` while it worked on {stream}; the program aborts, since its run has not ended"
            );
            std::process::abort();
        }
    }
}

/// Ends the work on a process, also if the code panics.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(stream: Option<StreamId>) {
    // Fails only while the thread ends.
    let _ = IN_CODE.try_with(|in_code| in_code.0.replace(stream));
}

/// Runs user code on a process.
pub(crate) fn watched<T>(stream: &StreamId, work: impl FnOnce() -> T) -> T {
    set(Some(stream.clone()));
    let _end = End;
    work()
}
