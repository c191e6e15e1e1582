//! The counts of a simulation.

use std::collections::BTreeMap;

use serde::Serialize;

/// Numbers by name. Names begin with what they are of: `step: append`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Counts something.
    pub fn add(&mut self, name: &'static str, more: u64) {
        if more > 0 {
            *self.0.entry(name).or_default() += more;
        }
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        for (name, more) in &other.0 {
            self.add(name, *more);
        }
    }

    /// One number; 0 if it was never counted.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The sum of all numbers whose names begin like this.
    #[must_use]
    pub fn sum(&self, prefix: &str) -> u64 {
        self.of(prefix).map(|(_, count)| count).sum()
    }

    /// All numbers whose names begin like this, without that beginning.
    pub fn of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        self.0
            .iter()
            .filter_map(move |(name, count)| Some((name.strip_prefix(prefix)?, *count)))
    }
}
