//! Work items of a loan application: what is open and what is done.
//!
//! An item is scheduled once and then worked on in any number of sessions, each
//! with a start and a completion. A completion ends the session, so that an
//! item is done until somebody takes it up again. The next item of the same
//! name may be scheduled before the session on the one before it has ended.

use serde::{Deserialize, Serialize};

use crate::loan_2012::Transition;

/// A work item that waits for somebody or that somebody is working on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenItem {
    /// What is to be done: `W_Valideren aanvraag`.
    pub item: String,
    /// Whether somebody is working on it.
    pub started: bool,
}

/// Moves the work item that a transition is about.
pub(crate) fn advance(
    open: &mut Vec<OpenItem>,
    done: &mut Vec<String>,
    item: &str,
    transition: Transition,
) {
    let oldest = |open: &[OpenItem], started: bool| {
        open.iter()
            .position(|one| one.item == item && one.started == started)
    };
    match transition {
        Transition::Schedule => open.push(OpenItem {
            item: item.to_owned(),
            started: false,
        }),
        Transition::Start => {
            if let Some(scheduled) = oldest(open, false) {
                open[scheduled].started = true;
                return;
            }
            if let Some(taken_up_again) = done.iter().rposition(|one| one == item) {
                done.remove(taken_up_again);
            }
            open.push(OpenItem {
                item: item.to_owned(),
                started: true,
            });
        }
        Transition::Complete => {
            if let Some(ended) = oldest(open, true).or_else(|| oldest(open, false)) {
                done.push(open.remove(ended).item);
            } else if !done.iter().any(|one| one == item) {
                done.push(item.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Transition::{Complete, Schedule, Start};
    use super::*;

    /// The open items as whether they were started, and how many are done.
    fn after(transitions: &[Transition]) -> (Vec<bool>, usize) {
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for transition in transitions {
            advance(&mut open, &mut done, "W_Afhandelen leads", *transition);
        }
        (open.iter().map(|one| one.started).collect(), done.len())
    }

    #[test]
    fn an_item_is_open_until_its_session_ends() {
        assert_eq!(after(&[Schedule]), (vec![false], 0));
        assert_eq!(after(&[Schedule, Start]), (vec![true], 0));
        assert_eq!(after(&[Schedule, Start, Complete]), (vec![], 1));
        assert_eq!(after(&[Schedule, Complete]), (vec![], 1));
    }

    #[test]
    fn sessions_on_one_item_are_not_items() {
        let twice = [Schedule, Start, Complete, Start];
        assert_eq!(after(&twice), (vec![true], 0));
        assert_eq!(after(&[&twice[..], &[Complete]].concat()), (vec![], 1));
        assert_eq!(
            after(&[&twice[..], &[Complete, Complete]].concat()),
            (vec![], 1)
        );
    }

    #[test]
    fn an_item_scheduled_during_a_session_waits_for_its_own() {
        let overlap = [Schedule, Start, Schedule, Complete];
        assert_eq!(after(&overlap), (vec![false], 1));
        assert_eq!(
            after(&[&overlap[..], &[Start, Complete]].concat()),
            (vec![], 2)
        );
    }

    #[test]
    fn items_of_other_names_are_ignored() {
        let (mut open, mut done) = (Vec::new(), Vec::new());
        advance(&mut open, &mut done, "W_Valideren aanvraag", Schedule);
        advance(&mut open, &mut done, "W_Beoordelen fraude", Start);
        advance(&mut open, &mut done, "W_Beoordelen fraude", Complete);
        assert_eq!(
            open,
            [OpenItem {
                item: "W_Valideren aanvraag".to_owned(),
                started: false,
            }]
        );
        assert_eq!(done, ["W_Beoordelen fraude"]);
    }
}
