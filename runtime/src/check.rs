//! What the compiler checks of an annotated function, and what makes a
//! [`StateMigration`] of it. Only generated code names these items.
//!
//! The generated code calls [`link`] once, with the types that the user wrote
//! as its arguments, and every bound that a mistake can break is on that
//! function: so a mistake is one error, at the type that is wrong. For the same
//! reason [`Annotated`] has no bounds on its types.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fingerprint::Fingerprint;
use crate::id::WorkflowId;
use crate::migration::{ConversionError, SourceLocation, StateMigration};
use crate::registry::{Migration, Registration};
use crate::version::natural_cmp;
use crate::workflow::{BoxError, Workflow};

/// An annotated function.
pub trait Annotated: Send + Sync + 'static {
    type From;
    type To;
    /// The type of the parameter.
    type Takes;
    /// The type of the return value.
    type Gives;

    const MIGRATION: Self;
    const FINGERPRINT: u64;
    const DEFINED_AT: SourceLocation;

    fn call(state: Self::Takes) -> Returned<Self::Gives>;
}

/// A pair of workflows; a second implementation is a duplicate migration.
pub trait MigratesTo<To> {}

#[diagnostic::on_unimplemented(
    message = "the migration takes `{Self}`, but the state of its `from` workflow is `{S}`",
    label = "expected `{S}`"
)]
pub trait IsSourceState<S> {
    fn from_source(state: S) -> Self;
}

#[diagnostic::do_not_recommend]
impl<S> IsSourceState<S> for S {
    fn from_source(state: S) -> S {
        state
    }
}

#[diagnostic::on_unimplemented(
    message = "the migration returns `{Self}`, but the state of its `to` workflow is `{S}`",
    label = "expected `{S}` or `Result<{S}, E>`"
)]
pub trait IntoTargetState<S> {
    fn into_target(self) -> Result<S, ConversionError>;
}

#[diagnostic::do_not_recommend]
impl<S> IntoTargetState<S> for S {
    fn into_target(self) -> Result<S, ConversionError> {
        Ok(self)
    }
}

// Not hidden from diagnostics: else a bad error type is reported as a bad state.
impl<S, E: Reason> IntoTargetState<S> for Result<S, E> {
    fn into_target(self) -> Result<S, ConversionError> {
        self.map_err(|error| ConversionError::new(error.to_string()))
    }
}

#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a migration, because it cannot be shown in a report",
    label = "implement `Display` for `{Self}`, or return a `String` as the error"
)]
pub trait Reason: Display {}

#[diagnostic::do_not_recommend]
impl<E: Display> Reason for E {}

#[diagnostic::on_unimplemented(
    message = "the state `{Self}` of the `from` workflow cannot be deserialized",
    label = "derive `serde::Deserialize` for `{Self}`"
)]
pub trait ReadableState: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<S: DeserializeOwned> ReadableState for S {}

#[diagnostic::on_unimplemented(
    message = "the state `{Self}` of the `to` workflow cannot be serialized",
    label = "derive `serde::Serialize` for `{Self}`"
)]
pub trait WritableState: Serialize {}

#[diagnostic::do_not_recommend]
impl<S: Serialize> WritableState for S {}

/// What an annotated function returned.
pub enum Returned<R> {
    Value(R),
    Error(ConversionError),
}

/// A value whose type decides how its error is kept.
pub struct Settle<R>(pub R);

impl<S, E: Into<BoxError>> Settle<Result<S, E>> {
    /// The error with its sources. Preferred to [`AsIs::settle`] where both fit,
    /// as a type's own methods are.
    pub fn settle(self) -> Returned<Result<S, E>> {
        match self.0 {
            Ok(state) => Returned::Value(Ok(state)),
            Err(error) => Returned::Error(ConversionError::from_error(error)),
        }
    }
}

pub trait AsIs<R> {
    fn settle(self) -> Returned<R>;
}

impl<R> AsIs<R> for Settle<R> {
    fn settle(self) -> Returned<R> {
        Returned::Value(self.0)
    }
}

#[diagnostic::do_not_recommend]
impl<M: Annotated> StateMigration for M
where
    M::From: Workflow,
    M::To: Workflow,
    M::Takes: IsSourceState<<M::From as Workflow>::State>,
    M::Gives: IntoTargetState<<M::To as Workflow>::State>,
{
    type FromWorkflow = M::From;
    type ToWorkflow = M::To;

    fn source_workflow_id(&self) -> &WorkflowId {
        const { &WorkflowId::of::<M::From>() }
    }

    fn target_workflow_id(&self) -> &WorkflowId {
        const { &WorkflowId::of::<M::To>() }
    }

    fn migrate(
        &self,
        state: <M::From as Workflow>::State,
    ) -> Result<<M::To as Workflow>::State, ConversionError> {
        match M::call(M::Takes::from_source(state)) {
            Returned::Value(value) => value.into_target(),
            Returned::Error(error) => Err(error),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(M::FINGERPRINT)
    }

    fn defined_at(&self) -> Option<SourceLocation> {
        Some(M::DEFINED_AT)
    }
}

/// A type that the compiler is to infer. An alias and not a plain `_`, so that
/// it can have the place of a longer type in the source.
pub type Inferred<T> = T;

/// An annotated function whose types are right.
pub struct Link {
    /// What the linker is to keep.
    pub registration: Registration,
    /// What is wrong with the two versions.
    pub problem: Option<Text>,
}

/// Checks the types of an annotated function.
///
/// `S` and `T` are inferred from `A` and `B`. They are parameters because a
/// projection in the bounds of `P` and `R` would repeat the error of a
/// workflow that is none.
pub const fn link<
    M: Annotated<From = A, To = B, Takes = P, Gives = R>,
    A: Workflow<State = S>,
    B: Workflow<State = T>,
    S: ReadableState,
    T: WritableState,
    P: IsSourceState<S>,
    R: IntoTargetState<T>,
>() -> Link {
    Link {
        registration: Registration::new(|| Migration::of(M::MIGRATION)),
        problem: problem::<A, B>(),
    }
}

const fn problem<A: Workflow, B: Workflow>() -> Option<Text> {
    if !same(A::NAME, B::NAME) {
        let text = Text::new("`from` is ")
            .id::<A>()
            .and(" and `to` is ")
            .id::<B>();
        return Some(text.and(": both need the same `NAME`"));
    }
    if same(A::VERSION, B::VERSION) {
        let text = Text::new("`from` and `to` are both ").id::<A>();
        return Some(text.and(": `to` needs a later `VERSION`"));
    }
    if natural_cmp(A::VERSION, B::VERSION).is_lt() {
        return None;
    }
    let text = Text::new("`to` is ")
        .id::<B>()
        .and(", which is not later than ")
        .id::<A>();
    Some(text.and(": `to` needs the later `VERSION`"))
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// A message put together at compile time.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; 512],
    len: usize,
}

impl Text {
    const fn new(text: &str) -> Self {
        let empty = Self {
            bytes: [0; 512],
            len: 0,
        };
        empty.and(text)
    }

    /// The text with more; what does not fit as a whole is left out.
    const fn and(mut self, more: &str) -> Self {
        let more = more.as_bytes();
        if more.len() <= self.bytes.len() - self.len {
            let mut i = 0;
            while i < more.len() {
                self.bytes[self.len + i] = more[i];
                i += 1;
            }
            self.len += more.len();
        }
        self
    }

    const fn id<W: Workflow>(self) -> Self {
        self.and(W::NAME).and("@").and(W::VERSION)
    }

    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "`to` is no later version of `from`",
        }
    }
}
