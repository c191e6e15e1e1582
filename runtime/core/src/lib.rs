//! The contract of `state-migration`: workflows, events, store traits,
//! migrations and their registry. Needs neither an async runtime nor a store.
//!
//! Programs depend on `state-migration`, which re-exports all of this. The
//! hidden modules are for the other packages of the workspace, and may change
//! in any release.

// Lets the attribute's `::state_migration` paths resolve inside this crate.
extern crate self as state_migration;

#[doc(hidden)]
pub mod baseline;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod draft;
mod error;
#[doc(hidden)]
pub mod event;
mod failure;
mod fingerprint;
#[doc(hidden)]
pub mod fold;
mod id;
mod macro_support;
mod macros;
#[doc(hidden)]
pub mod migration;
mod predicate;
mod process;
mod read_back;
#[doc(hidden)]
pub mod redaction;
#[doc(hidden)]
pub mod registry;
#[doc(hidden)]
pub mod selection;
mod skipped_by;
#[doc(hidden)]
pub mod store_api;
#[doc(hidden)]
pub mod strict_json;
mod tag;
mod time;
mod totals;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod type_code;
mod version;
mod workflow;

pub use baseline::{Baseline, BaselineKind, Hop};
pub use error::{Error, ErrorKind, InUse};
pub use event::{Event, MIGRATED, Metadata, NewEvent, is_reserved};
pub use failure::{FailureClass, MigrationError, MigrationWarning, Stage, Subject, UnknownClass};
pub use fingerprint::Fingerprint;
pub use id::{
    ConversationId, CorrelationId, DurableStoreId, EventId, InvalidId, MAX_ID_LEN,
    MAX_STREAM_ID_LEN, ProcessId, ProcessIdentity, RunId, StreamId, TenantId, WorkflowId,
};
pub use migration::{
    Check, ConversionError, Decoder, IdentityMigration, SourceLocation, StateMigration,
};
pub use predicate::{Predicate, Predicates};
pub use process::Process;
pub use registry::{
    Definition, Diagram, Migration, MigrationRegistry, MigrationRegistryBuilder, Migrations,
    Problem, RegistryError, Route, UpgradeError, Upgraded, VersionCode, VersionStatus,
};
pub use selection::Selection;
pub use skipped_by::SkippedBy;
pub use store_api::{
    Appended, Batch, ChunkEvent, ChunkProblem, Commit, DueFilter, DueOf, DuePage, DueProcess,
    DueRequest, Erasure, EventStore, Expected, ExpectedSequence, Finished, Head, Hold, Move,
    Partitioning, Passed, Presence, ProcessRegistry, Program, ReadPoint, RegistryKey, Rehearsal,
    RehearsalNeeds, RowWrite, Snapshot, SnapshotStore, Stale, StoreId, StreamRange,
    TransactionalStore, Verdict, WriteActivity,
};
pub use time::Timestamp;
pub use totals::{Decimal, Totals};
pub use version::natural_cmp;
pub use workflow::{BoxError, EventPayload, Workflow};

pub use state_migration_macros::state_migration;

/// Items that generated code names. Not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use core;

    pub use crate::__values as values;
    pub use inventory;
    pub use state_migration_macros::replaced_by;

    /// Where generated code is not allowed, rustc shows the path of the macro whose code it
    /// refuses. Each of these paths is therefore a sentence.
    pub mod move_the_function_if_it_is_in_an_impl_or_trait {
        pub use state_migration_macros::generated;
    }
    /// The same where the name of the generated struct is taken.
    pub mod set_another_name_with_the_key {
        pub use state_migration_macros::followed_by as name;
    }
    /// The same for macros without a function.
    pub mod move_it_out_of_this_expression_or_block {
        pub use state_migration_macros::{
            identity_migration, migration_chain, no_migration, register_workflow,
        };
    }

    pub use crate::macro_support::link::{
        Annotated, CheckResult, Checked, Codec, ComparesStates, Facts,
        HoldsOwnedDataInsteadOfReferences, Inferred, IntoTargetState, IsSourceState,
        KeepOneMigrationTo, KeepOneUndoTo, Link, Pair, ReadableState, Reason, States,
        WritableState, add_the_key, check_versions, checked_by, hop, link, link_identity, location,
        registration, registration_of,
    };
    pub use crate::macro_support::return_type::{
        Call, Called, Conversion, Function, convert, function,
    };
    pub use crate::migration::{
        ConversionError, Decoder, Details, Encoder, SharedState, SourceLocation,
    };
    pub use crate::registry::{
        JsonState, Migration, MigrationNames, Registration, VersionRegistration,
    };

    /// Traits without names, which could be those of the user's types.
    pub mod probes {
        pub use crate::macro_support::link::{NoCodec as _, NotShared as _};
        pub use crate::macro_support::return_type::{
            AsIs as _, AsMessageChain as _, AsMessageChainOfBox as _, AsText as _,
        };
    }
}
