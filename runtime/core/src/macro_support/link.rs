//! The compiler's checks of an annotated function, and the [`StateMigration`] made of it.
//! Only generated code names these items.
//!
//! Generated code calls [`link`] once, and every bound that a mistake can break is on that
//! function: a mistake is one error, at the type that is wrong. For the same reason
//! [`Annotated`] has no bounds on its types. rustc reports an unresolved type at every
//! occurrence, so the expansion names each workflow once, in a type alias, and never
//! repeats the function's types: they are inferred.
//!
//! Where rustc has no text of ours to show, it shows the names of these items. Some are
//! therefore sentences.
//!
//! Items that generated code finds through a type have long names, since a trait of the
//! user with the same name would make the call ambiguous. The exceptions are inherent
//! methods that take `self` by value, which have priority over methods of traits.

use std::any::Any;
use std::fmt::Display;
use std::marker::PhantomData;
use std::panic::Location;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::id::{MAX_ID_LEN, WorkflowId};
use crate::macro_support::return_type::{Call, Called, Function, convert_by};
use crate::migration::{
    Check, ConversionError, Decoder, Details, Encoder, SharedState, SourceLocation, StateMigration,
    package,
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

    /// The other facts about the migration.
    const FACTS: Facts;

    /// Calls the function.
    ///
    /// # Errors
    /// The function returned one.
    fn call(call: Call<'_>) -> Called;

    /// Whether there is a check.
    const CHECKS: bool = false;

    /// Checks the states before and after.
    ///
    /// # Errors
    /// The check returned one.
    fn check(_old: &dyn Any, _new: &dyn Any) -> Result<(), ConversionError> {
        Ok(())
    }
}

/// The facts about a migration, except the types of its workflows.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The fingerprint: the hash of the function's tokens, unless a key says otherwise.
    fingerprint: u64,
    /// The location of the function.
    defined_at: SourceLocation,
    /// Serializes the state of the `from` workflow, if its type can be serialized.
    encoder: Option<Encoder>,
    /// Deserializes the state of the `to` workflow, if its type can be deserialized.
    decoder: Option<Decoder>,
    /// The values of the other keys.
    details: Details,
    /// The result of [`link`]; `None` before it.
    link: Option<Link>,
}

impl Facts {
    /// The facts before [`link`].
    #[must_use]
    pub const fn new(
        fingerprint: u64,
        defined_at: SourceLocation,
        encoder: Option<Encoder>,
        decoder: Option<Decoder>,
    ) -> Self {
        Self {
            fingerprint,
            defined_at,
            encoder,
            decoder,
            details: Details::new(),
            link: None,
        }
    }

    /// Sets the values of the other keys.
    #[must_use]
    pub const fn details(mut self, details: Details) -> Self {
        self.details = details;
        self.fingerprint = details.fingerprint(self.fingerprint);
        self
    }

    /// The result of [`link`].
    #[must_use]
    pub const fn link(self) -> Link {
        match self.link {
            Some(link) => link,
            None => unreachable!(),
        }
    }
}

/// The location of an annotated function or of a macro, which is that of this call. The
/// package is empty without cargo.
#[must_use]
#[track_caller]
pub const fn location(function: &'static str, package: &'static str) -> SourceLocation {
    let caller = Location::caller();
    SourceLocation {
        function,
        package: self::package(package, function),
        file: caller.file(),
        line: caller.line(),
    }
}

/// A pair of workflows. A second implementation is a duplicate migration, of which rustc
/// tells the name of this trait only.
///
/// If neither workflow is a type of the user's crate, rustc reports all types of the
/// implementation, and so that of the default, whose path says which key is missing.
#[diagnostic::on_unimplemented(
    message = "no migration leads from `{Self}` to `{To}`",
    label = "the chain has a gap here",
    note = "name the versions from the oldest to the newest, or write a function with `#[state_migration(from = {Self}, to = {To})]`; check a `detached` migration with `MigrationRegistry::require` instead"
)]
pub trait KeepOneMigrationTo<To, Key = add_the_key::detached> {}

