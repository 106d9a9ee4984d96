//! What an answer of etcd means: whether it was done, whether trying again helps, and which of the store's errors it is.
//!
//! Pure. etcd tells most things by the words of its messages; its codes are too coarse (see etcd's
//! `api/v3rpc/rpctypes/error.go`).

use std::error::Error as _;

use tonic::{Code, Status};

use super::gateway::NO_MEMBER;
use crate::store::Error;

/// Why one attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// etcd refused it for good; nothing was done.
    Refused(Refusal, String),
    /// It was surely not done, and may be in a moment, at another member if `elsewhere`.
    NotDone { reason: String, elsewhere: bool },
    /// It may have been done or not, and the connection is not worth keeping.
    Open { reason: String },
    /// Nobody can be asked: no member answers, or we have nothing to ask with. Nothing was sent.
    Unreachable(Error),
}

/// Why etcd refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// We may not.
    Denied,
    /// There is no such lease.
    NoLease,
    /// The revision was forgotten.
    Compacted,
    /// The revision is not there yet.
    Ahead,
    /// etcd's quota is used up.
    Full,
    /// The request is beyond a limit of this etcd.
    TooLarge,
    /// What was to be made is there already.
    Already,
    /// What was to be changed is not there.
    Absent,
    /// The cluster is not in a state for it just now.
    NotNow,
    /// The member's data is damaged.
    Corrupt,
    /// Something that trying again does not mend.
    Other,
}

/// etcd's words, and what they mean. The first that fits counts.
const REFUSALS: &[(&str, Refusal)] = &[
    ("permission denied", Refusal::Denied),
    ("requested lease not found", Refusal::NoLease),
    ("required revision has been compacted", Refusal::Compacted),
    ("required revision is a future revision", Refusal::Ahead),
    ("database space exceeded", Refusal::Full),
    ("request is too large", Refusal::TooLarge),
    ("too many operations in txn request", Refusal::TooLarge),
    ("already exist", Refusal::Already),
    ("can only promote a learner member which is in sync", Refusal::NotNow),
    ("can only promote a learner member", Refusal::Already),
    ("unhealthy cluster", Refusal::NotNow),
    ("not enough started members", Refusal::NotNow),
    ("too many learner members", Refusal::NotNow),
    ("member not found", Refusal::Absent),
    ("corrupt cluster", Refusal::Corrupt),
];

/// etcd's words for what it surely did not do, and whether another member may.
const NOT_DONE: &[(&str, bool)] = &[
    ("no leader", true),
    ("rpc not supported for learner", true),
    ("not capable", true),
    ("raft proposal dropped", false),
    ("too many requests", false),
    (NO_MEMBER, true),
];

/// What an error of the client means.
pub fn classify(error: etcd_client::Error) -> Failure {
    match error {
        etcd_client::Error::GRpcStatus(status) => of_status(&status),
        etcd_client::Error::LeaseKeepAliveError(reason) if reason.contains("lease not found") => {
            Failure::Refused(Refusal::NoLease, reason)
        }
        // A stream that ended before it said anything.
        etcd_client::Error::WatchError(reason) | etcd_client::Error::LeaseKeepAliveError(reason) => {
            Failure::Open { reason }
        }
        etcd_client::Error::TransportError(error) => Failure::Open { reason: chain(&error) },
        other => Failure::Refused(Refusal::Other, other.to_string()),
    }
}

fn of_status(status: &Status) -> Failure {
    let message = status.message();
    if let Some((_, refusal)) = REFUSALS.iter().find(|(words, _)| message.contains(words)) {
        return Failure::Refused(*refusal, message.to_owned());
    }
    if let Some((_, elsewhere)) = NOT_DONE.iter().find(|(words, _)| message.contains(words)) {
        return Failure::NotDone {
            reason: message.to_owned(),
            elsewhere: *elsewhere,
        };
    }
    if was_never_connected(status) {
        return Failure::NotDone {
            reason: chain(status),
            elsewhere: true,
        };
    }
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Failure::Refused(Refusal::Denied, message.to_owned()),
        Code::DataLoss => Failure::Refused(Refusal::Corrupt, message.to_owned()),
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::Ok => Failure::Open { reason: chain(status) },
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Failure::Refused(Refusal::Other, message.to_owned()),
    }
}

/// Whether there was no connection that anything could have gone over.
fn was_never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error and its causes in one line, each said once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

impl Failure {
    /// The store's error, for a call that gives up now.
    pub fn into_error(self, attempt: &'static str, place: &str) -> Error {
        let place = place.to_owned();
        match self {
            Failure::Unreachable(error) => error,
            Failure::NotDone { reason, .. } => Error::Unavailable {
                place,
                source: reason.into(),
            },
            Failure::Open { reason } => Error::Unavailable {
                place,
                source: format!("could not tell whether it could {attempt}: {reason}").into(),
            },
            Failure::Refused(refusal, reason) => refused(refusal, reason, attempt, place),
        }
    }
}

fn refused(refusal: Refusal, reason: String, attempt: &'static str, place: String) -> Error {
    match refusal {
        Refusal::Denied => Error::NotGranted {
            place,
            source: reason.into(),
        },
        Refusal::Full => Error::Full { place },
        Refusal::TooLarge => Error::Refused { reason },
        Refusal::Corrupt => Error::Corrupt { place, reason },
        Refusal::NotNow => Error::Unavailable {
            place,
            source: reason.into(),
        },
        Refusal::NoLease
        | Refusal::Compacted
        | Refusal::Ahead
        | Refusal::Already
        | Refusal::Absent
        | Refusal::Other => Error::Failed {
            attempt,
            place,
            source: reason.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: Code, message: &str) -> Failure {
        classify(etcd_client::Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn what_etcd_refuses_for_good_is_told_from_what_it_may_have_done() {
        let denied = said(Code::PermissionDenied, "etcdserver: permission denied");
        assert!(matches!(denied, Failure::Refused(Refusal::Denied, _)));
        let full = said(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert!(matches!(full, Failure::Refused(Refusal::Full, _)));
        let not_done = said(Code::Unavailable, "etcdserver: no leader");
        assert!(matches!(not_done, Failure::NotDone { elsewhere: true, .. }));
        for open in [
            "etcdserver: request timed out",
            "etcdserver: leader changed",
            "transport error",
        ] {
            assert!(matches!(said(Code::Unavailable, open), Failure::Open { .. }), "{open}");
        }
    }

    #[test]
    fn only_a_member_in_sync_can_be_promoted_and_one_that_was_is_done() {
        let behind = "etcdserver: can only promote a learner member which is in sync with leader";
        let done = "etcdserver: can only promote a learner member";
        assert!(matches!(
            said(Code::FailedPrecondition, behind),
            Failure::Refused(Refusal::NotNow, _)
        ));
        assert!(matches!(
            said(Code::FailedPrecondition, done),
            Failure::Refused(Refusal::Already, _)
        ));
    }
}
