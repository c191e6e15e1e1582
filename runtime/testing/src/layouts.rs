//! The test of the layouts of all versions against a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use state_migration_core::draft::{Draft, Refusal, Trace};
use state_migration_core::type_code::{KnownVersion, StateCode};
use state_migration_core::{MigrationRegistry, Workflow, WorkflowId};

use crate::given_or_linked;
use crate::layout::{Rewritten, Subject, layout_of};
use crate::lock::{Change, Lock, Of, Part, Section, changes};
use crate::update::{self, Update};

/// The test of the layouts of all versions, with options. See
/// [`assert_layouts`](crate::assert_layouts).
#[derive(Debug, Default)]
#[must_use]
pub struct Layouts {
    path: PathBuf,
    registry: Option<MigrationRegistry>,
    states: Vec<StateCode>,
    values: BTreeMap<String, Value>,
    samples: BTreeMap<(WorkflowId, Of), Vec<Value>>,
    schemas: BTreeMap<(WorkflowId, Of), Value>,
    /// A mistake in an option.
    problem: Option<String>,
}

impl Layouts {
    /// A test against a file, whose path is relative to the package of the test.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// Tests the versions of this registry instead of the linked ones.
    pub fn registry(mut self, registry: MigrationRegistry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Makes the state of a version known that has no migration. A migration makes the
    /// states of its two versions known.
    pub fn version<W: Workflow>(mut self) -> Self
    where
        W::State: Serialize + DeserializeOwned,
    {
        self.states.push(StateCode::of::<W>());
        self
    }

    /// A valid value of a type that refuses the values that the test makes up, such as a
    /// newtype with validation. `name` is the name of the type for serde: `Percent`.
    pub fn value(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        if let Some(value) = self.json(value) {
            self.values.insert(name.into(), value);
        }
        self
    }

    /// A sample of the state of a version, also as `serde_json::json!`: for what the test
    /// cannot find out, such as the variants of an `untagged` enum.
    pub fn state<W: Workflow>(self, sample: impl Serialize) -> Self {
        self.sample::<W>(Of::State, sample)
    }

    /// A sample of an event of a version.
    pub fn event<W: Workflow>(self, sample: impl Serialize) -> Self {
        self.sample::<W>(Of::Event, sample)
    }

    /// The schema of the state of a version, for a type that the test cannot trace:
    /// `schemars::schema_for!(OrderState)`, or any schema that can be serialized.
    pub fn state_schema<W: Workflow>(self, schema: impl Serialize) -> Self {
        self.schema::<W>(Of::State, schema)
    }

    /// The schema of the events of a version.
    pub fn event_schema<W: Workflow>(self, schema: impl Serialize) -> Self {
        self.schema::<W>(Of::Event, schema)
    }

    fn sample<W: Workflow>(mut self, of: Of, sample: impl Serialize) -> Self {
        if let Some(sample) = self.json(sample) {
            let key = (WorkflowId::of::<W>(), of);
            self.samples.entry(key).or_default().push(sample);
        }
        self
    }

    fn schema<W: Workflow>(mut self, of: Of, schema: impl Serialize) -> Self {
        if let Some(schema) = self.json(schema) {
            self.schemas.insert((WorkflowId::of::<W>(), of), schema);
        }
        self
    }

    fn json(&mut self, value: impl Serialize) -> Option<Value> {
        match serde_json::to_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem = Some(format!("a sample cannot be serialized: {error}"));
                None
            }
        }
    }

    /// Compares the layouts with the file, or writes it if `UPDATE_LAYOUTS` says so.
    ///
    /// # Panics
    /// The assertion fails; the message lists all changes.
    #[track_caller]
    // A test fails by a panic.
    #[allow(clippy::panic)]
    pub fn assert(self) {
        let result = update::update(update::LAYOUTS).and_then(|update| self.check(update));
        match result {
            Ok(warnings) => tell(&warnings),
            Err(message) => panic!("{message}"),
        }
    }

    /// Compares or writes, and returns what could not be traced.
    pub(crate) fn check(self, update: Update) -> Result<Vec<String>, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let registry = given_or_linked(self.registry.as_ref())?;
        let known = registry.known_versions(&self.states);
        let path = update::in_package(&self.path);
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => {
                Lock::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Lock::default(),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let sections: BTreeMap<_, _> = known
            .iter()
            .map(|version| (version.id.clone(), self.section(version)))
            .collect();
        let file = self.path.display().to_string();
        let comparison = Comparison {
            before: &before,
            known: &known,
            sections: &sections,
            registry: &registry,
            file: &file,
        };
        let problems = comparison.problems(update);
        if !problems.is_empty() {
            return Err(problems.join("\n\n"));
        }
        if update != Update::No {
            let text = comparison.updated(update).to_text();
            std::fs::write(&path, text)
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        }
        Ok(warnings(&sections))
    }

    /// The layouts of a version in the code.
    fn section(&self, version: &KnownVersion) -> Section {
        Section {
            deployed: false,
            state_schema_version: version.code.state_schema_version,
            state: self.part(version, Of::State),
            event: self.part(version, Of::Event),
        }
    }

    fn part(&self, version: &KnownVersion, of: Of) -> Part {
        let key = (version.id.clone(), of);
        let subject = Subject {
            complete: &|draft, trace| complete(version, of, draft, trace),
            rewrite: &|json| rewrite(version, of, json),
            values: &self.values,
        };
        let samples = self.samples.get(&key).map_or(&[][..], Vec::as_slice);
        let schema = self.schemas.get(&key);
        Part {
            layout: layout_of(&subject, samples),
            schema: schema.map(|schema| format!("{schema:#}\n")),
        }
    }
}

