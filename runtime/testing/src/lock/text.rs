//! The text of a file of layouts: TOML, in an order and a form that show a change as few
//! lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use state_migration_core::WorkflowId;

use crate::layout::{Layout, NOT_TRACED, Rewritten, Sample};
use crate::lock::{Lock, Part, Section};

/// The version of the format.
const FORMAT: u32 = 1;

const HEAD: &str = "\
# The stored layout of the state and of the events of each version. A test compares it
# with the code. Set `deployed = true` for a version as soon as it is in production: a
# test then fails if its layout changes. UPDATE_LAYOUTS=1 writes the other versions again.
";

impl Lock {
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{HEAD}format = {FORMAT}\n");
        for (id, section) in &self.versions {
            section.write(&quoted(&id.to_string()), &mut text);
        }
        text
    }

    /// Reads a file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.format != FORMAT {
            return Err(format!(
                "the file has format {}, but this release reads format {FORMAT}",
                file.format
            ));
        }
        let mut versions = BTreeMap::new();
        for (id, section) in file.versions {
            let Some((name, version)) = id.split_once('@') else {
                return Err(format!("{id:?} is not of the form `workflow@version`"));
            };
            let id = WorkflowId::new(name.to_owned(), version.to_owned());
            versions.insert(id, section.read()?);
        }
        Ok(Self { versions })
    }
}

impl Section {
    fn write(&self, id: &str, text: &mut String) {
        let _ = write!(
            text,
            "\n[{id}]\ndeployed = {}\nstate_schema_version = {}\n",
            self.deployed, self.state_schema_version
        );
        self.state.write(&format!("{id}.state"), text);
        self.event.write(&format!("{id}.event"), text);
    }
}

impl Part {
    fn write(&self, table: &str, text: &mut String) {
        let _ = write!(text, "\n[{table}]\n");
        if let Some(schema) = &self.schema {
            let _ = writeln!(text, "schema = '''\n{schema}'''");
        }
        if !self.layout.samples.is_empty() {
            text.push_str("samples = [\n");
            for sample in &self.layout.samples {
                let _ = writeln!(text, "  {},", sample_text(sample));
            }
            text.push_str("]\n");
        }
        let _ = write!(text, "\n[{table}.layout]\n");
        for (place, kind) in &self.layout.lines {
            let _ = writeln!(text, "{} = {}", quoted(place), quoted(kind));
        }
    }
}

fn sample_text(sample: &Sample) -> String {
    let mut text = format!("{{ json = {}", quoted(&sample.json.to_string()));
    match &sample.written.json {
        None => text.push_str(", written = false"),
        Some(written) if *written != sample.json => {
            let _ = write!(text, ", written = {}", quoted(&written.to_string()));
        }
        Some(_) => {}
    }
    if let Some((event, schema_version)) = &sample.written.event {
        let _ = write!(
            text,
            ", event_type = {}, schema_version = {schema_version}",
            quoted(event)
        );
    }
    text + " }"
}

/// A text in TOML, without escapes if that is possible.
fn quoted(text: &str) -> String {
    if text.contains('\'') || text.chars().any(char::is_control) {
        // The escapes of JSON are a part of those of TOML.
        Value::from(text).to_string()
    } else {
        format!("'{text}'")
    }
}

#[derive(Deserialize)]
struct File {
    format: u32,
    #[serde(flatten)]
    versions: BTreeMap<String, SectionText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionText {
    deployed: bool,
    state_schema_version: u32,
    state: PartText,
    event: PartText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartText {
    schema: Option<String>,
    #[serde(default)]
    samples: Vec<SampleText>,
    layout: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleText {
    json: String,
    written: Option<Written>,
    event_type: Option<String>,
    schema_version: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Known(String),
    /// `false`: it is unknown how the type is written.
    Unknown(#[allow(dead_code)] bool),
}

impl SectionText {
    fn read(self) -> Result<Section, String> {
        Ok(Section {
            deployed: self.deployed,
            state_schema_version: self.state_schema_version,
            state: self.state.read()?,
            event: self.event.read()?,
        })
    }
}

impl PartText {
    fn read(self) -> Result<Part, String> {
        let samples = self.samples.into_iter().map(SampleText::read);
        let reason = |(place, kind): (&String, &String)| {
            let reason = kind.strip_prefix(NOT_TRACED)?;
            Some((place.clone(), reason.to_owned()))
        };
        let untraced = self.layout.iter().filter_map(reason).collect();
        Ok(Part {
            schema: self.schema,
            layout: Layout {
                samples: samples.collect::<Result<_, _>>()?,
                untraced,
                may_have_more: BTreeSet::new(),
                lines: self.layout,
            },
        })
    }
}

impl SampleText {
    fn read(self) -> Result<Sample, String> {
        let json = parse_json(&self.json)?;
        let written = match &self.written {
            None => Some(json.clone()),
            Some(Written::Known(written)) => Some(parse_json(written)?),
            Some(Written::Unknown(_)) => None,
        };
        let event = self.event_type.zip(self.schema_version);
        Ok(Sample {
            json,
            written: Rewritten {
                json: written,
                event,
            },
        })
    }
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("the sample {text} is not JSON: {error}"))
}
