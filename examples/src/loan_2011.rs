//! The first version of the workflow: everything is a string.
//!
//! An application keeps the values of the bank's systems unparsed and in their
//! order. Each reader has to parse them again; version 2012 stores them parsed
//! instead.

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Totals, Workflow};

/// The statuses that decide an application.
const DECIDING: [&str; 3] = ["A_APPROVED", "A_DECLINED", "A_CANCELLED"];

/// Loan applications, version 2011.
#[derive(Debug)]
pub struct Loan2011;

/// An application, version 2011.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoanState2011 {
    /// The number of the application.
    pub application: String,
    /// The amount asked for, in whole euro.
    pub amount_requested: String,
    /// When the application was made, RFC 3339.
    pub submitted_at: String,
    /// The latest status: `A_SUBMITTED`, `A_ACCEPTED`.
    pub status: String,
    /// The status that decided the application; empty while it is open.
    pub decision: String,
    /// When it was decided, RFC 3339; empty while it is open.
    pub decided_at: String,
    /// When something last happened, RFC 3339.
    pub last_activity_at: String,
    /// What happened to the offers, in order: `O_SELECTED`, `O_SENT`.
    pub offers: Vec<String>,
    /// What happened to the work items, in order: `W_Valideren aanvraag:START`.
    pub work_items: Vec<String>,
}

/// What happens to an application, version 2011. All times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoanEvent2011 {
    /// A customer asks for a loan.
    ApplicationSubmitted {
        /// The number of the application.
        application: String,
        /// The amount asked for, in whole euro.
        amount_requested: String,
        /// When the application was made.
        submitted_at: String,
        /// When the bank had it.
        at: String,
    },
    /// The application reaches a status.
    ApplicationStatusChanged {
        /// The status: `A_ACCEPTED`.
        status: String,
        /// When.
        at: String,
    },
    /// Something happens to an offer.
    OfferChanged {
        /// What: `O_SENT`.
        offer: String,
        /// When.
        at: String,
    },
    /// Something happens to a work item.
    WorkItemChanged {
        /// The work item: `W_Valideren aanvraag`.
        item: String,
        /// What: `SCHEDULE`, `START` or `COMPLETE`.
        transition: String,
        /// When.
        at: String,
    },
}

impl EventPayload for LoanEvent2011 {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ApplicationSubmitted { .. } => "ApplicationSubmitted",
            Self::ApplicationStatusChanged { .. } => "ApplicationStatusChanged",
            Self::OfferChanged { .. } => "OfferChanged",
            Self::WorkItemChanged { .. } => "WorkItemChanged",
        }
    }
}

impl Workflow for Loan2011 {
    const NAME: &'static str = "loan";
    const VERSION: &'static str = "2011";
    type State = LoanState2011;
    type Event = LoanEvent2011;

    fn apply(mut state: LoanState2011, event: &LoanEvent2011) -> LoanState2011 {
        let at = match event {
            LoanEvent2011::ApplicationSubmitted {
                application,
                amount_requested,
                submitted_at,
                at,
            } => {
                state.application.clone_from(application);
                state.amount_requested.clone_from(amount_requested);
                state.submitted_at.clone_from(submitted_at);
                "A_SUBMITTED".clone_into(&mut state.status);
                at
            }
            LoanEvent2011::ApplicationStatusChanged { status, at } => {
                state.status.clone_from(status);
                // The first decision stands: what is registered or activated
                // afterwards does not undo it.
                if state.decision.is_empty() && DECIDING.contains(&status.as_str()) {
                    state.decision.clone_from(status);
                    state.decided_at.clone_from(at);
                }
                at
            }
            LoanEvent2011::OfferChanged { offer, at } => {
                state.offers.push(offer.clone());
                at
            }
            LoanEvent2011::WorkItemChanged {
                item,
                transition,
                at,
            } => {
                state.work_items.push(format!("{item}:{transition}"));
                at
            }
        };
        state.last_activity_at.clone_from(at);
        state
    }

    /// The amounts, which no migration may change.
    fn totals(state: &LoanState2011) -> Totals {
        match state.amount_requested.parse::<i128>() {
            Ok(amount) => Totals::new().with("amount_requested", amount),
            Err(_) => Totals::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: &str, at: &str) -> LoanEvent2011 {
        LoanEvent2011::ApplicationStatusChanged {
            status: status.to_owned(),
            at: at.to_owned(),
        }
    }

    fn fold(events: &[LoanEvent2011]) -> LoanState2011 {
        events
            .iter()
            .fold(LoanState2011::default(), Loan2011::apply)
    }

    #[test]
    fn an_application_keeps_what_was_said_in_order() {
        let state = fold(&[
            LoanEvent2011::ApplicationSubmitted {
                application: "500001".to_owned(),
                amount_requested: "15000".to_owned(),
                submitted_at: "2011-10-01T09:00:00+02:00".to_owned(),
                at: "2011-10-01T09:00:01+02:00".to_owned(),
            },
            LoanEvent2011::WorkItemChanged {
                item: "W_Valideren aanvraag".to_owned(),
                transition: "SCHEDULE".to_owned(),
                at: "2011-10-01T09:05:00+02:00".to_owned(),
            },
            LoanEvent2011::OfferChanged {
                offer: "O_SELECTED".to_owned(),
                at: "2011-10-02T10:00:00+02:00".to_owned(),
            },
            LoanEvent2011::OfferChanged {
                offer: "O_CREATED".to_owned(),
                at: "2011-10-02T10:00:02+02:00".to_owned(),
            },
        ]);
        assert_eq!(
            state,
            LoanState2011 {
                application: "500001".to_owned(),
                amount_requested: "15000".to_owned(),
                submitted_at: "2011-10-01T09:00:00+02:00".to_owned(),
                status: "A_SUBMITTED".to_owned(),
                decision: String::new(),
                decided_at: String::new(),
                last_activity_at: "2011-10-02T10:00:02+02:00".to_owned(),
                offers: vec!["O_SELECTED".to_owned(), "O_CREATED".to_owned()],
                work_items: vec!["W_Valideren aanvraag:SCHEDULE".to_owned()],
            }
        );
    }

    #[test]
    fn the_first_decision_stands() {
        let approved = fold(&[
            status("A_REGISTERED", "t1"),
            status("A_APPROVED", "t2"),
            status("A_ACTIVATED", "t3"),
        ]);
        assert_eq!(approved.status, "A_ACTIVATED");
        assert_eq!(approved.decision, "A_APPROVED");
        assert_eq!(approved.decided_at, "t2");
        assert_eq!(approved.last_activity_at, "t3");

        let declined = fold(&[status("A_DECLINED", "t1"), status("A_APPROVED", "t2")]);
        assert_eq!(declined.decision, "A_DECLINED");
        assert_eq!(declined.decided_at, "t1");

        let open = fold(&[status("A_REGISTERED", "t1")]);
        assert_eq!((open.decision.as_str(), open.decided_at.as_str()), ("", ""));
    }
}
