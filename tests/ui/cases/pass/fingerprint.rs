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

mod covered {
    use super::*;

    const RATES: &str = "rates of 2025";

    #[state_migration(from = V1, to = V2, detached, covers = RATES)]
    fn m(old: A) -> B {
        B {
            total: old.total << 2,
        }
    }

    #[state_migration(from = V1, to = V3, detached, covers = "rates of 2026")]
    fn n(old: A) -> B {
        m(old)
    }

    // The expression of a macro.
    #[state_migration(from = V2, to = V4, detached, covers = concat!("rates ", "of 2025"))]
    fn o(old: A) -> B {
        m(old)
    }

    pub(super) fn fingerprints() -> [Fingerprint; 3] {
        [
            MMigration.fingerprint(),
            NMigration.fingerprint(),
            OMigration.fingerprint(),
        ]
    }
}

mod edited_without_effect {
    use super::*;

    #[state_migration(
        from = V1,
        to = V4,
        detached,
        unchanged = "1fb3e15a6b2cb2fe = 48aedd4f207b8bc3",
    )]
    fn m(old: A) -> B {
        B {
            total: old.total << 3,
        }
    }

    // This one was edited once more.
    pub(super) mod again {
        use super::*;

        #[state_migration(from = V3, to = V1, undo, unchanged = "1fb3e15a6b2cb2fe = 48aedd4f207b8bc3")]
        fn m(old: A) -> B {
            B {
                total: old.total << 4,
            }
        }

        pub(in super::super) fn fingerprint() -> Fingerprint {
            MMigration.fingerprint()
        }
    }

    pub(super) fn fingerprint() -> Fingerprint {
        MMigration.fingerprint()
    }
}

fn main() {
    let [covered, other, concat] = covered::fingerprints();
    assert_ne!(covered, MMigration.fingerprint());
    assert_ne!(covered, other);
    assert_ne!(other, concat);
    assert_eq!(
        edited_without_effect::fingerprint(),
        MMigration.fingerprint()
    );
    assert_ne!(
        edited_without_effect::again::fingerprint(),
        MMigration.fingerprint()
    );
    assert_eq!(m(A { total: 1 }).total, 4);
    assert_eq!(
        MMigration.fingerprint(),
        Fingerprint::new(0x1fb3_e15a_6b2c_b2fe)
    );
    assert_eq!(documented::fingerprint(), MMigration.fingerprint());
    assert_ne!(edited::fingerprint(), MMigration.fingerprint());
}
