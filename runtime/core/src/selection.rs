//! The selection of processes for a run. Pure: the same selection selects the
//! same processes on every machine.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{RunId, StreamId, TenantId};
use crate::store_api::StreamRange;

/// All processes, in hundredths of a percent.
const WHOLE: u32 = 10_000;

/// The processes that a run is limited to: all, unless restricted. Restrictions
/// combine with AND.
///
/// ```
/// use state_migration::{Selection, StreamId, TenantId};
///
/// let canary = Selection::all()
///     .workflow("order")
///     .tenant(TenantId::new("shop")?)
///     .percent(5.0);
/// assert_eq!(canary.to_string(), "workflow order, tenant shop, 5 % by hash");
/// assert!(!canary.selects(&StreamId::new("process/other shop/17")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    workflows: Option<BTreeSet<String>>,
    tenants: Option<BTreeSet<TenantId>>,
    prefix: Option<String>,
    streams: Option<BTreeSet<StreamId>>,
    first: Option<usize>,
    /// In hundredths of a percent.
    share: Option<u32>,
    #[serde(default)]
    in_flight: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matching: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    except_failed_in: Option<RunId>,
}

impl Selection {
    /// Every process.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Limits the selection to this workflow; repeated calls add workflows.
    #[must_use]
    pub fn workflow(mut self, name: impl Into<String>) -> Self {
        self.workflows.get_or_insert_default().insert(name.into());
        self
    }

