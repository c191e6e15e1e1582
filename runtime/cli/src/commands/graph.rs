//! The command `graph`.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;
use state_migration_core::{MigrationRegistry, Problem};

use crate::context::Context;
use crate::exit_code::{Exit, Failure};
use crate::view::output::Answer;
use crate::view::svg;

/// Draw the versions and the migrations between them
///
/// Opens no store. Also draws migrations that are inconsistent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graph\n  graph --format mermaid\n  graph --format svg > migrations.svg\n  graph --format dot | dot -Tpdf > migrations.pdf"
)]
pub(crate) struct Graph {
    /// Draw in this format; `dot` is the language of Graphviz
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct DiagramView {
    format: Format,
    drawing: String,
    /// Whether the migrations are consistent; `migrations` shows the problems.
    fits: bool,
}

#[derive(Debug, Clone, Copy, Serialize, ValueEnum)]
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
        let drawing = match self.format {
            Format::Text => drawing.to_text(),
            Format::Mermaid => drawing.to_mermaid(),
            Format::Dot => drawing.to_dot(),
            Format::Svg => svg::draw(&drawing),
        };
        context.output.answer(&DiagramView {
            format: self.format,
            drawing,
            fits,
        })?;
        if !fits {
            context
                .output
                .say("the migrations are inconsistent; `migrations` shows why");
        }
        Ok(Exit::Done)
    }
}

impl Answer for DiagramView {
    const KIND: &'static str = "graph";

    fn text(&self, out: &mut String) -> fmt::Result {
        out.push_str(&self.drawing);
        Ok(())
    }
}
