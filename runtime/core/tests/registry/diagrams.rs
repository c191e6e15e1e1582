//! Pictures of a registry, word for word.

use state_migration::{IdentityMigration, MigrationRegistry, MigrationRegistryBuilder};

use crate::*;

workflows! {
    Odd = "a \"b\" [c] #1;" @ "1\\n<2>|`x`" of Order, 3;
    Nameless = "" @ "" of Order, 3;
    Entity = "R&D &lt;" @ "v1\n" of Order, 3;
}

fn everything() -> MigrationRegistryBuilder {
    MigrationRegistry::builder()
        .with(Step::<V2, V1>::undo())
        .with(Step::<V1, V2>::new())
        .with(IdentityMigration::<V2>::new(order("v2"), order("v3")))
        .no_migration::<V3>("over by \"May\"")
        .version::<V9>()
        .version::<Odd>()
}

#[test]
fn a_registry_is_drawn_as_mermaid() {
    let drawing = everything().build().unwrap().drawing();
    assert_eq!(
        drawing.to_mermaid(),
        r#"flowchart LR
    subgraph w0["a #34;b#34; #91;c#93; #35;1#59;"]
        v0[["1#92;n#60;2#62;#124;#96;x#96;"]]
    end
    subgraph w1["order"]
        v1["v1"]
        v2["v2"]
        v3("v3<br/>stays: over by #34;May#34;")
        v4[["v9"]]
    end
    v1 -->|"registry::Step#60;registry::V1, registry::V2#62;"| v2
    v2 -.->|"undo: registry::Step#60;registry::V2, registry::V1#62;"| v1
    v2 -->|"same state: state_migration::migration::IdentityMigration#60;registry::V2#62;"| v3
"#
    );
}

#[test]
fn a_registry_is_drawn_as_dot() {
    let drawing = everything().build().unwrap().drawing();
    assert_eq!(
        drawing.to_dot(),
        r#"digraph migrations {
    rankdir=LR;
    node [shape=box];
    subgraph cluster_0 {
        label="a \"b\" [c] #1;";
        v0 [label="1\\n<2>|`x`", peripheries=2];
    }
    subgraph cluster_1 {
        label="order";
        v1 [label="v1"];
        v2 [label="v2"];
        v3 [label="v3\nstays: over by \"May\"", style=rounded];
        v4 [label="v9", peripheries=2];
    }
    v1 -> v2 [label="registry::Step<registry::V1, registry::V2>"];
    v2 -> v1 [label="undo: registry::Step<registry::V2, registry::V1>", style=dashed];
    v2 -> v3 [label="same state: state_migration::migration::IdentityMigration<registry::V2>"];
}
"#
    );
}

#[test]
fn a_registry_is_drawn_as_text() {
    let drawing = everything().build().unwrap().drawing();
    assert_eq!(
        drawing.to_text(),
        r#"a "b" [c] #1;
  1\n<2>|`x`  newest
order
  v1 -> v2   registry::Step<registry::V1, registry::V2>
  v2 ..> v1  undo: registry::Step<registry::V2, registry::V1>
  v2 -> v3   same state: state_migration::migration::IdentityMigration<registry::V2>
  v3         stays: over by "May"
  v9         newest
"#
    );
}

#[test]
fn what_does_not_fit_together_is_drawn_with_what_is_undecided() {
    let builder = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .with(Step::<V1, V3>::new())
        .version::<V9>();
    let drawing = builder.drawing();
    assert!(builder.build().is_err());
    assert_eq!(
        drawing.to_mermaid(),
        r#"flowchart LR
    subgraph w0["order"]
        v0["v1"]
        v1{{"v2<br/>undecided"}}
        v2{{"v3<br/>undecided"}}
        v3[["v9"]]
    end
    v0 -->|"registry::Step#60;registry::V1, registry::V2#62;"| v1
    v0 -->|"registry::Step#60;registry::V1, registry::V3#62;"| v2
"#
    );
    let dot = drawing.to_dot();
    assert!(
        dot.contains(r#"v1 [label="v2\nundecided", shape=hexagon];"#),
        "{dot}"
    );
}

#[test]
fn a_drawing_of_what_was_built_is_that_of_what_was_added() {
    let builder = everything();
    let drawing = builder.drawing();
    assert_eq!(drawing, builder.build().unwrap().drawing());
}

#[test]
fn why_processes_stay_is_drawn_at_the_newest_version_too() {
    let drawing = MigrationRegistry::builder()
        .with(Step::<V1, V2>::new())
        .no_migration::<V2>("the last of its kind")
        .build()
        .unwrap()
        .drawing();
    let mermaid = drawing.to_mermaid();
    assert!(
        mermaid.contains("v1[[\"v2<br/>stays: the last of its kind\"]]"),
        "{mermaid}"
    );
    let dot = drawing.to_dot();
    assert!(
        dot.contains("v1 [label=\"v2\\nstays: the last of its kind\", peripheries=2];"),
        "{dot}"
    );
}

#[test]
fn names_that_say_nothing_or_mean_something_are_drawn_as_they_are() {
    let drawing = MigrationRegistry::builder()
        .version::<Nameless>()
        .version::<Entity>()
        .build()
        .unwrap()
        .drawing();
    assert_eq!(
        drawing.to_mermaid(),
        r#"flowchart LR
    subgraph w0["(empty)"]
        v0[["(empty)"]]
    end
    subgraph w1["R#38;D #38;lt#59;"]
        v1[["v1 "]]
    end
"#
    );
    assert_eq!(
        drawing.to_dot(),
        r#"digraph migrations {
    rankdir=LR;
    node [shape=box];
    subgraph cluster_0 {
        label="(empty)";
        v0 [label="(empty)", peripheries=2];
    }
    subgraph cluster_1 {
        label="R&amp;D &amp;lt;";
        v1 [label="v1 ", peripheries=2];
    }
}
"#
    );
}
