//! The attribute [`macro@state_migration`]. Use it through the crate
//! `state-migration`, which re-exports it and holds what it generates code for.

mod check;
mod errors;
mod expand;
mod fallback;
mod parse;
mod pipeline;
#[cfg(test)]
mod snapshots;

/// Makes a function the migration from one version of a workflow to the next.
///
/// The function stays as it is, and callable; Clippy's lints that would have it take
/// or return something else than a state are allowed on it. Beside it the attribute
/// defines a unit struct that implements `StateMigration`, and registers it, so that
/// `MigrationRegistry::linked` finds it in the finished program. The struct is
/// named after the function, in camel case plus `Migration`: `order_v1_to_v2`
/// gives `OrderV1ToV2Migration`, with the visibility of the function. The key
/// `name` names it otherwise.
///
/// A compiled example is in the docs of `state_migration::MigrationRegistry`.
///
/// # Accepted functions
///
/// With `OrderV1` and `OrderV2` for two versions of one workflow:
///
/// - `fn(<OrderV1 as Workflow>::State) -> <OrderV2 as Workflow>::State`, for a
///   conversion that always succeeds;
/// - `fn(<OrderV1 as Workflow>::State) -> Result<<OrderV2 as Workflow>::State, E>`,
///   for one that can refuse a state. `E` is any `Display`: a `String`, a
///   `&'static str`, an error type or a `Box<dyn Error>`, whose sources are kept
///   then. Of an error that is not `Send` and `Sync` these are texts.
///
/// It is a free function, `const` or not, without type parameters. It may be
/// anywhere that a function may be, in a body too. Where a `#[cfg]` leaves it
/// out, nothing is generated.
///
/// # Keys
///
/// In any order:
///
/// | key        | value                                                  |          |
/// |------------|--------------------------------------------------------|----------|
/// | `from`     | the workflow that processes stand at                   | required |
/// | `to`       | the workflow that they go on under                     | required |
/// | `name`     | the name of the generated struct                       | else as above |
/// | `note`     | a text that plan and history show: `note = "counts cents"` | |
/// | `undo`     | none: it leads back, from a version to an earlier one. It is registered, validated and drawn; no run takes it | |
/// | `detached` | none: the crate of the function owns neither workflow. The registry sees a duplicate then, and not the compiler | |
/// | `crate`    | the path of `state_migration`, where that is renamed or re-exported | else `::state_migration` |
///
/// # What the compiler refuses
///
/// Types that are not the states of the two workflows; a source state that
/// cannot be deserialized, or a target state that cannot be serialized; an error
/// that is no `Display`; workflows with different `NAME`s; a `to` whose `VERSION`
/// is not later than that of `from`, or with `undo` not earlier (digits compare
/// as numbers: `v9` is before `v10`); two versions with states of different types
/// and one `STATE_SCHEMA_VERSION`; and a second migration between the same two.
/// Unless it is `detached`, one of the two workflows must be a type of the crate
/// that the function is in.
///
/// Where the attribute is wrong, the function is still there, and so is the struct,
/// which is a migration as far as both workflows are known: calling the one and
/// using the other is no second error.
///
/// # Pitfalls
///
/// A crate that is a dependency but never named in source is not linked, and
/// its migrations are missing, without a word from the compiler. This holds
/// for a package's own library and its `main.rs` too. Name the crate with
/// `use my_domain as _;`, in the program and in each integration test that
/// wants its migrations.
///
/// The fingerprint of a migration is a hash of the function's tokens, without
/// docs. It does not see changes of the functions that it calls.
///
#[doc = include_str!("../MESSAGES.md")]
#[proc_macro_attribute]
pub fn state_migration(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    pipeline::state_migration(args.into(), item.into()).into()
}

/// Puts generated code behind the generated struct. The code comes as the
/// arguments, so that in an `impl`, where neither may be, the struct is the one
/// error. Not for use by hand.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn followed_by(
    code: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    item.into_iter().chain(code).collect()
}

/// Puts generated code in the place of a struct, for the same reason. Not for use
/// by hand.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn replaced_by(
    code: proc_macro::TokenStream,
    _: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    code
}

/// Reads `identity_migration!`, behind the path of the runtime crate. Not for
/// use by hand; the macros of the runtime crate pass on what they are given.
#[doc(hidden)]
#[proc_macro]
pub fn identity_migration(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::identity_migration(input.into()).into()
}

/// Reads `migration_chain!`. Not for use by hand.
#[doc(hidden)]
#[proc_macro]
pub fn migration_chain(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::migration_chain(input.into()).into()
}

/// Reads `no_migration!`. Not for use by hand.
#[doc(hidden)]
#[proc_macro]
pub fn no_migration(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::no_migration(input.into()).into()
}

/// Reads `register_workflow!`. Not for use by hand.
#[doc(hidden)]
#[proc_macro]
pub fn register_workflow(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::register_workflow(input.into()).into()
}
