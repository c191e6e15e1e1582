//! The migrations of applications in flight, one function for each step.
//!
//! The annotation is enough: the linker collects the functions, and one runner
//! migrates every application in the store through both.

use chrono::{DateTime, Utc};
use state_migration::state_migration;

use crate::loan_2011::{Loan2011, LoanState2011};
use crate::loan_2012::{Decision, Loan2012, LoanState2012, Status, Transition};
use crate::loan_2013::{Loan2013, LoanState2013, waited_seconds};
use crate::offer::{self, OfferState};
use crate::work_item::{self, OpenItem};

/// Why an application of version 2011 has no counterpart in version 2012. It
/// stays at version 2011, and the report names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The amount is not a whole number of euro.
    #[error("the amount {0:?} is not a whole number of euro")]
    Amount(String),
    /// A time is not RFC 3339.
    #[error("{field} is {value:?}, which is not a time")]
    Time {
        /// Which time.
        field: &'static str,
        /// What is there.
        value: String,
    },
    /// The status is not defined in version 2012.
    #[error("the status {0:?} is unknown")]
    Status(String),
    /// The decision is not a status that decides an application.
    #[error("{0:?} is not a status that decides an application")]
    Decision(String),
    /// Something happened to an offer that version 2012 does not know.
    #[error("the offer's step {0:?} is unknown")]
    Offer(String),
    /// An entry of the work items does not end in a transition.
    #[error("the work item {0:?} ends in none of `:SCHEDULE`, `:START` and `:COMPLETE`")]
    WorkItem(String),
}

/// Gives an application types. What cannot be read is rejected, not guessed.
///
/// # Errors
/// A field of the application cannot be read.
#[state_migration(from = Loan2011, to = Loan2012)]
pub fn loan_2011_to_2012(old: LoanState2011) -> Result<LoanState2012, Rejected> {
    let amount_requested = old
        .amount_requested
        .parse()
        .map_err(|_| Rejected::Amount(old.amount_requested.clone()))?;
    let status =
        Status::from_activity(&old.status).ok_or_else(|| Rejected::Status(old.status.clone()))?;
    let decision = if old.decision.is_empty() {
        None
    } else {
        let outcome = Status::from_activity(&old.decision)
            .and_then(Status::outcome)
            .ok_or_else(|| Rejected::Decision(old.decision.clone()))?;
        let at = time("decided_at", &old.decided_at)?;
        Some(Decision { outcome, at })
    };
    let mut offers = Vec::new();
    for step in old.offers {
        let to = OfferState::from_activity(&step).ok_or(Rejected::Offer(step))?;
        offer::advance(&mut offers, to);
    }
    if let Some(entry) = old
        .work_items
        .iter()
        .find(|entry| work_item_entry(entry).is_none())
    {
        return Err(Rejected::WorkItem(entry.clone()));
    }
    Ok(LoanState2012 {
        submitted_at: time("submitted_at", &old.submitted_at)?,
        last_activity_at: time("last_activity_at", &old.last_activity_at)?,
        application: old.application,
        amount_requested,
        status,
        decision,
        offers,
        work_items: old.work_items,
    })
}

/// Tells open work from done work and works out how long the customer waited.
#[state_migration(from = Loan2012, to = Loan2013)]
pub fn loan_2012_to_2013(old: LoanState2012) -> LoanState2013 {
    let (mut open_items, mut done_items) = (Vec::new(), Vec::new());
    for entry in old.work_items {
        match work_item_entry(&entry) {
            Some((item, transition)) => {
                work_item::advance(&mut open_items, &mut done_items, item, transition);
            }
            // Version 2012 writes no such entry. If there is one, it is work
            // that somebody should look at rather than nothing.
            None => open_items.push(OpenItem {
                item: entry,
                started: false,
            }),
        }
    }
    LoanState2013 {
        waited_seconds: waited_seconds(
            old.submitted_at,
            old.decision.as_ref(),
            old.last_activity_at,
        ),
        application: old.application,
        amount_requested: old.amount_requested,
        submitted_at: old.submitted_at,
        status: old.status,
        decision: old.decision,
        last_activity_at: old.last_activity_at,
        offers: old.offers,
        open_items,
        done_items,
    }
}

fn time(field: &'static str, value: &str) -> Result<DateTime<Utc>, Rejected> {
    DateTime::parse_from_rfc3339(value)
        .map(|at| at.to_utc())
        .map_err(|_| Rejected::Time {
            field,
            value: value.to_owned(),
        })
}