    /// Limits the selection to this tenant; repeated calls add tenants.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenants.get_or_insert_default().insert(tenant);
        self
    }

    /// Limits the selection to streams whose ids start with this prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Limits the selection to these streams.
    #[must_use]
    pub fn streams(mut self, streams: impl IntoIterator<Item = StreamId>) -> Self {
        self.streams.get_or_insert_default().extend(streams);
        self
    }

    /// Limits the selection to the first `count` processes, in order of their
    /// streams.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.first = Some(count);
        self
    }

    /// Limits the selection to a percentage of the processes, by a hash of
    /// their streams: every run selects the same processes, and a larger
    /// percentage includes those of a smaller one. The value is clamped to 0 to
    /// 100 and rounded to 0.01.
    #[must_use]
    pub fn percent(mut self, percent: f64) -> Self {
        // The cast saturates, and turns NaN into 0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let share = (percent * 100.0).round() as u32;
        self.share = Some(share.min(WHOLE));
        self
    }

    /// Whether only processes in flight are selected.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Limits the selection to processes that are not finished.
    ///
    /// A run asks [`Workflow::is_finished`](crate::Workflow::is_finished), and the store
    /// keeps that a process is finished until it gets an event. Another build of
    /// the program, or another migration, asks again.
    #[must_use]
    pub fn in_flight(mut self) -> Self {
        self.in_flight = true;
        self
    }

    /// Limits the selection to processes whose state matches a
    /// [predicate](crate::Predicates) that is registered with the runner under this
    /// name. The predicate reads the state before the migration, in the run.
    #[must_use]
    pub fn matching(mut self, predicate: impl Into<String>) -> Self {
        self.matching = Some(predicate.into());
        self
    }

    /// Leaves out the processes that failed in a run with the same code that would
    /// migrate them now. If that run left out the failures of an earlier run, these are
    /// left out too.
    #[must_use]
    pub fn except_failed_in(mut self, run: RunId) -> Self {
        self.except_failed_in = Some(run);
        self
    }

    /// The name of the predicate, if there is one.
    #[must_use]
    pub fn predicate(&self) -> Option<&str> {
        self.matching.as_deref()
    }

    /// The run whose failures are left out, if there is one.
    #[must_use]
    pub fn failures_left_out(&self) -> Option<RunId> {
        self.except_failed_in
    }

    /// Whether more than the head of a process decides if it is selected.
    #[doc(hidden)]
    #[must_use]
    pub fn reads_more_than_heads(&self) -> bool {
        self.matching.is_some() || self.except_failed_in.is_some()
    }

    /// Whether processes of a workflow may be selected.
    #[must_use]
    pub fn selects_workflow(&self, name: &str) -> bool {
        self.workflows
            .as_ref()
            .is_none_or(|names| names.contains(name))
    }

    /// Whether a stream is selected, as far as its id shows.
    #[must_use]
    pub fn selects(&self, stream: &StreamId) -> bool {
        let of_tenant = self.tenants.as_ref().is_none_or(|tenants| {
            stream
                .process()
                .is_some_and(|(tenant, _)| tenants.contains(&tenant))
        });
        let named = |prefix: &String| stream.as_str().starts_with(prefix);
        of_tenant
            && self.prefix.as_ref().is_none_or(named)
            && self
                .streams
                .as_ref()
                .is_none_or(|streams| streams.contains(stream))
            && self.share.is_none_or(|share| bucket(stream) < share)
    }

    /// Whether a process with this `finished` flag is selected.
    #[must_use]
    pub fn selects_finished(&self, finished: bool) -> bool {
        !(self.in_flight && finished)
    }

    /// The maximum number of processes selected.
    #[must_use]
    pub fn limit(&self) -> Option<usize> {
        self.first
    }

    #[doc(hidden)]
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.tenants.iter().flatten()
    }

    #[doc(hidden)]
    pub fn starts_with(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    #[doc(hidden)]
    pub fn named_streams(&self) -> impl Iterator<Item = &StreamId> {
        self.streams.iter().flatten()
    }

    /// The parts of the given ranges that contain all selected streams in them.
    #[doc(hidden)]
    pub fn within(&self, ranges: &[StreamRange]) -> Vec<StreamRange> {
        common(ranges, &self.ranges())
    }

    /// Whether the selection is limited to ranges of streams.
    pub(crate) fn is_bounded(&self) -> bool {
        self.streams.is_some() || self.prefix.is_some() || self.tenants.is_some()
    }

    /// Whether the selection may exclude a stream by its id.
    #[doc(hidden)]
    pub fn is_partial(&self) -> bool {
        self.is_bounded() || self.share.is_some()
    }

    /// Whether the selection leaves processes of its workflows out for any reason: by their
    /// ids, by their states, or because it has a limit.
    #[doc(hidden)]
    pub fn leaves_out(&self) -> bool {
        self.is_partial()
            || self.limit().is_some()
            || self.in_flight
            || self.reads_more_than_heads()
    }

    /// The longest known common prefix of all selected streams.
    #[doc(hidden)]
    pub fn list_prefix(&self) -> Option<String> {
        match (&self.prefix, &self.tenants) {
            (Some(prefix), _) => Some(prefix.clone()),
            (None, Some(tenants)) => match tenants.first() {
                Some(tenant) if tenants.len() == 1 => Some(format!("process/{tenant}/")),
                _ => None,
            },
            (None, None) => None,
        }
    }

    /// Disjoint, sorted ranges that contain all selected streams; a run reads
    /// nothing outside them.
    fn ranges(&self) -> Vec<StreamRange> {
        if let Some(streams) = &self.streams {
            let (first, last) = (streams.first(), streams.last());
            return match (first, last) {
                (Some(first), Some(last)) => vec![StreamRange {
                    after: before(first.as_str()),
                    through: Some(last.clone()),
                }],
                _ => Vec::new(),
            };
        }
        let prefixes: Vec<String> = match (&self.prefix, &self.tenants) {
            (Some(prefix), _) => vec![prefix.clone()],
            (None, Some(tenants)) => {
                // The `/` can make streams sort differently from their tenants'
                // ids.
                let prefixes = tenants.iter().map(|tenant| format!("process/{tenant}/"));
                prefixes.collect::<BTreeSet<_>>().into_iter().collect()
            }
            (None, None) => return vec![StreamRange::default()],
        };
        let ranges = prefixes.iter().map(|prefix| StreamRange {
            after: before(prefix),
            through: last_with(prefix),
        });
        apart(ranges.collect())
    }
}

/// The intersections of two lists of ranges.
fn common(ranges: &[StreamRange], others: &[StreamRange]) -> Vec<StreamRange> {
    let mut parts = Vec::new();
    for range in ranges {
        for other in others {
            let after = range.after.clone().max(other.after.clone());
            // `None` means no upper bound for `through`, and no lower bound for
            // `after`.
            let through = match (&range.through, &other.through) {
                (Some(a), Some(b)) => Some(a.min(b).clone()),
                (a, b) => a.clone().or(b.clone()),
            };
            let empty = matches!((&after, &through), (Some(a), Some(t)) if a >= t);
            if !empty {
                parts.push(StreamRange { after, through });
            }
        }
    }
    parts
}

