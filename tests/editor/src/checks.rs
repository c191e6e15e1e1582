//! The checks, by what the user does.

use crate::expected::Check;
use crate::expected::Expected::{self, Hovers, LeadsTo, Proposes, Renames, Shows};

/// What comes before each text.
const HEAD: &str = "\
pub mod workflows;
use state_migration::{
    identity_migration, migration_chain, no_migration, register_workflow, state_migration,
};
use workflows::{OrderV1, OrderV2, OrderV3, StateV1, StateV2};
";

const BODY: &str = "fn order_v1_to_v2(old: StateV1) -> StateV2 {
    StateV2 { cents: old.euro * 100 }
}";

const V1: &str = "workflows.rs: pub struct OrderV1;";
const V2: &str = "workflows.rs: pub struct OrderV2;";
const V3: &str = "workflows.rs: pub struct OrderV3;";
const STATE_V1: &str = "workflows.rs: pub struct StateV1 {";
const STATE_V2: &str = "workflows.rs: pub struct StateV2 {";
const WORKFLOWS: &str = "workflows.rs: //! The workflows that the texts of the checks name.";

pub fn all() -> Vec<Check> {
    let mut checks = Vec::new();
    let mut check = |name: &str, text: &str, expected| {
        checks.push(Check {
            name: name.to_owned(),
            text: format!("{HEAD}\n{}\n", text.replace("BODY", BODY)),
            expected,
        });
    };
    definitions(&mut check);
    proposals_in_arguments(&mut check);
    proposals_in_the_function(&mut check);
    right_programs(&mut check);
    errors(&mut check);
    hovers_and_renames(&mut check);
    checks
}

type Add<'a> = &'a mut dyn FnMut(&str, &str, Expected);

fn definitions(check: Add<'_>) {
    for (name, text, place) in [
        (
            "`from`",
            "#[state_migration(from = Order|V1, to = OrderV2)]\nBODY",
            V1,
        ),
        (
            "`to`",
            "#[state_migration(from = OrderV1, to = Order|V2)]\nBODY",
            V2,
        ),
        (
            "a workflow with a path",
            "#[state_migration(from = workflows::Order|V1, to = workflows::OrderV2)]\nBODY",
            V1,
        ),
        (
            "the end of the path of `to`",
            "#[state_migration(from = workflows::OrderV1, to = workflows::Order|V2)]\nBODY",
            V2,
        ),
        (
            "the module of a workflow",
            "#[state_migration(from = work|flows::OrderV1, to = workflows::OrderV2)]\nBODY",
            WORKFLOWS,
        ),
        (
            "the module of `to`",
            "#[state_migration(from = workflows::OrderV1, to = work|flows::OrderV2)]\nBODY",
            WORKFLOWS,
        ),
        (
            "`from` before `to` is written",
            "#[state_migration(from = Order|V1)]\nBODY",
            V1,
        ),
        (
            "`from` with a misspelled key",
            "#[state_migration(from = Order|V1, too = OrderV2)]\nBODY",
            V1,
        ),
        (
            "the type of the parameter",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: State|V1) -> StateV2 {\n    StateV2 { cents: old.euro }\n}",
            STATE_V1,
        ),
        (
            "the type that is returned",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> State|V2 {\n    StateV2 { cents: old.euro }\n}",
            STATE_V2,
        ),
        (
            "the type of the parameter with a path",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: work|flows::StateV1) -> StateV2 {\n    StateV2 { cents: old.euro }\n}",
            WORKFLOWS,
        ),
        (
            "the state in a result",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> Result<State|V2, String> {\n    Ok(StateV2 { cents: old.euro })\n}",
            STATE_V2,
        ),
        (
            "the result itself",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> Res|ult<StateV2, String> {\n    Ok(StateV2 { cents: old.euro })\n}",
            "lib.rs: pub enum Result<T, E> {",
        ),
        (
            "an alias of the parameter's type",
            "type Old = StateV1;\n#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: O|ld) -> StateV2 {\n    StateV2 { cents: old.euro }\n}",
            "lib.rs: type Old = StateV1;",
        ),
        (
            "a state in the body",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> StateV2 {\n    State|V2 { cents: old.euro }\n}",
            STATE_V2,
        ),
        (
            "a field in the body",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> StateV2 {\n    StateV2 { cents: old.eu|ro }\n}",
            "workflows.rs: pub euro: u64,",
        ),
        (
            "a call of the function",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY\nfn test(old: StateV1) -> StateV2 {\n    order_v1|_to_v2(old)\n}",
            "lib.rs: fn order_v1_to_v2(old: StateV1) -> StateV2 {",
        ),
        (
            "the function's own name",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1|_to_v2(old: StateV1) -> StateV2 {\n    StateV2 { cents: old.euro }\n}",
            "lib.rs: fn order_v1_to_v2(old: StateV1) -> StateV2 {",
        ),
        (
            "a covered constant",
            "const RATES: &str = \"2025\";\n#[state_migration(from = OrderV1, to = OrderV2, covers = RA|TES)]\nBODY",
            "lib.rs: const RATES: &str = \"2025\";",
        ),
        (
            "a use of the struct with a given name",
            "#[state_migration(from = OrderV1, to = OrderV2, name = ToCents)]\nBODY\nfn test() -> ToC|ents {\n    ToCents\n}",
            "lib.rs: #[state_migration(from = OrderV1, to = OrderV2, name = ToCents)]",
        ),
        (
            "`identity_migration!`",
            "identity_migration!(Order|V2 => OrderV3);",
            V2,
        ),
        (
            "the second of `identity_migration!`",
            "identity_migration!(OrderV2 => Order|V3, note = \"counts returns\");",
            V3,
        ),
        (
            "the first of `migration_chain!`",
            "identity_migration!(OrderV2 => OrderV3);\nmigration_chain!(Order|V2 => OrderV3);",
            V2,
        ),
        (
            "the last of `migration_chain!`",
            "identity_migration!(OrderV2 => OrderV3);\nmigration_chain!(OrderV2 => Order|V3);",
            V3,
        ),
        (
            "`no_migration!`",
            "no_migration!(Order|V1, reason = \"never deployed\");",
            V1,
        ),
        (
            "`register_workflow!`",
            "register_workflow!(OrderV1, Order|V2);",
            V2,
        ),
    ] {
        check(&format!("definition of {name}"), text, LeadsTo(place));
    }
}

