//! Drawings as SVG, laid out by `layout-rs`.

use std::collections::BTreeMap;

use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::render::get_shape_size;
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;
use state_migration_core::Diagram;
use state_migration_core::registry::diagram::{End, plain};

const FONT: usize = 14;

/// Corner radius of a version that processes stay at.
const ROUNDED: usize = 12;

/// Draws a diagram as SVG.
///
/// Every version has the name of its workflow. The newest version has a thick border,
/// and an undecided version a red one.
pub(crate) fn draw(drawing: &Diagram) -> String {
    let mut picture = SVGWriter::new();
    // The layout fails for an empty graph.
    if drawing.workflows.is_empty() {
        return picture.finalize() + "\n";
    }
    let along = Orientation::LeftToRight;
    let mut graph = VisualGraph::new(along);
    let mut nodes = BTreeMap::new();
    for (name, versions) in &drawing.workflows {
        for version in versions {
            let (color, width, corners) = match version.end {
                End::None => ("black", 1, 0),
                End::Newest => ("black", 3, 0),
                End::Stays => ("black", 1, ROUNDED),
                End::Undecided => ("red", 1, 0),
            };
            let lines = version.lines(plain).join("\n");
            let text = format!("{}@{lines}", plain(name));
            let shape = ShapeKind::Box(text);
            let size = get_shape_size(along.flip(), &shape, FONT, false);
            let white = Some(Color::fast("white"));
            let look = StyleAttr::new(Color::fast(color), width, white, corners, FONT);
            let node = graph.add_node(Element::create(shape, look, along.flip(), size));
            nodes.insert(version.number, node);
        }
    }
    for edge in &drawing.edges {
        let (Some(from), Some(to)) = (nodes.get(&edge.from), nodes.get(&edge.to)) else {
            continue;
        };
        let line = match edge.is_undo {
            true => LineStyleKind::Dashed,
            false => LineStyleKind::Normal,
        };
        let look = StyleAttr::new(Color::fast("black"), 1, None, 0, FONT);
        let (none, arrow) = (LineEndKind::None, LineEndKind::Arrow);
        let label = plain(&edge.label);
        let arrow = Arrow::new(none, arrow, line, &label, &look, &None, &None);
        graph.add_edge(arrow, *from, *to);
    }
    graph.do_it(false, false, false, &mut picture);
    picture.finalize() + "\n"
}
