//! The code of `no_migration!` and `register_workflow!`.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

use crate::expand::spans::{block, ends, item, location, runtime};
use crate::parse::declarations::{NoMigration, Register};

pub(crate) fn no_migration(declaration: &NoMigration) -> TokenStream {
    let NoMigration {
        krate,
        version,
        reason,
    } = declaration;
    let at = location(ends(version).0, "no_migration!");
    let known = quote!(no_migration::<#version>(#reason, #at));
    item(krate, submit(krate, &known))
}

pub(crate) fn register(declaration: &Register) -> TokenStream {
    let Register { krate, versions } = declaration;
    let versions = versions.iter().map(|version| {
        let at = location(ends(version).0, "register_workflow!");
        submit(krate, &quote!(workflow::<#version>(#at)))
    });
    item(krate, versions.collect())
}

/// The submission of a version to the linker.
fn submit(krate: &TokenTree, known: &TokenStream) -> TokenStream {
    let runtime = runtime();
    let code = quote! {
        #runtime::inventory::submit! { #runtime::VersionRegistration::#known }
    };
    block(krate, &quote!(#[allow(deprecated)]), &code)
}
