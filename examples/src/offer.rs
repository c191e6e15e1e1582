//! Offers of a loan.
//!
//! An application may have several, and the events do not say which one they
//! are about. It follows from the order of the steps: an offer is selected,
//! created and sent, and may come back signed; a new one is begun shortly
//! before or after the one it replaces is cancelled.

use serde::{Deserialize, Serialize};

/// Where an offer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferState {
    /// Its terms were chosen.
    Selected,
    /// It was drawn up.
    Created,
    /// The customer has it.
    Sent,
    /// The customer's answer is here.
    SentBack,
    /// The bank lends on these terms.
    Accepted,
    /// The bank does not.
    Declined,
    /// It was withdrawn or replaced.
    Cancelled,
}

impl OfferState {
    /// The state that version 2011 writes as `O_SELECTED`, `O_SENT`, …
    #[must_use]
    pub fn from_activity(activity: &str) -> Option<Self> {
        Some(match activity {
            "O_SELECTED" => Self::Selected,
            "O_CREATED" => Self::Created,
            "O_SENT" => Self::Sent,
            "O_SENT_BACK" => Self::SentBack,
            "O_ACCEPTED" => Self::Accepted,
            "O_DECLINED" => Self::Declined,
            "O_CANCELLED" => Self::Cancelled,
            _ => return None,
        })
    }

    fn is_open(self) -> bool {
        matches!(
            self,
            Self::Selected | Self::Created | Self::Sent | Self::SentBack
        )
    }

    fn is_with_customer(self) -> bool {
        matches!(self, Self::Sent | Self::SentBack)
    }
}

/// An offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Where it stands.
    pub state: OfferState,
}

/// Moves the offer that a step is about to its new state. A step that fits no
/// offer is about one that began before the first event that is known.
pub(crate) fn advance(offers: &mut Vec<Offer>, to: OfferState) {
    let about = match to {
        OfferState::Selected => None,
        OfferState::Created => oldest(offers, |state| state == OfferState::Selected),
        OfferState::Sent => oldest(offers, |state| state == OfferState::Created),
        OfferState::SentBack => newest(offers, |state| state == OfferState::Sent),
        OfferState::Accepted | OfferState::Declined => newest(offers, OfferState::is_with_customer),
        // The one that is replaced, not the one that replaces it.
        OfferState::Cancelled => oldest(offers, OfferState::is_open),
    };
    match about {
        Some(offer) => offer.state = to,
        None => offers.push(Offer { state: to }),
    }
}

fn oldest(offers: &mut [Offer], is: impl Fn(OfferState) -> bool) -> Option<&mut Offer> {
    offers.iter_mut().find(|offer| is(offer.state))
}

fn newest(offers: &mut [Offer], is: impl Fn(OfferState) -> bool) -> Option<&mut Offer> {
    offers.iter_mut().rev().find(|offer| is(offer.state))
}

#[cfg(test)]
mod tests {
    use super::OfferState::{Accepted, Cancelled, Created, Declined, Selected, Sent, SentBack};
    use super::*;

    fn after(steps: &[OfferState]) -> Vec<OfferState> {
        let mut offers = Vec::new();
        for step in steps {
            advance(&mut offers, *step);
        }
        offers.iter().map(|offer| offer.state).collect()
    }

    #[test]
    fn one_offer_goes_its_way() {
        assert_eq!(after(&[Selected]), [Selected]);
        assert_eq!(after(&[Selected, Created, Sent]), [Sent]);
        assert_eq!(
            after(&[Selected, Created, Sent, SentBack, Accepted]),
            [Accepted]
        );
        assert_eq!(after(&[Selected, Created, Sent, Declined]), [Declined]);
    }

    #[test]
    fn a_new_offer_replaces_the_older_one_whichever_is_said_first() {
        let first = [Selected, Created, Sent];
        for swap in [[Selected, Cancelled], [Cancelled, Selected]] {
            let steps = [&first[..], &swap, &[Created, Sent, SentBack]].concat();
            assert_eq!(after(&steps), [Cancelled, SentBack]);
        }
    }

    #[test]
    fn a_step_of_an_unknown_offer_begins_one() {
        assert_eq!(after(&[Sent]), [Sent]);
        assert_eq!(after(&[Selected, Sent]), [Selected, Sent]);
        assert_eq!(
            after(&[Selected, Created, Sent, Accepted, Cancelled]),
            [Accepted, Cancelled]
        );
    }
}
