//! The compiler's checks of an annotated function, and the [`StateMigration`] made of it.
//! Only generated code names these items.
//!
//! Generated code calls [`link`] once, and every bound that a mistake can break is on that
//! function: a mistake is one error, at the type that is wrong. For the same reason
//! [`Annotated`] has no bounds on its types. rustc reports an unresolved type at every
//! occurrence, so the expansion names each workflow once, in a type alias, and never
//! repeats the function's types: they are inferred.
//!
//! Conditions on values (`NAME`, `VERSION`, `STATE_SCHEMA_VERSION`) are panics in
//! constants, at `to`. Whether two states are one type is a constant too: an inherent
//! constant, which exists for equal states only, takes precedence over that of a trait.
//!
//! What generated code finds by a method call or by the type alone has a name that no
//! trait of the user's has, or the two would be ambiguous.

use std::fmt::Display;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fingerprint::Fingerprint;
use crate::id::{MAX_ID_LEN, WorkflowId};
use crate::macro_support::return_type::Function;
use crate::migration::{
    ConversionError, Decoder, Details, Encoder, SharedState, SourceLocation, StateMigration,
};
use crate::registry::{Migration, Registration};
use crate::version::natural_cmp;
use crate::workflow::Workflow;

/// An annotated function, represented by its unit struct.
pub trait Annotated: Send + Sync + 'static {
    /// The argument `from`.
    type From;
    /// The argument `to`.
    type To;

    /// The only value of the struct.
    const MIGRATION: Self;
    /// The hash of the function's tokens.
    const FINGERPRINT: u64;
    /// The location of the function.
    const DEFINED_AT: SourceLocation;
    /// The values of the other keys.
    const DETAILS: Details = Details::new();

    /// Calls the function. `S` and `T` are the states of the two workflows.
    ///
    /// # Errors
    /// The error that the function returned.
    fn call<S: 'static, T: 'static>(state: S) -> Result<T, ConversionError>;

    /// The decoder of the state that the function returns, if the state has
    /// one.
    fn decoder() -> Option<Decoder>;

    /// The encoder of the state that the function takes, if the state has one.
    fn encoder() -> Option<Encoder>;
}

/// A pair of workflows. A second implementation is a duplicate migration.
#[diagnostic::on_unimplemented(
    message = "no migration leads from `{Self}` to `{To}`",
    label = "the chain has a gap here",
    note = "write a function with `#[state_migration(from = {Self}, to = {To})]`; a `detached` one is seen by the registry only"
)]
pub trait MigratesTo<To> {}

/// A pair of workflows with an undo. A second implementation is a duplicate.
pub trait MigratesBackTo<To> {}

/// Asserts one hop of a chain.
pub const fn hop<A: MigratesTo<B>, B>() {}

/// Two versions that share a state, represented by a generated type.
pub trait Pair: Send + Sync + 'static {
    /// The version before.
    type From;
    /// The version after.
    type To;
    /// The location of the declaration.
    const DEFINED_AT: SourceLocation;
    /// The values of the keys.
    const DETAILS: Details = Details::new();
}

/// The states of two workflows, used to find out whether they are the same
/// type. An inherent constant takes precedence over a constant of a trait.
#[derive(Debug)]
pub struct States<A, B>(PhantomData<fn() -> (A, B)>);

impl<A: Workflow<State = S>, B: Workflow<State = S>, S> States<A, B> {
    /// The types are the same.
    pub const __STATE_MIGRATION_SHARED: bool = true;
}

/// All other pairs, including types that are not workflows; [`link`] rejects
/// those.
pub trait NotShared {
    /// The types differ.
    const __STATE_MIGRATION_SHARED: bool = false;
}

impl<A, B> NotShared for States<A, B> {}

/// A parameter that is the state `S` of the `from` workflow.
#[diagnostic::on_unimplemented(
    message = "the migration takes `{Self}`, but the state of its `from` workflow is `{S}`",
    label = "expected `{S}`"
)]
pub trait IsSourceState<S> {}

#[diagnostic::do_not_recommend]
impl<S> IsSourceState<S> for S {}

/// A return value that holds the state `S` of the `to` workflow.
#[diagnostic::on_unimplemented(
    message = "the migration returns `{Self}`, but the state of its `to` workflow is `{S}`",
    label = "expected `{S}` or `Result<{S}, E>`"
)]
pub trait IntoTargetState<S> {}

#[diagnostic::do_not_recommend]
impl<S> IntoTargetState<S> for S {}

// Not marked `do_not_recommend`: without this suggestion the compiler reports a
// wrong error type as a wrong state.
impl<S, E: Reason> IntoTargetState<S> for Result<S, E> {}

/// An error that a report can show.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a migration, because no report can show it",
    label = "implement `Display` for `{Self}`, or return a `String` as the error"
)]
pub trait Reason: Display {}

#[diagnostic::do_not_recommend]
impl<E: Display> Reason for E {}

/// A state that can be read from a store.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` of the `from` workflow cannot be deserialized",
    label = "derive `serde::Deserialize` for `{Self}`"
)]
pub trait ReadableState: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<S: DeserializeOwned> ReadableState for S {}

/// A state that can be written to a store.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` of the `to` workflow cannot be serialized",
    label = "derive `serde::Serialize` for `{Self}`"
)]
pub trait WritableState: Serialize {}

#[diagnostic::do_not_recommend]
impl<S: Serialize> WritableState for S {}

