//! `kato config` on a node with a tree of its own: every form of output, every refusal, and its exit code.

use cluster::config::Name;
use cluster::nodes::{DockerSettings, NodeFile, Paths};
use cluster::store::sqlite::SqliteStore;

use crate::harness::{Machine, Ran};

mod forms;
mod layers;
mod lists;
mod past;
mod refusals;

/// A machine that is a node named `one`, with an empty tree.
pub fn node() -> Machine {
    let machine = Machine::new();
    let paths = Paths::from_root(Some(machine.root()));
    let node = NodeFile::micro(&Name::new("one").expect("a name"), DockerSettings::default());
    node.save(&paths).expect("a node file");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(SqliteStore::create(&paths.tree_db()))
        .expect("a tree");
    machine
}

/// Run `kato config` with these words, separated by spaces.
pub fn config(machine: &Machine, words: &str) -> Ran {
    machine.kato(["config"].into_iter().chain(words.split(' ')))
}

/// Run `kato config` with these words and this on its standard input.
fn config_reading(machine: &Machine, words: &str, stdin: &str) -> Ran {
    machine.kato_reading(stdin.as_bytes(), ["config"].into_iter().chain(words.split(' ')))
}

/// It must have worked; what it printed.
pub fn printed(ran: Ran) -> String {
    assert_eq!(ran.code(), 0, "{ran}");
    ran.stdout()
}

/// Nothing has changed: what is set at all is the same as before.
pub fn unchanged(machine: &Machine, change: impl FnOnce() -> Ran) -> Ran {
    let all = || {
        (
            printed(config(machine, "get -f --reveal")),
            printed(config(machine, "get -f local")),
        )
    };
    let before = all();
    let ran = change();
    assert_eq!(all(), before, "{ran}");
    ran
}
