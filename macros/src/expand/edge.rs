//! What the attribute and `identity_migration!` generate alike: the edge from
//! one version to another.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;

use crate::expand::spans::{at, block, ends, runtime};
use crate::parse::args::Details;

/// The workflows at the ends of an edge.
pub(crate) struct Edge<'a> {
    pub(crate) from: &'a Type,
    pub(crate) to: &'a Type,
    pub(crate) said: &'a Details,
}

impl Edge<'_> {
    /// Generated code about the edge, behind what all of it has.
    pub(crate) fn block(&self, krate: &impl ToTokens, code: &TokenStream) -> TokenStream {
        let (names, pair) = (self.names(), self.pair());
        let lints = quote!(#[allow(deprecated, non_local_definitions)]);
        block(krate, &lints, &quote!(#names #pair #code))
    }

    /// Names for the workflows. They are written out here only: a type that is
    /// not there is an error wherever it is written, and not always in the same
    /// words, by which rustc would know it for one.
    fn names(&self) -> TokenStream {
        let (from, to) = (self.from, self.to);
        quote! {
            type __StateMigrationFrom = #from;
            type __StateMigrationTo = #to;
        }
    }

    /// The `from` workflow, at its place.
    pub(crate) fn from(&self) -> TokenStream {
        stand_in(self.from, &quote!(__StateMigrationFrom))
    }

    /// The `to` workflow, at its place.
    pub(crate) fn to(&self) -> TokenStream {
        stand_in(self.to, &quote!(__StateMigrationTo))
    }

    /// Makes a second migration between the same two a conflict, shown at `to` of
    /// both. A detached one has nothing that may implement a trait of another crate.
    fn pair(&self) -> TokenStream {
        let migrates = match self.said {
            Details { detached: true, .. } => return TokenStream::new(),
            Details { undo: true, .. } => quote!(MigratesBackTo),
            _ => quote!(MigratesTo),
        };
        let (from, to, runtime) = (self.from(), self.to(), runtime());
        let migrates = at(self.to, quote!(#runtime::#migrates));
        quote_spanned! {ends(self.to).0=>
            impl #migrates<#to> for #from {}
        }
    }

    /// What the runtime is told beside the types, where there is anything to say.
    pub(crate) fn details(&self) -> TokenStream {
        let Details {
            undo,
            detached,
            note,
        } = self.said;
        if !undo && !detached && note.is_none() {
            return TokenStream::new();
        }
        let runtime = runtime();
        let note = note.iter();
        let undo = undo.then(|| quote!(.undo()));
        let detached = detached.then(|| quote!(.detached()));
        quote! {
            const DETAILS: #runtime::Details =
                #runtime::Details::new() #(.note(#note))* #undo #detached;
        }
    }

    /// Hands the link over, unless the two versions are refused, at the one that
    /// should be the later.
    pub(crate) fn submit(&self) -> TokenStream {
        let runtime = runtime();
        let refusal = at(
            self.to,
            quote!(#runtime::core::panic!("{}", __STATE_MIGRATION.refusal())),
        );
        quote! {
            const _: () = if __STATE_MIGRATION.is_refused() {
                #refusal
            };

            #runtime::inventory::submit! { __STATE_MIGRATION.registration }
        }
    }
}

/// A type, with the place of one that is written.
fn stand_in(written: &Type, ty: &TokenStream) -> TokenStream {
    let runtime = runtime();
    at(written, quote!(#runtime::Inferred<#ty>))
}

/// A type that is to be inferred, with the place of one that is written.
pub(crate) fn inferred(written: &Type) -> TokenStream {
    stand_in(written, &quote!(_))
}

/// An associated type, which stands where its value is written: rustc points at
/// the whole of it where a public function takes a private type.
pub(crate) fn associated(name: &str, value: &impl ToTokens) -> TokenStream {
    let (start, end) = ends(value);
    let name = proc_macro2::Ident::new(name, start);
    let semicolon = quote_spanned!(end=> ;);
    quote_spanned!(start=> type #name = #value #semicolon)
}
