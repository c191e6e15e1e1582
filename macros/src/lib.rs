//! The attribute [`macro@state_migration`]. Use it through the crate `state-migration`,
//! which re-exports it and contains the items that generated code refers to.

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
/// The function stays unchanged and callable. Clippy lints that suggest a parameter or a
/// return type other than the state are allowed on it. The attribute also defines a unit
/// struct that implements `StateMigration`, and registers it, so that
/// `MigrationRegistry::linked` finds it in the linked program. The name of the struct is
/// that of the function in camel case, plus `Migration`: `order_v1_to_v2` gives
/// `OrderV1ToV2Migration`. The struct has the visibility of the function. The key `name`
/// sets another name.
///
/// A compiled example is in the docs of `state_migration::MigrationRegistry`.
///
/// # Accepted functions
///
/// If `OrderV1` and `OrderV2` are two versions of one workflow:
///
/// - `fn(<OrderV1 as Workflow>::State) -> <OrderV2 as Workflow>::State`, for a
///   conversion that always succeeds;
/// - `fn(<OrderV1 as Workflow>::State) -> Result<<OrderV2 as Workflow>::State, E>`,
///   for a conversion that can refuse a state. `E` is any type that implements `Display`:
///   a `String`, a `&'static str`, an error type or a `Box<dyn Error>`. The sources of an
///   error are kept; if it is not `Send` and `Sync`, only their texts are kept.
///
/// The function is a free function, `const` or not, without generic parameters. It can be
/// anywhere that a function is allowed, including the body of another function. If a
/// `#[cfg]` removes it, nothing is generated.
///
/// # Keys
///
/// In any order:
///
/// | key        | value                                                  |          |
/// |------------|--------------------------------------------------------|----------|
/// | `from`     | the workflow that a process is at before               | required |
/// | `to`       | the workflow that a process is at afterwards           | required |
/// | `name`     | the name of the generated struct                       | default: see above |
/// | `note`     | a text that is shown in plan and history: `note = "counts cents"` | |
/// | `check`    | a function that compares the two states of each process before the migration is committed: `check = totals_are_kept`, with `fn totals_are_kept(old: &StateV1, new: &StateV2) -> Result<(), String>`. A process that it refuses is not migrated. Its code is not part of the fingerprint | |
/// | `covers`   | a constant `&str` that stands for the helpers and constants which the function uses, and becomes part of the fingerprint: `covers = "rates of 2025"`, or `covers = include_str!("rates.rs")` for a whole file | |
/// | `unchanged` | two fingerprints, from the warning of `plan` after an edit that changes no state: `unchanged = "2fd5edae959d7db8 = bdc68b4f9058b17e"`. The code with the second one keeps the first one; any further edit is an edit again | |
/// | `undo`     | no value. The migration leads from a version back to an earlier one. It is registered, validated and drawn, and no part of a route; `MigrationRunner::undo` uses it for processes with later events | |
/// | `detached` | no value. The crate of the function owns neither workflow. A duplicate is then found by the registry instead of the compiler | |
/// | `crate`    | the path of `state_migration`, if it is renamed or re-exported | default: `::state_migration` |
///
/// # What the compiler refuses
///
/// - types that are not the states of the two workflows;
/// - a source state that cannot be deserialized, or a target state that cannot be
///   serialized;
/// - an error type that does not implement `Display`;
/// - workflows with different `NAME`s;
/// - a `to` whose `VERSION` is not later than that of `from`, or with `undo` not earlier
///   (digits compare as numbers: `v9` is before `v10`);
/// - two versions with states of different types and the same `STATE_SCHEMA_VERSION`;
/// - a second migration between the same two versions;
/// - workflows of which neither is a type of the crate that the function is in, unless
///   the migration is `detached`.
///
/// If the attribute is wrong, the function and the struct still exist, and the struct
/// implements `StateMigration` if both workflows are known. Using them is not a second
/// error.
///
/// # Pitfalls
///
/// A crate that is a dependency but never named in source is not linked. Its migrations
/// are then missing, and the compiler does not report it. This also holds for a package's
/// own library and its `main.rs`. Name the crate with `use my_domain as _;` in the
/// program, and in each integration test that needs its migrations.
///
/// The fingerprint of a migration is a hash of the function's code. What `rustfmt` changes,
/// docs, attributes about lints and the visibility do not count. Nor does the code of what
/// the function calls, unless `covers` stands for it.
///
#[doc = include_str!("../MESSAGES.md")]
#[proc_macro_attribute]
pub fn state_migration(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    pipeline::state_migration(args.into(), item.into()).into()
}

/// Puts generated code in the place of a constant. Of code that is not allowed there, rustc
/// tells the path of this macro. Used by generated code only.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn generated(
    code: proc_macro::TokenStream,
    _: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    generated_here(code).collect()
}

/// Tokens with the keyword of a struct as if this macro had written it: the path of the
/// macro is then part of an error at the struct. Of the name, an editor would show two
/// definitions.
fn generated_here(code: proc_macro::TokenStream) -> impl Iterator<Item = proc_macro::TokenTree> {
    let here = proc_macro::Span::call_site();
    code.into_iter().map(move |mut token| {
        if matches!(&token, proc_macro::TokenTree::Ident(word) if word.to_string() == "struct") {
            token.set_span(token.span().resolved_at(here));
        }
        token
    })
}

/// Puts generated code after the generated struct. The code is passed as the arguments:
/// in an `impl`, where neither is allowed, the struct is then the only error. Used by
/// generated code only.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn followed_by(
    code: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    generated_here(item).chain(code).collect()
}

/// Puts generated code in the place of a struct, for the same reason. Used by generated
/// code only.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn replaced_by(
    code: proc_macro::TokenStream,
    _: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    code
}

/// Expands `identity_migration!`. Used by the macro of that name in the runtime crate,
/// which passes on its path and its input.
#[doc(hidden)]
#[proc_macro]
pub fn identity_migration(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::identity_migration(input.into()).into()
}

/// Expands `migration_chain!`. Used by the macro of that name in the runtime crate.
#[doc(hidden)]
#[proc_macro]
pub fn migration_chain(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::migration_chain(input.into()).into()
}

/// Expands `no_migration!`. Used by the macro of that name in the runtime crate.
#[doc(hidden)]
#[proc_macro]
pub fn no_migration(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::no_migration(input.into()).into()
}

/// Expands `register_workflow!`. Used by the macro of that name in the runtime crate.
#[doc(hidden)]
#[proc_macro]
pub fn register_workflow(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    pipeline::register_workflow(input.into()).into()
}