fn proposals_in_arguments(check: Add<'_>) {
    const ALL: &[&str] = &["OrderV1", "OrderV2", "OrderV3", "workflows"];
    for (name, arguments) in [
        ("a begun `from`", "from = Ord|"),
        ("a begun `from` in small letters", "from = ord|"),
        ("an empty `from`", "from = |"),
        ("a `from` before a comma", "from = Ord|, "),
        ("a begun `to`", "from = OrderV1, to = Ord|"),
        ("an empty `to`", "from = OrderV1, to = |"),
        ("a `to` before a comma", "from = OrderV1, to = Ord|,"),
        ("a `from` beside `to`", "from = Ord|, to = OrderV2"),
        ("an empty `from` beside `to`", "from = |, to = OrderV2"),
        ("a `from` after `to`", "to = OrderV2, from = Ord|"),
        ("a `to` alone", "to = Ord|"),
        ("a `to` after a flag", "undo, from = OrderV2, to = Ord|"),
        (
            "a `to` before a note",
            "from = OrderV1, to = Ord|, note = \"counts cents\"",
        ),
    ] {
        let text = format!("#[state_migration({arguments})]\nBODY");
        check(&format!("proposals for {name}"), &text, Proposes(ALL));
    }
    for (name, text) in [
        (
            "a begun `from` over an unfinished function",
            "#[state_migration(from = Ord|)]\nfn order_v1_to_v2(old: ) -> StateV2 {\n}",
        ),
        (
            "a begun `from` over an empty function",
            "#[state_migration(from = Ord|)]\nfn order_v1_to_v2() {}",
        ),
        (
            "a begun `to` over an empty function",
            "#[state_migration(from = OrderV1, to = Ord|)]\nfn order_v1_to_v2() {}",
        ),
        (
            "a begun `identity_migration!`",
            "identity_migration!(Ord|);",
        ),
        ("an empty `identity_migration!`", "identity_migration!(|);"),
        (
            "the second of `identity_migration!`",
            "identity_migration!(OrderV1 => Ord|);",
        ),
        (
            "the empty second of `identity_migration!`",
            "identity_migration!(OrderV1 => |);",
        ),
        ("a begun `migration_chain!`", "migration_chain!(Ord|);"),
        ("an empty `migration_chain!`", "migration_chain!(|);"),
        (
            "the second of `migration_chain!`",
            "migration_chain!(OrderV1 => Ord|);",
        ),
        (
            "the empty third of `migration_chain!`",
            "migration_chain!(OrderV1 => OrderV2 => |);",
        ),
        ("a begun `no_migration!`", "no_migration!(Ord|);"),
        ("an empty `no_migration!`", "no_migration!(|);"),
        (
            "`no_migration!` before a reason",
            "no_migration!(Ord|, reason = \"never deployed\");",
        ),
        (
            "an empty `no_migration!` before a reason",
            "no_migration!(|, reason = \"never deployed\");",
        ),
        ("a begun `register_workflow!`", "register_workflow!(Ord|);"),
        ("an empty `register_workflow!`", "register_workflow!(|);"),
        (
            "the second of `register_workflow!`",
            "register_workflow!(OrderV1, Ord|);",
        ),
    ] {
        check(&format!("proposals for {name}"), text, Proposes(ALL));
    }
    for (name, arguments) in [
        ("a begun path", "from = workflows::Ord|"),
        ("an empty path", "from = workflows::|"),
        ("the path of `to`", "from = OrderV1, to = workflows::|"),
    ] {
        let text = format!("#[state_migration({arguments})]\nBODY");
        let names = Proposes(&["OrderV1", "OrderV2", "OrderV3"]);
        check(&format!("proposals for {name}"), &text, names);
    }
}

