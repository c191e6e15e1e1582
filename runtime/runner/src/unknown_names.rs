//! Unknown names in a selection.
//!
//! A mistyped name selects nothing, which looks like an empty store.

use state_migration_core::{Error, EventStore, Selection, StreamId, TenantId};

use crate::migration_runner::MigrationRunner;

/// Maximum number of names in a message.
const MAX_NAMES: usize = 5;

impl<M, ES: EventStore, SS> MigrationRunner<M, ES, SS> {
    /// A message for each kind of selected names that no stream has.
    #[doc(hidden)]
    pub async fn unknown_names(&self, selection: &Selection) -> Result<Vec<String>, Error> {
        let store = &self.events;
        let mut messages = Vec::new();
        let mut unknown = Vec::new();
        for tenant in selection.tenants() {
            if first(store, &of_tenant(tenant)).await?.is_none() {
                unknown.push(tenant.as_str());
            }
        }
        if !unknown.is_empty() {
            let there = tenants(store).await?;
            let there: Vec<&str> = there.iter().map(TenantId::as_str).collect();
            messages.push(format!(
                "no process has tenant {}; {}",
                first_names(&unknown),
                match there.is_empty() {
                    true => "the store has no processes with a tenant".to_owned(),
                    false => format!("the store has tenants {}", first_names(&there)),
                }
            ));
        }
        if let Some(prefix) = selection.starts_with()
            && first(store, prefix).await?.is_none()
        {
            messages.push(format!(
                "no stream starts with {prefix}; streams of processes are named process/TENANT/PROCESS"
            ));
        }
        let mut unknown = Vec::new();
        for stream in selection.named_streams() {
            if store.head(stream).await?.is_none() {
                unknown.push(stream.as_str());
            }
        }
        if !unknown.is_empty() {
            let what = match unknown.len() {
                1 => format!("stream {} does not exist", first_names(&unknown)),
                _ => format!("streams {} do not exist", first_names(&unknown)),
            };
            messages.push(format!(
                "{what}; streams of processes are named process/TENANT/PROCESS"
            ));
        }
        Ok(messages)
    }
}

fn of_tenant(tenant: &TenantId) -> String {
    format!("process/{tenant}/")
}

async fn first(store: &impl EventStore, prefix: &str) -> Result<Option<StreamId>, Error> {
    let mut found = store.list_streams(Some(prefix), None, 1).await?;
    Ok(found.pop())
}

/// The first tenants that have processes, one more than a message shows.
async fn tenants(store: &impl EventStore) -> Result<Vec<TenantId>, Error> {
    let (mut tenants, mut after) = (Vec::new(), None);
    while tenants.len() <= MAX_NAMES {
        let next = store.list_streams(Some("process/"), after.as_ref(), 1);
        let Some(stream) = next.await?.pop() else {
            break;
        };
        // Skip all other streams of this tenant.
        after = match stream.process() {
            Some((tenant, _)) => {
                let last = format!("{}{}", of_tenant(&tenant), char::MAX);
                tenants.push(tenant);
                Some(StreamId::new(last)?)
            }
            None => Some(stream),
        };
    }
    Ok(tenants)
}

/// Formats names as `a`, `a, b` or `a, b, …`.
fn first_names(names: &[&str]) -> String {
    match names.get(..MAX_NAMES) {
        Some(told) if names.len() > MAX_NAMES => format!("{}, …", told.join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use state_migration_core::{ExpectedSequence, MigrationRegistry, NewEvent, WorkflowId};
    use state_migration_store::MemoryStore;

    async fn messages(streams: &[&str], selection: Selection) -> Vec<String> {
        let store = MemoryStore::new();
        for id in streams {
            let event = NewEvent::new(WorkflowId::new("order", "v1"), "OrderPlaced", 1, "{}");
            let stream = StreamId::new(*id).unwrap();
            let appended = store.append(&stream, ExpectedSequence::NoStream, vec![event.unwrap()]);
            appended.await.unwrap();
        }
        let none = MigrationRegistry::builder().build().unwrap();
        let runner = MigrationRunner::new(none, store.clone(), store);
        runner.unknown_names(&selection).await.unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::new(id).unwrap()
    }

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    const STREAMS: [&str; 5] = [
        "notes",
        "process/bank/1",
        "process/bank/2",
        "process/bank-2/1",
        "process/shop/1",
    ];

    #[tokio::test]
    async fn what_is_there_is_not_told() {
        for selection in [
            Selection::all(),
            Selection::all().tenant(tenant("bank")).prefix("process/b"),
            Selection::all().streams([stream("process/shop/1"), stream("notes")]),
        ] {
            assert!(messages(&STREAMS, selection).await.is_empty());
        }
    }

    #[tokio::test]
    async fn each_kind_of_name_that_is_not_there_is_told_with_what_is() {
        let selection = Selection::all()
            .tenant(tenant("ban"))
            .tenant(tenant("shop"))
            .prefix("process/bank3")
            .streams([stream("process/bank/3"), stream("process/shop/1")]);
        assert_eq!(
            messages(&STREAMS, selection).await,
            [
                "no process has tenant ban; the store has tenants bank-2, bank, shop",
                "no stream starts with process/bank3; streams of processes are named process/TENANT/PROCESS",
                "stream process/bank/3 does not exist; streams of processes are named process/TENANT/PROCESS",
            ]
        );
        let many: Vec<String> = (0..9).map(|n| format!("process/t{n}/1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let none = Selection::all().tenant(tenant("x"));
        assert_eq!(
            messages(&many, none.clone()).await,
            ["no process has tenant x; the store has tenants t0, t1, t2, t3, t4, …"]
        );
        assert_eq!(
            messages(&[], none).await,
            ["no process has tenant x; the store has no processes with a tenant"]
        );
    }
}
