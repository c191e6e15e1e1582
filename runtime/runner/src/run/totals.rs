//! The totals of the processes that a run has migrated.

use serde::{Deserialize, Serialize};
use state_migration_core::{Decimal, Totals};

/// The totals of some processes, before and after their migration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunTotals {
    /// Of their first states.
    pub before: Totals,
    /// Of their last states.
    pub after: Totals,
}

impl RunTotals {
    /// Whether no version has totals.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.before.add(&other.before);
        self.after.add(&other.after);
    }

    /// Each name with the number before and after. `None`: no state has that number.
    pub fn by_name(&self) -> impl Iterator<Item = (&str, Option<Decimal>, Option<Decimal>)> {
        let before = self.before.iter();
        let before = before.map(|(name, number)| (name, Some(number), self.after.get(name)));
        let new = self.after.iter();
        let new = new.filter(|(name, _)| self.before.get(name).is_none());
        before.chain(new.map(|(name, number)| (name, None, Some(number))))
    }

    /// What differs, as a sentence. A number that only the new version has does not count.
    #[must_use]
    pub fn difference(&self) -> Option<String> {
        let differs = |(name, before, after): (&str, Option<Decimal>, Option<Decimal>)| {
            let before = before?;
            match after {
                Some(after) if before.is(after) => None,
                Some(after) => Some(format!("`{name}` was {before} and is {after}")),
                None => Some(format!("`{name}` was {before} and is missing")),
            }
        };
        let all: Vec<String> = self.by_name().filter_map(differs).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_differs_if_it_is_another_number_or_missing() {
        let totals = |before: Totals, after: Totals| RunTotals { before, after };
        let one = || Totals::new().with("amount", Decimal::new(150, 2));
        let same = one().with("new", 7);
        assert_eq!(totals(one(), same).difference(), None);
        assert_eq!(
            totals(one(), Totals::new().with("amount", 2)).difference(),
            Some("`amount` was 1.50 and is 2".to_owned())
        );
        assert_eq!(
            totals(one(), Totals::new()).difference(),
            Some("`amount` was 1.50 and is missing".to_owned())
        );
    }
}
