//! What passes the check is allowed, whatever was sent.

use super::*;
use crate::store::etcd::gateway::{Grant, Keys, Rights};
use etcd_client::proto::{PbCompare, PbTxnRequestOp};
use proptest::prelude::*;

const CALLS: [Call; 11] = [
    Call::Range,
    Call::Put,
    Call::Delete,
    Call::Txn,
    Call::Compact,
    Call::Watch,
    Call::Grant,
    Call::Revoke,
    Call::KeepAlive,
    Call::Members,
    Call::Status,
];

fn node() -> Guest {
    let grant = |keys, right| Grant { keys, right };
    Guest {
        mark: Guest::mark_of(b"secret", "node"),
        name: "node".to_owned(),
        key: None,
        rights: Rights::Granted(vec![
            grant(Keys::Prefix("open/".to_owned()), Right::Read),
            grant(Keys::One("open/mine".to_owned()), Right::Write),
        ]),
    }
}

fn put(key: &str) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: b"x".to_vec(),
        ..Default::default()
    }
}

fn op(request: PbTxnOpRequest) -> PbTxnRequestOp {
    PbTxnRequestOp { request: Some(request) }
}

fn ask(call: Call, request: &impl Message) -> Result<Bytes, Denied> {
    call.check(&node(), &request.encode_to_vec(), 7)
}

#[test]
fn a_transaction_is_flat_and_each_part_of_it_is_allowed() {
    let own = op(PbTxnOpRequest::RequestPut(put("open/mine")));
    let good = PbTxnRequest {
        compare: vec![PbCompare {
            key: b"open/a".to_vec(),
            ..Default::default()
        }],
        success: vec![own.clone()],
        failure: vec![own.clone()],
    };
    assert_eq!(ask(Call::Txn, &good).unwrap(), framed(&good));
    let spoil = |change: &dyn Fn(&mut PbTxnRequest)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(ask(Call::Txn, &bad), Err(Denied::Rights), "{bad:?}");
    };
    spoil(&|txn| txn.compare[0].key = b"closed".to_vec());
    spoil(&|txn| txn.compare[0].range_end = b"\0".to_vec());
    spoil(&|txn| txn.success.push(op(PbTxnOpRequest::RequestPut(put("open/other")))));
    spoil(&|txn| txn.failure.push(op(PbTxnOpRequest::RequestPut(put("open/other")))));
    spoil(&|txn| txn.failure.push(PbTxnRequestOp { request: None }));
    // What reads much for a small question.
    let page = PbRangeRequest {
        key: b"open/a".to_vec(),
        ..Default::default()
    };
    spoil(&|txn| txn.success.push(op(PbTxnOpRequest::RequestRange(page.clone()))));
    spoil(&|txn| txn.compare[0].range_end = b"open0".to_vec());
    spoil(&|txn| txn.compare = vec![txn.compare[0].clone(); 9]);
    spoil(&|txn| txn.success = vec![own.clone(); 9]);
    let inner = PbTxnRequest {
        success: vec![own.clone()],
        ..Default::default()
    };
    spoil(&|txn| txn.success.push(op(PbTxnOpRequest::RequestTxn(inner.clone()))));
    spoil(&|txn| txn.failure.push(op(PbTxnOpRequest::RequestTxn(inner.clone()))));
}

/// etcd 3.4 ends on some of these, and again on every start where one was in a transaction.
#[test]
fn numbers_that_name_nothing_are_passed_on_for_nobody() {
    let mut administrator = node();
    administrator.rights = Rights::Granted(vec![Grant {
        keys: Keys::Prefix(String::new()),
        right: Right::ReadWrite,
    }]);
    let range = |change: &dyn Fn(&mut PbRangeRequest)| {
        let mut range = PbRangeRequest {
            key: b"open/a".to_vec(),
            ..Default::default()
        };
        change(&mut range);
        range
    };
    let ranges = [
        range(&|range| range.sort_target = 5),
        range(&|range| range.sort_order = -1),
        range(&|range| range.limit = -1),
        range(&|range| range.revision = -1),
        range(&|range| range.max_mod_revision = -1),
    ];
    let compare = |result, target| PbCompare {
        key: b"open/a".to_vec(),
        result,
        target,
        ..Default::default()
    };
    for guest in [node(), administrator] {
        let is_malformed = |call: Call, request: &dyn Fn() -> Vec<u8>| {
            assert_eq!(call.check(&guest, &request(), 7), Err(Denied::Malformed), "{call:?}");
        };
        for range in &ranges {
            is_malformed(Call::Range, &|| range.encode_to_vec());
        }
        for bad in [compare(4, 0), compare(0, 9)] {
            let txn = PbTxnRequest {
                compare: vec![bad],
                ..Default::default()
            };
            is_malformed(Call::Txn, &|| txn.encode_to_vec());
        }
    }
    let txn = PbTxnRequest {
        success: vec![op(PbTxnOpRequest::RequestRange(ranges[0].clone()))],
        ..Default::default()
    };
    let mut all = node();
    all.rights = Rights::Granted(vec![Grant {
        keys: Keys::Prefix(String::new()),
        right: Right::ReadWrite,
    }]);
    assert_eq!(Call::Txn.check(&all, &txn.encode_to_vec(), 7), Err(Denied::Malformed));
}

