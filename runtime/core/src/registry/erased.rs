//! The typed part of a migration, behind a trait without type parameters.

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fold::{AnyState, Fold, Folding};
use crate::migration::{ConversionError, Decoder, StateMigration};
use crate::strict_json;
use crate::totals::Totals;
use crate::workflow::Workflow;

/// The operations that a runner needs of a migration.
pub trait Step: Send + Sync {
    /// A fold of the source version.
    fn fold(&self) -> Box<dyn Fold>;
    /// A fold of the target version, with the decoder of its state.
    fn target_fold(&self, decoder: Option<Decoder>) -> Box<dyn Fold>;
    /// Converts a state of the source version into one of the target version, and checks
    /// it.
    fn convert(&self, state: AnyState) -> Result<AnyState, Unconverted>;
    /// The totals of a state of the source version, or of the target version.
    fn totals(&self, state: &AnyState, is_target: bool) -> Totals;
    /// Serializes a state of the target version and appends it to `out`. A NaN
    /// or infinite number is an error.
    fn encode(&self, state: &AnyState, out: &mut Vec<u8>) -> Result<(), serde_json::Error>;
    /// Whether a process in this state of the target version is finished.
    fn is_finished(&self, state: &AnyState) -> bool;
}

/// Why a state was not converted.
#[derive(Debug, thiserror::Error)]
pub enum Unconverted {
    #[error("{0}")]
    Refused(ConversionError),
    #[error("the check failed: {0}")]
    CheckFailed(ConversionError),
}

impl Unconverted {
    /// The reason.
    pub fn reason(self) -> ConversionError {
        match self {
            Self::Refused(reason) | Self::CheckFailed(reason) => reason,
        }
    }
}

pub(crate) struct Typed<M>(pub(crate) M);

impl<M: StateMigration> Step for Typed<M>
where
    <M::FromWorkflow as Workflow>::State: DeserializeOwned,
    <M::ToWorkflow as Workflow>::State: Serialize,
{
    fn fold(&self) -> Box<dyn Fold> {
        Box::new(Folding::<M::FromWorkflow>::new())
    }

    fn target_fold(&self, decoder: Option<Decoder>) -> Box<dyn Fold> {
        Box::new(Folding::<M::ToWorkflow>::with(decoder))
    }

    fn convert(&self, state: AnyState) -> Result<AnyState, Unconverted> {
        // Validation joins hops only if their types are the same.
        let Ok(state) = state.downcast::<<M::FromWorkflow as Workflow>::State>() else {
            return Err(Unconverted::Refused(ConversionError::new(
                "a hop received a state of another type; report it as a bug of state-migration",
            )));
        };
        let check = self.0.check().map(|check| (check, (*state).clone()));
        let new = self.0.migrate(*state).map_err(Unconverted::Refused)?;
        if let Some((check, old)) = check {
            check(&old, &new).map_err(Unconverted::CheckFailed)?;
        }
        Ok(Box::new(new))
    }

    fn totals(&self, state: &AnyState, is_target: bool) -> Totals {
        let state = state.as_ref() as &dyn Any;
        let totals = match is_target {
            true => state
                .downcast_ref()
                .map(<M::ToWorkflow as Workflow>::totals),
            false => state
                .downcast_ref()
                .map(<M::FromWorkflow as Workflow>::totals),
        };
        totals.unwrap_or_default()
    }

    fn encode(&self, state: &AnyState, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match downcast::<M>(state) {
            Some(state) => strict_json::to_writer(out, state),
            None => Err(serde::ser::Error::custom(
                "a hop received a state of another type; report it as a bug of state-migration",
            )),
        }
    }

    fn is_finished(&self, state: &AnyState) -> bool {
        downcast::<M>(state).is_some_and(<M::ToWorkflow as Workflow>::is_finished)
    }
}

fn downcast<M: StateMigration>(state: &AnyState) -> Option<&<M::ToWorkflow as Workflow>::State> {
    (state.as_ref() as &dyn Any).downcast_ref()
}
