//! Totals: exact numbers that the processes of a run add up to, before and after it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum number of digits after the decimal point.
const SCALE: u32 = 18;

/// Maximum absolute value of the number of one process, in its smallest unit. The sum over
/// as many processes as a store can have stays within an `i128`.
const LARGEST: u128 = 1 << 90;

/// An exact decimal number: an integer and the number of its digits after the decimal
/// point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

impl Decimal {
    /// `units` divided by 10 to the power of `scale`: 1999 with a scale of 2 is 19.99. A
    /// scale above 18 is not supported.
    #[must_use]
    pub const fn new(units: i128, scale: u32) -> Self {
        Self { units, scale }
    }

    /// The sum; `None` if it cannot be represented.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let units = |it: Self| it.units.checked_mul(10_i128.checked_pow(scale - it.scale)?);
        Some(Self {
            units: units(self)?.checked_add(units(other)?)?,
            scale,
        })
    }

    /// Whether both are the same number, whatever the scale.
    #[must_use]
    pub fn is(self, other: Self) -> bool {
        let negative = Self {
            units: other.units.wrapping_neg(),
            ..other
        };
        self.plus(negative).is_some_and(|zero| zero.units == 0)
    }

    /// Whether the sum over all processes can be represented.
    fn is_in_range(self) -> bool {
        self.scale <= SCALE && self.units.unsigned_abs() <= LARGEST
    }
}

impl From<i128> for Decimal {
    fn from(units: i128) -> Self {
        Self::new(units, 0)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        let digits = format!("{:0>1$}", self.units.unsigned_abs(), scale + 1);
        let (whole, part) = digits.split_at(digits.len() - scale);
        match scale {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{part}"),
        }
    }
}

impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a decimal number");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        let units = format!("{whole}{part}").parse().map_err(|_| bad())?;
        let scale = u32::try_from(part.len()).map_err(|_| bad())?;
        match is_number && scale <= SCALE {
            true => Ok(Self { units, scale }),
            false => Err(bad()),
        }
    }
}

// As text, since numbers in JSON are not exact.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The numbers of one state that a migration must not change in sum, by name:
/// [`Workflow::totals`](crate::Workflow::totals).
///
/// ```
/// use state_migration::{Decimal, Totals};
///
/// let totals = Totals::new()
///     .with("orders", 1)
///     .with("amount", Decimal::new(1999, 2));
/// assert_eq!(totals.get("amount").unwrap().to_string(), "19.99");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Totals(BTreeMap<String, Decimal>);

impl Totals {
    /// No totals.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a number: an integer, or a [`Decimal`].
    #[must_use]
    pub fn with(mut self, name: &str, number: impl Into<Decimal>) -> Self {
        self.0.insert(name.to_owned(), number.into());
        self
    }

    /// The number of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Decimal> {
        self.0.get(name).copied()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names and numbers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Decimal)> {
        self.0.iter().map(|(name, number)| (name.as_str(), *number))
    }

    /// The name of a number that is too large to be added up.
    #[doc(hidden)]
    #[must_use]
    pub fn too_large(&self) -> Option<&str> {
        let mut all = self.iter();
        all.find(|(_, number)| !number.is_in_range())
            .map(|(name, _)| name)
    }

    /// Adds other totals to these. Numbers that are in range add up.
    #[doc(hidden)]
    pub fn add(&mut self, other: &Self) {
        for (name, number) in &other.0 {
            match self.0.entry(name.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(*number)),
                Entry::Occupied(mut entry) => {
                    let sum = entry.get().plus(*number);
                    entry.insert(sum.unwrap_or(Decimal::new(i128::MAX, 0)));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_and_read_as_written() {
        for (units, scale, text) in [
            (1999, 2, "19.99"),
            (-5, 3, "-0.005"),
            (0, 2, "0.00"),
            (7, 0, "7"),
            (-1_000, 2, "-10.00"),
        ] {
            let number = Decimal::new(units, scale);
            assert_eq!(number.to_string(), text);
            assert_eq!(text.parse::<Decimal>().unwrap(), number);
        }
        for bad in [
            "",
            ".",
            "1.-2",
            "1.2.3",
            "x",
            "1e3",
            "0.0000000000000000001",
        ] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad}");
        }
        let sum = Decimal::new(1, 1).plus(Decimal::new(2, 1)).unwrap();
        assert!(sum.is(Decimal::new(30, 2)) && !sum.is(Decimal::new(31, 2)));
        assert_eq!(Decimal::from(i128::MAX).plus(1.into()), None);
    }

    #[test]
    fn a_number_that_cannot_be_added_up_for_all_processes_is_named() {
        let all = Totals::new().with("a", 1).with("b", i128::MAX);
        assert_eq!(all.too_large(), Some("b"));
        let all = Totals::new().with("a", Decimal::new(1, 19));
        assert_eq!(all.too_large(), Some("a"));
        assert_eq!(Totals::new().with("a", -(1_i128 << 90)).too_large(), None);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_integers(numbers in prop::collection::vec((-1_000_000_i64..1_000_000, 0_u32..4), 1..20)) {
            let mut all = Totals::new();
            let mut sum = 0_i128;
            for (units, scale) in numbers {
                all.add(&Totals::new().with("n", Decimal::new(units.into(), scale)));
                sum += i128::from(units) * 10_i128.pow(3 - scale);
            }
            prop_assert!(all.get("n").unwrap().is(Decimal::new(sum, 3)));
        }
    }
}
