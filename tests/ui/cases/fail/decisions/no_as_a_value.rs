use state_migration::no_migration;

include!("../../workflows.rs");

fn migrate() {
    let _ = no_migration!(OrderV1, reason = "never deployed");
}

fn main() {}
