//! Panics of user code, caught, and what its texts may say.

use state_migration_core::FailureClass;

/// What follows a failure of user code in the report.
pub(crate) const WAY_OUT: &str = "; correct the code or the data and run again";

/// Something of user code's, which may panic even when it is dropped: that is
/// caught, since the process that it belongs to has failed already, or is done.
pub(crate) struct Shielded<T>(Option<T>);

impl<T> Shielded<T> {
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

impl<T> Drop for Shielded<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        // Nothing is left to tell anybody.
        let _ = catch(|| drop(value));
    }
}

/// What user code did wrong.
pub(crate) struct Bad {
    pub(crate) class: FailureClass,
    pub(crate) message: String,
}

/// Runs user code; a panic becomes a message.
pub(crate) fn catch<T>(user_code: impl FnOnce() -> T) -> Result<T, Bad> {
    // The state that the code worked on is dropped with the failed process, so
    // nothing that a panic left half-done is looked at again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(user_code)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        // What was panicked with is user code too, when it is dropped.
        if let Err(again) =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(panic)))
        {
            std::mem::forget(again);
        }
        Bad {
            class: FailureClass::Panic,
            message: match text {
                Some(text) => format!("it panicked: {}", short(without_values(text))),
                None => "it panicked".to_owned(),
            },
        }
    })
}

/// The text of a panic without the values that the standard library puts into
/// it: those that an assertion compares, the error behind an `unwrap`, the text
/// that an index cuts. The rest is in words of the user's.
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

/// How long a text of user code may be in a report and in a row.
const LONGEST: usize = 2_000;

/// A text of user code, cut where it is too long.
pub(crate) fn short(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
