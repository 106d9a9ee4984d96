//! Which of etcd's questions a guest may ask. Pure: a message comes in, and the very message that was checked goes out, made
//! anew of what was understood, so that nothing is passed on that was not.
//!
//! What is not listed in [`Call::of`] is for the core alone: users, members, alarms, snapshots. Transactions inside
//! transactions are nobody's, since etcd 3.4 does not check those (GHSA-rfx7-8w68-q57q), nor are numbers that name nothing:
//! etcd 3.4 ends on an order to sort by what does not exist, and on each member again where it was in a transaction
//! (etcd issue 13554). Who may not do everything asks in the small forms that [`crate::store`] has, and no others.

use bytes::Bytes;
use etcd_client::proto::{
    PbCompactionRequest, PbCompareTarget, PbDeleteRequest, PbLeaseGrantRequest, PbLeaseKeepAliveRequest,
    PbLeaseRevokeRequest, PbMemberListRequest, PbPutRequest, PbRangeRequest, PbStatusRequest, PbTxnOpRequest,
    PbTxnRequest, PbWatchRequest, PbWatchRequestUnion,
};
use etcd_client::{CompareOp, SortOrder, SortTarget};
use prost::Message;

use super::frame::framed;
use super::guests::Guest;
use super::rights::Right;
use crate::store::limits::LEASE_TTL;

/// The most keys at once, of one who may not do everything: a page of the store's.
const MAX_KEYS: i64 = 129;
/// The most compares, and the most changes, of such a transaction.
const MAX_PARTS: usize = 8;
/// What reading many keys counts, in questions.
const RANGE_COST: u32 = 8;

/// Why a question is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// This guest may not.
    Rights,
    /// There is no such lease, as far as this guest is concerned.
    Lease,
    /// It is none that is understood.
    Malformed,
}

/// A question of etcd's that guests may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Range,
    Put,
    Delete,
    Txn,
    Compact,
    Watch,
    Grant,
    Revoke,
    KeepAlive,
    Members,
    Status,
}

type Checked = Result<Bytes, Denied>;

impl Call {
    /// By the path of gRPC's request.
    pub fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/etcdserverpb.KV/Range" => Call::Range,
            "/etcdserverpb.KV/Put" => Call::Put,
            "/etcdserverpb.KV/DeleteRange" => Call::Delete,
            "/etcdserverpb.KV/Txn" => Call::Txn,
            "/etcdserverpb.KV/Compact" => Call::Compact,
            "/etcdserverpb.Watch/Watch" => Call::Watch,
            "/etcdserverpb.Lease/LeaseGrant" => Call::Grant,
            "/etcdserverpb.Lease/LeaseRevoke" => Call::Revoke,
            "/etcdserverpb.Lease/LeaseKeepAlive" => Call::KeepAlive,
            "/etcdserverpb.Cluster/MemberList" => Call::Members,
            "/etcdserverpb.Maintenance/Status" => Call::Status,
            _ => return None,
        })
    }

    /// Whether messages follow each other for as long as the call lasts.
    pub fn is_stream(self) -> bool {
        matches!(self, Call::Watch | Call::KeepAlive)
    }

    /// How many questions it counts as, of so many bytes. What is written stays in the store for a while, and counts eight for
    /// each KiB.
    pub fn cost(self, bytes: usize) -> u32 {
        let written = u32::try_from(bytes / 128).unwrap_or(u32::MAX);
        match self {
            Call::Range => RANGE_COST,
            Call::Put | Call::Txn => 1 + written,
            _ => 1,
        }
    }

    /// The message as it is passed on. `random` tells a new lease from others.
    pub fn check(self, guest: &Guest, message: &[u8], random: u16) -> Checked {
        match self {
            Call::Range => pass(message, |request: &mut PbRangeRequest| may_range(guest, request)),
            Call::Put => pass(message, |request: &mut PbPutRequest| may_put(guest, request)),
            Call::Delete => pass(message, |request: &mut PbDeleteRequest| may_delete(guest, request)),
            Call::Txn => pass(message, |request: &mut PbTxnRequest| may_txn(guest, request)),
            Call::Compact => pass(message, |_: &mut PbCompactionRequest| {
                granted(guest.rights.cover_everything())
            }),
            Call::Watch => pass(message, |request: &mut PbWatchRequest| may_watch(guest, request)),
            Call::Grant => pass(message, |request: &mut PbLeaseGrantRequest| {
                may_grant(guest, request, random)
            }),
            Call::Revoke => pass(message, |request: &mut PbLeaseRevokeRequest| own(guest, request.id)),
            Call::KeepAlive => pass(message, |request: &mut PbLeaseKeepAliveRequest| own(guest, request.id)),
            Call::Members => pass(message, |_: &mut PbMemberListRequest| Ok(())),
            Call::Status => pass(message, |_: &mut PbStatusRequest| Ok(())),
        }
    }
}