/// A pair of workflows with an undo. A second implementation is a duplicate.
pub trait KeepOneUndoTo<To, Key = add_the_key::detached> {}

/// A path that is a sentence.
pub mod add_the_key {
    /// A type of another crate than the user's.
    #[allow(non_camel_case_types)]
    #[derive(Debug)]
    pub struct detached;
}

/// Asserts one hop of a chain.
pub const fn hop<A: KeepOneMigrationTo<B>, B>() {}

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

/// A pair of workflows, to find out at compile time whether they have the same state
/// type: an inherent constant has priority over the constant of a trait.
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

/// A workflow, to find out at compile time whether its state can be serialized and
/// deserialized: an inherent constant has priority over the constant of a trait.
#[derive(Debug)]
pub struct Codec<W>(PhantomData<fn() -> W>);

impl<W: Workflow<State = S>, S: Serialize + 'static> Codec<W> {
    /// The state can be serialized.
    pub const __STATE_MIGRATION_ENCODER: Option<Encoder> = Some(Encoder::of::<S>());
}

impl<W: Workflow<State = S>, S: Deserialize<'static> + Send + 'static> Codec<W> {
    /// The state can be deserialized.
    pub const __STATE_MIGRATION_DECODER: Option<Decoder> = Some(Decoder::of::<S>());
}

/// All other states, including types that are not workflows; [`link`] rejects those.
pub trait NoCodec {
    /// A source's state need not be serialized to be read.
    const __STATE_MIGRATION_ENCODER: Option<Encoder> = None;
    /// A target's state need not be deserialized to be written.
    const __STATE_MIGRATION_DECODER: Option<Decoder> = None;
}

impl<W> NoCodec for Codec<W> {}

/// A parameter that is the state `S` of the `from` workflow.
#[diagnostic::on_unimplemented(
    message = "the migration takes `{Self}`, but the state of its `from` workflow is `{S}`",
    label = "expected `{S}`",
    note = "if both types of the function are the other way round, swap `from` and `to`, or the two types"
)]
pub trait IsSourceState<S, T> {
    /// `T`, the state of the `to` workflow. [`link`] takes it from here, so that the return
    /// value is not a second error where the parameter is wrong.
    type Target;
}

#[diagnostic::do_not_recommend]
impl<S, T> IsSourceState<S, T> for S {
    type Target = T;
}

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
    message = "`{Self}` cannot be the error of a migration, because it does not implement `Display`",
    label = "implement `Display` for `{Self}`, or return a `String` as the error"
)]
pub trait Reason: Display {}

#[diagnostic::do_not_recommend]
impl<E: Display> Reason for E {}

/// A function that compares a state `S` before a migration with the state `T` after it.
#[diagnostic::on_unimplemented(
    message = "the function of `check` does not compare the two states of the migration",
    label = "write `fn name(old: &{S}, new: &{T}) -> Result<(), String>`"
)]
pub trait ComparesStates<S, T> {
    /// Compares them.
    ///
    /// # Errors
    /// The function returned one.
    fn compare(self, old: &S, new: &T) -> Result<(), ConversionError>;
}

#[diagnostic::do_not_recommend]
impl<S, T, F, E> ComparesStates<S, T> for F
where
    F: Fn(&S, &T) -> E,
    E: CheckResult,
{
    fn compare(self, old: &S, new: &T) -> Result<(), ConversionError> {
        self(old, new).result()
    }
}

/// The result of a check.
pub trait CheckResult {
    /// The result.
    ///
    /// # Errors
    /// The check failed.
    fn result(self) -> Result<(), ConversionError>;
}

#[diagnostic::do_not_recommend]
impl<E: Display> CheckResult for Result<(), E> {
    fn result(self) -> Result<(), ConversionError> {
        self.map_err(|error| ConversionError::new(error.to_string()))
    }
}

