//! Fingerprints of migrations and plans.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hash that identifies the code of a migration or the content of a plan.
///
/// For a migration, it covers the tokens of the conversion function, without
/// its docs and its location; the functions that it calls are not covered. For
/// a plan, it covers the selection, the routes with the fingerprints of their
/// migrations, and the options.
///
/// A migration that implements the trait without the attribute has the
/// fingerprint 0: its code is unknown.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// A fingerprint from its number.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// The FNV-1a hash of a text, which is the same on every machine and in
    /// every release.
    #[doc(hidden)]
    pub const fn of_bytes(text: &[u8]) -> Self {
        let (mut hash, mut rest) = (0xcbf2_9ce4_8422_2325_u64, text);
        while let [byte, after @ ..] = rest {
            hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
            rest = after;
        }
        Self(hash)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;
    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(hex, 16).map(Self)
    }
}

/// Reads a stored fingerprint, and accepts only the form in which it is
/// written.
impl TryFrom<String> for Fingerprint {
    type Error = String;
    fn try_from(hex: String) -> Result<Self, Self::Error> {
        match hex.parse() {
            Ok(fingerprint) if Self::to_string(&fingerprint) == hex => Ok(fingerprint),
            _ => Err(format!(
                "invalid fingerprint {hex:?}: expected 16 hexadecimal digits"
            )),
        }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}
