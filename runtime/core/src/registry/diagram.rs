//! Diagrams of versions and migrations as text, Mermaid or DOT. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::id::WorkflowId;
use crate::registry::linked::VersionRegistration;
use crate::registry::registered::Migration;
use crate::registry::{MigrationRegistry, MigrationRegistryBuilder};

/// A diagram of versions and the migrations between them, as text for a drawing
/// tool.
///
/// Versions are grouped by workflow. The newest has a double border. A version
/// whose processes stay there shows the reason. A version without a migration
/// from it that is neither the newest nor declared to stay is marked
/// `undecided`. An undo is dashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagram {
    #[doc(hidden)]
    pub workflows: Vec<(String, Vec<Node>)>,
    #[doc(hidden)]
    pub edges: Vec<Edge>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub number: usize,
    version: String,
    pub end: End,
    /// The reason why processes stay there, if that is declared.
    stays: Option<&'static str>,
}

/// What happens to a process at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A migration leads to a later version.
    None,
    Newest,
    Stays,
    Undecided,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub label: String,
    pub is_undo: bool,
}

impl Diagram {
    fn of(migrations: &[Migration], registered: &[VersionRegistration]) -> Self {
        let mut stays: BTreeMap<&WorkflowId, Option<&'static str>> = BTreeMap::new();
        for id in migrations.iter().flat_map(|m| [m.source(), m.target()]) {
            stays.insert(id, None);
        }
        for version in registered {
            let known = stays.entry(&version.id).or_default();
            *known = known.or(version.stays);
        }
        Self::new(migrations.iter(), &stays)
    }

    fn new<'a>(
        migrations: impl Iterator<Item = &'a Migration>,
        versions: &BTreeMap<&WorkflowId, Option<&'static str>>,
    ) -> Self {
        let mut migrations: Vec<&Migration> = migrations.collect();
        migrations.sort_by(|a, b| a.cmp_by_place(b));
        let leads_on = |id: &WorkflowId| {
            let mut forward = migrations.iter().filter(|m| !m.is_undo());
            forward.any(|m| m.source() == id)
        };
        let newest: BTreeMap<&str, &WorkflowId> = versions
            .keys()
            .filter(|id| !leads_on(id))
            // Sorted by version, so that the newest one remains in the map.
            .map(|id| (id.name(), *id))
            .collect();
        let numbers: BTreeMap<&WorkflowId, usize> = versions.keys().copied().zip(0..).collect();
        let mut workflows: Vec<(String, Vec<Node>)> = Vec::new();
        for ((id, stays), number) in versions.iter().zip(0..) {
            let end = match stays {
                _ if leads_on(id) => End::None,
                _ if newest.get(id.name()) == Some(id) => End::Newest,
                Some(_) => End::Stays,
                None => End::Undecided,
            };
            let node = Node {
                number,
                version: id.version().to_owned(),
                end,
                stays: *stays,
            };
            match workflows.last_mut() {
                Some((name, nodes)) if *name == id.name() => nodes.push(node),
                _ => workflows.push((id.name().to_owned(), vec![node])),
            }
        }
        let edges = migrations
            .iter()
            .filter_map(|migration| {
                Some(Edge {
                    from: *numbers.get(migration.source())?,
                    to: *numbers.get(migration.target())?,
                    label: label(migration),
                    is_undo: migration.is_undo(),
                })
            })
            .collect();
        Self { workflows, edges }
    }

    /// Every version, sorted, with what happens to its processes, and with the
    /// reason why they stay, if that is declared.
    #[doc(hidden)]
    pub fn ends(&self) -> impl Iterator<Item = (&str, &str, End, Option<&'static str>)> {
        self.workflows.iter().flat_map(|(name, nodes)| {
            nodes
                .iter()
                .map(move |node| (name.as_str(), node.version.as_str(), node.end, node.stays))
        })
    }

    /// The diagram as text for a terminal: each workflow, its versions, and the
    /// migrations from each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let name_of = |number: usize| {
            let mut all = self.workflows.iter();
            all.find_map(|(name, nodes)| {
                let node = nodes.iter().find(|node| node.number == number)?;
                Some((plain(name), plain(&node.version)))
            })
            .unwrap_or_default()
        };
        for (name, nodes) in &self.workflows {
            let name = plain(name);
            let mut lines = Vec::new();
            for node in nodes {
                let from = plain(&node.version);
                let end = match node.end {
                    End::None | End::Stays => None,
                    End::Newest => Some("newest".to_owned()),
                    End::Undecided => Some("undecided".to_owned()),
                };
                let stays = node.stays.map(|why| format!("stays: {}", plain(why)));
                let said = end.into_iter().chain(stays);
                lines.extend(said.map(|said| (from.clone(), said)));
                for edge in self.edges.iter().filter(|edge| edge.from == node.number) {
                    let to = match name_of(edge.to) {
                        (other, version) if other != name => format!("{other}@{version}"),
                        (_, version) => version,
                    };
                    let arrow = if edge.is_undo { "..>" } else { "->" };
                    lines.push((format!("{from} {arrow} {to}"), plain(&edge.label)));
                }
            }
            let widest = lines.iter().map(|(left, _)| left.chars().count()).max();
            let width = widest.unwrap_or(0);
            let _ = writeln!(text, "{name}");
            for (left, right) in lines {
                let _ = writeln!(text, "  {left:width$}  {right}");
            }
        }
        text
    }

    /// The diagram as a [Mermaid](https://mermaid.js.org) flowchart, which many
    /// Markdown viewers render.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (number, (name, nodes)) in self.workflows.iter().enumerate() {
            let _ = writeln!(text, "    subgraph w{number}[\"{}\"]", mermaid(name));
            for node in nodes {
                let label = node.lines(mermaid).join("<br/>");
                let (open, close) = match node.end {
                    End::None => ("[", "]"),
                    End::Newest => ("[[", "]]"),
                    End::Stays => ("(", ")"),
                    End::Undecided => ("{{", "}}"),
                };
                let _ = writeln!(text, "        v{}{open}\"{label}\"{close}", node.number);
            }
            text.push_str("    end\n");
        }
        for edge in &self.edges {
            let arrow = if edge.is_undo { "-.->" } else { "-->" };
            let (from, to, label) = (edge.from, edge.to, mermaid(&edge.label));
            let _ = writeln!(text, "    v{from} {arrow}|\"{label}\"| v{to}");
        }
        text
    }

    /// The diagram in the language of [Graphviz](https://graphviz.org).
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut text =
            String::from("digraph migrations {\n    rankdir=LR;\n    node [shape=box];\n");
        for (number, (name, nodes)) in self.workflows.iter().enumerate() {
            let _ = writeln!(text, "    subgraph cluster_{number} {{");
            let _ = writeln!(text, "        label=\"{}\";", dot(name));
            for node in nodes {
                let label = node.lines(dot).join("\\n");
                let style = match node.end {
                    End::None => "",
                    End::Newest => ", peripheries=2",
                    End::Stays => ", style=rounded",
                    End::Undecided => ", shape=hexagon",
                };
                let _ = writeln!(text, "        v{} [label=\"{label}\"{style}];", node.number);
            }
            text.push_str("    }\n");
        }
        for edge in &self.edges {
            let style = if edge.is_undo { ", style=dashed" } else { "" };
            let (from, to, label) = (edge.from, edge.to, dot(&edge.label));
            let _ = writeln!(text, "    v{from} -> v{to} [label=\"{label}\"{style}];");
        }
        text.push_str("}\n");
        text
    }
}