fn proposals_in_the_function(check: Add<'_>) {
    const STATES: &[&str] = &["StateV1", "StateV2", "workflows", "String"];
    const LOCAL: &[&str] = &["old", "StateV2"];
    for (name, function, names) in [
        (
            "an absent parameter type",
            "fn order_v1_to_v2(old: |) -> StateV2 {\n    StateV2 { cents: 1 }\n}",
            STATES,
        ),
        (
            "a begun parameter type",
            "fn order_v1_to_v2(old: Sta|) -> StateV2 {\n    StateV2 { cents: 1 }\n}",
            STATES,
        ),
        (
            "an absent return type",
            "fn order_v1_to_v2(old: StateV1) -> | {\n    StateV2 { cents: 1 }\n}",
            STATES,
        ),
        (
            "a begun return type",
            "fn order_v1_to_v2(old: StateV1) -> Sta| {\n    StateV2 { cents: 1 }\n}",
            STATES,
        ),
        (
            "a begun error type",
            "fn order_v1_to_v2(old: StateV1) -> Result<StateV2, Str|> {\n    Ok(StateV2 { cents: 1 })\n}",
            STATES,
        ),
        (
            "a parameter type without a body",
            "fn order_v1_to_v2(old: Sta|)",
            STATES,
        ),
        (
            "a value in the body",
            "fn order_v1_to_v2(old: StateV1) -> StateV2 {\n    let cents = ol|;\n    StateV2 { cents }\n}",
            LOCAL,
        ),
        (
            "an empty body",
            "fn order_v1_to_v2(old: StateV1) -> StateV2 {\n    |\n}",
            LOCAL,
        ),
        (
            "a field of the old state",
            "fn order_v1_to_v2(old: StateV1) -> StateV2 {\n    StateV2 { cents: old.| }\n}",
            &["euro"],
        ),
        (
            "a field at the end",
            "fn order_v1_to_v2(old: StateV1) -> StateV2 {\n    old.|\n}",
            &["euro"],
        ),
        (
            "a field of the new state",
            "fn order_v1_to_v2(old: StateV1) -> StateV2 {\n    StateV2 { | }\n}",
            &["cents"],
        ),
    ] {
        for (where_, arguments) in [
            ("", "(from = OrderV1, to = OrderV2)"),
            (", with `from` alone", "(from = OrderV1)"),
            (", without arguments", ""),
        ] {
            let text = format!("#[state_migration{arguments}]\n{function}");
            check(
                &format!("proposals for {name}{where_}"),
                &text,
                Proposes(names),
            );
        }
    }
    let call = "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY\nfn test(old: StateV1) -> StateV2 {\n    order|\n}";
    check(
        "proposals for a call of the function",
        call,
        Proposes(&["order_v1_to_v2"]),
    );
    let of_the_struct = "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY\nfn test() {\n    let migration = Order|;\n}";
    check(
        "proposals for the struct",
        of_the_struct,
        Proposes(&["OrderV1ToV2Migration"]),
    );
}

