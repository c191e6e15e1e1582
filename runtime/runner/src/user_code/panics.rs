//! Panics of user code: how they are caught, and how their messages are redacted.

use state_migration_core::FailureClass;

/// Appended to each failure of user code in the report.
pub(crate) const WAY_OUT: &str = "; correct the code or the data and retry";

/// A value of user code, whose `drop` may panic.
///
/// Such a panic is ignored, since the process has already failed or is done.
pub(crate) struct DropGuarded<T>(Option<T>);

impl<T> DropGuarded<T> {
    pub(crate) fn new(value: impl Into<Option<T>>) -> Self {
        Self(value.into())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    pub(crate) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for DropGuarded<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        // A panic in `drop` is ignored.
        let _ = catch(|| drop(value));
    }
}

/// A failure of user code.
pub(crate) struct UserCodeFailure {
    pub(crate) class: FailureClass,
    pub(crate) message: String,
}

/// Runs user code and turns a panic into a failure.
pub(crate) fn catch<T>(user_code: impl FnOnce() -> T) -> Result<T, UserCodeFailure> {
    // The state that the code worked on is dropped with the failed process, so that no
    // half-finished value is read again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(user_code)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        // Dropping the panic payload runs user code too.
        if let Err(again) =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(panic)))
        {
            std::mem::forget(again);
        }
        UserCodeFailure {
            class: FailureClass::Panic,
            message: match text {
                Some(text) => format!("user code panicked: {}", short(without_values(text))),
                None => "user code panicked".to_owned(),
            },
        }
    })
}

/// Removes the values that the standard library puts into the text of a panic.
///
/// These are the operands of an assertion, the error in an `unwrap`, and the text that
/// is sliced. The rest is text of the user.
fn without_values(mut text: String) -> String {
    let starts = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
    let end = if starts(&["assertion `left "]) {
        text.find("\n  left: ")
    } else if starts(&["called `Result::unwrap"]) {
        text.find("` value: ").map(|at| at + "` value".len())
    } else if starts(&[
        "byte index ",
        "start byte index ",
        "end byte index ",
        "begin <= end (",
        "begin > end (",
    ]) {
        text.find(['`', '\''])
    } else {
        None
    };
    if let Some(end) = end {
        text.truncate(end);
        text.truncate(text.trim_end().len());
    }
    text
}

/// Maximum bytes of a text of user code in a report or a row.
const LONGEST: usize = 2_000;

/// Truncates a text of user code.
pub(crate) fn short(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
