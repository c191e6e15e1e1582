//! The second version of the workflow: statuses, offers, amounts and times have
//! types. Work items are still a bag of strings.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Totals, Workflow};

use crate::offer::{Offer, OfferState, advance};

/// Loan applications, version 2012.
#[derive(Debug)]
pub struct Loan2012;

/// Where an application stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A customer asked for a loan.
    #[default]
    Submitted,
    /// The first, automatic check is done.
    PartlySubmitted,
    /// It passed the first check.
    Preaccepted,
    /// It is complete and was accepted for an offer.
    Accepted,
    /// The terms are final.
    Finalized,
    /// The loan is in the books.
    Registered,
    /// The bank said yes.
    Approved,
    /// The loan runs.
    Activated,
    /// The bank said no.
    Declined,
    /// The customer does not want the loan any more, or did not answer.
    Cancelled,
}

impl Status {
    /// The status that version 2011 writes as `A_SUBMITTED`, `A_ACCEPTED`, …
    #[must_use]
    pub fn from_activity(activity: &str) -> Option<Self> {
        Some(match activity {
            "A_SUBMITTED" => Self::Submitted,
            "A_PARTLYSUBMITTED" => Self::PartlySubmitted,
            "A_PREACCEPTED" => Self::Preaccepted,
            "A_ACCEPTED" => Self::Accepted,
            "A_FINALIZED" => Self::Finalized,
            "A_REGISTERED" => Self::Registered,
            "A_APPROVED" => Self::Approved,
            "A_ACTIVATED" => Self::Activated,
            "A_DECLINED" => Self::Declined,
            "A_CANCELLED" => Self::Cancelled,
            _ => return None,
        })
    }

    /// The outcome that this status brings about, if it decides an application.
    #[must_use]
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Approved => Some(Outcome::Approved),
            Self::Declined => Some(Outcome::Declined),
            Self::Cancelled => Some(Outcome::Cancelled),
            _ => None,
        }
    }
}

/// How an application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The bank lends the money.
    Approved,
    /// The bank does not.
    Declined,
    /// The customer does not want it any more, or did not answer.
    Cancelled,
}

/// How and when an application was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: DateTime<Utc>,
}

/// A step in the life of a work item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// It is put on somebody's list.
    Schedule,
    /// Somebody takes it up.
    Start,
    /// They lay it down.
    Complete,
}

impl Transition {
    /// The transition that the bank's systems call `SCHEDULE`, `START` or `COMPLETE`.
    #[must_use]
    pub fn from_lifecycle(lifecycle: &str) -> Option<Self> {
        match lifecycle {
            "SCHEDULE" => Some(Self::Schedule),
            "START" => Some(Self::Start),
            "COMPLETE" => Some(Self::Complete),
            _ => None,
        }
    }

    /// What the bank's systems call it.
    #[must_use]
    pub fn lifecycle(self) -> &'static str {
        match self {
            Self::Schedule => "SCHEDULE",
            Self::Start => "START",
            Self::Complete => "COMPLETE",
        }
    }
}

/// An application, version 2012.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoanState2012 {
    /// The number of the application.
    pub application: String,
    /// The amount asked for, in whole euro.
    pub amount_requested: u64,
    /// When the application was made; the start of 1970 before that.
    pub submitted_at: DateTime<Utc>,
    /// The latest status.
    pub status: Status,
    /// How it was decided; nothing while it is open.
    pub decision: Option<Decision>,
    /// When something last happened; the start of 1970 before that.
    pub last_activity_at: DateTime<Utc>,
    /// The offers, in the order in which they were begun.
    pub offers: Vec<Offer>,
    /// What happened to the work items, in order: `W_Valideren aanvraag:START`.
    pub work_items: Vec<String>,
}

/// What happens to an application, version 2012.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoanEvent2012 {
    /// A customer asks for a loan.
    ApplicationSubmitted {
        /// The number of the application.
        application: String,
        /// The amount asked for, in whole euro.
        amount_requested: u64,
        /// When the application was made.
        submitted_at: DateTime<Utc>,
        /// When the bank had it.
        at: DateTime<Utc>,
    },
    /// The application reaches a status.
    ApplicationStatusChanged {
        /// Which.
        status: Status,
        /// When.
        at: DateTime<Utc>,
    },
    /// An offer reaches a state.
    OfferChanged {
        /// Which.
        to: OfferState,
        /// When.
        at: DateTime<Utc>,
    },
    /// Something happens to a work item.
    WorkItemChanged {
        /// The work item: `W_Valideren aanvraag`.
        item: String,
        /// What.
        transition: Transition,
        /// When.
        at: DateTime<Utc>,
    },
}

