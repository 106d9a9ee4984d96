//! Garden's rules one by one, in tables: what a process sees, what the protocol says, how containers come and go. Each test
//! makes few containers and checks much in them; all that differs is told at once.
//!
//! What needs more than one request and one answer to be seen has a story of its own in the other `garden_…` files.

mod life;
mod processes;
mod protocol;
mod terminals;

use std::fmt::Debug;

use tests::garden::{ContainerSpec, Error, ProcessSpec};
use tests::harness::{ContainerOf, Node};

pub type Story = anyhow::Result<()>;

/// Counts checks, and keeps those that failed for the end.
#[derive(Default)]
pub struct Checks {
    done: usize,
    failed: Vec<String>,
}

impl Checks {
    /// One check: what was found is what a rule says.
    pub fn same<T: PartialEq + Debug>(&mut self, rule: &str, found: T, expected: T) {
        let holds = found == expected;
        self.holds(rule, holds, || format!("{found:?} instead of {expected:?}"));
    }

    /// One check: what was found has this in it.
    pub fn has(&mut self, rule: &str, found: &str, expected: &str) {
        self.holds(rule, found.contains(expected), || {
            format!("{found:?} has no {expected:?}")
        });
    }

    /// One check of any kind.
    pub fn holds(&mut self, rule: &str, holds: bool, found: impl FnOnce() -> String) {
        self.done += 1;
        if !holds {
            self.failed.push(format!("{rule}: {}", found()));
        }
    }

    /// All were made; at least this many, so that no table is empty by mistake.
    pub fn end(self, least: usize) {
        assert!(
            self.failed.is_empty(),
            "{} checks failed:\n{}",
            self.failed.len(),
            self.failed.join("\n")
        );
        assert!(self.done >= least, "only {} checks were made", self.done);
    }
}

/// A container called `web`.
pub fn web(node: &Node) -> anyhow::Result<ContainerOf> {
    Ok(node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?)
}

/// What the container's shell prints, or why it did not.
pub fn said(web: &ContainerOf, spec: &ProcessSpec) -> String {
    match web.output(spec) {
        Ok((0, stdout, _)) => stdout,
        Ok((status, stdout, stderr)) => format!("ended with {status}: {stdout}{stderr}"),
        Err(error) => format!("refused: {error}"),
    }
}

/// The parts of an error that a client can tell apart: status, type, message.
pub fn told<T>(result: Result<T, Error>) -> (u16, String, String) {
    match result {
        Ok(_) => (200, String::new(), "it succeeded".into()),
        Err(Error::Garden { status, body }) => (status, body.kind, body.message),
        Err(other) => (
            other.status().unwrap_or(0),
            "no error of Garden's".into(),
            other.to_string(),
        ),
    }
}
