//! The generated code.
//!
//! Spans decide where the compiler shows a mistake, so tokens of the user's are
//! passed on as they are, and the few generated tokens that an error can stand
//! at get the span of what the user wrote.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use crate::args::Args;
use crate::check::{Function, marked};
use crate::edge::{Edge, associated, inferred};
use crate::fallback;
use crate::fingerprint::fingerprint;
use crate::place::{at, ends, location, runtime};

/// The item as it is, with the migration or with the mistakes.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    match read(args.clone(), item.clone()) {
        Ok((read, function)) => match function.refused_by_rustc() {
            Some(proof) => {
                let item = fallback::with_item(None, args, item);
                quote!(#item #proof)
            }
            None => {
                let migration = migration(&read, &function, fingerprint(&item));
                let (lints, item) = (lints(), marked(item));
                quote!(#lints #item #migration)
            }
        },
        // To a `#[state_migration = …]` rustc says that it is none.
        Err(_) if is_key_and_value(&args) => item,
        Err(errors) => fallback::with_item(Some(&errors), args, item),
    }
}

/// Lints that would have the function take or return something else than a state.
fn lints() -> TokenStream {
    quote! {
        #[allow(
            clippy::implicit_hasher,
            clippy::large_types_passed_by_value,
            clippy::needless_pass_by_value,
            clippy::unnecessary_box_returns
        )]
    }
}

/// Both inputs, or the mistakes in both.
fn read(args: TokenStream, item: TokenStream) -> syn::Result<(Args, Function)> {
    match (Args::parse(args, attribute(&item)), Function::parse(item)) {
        (Ok(args), Ok(function)) => Ok((args, function)),
        (Err(mut args), Err(function)) => {
            args.combine(function);
            Err(args)
        }
        (Err(errors), _) | (_, Err(errors)) => Err(errors),
    }
}

/// Where the attribute stands. With the context of the item, or rustc adds that an
/// error there originates in a macro.
fn attribute(item: &TokenStream) -> Span {
    let first = item.clone().into_iter().next();
    first.map_or_else(Span::call_site, |token| {
        Span::call_site().resolved_at(token.span())
    })
}

/// Whether rustc refuses the attribute for its `=`. Where that is not certain, it
/// is taken for none: a mistake that is shown twice is better than one in silence.
fn is_key_and_value(args: &TokenStream) -> bool {
    let written = Span::call_site().source_text().unwrap_or_default();
    args.clone().into_iter().count() <= 1 && is_path_and_equals(&written)
}

/// Whether a text begins as `#[path =`, without a comment, which may hold anything.
fn is_path_and_equals(written: &str) -> bool {
    let attribute = written.strip_prefix("#[").unwrap_or(written);
    attribute.split_once('=').is_some_and(|(path, _)| {
        let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c.is_whitespace();
        path.chars().all(in_path)
    })
}

