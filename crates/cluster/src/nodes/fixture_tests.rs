//! What each version writes of nodes, realms and orders into the store.

use fixtures::{kept, lines, list, pin, with_additions};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Alive, Containers, Paired, Record, Report, Retiring, Role};
use crate::config::Name;
use crate::process::{Answered, Observed, Order, OrderAction, Process, State, Wanted};
use crate::realms::Realm;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn record() -> Record {
    Record {
        id: Uuid::from_u128(1),
        name: name("one"),
        realm: name("eu"),
        roles: vec![Role::Base, Role::Dea],
        zone: name("default"),
        fingerprint: "00ff".into(),
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        paired: Paired {
            at: Timestamp::UNIX_EPOCH,
            by: "admin".into(),
        },
    }
}

fn realm() -> Realm {
    Realm {
        id: Uuid::from_u128(2),
        name: name("eu"),
        owner: "alice".into(),
        created: Timestamp::UNIX_EPOCH,
        by: "admin".into(),
    }
}

fn order() -> Order {
    Order {
        number: 1_700_000_000_000,
        action: OrderAction::Restart,
        within_ms: 60_000,
        by: "admin".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

fn alive() -> Alive {
    Alive {
        since: Timestamp::UNIX_EPOCH,
        boot: "01935a00-0000-4000-8000-000000000000".into(),
    }
}

fn report() -> Report {
    let fence = Observed {
        state: State::Running,
        pid: Some(12),
        since: Some(Timestamp::UNIX_EPOCH),
        ..Observed::stopped(Process::Fence, Wanted::Running)
    };
    let answered = Answered {
        number: 1_700_000_000_000,
        problem: "fence is not ready: it is FATAL".into(),
    };
    Report {
        name: name("one"),
        at: Timestamp::UNIX_EPOCH,
        version: "0.1.0".into(),
        architecture: String::new(),
        roles: vec![Role::Base, Role::Dea],
        addresses: vec!["10.0.0.1".parse().unwrap()],
        processes: vec![fence],
        orders: [(Process::Fence, answered)].into(),
        config_revision: Some(7),
        containers: Some(Containers {
            active: 1,
            stopped: 2,
            lost: 3,
            max: 256,
        }),
        retiring: Some(Retiring {
            since: Some(Timestamp::UNIX_EPOCH),
            seconds_left: 540,
            active: 1,
            stopped: 2,
        }),
        problems: vec!["the image a:1 is missing".into()],
    }
}

#[test]
fn what_each_version_writes_of_nodes_is_read() {
    let text = |value: serde_json::Result<String>| value.unwrap();
    pin(
        "nodes.txt",
        &list([
            ("record", text(serde_json::to_string(&record()))),
            ("realm", text(serde_json::to_string(&realm()))),
            ("order", text(serde_json::to_string(&order()))),
            ("alive", text(serde_json::to_string(&alive()))),
            ("report", text(serde_json::to_string(&report()))),
        ]),
    );
    for version in kept("nodes.txt") {
        for (what, text) in lines(&version.text) {
            for text in [text.to_owned(), with_additions(text)] {
                is_read(what, &text);
            }
        }
    }
}

/// A later version has more roles and processes too.
#[test]
fn roles_and_processes_of_a_later_version_are_passed_over() {
    let later = serde_json::to_string(&record())
        .unwrap()
        .replace("\"dea\"", "\"dea\",\"router\"");
    assert_eq!(serde_json::from_str::<Record>(&later).unwrap(), record());
    let later = serde_json::to_string(&report())
        .unwrap()
        .replace("[{\"process\"", "[{\"process\":\"router\"},{\"process\"")
        .replace(
            "{\"fence\":{",
            "{\"router\":{\"number\":1,\"problem\":\"\"},\"fence\":{",
        );
    assert_eq!(serde_json::from_str::<Report>(&later).unwrap(), report());
}

fn is_read(what: &str, text: &str) {
    match what {
        "record" => assert_eq!(serde_json::from_str::<Record>(text).unwrap(), record()),
        "realm" => assert_eq!(serde_json::from_str::<Realm>(text).unwrap(), realm()),
        "order" => assert_eq!(serde_json::from_str::<Order>(text).unwrap(), order()),
        "alive" => assert_eq!(serde_json::from_str::<Alive>(text).unwrap(), alive()),
        "report" => assert_eq!(serde_json::from_str::<Report>(text).unwrap(), report()),
        other => panic!("{other} is nothing of a node"),
    }
}
