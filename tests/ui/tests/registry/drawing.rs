//! Pictures of a registry, word for word.

use state_migration::{IdentityMigration, MigrationRegistry, MigrationRegistryBuilder};

use crate::*;

workflows! {
    Odd = "a \"b\" [c] #1;" @ "1\\n<2>|`x`" of Order, 3;
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
