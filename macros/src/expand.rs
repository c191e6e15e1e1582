//! The generated code.
//!
//! Spans decide where the compiler shows a mistake, so tokens of the user's are
//! passed on as they are, and the few generated tokens that an error can stand
//! at get the span of what the user wrote.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;

use crate::args::{Args, Details};
use crate::check::Function;
use crate::fallback;
use crate::fingerprint::fingerprint;
use crate::place::{at, ends, location};

/// The item as it is, with the migration or with the mistakes.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    match read(args.clone(), item.clone()) {
        Ok((_, function)) if function.is_refused_by_rustc() => item,
        Ok((args, function)) => {
            let migration = migration(&args, &function, fingerprint(&item));
            quote!(#item #migration)
        }
        Err(errors) => fallback::with_item(&errors, args, item),
    }
}

/// Both inputs, or the mistakes in both.
fn read(args: TokenStream, item: TokenStream) -> syn::Result<(Args, Function)> {
    // With the context of the item, or rustc adds that an error at the
    // attribute originates in a macro.
    let first = item.clone().into_iter().next();
    let attribute = first.map_or_else(Span::call_site, |token| {
        Span::call_site().resolved_at(token.span())
    });
    match (Args::parse(args, attribute), Function::parse(item)) {
        (Ok(args), Ok(function)) => Ok((args, function)),
        (Err(mut args), Err(function)) => {
            args.combine(function);
            Err(args)
        }
        (Err(errors), _) | (_, Err(errors)) => Err(errors),
    }
}

