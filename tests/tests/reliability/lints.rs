//! `unsafe` code is forbidden, in every package of the workspace.

use std::fs;
use std::path::Path;

/// The lines of a table of a manifest.
fn table(manifest: &str, name: &str) -> Vec<String> {
    let lines = manifest.lines().map(str::trim);
    let lines = lines
        .skip_while(|line| *line != format!("[{name}]"))
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

// Seen to fail without the lint, and without the lines of one package.
#[test]
fn unsafe_code_is_forbidden_in_every_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let workspace = read(&root.join("Cargo.toml"));
    let lints = table(&workspace, "workspace.lints.rust");
    assert!(
        lints.contains(&r#"unsafe_code = "forbid""#.to_owned()),
        "{lints:?}"
    );

    let members = workspace.split_once("members = [").unwrap().1;
    let members = members.split_once(']').unwrap().0.lines();
    let members = members.filter_map(|line| line.trim().strip_prefix('"')?.split('"').next());
    let members: Vec<_> = members.collect();
    assert!(members.len() >= 10, "{members:?}");
    for member in members {
        let manifest = read(&root.join(member).join("Cargo.toml"));
        let lints = table(&manifest, "lints");
        assert!(
            lints.contains(&"workspace = true".to_owned()),
            "{member} does not take over the lints of the workspace"
        );
    }
}
