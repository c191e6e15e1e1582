//! The unit struct that stands for an annotated function.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use syn::ext::IdentExt;

use crate::expand::edge::{Edge, associated};
use crate::expand::spans::{location, runtime};

/// What is said of the struct.
pub(crate) fn doc(function: &Ident) -> String {
    format!(
        "The migration by [`{}`], found at link time.",
        function.unraw()
    )
}

/// What makes the struct a migration.
pub(crate) fn annotated(
    edge: &Edge<'_>,
    migration: &Ident,
    function: &Ident,
    fingerprint: u64,
    call: &TokenStream,
) -> TokenStream {
    let runtime = runtime();
    let from_type = associated("From", &edge.from());
    let to_type = associated("To", &edge.to());
    let fingerprint = Literal::u64_suffixed(fingerprint);
    let plain_name = function.unraw().to_string();
    let defined_at = location(function.span(), &plain_name);
    let details = edge.details();
    let values = values(migration);
    quote! {
        #values

        impl #runtime::Annotated for #migration {
            #from_type
            #to_type

            const MIGRATION: Self = Self;
            const FINGERPRINT: #runtime::core::primitive::u64 = #fingerprint;
            const DEFINED_AT: #runtime::SourceLocation = #defined_at;
            #details

            #call
        }
    }
}

/// What the struct can do as a value, as it would be derived. The paths of what is
/// derived would have to begin with `core`, which may be another crate here.
pub(crate) fn values(migration: &Ident) -> TokenStream {
    let runtime = runtime();
    let core = quote!(#runtime::core);
    let shown = migration.unraw().to_string();
    quote! {
        #[automatically_derived]
        impl #core::clone::Clone for #migration {
            fn clone(&self) -> Self {
                *self
            }
        }

        #[automatically_derived]
        impl #core::marker::Copy for #migration {}

        #[automatically_derived]
        impl #core::fmt::Debug for #migration {
            fn fmt(&self, __f: &mut #core::fmt::Formatter<'_>) -> #core::fmt::Result {
                __f.write_str(#shown)
            }
        }
    }
}

/// `order_v1_to_v2` gives `OrderV1ToV2Migration`. A word in front that begins
/// with a digit keeps its underscore: `_1to2` gives `_1to2Migration`.
pub(crate) fn migration_name(function: &Ident) -> Ident {
    let plain = function.unraw().to_string();
    let mut camel = String::new();
    for word in plain.split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(letters.as_str());
    }
    let candidates = [
        format!("{camel}Migration"),
        format!("_{camel}Migration"),
        // What begins as a function's name does begins an identifier.
        format!("{plain}Migration"),
    ];
    let mut names = candidates
        .iter()
        .filter_map(|name| syn::parse_str::<Ident>(name).ok());
    let mut name = names.next().unwrap_or_else(|| function.clone());
    name.set_span(function.span());
    name
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    #[test]
    fn the_struct_is_named_after_the_function() {
        for (function, migration) in [
            ("order_v1_to_v2", "OrderV1ToV2Migration"),
            ("convert", "ConvertMigration"),
            ("__order__v2", "OrderV2Migration"),
            ("toISO20022", "ToISO20022Migration"),
            ("ändern", "ÄndernMigration"),
            ("_1to2", "_1to2Migration"),
            ("__1_to_2", "_1To2Migration"),
            // A mark that an identifier goes on with, but does not begin with.
            ("_\u{301}to", "_\u{301}toMigration"),
            ("__", "Migration"),
        ] {
            let name = Ident::new(function, Span::call_site());
            assert_eq!(migration_name(&name).to_string(), migration);
        }
        let raw = Ident::new_raw("move", Span::call_site());
        assert_eq!(migration_name(&raw).to_string(), "MoveMigration");
    }
}
