//! The workflows of a simulated world: a chain of three versions whose last
//! conversion fails by rule until it is corrected, an identity step, and one
//! that has no migrations.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use state_migration::{
    ConversionError, Decoder, EventPayload, Fingerprint, IdentityMigration, MigrationRegistry,
    RegistryError, StateMigration, Workflow, WorkflowId,
};

/// What can happen to a process, in every workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Happened {
    /// Something was weighed.
    Weighed {
        /// No other event of the world has it.
        token: u64,
        /// What is added.
        grams: u64,
        /// Makes events and states larger.
        pad: String,
    },
    /// The process is finished, and further events are possible.
    Closed {
        /// No other event of the world has it.
        token: u64,
    },
}

impl Happened {
    /// What no other event of the world has.
    #[must_use]
    pub fn token(&self) -> u64 {
        match self {
            Self::Weighed { token, .. } | Self::Closed { token } => *token,
        }
    }
}

impl EventPayload for Happened {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Weighed { .. } => "Weighed",
            Self::Closed { .. } => "Closed",
        }
    }
}

/// The state that counts grams. `trace` depends on every event and their order.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grams {
    grams: u64,
    trace: u64,
    pad: String,
    closed: bool,
}

/// The same in milligrams.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Milligrams {
    milligrams: u64,
    trace: u64,
    pad: String,
    closed: bool,
}

/// The same in kilograms, and grams of what is left.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kilos {
    kilos: u64,
    rest: u64,
    trace: u64,
    pad: String,
    closed: bool,
}

trait Scale {
    fn grams(&self) -> u64;
    fn weigh(&mut self, grams: u64);
    fn rest(&mut self) -> (&mut u64, &mut String, &mut bool);
    fn closed(&self) -> bool;
}

macro_rules! scale {
    ($state:ty, |$read:ident| $grams:expr, |$write:ident, $sum:ident| $set:expr) => {
        impl Scale for $state {
            fn grams(&self) -> u64 {
                let $read = self;
                $grams
            }
            fn weigh(&mut self, grams: u64) {
                let $sum = self.grams() + grams;
                let $write = self;
                $set
            }
            fn rest(&mut self) -> (&mut u64, &mut String, &mut bool) {
                (&mut self.trace, &mut self.pad, &mut self.closed)
            }
            fn closed(&self) -> bool {
                self.closed
            }
        }
    };
}

scale!(Grams, |s| s.grams, |s, sum| s.grams = sum);
scale!(Milligrams, |s| s.milligrams / 1_000, |s, sum| s
    .milligrams =
    sum * 1_000);
scale!(Kilos, |s| s.kilos * 1_000 + s.rest, |s, sum| {
    s.kilos = sum / 1_000;
    s.rest = sum % 1_000;
});

fn apply<S: Scale>(mut state: S, event: &Happened) -> S {
    if let Happened::Weighed { grams, .. } = event {
        state.weigh(*grams);
    }
    let (trace, pad, closed) = state.rest();
    *trace = trace.wrapping_mul(31).wrapping_add(event.token());
    match event {
        Happened::Weighed { pad: new, .. } => pad.clone_from(new),
        Happened::Closed { .. } => *closed = true,
    }
    state
}

macro_rules! workflow {
    ($type:ident, $name:literal, $version:literal, $schema:literal, $state:ty) => {
        #[doc = concat!("`", $name, "` at ", $version, ".")]
        pub struct $type;

        impl Workflow for $type {
            const NAME: &'static str = $name;
            const VERSION: &'static str = $version;
            const STATE_SCHEMA_VERSION: u32 = $schema;
            type State = $state;
            type Event = Happened;

            fn apply(state: $state, event: &Happened) -> $state {
                apply(state, event)
            }
            fn is_finished(state: &$state) -> bool {
                state.closed()
            }
        }
    };
}

workflow!(ParcelV1, "parcel", "v1", 1, Grams);
workflow!(ParcelV2, "parcel", "v2", 2, Milligrams);
workflow!(ParcelV3, "parcel", "v3", 3, Kilos);
workflow!(MeterV1, "meter", "v1", 1, Grams);
workflow!(MeterV2, "meter", "v2", 1, Grams);
workflow!(NoteV1, "note", "v1", 1, Grams);

