//! The code of `no_migration!` and `register_workflow!`.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Type;

use crate::expand::edge::stand_in;
use crate::expand::spans::{at, block, ends, item, location, outermost, runtime};
use crate::parse::declarations::{NoMigration, Register};

pub(crate) fn no_migration(declaration: &NoMigration) -> TokenStream {
    let NoMigration {
        krate,
        version,
        reason,
    } = declaration;
    let at = located(version, "no_migration!");
    let submission = submit(0, version, &quote!(no_migration), quote!(#reason, #at));
    submitted(krate, submission)
}

pub(crate) fn register(declaration: &Register) -> TokenStream {
    let Register { krate, versions } = declaration;
    let versions = versions.iter().enumerate().map(|(index, version)| {
        let at = located(version, "register_workflow!");
        submit(index, version, &quote!(workflow), at)
    });
    submitted(krate, versions.collect())
}

fn located(version: &Type, what: &str) -> TokenStream {
    location(outermost(version).0, what, &runtime())
}

/// The submission of a version to the linker. The type comes first, and not inside of the
/// call of a macro, where an editor finds it only if the input was right before.
fn submit(
    index: usize,
    version: &Type,
    function: &TokenStream,
    arguments: TokenStream,
) -> TokenStream {
    let runtime = runtime();
    let name = format_ident!("__StateMigrationVersion{index}");
    let of = stand_in(version, &name);
    // A mistake in the version is shown at its type.
    let (call, close) = (
        at(version, quote!(#runtime::VersionRegistration::#function::<)),
        at(version, quote!(>)),
    );
    let mut arguments = Group::new(Delimiter::Parenthesis, arguments);
    arguments.set_span(ends(version).1);
    quote! {
        type #name = #version;
        #runtime::inventory::submit! { #call #of #close #arguments }
    }
}

fn submitted(krate: &TokenTree, code: TokenStream) -> TokenStream {
    item(krate, block(krate, &quote!(#[allow(deprecated)]), &code))
}
