//! The unit struct of an annotated function.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Visibility;
use syn::ext::IdentExt;

use crate::check::signature::has_body;
use crate::expand::edge::{Edge, associated};
use crate::expand::spans::{end, location, macros, outermost, runtime};

/// The documentation of the struct.
pub(crate) fn doc(function: &Ident) -> String {
    format!(
        "The migration by [`{}`], found at link time.",
        function.unraw()
    )
}

/// The location of an annotated function.
pub(crate) fn defined_at(krate: &impl ToTokens, function: &Ident) -> TokenStream {
    let name = function.unraw().to_string();
    location(function.span(), &name, &macros(krate))
}

/// The implementation that makes the struct a migration. `link` makes an expression of
/// the facts, and `call` is the body of the method that calls the function.
pub(crate) fn annotated(
    edge: &Edge<'_>,
    (visibility, migration): (&Visibility, &Ident),
    defined_at: &TokenStream,
    fingerprint: u64,
    codecs: &TokenStream,
    link: impl FnOnce(TokenStream) -> TokenStream,
    call: &TokenStream,
) -> TokenStream {
    let runtime = runtime();
    let from_type = associated("From", &edge.from(), visibility);
    let to_type = associated("To", &edge.to(), visibility);
    let fingerprint = Literal::u64_suffixed(fingerprint);
    let details = edge.details().map(|details| quote!(.details(#details)));
    let check = edge.check();
    let facts = link(quote! {
        #runtime::Facts::new(#fingerprint, #defined_at, #codecs) #details
    });
    // With the user's hygiene, a constant named as the parameter would be matched as a
    // pattern.
    let call = quote_spanned! {Span::mixed_site()=>
        fn call(__call: #runtime::Call<'_>) -> #runtime::Called {
            #call
        }
    };
    quote! {
        impl #runtime::Annotated for #migration {
            #from_type
            #to_type

            const FACTS: #runtime::Facts = #facts;

            #call

            #check
        }
    }
}

/// `Clone`, `Copy` and `Debug` for the struct. A macro of the runtime costs the compiler
/// less than derives or generated implementations.
pub(crate) fn values(krate: &impl ToTokens, migration: &Ident) -> TokenStream {
    let (macros, shown) = (macros(krate), migration.unraw().to_string());
    quote!(#macros::values!(#migration, #shown);)
}

/// The struct beside the function, and its code.
///
/// Both come out of an item that is allowed in an `impl` too, and the struct comes out of
/// the macro for its code: rustc shows the paths of these two macros, which say what to do
/// where a struct is not allowed, or where its name is taken.
pub(crate) fn beside(
    item: &TokenStream,
    krate: &impl ToTokens,
    unit_struct: &TokenStream,
    code: &TokenStream,
) -> TokenStream {
    let macros = macros(krate);
    let generated = quote! {
        #[#macros::set_another_name_with_the_key::name(#code)]
        #unit_struct
    };
    // rustc resolves this path before all others, so that a wrong `crate` is one error,
    // at its last token.
    let place = quote_spanned! {outermost(krate).1=>
        __private::move_the_function_if_it_is_in_an_impl_or_trait::generated
    };
    // A constant is not allowed in an `extern` block, whose functions have no body.
    let nothing = match has_body(item) {
        true => quote!(
            const _: () = ();
        ),
        false => quote!(
            fn __state_migration();
        ),
    };
    quote!(#[#krate::#place(#generated)] #nothing)
}

/// The name of the struct: `order_v1_to_v2` gives `OrderV1ToV2Migration`. If the first
/// word begins with a digit, it keeps its underscore: `_1to2` gives `_1to2Migration`.
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
        // Valid, since the function's name begins an identifier.
        format!("{plain}Migration"),
    ];
    let mut names = candidates
        .iter()
        .filter_map(|name| syn::parse_str::<Ident>(name).ok());
    let mut name = names.next().unwrap_or_else(|| function.clone());
    // Of the two names, an editor finds the function at its own.
    name.set_span(end(function.span()));
    name
}

#[cfg(test)]
mod tests {
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
            // A combining mark, which is not allowed at the start of an identifier.
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
