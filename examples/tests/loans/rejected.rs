//! An application that cannot be converted stays where it is and is named.

use state_migration::{
    EventStore, Process, ProcessId, ProcessIdentity, SlateDbStore, TenantId, WorkflowId,
};
use state_migration_examples::import::{TENANT, import};
use state_migration_examples::loan_2011::{Loan2011, LoanEvent2011};
use state_migration_examples::xes::XesLog;

use crate::program::{command, invented, run, write};

#[tokio::test]
async fn an_unreadable_amount_is_reported_and_the_others_are_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let log = write(folder.path(), "loans.xes", invented(5));
    let store_folder = folder.path().join("store");
    let imported = import(&XesLog::file(&log), &store_folder, |_, _| {})
        .await
        .unwrap();
    assert_eq!(imported.imported, 5);
    let store = imported.store;
    let identity = ProcessIdentity::of::<Loan2011>(
        TenantId::new(TENANT).unwrap(),
        ProcessId::new("by-hand").unwrap(),
    );
    let mut process = Process::<Loan2011>::open(identity.clone(), store.clone(), store.clone())
        .await
        .unwrap();
    process
        .append(&[LoanEvent2011::ApplicationSubmitted {
            application: "by-hand".to_owned(),
            amount_requested: "a lot".to_owned(),
            submitted_at: "2011-10-01T09:00:00+02:00".to_owned(),
            at: "2011-10-01T09:00:00+02:00".to_owned(),
        }])
        .await
        .unwrap();
    store.close().await.unwrap();

    let error = "error: process/bank/by-hand failed while converting: ";
    let reason = "the amount \"a lot\" is not a whole number of euro";
    for migrated in [5, 0] {
        let run = run(&log, &store_folder);
        assert_eq!(run.code, Some(2), "{run:?}");
        let (line, rest) = run.stderr.split_once('\n').unwrap();
        assert!(line.starts_with(error) && line.contains(reason), "{line}");
        assert_eq!(rest, "");
        let result = run.json();
        assert_eq!(result["imported"], 0);
        assert_eq!(result["migrated"], migrated);
        assert_eq!(result["errors"], 1);
        let loans = result["loans"].as_object().unwrap();
        let there: u64 = loans.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(there, 5);
    }

    let words = command()
        .arg("--log")
        .arg(&log)
        .arg("--store")
        .arg(&store_folder)
        .output()
        .unwrap();
    assert_eq!(words.status.code(), Some(2));
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(
        words.contains("older                1 applications\n"),
        "{words}"
    );

    let store = SlateDbStore::open_local(&store_folder).await.unwrap();
    let head = store.head(identity.stream_id()).await.unwrap().unwrap();
    assert_eq!(head.workflow_id, WorkflowId::new("loan", "2011"));
    assert_eq!(head.sequence, 1);
    store.close().await.unwrap();
}
