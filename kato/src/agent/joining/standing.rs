//! How a node stands with its cluster, as the agent tells it and kato shows it.

use cluster::identity::{Certificate, Key, Pki};
use cluster::nodes::{Kind, NodeFile, Paths, Role};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It is in.
    Member,
    /// It asks, and was not let in yet.
    Unpaired,
    /// It was refused.
    Refused,
    /// The core cannot be asked.
    Unreachable,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Where it stands.
    pub place: Place,
    /// The fingerprint of its key, by which it is paired.
    pub fingerprint: String,
    /// What is wrong, or "".
    #[serde(default)]
    pub problem: String,
    /// Until when its certificate is good; `None` while it has none.
    #[serde(default)]
    pub certificate_until: Option<Timestamp>,
}

impl Standing {
    /// What is to be said to people where the node is not in, and what to do about it.
    pub fn complaint(&self) -> Option<(String, String)> {
        let fingerprint = &self.fingerprint;
        let good = self.certificate_until.is_some_and(|until| until > Timestamp::now());
        match self.place {
            Place::Member => None,
            Place::Unpaired => Some((
                format!("this node is unpaired; its fingerprint is {fingerprint}"),
                format!("on the core: kato node pair {fingerprint}"),
            )),
            Place::Refused => Some((
                format!("the core refuses this node: {}", self.problem),
                format!("on the core: kato node pair {fingerprint}"),
            )),
            // Its certificate still opens the store; the core is needed to renew it.
            Place::Unreachable if good => None,
            Place::Unreachable => Some((format!("the core cannot be asked: {}", self.problem), String::new())),
        }
    }

    /// Write it to the agent's log.
    pub fn log(&self) {
        match self.complaint() {
            Some((what, hint)) => warn!(hint, "{what}"),
            None => {
                info!(place = ?self.place, until = ?self.certificate_until.map(|until| until.to_string()), "this node is in its cluster")
            }
        }
    }
}

/// What is to be said, and what to do about it, where this node was not let into its cluster yet; by its files alone.
pub fn unpaired(paths: &Paths, node: &NodeFile) -> Option<(String, String)> {
    let is_in = || Pki::new(paths.pki()).node_certificate().exists() && paths.endpoints_file().exists();
    // The core signs for itself.
    if node.kind == Kind::Micro || node.roles.contains(&Role::Core) || is_in() {
        return None;
    }
    read(paths, Place::Unpaired, String::new()).complaint()
}

/// How this node stands, by its files and what was just learnt.
pub fn read(paths: &Paths, place: Place, problem: String) -> Standing {
    let pki = Pki::new(paths.pki());
    let key = Key::load(&pki.node_key());
    let problem = match place {
        Place::Refused => std::fs::read_to_string(refusal_file(paths)).unwrap_or_default(),
        _ => problem,
    };
    Standing {
        place,
        fingerprint: key.map(|key| key.fingerprint().to_string()).unwrap_or_default(),
        problem,
        certificate_until: Certificate::load(&pki.node_certificate())
            .ok()
            .map(|certificate| certificate.not_after),
    }
}

/// Keep why the core refused, for telling.
pub fn remember_refusal(paths: &Paths, reason: &str) {
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(512).collect();
    if let Err(error) = cluster::files::write_atomic(&refusal_file(paths), reason.as_bytes(), 0o644) {
        warn!(%error, "could not remember why the core refuses this node");
    }
}

fn refusal_file(paths: &Paths) -> std::path::PathBuf {
    paths.pki().join("refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_in_says_what_to_do() {
        let standing = |place, certificate_until| Standing {
            place,
            fingerprint: "abc".to_owned(),
            problem: "why".to_owned(),
            certificate_until,
        };
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        assert_eq!(standing(Place::Member, None).complaint(), None);
        assert_eq!(standing(Place::Unreachable, Some(later)).complaint(), None);
        let (what, hint) = standing(Place::Unpaired, None).complaint().unwrap();
        assert!(
            what.contains("unpaired") && hint.ends_with("kato node pair abc"),
            "{what}, {hint}"
        );
        assert!(standing(Place::Unreachable, None).complaint().is_some());
        assert!(standing(Place::Refused, Some(later)).complaint().is_some());
    }
}
