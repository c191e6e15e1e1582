//! The code of one version, from whatever migration begins or ends there.

use std::fmt;
use std::sync::Arc;

use crate::fold::{AnyState, Fold};
use crate::id::WorkflowId;
use crate::migration::codec::TypeRef;
use crate::migration::{Decoder, Encoder};
use crate::registry::erased::Step;
use crate::registry::{Migration, MigrationRegistry};

/// What folds the events of a version, and reads and writes its state.
#[derive(Clone)]
pub struct VersionCode {
    version: WorkflowId,
    schema_version: u32,
    state: TypeRef,
    step: Arc<dyn Step>,
    /// Whether the version is the source of the migration, and not its target.
    is_source: bool,
    decoder: Option<Decoder>,
    encoder: Option<Encoder>,
}

impl VersionCode {
    fn of_source(migration: &Migration) -> Self {
        Self {
            version: migration.source().clone(),
            schema_version: migration.source_schema_version(),
            state: migration.source_state,
            step: migration.step.clone(),
            is_source: true,
            decoder: Some(migration.source_decoder),
            encoder: migration.source_encoder(),
        }
    }

    fn of_target(migration: &Migration) -> Self {
        Self {
            version: migration.target().clone(),
            schema_version: migration.target_schema_version(),
            state: migration.target_state,
            step: migration.step.clone(),
            is_source: false,
            decoder: migration.target_decoder(),
            encoder: Some(migration.target_encoder),
        }
    }

    /// The version.
    pub fn version(&self) -> &WorkflowId {
        &self.version
    }

    /// Its `STATE_SCHEMA_VERSION`.
    pub fn schema_version(&self) -> u32 {
        self.schema_version
    }

    /// The name of the type of its state.
    pub fn state_type(&self) -> &'static str {
        self.state.name
    }

    /// A fold from the first event on.
    pub fn fold(&self) -> Box<dyn Fold> {
        match self.is_source {
            true => self.step.fold(),
            false => self.step.target_fold(self.decoder),
        }
    }

    /// Reads a state; `None` if it is unknown how.
    pub fn decode(&self, json: &[u8]) -> Option<Result<AnyState, serde_json::Error>> {
        self.decoder.map(|decoder| decoder.decode(json))
    }

    /// Writes a state; `None` if it is unknown how.
    pub fn encode(&self, state: &AnyState) -> Option<Result<Vec<u8>, serde_json::Error>> {
        self.encoder.map(|encoder| encoder.encode(state))
    }
}

impl fmt::Debug for VersionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VersionCode").field(&self.version).finish()
    }
}

impl MigrationRegistry {
    /// The code of a version; `None` if no migration begins or ends there.
    #[doc(hidden)]
    #[must_use]
    pub fn code_of(&self, version: &WorkflowId) -> Option<VersionCode> {
        let all = || self.migrations.iter().chain(&self.undos);
        let source = all().find(|it| it.source() == version);
        let target = all().find(|it| it.target() == version);
        let mut code = match (source, target) {
            (Some(source), _) => VersionCode::of_source(source),
            (None, Some(target)) => VersionCode::of_target(target),
            (None, None) => return None,
        };
        if code.encoder.is_none() {
            code.encoder = target.map(|target| target.target_encoder);
        }
        Some(code)
    }

    /// The migration between two versions, or the undo.
    #[doc(hidden)]
    #[must_use]
    pub fn edge(&self, from: &WorkflowId, to: &WorkflowId) -> Option<&Migration> {
        let mut all = self.migrations.iter().chain(&self.undos);
        all.find(|it| it.source() == from && it.target() == to)
    }
}
