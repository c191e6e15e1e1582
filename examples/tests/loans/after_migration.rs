//! Events of an application after its migration to version 2013.

use chrono::{DateTime, Utc};
use serde_json::json;
use state_migration::{ErrorKind, EventStore, Process, ProcessIdentity, SlateDbStore, WorkflowId};
use state_migration_examples::import::APPLICATION_STREAMS;
use state_migration_examples::loan_2011::Loan2011;
use state_migration_examples::loan_2012::{Decision, Outcome, Status};
use state_migration_examples::loan_2013::{Loan2013, LoanEvent2013, LoanState2013};

use crate::program::{good, run_on_sample};

#[tokio::test]
async fn an_open_application_is_decided_after_the_migration() {
    let folder = tempfile::tempdir().unwrap();
    let before = good(&run_on_sample(folder.path()));

    let store = SlateDbStore::open_local(folder.path()).await.unwrap();
    let (identity, mut process) = first_open(&store).await;
    let old = process.state().clone();
    let at = old.last_activity_at + chrono::TimeDelta::seconds(3_600);
    let item = "W_Valideren aanvraag".to_owned();
    process
        .append(&[
            LoanEvent2013::WorkItemScheduled {
                item: item.clone(),
                at,
            },
            LoanEvent2013::ApplicationStatusChanged {
                status: Status::Declined,
                at,
            },
        ])
        .await
        .unwrap();
    let new = process.state().clone();
    assert_eq!(new.open_items.len(), old.open_items.len() + 1);
    assert_eq!(new.open_items.last().unwrap().item, item);
    assert_eq!(
        new,
        LoanState2013 {
            status: Status::Declined,
            decision: Some(Decision {
                outcome: Outcome::Declined,
                at,
            }),
            last_activity_at: at,
            open_items: new.open_items.clone(),
            waited_seconds: seconds(old.submitted_at, at),
            ..old
        }
    );

    let old_code = Process::<Loan2011>::open(identity, store.clone(), store.clone()).await;
    assert_eq!(
        old_code.unwrap_err().kind(),
        &ErrorKind::Migrated {
            to: WorkflowId::of::<Loan2013>()
        }
    );
    store.close().await.unwrap();

    let after = good(&run_on_sample(folder.path()));
    let mut expected = before;
    expected["imported"] = json!(0);
    expected["migrated"] = json!(0);
    expected["events"] = json!(3523 + 2);
    expected["loans"]["open"] = json!(22 - 1);
    expected["loans"]["declined"] = json!(134 + 1);
    let waited = expected["waited_seconds"].as_u64().unwrap();
    expected["waited_seconds"] = json!(waited - old.waited_seconds + new.waited_seconds);
    assert_eq!(after, expected);
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    (to - from).num_seconds().unsigned_abs()
}

async fn first_open(store: &SlateDbStore) -> (ProcessIdentity, Process<Loan2013>) {
    let streams = store
        .list_streams(Some(APPLICATION_STREAMS), None, 1_000)
        .await
        .unwrap();
    for stream in streams {
        let (tenant, process) = stream.process().unwrap();
        let identity = ProcessIdentity::of::<Loan2013>(tenant.clone(), process.clone());
        let loaded = Process::<Loan2013>::open(identity, store.clone(), store.clone())
            .await
            .unwrap();
        if loaded.state().decision.is_none() {
            return (ProcessIdentity::of::<Loan2011>(tenant, process), loaded);
        }
    }
    panic!("the sample has open applications");
}
