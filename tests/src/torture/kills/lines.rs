//! The lines that a child process prints.

use std::fmt;

use state_migration::RunId;

use crate::torture::model::Wrong;
use crate::torture::workflows::Version;

/// A line of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The store is open.
    Opened,
    /// An append of one event is about to be asked for.
    Asks {
        token: u64,
        process: usize,
        after: u64,
        version: Version,
        grams: u64,
        len: usize,
    },
    /// The append was acknowledged. `in_progress` says whether a run was in progress.
    Acknowledged { token: u64, in_progress: bool },
    /// Nothing was written.
    Refused { token: u64 },
    /// A run is done.
    Ran {
        run: RunId,
        migrated: usize,
        resumed: bool,
    },
    /// Something is wrong.
    Failed(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => write!(f, "opened ."),
            Self::Asks {
                token,
                process,
                after,
                version,
                grams,
                len,
            } => {
                let version = Version::ALL.iter().position(|v| v == version).unwrap_or(0);
                write!(
                    f,
                    "asks {token} {process} {after} {version} {grams} {len} ."
                )
            }
            Self::Acknowledged { token, in_progress } => {
                write!(f, "acknowledged {token} {} .", u64::from(*in_progress))
            }
            Self::Refused { token } => write!(f, "refused {token} ."),
            Self::Ran {
                run,
                migrated,
                resumed,
            } => write!(f, "ran {run} {migrated} {} .", u64::from(*resumed)),
            Self::Failed(why) => write!(f, "failed {} .", why.replace('\n', " / ")),
        }
    }
}

impl Line {
    /// Reads a line, which ends with a full stop unless it was cut.
    pub(super) fn parse(line: &str) -> Result<Self, Wrong> {
        let bad = || Wrong::other(format!("the child said {line:?}"));
        let whole = line.strip_suffix(" .").ok_or_else(bad)?;
        let (what, rest) = whole.split_once(' ').unwrap_or((whole, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| -> Result<u64, Wrong> {
            let word = words.get(at).ok_or_else(bad)?;
            word.parse().map_err(|_| bad())
        };
        let small = |at| number(at).and_then(|n| usize::try_from(n).map_err(|_| bad()));
        Ok(match what {
            "opened" => Self::Opened,
            "asks" => Self::Asks {
                token: number(0)?,
                process: small(1)?,
                after: number(2)?,
                version: Version::ALL.get(small(3)?).copied().ok_or_else(bad)?,
                grams: number(4)?,
                len: small(5)?,
            },
            "acknowledged" => Self::Acknowledged {
                token: number(0)?,
                in_progress: number(1)? == 1,
            },
            "refused" => Self::Refused { token: number(0)? },
            "ran" => Self::Ran {
                run: words[0].parse().map_err(|_| bad())?,
                migrated: small(1)?,
                resumed: number(2)? == 1,
            },
            "failed" => Self::Failed(rest.to_owned()),
            _ => return Err(bad()),
        })
    }
}