/// The union of the ranges, sorted and disjoint.
fn apart(mut ranges: Vec<StreamRange>) -> Vec<StreamRange> {
    ranges.sort_by(|a, b| a.after.cmp(&b.after));
    let mut apart: Vec<StreamRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match apart.last_mut() {
            Some(last) if last.through.is_none() => {}
            Some(last) if range.after < last.through => {
                // `None` means no upper bound.
                last.through = match (last.through.take(), range.through) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            _ => apart.push(range),
        }
    }
    apart
}

/// A stream id that sorts before all ids that start with `id`, and after nearly
/// all that sort before those.
pub fn before(id: &str) -> Option<StreamId> {
    let mut shorter = id.chars();
    let last = shorter.next_back()?;
    let previous = (0..u32::from(last)).rev().find_map(char::from_u32);
    let close = previous.map(|c| format!("{}{c}{}", shorter.as_str(), char::MAX));
    close
        .and_then(|id| StreamId::new(id).ok())
        .or_else(|| StreamId::new(shorter.as_str()).ok())
}

/// The least stream id that sorts after all ids that start with `prefix`:
/// `prefix` with its last character replaced by the next one that is allowed in
/// an id.
fn last_with(prefix: &str) -> Option<StreamId> {
    let mut shorter = prefix.chars();
    while let Some(last) = shorter.next_back() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX))
            .filter_map(char::from_u32)
            .find(|c| !c.is_control());
        if let Some(next) = next {
            return StreamId::new(format!("{}{next}", shorter.as_str())).ok();
        }
    }
    None
}

