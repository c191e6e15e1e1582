//! The mutants in `tests/mutants/`: each applies, names an existing test, and is listed
//! in the docs. `tests/mutants/check` shows that the tests notice them, which takes a
//! build for each.

use std::fs;
use std::path::{Path, PathBuf};

/// The safety mechanisms that there must be a mutant of.
const MECHANISMS: [&str; 24] = [
    "fence",
    "expected head",
    "durability wait",
    "cursor order",
    "version of a registry entry",
    "revision of a head",
    "token of a range",
    "second attempt at a process that changed",
    "mark of the presence",
    "closing mark",
    "record of a birth",
    "second read of the heads",
    "read-back of states",
    "mark of the head in a registration",
    "mark of the head by a snapshot",
    "version check of snapshots",
    "retry bound",
    "duplicate check of appends",
    "truncation guard",
    "fingerprint check",
    "suspects of a dead program",
    "time given back",
    "check of the heads that a run has passed",
    "check of the log",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Mutant {
    name: String,
    text: String,
}

impl Mutant {
    fn all() -> Vec<Self> {
        let folder = root().join("tests/mutants");
        let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap());
        let patches = files.filter_map(|file| {
            let name = file.file_name().into_string().unwrap();
            let name = name.strip_suffix(".patch")?.to_owned();
            let text = fs::read_to_string(file.path()).unwrap();
            Some(Self { name, text })
        });
        let mut patches: Vec<_> = patches.collect();
        patches.sort_by(|a, b| a.name.cmp(&b.name));
        patches
    }

    /// The value of a line in the head of the patch.
    fn field(&self, name: &str) -> &str {
        let head = self.text.split("diff --git ").next().unwrap();
        let value = head.lines().find_map(|line| {
            let value = line.strip_prefix(name)?;
            value.strip_prefix(": ")
        });
        value.unwrap_or_else(|| panic!("the patch {} has no line `{name}: …`", self.name))
    }

    /// Each hunk: the file, the lines that must be there, and those that are put there.
    fn hunks(&self) -> Vec<(&str, String, String)> {
        let (mut hunks, mut file) = (Vec::new(), "");
        let mut lines = self.text.lines();
        for line in lines.by_ref() {
            if line.starts_with("diff --git ") {
                break;
            }
        }
        for line in lines {
            if let Some(path) = line.strip_prefix("--- a/") {
                file = path;
            } else if line.starts_with("@@ ") {
                hunks.push((file, String::new(), String::new()));
            } else if let Some((_, old, new)) = hunks.last_mut() {
                // An empty line of the context may have lost its space.
                let (sign, rest) = line.split_at(line.len().min(1));
                let rest = format!("{rest}\n");
                match sign {
                    "-" => old.push_str(&rest),
                    "+" => new.push_str(&rest),
                    " " | "" => {
                        old.push_str(&rest);
                        new.push_str(&rest);
                    }
                    // The head of the next file.
                    _ => {}
                }
            }
        }
        hunks
    }
}

// Seen to fail with a line of a patch's context changed, and with a hunk whose
// lines stand in the file twice.
#[test]
fn every_patch_applies() {
    for mutant in Mutant::all() {
        let hunks = mutant.hunks();
        assert!(!hunks.is_empty(), "{} changes nothing", mutant.name);
        for (file, old, new) in hunks {
            assert_ne!(old, new, "{} changes nothing", mutant.name);
            let source = fs::read_to_string(root().join(file)).unwrap();
            let found = source.matches(&old).count();
            assert_eq!(
                found, 1,
                "the patch {} does not apply to {file}: these lines are there {found} times, and must be once; write it anew\n{old}",
                mutant.name
            );
        }
    }
}

/// The source of the module that a test is in, and of those around it.
fn sources(package: &str, target: &str, test: &str) -> String {
    let (modules, _) = test.rsplit_once("::").unwrap();
    // A test that stands beside the code.
    if target == "lib" {
        let package = package.strip_prefix("state-migration-").unwrap();
        let file = format!("runtime/{package}/src/{}.rs", modules.replace("::", "/"));
        return fs::read_to_string(root().join(file)).unwrap();
    }
    let folder = match package {
        "state-migration-tests" => "tests/tests",
        "state-migration-tool-tests" => "tests/tools/tests",
        "state-migration-core" => "runtime/core/tests",
        other => panic!("where are the tests of {other}?"),
    };
    let mut folder = root().join(folder).join(target);
    let mut sources = fs::read_to_string(folder.join("main.rs")).unwrap();
    for module in modules.split("::") {
        let file = folder.join(format!("{module}.rs"));
        folder.push(module);
        // Others are in the file of the one around them.
        for file in [file, folder.join("mod.rs")] {
            sources.push_str(&fs::read_to_string(file).unwrap_or_default());
        }
    }
    sources
}

#[test]
fn every_patch_names_a_test_that_is_there() {
    for mutant in Mutant::all() {
        let (package, target) = (mutant.field("Package"), mutant.field("Target"));
        let path = mutant.field("Test");
        let test = path.rsplit("::").next().unwrap();
        let there = sources(package, target, path).contains(&format!("fn {test}("));
        assert!(there, "{}: {package} has no test {test}", mutant.name);
        // By which it is told from one that fails for another reason.
        assert!(mutant.field("Says").len() > 8, "{}", mutant.name);
    }
}

#[test]
fn every_mechanism_has_a_mutant_and_every_mutant_is_listed() {
    let mutants = Mutant::all();
    for mechanism in MECHANISMS {
        let has = mutants.iter().any(|m| m.field("Mechanism") == mechanism);
        assert!(has, "there is no mutant without the {mechanism}");
    }
    let list = fs::read_to_string(root().join("docs/reliability/mutants.md")).unwrap();
    for mutant in &mutants {
        let row = format!(
            "| {} | {} | [`{name}`](../../tests/mutants/{name}.patch) | `{}` in `{}` |",
            mutant.field("Mechanism"),
            mutant.field("Without it"),
            mutant.field("Test"),
            mutant.field("Target"),
            name = mutant.name,
        );
        assert!(list.contains(&row), "the list lacks this row:\n{row}");
    }
    let rows = list.lines().filter(|line| line.contains(".patch)")).count();
    assert_eq!(
        rows,
        mutants.len(),
        "the list has rows of mutants that are not there"
    );
}
