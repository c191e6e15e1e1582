//! A check: a text with a cursor, and what the editor has to show there.

use crate::editor::{Answer, Editor};

pub struct Check {
    pub name: String,
    /// The text of `lib.rs`, in which `|` is the cursor.
    pub text: String,
    pub expected: Expected,
}

#[derive(Clone, Copy)]
pub enum Expected {
    /// *Jump to definition* leads to exactly one place: `file: line`.
    LeadsTo(&'static str),
    /// These names are proposed, and those that are proposed without the attribute.
    Proposes(&'static [&'static str]),
    /// Exactly these errors and warnings are shown: what is underlined, and a part of the
    /// message.
    Shows(&'static [(&'static str, &'static str)]),
    /// The text of the hover contains this.
    Hovers(&'static str),
    /// A rename to the first name gives a text that contains the others.
    Renames(&'static str, &'static [&'static str]),
}

impl Check {
    /// Runs the check; the error says what was found.
    pub fn run(&self, editor: &mut Editor) -> Answer<()> {
        let opened = editor.open(&self.text)?;
        match self.expected {
            Expected::LeadsTo(place) => {
                let found = opened.definitions(editor)?;
                right(found == [place], || {
                    format!(
                        "leads to {} places, not to `{place}`: {found:#?}",
                        found.len()
                    )
                })
            }
            Expected::Proposes(names) => {
                let found = opened.completions()?;
                let absent: Vec<_> = names
                    .iter()
                    .filter(|name| !found.contains(**name))
                    .collect();
                right(absent.is_empty(), || {
                    format!("proposes {} names, without {absent:?}", found.len())
                })?;
                // A change of the text waits until nothing reads it.
                drop(opened);
                let Some(text) = without_attribute(&self.text) else {
                    return Ok(());
                };
                let without = editor.open(&text)?.completions()?;
                let absent: Vec<_> = without.difference(&found).collect();
                right(!without.is_empty() && absent.is_empty(), || {
                    format!(
                        "proposes {} names, and {} without the attribute: {absent:?}",
                        found.len(),
                        without.len()
                    )
                })
            }
            Expected::Shows(errors) => {
                let found = opened.diagnostics()?;
                let same = found.len() == errors.len()
                    && errors.iter().all(|(underlined, part)| {
                        let mut found = found.iter();
                        found.any(|(at, message)| at == underlined && message.contains(part))
                    });
                right(same, || format!("shows {found:#?}"))
            }
            Expected::Hovers(part) => {
                let found = opened.hover()?.unwrap_or_default();
                right(found.contains(part), || format!("shows {found:?}"))
            }
            Expected::Renames(name, parts) => {
                let found = opened.rename(name)?;
                let all = parts.iter().all(|part| found.contains(part));
                right(all, || format!("becomes\n{found}"))
            }
        }
    }
}

fn right(is: bool, found: impl FnOnce() -> String) -> Answer<()> {
    match is {
        true => Ok(()),
        false => Err(found().into()),
    }
}

/// The text without its attribute; `None` if the cursor is in the attribute or there is
/// none.
fn without_attribute(text: &str) -> Option<String> {
    let start = text.find("#[state_migration")?;
    let end = start + text[start..].find("]\n")? + 2;
    let is_inside = text[start..end].contains('|');
    (!is_inside).then(|| format!("{}{}", &text[..start], &text[end..]))
}