fn right_programs(check: Add<'_>) {
    for (name, text) in [
        (
            "a migration",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY",
        ),
        (
            "a documented public migration",
            "/// Counts cents.\n#[state_migration(from = OrderV1, to = OrderV2)]\n#[inline]\npub BODY",
        ),
        (
            "a migration that can refuse",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> Result<StateV2, &'static str> {\n    Ok(StateV2 { cents: old.euro })\n}",
        ),
        (
            "an alias of the attribute",
            "use state_migration::state_migration as moves;\n#[moves(from = OrderV1, to = OrderV2)]\nBODY",
        ),
        (
            "the attribute by its path",
            "#[::state_migration::state_migration(from = OrderV1, to = OrderV2)]\nBODY",
        ),
        (
            "aliases of the workflows",
            "use workflows::{OrderV1 as Old, OrderV2 as New};\n#[state_migration(from = Old, to = New)]\nBODY",
        ),
        (
            "a facade",
            "mod facade {\n    pub use ::state_migration as runtime;\n}\n#[state_migration(crate = crate::facade::runtime, from = OrderV1, to = OrderV2)]\nBODY",
        ),
        (
            "a migration in a module",
            "mod migrations {\n    use super::workflows;\n    #[state_migration::state_migration(from = workflows::OrderV1, to = workflows::OrderV2)]\n    pub fn order_v1_to_v2(old: workflows::StateV1) -> workflows::StateV2 {\n        workflows::StateV2 { cents: old.euro }\n    }\n}",
        ),
        (
            "a migration in a generic function",
            "fn around<T>(value: T) -> T {\n    #[state_migration(from = OrderV1, to = OrderV2)]\n    fn order_v1_to_v2(old: StateV1) -> StateV2 {\n        StateV2 { cents: old.euro }\n    }\n    value\n}",
        ),
        (
            "generic workflows",
            "struct Family<T>(T);
impl state_migration::Workflow for Family<OrderV2> {
    const NAME: &'static str = \"order\";
    const VERSION: &'static str = \"v4\";
    const STATE_SCHEMA_VERSION: u32 = 2;
    type State = StateV2;
    type Event = workflows::OrderPlaced;
    fn apply(state: StateV2, _: &workflows::OrderPlaced) -> StateV2 {
        state
    }
}\n#[state_migration(from = OrderV1, to = Family<OrderV2>)]\nBODY",
        ),
        (
            "an undo",
            "#[state_migration(from = OrderV2, to = OrderV1, undo)]\nfn order_v2_to_v1(new: StateV2) -> StateV1 {\n    StateV1 { euro: new.cents }\n}",
        ),
        (
            "a detached migration",
            "#[state_migration(from = OrderV1, to = OrderV2, detached)]\nBODY",
        ),
        (
            "`covers`",
            "#[state_migration(from = OrderV1, to = OrderV2, covers = \"rates of 2025\")]\nBODY",
        ),
        (
            "`unchanged`",
            "#[state_migration(from = OrderV1, to = OrderV2, unchanged = \"2fd5edae959d7db8 = bdc68b4f9058b17e\")]\nBODY",
        ),
        (
            "`name` and `note`",
            "#[state_migration(from = OrderV1, to = OrderV2, name = ToCents, note = \"counts cents\")]\nBODY\nfn test() -> ToCents {\n    ToCents\n}",
        ),
        (
            "a use of the struct",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY\nfn test() -> OrderV1ToV2Migration {\n    OrderV1ToV2Migration\n}",
        ),
        (
            "`identity_migration!`",
            "identity_migration!(OrderV2 => OrderV3, note = \"counts returns\");",
        ),
        (
            "a chain",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY\nidentity_migration!(OrderV2 => OrderV3);\nmigration_chain!(OrderV1 => OrderV2 => OrderV3);",
        ),
        (
            "`no_migration!`",
            "no_migration!(OrderV1, reason = \"never deployed\");",
        ),
        (
            "`register_workflow!`",
            "register_workflow!(OrderV1, OrderV2, workflows::OrderV3);",
        ),
        (
            "macros by their paths",
            "state_migration::no_migration!(workflows::OrderV1, reason = \"never deployed\");",
        ),
    ] {
        check(&format!("no error in {name}"), text, Shows(&[]));
    }
}

