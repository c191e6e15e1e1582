//! Reduction of a list of failing steps to a shorter list that still fails.

use super::steps::Step;

/// Removes as many steps as possible in at most `tries` attempts: halves first, then
/// quarters, down to single steps. `fails` says whether the remaining steps fail.
pub fn shrink(
    steps: Vec<(usize, Step)>,
    tries: usize,
    mut fails: impl FnMut(&[(usize, Step)]) -> bool,
) -> Vec<(usize, Step)> {
    let (mut steps, mut left) = (steps, tries);
    let mut part = steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() && left > 0 {
            let mut without = steps.clone();
            without.drain(at..(at + part).min(steps.len()));
            left -= 1;
            if fails(&without) {
                steps = without;
                shorter = true;
            } else {
                at += part;
            }
        }
        if left == 0 || (part == 1 && !shorter) {
            return steps;
        }
        part = match shorter {
            true => part.min(steps.len().max(1)),
            false => part.div_ceil(2),
        };
    }
}
