//! The checked name of one account's credentials.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of one account's credentials: one profile, one credential set, one WhatsApp device. Cheap to clone.
///
/// A name becomes a folder in [`FileStore`](crate::FileStore), so every store holds to one rule. A name
/// * has 1 to [`Profile::MAX_LEN`] bytes of UTF-8;
/// * holds no path separator (`/`, `\`) and no control character (NUL, line breaks, tabs, DEL, C1);
/// * does not start with a dot (so it is neither `.` nor `..` nor hidden);
/// * neither starts nor ends with white space.
///
/// Anything else is allowed (`tenant:alice`, `+49 30 1234`, `アリス`). Names that differ in a single byte are different
/// profiles. The rule keeps a name inside the store; whether a tenant may use a given name is yours to check.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile(Arc<str>);

impl Profile {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Checks a name.
    ///
    /// # Errors
    /// Says which part of the rule is broken.
    pub fn new(name: &str) -> Result<Self, ProfileError> {
        if name.is_empty() {
            return Err(ProfileError::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(ProfileError::TooLong { len: name.len() });
        }
        if name.starts_with('.') {
            return Err(ProfileError::LeadingDot);
        }
        if name.trim() != name {
            return Err(ProfileError::OuterSpace);
        }
        match name.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
            Some(found) => Err(ProfileError::Forbidden { found }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a profile's name; see [`Profile`] for the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is empty.
    #[error("a profile name cannot be empty")]
    Empty,
    /// It is too long.
    #[error("a profile name has at most {max} bytes; this one has {len}", max = Profile::MAX_LEN)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It starts with a dot.
    #[error("a profile name cannot start with a dot")]
    LeadingDot,
    /// It starts or ends with white space.
    #[error("a profile name cannot start or end with white space")]
    OuterSpace,
    /// It has a path separator or a control character.
    #[error("a profile name cannot hold {found:?}")]
    Forbidden {
        /// The first such character.
        found: char,
    },
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({:?})", self.as_str())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for Profile {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Profile {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(name: &str) -> Result<Self, ProfileError> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Profile {
    type Error = ProfileError;

    fn try_from(name: &str) -> Result<Self, ProfileError> {
        Self::new(name)
    }
}

impl TryFrom<String> for Profile {
    type Error = ProfileError;

    fn try_from(name: String) -> Result<Self, ProfileError> {
        Self::new(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        for good in ["a", "alice", "tenant:alice", "+49 30 1234", "アリス", "a.b", "CON", "a..b", &"x".repeat(128)] {
            assert_eq!(Profile::new(good).map(|p| p.to_string()).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("", ProfileError::Empty),
            (".", ProfileError::LeadingDot),
            ("..", ProfileError::LeadingDot),
            (".hidden", ProfileError::LeadingDot),
            ("../up", ProfileError::LeadingDot),
            ("a/b", ProfileError::Forbidden { found: '/' }),
            ("/etc", ProfileError::Forbidden { found: '/' }),
            ("a\\b", ProfileError::Forbidden { found: '\\' }),
            ("a\0b", ProfileError::Forbidden { found: '\0' }),
            ("a\nb", ProfileError::Forbidden { found: '\n' }),
            ("a\u{7f}b", ProfileError::Forbidden { found: '\u{7f}' }),
            ("a\u{85}b", ProfileError::Forbidden { found: '\u{85}' }),
            (" a", ProfileError::OuterSpace),
            ("a ", ProfileError::OuterSpace),
            (&"x".repeat(129), ProfileError::TooLong { len: 129 }),
        ] {
            assert_eq!(Profile::new(bad), Err(why), "{bad:?}");
        }
    }
}
