//! One process: its stream as it was seen, and what was asked for since.

use std::collections::BTreeSet;

use serde_json::Value;
use state_migration::{
    Baseline, BaselineKind, Event, Head, MIGRATED, ProcessIdentity, RunId, StreamId,
};

use super::{Kind, Maybe, Wrong};
use crate::torture::workflows::{Happened, Sum, Version};

/// An append that was asked for.
#[derive(Debug, Clone)]
struct Append {
    number: u64,
    /// The sequence number of its first event.
    first: u64,
    version: Version,
    events: Vec<Happened>,
    acknowledged: bool,
}

/// One place of a stream, as it was seen.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    /// The token of the event, or the run of the migration.
    what: What,
    version: Version,
    sum: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Token(u64),
    Run(RunId),
}

/// A process, and its stream.
#[derive(Debug)]
pub struct Stream {
    /// Where it is.
    pub identity: ProcessIdentity,
    places: Vec<Place>,
    /// The number of places that are certain to be durable.
    durable: usize,
    appends: Vec<Append>,
    held: Maybe<bool>,
    /// The first event that is stored.
    first: u64,
    /// Whether events may have been erased.
    erases: bool,
}

impl Stream {
    pub(super) fn new(identity: ProcessIdentity) -> Self {
        Self {
            identity,
            places: Vec::new(),
            durable: 0,
            appends: Vec::new(),
            held: Maybe::new(false),
            first: 1,
            erases: false,
        }
    }

    pub(super) fn ask(&mut self, number: u64, first: u64, version: Version, events: Vec<Happened>) {
        self.appends.push(Append {
            number,
            first,
            version,
            events,
            acknowledged: false,
        });
    }

    pub(super) fn acknowledge(&mut self, number: u64) {
        let mut appends = self.appends.iter_mut();
        if let Some(append) = appends.find(|append| append.number == number) {
            append.acknowledged = true;
        }
    }

    pub(super) fn refuse(&mut self, number: u64) {
        self.appends.retain(|append| append.number != number);
    }

    /// The stream's id.
    #[must_use]
    pub fn id(&self) -> &StreamId {
        self.identity.stream_id()
    }

