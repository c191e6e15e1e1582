//! The edge from one version to another, which the attribute and
//! `identity_migration!` generate alike.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use crate::expand::spans::{at, block, ends, runtime};
use crate::parse::args::Details;

/// The workflows at the ends of an edge.
pub(crate) struct Edge<'a> {
    pub(crate) from: &'a Type,
    pub(crate) to: &'a Type,
    pub(crate) said: &'a Details,
}

impl Edge<'_> {
    /// Generated code about the edge, after the items that all edges have.
    pub(crate) fn block(&self, krate: &impl ToTokens, code: &TokenStream) -> TokenStream {
        let (names, pair) = (names(self.from, self.to), self.pair());
        let lints = quote!(#[allow(deprecated, non_local_definitions)]);
        block(krate, &lints, &quote!(#names #pair #code))
    }

    /// The alias of the `from` workflow, with the span of the type.
    pub(crate) fn from(&self) -> TokenStream {
        stand_in(self.from, &quote!(__StateMigrationFrom))
    }

    /// The alias of the `to` workflow, with the span of the type.
    pub(crate) fn to(&self) -> TokenStream {
        stand_in(self.to, &quote!(__StateMigrationTo))
    }

    /// The implementation that conflicts with that of a second migration between the
    /// same versions, shown at `to` of both. A detached migration has none, since neither
    /// type may implement a trait of another crate.
    fn pair(&self) -> TokenStream {
        let migrates = match self.said {
            Details { detached: true, .. } => return TokenStream::new(),
            Details { undo: true, .. } => quote!(KeepOneUndoTo),
            _ => quote!(KeepOneMigrationTo),
        };
        let (from, to, runtime) = (self.from(), self.to(), runtime());
        let migrates = at(self.to, quote!(#runtime::#migrates));
        let (start, end) = ends(self.to);
        let body = quote_spanned!(end=> {});
        quote_spanned! {start=>
            impl #migrates<#to> for #from #body
        }
    }

    /// The other keys, as a value; `None` if there are none.
    pub(crate) fn details(&self) -> Option<TokenStream> {
        let Details {
            undo,
            detached,
            note,
            check: _,
            covers,
            unchanged,
        } = self.said;
        let has_text = note.is_some() || covers.is_some() || unchanged.is_some();
        if !undo && !detached && !has_text {
            return None;
        }
        let runtime = runtime();
        let note = note.iter();
        let covers = covers.iter();
        let (earlier, now): (Vec<u64>, Vec<u64>) = unchanged.iter().copied().unzip();
        let undo = undo.then(|| quote!(.undo()));
        let detached = detached.then(|| quote!(.detached()));
        Some(quote! {
            #runtime::Details::new() #(.note(#note))* #(.covers(#covers))*
                #(.unchanged(#earlier, #now))* #undo #detached
        })
    }

    /// The check of the two states, if there is one.
    pub(crate) fn check(&self) -> Option<TokenStream> {
        let check = self.said.check.as_ref()?;
        let (from, to, runtime) = (self.from(), self.to(), runtime());
        let any = quote!(#runtime::core::any::Any);
        // A wrong function is refused at its name.
        let place = Span::mixed_site().located_at(check.span());
        let call = quote_spanned! {place=>
            #runtime::checked_by::<#from, #to, _>(__old, __new, #check)
        };
        Some(quote_spanned! {Span::mixed_site()=>
            const CHECKS: bool = true;
            fn check(
                __old: &dyn #any,
                __new: &dyn #any,
            ) -> #runtime::core::result::Result<(), #runtime::ConversionError> {
                #call
            }
        })
    }

    /// The submission to the linker, and the check of the versions, whose error is shown at
    /// `to`. `macros` is the path of the runtime's macros.
    pub(crate) fn submit(
        &self,
        macros: &TokenStream,
        registration: &TokenStream,
        link: &TokenStream,
    ) -> TokenStream {
        let runtime = runtime();
        let check = at(self.to, quote!(#runtime::check_versions(#link)));
        quote! {
            const _: () = #check;
            #macros::inventory::submit! { #runtime::#registration }
        }
    }
}

/// Aliases of the workflows, the only place where their types are written. rustc reports an
/// unresolved type at every occurrence, and not always in the same words, by which it would
/// recognize a duplicate.
fn names(from: &impl ToTokens, to: &impl ToTokens) -> TokenStream {
    quote! {
        type __StateMigrationFrom = #from;
        type __StateMigrationTo = #to;
    }
}

/// A type with the span of another.
pub(crate) fn stand_in(written: &Type, ty: &impl ToTokens) -> TokenStream {
    let runtime = runtime();
    at(written, quote!(#runtime::Inferred<#ty>))
}

/// A type to be inferred, with the span of another.
pub(crate) fn inferred(written: &Type) -> TokenStream {
    stand_in(written, &quote!(_))
}

/// An associated type with the place of the visibility of the struct: this is what rustc
/// points at if a public struct has private workflows.
pub(crate) fn associated(name: &str, value: &impl ToTokens, place: &impl ToTokens) -> TokenStream {
    let (start, end) = ends(place);
    let name = proc_macro2::Ident::new(name, end);
    let semicolon = quote_spanned!(end=> ;);
    quote_spanned!(start=> type #name = #value #semicolon)
}