fn complete(
    version: &KnownVersion,
    of: Of,
    draft: &mut Draft,
    trace: &Trace,
) -> Result<(), Refusal> {
    match (of, version.decoder) {
        (Of::Event, _) => version.code.complete(draft, trace),
        (Of::State, Some(decoder)) => decoder.complete(draft, trace),
        (Of::State, None) => Err(Refusal::Other(
            "no migration has this state; add `.version::<W>()` to the test".to_owned(),
        )),
    }
}

fn rewrite(version: &KnownVersion, of: Of, json: &Value) -> Result<Rewritten, String> {
    let text = json.to_string();
    match of {
        Of::State => {
            let state = version.read(text.as_bytes())?;
            let written = version.encoder.map(|_| version.write(&state)).transpose()?;
            let json = written.map(|written| serde_json::from_str(written.get()));
            Ok(Rewritten {
                json: json.transpose().map_err(|error| error.to_string())?,
                event: None,
            })
        }
        Of::Event => {
            let event = version.code.rewrite(text.as_bytes())?;
            let written = serde_json::from_slice(&event.payload);
            Ok(Rewritten {
                json: Some(written.map_err(|error| error.to_string())?),
                event: Some((event.event_type.to_owned(), event.schema_version)),
            })
        }
    }
}

/// Writes to stderr itself: a test that passes shows nothing of `eprintln!`.
fn tell(warnings: &[String]) {
    let mut stderr = std::io::stderr().lock();
    for warning in warnings {
        // Without stderr there is no reader.
        let _ = writeln!(stderr, "{warning}");
    }
}

/// One line for each type that could not be traced as a whole.
fn warnings(sections: &BTreeMap<WorkflowId, Section>) -> Vec<String> {
    let of_part = |id: &WorkflowId, of: Of, part: &Part| -> Vec<String> {
        let (what, sample, schema) = match of {
            Of::State => ("the state", "state", "state_schema"),
            Of::Event => ("the events", "event", "event_schema"),
        };
        let unknown = part.untraced().iter();
        let mut warnings: Vec<String> = unknown
            .map(|(place, reason)| {
                format!(
                    "warning: the layout of {what} of {id} was not traced at {place}: {reason}; \
                     add `.{sample}::<W>(sample)` or `.{schema}::<W>(schema)` to `Layouts`"
                )
            })
            .collect();
        if let (Some(place), None) = (part.layout.may_have_more.first(), &part.schema) {
            warnings.push(format!(
                "warning: {what} of {id} may have fields, at {place} and further inside, that may \
                 be missing and are not always written; serde does not show them because of \
                 `flatten` or `tag`; add `.{sample}::<W>(sample)` with all fields to `Layouts`"
            ));
        }
        warnings
    };
    let of_section = |(id, section): (&WorkflowId, &Section)| {
        let mut warnings = of_part(id, Of::State, &section.state);
        warnings.extend(of_part(id, Of::Event, &section.event));
        warnings
    };
    sections.iter().flat_map(of_section).collect()
}