fn pass<T: Message + Default>(message: &[u8], may: impl FnOnce(&mut T) -> Result<(), Denied>) -> Checked {
    let mut request = T::decode(message).map_err(|_| Denied::Malformed)?;
    may(&mut request)?;
    Ok(framed(&request))
}

fn granted(is_granted: bool) -> Result<(), Denied> {
    is_granted.then_some(()).ok_or(Denied::Rights)
}

/// A lease of somebody else's is none to this guest.
fn own(guest: &Guest, lease: i64) -> Result<(), Denied> {
    guest.owns(lease).then_some(()).ok_or(Denied::Lease)
}

fn may_range(guest: &Guest, request: &mut PbRangeRequest) -> Result<(), Denied> {
    understood(SortOrder::try_from(request.sort_order))?;
    understood(SortTarget::try_from(request.sort_target))?;
    let revisions = [
        request.revision,
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if request.limit < 0 || revisions.iter().any(|revision| *revision < 0) {
        return Err(Denied::Malformed);
    }
    // What a member that lost the others still has may be old, and whose right it was as well.
    request.serializable = false;
    let is_bounded = request.range_end.is_empty() || (1..=MAX_KEYS).contains(&request.limit);
    granted(is_bounded || !guest.is_limited())?;
    granted(guest.rights.cover(Right::Read, &request.key, &request.range_end))
}

/// A number that names something.
fn understood<T, E>(named: Result<T, E>) -> Result<(), Denied> {
    named.map(drop).map_err(|_| Denied::Malformed)
}

fn may_put(guest: &Guest, request: &PbPutRequest) -> Result<(), Denied> {
    granted(guest.rights.cover(Right::Write, &request.key, &[]))?;
    granted(!request.prev_kv || guest.rights.cover(Right::Read, &request.key, &[]))?;
    match request.lease {
        0 => Ok(()),
        lease => own(guest, lease),
    }
}

fn may_delete(guest: &Guest, request: &PbDeleteRequest) -> Result<(), Denied> {
    let (from, to) = (&request.key, &request.range_end);
    granted(guest.rights.cover(Right::Write, from, to))?;
    granted(!request.prev_kv || guest.rights.cover(Right::Read, from, to))
}

fn may_txn(guest: &Guest, request: &mut PbTxnRequest) -> Result<(), Denied> {
    let changes = request.success.len() + request.failure.len();
    granted(!guest.is_limited() || (request.compare.len() <= MAX_PARTS && changes <= MAX_PARTS))?;
    for compare in &request.compare {
        understood(CompareOp::try_from(compare.result))?;
        understood(PbCompareTarget::try_from(compare.target))?;
        granted(compare.range_end.is_empty() || !guest.is_limited())?;
        granted(guest.rights.cover(Right::Read, &compare.key, &compare.range_end))?;
    }
    for op in request.success.iter_mut().chain(&mut request.failure) {
        match &mut op.request {
            Some(PbTxnOpRequest::RequestRange(range)) => {
                granted(!guest.is_limited())?;
                may_range(guest, range)?;
            }
            Some(PbTxnOpRequest::RequestPut(put)) => may_put(guest, put)?,
            Some(PbTxnOpRequest::RequestDeleteRange(delete)) => may_delete(guest, delete)?,
            Some(PbTxnOpRequest::RequestTxn(_)) | None => return Err(Denied::Rights),
        }
    }
    Ok(())
}

fn may_watch(guest: &Guest, request: &PbWatchRequest) -> Result<(), Denied> {
    match &request.request_union {
        Some(PbWatchRequestUnion::CreateRequest(create)) => {
            // No client of ours leaves events out.
            if create.start_revision < 0 || !create.filters.is_empty() {
                return Err(Denied::Malformed);
            }
            granted(guest.rights.cover(Right::Read, &create.key, &create.range_end))
        }
        // Of watches that this very stream has.
        Some(PbWatchRequestUnion::CancelRequest(_) | PbWatchRequestUnion::ProgressRequest(_)) => Ok(()),
        None => Err(Denied::Rights),
    }
}

fn may_grant(guest: &Guest, request: &mut PbLeaseGrantRequest, random: u16) -> Result<(), Denied> {
    // A number that somebody chose might be another's.
    request.id = guest.lease(random);
    let (least, most) = LEASE_TTL;
    let is_bounded = |ttl| (least.as_secs()..=most.as_secs()).contains(&ttl);
    granted(u64::try_from(request.ttl).is_ok_and(is_bounded))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