fn migration(args: &Args, function: &Function, fingerprint: u64) -> TokenStream {
    let Args {
        from,
        to,
        krate,
        details: said,
        ..
    } = args;
    let Function {
        visibility,
        name,
        takes,
        gives,
    } = function;
    let migration = args.name.clone();
    let migration = migration.unwrap_or_else(|| migration_name(name));
    let plain_name = name.unraw().to_string();
    let doc = format!("The migration by [`{plain_name}`], found at link time.");
    // A name of our own: a path with tokens of the user's is linted as theirs.
    let runtime = quote!(__state_migration);
    let fingerprint = Literal::u64_suffixed(fingerprint);
    let defined_at = location(name.span(), &plain_name, krate);
    let details = details(said, &runtime);
    let from_type = associated("From", from);
    let to_type = associated("To", to);
    let takes_type = associated("Takes", takes);
    let gives_type = associated("Gives", gives);
    let source_state = stand_in(takes, &runtime);
    let target_state = stand_in(gives, &runtime);
    let pair = pair(from, to, said, &runtime);
    let refusal = refusal(to);
    let call = quote_spanned! {Span::mixed_site()=>
        fn call(state: #takes) -> #runtime::Returned<#gives> {
            #[allow(unused_imports)]
            use #runtime::AsIs as _;
            #runtime::Settle(#name(state)).__state_migration_settle()
        }

        fn decoder() -> ::core::option::Option<#runtime::Decoder> {
            #[allow(unused_imports)]
            use #runtime::{DecodeNothing as _, DecodeState as _};
            #runtime::Decode::<#gives>::new().__state_migration_decoder()
        }

        fn encoder() -> ::core::option::Option<#runtime::Encoder> {
            #[allow(unused_imports)]
            use #runtime::EncodeNothing as _;
            #runtime::Encode::<#takes>::new().__state_migration_encoder()
        }
    };
    let code = quote! {
        #[allow(deprecated, non_local_definitions)]
        const _: () = {
            use #krate::__private as __state_migration;

            impl #runtime::Annotated for #migration {
                #from_type
                #to_type
                #takes_type
                #gives_type

                const MIGRATION: Self = Self;
                const FINGERPRINT: ::core::primitive::u64 = #fingerprint;
                const DEFINED_AT: #krate::SourceLocation = #defined_at;
                #details

                #call
            }

            #pair

            const __STATE_MIGRATION: #runtime::Link = {
                #[allow(unused_imports)]
                use #runtime::NotShared as _;
                #runtime::link::<
                    #migration, #from, #to, #source_state, #target_state, #takes, #gives,
                >(#runtime::States::<#from, #to>::__STATE_MIGRATION_SHARED)
            };

            const _: () = if __STATE_MIGRATION.is_refused() {
                #refusal
            };

            #runtime::inventory::submit! { __STATE_MIGRATION.registration }
        };
    };
    // What the struct collides with is shown at the name that it is made of.
    let place = migration.span().resolved_at(Span::call_site());
    let documented = quote_spanned!(place=> #[doc = #doc]);
    let generated = quote_spanned! {place=>
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #visibility struct #migration;
    };
    // The one path that rustc resolves first: a `crate` that is another is one
    // error, at its last token.
    let followed_by = quote_spanned!(ends(krate).1=> __private::followed_by);
    quote!(#[#krate::#followed_by(#code)] #documented #generated)
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

/// An associated type, which stands where its value is written: rustc points at
/// the whole of it where a public function takes a private type.
fn associated(name: &str, value: &impl ToTokens) -> TokenStream {
    let (start, end) = ends(value);
    let name = Ident::new(name, start);
    let semicolon = quote_spanned!(end=> ;);
    quote_spanned!(start=> type #name = #value #semicolon)
}

/// A type that is to be inferred, with the span of one that is written.
pub(crate) fn stand_in(written: &impl ToTokens, runtime: &TokenStream) -> TokenStream {
    at(written, quote!(#runtime::Inferred<_>))
}

/// Makes a second migration between the same two a conflict, shown at `to` of
/// both. A detached one has nothing that may implement a trait of another crate.
///
/// `to` comes by way of an alias: among generic arguments, a type that is not
/// there would be an error of other words than it is elsewhere, and so a second.
pub(crate) fn pair(
    from: &impl ToTokens,
    to: &impl ToTokens,
    said: &Details,
    runtime: &TokenStream,
) -> TokenStream {
    let migrates = match said {
        Details { detached: true, .. } => return TokenStream::new(),
        Details { undo: true, .. } => quote!(MigratesBackTo),
        _ => quote!(MigratesTo),
    };
    let migrates = at(to, migrates);
    quote_spanned! {ends(to).0=>
        type __StateMigrationTo = #to;
        impl #runtime::#migrates<__StateMigrationTo> for #from {}
    }
}

/// What the runtime is told beside the types, where there is anything to say.
pub(crate) fn details(said: &Details, runtime: &TokenStream) -> TokenStream {
    let Details {
        undo,
        detached,
        note,
    } = said;
    if !undo && !detached && note.is_none() {
        return TokenStream::new();
    }
    let note = note.iter();
    let undo = undo.then(|| quote!(.undo()));
    let detached = detached.then(|| quote!(.detached()));
    quote! {
        const DETAILS: #runtime::Details =
            #runtime::Details::new() #(.note(#note))* #undo #detached;
    }
}

/// Refuses the two versions, at the one that should be the later.
pub(crate) fn refusal(to: &impl ToTokens) -> TokenStream {
    at(
        to,
        quote!(::core::panic!("{}", __STATE_MIGRATION.refusal())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: &str = "from = OrderV1, to = OrderV2";
    const FUNCTION: &str =
        "/// Docs.\n#[inline] pub(crate) const fn order_v1_to_v2(old: S1) -> S2 { S2(old.0) }";

    #[track_caller]
    fn tokens(code: &str) -> TokenStream {
        match code.parse() {
            Ok(tokens) => tokens,
            Err(error) => unreachable!("{code}: {error}"),
        }
    }

    #[track_caller]
    fn expanded(args: &str, item: &str) -> String {
        expand(tokens(args), tokens(item)).to_string()
    }

    #[test]
    fn the_item_comes_out_as_it_went_in() {
        let item = tokens(FUNCTION).to_string();
        assert!(expanded(ARGS, FUNCTION).starts_with(&item));
        assert!(expanded("", FUNCTION).contains(&item));

        let no_function = "struct Order { total: u64 }";
        assert!(expanded(ARGS, no_function).ends_with(&tokens(no_function).to_string()));
        let no_syntax_of_syn = "fn order_v1_to_v2(old: S1) -> S2 { new syntax { } => }";
        let item = tokens(no_syntax_of_syn).to_string();
        assert!(expanded(ARGS, no_syntax_of_syn).starts_with(&item));
    }

    #[test]
    fn the_crate_key_stands_for_every_path_of_the_runtime() {
        assert!(expanded(ARGS, FUNCTION).contains(":: state_migration"));
        let args = "crate = ::facade::runtime, from = OrderV1, to = OrderV2";
        assert!(!expanded(args, FUNCTION).contains(":: state_migration"));
        assert!(expanded(args, FUNCTION).contains(":: facade :: runtime :: __private"));
    }

    #[test]
    fn a_wrong_migration_is_a_hop_where_it_surely_would_be_one() {
        let wrong = FUNCTION.replace("const", "async");
        for (args, is_hop) in [
            (ARGS, true),
            ("from = OrderV1, to = OrderV2, note = 7", true),
            ("from = OrderV1, to = OrderV2, nam = 7", true),
            ("from = OrderV1, to = OrderV2, crate = crate::facade", true),
            ("from = OrderV1", false),
            ("from = OrderV1, to = OrderV2, detached", false),
            ("from = OrderV1, to = OrderV2, note = 7, detatched", false),
            ("from = OrderV1, to = OrderV2, undo = true", false),
            ("from = OrderV1, to = OrderV2, crate = \"facade\"", false),
            ("from = OrderV1, to = OrderV2, crate = a, crate = b", false),
        ] {
            let found = expanded(args, &wrong).contains("MigratesTo < OrderV2 > for OrderV1");
            assert_eq!(found, is_hop, "{args}");
        }
        let in_a_trait = "fn order_v1_to_v2(self);";
        assert!(!expanded(ARGS, in_a_trait).contains("MigratesTo"));
    }

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
