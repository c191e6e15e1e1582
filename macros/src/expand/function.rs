//! The code of the attribute: the unchanged function, and its migration.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::check::signature::Function;
use crate::expand::edge::{Edge, inferred};
use crate::expand::fingerprint::fingerprint;
use crate::expand::marker::marked;
use crate::expand::spans::{at, end, macros, runtime, start};
use crate::expand::unit_struct::{annotated, beside, defined_at, doc, migration_name, values};
use crate::parse::args::Args;

/// The function with its migration.
pub(crate) fn function(args: &Args, function: &Function, item: TokenStream) -> TokenStream {
    let migration = migration(args, function, &item);
    let (lints, item) = (lints(), marked(item));
    quote!(#lints #item #migration)
}

/// Permission for lints that suggest a parameter or a return type other than the state.
pub(crate) fn lints() -> TokenStream {
    quote! {
        #[allow(
            clippy::implicit_hasher,
            clippy::large_types_passed_by_value,
            clippy::needless_pass_by_value,
            clippy::unnecessary_box_returns
        )]
    }
}

fn migration(args: &Args, function: &Function, item: &TokenStream) -> TokenStream {
    let Args { krate, .. } = args;
    let Function {
        visibility, name, ..
    } = function;
    let derived_from = args.name.as_ref().unwrap_or(name).span();
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
    // A state that cannot be owned is refused at the whole path of `link`.
    let (link, close) = (
        at(&function.takes, quote!(#runtime::link::<)),
        at(&function.takes, quote!(>)),
    );
    let codecs = quote! {
        #runtime::Codec::<__StateMigrationFrom>::__STATE_MIGRATION_ENCODER,
        #runtime::Codec::<__StateMigrationTo>::__STATE_MIGRATION_DECODER
    };
    let link = |facts| {
        quote! {
            #link
                Self, #from, #to, #source_state, #target_state, #takes, #gives,
            #close(
                #facts,
                #runtime::States::<__StateMigrationFrom, __StateMigrationTo>
                    ::__STATE_MIGRATION_SHARED,
            )
            .of(#runtime::function(#name))
        }
    };
    let call = quote_spanned! {Span::mixed_site()=>
        #runtime::convert(__call, #runtime::function(#name).__state_migration_conversion())
    };
    let annotated = annotated(
        &edge,
        (visibility, &migration),
        &defined_at(krate, name),
        fingerprint(item),
        &codecs,
        link,
        &call,
    );
    let submit = edge.submit(
        &macros(krate),
        &quote!(registration::<#migration>()),
        &quote!(<#migration as #runtime::Annotated>::FACTS.link()),
    );
    let values = values(krate, &migration);
    // rustc does not report unused imports that a macro generated.
    let code = quote! {
        use #runtime::probes::*;

        #values

        #annotated

        #submit
    };
    let code = edge.block(krate, &code);
    // A name collision of the struct is shown at the name that it is derived from.
    let derived_from = derived_from.resolved_at(Span::call_site());
    let (place, behind) = (start(derived_from), end(derived_from));
    let hidden = function.is_hidden.then(|| quote!(#[doc(hidden)]));
    let documented = quote_spanned!(place=> #[doc = #doc]);
    let semicolon = quote_spanned!(behind=> ;);
    let generated = quote_spanned!(place=> #visibility struct #migration #semicolon);
    let generated = quote!(#documented #hidden #generated);
    beside(item, krate, &generated, &code)
}