#[test]
fn nobody_reads_what_a_member_alone_remembers_or_all_at_once() {
    let ask = |limit: i64, serializable: bool| {
        let request = PbRangeRequest {
            key: b"open/".to_vec(),
            range_end: b"open0".to_vec(),
            limit,
            serializable,
            ..Default::default()
        };
        Call::Range.check(&node(), &request.encode_to_vec(), 7)
    };
    let passed = super::super::frame::single(&ask(128, true).unwrap(), 1 << 20).unwrap();
    assert!(!PbRangeRequest::decode(passed).unwrap().serializable);
    for too_much in [0, 1000] {
        assert_eq!(ask(too_much, false), Err(Denied::Rights));
    }
}

#[test]
fn what_was_before_is_shown_to_who_may_read_it() {
    let mut guest = node();
    let mut request = put("open/mine");
    request.prev_kv = true;
    let ask = |guest: &Guest| Call::Put.check(guest, &request.encode_to_vec(), 7);
    assert!(ask(&guest).is_ok());
    guest.rights = Rights::Granted(vec![Grant {
        keys: Keys::One("open/mine".to_owned()),
        right: Right::Write,
    }]);
    assert_eq!(ask(&guest), Err(Denied::Rights));
}

#[test]
fn what_is_not_listed_is_nobodys() {
    for path in [
        "/etcdserverpb.Auth/UserAdd",
        "/etcdserverpb.Maintenance/Snapshot",
        "/etcdserverpb.Maintenance/Alarm",
        "/etcdserverpb.Cluster/MemberAdd",
        "/etcdserverpb.Lease/LeaseLeases",
        "/v3lockpb.Lock/Lock",
        "/etcdserverpb.KV/range",
        "/etcdserverpb.KV/Range/",
        "",
    ] {
        assert_eq!(Call::of(path), None, "{path}");
    }
}

/// A transaction that is allowed, to be spoilt.
fn sample() -> Vec<u8> {
    PbTxnRequest {
        success: vec![op(PbTxnOpRequest::RequestPut(put("open/mine")))],
        ..Default::default()
    }
    .encode_to_vec()
}

/// Whether etcd would be told to change a key that is not the node's own.
fn changes_foreign_keys(ops: &[PbTxnRequestOp]) -> bool {
    ops.iter().any(|op| match &op.request {
        Some(PbTxnOpRequest::RequestPut(put)) => put.key != b"open/mine",
        Some(PbTxnOpRequest::RequestDeleteRange(delete)) => delete.key != b"open/mine" || !delete.range_end.is_empty(),
        Some(PbTxnOpRequest::RequestTxn(_)) => true,
        Some(PbTxnOpRequest::RequestRange(_)) | None => false,
    })
}

proptest! {
    #[test]
    fn whatever_is_sent_nothing_is_passed_on_that_changes_a_foreign_key(message in hostile::spoilt(vec![sample()])) {
        for call in CALLS {
            let Ok(passed) = call.check(&node(), &message, 7) else { continue };
            let passed = super::super::frame::single(&passed, 1 << 20).unwrap();
            match call {
                Call::Txn => {
                    let txn = PbTxnRequest::decode(passed).unwrap();
                    prop_assert!(!changes_foreign_keys(&txn.success) && !changes_foreign_keys(&txn.failure));
                }
                Call::Put => prop_assert_eq!(PbPutRequest::decode(passed).unwrap().key, b"open/mine"),
                Call::Compact => prop_assert!(false, "a node compacts"),
                _ => {}
            }
        }
    }
}
