//! One live connection per profile, within this process.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::Profile;
use crate::sync::lock;

/// Knows which profiles have a live connection in this process. Clones share one set.
///
/// Two connections on one credential set corrupt the Signal ratchet they share, and the server kicks one after the
/// other (`conflict/replaced`). This keeps a program from doing it to itself; how far beyond the process uniqueness
/// reaches is the store's [`Lease`](crate::Lease). Use one registry for one place of storage: a profile of the same
/// name in another place is another account.
#[derive(Clone, Debug, Default)]
pub struct ProfileRegistry {
    live: Arc<Mutex<BTreeSet<Profile>>>,
}

impl ProfileRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the profile's one place; free again when the [`Registration`] is dropped.
    ///
    /// # Errors
    /// [`AlreadyConnected`] while another registration lives.
    pub fn register(&self, profile: &Profile) -> Result<Registration, AlreadyConnected> {
        if lock(&self.live).insert(profile.clone()) {
            Ok(Registration { profile: profile.clone(), registry: self.clone() })
        } else {
            Err(AlreadyConnected { profile: profile.clone() })
        }
    }

    /// Whether the profile has a live connection.
    #[must_use]
    pub fn is_registered(&self, profile: &Profile) -> bool {
        lock(&self.live).contains(profile)
    }

    /// All with a live connection, in byte order.
    #[must_use]
    pub fn registered(&self) -> Vec<Profile> {
        lock(&self.live).iter().cloned().collect()
    }
}

/// A profile's one place in a [`ProfileRegistry`].
#[derive(Debug)]
#[must_use = "the profile is free again when this is dropped"]
pub struct Registration {
    profile: Profile,
    registry: ProfileRegistry,
}

impl Registration {
    /// Of which profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.registry.live).remove(&self.profile);
    }
}

/// The profile has a live connection in this process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile {profile} has a live connection in this process; end that one first")]
pub struct AlreadyConnected {
    /// Which.
    pub profile: Profile,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let registry = ProfileRegistry::new();
        let (alice, bob) = (Profile::new("alice").unwrap(), Profile::new("bob").unwrap());
        let first = registry.register(&alice).unwrap();
        assert_eq!(registry.clone().register(&alice).unwrap_err(), AlreadyConnected { profile: alice.clone() });
        let other = registry.register(&bob).unwrap();
        assert_eq!(registry.registered(), [alice.clone(), bob]);
        drop(first);
        assert!(!registry.is_registered(&alice));
        let _again = registry.register(&alice).unwrap();
        drop(other);
        assert_eq!(registry.registered(), [alice]);
    }

    #[test]
    fn threads_race_for_one_place() {
        let registry = ProfileRegistry::new();
        let alice = Profile::new("alice").unwrap();
        let won: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| registry.register(&alice).ok())).collect();
            tries.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });

        assert_eq!(won.len(), 1);
    }
}
