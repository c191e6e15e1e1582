use state_migration::predicate;

include!("../../workflows.rs");

fn main() {
    let _ = predicate!("large", |_: &StateV1| true);
}
