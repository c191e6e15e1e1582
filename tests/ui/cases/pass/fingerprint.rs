//! The fingerprint is of the function's tokens, without docs, layout and attribute.

use serde::{Deserialize, Serialize};
use state_migration::{EventPayload, Fingerprint, StateMigration, Workflow, state_migration};

#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed,
}

impl EventPayload for OrderEvent {
    fn event_type(&self) -> &'static str {
        "OrderPlaced"
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
struct A {
    total: u64,
}

type B = A;

macro_rules! versions {
    ($($name:ident $version:literal),*) => {$(
        struct $name;

        impl Workflow for $name {
            const NAME: &'static str = "order";
            const VERSION: &'static str = $version;
            type State = A;
            type Event = OrderEvent;

            fn apply(state: A, _: &OrderEvent) -> A {
                state
            }
        }
    )*};
}

versions!(V1 "1", V2 "2", V3 "3", V4 "4");

// This function and its hash are in the unit tests of the attribute too.
#[state_migration(from = V1, to = V2)]
fn m(old: A) -> B {
    B {
        total: old.total << 2,
    }
}

#[rustfmt::skip]
mod documented {
    use super::*;

    #[state_migration(from = V2, to = V3, crate = ::state_migration)]
    /// Shifts.
    fn m( old : A )->B {
        //! By two.
        B {
            // That is, times four.
            total: old.total<<2,
        }
    }

    pub(super) fn fingerprint() -> Fingerprint {
        assert_eq!(m(A { total: 1 }).total, 4);
        MMigration.fingerprint()
    }
}

mod edited {
    use super::*;

    #[state_migration(from = V3, to = V4)]
    fn m(old: A) -> B {
        B {
            total: old.total << 3,
        }
    }

    pub(super) fn fingerprint() -> Fingerprint {
        assert_eq!(m(A { total: 1 }).total, 8);
        MMigration.fingerprint()
    }
}

fn main() {
    assert_eq!(m(A { total: 1 }).total, 4);
    assert_eq!(
        MMigration.fingerprint(),
        Fingerprint::new(0xb229_fd4a_070d_0a1f)
    );
    assert_eq!(documented::fingerprint(), MMigration.fingerprint());
    assert_ne!(edited::fingerprint(), MMigration.fingerprint());
}
