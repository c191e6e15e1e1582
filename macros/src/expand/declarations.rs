//! The code of `no_migration!` and `register_workflow!`.

use proc_macro2::{TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Type;

use crate::expand::edge::stand_in;
use crate::expand::spans::{block, item, location, outermost, runtime};
use crate::parse::declarations::{NoMigration, Register};

pub(crate) fn no_migration(declaration: &NoMigration) -> TokenStream {
    let NoMigration {
        krate,
        version,
        reason,
    } = declaration;
    let at = located(version, "no_migration!");
    let known = |version| quote!(no_migration::<#version>(#reason, #at));
    submitted(krate, submit(0, version, known))
}

pub(crate) fn register(declaration: &Register) -> TokenStream {
    let Register { krate, versions } = declaration;
    let versions = versions.iter().enumerate().map(|(index, version)| {
        let at = located(version, "register_workflow!");
        submit(index, version, |version| quote!(workflow::<#version>(#at)))
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
    known: impl FnOnce(TokenStream) -> TokenStream,
) -> TokenStream {
    let runtime = runtime();
    let name = format_ident!("__StateMigrationVersion{index}");
    let known = known(stand_in(version, &name));
    quote! {
        type #name = #version;
        #runtime::inventory::submit! { #runtime::VersionRegistration::#known }
    }
}

fn submitted(krate: &TokenTree, code: TokenStream) -> TokenStream {
    item(krate, block(krate, &quote!(#[allow(deprecated)]), &code))
}
