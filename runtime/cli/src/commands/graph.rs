//! The command `graph`.

use std::fmt;

use serde::Serialize;

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::view::output::Answer;
use crate::view::svg;
use state_migration_core::{MigrationRegistry, Problem};

/// Draws the versions and the migrations between them.
///
/// It reads no store, and also draws migrations that do not fit together.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graph\n  graph --mermaid\n  graph --svg > migrations.svg\n  graph --dot | dot -Tpdf > migrations.pdf"
)]
pub(crate) struct Graph {
    /// As a Mermaid flowchart, which Markdown shows as a picture in many places.
    #[arg(long, conflicts_with_all = ["dot", "svg"])]
    mermaid: bool,
    /// In the language of Graphviz, which draws more carefully: `| dot -Tpdf`.
    #[arg(long, conflicts_with = "svg")]
    dot: bool,
    /// As an SVG picture.
    #[arg(long)]
    svg: bool,
}

#[derive(Debug, Serialize)]
struct Drawn {
    format: Format,
    drawing: String,
    /// Whether the migrations are consistent; `list` shows the problems.
    fits: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Text,
    Mermaid,
    Dot,
    Svg,
}

impl Graph {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let fits = match MigrationRegistry::linked() {
            Ok(_) => true,
            Err(error) if error.problems() == [Problem::NothingLinked] => {
                return Err(context.unlinked());
            }
            Err(_) => false,
        };
        let drawing = MigrationRegistry::drawing_of_linked();
        let (format, drawing) = match (self.mermaid, self.dot, self.svg) {
            (true, ..) => (Format::Mermaid, drawing.to_mermaid()),
            (_, true, _) => (Format::Dot, drawing.to_dot()),
            (.., true) => (Format::Svg, svg::draw(&drawing)),
            _ => (Format::Text, drawing.to_text()),
        };
        context.output.answer(&Drawn {
            format,
            drawing,
            fits,
        })?;
        if !fits {
            context
                .output
                .say("the migrations do not fit together; `list` says why");
        }
        Ok(Exit::Done)
    }
}

impl Answer for Drawn {
    const KIND: &'static str = "graph";

    fn text(&self, out: &mut String) -> fmt::Result {
        out.push_str(&self.drawing);
        Ok(())
    }
}