fn errors(check: Add<'_>) {
    let over_the_function: [(&str, &str, &[(&str, &str)]); 10] = [
        (
            "no arguments",
            "#[state_migration]",
            &[("state_migration", "`from` and `to` are missing")],
        ),
        (
            "empty arguments",
            "#[state_migration()]",
            &[("state_migration()", "`from` and `to` are missing")],
        ),
        (
            "an absent `to`",
            "#[state_migration(from = OrderV1)]",
            &[("from", "`to` is missing")],
        ),
        (
            "an absent `from`",
            "#[state_migration(to = OrderV2)]",
            &[("to", "`from` is missing")],
        ),
        (
            "a misspelled key",
            "#[state_migration(form = OrderV1, to = OrderV2)]",
            &[("form", "did you mean `from`?")],
        ),
        (
            "a wrong value",
            "#[state_migration(from = OrderV1, to = OrderV2, note = 7)]",
            &[("7", "`note` takes a string literal")],
        ),
        (
            "a key that is given twice",
            "#[state_migration(from = OrderV1, to = OrderV2, undo, undo)]",
            &[("undo", "`undo` is given twice")],
        ),
        (
            "two wrong keys",
            "#[state_migration(from = OrderV1, to = OrderV2, nodes = 7, undo = 1)]",
            &[("nodes", "unknown key"), ("undo", "takes no value")],
        ),
        (
            "the same workflow twice",
            "#[state_migration(from = OrderV1, to = OrderV1)]",
            &[("OrderV1", "are the same workflow")],
        ),
        (
            "an alias without arguments",
            "use state_migration::state_migration as moves;\n#[moves]",
            &[("moves", "`from` and `to` are missing")],
        ),
    ];
    for (name, attribute, errors) in over_the_function {
        check(
            &format!("error for {name}"),
            &format!("{attribute}\nBODY"),
            Shows(errors),
        );
    }
    let others: [(&str, &str, &[(&str, &str)]); 7] = [
        (
            "no arguments over docs",
            "/// Counts cents.\n#[state_migration]\npub BODY",
            &[("state_migration", "`from` and `to` are missing")],
        ),
        (
            "an async function",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nasync BODY",
            &[("async", "cannot be `async`")],
        ),
        (
            "a struct",
            "#[state_migration(from = OrderV1, to = OrderV2)]\nstruct Order;",
            &[("struct", "expected a function")],
        ),
        (
            "`identity_migration!` of one version",
            "identity_migration!(OrderV2);",
            &[("OrderV2", "expected `=>` and a later version")],
        ),
        (
            "`no_migration!` without a reason",
            "no_migration!(OrderV1);",
            &[("OrderV1", "`reason` is missing")],
        ),
        (
            "an empty `register_workflow!`",
            "register_workflow!();",
            &[("register_workflow!", "expected a workflow type")],
        ),
        (
            "a chain of one version",
            "migration_chain!(OrderV2);",
            &[("OrderV2", "expected `=>` and a later version")],
        ),
    ];
    for (name, text, errors) in others {
        check(&format!("error for {name}"), text, Shows(errors));
    }
}