/// A version of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Grams; migrates to v2.
    ParcelV1,
    /// Milligrams; migrates to v3.
    ParcelV2,
    /// Kilograms.
    ParcelV3,
    /// Migrates to v2 without a change.
    MeterV1,
    /// The newest.
    MeterV2,
    /// Has no migrations.
    NoteV1,
}

/// Calls with the type of a version.
#[macro_export]
#[doc(hidden)]
macro_rules! torture_of_version {
    ($version:expr, $W:ident => $call:expr) => {
        match $version {
            $crate::torture::workflows::Version::ParcelV1 => {
                type $W = $crate::torture::workflows::ParcelV1;
                $call
            }
            $crate::torture::workflows::Version::ParcelV2 => {
                type $W = $crate::torture::workflows::ParcelV2;
                $call
            }
            $crate::torture::workflows::Version::ParcelV3 => {
                type $W = $crate::torture::workflows::ParcelV3;
                $call
            }
            $crate::torture::workflows::Version::MeterV1 => {
                type $W = $crate::torture::workflows::MeterV1;
                $call
            }
            $crate::torture::workflows::Version::MeterV2 => {
                type $W = $crate::torture::workflows::MeterV2;
                $call
            }
            $crate::torture::workflows::Version::NoteV1 => {
                type $W = $crate::torture::workflows::NoteV1;
                $call
            }
        }
    };
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ParcelV1,
        Self::ParcelV2,
        Self::ParcelV3,
        Self::MeterV1,
        Self::MeterV2,
        Self::NoteV1,
    ];

    /// Its id.
    #[must_use]
    pub fn id(self) -> WorkflowId {
        torture_of_version!(self, W => WorkflowId::of::<W>())
    }

    /// The version that has an id.
    #[must_use]
    pub fn of(id: &WorkflowId) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.id() == *id)
    }

    /// The versions of a workflow, the oldest first.
    #[must_use]
    pub fn line(self) -> &'static [Self] {
        match self {
            Self::ParcelV1 | Self::ParcelV2 | Self::ParcelV3 => &Self::ALL[0..3],
            Self::MeterV1 | Self::MeterV2 => &Self::ALL[3..5],
            Self::NoteV1 => &Self::ALL[5..],
        }
    }

    /// The newest version of the same workflow.
    #[must_use]
    pub fn newest(self) -> Self {
        self.line().last().copied().unwrap_or(self)
    }
}

/// What a process adds up to, whatever its version: what the model computes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// All that was weighed.
    pub grams: u64,
    /// Depends on every event and their order.
    pub trace: u64,
    /// How long the last pad was.
    pub pad: usize,
    /// Whether it was closed.
    pub closed: bool,
}

impl Sum {
    /// The sum after one more event.
    #[must_use]
    pub fn and(mut self, event: &Happened) -> Self {
        self.trace = self.trace.wrapping_mul(31).wrapping_add(event.token());
        match event {
            Happened::Weighed { grams, pad, .. } => {
                self.grams += grams;
                self.pad = pad.len();
            }
            Happened::Closed { .. } => self.closed = true,
        }
        self
    }

    /// The state of a version that has this sum, as JSON.
    #[must_use]
    pub fn state(&self, version: Version) -> Value {
        let Self { grams, trace, .. } = self;
        let (pad, closed) = (pad(self.pad), self.closed);
        match version {
            Version::ParcelV2 => {
                json!({"milligrams": grams * 1_000, "trace": trace, "pad": pad, "closed": closed})
            }
            Version::ParcelV3 => json!({
                "kilos": grams / 1_000, "rest": grams % 1_000, "trace": trace, "pad": pad, "closed": closed
            }),
            _ => json!({"grams": grams, "trace": trace, "pad": pad, "closed": closed}),
        }
    }

    /// Whether the conversion to the newest parcel refuses it before it is corrected.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.grams % 7 == 3 || self.is_thrown_at()
    }

    fn is_thrown_at(&self) -> bool {
        self.grams % 13 == 5
    }
}

