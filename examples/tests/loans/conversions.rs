//! Converting an application gives what the newer version would have made of
//! the same events, had it been there from the start.

use chrono::{DateTime, Utc};
use state_migration::Workflow;
use state_migration_examples::import::event_of;
use state_migration_examples::loan_2011::{Loan2011, LoanEvent2011};
use state_migration_examples::loan_2012::{Loan2012, LoanEvent2012, Status, Transition};
use state_migration_examples::loan_2013::{Loan2013, LoanEvent2013};
use state_migration_examples::migrations::{loan_2011_to_2012, loan_2012_to_2013};
use state_migration_examples::offer::OfferState;
use state_migration_examples::sample;
use state_migration_examples::xes::XesLog;

use crate::program::real_log;

#[test]
fn conversions_give_what_the_newer_versions_would_have_made_of_the_sample() {
    let log = XesLog::embedded("the sample log", sample::LOG);
    assert_eq!(compare(&log), 240);
}

#[test]
fn conversions_give_what_the_newer_versions_would_have_made_of_the_real_log() {
    let name = "conversions_give_what_the_newer_versions_would_have_made_of_the_real_log";
    if let Some(log) = real_log(name) {
        assert_eq!(compare(&XesLog::file(log)), 13_087);
    }
}

fn compare(log: &XesLog) -> usize {
    let mut compared = 0;
    for application in log.applications().unwrap() {
        let application = application.unwrap();
        let events: Vec<LoanEvent2011> = application
            .activities
            .iter()
            .map(|activity| event_of(&application, activity))
            .collect();
        let number = &application.number;

        let in_2011 = fold::<Loan2011>(&events);
        let in_2012 = loan_2011_to_2012(in_2011).unwrap();
        let events: Vec<LoanEvent2012> = events.iter().map(as_2012).collect();
        assert_eq!(in_2012, fold::<Loan2012>(&events), "application {number}");

        let in_2013 = loan_2012_to_2013(in_2012);
        let events: Vec<LoanEvent2013> = events.into_iter().map(as_2013).collect();
        assert_eq!(in_2013, fold::<Loan2013>(&events), "application {number}");
        compared += 1;
    }
    compared
}

fn fold<W: Workflow>(events: &[W::Event]) -> W::State {
    events.iter().fold(W::State::default(), W::apply)
}

fn time(at: &str) -> DateTime<Utc> {
    at.parse().unwrap()
}

fn as_2012(event: &LoanEvent2011) -> LoanEvent2012 {
    match event {
        LoanEvent2011::ApplicationSubmitted {
            application,
            amount_requested,
            submitted_at,
            at,
        } => LoanEvent2012::ApplicationSubmitted {
            application: application.clone(),
            amount_requested: amount_requested.parse().unwrap(),
            submitted_at: time(submitted_at),
            at: time(at),
        },
        LoanEvent2011::ApplicationStatusChanged { status, at } => {
            LoanEvent2012::ApplicationStatusChanged {
                status: Status::from_activity(status).unwrap(),
                at: time(at),
            }
        }
        LoanEvent2011::OfferChanged { offer, at } => LoanEvent2012::OfferChanged {
            to: OfferState::from_activity(offer).unwrap(),
            at: time(at),
        },
        LoanEvent2011::WorkItemChanged {
            item,
            transition,
            at,
        } => LoanEvent2012::WorkItemChanged {
            item: item.clone(),
            transition: Transition::from_lifecycle(transition).unwrap(),
            at: time(at),
        },
    }
}

fn as_2013(event: LoanEvent2012) -> LoanEvent2013 {
    match event {
        LoanEvent2012::ApplicationSubmitted {
            application,
            amount_requested,
            submitted_at,
            at,
        } => LoanEvent2013::ApplicationSubmitted {
            application,
            amount_requested,
            submitted_at,
            at,
        },
        LoanEvent2012::ApplicationStatusChanged { status, at } => {
            LoanEvent2013::ApplicationStatusChanged { status, at }
        }
        LoanEvent2012::OfferChanged { to, at } => LoanEvent2013::OfferChanged { to, at },
        LoanEvent2012::WorkItemChanged {
            item,
            transition,
            at,
        } => match transition {
            Transition::Schedule => LoanEvent2013::WorkItemScheduled { item, at },
            Transition::Start => LoanEvent2013::WorkItemStarted { item, at },
            Transition::Complete => LoanEvent2013::WorkItemCompleted { item, at },
        },
    }
}