/// Compares two states by the function of the key `check`.
///
/// # Errors
/// The function returned one.
pub fn checked_by<A: Workflow, B: Workflow, C: ComparesStates<A::State, B::State>>(
    old: &dyn Any,
    new: &dyn Any,
    check: C,
) -> Result<(), ConversionError> {
    match (old.downcast_ref(), new.downcast_ref()) {
        (Some(old), Some(new)) => check.compare(old, new),
        _ => Err(ConversionError::new(
            "a check received states of other types; report it as a bug of state-migration",
        )),
    }
}

/// A state that can be read from a store.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` of the `from` workflow cannot be deserialized",
    label = "derive `serde::Deserialize` for `{Self}`, or for the type in it that lacks it"
)]
pub trait ReadableState: for<'de> HoldsOwnedDataInsteadOfReferences<'de> {}

#[diagnostic::do_not_recommend]
impl<S: for<'de> HoldsOwnedDataInsteadOfReferences<'de>> ReadableState for S {}

/// A state that can be deserialized. A state that can only be deserialized from a text that
/// outlives it is a mistake that rustc reports with the name of this trait.
pub trait HoldsOwnedDataInsteadOfReferences<'de>: Deserialize<'de> {}

#[diagnostic::do_not_recommend]
impl<'de, S: Deserialize<'de>> HoldsOwnedDataInsteadOfReferences<'de> for S {}

/// A state that can be written to a store.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` of the `to` workflow cannot be serialized",
    label = "derive `serde::Serialize` for `{Self}`, or for the type in it that lacks it"
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
        convert_by(M::call, state)
    }

    fn check(&self) -> Option<Check<Self>> {
        M::CHECKS.then_some(|old, new| M::check(old, new))
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(M::FACTS.fingerprint)
    }

    fn defined_at(&self) -> Option<SourceLocation> {
        Some(M::FACTS.defined_at)
    }

    fn details(&self) -> Details {
        M::FACTS.details
    }

    fn decoder(&self) -> Option<Decoder> {
        M::FACTS.decoder
    }

    fn encoder(&self) -> Option<Encoder> {
        M::FACTS.encoder
    }
}

/// A migration represented by its type alone, without a value.
struct ByType<M>(PhantomData<fn() -> M>);

impl<M: Annotated> Annotated for ByType<M> {
    type From = M::From;
    type To = M::To;

    const FACTS: Facts = M::FACTS;

    const CHECKS: bool = M::CHECKS;

    fn call(call: Call<'_>) -> Called {
        M::call(call)
    }

    fn check(old: &dyn Any, new: &dyn Any) -> Result<(), ConversionError> {
        M::check(old, new)
    }
}

/// A type that the compiler infers. This is an alias and not a plain `_`, so
/// that it can carry the span of a longer type in the source.
pub type Inferred<T> = T;

/// A migration whose types were checked, with the problem of its versions if there is
/// one.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    migration: fn() -> Migration,
    refusal: Option<Refusal>,
}

/// The registration of an annotated function, which the linker collects. The facts are
/// read at run time, so that the compiler evaluates them only for [`check_versions`].
#[must_use]
pub const fn registration<M: Annotated>() -> Registration {
    Registration::new(|| (M::FACTS.link().migration)())
}

/// The registration of two versions that share a state, which the linker collects.
#[must_use]
pub const fn registration_of(link: Link) -> Registration {
    Registration::new(link.migration)
}

/// Reports an error at the location of this call if a migration cannot lead from the one
/// version to the other. In a constant of its own, since an error in a static is followed
/// by a note about the static.
#[track_caller]
// In a constant, a panic is how an error is reported.
#[allow(clippy::panic)]
pub const fn check_versions(link: Link) {
    if let Some(refusal) = &link.refusal {
        panic!("{}", refusal.text().as_str())
    }
}

/// The result of [`link`], before it is tied to a function.
pub struct Checked<P: ?Sized, R: ?Sized> {
    facts: Facts,
    function: PhantomData<fn(P) -> R>,
}

