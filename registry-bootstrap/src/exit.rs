//! How the programs for administrators end, `kato` and `registry-bootstrap`: the kinds of failure, each with its exit code.

use cluster::store::Error as Store;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was tried and failed.
    Failed,
    /// The command was given wrongly.
    Usage,
    /// A check refused it; nothing was changed.
    Refused,
    /// What was named does not exist.
    NotFound,
    /// Somebody did not answer, or not in time.
    Unreachable,
    /// A part was done, the rest was not.
    Partly,
}

impl Kind {
    /// The code for the shell; 0 is done.
    pub fn code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::NotFound => 4,
            Kind::Unreachable => 5,
            Kind::Partly => 6,
        }
    }
}

/// How a failure of the config store ends a program.
impl From<&Store> for Kind {
    fn from(error: &Store) -> Self {
        match error {
            Store::NotGranted { .. } | Store::Refused { .. } => Kind::Refused,
            Store::Unavailable { .. } | Store::Busy { .. } | Store::Closed => Kind::Unreachable,
            Store::Missing { .. }
            | Store::Denied { .. }
            | Store::NewerFormat { .. }
            | Store::Corrupt { .. }
            | Store::Full { .. }
            | Store::Failed { .. }
            | Store::Compacted { .. }
            | Store::Ahead { .. }
            | Store::NoLease { .. } => Kind::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::*;
    use super::Store;

    #[test]
    fn every_kind_has_its_own_code() {
        let codes = [Failed, Usage, Refused, NotFound, Unreachable, Partly].map(super::Kind::code);
        assert_eq!(codes, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_store_that_does_not_answer_is_told_from_one_that_cannot_do_it() {
        let place = || "here".to_owned();
        for (error, kind) in [
            (
                Store::Busy {
                    place: place(),
                    seconds: 1,
                },
                Unreachable,
            ),
            (Store::Closed, Unreachable),
            (Store::Missing { place: place() }, Failed),
            (Store::Full { place: place() }, Failed),
            (Store::Refused { reason: place() }, Refused),
        ] {
            assert_eq!(super::Kind::from(&error), kind, "{error}");
        }
    }
}
