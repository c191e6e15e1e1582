//! The code of `identity_migration!` and `migration_chain!`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::edge::{Edge, inferred};
use crate::expand::spans::{at, block, item, location, outermost, runtime};
use crate::parse::chains::{Chain, Identity};

pub(crate) fn identity(identity: &Identity) -> TokenStream {
    let Identity {
        krate,
        from,
        to,
        details: said,
    } = identity;
    let runtime = runtime();
    let defined_at = location(outermost(from).0, "identity_migration!", &runtime);
    let edge = Edge { from, to, said };
    let (from_type, to_type) = (edge.from(), edge.to());
    let source_state = inferred(from);
    let target_state = inferred(to);
    let details = edge.details().map(|details| {
        quote! {
            const DETAILS: #runtime::Details = #details;
        }
    });
    let link = quote!(__STATE_MIGRATION);
    let submit = edge.submit(&runtime, &quote!(registration_of(#link)), &link);
    let (link, close) = (
        at(from, quote!(#runtime::link_identity::<)),
        at(from, quote!(>)),
    );
    let code = quote! {
        enum __StateMigrationPair {}

        impl #runtime::Pair for __StateMigrationPair {
            type From = __StateMigrationFrom;
            type To = __StateMigrationTo;

            const DEFINED_AT: #runtime::SourceLocation = #defined_at;
            #details
        }

        const __STATE_MIGRATION: #runtime::Link =
            #link
                __StateMigrationPair, #from_type, #to_type, #source_state, #target_state,
            #close();

        #submit
    };
    item(krate, edge.block(krate, &code))
}

pub(crate) fn chain(chain: &Chain) -> TokenStream {
    let Chain { krate, versions } = chain;
    let runtime = runtime();
    let hops = versions.windows(2).map(|hop| {
        let (from, to) = (&hop[0], &hop[1]);
        let hop = at(from, quote!(#runtime::hop));
        quote!(#hop::<#from, #to>();)
    });
    item(
        krate,
        block(krate, &quote!(#[allow(deprecated)]), &hops.collect()),
    )
}
