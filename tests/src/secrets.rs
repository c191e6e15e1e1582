//! A word that stands in states, events and snapshots only.

/// No part of it is in the name of anything.
pub const SECRET: &str = "Xq7-wallflower";

/// Fails where the word stands in what was said.
///
/// # Panics
/// The word is there.
#[track_caller]
pub fn is_silent(what: &str, said: &str) {
    let told = said.find("wallflower").map(|at| {
        let mut before = (0..=at.saturating_sub(200)).rev();
        let from = before.find(|at| said.is_char_boundary(*at));
        said[from.unwrap_or(0)..]
            .chars()
            .take(400)
            .collect::<String>()
    });
    assert_eq!(told, None, "{what} tells what is in a state");
}
