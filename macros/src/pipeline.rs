//! The pipeline of each macro: parse, check, and expand; or fall back.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Result;

use crate::check::signature::Function;
use crate::expand;
use crate::fallback::refused_by_rustc::refused_by_rustc;
use crate::fallback::{self, keep_imports};
use crate::parse::args::Args;
use crate::parse::chains::{Chain, Identity};
use crate::parse::declarations::{NoMigration, Register};

/// The unchanged item, with the migration or with the errors.
pub(crate) fn state_migration(args: TokenStream, item: TokenStream) -> TokenStream {
    match read(args.clone(), item.clone()) {
        Ok((read, function)) => match refused_by_rustc(&function) {
            Some(proof) => {
                let item = fallback::with_item(None, args, item);
                quote!(#item #proof)
            }
            None => expand::function::function(&read, &function, item),
        },
        // rustc itself refuses a `#[state_migration = …]`.
        Err(_) if is_key_and_value(&args) => item,
        Err(errors) => fallback::with_item(Some(&errors), args, item),
    }
}

pub(crate) fn identity_migration(input: TokenStream) -> TokenStream {
    or_errors(Identity::parse, expand::chains::identity, input)
}

pub(crate) fn migration_chain(input: TokenStream) -> TokenStream {
    or_errors(Chain::parse, expand::chains::chain, input)
}

pub(crate) fn no_migration(input: TokenStream) -> TokenStream {
    or_errors(
        NoMigration::parse,
        expand::declarations::no_migration,
        input,
    )
}

pub(crate) fn register_workflow(input: TokenStream) -> TokenStream {
    or_errors(Register::parse, expand::declarations::register, input)
}

/// The code of a function-like macro, or the errors in its arguments.
fn or_errors<T>(
    parse: fn(TokenStream) -> Result<T>,
    expand: fn(&T) -> TokenStream,
    input: TokenStream,
) -> TokenStream {
    match parse(input.clone()) {
        Ok(read) => expand(&read),
        Err(errors) => keep_imports::errors(&errors, input),
    }
}

/// Arguments and function, or the errors in both.
fn read(args: TokenStream, item: TokenStream) -> Result<(Args, Function)> {
    match (Args::parse(args, attribute(&item)), Function::parse(item)) {
        (Ok(args), Ok(function)) => Ok((args, function)),
        (Err(mut args), Err(function)) => {
            args.combine(function);
            Err(args)
        }
        (Err(errors), _) | (_, Err(errors)) => Err(errors),
    }
}

/// The span of the attribute. It has the context of the item; otherwise rustc adds that
/// an error originates in a macro.
///
/// In an editor the span of the call is the definition of the macro, unless it has the
/// context of the call. An editor does not know the files of spans.
fn attribute(item: &TokenStream) -> Span {
    let call = Span::call_site();
    let Some(first) = item.clone().into_iter().next() else {
        return call;
    };
    let is_in_a_file =
        || call.unwrap().file() == first.span().unwrap().file() && !call.unwrap().file().is_empty();
    match proc_macro::is_available() && !is_in_a_file() {
        true => call,
        false => call.resolved_at(first.span()),
    }
}

/// Whether rustc refuses the attribute because of its `=`. In case of doubt it does not:
/// an error that is shown twice is better than one that is not shown.
fn is_key_and_value(args: &TokenStream) -> bool {
    let written = Span::call_site().source_text().unwrap_or_default();
    args.clone().into_iter().count() <= 1 && is_path_and_equals(&written)
}

/// Whether a text begins with `#[path =`. A comment is not accepted, because it can
/// contain anything.
fn is_path_and_equals(written: &str) -> bool {
    let attribute = written.strip_prefix("#[").unwrap_or(written);
    attribute.split_once('=').is_some_and(|(path, _)| {
        let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c.is_whitespace();
        path.chars().all(in_path)
    })
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
        state_migration(tokens(args), tokens(item)).to_string()
    }

    #[test]
    fn the_item_comes_out_as_it_went_in() {
        let item = tokens(FUNCTION).to_string();
        assert!(expanded(ARGS, FUNCTION).contains(&item));
        assert!(expanded("", FUNCTION).contains(&item));

        let no_function = "struct Order { total: u64 }";
        assert!(expanded(ARGS, no_function).ends_with(&tokens(no_function).to_string()));
        let incomplete = "pub const fn order_v1_to_v2(old: ) -> S2 { S2 }";
        let item = tokens(incomplete).to_string();
        assert!(expanded(ARGS, incomplete).contains(&item));
        // As an editor expects of an input that a name at the cursor makes right.
        let complete = expanded(ARGS, &incomplete.replace("old: ", "old: S1"));
        let place = complete.find("old");
        assert!(place.is_some());
        assert_eq!(expanded(ARGS, incomplete).find("old"), place);
        assert_eq!(expanded("from = OrderV1", incomplete).find("old"), place);
        assert!(expanded(ARGS, incomplete).contains("pub struct OrderV1ToV2Migration"));
        let incomplete = "fn order_v1_to_v2(old S1) -> S2 { S2 }";
        assert!(!expanded(ARGS, incomplete).contains("compile_error"));
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
            let found = expanded(args, &wrong).contains(":: KeepOneMigrationTo <");
            assert_eq!(found, is_hop, "{args}");
        }
        let in_a_trait = "fn order_v1_to_v2(self);";
        assert!(!expanded(ARGS, in_a_trait).contains("KeepOneMigrationTo"));
    }

    #[test]
    fn the_struct_of_a_function_without_documentation_has_none() {
        let hidden = |item: &str| expanded(ARGS, item).matches("# [doc (hidden)]").count();
        let function = "fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 }";
        assert_eq!(hidden(function), 0);
        assert_eq!(hidden(&format!("#[doc(hidden)] {function}")), 2);
        assert_eq!(hidden(&format!("/// Hidden.\n{function}")), 0);
    }
}
