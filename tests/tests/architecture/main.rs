//! The rules of the tree, read from the sources: who may import what, what every file has, that nothing is forgotten.
//!
//! The tables in `imports.rs` are the architecture. A change that needs another row is a change of the architecture, and of
//! `docs/architecture.md` with it.

mod files;
mod imports;

use std::path::{Path, PathBuf};

use tests::harness::workspace;
use tests::source;

/// The folders of the workspace's members.
fn members() -> Vec<String> {
    let manifest = read(&workspace().join("Cargo.toml"));
    let list = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(list, _)| list);
    let list = list.unwrap_or_else(|| panic!("the root Cargo.toml has no members"));
    list.split(',')
        .map(|member| member.trim().trim_matches('"').to_owned())
        .filter(|member| !member.is_empty())
        .collect()
}

/// Every Rust source of the members, relative to the workspace.
fn sources() -> Vec<PathBuf> {
    let root = workspace();
    let all = members()
        .into_iter()
        .flat_map(|member| source::files(&root.join(member), "rs"));
    all.map(|path| path.strip_prefix(&root).map(Path::to_path_buf).unwrap_or(path))
        .collect()
}

/// The (blanked) text of a source without its tests.
fn code(path: &Path) -> String {
    source::without_tests(&source::blank(&read(&workspace().join(path)))).to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()))
}

/// Panic with all breaches of a rule, one per line.
#[track_caller]
fn report(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}
