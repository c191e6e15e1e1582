//! Formatting of counts, sizes, durations and times as text.

use std::time::Duration;

use state_migration_core::Timestamp;

use crate::view::output::plain;

/// A count with thousands separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 process`, `2 processes`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A duration: `340 ms`, `4.2 s`, `3 m 12 s`, `2 h 5 m`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        // Truncated, so that 9.99 is not shown as 10.0.
        1..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A size: `17 B`, `1.5 MiB`.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// A time in UTC, to the second: `2026-10-01T12:00:00Z`.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_seconds()
}

/// An entry of a record: the time to the second, what was done, who did it, and why.
pub(crate) fn entry(time: &str, what: &str, actor: &str, reason: &str) -> String {
    let mut text = format!("{}Z{what}", time.get(..19).unwrap_or(time));
    if !actor.is_empty() {
        text += " by ";
        text += &plain(actor);
    }
    if !reason.is_empty() {
        text += ": ";
        text += &plain(reason);
    }
    text
}

/// The duration between two times, which may be of different clocks.
pub(crate) fn between(started: Timestamp, ended: Timestamp) -> Duration {
    Duration::from_micros(ended.as_micros().saturating_sub(started.as_micros()))
}

/// A duration in milliseconds, as in JSON output.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_like_this() {
        let counts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "process", "processes"), "1 process");
        assert_eq!(counted(1_000, "process", "processes"), "1,000 processes");
        let millis = [0, 340, 4_299, 9_999, 12_000, 192_000, 7_500_000];
        assert_eq!(
            millis.map(|millis| duration(Duration::from_millis(millis))),
            [
                "0 ms", "340 ms", "4.2 s", "9.9 s", "12 s", "3 m 12 s", "2 h 5 m"
            ]
        );
        let sizes = [17, 1023, 1024, 1_572_864, 1 << 40, u64::MAX].map(bytes);
        assert_eq!(
            sizes,
            [
                "17 B",
                "1023 B",
                "1.0 KiB",
                "1.5 MiB",
                "1.0 TiB",
                "16777216.0 TiB"
            ]
        );
        let at = Timestamp::from_micros(1_317_423_524_546_000);
        assert_eq!(time(at), "2011-09-30T22:58:44Z");
        let later = Timestamp::from_micros(1_317_423_525_546_000);
        assert_eq!(between(at, later), Duration::from_secs(1));
        assert_eq!(between(later, at), Duration::ZERO);
    }
}