fn work_item_entry(entry: &str) -> Option<(&str, Transition)> {
    let (item, lifecycle) = entry.rsplit_once(':')?;
    Some((item, Transition::from_lifecycle(lifecycle)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loan_2012::Outcome;
    use crate::offer::Offer;

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2011-10-30T00:{minute:02}:00Z")
            .parse()
            .unwrap_or_default()
    }

    /// An approved application that was in flight when summer time ended.
    fn approved() -> LoanState2011 {
        LoanState2011 {
            application: "500001".to_owned(),
            amount_requested: "15000".to_owned(),
            submitted_at: "2011-10-30T02:10:00.000+02:00".to_owned(),
            status: "A_ACTIVATED".to_owned(),
            decision: "A_APPROVED".to_owned(),
            decided_at: "2011-10-30T01:40:00+01:00".to_owned(),
            last_activity_at: "2011-10-30T01:50:00+01:00".to_owned(),
            offers: ["O_SELECTED", "O_CREATED", "O_SENT", "O_ACCEPTED"]
                .map(str::to_owned)
                .to_vec(),
            work_items: [
                "W_Valideren aanvraag:SCHEDULE",
                "W_Valideren aanvraag:START",
                "W_Valideren aanvraag:COMPLETE",
                "W_Wijzigen contractgegevens:SCHEDULE",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }

    fn rejected(change: impl FnOnce(&mut LoanState2011)) -> Rejected {
        let mut old = approved();
        change(&mut old);
        match loan_2011_to_2012(old) {
            Err(rejected) => rejected,
            Ok(new) => Rejected::Status(format!("converted to {new:?}")),
        }
    }

    #[test]
    fn an_application_is_given_types() {
        let old = approved();
        assert_eq!(
            loan_2011_to_2012(old.clone()),
            Ok(LoanState2012 {
                application: "500001".to_owned(),
                amount_requested: 15_000,
                submitted_at: at(10),
                status: Status::Activated,
                decision: Some(Decision {
                    outcome: Outcome::Approved,
                    at: at(40),
                }),
                last_activity_at: at(50),
                offers: vec![Offer {
                    state: OfferState::Accepted,
                }],
                work_items: old.work_items,
            })
        );
    }

    #[test]
    fn an_open_application_has_no_decision() {
        let old = LoanState2011 {
            status: "A_REGISTERED".to_owned(),
            decision: String::new(),
            decided_at: String::new(),
            ..approved()
        };
        let new = loan_2011_to_2012(old).map(|new| (new.status, new.decision));
        assert_eq!(new, Ok((Status::Registered, None)));
    }

    #[test]
    fn what_cannot_be_read_is_rejected_with_what_it_is() {
        let amounts = ["", "lots", "15000.50", "-1", "18446744073709551616"];
        for amount in amounts {
            assert_eq!(
                rejected(|old| amount.clone_into(&mut old.amount_requested)),
                Rejected::Amount(amount.to_owned())
            );
        }
        for (rejected, message) in [
            (
                rejected(|old| "lots".clone_into(&mut old.amount_requested)),
                "the amount \"lots\" is not a whole number of euro",
            ),
            (
                rejected(|old| "yesterday".clone_into(&mut old.submitted_at)),
                "submitted_at is \"yesterday\", which is not a time",
            ),
            (
                rejected(|old| old.decided_at.clear()),
                "decided_at is \"\", which is not a time",
            ),
            (
                rejected(|old| old.last_activity_at.clear()),
                "last_activity_at is \"\", which is not a time",
            ),
            (
                rejected(|old| "A_LOST".clone_into(&mut old.status)),
                "the status \"A_LOST\" is unknown",
            ),
            (
                rejected(|old| "A_ACCEPTED".clone_into(&mut old.decision)),
                "\"A_ACCEPTED\" is not a status that decides an application",
            ),
            (
                rejected(|old| old.offers.push("O_LOST".to_owned())),
                "the offer's step \"O_LOST\" is unknown",
            ),
            (
                rejected(|old| old.work_items.push("W_Valideren aanvraag".to_owned())),
                "the work item \"W_Valideren aanvraag\" ends in none of `:SCHEDULE`, `:START` and `:COMPLETE`",
            ),
        ] {
            assert_eq!(rejected.to_string(), message);
        }
    }

    #[test]
    fn open_work_is_told_from_done_work() {
        let new = loan_2011_to_2012(approved()).map(loan_2012_to_2013);
        assert_eq!(
            new,
            Ok(LoanState2013 {
                application: "500001".to_owned(),
                amount_requested: 15_000,
                submitted_at: at(10),
                status: Status::Activated,
                decision: Some(Decision {
                    outcome: Outcome::Approved,
                    at: at(40),
                }),
                last_activity_at: at(50),
                offers: vec![Offer {
                    state: OfferState::Accepted,
                }],
                open_items: vec![OpenItem {
                    item: "W_Wijzigen contractgegevens".to_owned(),
                    started: false,
                }],
                done_items: vec!["W_Valideren aanvraag".to_owned()],
                waited_seconds: 30 * 60,
            })
        );
    }

    #[test]
    fn an_open_application_has_waited_until_its_last_event() {
        let old = LoanState2012 {
            submitted_at: at(10),
            last_activity_at: at(25),
            work_items: vec!["no transition".to_owned()],
            ..LoanState2012::default()
        };
        let new = loan_2012_to_2013(old);
        assert_eq!(new.waited_seconds, 15 * 60);
        assert_eq!(
            new.open_items,
            [OpenItem {
                item: "no transition".to_owned(),
                started: false,
            }]
        );
    }
}
