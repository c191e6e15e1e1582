//! Snapshots of the expanded macros: formatted code, compared with the files in
//! `macros/snapshots`. `SNAPSHOTS=overwrite cargo test -p state-migration-macros` writes
//! them again.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use proc_macro2::TokenStream;
use syn::{File, Item, Meta};

use crate::pipeline;

const FUNCTION: &str = "/// Counts cents.\n\
     pub(crate) fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 { cents: old.euro * 100 } }";

/// The name of a snapshot, the macro, its arguments, and the item that it annotates.
type Case = (&'static str, Macro, &'static str, &'static str);

enum Macro {
    StateMigration,
    Identity,
    Chain,
    NoMigration,
    Register,
}

const CASES: [Case; 18] = [
    (
        "function",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2",
        FUNCTION,
    ),
    (
        "function_with_all_keys",
        Macro::StateMigration,
        "crate = crate::facade, from = orders::V2, to = orders::V1, name = Back, note = \"loses cents\", check = amounts::are_kept, undo, detached",
        FUNCTION,
    ),
    (
        "function_with_a_note",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2, note = \"counts cents\"",
        FUNCTION,
    ),
    (
        "function_with_undo",
        Macro::StateMigration,
        "from = OrderV2, to = OrderV1, undo",
        "fn order_v2_to_v1(new: StateV2) -> Result<StateV1, String> { Err(String::new()) }",
    ),
    (
        "function_detached",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2, detached",
        FUNCTION,
    ),
    (
        "function_with_a_raw_name",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2",
        "#[must_use] const fn r#move(_: ()) -> () {}",
    ),
    (
        "function_that_rustc_refuses",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2",
        "fn order_v1_to_v2(old: StateV1) -> Result<StateV2, dyn Error> { Ok(StateV2) }",
    ),
    (
        "wrong_argument",
        Macro::StateMigration,
        "form = OrderV1, to = OrderV2, name = ToCents",
        FUNCTION,
    ),
    (
        "wrong_signature",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2",
        "pub async fn order_v1_to_v2(old: &StateV1) -> StateV2 { StateV2 }",
    ),
    (
        "wrong_place",
        Macro::StateMigration,
        "from = OrderV1, to = OrderV2",
        "struct OrderV1ToV2;",
    ),
    (
        "second_attribute_of_another_name",
        Macro::StateMigration,
        "from = OrderV1",
        "#[moves(from = OrderV2, to = OrderV3)] fn order_v1_to_v2(old: StateV1) -> StateV2 { StateV2 }",
    ),
    ("identity", Macro::Identity, "OrderV1 => OrderV2", ""),
    (
        "identity_with_all_keys",
        Macro::Identity,
        "orders::V2 => orders::V1, undo, detached, note = \"the same state\"",
        "",
    ),
    ("wrong_identity", Macro::Identity, "OrderV1, OrderV2", ""),
    ("chain", Macro::Chain, "OrderV1 => OrderV2 => OrderV3", ""),
    (
        "no_migration",
        Macro::NoMigration,
        "OrderV1, reason = \"never deployed\"",
        "",
    ),
    (
        "register_workflow",
        Macro::Register,
        "OrderV3, invoices::V2",
        "",
    ),
    (
        "wrong_decision",
        Macro::NoMigration,
        "OrderV1, because = \"never deployed\"",
        "",
    ),
];

#[test]
fn macros_expand_to_their_snapshots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let overwrite = env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite");
    let mut differ = Vec::new();
    for (name, called, args, item) in CASES {
        let expanded = snapshot(&called, args, item);
        let file = folder.join(name).with_extension("rs");
        if overwrite {
            assert!(fs::write(&file, &expanded).is_ok(), "{}", file.display());
        }
        if fs::read_to_string(&file).ok().as_deref() != Some(&expanded) {
            differ.push(format!("{}\n{expanded}", file.display()));
        }
    }
    assert_eq!(differ.join("\n"), "", "differ from what they expand to");

    let written: BTreeSet<String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let expected: BTreeSet<String> = CASES.iter().map(|case| format!("{}.rs", case.0)).collect();
    assert_eq!(written, expected, "a file for each case");
}

/// The use of a macro as a comment, and what it expands to.
fn snapshot(called: &Macro, args: &str, item: &str) -> String {
    // The macros of the runtime crate put their `$crate` before what they are given.
    let passed_on = || tokens(&format!("state_migration; {args}"));
    let (written, expanded) = match called {
        Macro::StateMigration => (
            format!("#[state_migration({args})]\n{item}"),
            pipeline::state_migration(tokens(args), tokens(item)),
        ),
        Macro::Identity => (
            format!("identity_migration!({args});"),
            pipeline::identity_migration(passed_on()),
        ),
        Macro::Chain => (
            format!("migration_chain!({args});"),
            pipeline::migration_chain(passed_on()),
        ),
        Macro::NoMigration => (
            format!("no_migration!({args});"),
            pipeline::no_migration(passed_on()),
        ),
        Macro::Register => (
            format!("register_workflow!({args});"),
            pipeline::register_workflow(passed_on()),
        ),
    };
    let comment: String = written.lines().map(|line| format!("// {line}\n")).collect();
    let mut file = file(expanded);
    unfold(&mut file);
    format!("{comment}\n{}", prettyplease::unparse(&file))
}

/// Expands `followed_by`, and those macros that put their code in the place of an item.
fn unfold(file: &mut File) {
    let mut items = Vec::new();
    for mut item in std::mem::take(&mut file.items) {
        let attributes = match &mut item {
            Item::Struct(item) => &mut item.attrs,
            Item::Const(item) => &mut item.attrs,
            _ => &mut Vec::new(),
        };
        let mut code = TokenStream::new();
        let mut is_replaced = false;
        attributes.retain(|attribute| {
            let last = attribute.path().segments.last();
            let name = last.map(|last| last.ident.to_string()).unwrap_or_default();
            let is_place = name == "generated" || name == "replaced_by";
            // Its name where it is re-exported.
            let is_followed = name == "name";
            match &attribute.meta {
                Meta::List(list) if is_place || is_followed => {
                    code.extend(list.tokens.clone());
                    is_replaced = is_place;
                    false
                }
                _ => true,
            }
        });
        if !is_replaced {
            items.push(item);
        }
        let mut code = self::file(code);
        if is_replaced {
            unfold(&mut code);
        }
        items.extend(code.items);
    }
    file.items = items;
}

#[track_caller]
fn file(tokens: TokenStream) -> File {
    match syn::parse2(tokens) {
        Ok(file) => file,
        Err(error) => unreachable!("{error}"),
    }
}

#[track_caller]
fn tokens(code: &str) -> TokenStream {
    match code.parse() {
        Ok(tokens) => tokens,
        Err(error) => unreachable!("{code}: {error}"),
    }
}
