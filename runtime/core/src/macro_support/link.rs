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

/// An annotated function, by way of its unit struct.
pub trait Annotated: Send + Sync + 'static {
    /// The argument `from`.
    type From;
    /// The argument `to`.
    type To;

    /// The only value of the struct.
    const MIGRATION: Self;
    /// The hash of the function's tokens.
    const FINGERPRINT: u64;
    /// Where the function is written.
    const DEFINED_AT: SourceLocation;
    /// What the other keys say.
    const DETAILS: Details = Details::new();

    /// Calls the function. `S` and `T` are the states of the two workflows.
    ///
    /// # Errors
    /// The function returned one.
    fn call<S: 'static, T: 'static>(state: S) -> Result<T, ConversionError>;

    /// How the state that the function returns is read, if it can be.
    fn decoder() -> Option<Decoder>;

    /// How the state that the function takes is shown, if it can be.
    fn encoder() -> Option<Encoder>;
}

/// A pair of workflows. A second implementation is a duplicate migration.
#[diagnostic::on_unimplemented(
    message = "no migration leads from `{Self}` to `{To}`",
    label = "the chain has a gap here",
    note = "write a function with `#[state_migration(from = {Self}, to = {To})]`; a `detached` one is seen by the registry only"
)]
pub trait MigratesTo<To> {}

/// A pair of workflows with a way back. A second implementation is a duplicate.
pub trait MigratesBackTo<To> {}

/// One hop of a chain that is to be there.
pub const fn hop<A: MigratesTo<B>, B>() {}

/// Two versions that share a state, by way of a type of their own.
pub trait Pair: Send + Sync + 'static {
    /// The version before.
    type From;
    /// The version after.
    type To;
    /// Where the two are written.
    const DEFINED_AT: SourceLocation;
    /// What the keys say.
    const DETAILS: Details = Details::new();
}

/// The states of two workflows, of which is to be found out whether they are the
/// same type. A constant of the type's own goes before one of a trait.
#[derive(Debug)]
pub struct States<A, B>(PhantomData<fn() -> (A, B)>);

impl<A: Workflow<State = S>, B: Workflow<State = S>, S> States<A, B> {
    /// They are.
    pub const __STATE_MIGRATION_SHARED: bool = true;
}

/// All other pairs, also of types that are no workflows: [`link`] refuses those.
pub trait NotShared {
    /// They are not.
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

// The compiler may recommend this one, or it reports a bad error as a bad state.
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

/// A type that the compiler is to infer. An alias and not a plain `_`, so that
/// it can have the place of a longer type in the source.
pub type Inferred<T> = T;

/// What is left of an annotated function whose types are right.
pub struct Link {
    /// What the linker is to keep.
    pub registration: Registration,
    refusal: Option<Text>,
}

impl Link {
    /// Whether something is wrong with the two versions.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// What is wrong with the two versions.
    #[must_use]
    pub const fn refusal(&self) -> &str {
        match &self.refusal {
            Some(text) => text.as_str(),
            None => "",
        }
    }
}

/// What [`link`] leaves, until it is said of which function.
pub struct Checked<P: ?Sized, R: ?Sized> {
    link: Link,
    function: PhantomData<fn(P) -> R>,
}

impl<P: ?Sized, R: ?Sized> Checked<P, R> {
    /// Says of which function the types are. Not by [`link`] itself: the compiler
    /// would show a mistake in them at this argument.
    #[must_use]
    pub const fn of(self, _: Function<P, R>) -> Link {
        self.link
    }
}

/// Checks the types of an annotated function.
///
/// `S` and `T` follow from `A` and `B`. They are parameters all the same: with
/// `A::State` in the bound of `P`, a type that is no workflow is two errors.
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

/// What is wrong with two versions, `A` before and `B` after. No text is put
/// together where nothing is: the compiler would do it for each migration.
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

/// A message put together at compile time.
struct Text {
    bytes: [u8; Self::LEN],
    len: usize,
}

impl Text {
    /// For three ids of a name and a version, and the words between them.
    const LEN: usize = 6 * MAX_ID_LEN + 256;

    const fn new(text: &str) -> Self {
        let empty = Self {
            bytes: [0; Self::LEN],
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