/// The file and the code.
struct Comparison<'a> {
    before: &'a Lock,
    known: &'a [KnownVersion],
    sections: &'a BTreeMap<WorkflowId, Section>,
    registry: &'a MigrationRegistry,
    file: &'a str,
}

impl Comparison<'_> {
    /// What the file and the code disagree about, without what an update writes.
    fn problems(&self, update: Update) -> Vec<String> {
        let mut problems = Vec::new();
        for version in self.known {
            let today = &self.sections[&version.id];
            match self.before.versions.get(&version.id) {
                Some(before) if before.deployed => {
                    problems.extend(self.changed(version, before, today));
                }
                _ if update != Update::No => {}
                None => problems.push(format!(
                    "{} is not in {}: run the test once with UPDATE_LAYOUTS=1, and commit the file",
                    version.id, self.file
                )),
                Some(before) if before != today => problems.push(format!(
                    "{} has changed and is not deployed according to {}: run the test once with \
                     UPDATE_LAYOUTS=1, and commit the file",
                    version.id, self.file
                )),
                Some(_) => {}
            }
        }
        problems.extend(self.not_linked(update));
        problems
    }

    fn changed(&self, version: &KnownVersion, before: &Section, today: &Section) -> Option<String> {
        let rewrite = |of, sample: &crate::layout::Sample| rewrite(version, of, &sample.json);
        let mut text = String::new();
        for change in changes(before, today, &rewrite) {
            let Change {
                of,
                place,
                before,
                after,
            } = change;
            let name = match of {
                Of::State => version.state_type,
                Of::Event => version.code.event_type(),
            };
            let _ = write!(
                text,
                "\n  {name} at {place}\n    before: {before}\n    after:  {after}"
            );
        }
        let (stored, code) = (before.state_schema_version, today.state_schema_version);
        if stored != code && self.is_target(&version.id) {
            let _ = write!(
                text,
                "\n  STATE_SCHEMA_VERSION, which migrated processes have stored\n    before: {stored}\n    after:  {code}"
            );
        }
        let id = &version.id;
        let file = self.file;
        (!text.is_empty()).then(|| {
            format!(
                "the stored layout of {id} has changed, which is deployed according to {file}:{text}\n\
                 Undo the change, and make it in a new version of the workflow with a migration \
                 from {id}. If {id} was never deployed, set `deployed = false` in its section of \
                 {file}, and run the test once with UPDATE_LAYOUTS=1."
            )
        })
    }

    fn is_target(&self, id: &WorkflowId) -> bool {
        self.registry
            .migrations()
            .iter()
            .any(|migration| migration.target() == id)
    }

    fn not_linked(&self, update: Update) -> Vec<String> {
        let gone = self.before.versions.iter();
        let gone = gone.filter(|(id, _)| !self.sections.contains_key(id));
        gone.filter(|(_, section)| section.deployed || update == Update::No)
            .map(|(id, section)| {
                let file = self.file;
                if section.deployed {
                    format!(
                        "{id} is deployed according to {file}, but is not linked into the test: \
                         link its crate (`use my_workflows as _;`), or remove its section if no \
                         process is at that version"
                    )
                } else {
                    format!(
                        "{id} is in {file}, but is not linked into the test: link its crate \
                         (`use my_workflows as _;`), or run the test once with UPDATE_LAYOUTS=1"
                    )
                }
            })
            .collect()
    }

    /// The file as it is written: the deployed versions as they are, the others anew.
    fn updated(&self, update: Update) -> Lock {
        let section = |(id, today): (&WorkflowId, &Section)| {
            let before = self.before.versions.get(id);
            let mut section = match before {
                Some(before) if before.deployed => before.clone(),
                _ => today.clone(),
            };
            section.deployed |= update == Update::Deployed;
            (id.clone(), section)
        };
        Lock {
            versions: self.sections.iter().map(section).collect(),
        }
    }
}
