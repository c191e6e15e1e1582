//! The order of version strings.

use std::cmp::Ordering;

/// Compares versions in natural order: runs of digits are compared as numbers.
///
/// `v9` < `v10`, `2025-10-01` < `2026-10-01`, `1.9` < `1.10`. Leading zeros do
/// not count, so `v09` and `v9` are equal here.
///
/// ```
/// use std::cmp::Ordering;
/// use state_migration::natural_cmp;
///
/// assert_eq!(natural_cmp("v9", "v10"), Ordering::Less);
/// assert_eq!(natural_cmp("2026-10-01", "2025-10-01"), Ordering::Greater);
/// assert_eq!(natural_cmp("v09", "v9"), Ordering::Equal);
/// ```
#[must_use]
pub const fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].is_ascii_digit() && b[j].is_ascii_digit() {
            while i < a.len() && a[i] == b'0' {
                i += 1;
            }
            while j < b.len() && b[j] == b'0' {
                j += 1;
            }
            // Between numbers of equal length, the first different digit
            // decides.
            let mut digits = Ordering::Equal;
            loop {
                let more_a = i < a.len() && a[i].is_ascii_digit();
                let more_b = j < b.len() && b[j].is_ascii_digit();
                match (more_a, more_b) {
                    (true, true) => {
                        if matches!(digits, Ordering::Equal) {
                            digits = cmp(a[i], b[j]);
                        }
                        i += 1;
                        j += 1;
                    }
                    (true, false) => return Ordering::Greater,
                    (false, true) => return Ordering::Less,
                    (false, false) => break,
                }
            }
            if !matches!(digits, Ordering::Equal) {
                return digits;
            }
        } else {
            let here = cmp(a[i], b[j]);
            if !matches!(here, Ordering::Equal) {
                return here;
            }
            i += 1;
            j += 1;
        }
    }
    if i < a.len() {
        Ordering::Greater
    } else if j < b.len() {
        Ordering::Less
    } else {
        Ordering::Equal
    }
}

const fn cmp(a: u8, b: u8) -> Ordering {
    if a < b {
        Ordering::Less
    } else if a > b {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_versions_compare_by_value() {
        let rising = [
            "",
            "1",
            "1.9",
            "1.10",
            "1.10.0",
            "2",
            "2025-10-01",
            "2026-10-01",
            "v1",
            "v9",
            "v10",
            "v10a",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(natural_cmp(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(natural_cmp("007", "7"), Ordering::Equal);
        assert_eq!(
            natural_cmp("99999999999999999999998", "99999999999999999999999"),
            Ordering::Less
        );
    }
}