/// The bucket of a stream, out of ten thousand of equal size.
fn bucket(stream: &StreamId) -> u32 {
    // FNV-1a, then mixed so that ids that differ only in their last digit are
    // spread evenly. Both are part of the format of a selection: a canary must
    // select the same processes on every machine and in every release.
    let hash = stream
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let mixed = mixed ^ (mixed >> 33);
    u32::try_from(mixed % u64::from(WHOLE)).unwrap_or(0)
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some(names) = &self.workflows {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            parts.push(format!("workflow {}", names.join(" or ")));
        }
        if let Some(tenants) = &self.tenants {
            let tenants: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
            parts.push(format!("tenant {}", tenants.join(" or ")));
        }
        if let Some(prefix) = &self.prefix {
            parts.push(format!("streams with prefix {prefix}"));
        }
        if let Some(streams) = &self.streams {
            parts.push(match streams.len() {
                1 => "1 stream by id".to_owned(),
                many => format!("{many} streams by id"),
            });
        }
        if let Some(share) = self.share {
            parts.push(format!("{} % by hash", f64::from(share) / 100.0));
        }
        if self.in_flight {
            parts.push("in flight".to_owned());
        }
        if let Some(predicate) = &self.matching {
            parts.push(format!("matching {predicate}"));
        }
        if let Some(run) = self.except_failed_in {
            parts.push(format!("except what failed in run {run}"));
        }
        if let Some(first) = self.first {
            parts.push(format!("the first {first}"));
        }
        if parts.is_empty() {
            f.write_str("everything")
        } else {
            f.write_str(&parts.join(", "))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::new(id).unwrap()
    }

    fn in_ranges(selection: &Selection, stream: &StreamId) -> bool {
        selection.ranges().iter().any(|range| {
            range.after.as_ref().is_none_or(|after| after < stream)
                && range
                    .through
                    .as_ref()
                    .is_none_or(|through| stream <= through)
        })
    }

    #[test]
    fn everything_that_is_said_must_hold() {
        let selection = Selection::all()
            .tenant(tenant("a"))
            .tenant(tenant("b"))
            .prefix("process/a/1");
        for (id, selected) in [
            ("process/a/1", true),
            ("process/a/17", true),
            ("process/a/2", false),
            ("process/b/1", false),
            ("process/ab/1", false),
            ("process/a", false),
        ] {
            assert_eq!(selection.selects(&stream(id)), selected, "{id}");
        }
        assert!(Selection::all().selects(&stream("anything")));
        assert!(
            !Selection::all()
                .tenant(tenant("a"))
                .selects(&stream("anything"))
        );
        assert!(
            Selection::all()
                .streams([stream("x")])
                .selects(&stream("x"))
        );
        assert!(
            !Selection::all()
                .streams([stream("x")])
                .selects(&stream("xx"))
        );
        assert!(!Selection::all().streams([]).selects(&stream("x")));
        assert!(Selection::all().selects_finished(true));
        assert!(!Selection::all().in_flight().selects_finished(true));
        assert!(Selection::all().in_flight().selects_finished(false));
        assert!(!Selection::all().workflow("a").selects_workflow("b"));
        assert!(
            Selection::all()
                .workflow("a")
                .workflow("b")
                .selects_workflow("b")
        );
    }

    #[test]
    fn ranges_hold_all_that_is_selected_and_little_else() {
        let ids = [
            "a",
            "process",
            "process/",
            "process/a",
            "process/a!b/1",
            "process/a/",
            "process/a/1",
            "process/a/\u{10ffff}\u{10ffff}",
            "process/a/ä",
            "process/a0/1",
            "process/ab/1",
            "process/b/1",
            "process0",
            "z",
        ];
        let selections = [
            Selection::all(),
            Selection::all().tenant(tenant("a")),
            Selection::all().tenant(tenant("a")).tenant(tenant("a!b")),
            Selection::all().prefix("process/a"),
            Selection::all().prefix(""),
            Selection::all().streams([stream("process/a/1"), stream("process/b/1")]),
            Selection::all().streams([]),
        ];
        for selection in selections {
            for id in ids.map(stream) {
                if selection.selects(&id) {
                    assert!(in_ranges(&selection, &id), "{selection}: {id}");
                }
            }
            for pair in selection.ranges().windows(2) {
                assert!(pair[0].through.as_ref().unwrap() <= pair[1].after.as_ref().unwrap());
            }
        }
        let of_a = Selection::all().tenant(tenant("a"));
        for other in [
            "process/a!b/1",
            "process/a0/1",
            "process/ab/1",
            "process/b/1",
        ] {
            assert!(!in_ranges(&of_a, &stream(other)), "{other}");
        }
    }

    #[test]
    fn a_share_means_these_processes_on_every_machine() {
        let ids: Vec<StreamId> = (0..10_000)
            .map(|n| stream(&format!("process/t/{n}")))
            .collect();
        let of = |percent: f64| {
            let canary = Selection::all().percent(percent);
            ids.iter()
                .filter(|id| canary.selects(id))
                .cloned()
                .collect::<Vec<_>>()
        };
        let five = of(5.0);
        assert!((400..600).contains(&five.len()), "{}", five.len());
        let first: Vec<&str> = five.iter().take(5).map(StreamId::as_str).collect();
        assert_eq!(first, FIRST_OF_FIVE_PERCENT);
        let ten = of(10.0);
        assert!(five.iter().all(|id| ten.contains(id)));
        assert_eq!(
            (of(0.0).len(), of(-3.0).len(), of(f64::NAN).len()),
            (0, 0, 0)
        );
        assert_eq!((of(100.0).len(), of(1e9).len()), (10_000, 10_000));
        assert_eq!(Selection::all().percent(0.01).share, Some(1));
    }

    // Calculated with an independent program.
    const FIRST_OF_FIVE_PERCENT: [&str; 5] = [
        "process/t/22",
        "process/t/47",
        "process/t/115",
        "process/t/147",
        "process/t/161",
    ];

    #[test]
    fn a_selection_reads_as_a_sentence() {
        assert_eq!(Selection::all().to_string(), "everything");
        let all = Selection::all()
            .workflow("order")
            .prefix("process/")
            .streams([stream("x")])
            .percent(0.5)
            .in_flight()
            .first(3);
        assert_eq!(
            all.to_string(),
            "workflow order, streams with prefix process/, 1 stream by id, 0.5 % by hash, in flight, the first 3"
        );
    }
}