/// The pad of a length.
#[must_use]
pub fn pad(len: usize) -> String {
    "x".repeat(len)
}

/// Which code a program of the world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The first steps only.
    FirstSteps,
    /// All steps, of which the last refuses some parcels and panics at others.
    Broken,
    /// All steps.
    Corrected,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FirstSteps, Self::Broken, Self::Corrected];

    /// What its runs say of who started them.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstSteps => "first steps",
            Self::Broken => "broken",
            Self::Corrected => "corrected",
        }
    }

    /// The code of a run, by the actor of the run.
    #[must_use]
    pub fn of(who: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == who)
    }

    /// The version to which the code migrates a process at version `from`.
    #[must_use]
    pub fn target(self, from: Version) -> Version {
        match (self, from) {
            (Self::FirstSteps, Version::ParcelV1) => Version::ParcelV2,
            (Self::FirstSteps, from) if from < Version::MeterV1 => from,
            (_, from) => from.newest(),
        }
    }

    /// Whether it can migrate a process with a sum.
    #[must_use]
    pub fn takes(self, from: Version, sum: &Sum) -> bool {
        self != Self::Broken || from.newest() != Version::ParcelV3 || !sum.is_refused()
    }

    /// Its migrations.
    ///
    /// # Errors
    /// They do not fit together.
    pub fn migrations(self) -> Result<MigrationRegistry, RegistryError> {
        let first = MigrationRegistry::builder()
            .with(ToMilligrams)
            .with(IdentityMigration::<MeterV2>::new(
                WorkflowId::of::<MeterV1>(),
                WorkflowId::of::<MeterV2>(),
            ));
        match self {
            Self::FirstSteps => first.build(),
            Self::Broken => first.with(ToKilos { corrected: false }).build(),
            Self::Corrected => first.with(ToKilos { corrected: true }).build(),
        }
    }
}

static PARCEL_V1: WorkflowId = WorkflowId::of::<ParcelV1>();
static PARCEL_V2: WorkflowId = WorkflowId::of::<ParcelV2>();
static PARCEL_V3: WorkflowId = WorkflowId::of::<ParcelV3>();

struct ToMilligrams;

impl StateMigration for ToMilligrams {
    type FromWorkflow = ParcelV1;
    type ToWorkflow = ParcelV2;
    fn source_workflow_id(&self) -> &WorkflowId {
        &PARCEL_V1
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &PARCEL_V2
    }
    fn migrate(&self, old: Grams) -> Result<Milligrams, ConversionError> {
        Ok(Milligrams {
            milligrams: old.grams * 1_000,
            trace: old.trace,
            pad: old.pad,
            closed: old.closed,
        })
    }
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(1)
    }
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Milligrams>())
    }
}

/// What the broken conversion panics with.
const THROWN: &str = "the broken conversion of the torture";

/// Prints no panic of the broken conversion: they are as many as there are runs.
pub fn silence() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some(THROWN) {
                loud(panic);
            }
        }));
    });
}

struct ToKilos {
    corrected: bool,
}

impl StateMigration for ToKilos {
    type FromWorkflow = ParcelV2;
    type ToWorkflow = ParcelV3;
    fn source_workflow_id(&self) -> &WorkflowId {
        &PARCEL_V2
    }
    fn target_workflow_id(&self) -> &WorkflowId {
        &PARCEL_V3
    }
    fn migrate(&self, old: Milligrams) -> Result<Kilos, ConversionError> {
        let grams = old.milligrams / 1_000;
        let sum = Sum {
            grams,
            ..Sum::default()
        };
        if !self.corrected {
            assert!(!sum.is_thrown_at(), "{THROWN}");
            if sum.is_refused() {
                return Err("a parcel of this weight".into());
            }
        }
        Ok(Kilos {
            kilos: grams / 1_000,
            rest: grams % 1_000,
            trace: old.trace,
            pad: old.pad,
            closed: old.closed,
        })
    }
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(2 + u64::from(self.corrected))
    }
    fn decoder(&self) -> Option<Decoder> {
        Some(Decoder::for_state::<Kilos>())
    }
}
