//! Who may come to the gateway: by the name in the certificate and, where it is known, the key. Pure; who makes the list
//! owns it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::identity::{Certificate, Fingerprint};
use sha2::{Digest, Sha256};

use super::rights::Rights;

/// How many bits of a lease's number tell the leases of one guest apart; the others say whose it is. etcd's numbers are
/// positive and have 63 bits.
const OWN_BITS: u32 = 16;
/// How many leases a guest can have at once: etcd makes no second one of a number that is there.
const MOST_LEASES: u16 = 1024;

/// Somebody who may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The certificate's common name.
    pub name: String,
    /// The key that the certificate must be of; `None` where the CA's word is enough.
    pub key: Option<Fingerprint>,
    /// What they may do.
    pub rights: Rights,
    /// What the numbers of their leases begin with, see [`Guest::mark_of`].
    pub mark: i64,
}

impl Guest {
    /// What the numbers of a guest's leases begin with: so whose a lease is can be told from its number alone, by every
    /// member and after every restart. `secret` is the members' own, so that nobody can look for a name with another's mark.
    pub fn mark_of(secret: &[u8], name: &str) -> i64 {
        let digest = Sha256::new().chain_update(secret).chain_update(name).finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // 47 bits, and never 0: no lease has the number 0.
        (i64::from_be_bytes(first) & ((1 << 47) - 1)).max(1)
    }

    /// A number for a new lease of this guest's.
    pub fn lease(&self, random: u16) -> i64 {
        self.mark << OWN_BITS | i64::from(random % MOST_LEASES)
    }

    /// Whether a lease is this guest's.
    pub fn owns(&self, lease: i64) -> bool {
        self.rights.cover_everything() || lease >> OWN_BITS == self.mark
    }

    /// Whether this one may not do everything, and so is held to what a node needs.
    pub fn is_limited(&self) -> bool {
        !self.rights.cover_everything()
    }
}

/// All who may come, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guests(HashMap<String, Arc<Guest>>);

impl Guests {
    /// Who shows this certificate, which is genuine, if they may come.
    pub fn find(&self, certificate: &Certificate) -> Option<Arc<Guest>> {
        let guest = self.0.get(&certificate.common_name)?;
        let is_key = guest.key.as_ref().is_none_or(|key| *key == certificate.key);
        is_key.then(|| Arc::clone(guest))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Guest>> {
        self.0.values()
    }
}

impl FromIterator<Guest> for Guests {
    fn from_iter<T: IntoIterator<Item = Guest>>(guests: T) -> Self {
        let by_name = |guest: Guest| (guest.name.clone(), Arc::new(guest));
        Guests(guests.into_iter().map(by_name).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn guest(name: &str, key: Option<&[u8]>) -> Guest {
        Guest {
            name: name.to_owned(),
            key: key.map(Fingerprint::of),
            rights: Rights::Granted(Vec::new()),
            mark: Guest::mark_of(b"secret", name),
        }
    }

    #[test]
    fn who_has_the_name_needs_the_key() {
        let guests: Guests = [guest("a", Some(b"1")), guest("b", None)].into_iter().collect();
        let certificate = |name: &str, key: &[u8]| Certificate {
            common_name: name.to_owned(),
            key: Fingerprint::of(key),
            not_before: Timestamp::MIN,
            not_after: Timestamp::MAX,
        };
        assert!(guests.find(&certificate("a", b"1")).is_some());
        assert!(guests.find(&certificate("a", b"2")).is_none());
        assert!(guests.find(&certificate("b", b"2")).is_some());
        assert!(guests.find(&certificate("c", b"1")).is_none());
    }

    #[test]
    fn a_lease_is_whose_number_it_has() {
        let (one, other) = (guest("one", None), guest("other", None));
        for random in [0, 1, u16::MAX] {
            let lease = one.lease(random);
            assert!(lease > 0 && one.owns(lease) && !other.owns(lease));
        }
        assert_ne!(Guest::mark_of(b"another", "one"), one.mark, "it takes the secret");
        assert!(!one.owns(0) && !one.owns(-1) && !one.owns(i64::MAX));
    }
}
