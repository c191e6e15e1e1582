//! Timestamps of records.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time, in microseconds since 1970-01-01T00:00:00Z.
///
/// It comes from the writer's clock: information for people, never the basis of
/// a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The current time.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// A time from microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// RFC 3339 to the second, in UTC.
    #[doc(hidden)]
    #[must_use]
    pub fn to_seconds(self) -> String {
        let text = self.to_string();
        format!("{}Z", text.get(..19).unwrap_or(&text))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    /// A time before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last microsecond of the year 9999; RFC 3339 cannot express later
        // times.
        const LAST: u64 = 253_402_300_799_999_999;
        let time = UNIX_EPOCH + Duration::from_micros(self.0.min(LAST));
        write!(f, "{}", humantime::format_rfc3339_micros(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_micros(1_317_423_524_546_000).to_string(),
            "2011-09-30T22:58:44.546000Z"
        );
        assert_eq!(
            Timestamp::from_micros(u64::MAX).to_string(),
            "9999-12-31T23:59:59.999999Z"
        );
    }
}
