//! The confirmation of a plan: for which plan, and for which store.
//!
//! A plan that was checked over one store says nothing about another store, even if both
//! plans are the same. The record of a run has the fingerprint of its plan only, which
//! says whether the code is the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use state_migration_core::{DurableStoreId, Fingerprint};

use crate::run::Plan;

/// Number of hexadecimal digits of the two parts.
const OF_PLAN: usize = 16;
const OF_STORE: usize = 8;

/// The fingerprint of a plan, and the start of the id of the store that the plan was made
/// for. As text: `5be1a5f3c0ffee00-1f0c9a7e`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Confirmation {
    plan: Fingerprint,
    /// `None`: the store keeps no id.
    store: Option<String>,
}

/// Why a confirmation is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unconfirmed {
    /// The confirmed plan was made for another store.
    AnotherStore(String),
    /// The plan has changed.
    AnotherPlan(String),
}

impl Plan {
    /// The confirmation of this plan for a store with this id.
    #[doc(hidden)]
    #[must_use]
    pub fn confirmation(&self, store: Option<DurableStoreId>) -> Confirmation {
        let start = |id: DurableStoreId| id.to_string().chars().take(OF_STORE).collect();
        Confirmation {
            plan: self.fingerprint,
            store: store.map(start),
        }
    }
}

impl Confirmation {
    /// Checks that what was confirmed is the plan as it is now, for this store.
    ///
    /// # Errors
    /// The reason as a sentence, without the way out.
    pub fn check(&self, now: &Self) -> Result<(), Unconfirmed> {
        let another = match (&self.store, &now.store) {
            (Some(confirmed), Some(here)) if confirmed != here => format!(
                "plan {self} was made for the store whose id starts with {confirmed}, but the id of this store starts with {here}"
            ),
            (Some(confirmed), None) => format!(
                "plan {self} was made for the store whose id starts with {confirmed}, but this store has no id"
            ),
            (None, Some(_)) => {
                format!("plan {self} does not say which store it was made for")
            }
            _ if self.plan == now.plan => return Ok(()),
            _ => {
                return Err(Unconfirmed::AnotherPlan(format!(
                    "plan {self} is out of date (now {now}), because the options or the migrations have changed"
                )));
            }
        };
        Err(Unconfirmed::AnotherStore(another))
    }
}

impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plan)?;
        match &self.store {
            Some(store) => write!(f, "-{store}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Confirmation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let (plan, store) = match text.split_once('-') {
            Some((plan, store)) => (plan, Some(store)),
            None => (text.as_str(), None),
        };
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let read = plan.parse::<Fingerprint>().ok();
        read.filter(|_| is_hex(plan, OF_PLAN) && store.is_none_or(|it| is_hex(it, OF_STORE)))
            .map(|plan| Self {
                plan,
                store: store.map(str::to_owned),
            })
            .ok_or_else(|| {
                "expected a fingerprint as printed by `plan`, such as 5be1a5f3c0ffee00-1f0c9a7e"
                    .to_owned()
            })
    }
}

impl TryFrom<String> for Confirmation {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Confirmation> for String {
    fn from(confirmation: Confirmation) -> Self {
        confirmation.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["5be1a5f3c0ffee00-1f0c9a7e", "5be1a5f3c0ffee00"] {
            let read: Confirmation = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            let upper: Confirmation = text.to_uppercase().parse().unwrap();
            assert_eq!(upper, read);
        }
        for bad in [
            "",
            "zzz",
            "5be1a5f3c0ffee0",
            "+be1a5f3c0ffee00",
            "5be1a5f3c0ffee00-",
            "5be1a5f3c0ffee00-1f0c9a7",
            "5be1a5f3c0ffee00-1f0c9a7e-",
            "5be1a5f3c0ffee00-1f0c9a7g",
        ] {
            assert!(bad.parse::<Confirmation>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_confirmation_is_of_one_plan_for_one_store() {
        let of = |text: &str| text.parse::<Confirmation>().unwrap();
        let (here, now) = ("5be1a5f3c0ffee00-1f0c9a7e", of("5be1a5f3c0ffee00-1f0c9a7e"));
        assert_eq!(of(here).check(&now), Ok(()));
        let plan = of("5be1a5f3c0ffee01-1f0c9a7e").check(&now).unwrap_err();
        assert!(matches!(plan, Unconfirmed::AnotherPlan(_)));
        for other in [
            "5be1a5f3c0ffee00-2f0c9a7e",
            "5be1a5f3c0ffee00",
            "5be1a5f3c0ffee01",
        ] {
            let store = of(other).check(&now).unwrap_err();
            assert!(matches!(store, Unconfirmed::AnotherStore(_)), "{other}");
        }
        let without = of("5be1a5f3c0ffee00");
        assert_eq!(without.check(&without), Ok(()));
        assert!(of(here).check(&without).is_err());
    }
}