impl EventPayload for LoanEvent2012 {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ApplicationSubmitted { .. } => "ApplicationSubmitted",
            Self::ApplicationStatusChanged { .. } => "ApplicationStatusChanged",
            Self::OfferChanged { .. } => "OfferChanged",
            Self::WorkItemChanged { .. } => "WorkItemChanged",
        }
    }
}

impl Workflow for Loan2012 {
    const NAME: &'static str = "loan";
    const VERSION: &'static str = "2012";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = LoanState2012;
    type Event = LoanEvent2012;

    fn apply(mut state: LoanState2012, event: &LoanEvent2012) -> LoanState2012 {
        state.last_activity_at = match event {
            LoanEvent2012::ApplicationSubmitted {
                application,
                amount_requested,
                submitted_at,
                at,
            } => {
                state.application.clone_from(application);
                state.amount_requested = *amount_requested;
                state.submitted_at = *submitted_at;
                state.status = Status::Submitted;
                *at
            }
            LoanEvent2012::ApplicationStatusChanged { status, at } => {
                state.status = *status;
                state.decision = decide(state.decision, *status, *at);
                *at
            }
            LoanEvent2012::OfferChanged { to, at } => {
                advance(&mut state.offers, *to);
                *at
            }
            LoanEvent2012::WorkItemChanged {
                item,
                transition,
                at,
            } => {
                state
                    .work_items
                    .push(format!("{item}:{}", transition.lifecycle()));
                *at
            }
        };
        state
    }

    fn totals(state: &LoanState2012) -> Totals {
        Totals::new().with("amount_requested", i128::from(state.amount_requested))
    }
}

/// The decision after an application reached `status`: the first one stands.
pub(crate) fn decide(
    decision: Option<Decision>,
    status: Status,
    at: DateTime<Utc>,
) -> Option<Decision> {
    decision.or_else(|| status.outcome().map(|outcome| Decision { outcome, at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_317_400_000 + seconds, 0).unwrap_or_default()
    }

    fn status(status: Status, seconds: i64) -> LoanEvent2012 {
        LoanEvent2012::ApplicationStatusChanged {
            status,
            at: at(seconds),
        }
    }

    fn fold(events: &[LoanEvent2012]) -> LoanState2012 {
        events
            .iter()
            .fold(LoanState2012::default(), Loan2012::apply)
    }

    #[test]
    fn an_application_goes_from_submission_to_its_decision() {
        let state = fold(&[
            LoanEvent2012::ApplicationSubmitted {
                application: "500001".to_owned(),
                amount_requested: 15_000,
                submitted_at: at(0),
                at: at(1),
            },
            status(Status::Accepted, 60),
            LoanEvent2012::OfferChanged {
                to: OfferState::Selected,
                at: at(61),
            },
            LoanEvent2012::OfferChanged {
                to: OfferState::Created,
                at: at(62),
            },
            LoanEvent2012::WorkItemChanged {
                item: "W_Nabellen offertes".to_owned(),
                transition: Transition::Schedule,
                at: at(63),
            },
            status(Status::Cancelled, 90),
        ]);
        assert_eq!(
            state,
            LoanState2012 {
                application: "500001".to_owned(),
                amount_requested: 15_000,
                submitted_at: at(0),
                status: Status::Cancelled,
                decision: Some(Decision {
                    outcome: Outcome::Cancelled,
                    at: at(90),
                }),
                last_activity_at: at(90),
                offers: vec![Offer {
                    state: OfferState::Created,
                }],
                work_items: vec!["W_Nabellen offertes:SCHEDULE".to_owned()],
            }
        );
    }

    #[test]
    fn the_first_decision_stands() {
        let state = fold(&[
            status(Status::Registered, 1),
            status(Status::Approved, 2),
            status(Status::Activated, 3),
            status(Status::Declined, 4),
        ]);
        assert_eq!(state.status, Status::Declined);
        assert_eq!(
            state.decision,
            Some(Decision {
                outcome: Outcome::Approved,
                at: at(2),
            })
        );
        assert_eq!(fold(&[status(Status::Registered, 1)]).decision, None);
    }
}
