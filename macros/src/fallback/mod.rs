//! The output of the attribute in the case of errors: the errors, the function, and its
//! unit struct, so that uses of the two cause no further errors.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseStream, Parser};
use syn::{
    Attribute, Error, Ident, Item, ItemFn, Meta, Path, Result, Signature, Stmt, Visibility,
    parse_quote,
};

use crate::check::signature::{has_body, is_ours};
use crate::check::unparsed_fn::read_unparsed_fn;
use crate::expand::edge::Edge;
use crate::expand::function::lints;
use crate::expand::marker::marked;
use crate::expand::spans::{block, runtime};
use crate::expand::unit_struct::{annotated, beside, defined_at, doc, migration_name, values};
use crate::parse::args::{Args, Details};
use crate::parse::keys::KeyValues;

pub(crate) mod keep_imports;
pub(crate) mod refused_by_rustc;

/// The errors, unless rustc reports them; the item as the user wrote it; and the struct
/// that it would have had. No further error is caused by uses of the struct, by a
/// `migration_chain!` over its two versions, and by imports of the types it names.
///
/// The code begins like that of a right input. To propose names, an editor expands the
/// input once as it is, and once with a name at the cursor, which often makes it right. It
/// then looks for the cursor at the same place in both.
pub(crate) fn with_item(
    errors: Option<&Error>,
    args: TokenStream,
    item: TokenStream,
) -> TokenStream {
    let errors = errors.map(Error::to_compile_error);
    let (item, second) = without_second(item);
    let Ok(Some((visibility, function))) = generated.parse2(item.clone()) else {
        let item = with_uses(item, quote!(#args, #second));
        return quote!(#errors #item);
    };
    let found = Args::as_far_as_read(args.clone());
    let name = found.name.clone();
    let name = name.unwrap_or_else(|| migration_name(&function));
    let (lints, doc) = (lints(), doc(&function));
    let generated = quote!(#[doc = #doc] #visibility struct #name;);
    let (item, generated) = match krate(&found, &args) {
        Some(krate) => {
            let migration = migration(&found, &args, &krate, &visibility, &name, &function);
            let code = migration.map_or_else(
                || no_migration(&found, &krate, &name, quote!(#args, #second)),
                |code| {
                    let used = keep_imports::used(second.clone());
                    quote!(#code #used)
                },
            );
            let values = values(&krate, &name);
            let beside = beside(&item, &krate, &generated, &quote!(#values #code));
            (item, beside)
        }
        // The uses are in the function, because a constant may not be allowed beside it.
        None => (with_uses(item, quote!(#args, #second)), generated),
    };
    let item = marked(item);
    quote!(#lints #item #generated #errors)
}

/// The code that makes the struct a migration, and the two versions a hop of a chain.
/// `None` if that could be an error of its own.
fn migration(
    found: &KeyValues,
    args: &TokenStream,
    krate: &Path,
    visibility: &Visibility,
    name: &Ident,
    function: &Ident,
) -> Option<TokenStream> {
    let (from, to) = (found.from.as_ref()?, found.to.as_ref()?);
    let runtime = runtime();
    let edge = Edge {
        from,
        to,
        said: &Details {
            undo: false,
            // Treated as detached if the migration may not be a hop.
            detached: Args::may_say(args.clone(), &["detached", "undo"]),
            note: None,
            check: None,
            covers: None,
            unchanged: None,
        },
    };
    let core = quote!(#runtime::core);
    let none = quote!(#core::option::Option::None);
    let codecs = quote!(#none, #none);
    let refused = quote! {
        #core::result::Result::Err(#runtime::ConversionError::new("refused"))
    };
    let annotated = annotated(
        &edge,
        (visibility, name),
        &defined_at(krate, function),
        0,
        &codecs,
        |facts| facts,
        &refused,
    );
    Some(edge.block(krate, &annotated))
}

/// The code that makes the struct only a value, with uses of the types that are named. The
/// value is constructed once: otherwise rustc would report dead code, and a forbidden lint
/// cannot be allowed.
fn no_migration(found: &KeyValues, krate: &Path, name: &Ident, named: TokenStream) -> TokenStream {
    let proposed = keep_imports::proposed([found.from.as_ref(), found.to.as_ref()]);
    let uses = keep_imports::uses(named);
    let made = quote!(const _: #name = #name;);
    block(
        krate,
        &quote!(#[allow(deprecated, non_local_definitions)]),
        &quote!(#proposed #made #uses),
    )
}

/// The path of the runtime crate; `None` if it is given but cannot be read.
fn krate(found: &KeyValues, args: &TokenStream) -> Option<Path> {
    match &found.krate {
        None if Args::may_say(args.clone(), &["crate"]) => None,
        None => Some(Args::default_krate()),
        given => given.clone(),
    }
}

/// An item with uses of the types that its attribute names; inside the item, if it has a
/// body. It is not a function, or a function that no struct may be generated beside.
fn with_uses(item: TokenStream, named: TokenStream) -> TokenStream {
    let uses = keep_imports::uses(named.clone());
    if uses.is_empty() {
        return item;
    }
    if let Ok(mut function) = syn::parse2::<ItemFn>(item.clone()) {
        let uses = Stmt::Item(Item::Verbatim(uses));
        function.block.stmts.insert(0, uses);
        return function.into_token_stream();
    }
    match syn::parse2(item.clone()) {
        Ok(Item::Const(mut constant)) => {
            let value = constant.expr;
            constant.expr = parse_quote!({ #uses #value });
            constant.into_token_stream()
        }
        // These cannot be in an `impl` or a `trait`.
        Ok(
            Item::Struct(_)
            | Item::Enum(_)
            | Item::Union(_)
            | Item::Impl(_)
            | Item::Trait(_)
            | Item::Static(_)
            | Item::Use(_),
        ) => {
            let used = keep_imports::used(named);
            quote!(#used #item)
        }
        _ => item,
    }
}

/// The item without a second `#[state_migration]`, which would only repeat the error;
/// and the arguments of that attribute.
fn without_second(item: TokenStream) -> (TokenStream, TokenStream) {
    let mut second = TokenStream::new();
    let read = |input: ParseStream<'_>| {
        let mut attributes = Attribute::parse_outer(input)?;
        attributes.retain(|attribute| {
            let Meta::List(list) = &attribute.meta else {
                return true;
            };
            if is_ours(attribute) {
                second.extend([list.tokens.clone(), quote!(,)]);
            }
            !is_ours(attribute)
        });
        let rest: TokenStream = input.parse()?;
        Ok(quote!(#(#attributes)* #rest))
    };
    let without = read.parse2(item.clone());
    match without {
        Ok(without) if !second.is_empty() => (without, second),
        _ => (item, second),
    }
}

/// Visibility and name of a function beside which a struct may be generated.
fn generated(input: ParseStream<'_>) -> Result<Option<(Visibility, Ident)>> {
    let attributes = Attribute::parse_outer(input)?;
    let visibility = input.parse()?;
    let ahead = input.fork();
    let (name, has_receiver) = match ahead.parse::<Signature>() {
        Ok(signature) => {
            input.advance_to(&ahead);
            let has_receiver = signature.receiver().is_some();
            (Some(signature.ident), has_receiver)
        }
        Err(_) => {
            let name = read_unparsed_fn(input).and_then(|unparsed| unparsed.name);
            let parameters: Option<Group> = input.parse().ok();
            let parameters = parameters.map(|group| group.stream()).unwrap_or_default();
            let is_self = |token| matches!(token, TokenTree::Ident(word) if word == "self");
            (name, parameters.into_iter().any(is_self))
        }
    };
    // A second attribute generates its own struct.
    let another = attributes.iter().any(is_ours);
    let stands_alone = has_body(&input.parse()?) && !has_receiver && !another;
    Ok(name.filter(|_| stands_alone).map(|name| (visibility, name)))
}
