//! The code of the attribute: the function as it is, and its migration.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::check::signature::Function;
use crate::expand::edge::{Edge, inferred};
use crate::expand::fingerprint::fingerprint;
use crate::expand::marker::marked;
use crate::expand::spans::{at, ends, runtime};
use crate::expand::unit_struct::{annotated, doc, migration_name};
use crate::parse::args::Args;

/// The function with its migration.
pub(crate) fn function(args: &Args, function: &Function, item: TokenStream) -> TokenStream {
    let migration = migration(args, function, fingerprint(&item));
    let (lints, item) = (lints(), marked(item));
    quote!(#lints #item #migration)
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
