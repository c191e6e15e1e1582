//! Two versions of the runtime in one program would each find their own migrations only.

use std::fs;
use std::path::Path;
use std::process::Command;

/// To see it fail: remove `links` from the manifest of the package.
#[test]
fn cargo_refuses_two_versions_of_the_runtime_in_one_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let core = root.join("runtime/core").canonicalize().unwrap();
    let manifest = fs::read_to_string(core.join("Cargo.toml")).unwrap();
    let links = manifest.lines().find(|line| line.starts_with("links = "));
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: String| {
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    let older = format!(
        "[package]\nname = \"state-migration-core\"\nversion = \"0.0.9\"\nbuild = \"build.rs\"\n{}\n",
        links.unwrap_or_default()
    );
    write("older/Cargo.toml", older);
    write("older/build.rs", "fn main() {}".to_owned());
    write("older/src/lib.rs", String::new());
    let resolve = |also: &str| {
        let program = format!(
            "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nstate-migration-core = {{ path = {core:?} }}\n{also}\n[workspace]\n"
        );
        write("Cargo.toml", program);
        write("src/lib.rs", String::new());
        fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        let cargo = Command::new(env!("CARGO"))
            .args(["update", "--workspace", "--offline"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&cargo.stderr).into_owned();
        (cargo.status.success(), said)
    };
    let (is_resolved, said) = resolve("");
    assert!(is_resolved, "{said}");
    let two = "older = { package = \"state-migration-core\", path = \"older\" }";
    let (is_resolved, said) = resolve(two);
    assert!(!is_resolved && said.contains("links to"), "{said}");
    assert!(said.contains("`state-migration`"), "{said}");
}