fn hovers_and_renames(check: Add<'_>) {
    let plain = "#[state_migration(from = OrderV1, to = OrderV2)]\n";
    let unfinished = "#[state_migration(from = OrderV1)]\n";
    check(
        "hover over `from`",
        "#[state_migration(from = Order|V1, to = OrderV2)]\nBODY",
        Hovers("The first version of an order."),
    );
    check(
        "hover over `to`",
        "#[state_migration(from = OrderV1, to = Order|V2)]\nBODY",
        Hovers("The second version of an order."),
    );
    check(
        "hover over the attribute",
        "#[state|_migration(from = OrderV1, to = OrderV2)]\nBODY",
        Hovers("Makes a function the migration"),
    );
    check(
        "hover over the parameter",
        &format!(
            "{plain}fn order_v1_to_v2(old: State|V1) -> StateV2 {{\n    StateV2 {{ cents: old.euro }}\n}}"
        ),
        Hovers("Counts euros."),
    );
    check(
        "hover over the function",
        &format!(
            "{plain}/// Multiplies.\nfn order_v1|_to_v2(old: StateV1) -> StateV2 {{\n    StateV2 {{ cents: old.euro }}\n}}"
        ),
        Hovers("Multiplies."),
    );
    check(
        "hover over the function, with `from` alone",
        &format!(
            "{unfinished}/// Multiplies.\nfn order_v1|_to_v2(old: StateV1) -> StateV2 {{\n    StateV2 {{ cents: old.euro }}\n}}"
        ),
        Hovers("Multiplies."),
    );
    check(
        "hover over the struct",
        "#[state_migration(from = OrderV1, to = OrderV2)]\nBODY\nfn test() -> OrderV1To|V2Migration {\n    OrderV1ToV2Migration\n}",
        Hovers("The migration by `order_v1_to_v2`"),
    );
    check(
        "hover over `identity_migration!`",
        "identity_migration!(OrderV2 => Order|V3);",
        Hovers("The third version of an order"),
    );
    check(
        "hover over the name of a macro",
        "no|_migration!(OrderV1, reason = \"never deployed\");",
        Hovers("need no migration"),
    );
    check(
        "rename of the parameter",
        &format!(
            "{plain}fn order_v1_to_v2(o|ld: StateV1) -> StateV2 {{\n    StateV2 {{ cents: old.euro }}\n}}"
        ),
        Renames("before", &["(before: StateV1)", "cents: before.euro"]),
    );
    check(
        "rename of the parameter, with `from` alone",
        &format!(
            "{unfinished}fn order_v1_to_v2(o|ld: StateV1) -> StateV2 {{\n    StateV2 {{ cents: old.euro }}\n}}"
        ),
        Renames("before", &["(before: StateV1)", "cents: before.euro"]),
    );
    check(
        "rename of the function",
        &format!(
            "{plain}fn order_v1|_to_v2(old: StateV1) -> StateV2 {{\n    StateV2 {{ cents: old.euro }}\n}}\nfn test(old: StateV1) -> StateV2 {{\n    order_v1_to_v2(old)\n}}"
        ),
        Renames(
            "counts_cents",
            &["fn counts_cents(old: StateV1)", "    counts_cents(old)"],
        ),
    );
    check(
        "rename of a workflow in `from`",
        "struct Order|V0;\n#[state_migration(from = OrderV0, to = OrderV2)]\nBODY",
        Renames("First", &["struct First;", "from = First, to = OrderV2"]),
    );
    check(
        "rename of a workflow at `to`",
        "struct OrderV4;\n#[state_migration(from = OrderV1, to = Order|V4)]\nBODY\nno_migration!(OrderV4, reason = \"never deployed\");",
        Renames(
            "Last",
            &["struct Last;", "to = Last)", "no_migration!(Last,"],
        ),
    );
    check(
        "rename of a state",
        "struct State|V3;\n#[state_migration(from = OrderV1, to = OrderV2)]\nfn order_v1_to_v2(old: StateV1) -> StateV3 {\n    StateV3\n}",
        Renames("Cents", &["struct Cents;", "-> Cents {", "    Cents\n}"]),
    );
}