#[diagnostic::do_not_recommend]
impl<M: Annotated> StateMigration for M
where
    M::From: Workflow,
    M::To: Workflow,
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
        M::call(state)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(M::FINGERPRINT)
    }

    fn defined_at(&self) -> Option<SourceLocation> {
        Some(M::DEFINED_AT)
    }

    fn details(&self) -> Details {
        M::DETAILS
    }

    fn decoder(&self) -> Option<Decoder> {
        M::decoder()
    }

    fn encoder(&self) -> Option<Encoder> {
        M::encoder()
    }
}

/// A type that the compiler infers. This is an alias and not a plain `_`, so
/// that it can carry the span of a longer type in the source.
pub type Inferred<T> = T;

/// The result for an annotated function whose types are right.
pub struct Link {
    /// The registration that the linker keeps.
    pub registration: Registration,
    refusal: Option<Text>,
}

impl Link {
    /// Whether the two versions are rejected.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// The reason why the two versions are rejected.
    #[must_use]
    pub const fn refusal(&self) -> &str {
        match &self.refusal {
            Some(text) => text.as_str(),
            None => "",
        }
    }
}

/// The result of [`link`], before it is tied to a function.
pub struct Checked<P: ?Sized, R: ?Sized> {
    link: Link,
    function: PhantomData<fn(P) -> R>,
}

impl<P: ?Sized, R: ?Sized> Checked<P, R> {
    /// Ties the result to the function whose types were checked. [`link`] does
    /// not take the function itself, because the compiler would report a
    /// mistake in the types at that argument.
    #[must_use]
    pub const fn of(self, _: Function<P, R>) -> Link {
        self.link
    }
}

/// Checks the types of an annotated function.
///
/// `S` and `T` follow from `A` and `B` and are parameters nevertheless: with
/// `A::State` in the bound of `P`, a type that is not a workflow would cause
/// two errors.
#[must_use]
pub const fn link<
    M: Annotated<From = A, To = B>,
    A: Workflow<State = S>,
    B: Workflow<State = T>,
    S: ReadableState,
    T: WritableState,
    P: IsSourceState<S> + ?Sized,
    R: IntoTargetState<T> + ?Sized,
>(
    shared: bool,
) -> Checked<P, R> {
    let link = Link {
        registration: Registration::new(|| Migration::of(M::MIGRATION)),
        refusal: refusal::<A, B>(M::DETAILS.is_undo(), shared),
    };
    Checked {
        link,
        function: PhantomData,
    }
}

/// Checks two versions that share a state.
#[must_use]
pub const fn link_identity<
    P: Pair<From = A, To = B>,
    A: Workflow<State = S>,
    B: Workflow<State = T>,
    S: ReadableState,
    T: SharedState<S> + WritableState,
>() -> Link {
    Link {
        registration: Registration::new(|| {
            Migration::identity::<P::From, P::To>(P::DEFINED_AT, P::DETAILS)
        }),
        refusal: refusal::<A, B>(P::DETAILS.is_undo(), true),
    }
}

/// The reason to reject two versions, `A` before and `B` after. No text is
/// built when there is none, because the compiler would build it for each
/// migration.
const fn refusal<A: Workflow, B: Workflow>(undo: bool, shared: bool) -> Option<Text> {
    if !same(A::NAME, B::NAME) {
        let text = Text::new("").id::<A>().and(" and ").id::<B>();
        return Some(text.and(" are not versions of one workflow: both need the same `NAME`"));
    }
    let order = natural_cmp(A::VERSION, B::VERSION);
    if order.is_eq() {
        let text = Text::new("the migration leads from ").id::<A>().and(" to ");
        let text = text.id::<B>().and(", the same version");
        return Some(text.and(": give one of the two a later `VERSION`"));
    }
    if undo && order.is_lt() {
        let text = Text::new("an `undo` leads back, but ").id::<B>();
        let text = text.and(" is later than ").id::<A>();
        return Some(text.and(": swap the two, or remove `undo`"));
    }
    if !undo && order.is_gt() {
        let text = Text::new("").id::<B>().and(" is not later than ").id::<A>();
        return Some(text.and(": swap the two, or add `undo` for a way back"));
    }
    if !shared && A::STATE_SCHEMA_VERSION == B::STATE_SCHEMA_VERSION {
        let text = Text::new("").id::<A>().and(" and ").id::<B>();
        let text = text.and(" have different states under one `STATE_SCHEMA_VERSION`");
        let text = text.and(": raise it in ");
        return Some(if undo { text.id::<A>() } else { text.id::<B>() });
    }
    None
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

/// A message that is built at compile time.
struct Text {
    bytes: [u8; Self::LEN],
    len: usize,
}

impl Text {
    /// Room for three ids of a name and a version, and the words between them.
    const LEN: usize = 6 * MAX_ID_LEN + 256;

    const fn new(text: &str) -> Self {
        let empty = Self {
            bytes: [0; Self::LEN],
            len: 0,
        };
        empty.and(text)
    }

    /// Appends a text; a text that does not fit is left out as a whole.
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

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "the two versions do not fit together",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_a_message_is_left_out_as_a_whole() {
        let long = "ä".repeat(Text::LEN / 2 - 1);
        let text = Text::new("a").and(&long).and(&long).and("b");
        assert_eq!(text.as_str(), format!("a{long}b"));
    }
}