    /// How many events there are, as far as was seen.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The version at which it stood when it was last looked at.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.places.last().map(|place| place.version)
    }

    /// What it added up to when it was last looked at.
    #[must_use]
    pub fn sum(&self) -> Sum {
        self.places
            .last()
            .map(|place| place.sum)
            .unwrap_or_default()
    }

    /// Whether an operator took it out of all runs, for all that is known.
    #[must_use]
    pub fn may_be_held(&self) -> bool {
        self.held.now || self.held.or.contains(&true)
    }

    /// Whether an operator took it out of all runs, for certain.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.now && self.held.or.iter().all(|held| *held)
    }

    /// An erasure was asked for: events before the baseline may be gone from now on.
    pub fn may_be_erased(&mut self) {
        self.erases = true;
    }

    /// How many events are stored.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.len().saturating_sub(self.first - 1)
    }

    /// The first event that is stored, if those before it may have been erased.
    fn first_of(&self, from: usize, before: &[Place], seen: &[Event]) -> Option<usize> {
        let first = usize::try_from(seen.first()?.sequence).ok()?;
        let is_baseline = matches!(before.get(first - 1)?.what, What::Run(_));
        let is_new = first as u64 > self.first && self.erases;
        let is_known = first as u64 == self.first;
        (first > from + 1 && is_baseline && (is_new || is_known)).then_some(first)
    }

    /// The question whether it is held.
    pub fn held(&mut self) -> &mut Maybe<bool> {
        &mut self.held
    }

    /// From which sequence number on it has to be looked at.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable as u64
    }

    /// How many migrations of a run it was seen to have gone through.
    #[must_use]
    pub fn migrations_of(&self, run: RunId) -> usize {
        let of_run = |place: &&Place| place.what == What::Run(run);
        self.places.iter().filter(of_run).count()
    }

    /// The runs that migrated it.
    pub fn runs(&self) -> impl Iterator<Item = RunId> {
        self.places.iter().filter_map(|place| match place.what {
            What::Run(run) => Some(run),
            What::Token(_) => None,
        })
    }

    /// How many events of users it holds.
    #[must_use]
    pub fn events(&self) -> u64 {
        let of_users = |place: &&Place| matches!(place.what, What::Token(_));
        self.places.iter().filter(of_users).count() as u64
    }

    /// Every migration of this run that was seen is durable.
    pub fn is_durable(&mut self, run: RunId) {
        let of_run = |place: &Place| place.what == What::Run(run);
        let Some(at) = self.places.iter().rposition(of_run) else {
            return;
        };
        self.durable = self.durable.max(at + 1);
        let durable = self.durable as u64;
        self.appends.retain(|append| append.first > durable);
    }

    /// Compares what is stored after the place from which on it has to be
    /// looked at, or, with `from` 0, all of it. `settled`: the program that
    /// wrote is gone, so that what is not there now never will be.
    ///
    /// # Errors
    /// Something is wrong.
    pub fn check(&mut self, from: u64, seen: &[Event], settled: bool) -> Result<(), Wrong> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let before = std::mem::take(&mut self.places);
        let first = self.first_of(from, &before, seen);
        if let Some(first) = first {
            self.first = first as u64;
        }
        if from == 0
            && seen
                .first()
                .is_some_and(|event| event.sequence < self.first)
        {
            return Err(Wrong::other(format!(
                "events of {} are there that were erased",
                self.id()
            )));
        }
        let from = first.map_or(from, |first| first - 1);
        self.places = before[..from.min(before.len())].to_vec();
        let mut found: BTreeSet<u64> = BTreeSet::new();
        let mut at = 0;
        while let Some(event) = seen.get(at) {
            let sequence = self.len() + 1;
            if event.sequence != sequence {
                return Err(Wrong::other(format!(
                    "event {sequence} of {} has the number {}",
                    self.id(),
                    event.sequence
                )));
            }
            let known = before.get(self.places.len());
            if event.event_type == MIGRATED {
                let place = self.migrated(event)?;
                self.places.push(place);
                at += 1;
            } else if self.places.len() < self.durable {
                let happened = decode(event)?;
                let place = self.and(&happened, Version::of(&event.workflow_id));
                self.places.push(place?);
                at += 1;
            } else {
                let number = self.appended(&seen[at..], &before)?;
                let append = self.appends.iter().find(|append| append.number == number);
                let (events, version) = match append {
                    Some(append) => (append.events.clone(), append.version),
                    None => (Vec::new(), Version::NoteV1),
                };
                found.insert(number);
                at += events.len().max(1);
                for happened in &events {
                    let place = self.and(happened, Some(version))?;
                    self.places.push(place);
                }
            }
            if let (Some(known), Some(now)) = (known, self.places.get(sequence as usize - 1))
                && (sequence as usize <= self.durable || !settled)
                && known != now
            {
                return Err(Wrong::other(format!(
                    "event {sequence} of {} was another one before",
                    self.id()
                )));
            }
        }
        self.nothing_lost(&before, &found, settled)?;
        self.settle(&found, settled);
        Ok(())
    }

    fn nothing_lost(
        &self,
        before: &[Place],
        found: &BTreeSet<u64>,
        settled: bool,
    ) -> Result<(), Wrong> {
        let lost = |append: &&Append| append.acknowledged && !found.contains(&append.number);
        if let Some(append) = self.appends.iter().find(lost) {
            return Err(Wrong::lost(format!(
                "event {} of {}, token {}, was acknowledged and is not there; the stream ends at {}",
                append.first,
                self.id(),
                append.events.first().map_or(0, Happened::token),
                self.len()
            )));
        }
        let must = if settled { self.durable } else { before.len() };
        if self.places.len() < must {
            return Err(Wrong::lost(format!(
                "{} ends at {}, and was seen to end at {must}",
                self.id(),
                self.len()
            )));
        }
        Ok(())
    }

    fn settle(&mut self, found: &BTreeSet<u64>, settled: bool) {
        if settled {
            self.durable = self.places.len();
            self.appends.clear();
            return;
        }
        // What stands before an acknowledged event is durable as well.
        let ends = self
            .appends
            .iter()
            .filter(|append| append.acknowledged && found.contains(&append.number))
            .map(|append| append.first + append.events.len() as u64 - 1);
        if let Some(end) = ends.max() {
            self.durable = self.durable.max(usize::try_from(end).unwrap_or(0));
        }
        let (durable, len) = (self.durable as u64, self.len());
        self.appends.retain(|append| {
            // Its place is taken by another one.
            let missed = append.first <= len && !found.contains(&append.number);
            append.first > durable && !missed
        });
    }

    /// The append whose events are next.
    fn appended(&self, seen: &[Event], before: &[Place]) -> Result<u64, Wrong> {
        let first = self.len() + 1;
        let Some(event) = seen.first() else {
            return Err(Wrong::other("nothing is next"));
        };
        let happened = decode(event)?;
        let here = self
            .appends
            .iter()
            .find(|append| append.first == first && append.events.first() == Some(&happened));
        let Some(append) = here else {
            let token = happened.token();
            let twice = |place: &Place| place.what == What::Token(token);
            let asked = |append: &&Append| append.events.contains(&happened);
            let (kind, why) = if self.places.iter().chain(before).any(twice)
                || self.appends.iter().any(|append| asked(&append))
            {
                (
                    Kind::Doubled,
                    "stands elsewhere too, or was asked for elsewhere",
                )
            } else {
                (Kind::Other, "was not asked for, or was refused")
            };
            return Err(Wrong {
                kind,
                what: format!("event {first} of {}, token {token}, {why}", self.id()),
            });
        };
        for (n, wanted) in append.events.iter().enumerate() {
            let Some(event) = seen.get(n) else {
                return Err(Wrong::lost(format!(
                    "an append of {} events at {first} of {} is there in part",
                    append.events.len(),
                    self.id()
                )));
            };
            if event.event_type == MIGRATED || decode(event)? != *wanted {
                return Err(Wrong::other(format!(
                    "an append of {} events at {first} of {} is torn",
                    append.events.len(),
                    self.id()
                )));
            }
            if event.workflow_id != append.version.id() {
                return Err(Wrong::other(format!(
                    "event {} of {} is of {} and was written by {}",
                    event.sequence,
                    self.id(),
                    event.workflow_id,
                    append.version.id()
                )));
            }
        }
        Ok(append.number)
    }

    fn and(&self, happened: &Happened, version: Option<Version>) -> Result<Place, Wrong> {
        let stands = self.version();
        match version {
            Some(version) if stands.is_none_or(|at| at == version) => Ok(Place {
                what: What::Token(happened.token()),
                version,
                sum: self.sum().and(happened),
            }),
            _ => Err(Wrong::other(format!(
                "event {} of {} is of {version:?}, but the process is at {stands:?}",
                self.len() + 1,
                self.id()
            ))),
        }
    }

    fn migrated(&self, event: &Event) -> Result<Place, Wrong> {
        let (id, sequence) = (self.id(), event.sequence);
        let baseline = Baseline::from_event(event)
            .map_err(|error| Wrong::other(format!("a migration cannot be read: {error}")))?;
        let stands = self.version();
        let (from, to) = (
            Version::of(&baseline.source()),
            Version::of(&baseline.target()),
        );
        let (Some(from), Some(to)) = (from, to) else {
            return Err(Wrong::other(format!(
                "event {sequence} of {id} migrates between unknown versions"
            )));
        };
        if let BaselineKind::Undo { of, exact } = baseline.kind {
            return self.undone(event, &baseline, (from, to), of, exact);
        }
        if baseline.kind != BaselineKind::Migrate {
            return Err(Wrong::other(format!(
                "event {sequence} of {id} corrects a state that was right"
            )));
        }
        if stands != Some(from) {
            let kind = Kind::Doubled;
            let what = format!(
                "event {sequence} of {id} migrates from {from:?}, but {id} is at {stands:?}"
            );
            return Err(Wrong { kind, what });
        }
        let between = |version: &&Version| from < **version && **version <= to;
        let hops: Vec<String> = from
            .line()
            .iter()
            .filter(between)
            .map(|version| version.id().version().to_owned())
            .collect();
        if hops.is_empty() || !hops.iter().eq(baseline.route.iter().map(|hop| &hop.to)) {
            return Err(Wrong::other(format!(
                "event {sequence} of {id} migrates from {from:?} to {to:?} by {:?}",
                baseline.route
            )));
        }
        let state: Value = serde_json::from_str(baseline.state.get()).unwrap_or_default();
        if state != self.sum().state(to) {
            return Err(Wrong::other(format!(
                "event {sequence} of {id} holds another state of {to:?} than its events add up to"
            )));
        }
        Ok(Place {
            what: What::Run(baseline.run),
            version: to,
            sum: self.sum(),
        })
    }

    /// The place of an undo, which takes back the last migration: without events since, or
    /// where the migration changed only the version.
    fn undone(
        &self,
        event: &Event,
        baseline: &Baseline,
        (from, to): (Version, Version),
        of: RunId,
        exact: bool,
    ) -> Result<Place, Wrong> {
        let at = self.places.iter().rposition(|it| it.what == What::Run(of));
        let before = at.and_then(|at| self.places.get(at.checked_sub(1)?));
        let since = at.map_or(&[][..], |at| &self.places[at + 1..]);
        let is_of_users = |place: &Place| matches!(place.what, What::Token(_));
        let state: Value = serde_json::from_str(baseline.state.get()).unwrap_or_default();
        let is_exact = exact && !since.iter().any(is_of_users);
        let is_right = (is_exact || to == Version::MeterV1)
            && self.version() == Some(from)
            && before.is_some_and(|before| before.version == to)
            && state == self.sum().state(to);
        match is_right {
            true => Ok(Place {
                what: What::Run(baseline.run),
                version: to,
                sum: self.sum(),
            }),
            false => Err(Wrong::other(format!(
                "event {} of {} takes back run {of} from {from:?} to {to:?}, which is wrong",
                event.sequence,
                self.id()
            ))),
        }
    }

    /// Compares the events that a reader saw, which are at least the first `at_least`.
    ///
    /// # Errors
    /// Something is wrong.
    pub fn check_read(&self, at_least: u64, seen: &[Event]) -> Result<(), Wrong> {
        let first = seen.first().map_or(1, |event| event.sequence);
        // It may have been read before or after an erasure.
        if first > self.first || (first > 1 && first < self.first) {
            return Err(Wrong::lost(format!(
                "a reader saw {} from event {first} on, and it is stored from {} on",
                self.id(),
                self.first
            )));
        }
        for (at, event) in (first - 1..).zip(seen) {
            let what = match event.event_type == MIGRATED {
                true => Baseline::from_event(event).ok().map(|b| What::Run(b.run)),
                false => Some(What::Token(decode(event)?.token())),
            };
            let known = usize::try_from(at).ok();
            let known = known
                .and_then(|at| self.places.get(at))
                .map(|place| place.what);
            if known.is_none() || known != what || event.sequence != at + 1 {
                return Err(Wrong::other(format!(
                    "a reader saw {what:?} as event {} of {}, which is {known:?}",
                    event.sequence,
                    self.id()
                )));
            }
        }
        if (seen.len() as u64 + first - 1) < at_least {
            return Err(Wrong::lost(format!(
                "a reader saw {} events of {}, of which {at_least} were durable",
                seen.len(),
                self.id()
            )));
        }
        Ok(())
    }

    /// Compares the head.
    ///
    /// # Errors
    /// Something is wrong.
    pub fn check_head(&mut self, head: Option<&Head>, settled: bool) -> Result<(), Wrong> {
        let id = self.id().clone();
        let Some(head) = head else {
            return match self.is_empty() {
                true => Ok(()),
                false => Err(Wrong::lost(format!("{id} has events and no head"))),
            };
        };
        let migrated = |place: &Place| matches!(place.what, What::Run(_));
        let baseline = self.places.iter().rposition(migrated);
        let told = (
            head.sequence,
            Version::of(&head.workflow_id),
            head.baseline,
            head.finished,
        );
        let must = (
            self.len(),
            self.version(),
            baseline.map(|at| at as u64 + 1),
            self.sum().closed,
        );
        if told != must {
            return Err(Wrong::other(format!(
                "the head of {id} says {told:?}, and its events {must:?}"
            )));
        }
        let kept = usize::try_from(head.first_kept).unwrap_or(usize::MAX);
        let at = self.places.get(kept.saturating_sub(1));
        if self.erases && head.first_kept > self.first && at.is_some_and(migrated) {
            self.first = head.first_kept;
        }
        if head.first_kept != self.first {
            return Err(Wrong::other(format!(
                "the head of {id} says that events are kept from {} on, and they are from {} on",
                head.first_kept, self.first
            )));
        }
        if !self.held.check(head.held, settled) {
            return Err(Wrong::other(format!(
                "the head of {id} says held: {}, and that is wrong",
                head.held
            )));
        }
        Ok(())
    }
}

fn decode(event: &Event) -> Result<Happened, Wrong> {
    serde_json::from_slice(&event.payload).map_err(|error| {
        Wrong::other(format!(
            "event {} of {} cannot be read: {error}",
            event.sequence, event.stream_id
        ))
    })
}