impl Node {
    /// The lines of the version's label.
    pub fn lines(&self, escape: fn(&str) -> String) -> Vec<String> {
        let stays = self.stays.map(|why| format!("stays: {}", escape(why)));
        let undecided = (self.end == End::Undecided).then(|| "undecided".to_owned());
        let more = stays.into_iter().chain(undecided);
        std::iter::once(escape(&self.version)).chain(more).collect()
    }
}

fn label(migration: &Migration) -> String {
    let by = migration.place().name();
    match (migration.is_undo(), migration.is_identity()) {
        (true, _) => format!("undo: {by}"),
        (false, true) => format!("same state: {by}"),
        (false, false) => by.into_owned(),
    }
}

/// The label for a text without visible characters; Mermaid does not accept an
/// empty label.
const EMPTY: &str = "(empty)";

/// Replaces control characters, so that the text is one line in a terminal.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Escapes characters with a meaning in Mermaid as entities.
fn mermaid(text: &str) -> String {
    if text.trim().is_empty() {
        return EMPTY.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_alphanumeric() || " .,:-_/@+()!'".contains(letter) {
            escaped.push(letter);
        } else if letter.is_control() {
            escaped.push(' ');
        } else {
            let _ = write!(escaped, "#{};", u32::from(letter));
        }
    }
    escaped
}

/// Escapes characters with a meaning in DOT: a backslash begins an escape, a
/// quote ends the text, and an ampersand begins an entity.
fn dot(text: &str) -> String {
    if text.trim().is_empty() {
        return EMPTY.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => escaped.extend(['\\', letter]),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

impl MigrationRegistry {
    /// A diagram of the registry.
    ///
    /// ```
    /// # use state_migration::MigrationRegistry;
    /// # let registry = MigrationRegistry::builder().build()?;
    /// println!("{}", registry.drawing().to_mermaid());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn drawing(&self) -> Diagram {
        let stays = self.versions.iter().map(|(id, stays)| (id, *stays));
        Diagram::new(self.migrations.iter().chain(&self.undos), &stays.collect())
    }

    /// A diagram of everything that is linked, even if it is invalid, to
    /// inspect what [`linked`](Self::linked) rejects.
    #[must_use]
    pub fn drawing_of_linked() -> Diagram {
        let (migrations, versions) = crate::registry::linked::all();
        Diagram::of(&migrations, &versions)
    }
}

impl MigrationRegistryBuilder {
    /// A diagram of what was added so far, even if it is invalid.
    #[must_use]
    pub fn drawing(&self) -> Diagram {
        Diagram::of(&self.migrations, &self.versions)
    }
}