impl<P: ?Sized, R: ?Sized> Checked<P, R> {
    /// Ties the result to the function whose types were checked. [`link`] does
    /// not take the function itself, because the compiler would report a
    /// mistake in the types at that argument.
    #[must_use]
    pub const fn of(self, _: Function<P, R>) -> Facts {
        self.facts
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
    P: IsSourceState<S, T> + ?Sized,
    R: IntoTargetState<P::Target> + ?Sized,
>(
    facts: Facts,
    shared: bool,
) -> Checked<P, R> {
    let link = Link {
        migration: || Migration::of(ByType::<M>(PhantomData)),
        refusal: refusal::<A, B>(facts.details.is_undo(), shared),
    };
    Checked {
        facts: Facts {
            link: Some(link),
            ..facts
        },
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
        migration: || Migration::identity::<P::From, P::To>(P::DEFINED_AT, P::DETAILS),
        refusal: refusal::<A, B>(P::DETAILS.is_undo(), true),
    }
}

/// A mistake in the two versions of a migration. The text is built only when it is
/// reported; a constant text would cost compile time and space for each migration.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    mistake: Mistake,
    undo: bool,
    from: Version,
    to: Version,
}

#[derive(Debug, Clone, Copy)]
enum Mistake {
    EmptyName,
    EmptyVersion,
    DifferentNames,
    SameVersion,
    WrongOrder,
    SharedSchemaVersion,
}

pub(crate) const NO_NAME: &str = "the `NAME` of a workflow is empty: name it";
pub(crate) const NO_VERSION: &str = "the `VERSION` of a workflow is empty: number or date it";

/// The name and the version of a workflow.
#[derive(Debug, Clone, Copy)]
struct Version(&'static str, &'static str);

/// The mistake in a migration from version `A` to version `B`, if there is one.
const fn refusal<A: Workflow, B: Workflow>(undo: bool, shared: bool) -> Option<Refusal> {
    let order = natural_cmp(A::VERSION, B::VERSION);
    let mistake = if A::NAME.is_empty() || B::NAME.is_empty() {
        Mistake::EmptyName
    } else if A::VERSION.is_empty() || B::VERSION.is_empty() {
        Mistake::EmptyVersion
    } else if !same(A::NAME, B::NAME) {
        Mistake::DifferentNames
    } else if order.is_eq() {
        Mistake::SameVersion
    } else if undo == order.is_lt() {
        Mistake::WrongOrder
    } else if !shared && A::STATE_SCHEMA_VERSION == B::STATE_SCHEMA_VERSION {
        Mistake::SharedSchemaVersion
    } else {
        return None;
    };
    Some(Refusal {
        mistake,
        undo,
        from: Version(A::NAME, A::VERSION),
        to: Version(B::NAME, B::VERSION),
    })
}

impl Refusal {
    const fn text(&self) -> Text {
        let Self { undo, from, to, .. } = self;
        let text = Text::new("");
        match self.mistake {
            Mistake::EmptyName => text.and(NO_NAME),
            Mistake::EmptyVersion => text.and(NO_VERSION),
            Mistake::DifferentNames => {
                let text = text.id(from).and(" and ").id(to);
                text.and(" are not versions of the same workflow: give both the same `NAME`")
            }
            Mistake::SameVersion => {
                let text = text.id(from).and(" and ").id(to);
                text.and(" are the same version: give one of the two a later `VERSION`")
            }
            Mistake::WrongOrder if *undo => {
                let text = text.and("an `undo` must lead to an earlier version, but ");
                let text = text.id(to).and(" is later than ").id(from);
                text.and(": swap the two versions, or remove `undo`")
            }
            Mistake::WrongOrder => {
                let text = text.id(to).and(" sorts before ").id(from);
                let text = text.and(": swap the two versions, give the newer one a `VERSION`");
                text.and(" that sorts later, or add `undo` if the migration leads back")
            }
            Mistake::SharedSchemaVersion => {
                let text = text.id(from).and(" and ").id(to);
                let text = text.and(" have different states, but the same");
                let text = text.and(" `STATE_SCHEMA_VERSION`: raise it in ");
                text.id(if *undo { from } else { to })
            }
        }
    }
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

    const fn id(self, Version(name, version): &Version) -> Self {
        self.and(name).and("@").and(version)
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "the two versions cannot be the ends of one migration",
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