fn migration(args: &Args, function: &Function, fingerprint: u64) -> TokenStream {
    let Args { krate, .. } = args;
    let Function {
        visibility, name, ..
    } = function;
    let migration = args.name.clone();
    let migration = migration.unwrap_or_else(|| migration_name(name));
    let doc = doc(name);
    let runtime = runtime();
    let edge = Edge {
        from: &args.from,
        to: &args.to,
        said: &args.details,
    };
    let (from, to) = (edge.from(), edge.to());
    let source_state = inferred(&function.takes);
    let target_state = inferred(&function.gives);
    let (takes, gives) = (&source_state, &target_state);
    // A state that only borrows is refused at the path of `link` as a whole.
    let (link, close) = (
        at(&function.takes, quote!(#runtime::link::<)),
        at(&function.takes, quote!(>)),
    );
    let submit = edge.submit();
    // rustc does not warn of an import of the macro's own that is not needed. A plain
    // name of a parameter may be that of a constant here, which it would match.
    let call = quote_spanned! {Span::mixed_site()=>
        fn call<S: 'static, T: 'static>(
            __state: S,
        ) -> #runtime::core::result::Result<T, #runtime::ConversionError> {
            use #runtime::{AsIs as _, AsText as _, AsTold as _, AsToldOfABox as _};
            #runtime::convert(
                __state,
                #runtime::function(#name),
                #runtime::function(#name).gives().__state_migration_settle(),
            )
        }

        fn decoder() -> #runtime::core::option::Option<#runtime::Decoder> {
            use #runtime::{DecodeNothing as _, DecodeState as _};
            #runtime::function(#name).gives().__state_migration_decoder()
        }

        fn encoder() -> #runtime::core::option::Option<#runtime::Encoder> {
            use #runtime::EncodeNothing as _;
            #runtime::function(#name).takes().__state_migration_encoder()
        }
    };
    let annotated = annotated(&edge, &migration, name, fingerprint, &call);
    let code = quote! {
        #annotated

        const __STATE_MIGRATION: #runtime::Link = {
            use #runtime::NotShared as _;
            #link
                #migration, #from, #to, #source_state, #target_state, #takes, #gives,
            #close(
                #runtime::States::<__StateMigrationFrom, __StateMigrationTo>
                    ::__STATE_MIGRATION_SHARED,
            )
            .of(#runtime::function(#name))
        };

        #submit
    };
    let code = edge.block(krate, &code);
    // What the struct collides with is shown at the name that it is made of.
    let place = migration.span().resolved_at(Span::call_site());
    let documented = quote_spanned!(place=> #[doc = #doc]);
    let generated = quote_spanned!(place=> #visibility struct #migration;);
    // The one path that rustc resolves first: a `crate` that is another is one
    // error, at its last token.
    let followed_by = quote_spanned!(ends(krate).1=> __private::followed_by);
    quote!(#[#krate::#followed_by(#code)] #documented #generated)
}

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
        assert!(expanded(ARGS, FUNCTION).contains(&item));
        assert!(expanded("", FUNCTION).contains(&item));

        let no_function = "struct Order { total: u64 }";
        assert!(expanded(ARGS, no_function).ends_with(&tokens(no_function).to_string()));
        let half_typed = "pub const fn order_v1_to_v2(old: ) -> S2 { S2 }";
        let item = tokens(half_typed).to_string();
        assert!(expanded(ARGS, half_typed).starts_with(&item));
        assert!(expanded(ARGS, half_typed).contains("pub struct OrderV1ToV2Migration"));
        let half_typed = "fn order_v1_to_v2(old S1) -> S2 { S2 }";
        assert!(!expanded(ARGS, half_typed).contains("compile_error"));
        let no_syntax_of_syn = "fn order_v1_to_v2(old: S1) -> S2 { new syntax { } => }";
        let item = tokens(no_syntax_of_syn).to_string();
        assert!(expanded(ARGS, no_syntax_of_syn).contains(&item));
    }

    #[test]
    fn only_a_plain_path_before_an_equals_sign_is_left_to_rustc() {
        for (written, is_left) in [
            ("#[state_migration = \"x\"]", true),
            ("#[ ::sm :: state_migration=1]", true),
            ("state_migration = \"x\"", true),
            ("#[state_migration(form = A)]", false),
            ("#[state_migration]", false),
            ("#[ /* was: from = A */ state_migration(form = B)]", false),
            ("#[state_migration /* x = y */ (form = A)]", false),
            ("#[state_migration // x = y\n (form = A)]", false),
            ("", false),
        ] {
            assert_eq!(is_path_and_equals(written), is_left, "{written}");
        }
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
            ("from = OrderV1, too = OrderV2", true),
            ("form = OrderV1, to = OrderV2", true),
            ("from = OrderV1, too = OrderV2, undo", false),
            ("from = OrderV1, too = OrderV2, ti = OrderV3", false),
            ("from = OrderV1, target = OrderV2", false),
            ("form = OrderV1, too = OrderV2", false),
            ("from = OrderV1", false),
            ("from = OrderV1, to = OrderV2, detached", false),
            ("from = OrderV1, to = OrderV2, note = 7, detatched", false),
            ("from = OrderV1, to = OrderV2, undo = true", false),
            ("from = OrderV1, to = OrderV2, crate = \"facade\"", false),
            ("from = OrderV1, to = OrderV2, crate = a, crate = b", false),
        ] {
            let found = expanded(args, &wrong).contains(":: MigratesTo <");
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
