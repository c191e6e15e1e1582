//! The third version of the workflow: work items are open or done, and an
//! application knows how long its customer waited.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Totals, Workflow};

use crate::loan_2012::{Decision, Status, Transition, decide};
use crate::offer::{self, Offer, OfferState};
use crate::work_item::{self, OpenItem};

/// Loan applications, version 2013.
#[derive(Debug)]
pub struct Loan2013;

/// An application, version 2013.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoanState2013 {
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
    /// The work items that are still to be done.
    pub open_items: Vec<OpenItem>,
    /// The work items that are done, in the order in which they were.
    pub done_items: Vec<String>,
    /// Seconds from submission to the decision, or to the last event while the
    /// application is open.
    pub waited_seconds: u64,
}

/// What happens to an application, version 2013.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoanEvent2013 {
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
    /// A work item is put on somebody's list.
    WorkItemScheduled {
        /// The work item: `W_Valideren aanvraag`.
        item: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// Somebody takes a work item up.
    WorkItemStarted {
        /// The work item.
        item: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// They lay it down.
    WorkItemCompleted {
        /// The work item.
        item: String,
        /// When.
        at: DateTime<Utc>,
    },
}

impl EventPayload for LoanEvent2013 {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ApplicationSubmitted { .. } => "ApplicationSubmitted",
            Self::ApplicationStatusChanged { .. } => "ApplicationStatusChanged",
            Self::OfferChanged { .. } => "OfferChanged",
            Self::WorkItemScheduled { .. } => "WorkItemScheduled",
            Self::WorkItemStarted { .. } => "WorkItemStarted",
            Self::WorkItemCompleted { .. } => "WorkItemCompleted",
        }
    }
}

impl Workflow for Loan2013 {
    const NAME: &'static str = "loan";
    const VERSION: &'static str = "2013";
    const STATE_SCHEMA_VERSION: u32 = 3;
    type State = LoanState2013;
    type Event = LoanEvent2013;

    fn apply(mut state: LoanState2013, event: &LoanEvent2013) -> LoanState2013 {
        state.last_activity_at = match event {
            LoanEvent2013::ApplicationSubmitted {
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
            LoanEvent2013::ApplicationStatusChanged { status, at } => {
                state.status = *status;
                state.decision = decide(state.decision, *status, *at);
                *at
            }
            LoanEvent2013::OfferChanged { to, at } => {
                offer::advance(&mut state.offers, *to);
                *at
            }
            LoanEvent2013::WorkItemScheduled { item, at } => {
                state.move_item(item, Transition::Schedule);
                *at
            }
            LoanEvent2013::WorkItemStarted { item, at } => {
                state.move_item(item, Transition::Start);
                *at
            }
            LoanEvent2013::WorkItemCompleted { item, at } => {
                state.move_item(item, Transition::Complete);
                *at
            }
        };
        state.waited_seconds = waited_seconds(
            state.submitted_at,
            state.decision.as_ref(),
            state.last_activity_at,
        );
        state
    }

    fn totals(state: &LoanState2013) -> Totals {
        Totals::new().with("amount_requested", i128::from(state.amount_requested))
    }
}

impl LoanState2013 {
    fn move_item(&mut self, item: &str, transition: Transition) {
        work_item::advance(&mut self.open_items, &mut self.done_items, item, transition);
    }
}

/// How long a customer waited. A clock that ran backwards counts as no wait.
pub(crate) fn waited_seconds(
    submitted_at: DateTime<Utc>,
    decision: Option<&Decision>,
    last_activity_at: DateTime<Utc>,
) -> u64 {
    let until = decision.map_or(last_activity_at, |decision| decision.at);
    u64::try_from((until - submitted_at).num_seconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loan_2012::Outcome;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_317_400_000 + seconds, 0).unwrap_or_default()
    }

    fn submitted() -> LoanEvent2013 {
        LoanEvent2013::ApplicationSubmitted {
            application: "500001".to_owned(),
            amount_requested: 15_000,
            submitted_at: at(0),
            at: at(1),
        }
    }

    fn fold(events: &[LoanEvent2013]) -> LoanState2013 {
        events
            .iter()
            .fold(LoanState2013::default(), Loan2013::apply)
    }

    #[test]
    fn an_application_goes_from_submission_to_its_decision() {
        let item = "W_Nabellen offertes".to_owned();
        let open = [
            submitted(),
            LoanEvent2013::OfferChanged {
                to: OfferState::Selected,
                at: at(60),
            },
            LoanEvent2013::WorkItemScheduled {
                item: item.clone(),
                at: at(70),
            },
            LoanEvent2013::WorkItemStarted {
                item: item.clone(),
                at: at(80),
            },
        ];
        assert_eq!(
            fold(&open),
            LoanState2013 {
                application: "500001".to_owned(),
                amount_requested: 15_000,
                submitted_at: at(0),
                status: Status::Submitted,
                decision: None,
                last_activity_at: at(80),
                offers: vec![Offer {
                    state: OfferState::Selected,
                }],
                open_items: vec![OpenItem {
                    item: item.clone(),
                    started: true,
                }],
                done_items: vec![],
                waited_seconds: 80,
            }
        );

        let decided = [
            &open[..],
            &[
                LoanEvent2013::ApplicationStatusChanged {
                    status: Status::Declined,
                    at: at(90),
                },
                LoanEvent2013::WorkItemCompleted {
                    item: item.clone(),
                    at: at(100),
                },
            ],
        ]
        .concat();
        assert_eq!(
            fold(&decided),
            LoanState2013 {
                status: Status::Declined,
                decision: Some(Decision {
                    outcome: Outcome::Declined,
                    at: at(90),
                }),
                last_activity_at: at(100),
                open_items: vec![],
                done_items: vec![item],
                waited_seconds: 90,
                ..fold(&open)
            }
        );
    }

    #[test]
    fn a_clock_that_ran_backwards_counts_as_no_wait() {
        let state = fold(&[
            submitted(),
            LoanEvent2013::ApplicationStatusChanged {
                status: Status::Declined,
                at: at(-5),
            },
        ]);
        assert_eq!(state.waited_seconds, 0);
    }
}
