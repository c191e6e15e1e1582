//! A process that is folded from a history.

use serde_json::Value;
use state_migration_core::fold::AnyState;
use state_migration_core::redaction::{self, Lists};
use state_migration_core::type_code::KnownVersion;
use state_migration_core::{Baseline, Migration, VersionStatus};

use crate::json::{differences, shown};
use crate::replay::Code;
use crate::replay::file::{EventLine, StateLine};

/// A process after the events so far.
pub(crate) struct Replayed<'a> {
    code: &'a Code<'a>,
    version: &'a KnownVersion,
    state: AnyState,
    /// The sequence number of the last event.
    sequence: Option<u64>,
}

impl<'a> Replayed<'a> {
    pub(crate) fn new(code: &'a Code<'a>, workflow: &str) -> Result<Self, String> {
        let version = code.version(workflow)?;
        Ok(Self {
            code,
            version,
            state: version.code.initial(),
            sequence: None,
        })
    }

    pub(crate) fn apply(&mut self, event: &EventLine<'_>) -> Result<(), String> {
        self.follows(event)?;
        let view = event.view();
        if view.is_migrated() {
            return self.migrated(event);
        }
        if view.is_reserved() {
            return Err("the event has a reserved type that this release does not know".to_owned());
        }
        let here = self.version.id.to_string();
        if event.workflow != here {
            return Err(format!(
                "the event is of {}, but the process is at {here}",
                event.workflow
            ));
        }
        let state = std::mem::replace(&mut self.state, Box::new(()));
        self.state = self
            .version
            .code
            .apply(state, view)
            .map_err(|error| format!("the event cannot be folded by {here}: {error}"))?;
        Ok(())
    }

    /// The events are complete from the first, or from a `$migrated` event.
    fn follows(&mut self, event: &EventLine<'_>) -> Result<(), String> {
        let expected = self.sequence.map_or(1, |last| last + 1);
        let is_start = self.sequence.is_none() && event.view().is_migrated();
        if event.sequence != expected && !is_start {
            return Err(format!(
                "the event has sequence {}, expected {expected}: export all events from the first \
                 or from a `$migrated` event",
                event.sequence
            ));
        }
        self.sequence = Some(event.sequence);
        Ok(())
    }

    /// Continues from a baseline, as a load from a store does.
    fn migrated(&mut self, event: &EventLine<'_>) -> Result<(), String> {
        let baseline: Baseline = serde_json::from_slice(event.view().payload())
            .map_err(|error| format!("the baseline cannot be read: {error}"))?;
        let target = baseline.target().to_string();
        if event.workflow != target {
            return Err(format!(
                "the event is of {}, but its baseline leads to {target}",
                event.workflow
            ));
        }
        self.version = self.code.version(&target)?;
        let state = self.version.baseline(event.view());
        self.state = state.map_err(|why| format!("the baseline at {target}: {why}"))?;
        Ok(())
    }

    /// The differences from a recorded state.
    pub(crate) fn differences(&self, recorded: &StateLine) -> Result<Vec<String>, String> {
        let (version, state) = self.state_at(&recorded.at)?;
        let (before, now) = (recorded.state.get(), version.write(&state)?);
        let difference = |d: crate::json::Difference| {
            let (before, after) = (shown(d.before.as_ref()), shown(d.after.as_ref()));
            format!(
                "the state at {} differs at {}: {before} was recorded, {after} is the result",
                recorded.at, d.place
            )
        };
        let values = differences(&parsed(before)?, &parsed(now.get())?);
        let mut found: Vec<String> = values.into_iter().map(difference).collect();
        // Numbers that no value holds, compared to the last digit.
        let exact = redaction::difference(before, now.get(), Lists::InOrder);
        if let (true, Some(difference)) = (found.is_empty(), exact) {
            found.push(format!(
                "the state at {} differs: {difference}",
                recorded.at
            ));
        }
        if found.is_empty()
            && version.decoder.is_some()
            && let Err(error) = version.read(before.as_bytes())
        {
            found.push(format!(
                "the state at {} cannot be read again: {error}",
                recorded.at
            ));
        }
        Ok(found)
    }

    /// The state at a version on the route of the process.
    fn state_at(&self, at: &str) -> Result<(&'a KnownVersion, AnyState), String> {
        let mut here = (self.version, self.copy()?);
        if self.version.id.to_string() == at {
            return Ok(here);
        }
        for hop in self.hops() {
            here = self.convert(&hop, here.1)?;
            if here.0.id.to_string() == at {
                return Ok(here);
            }
        }
        Err(format!(
            "no migration leads from {} to {at}, where a state was recorded: link the migration, \
             or remove the recorded state",
            self.version.id
        ))
    }

    fn hops(&self) -> Vec<Migration> {
        match self.code.registry.version_status(&self.version.id) {
            VersionStatus::Behind(route) => route.hops().to_vec(),
            _ => Vec::new(),
        }
    }

    fn convert(
        &self,
        hop: &Migration,
        state: AnyState,
    ) -> Result<(&'a KnownVersion, AnyState), String> {
        let version = self.code.version(&hop.target().to_string())?;
        let state = hop
            .step
            .convert(state)
            .map_err(|error| format!("{hop} refused the state: {error}"))?;
        Ok((version, state))
    }

    fn copy(&self) -> Result<AnyState, String> {
        self.version.code.copy(&self.state).ok_or_else(|| {
            "the state is of another type; report it as a bug of state-migration".to_owned()
        })
    }

    /// The line that records the state at the version of the process; none if that state
    /// cannot be serialized.
    pub(crate) fn state_here(&self) -> Result<Option<String>, String> {
        match self.version.encoder {
            Some(_) => line(self.version, &self.state).map(Some),
            None => Ok(None),
        }
    }

    /// The lines that record the states at all versions on the route.
    pub(crate) fn states_on_route(&self) -> Result<Vec<String>, String> {
        let mut lines: Vec<String> = self.state_here()?.into_iter().collect();
        let mut state = self.copy()?;
        for hop in self.hops() {
            let (version, converted) = self.convert(&hop, state)?;
            lines.push(line(version, &converted)?);
            state = converted;
        }
        Ok(lines)
    }
}

fn parsed(json: &str) -> Result<Value, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn line(version: &KnownVersion, state: &AnyState) -> Result<String, String> {
    let line = StateLine {
        state: version.write(state)?,
        at: version.id.to_string(),
    };
    Ok(line.to_text())
}
