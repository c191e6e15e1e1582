//! The check that an object store refuses to create an object that exists.
//!
//! Of two programs that open a database at the same moment, the one whose manifest is
//! created second must be refused. An object store that ignores conditions accepts both,
//! and each overwrites what the other has written, without an error.

use std::sync::Arc;
use std::time::Duration;

use slatedb::object_store::path::Path;
use slatedb::object_store::{
    Error as Storage, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload,
};
use state_migration_core::{Error, ErrorKind};
use uuid::Uuid;

use crate::slate::answer::{self, Cloud, UNCONDITIONAL};
use crate::slate::kv::NO_ANSWER;
use crate::slate::openings::FOLDER;

/// How often a request without an answer is tried, and the pause between two attempts.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// Creates an object twice. The second attempt must be refused.
pub(crate) async fn check(object_store: &Arc<dyn ObjectStore>, path: &Path) -> Result<(), Error> {
    let name = format!("conditions-{}", Uuid::new_v4());
    let object = path.clone().join(FOLDER).join(name);
    let checked = check_with(object_store, &object).await;
    // A leftover is a few bytes, and no program reads it.
    let _ = object_store.delete(&object).await;
    checked
}

async fn check_with(object_store: &Arc<dyn ObjectStore>, object: &Path) -> Result<(), Error> {
    match create(object_store, object).await? {
        // The answer to an earlier attempt was lost, so this was the second one.
        Created::Refused => return Ok(()),
        Created::Yes => {}
    }
    match create(object_store, object).await? {
        Created::Refused => Ok(()),
        Created::Yes => Err(unconditional()),
    }
}

enum Created {
    Yes,
    Refused,
}

async fn create(object_store: &Arc<dyn ObjectStore>, object: &Path) -> Result<Created, Error> {
    let mut attempt = 1;
    loop {
        let payload = PutPayload::from_static(b"a check of conditional writes");
        let put = object_store
            .put_opts(object, payload, PutMode::Create.into())
            .await;
        let cause = match put {
            Ok(_) => return Ok(Created::Yes),
            Err(Storage::AlreadyExists { .. } | Storage::Precondition { .. }) => {
                return Ok(Created::Refused);
            }
            Err(Storage::NotImplemented { .. } | Storage::NotSupported { .. }) => {
                return Err(unconditional());
            }
            Err(cause) => cause,
        };
        let failed = |way_out: &str| {
            let message = format!("conditional writes could not be checked: {way_out}");
            Error::new(ErrorKind::Unavailable, message)
        };
        if let Some(answer) = answer::of(&cause, Cloud::of(object_store)) {
            return Err(failed(&answer.sentence).with_source(answer));
        }
        if attempt == ATTEMPTS {
            let way_out = answer::way_out(&cause);
            return Err(failed(way_out.as_deref().unwrap_or(NO_ANSWER)).with_source(cause));
        }
        tokio::time::sleep(PAUSE * attempt).await;
        attempt += 1;
    }
}

fn unconditional() -> Error {
    Error::new(ErrorKind::Invalid, UNCONDITIONAL)
}
