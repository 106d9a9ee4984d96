//! Who may import what.

use std::collections::BTreeSet;
use std::path::Path;

use tests::harness::workspace;
use tests::source;

use crate::{code, members, read, report, sources};

/// A member, and the members it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("crates/cluster", &["fixtures", "hostile"]),
    ("crates/engine", &["hostile"]),
    ("crates/fence-init", &["files", "fixtures", "hostile"]),
    ("crates/files", &["hostile"]),
    ("crates/fixtures", &[]),
    ("crates/hostile", &[]),
    ("fence", &["cluster", "engine", "fence-init", "fixtures", "hostile"]),
    ("registry-bootstrap", &["cluster", "engine", "hostile"]),
    (
        "kato",
        &["cluster", "files", "fixtures", "hostile", "registry-bootstrap"],
    ),
    // For the simulated agents of `bin/agents`; stories know the programs alone.
    ("tests", &["cluster"]),
];

/// A library, and the only places that may name it: folders or files without their extension.
const BEHIND_A_BOUNDARY: &[(&str, &[&str])] = &[
    ("bollard", &["crates/engine/src/docker"]),
    (
        "rusqlite",
        &["crates/cluster/src/store", "crates/fixtures", "fence/src/inventory"],
    ),
];

/// What a module of the daemon may use.
struct Module {
    name: &'static str,
    /// Modules of the daemon.
    modules: &'static [&'static str],
    /// Members of the workspace.
    crates: &'static [&'static str],
    /// Libraries and parts of the standard library that it must not name.
    never: &'static [&'static str],
}

const IO: &[&str] = &[
    "tokio",
    "nix",
    "axum",
    "hyper",
    "http",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
];
const HTTP: &[&str] = &["axum", "hyper", "http", "httparse"];

const FENCE: &[Module] = &[
    Module {
        name: "container",
        modules: &[],
        crates: &["fence_init"],
        never: IO,
    },
    Module {
        name: "cgroup",
        modules: &[],
        crates: &[],
        never: HTTP,
    },
    Module {
        name: "events",
        modules: &["container"],
        crates: &[],
        never: HTTP,
    },
    Module {
        name: "image",
        modules: &["chain", "container"],
        crates: &["engine"],
        never: HTTP,
    },
    Module {
        name: "network",
        modules: &["container"],
        crates: &["engine"],
        never: HTTP,
    },
    Module {
        name: "inventory",
        modules: &["container"],
        crates: &["engine"],
        never: HTTP,
    },
    Module {
        name: "logs",
        modules: &["container"],
        crates: &["fence_init"],
        never: HTTP,
    },
    Module {
        name: "init",
        modules: &["container"],
        crates: &["fence_init"],
        never: HTTP,
    },
    Module {
        name: "pool",
        modules: &["container", "inventory", "image"],
        crates: &["engine"],
        never: HTTP,
    },
    Module {
        name: "supervisor",
        modules: &[
            "cgroup",
            "chain",
            "container",
            "events",
            "network",
            "inventory",
            "logs",
            "pool",
            "image",
            "init",
        ],
        crates: &["engine", "fence_init"],
        never: HTTP,
    },
    Module {
        name: "http",
        modules: &["container", "supervisor"],
        crates: &[],
        never: &["rusqlite"],
    },
    Module {
        name: "settings",
        modules: &[],
        crates: &["cluster"],
        never: HTTP,
    },
    Module {
        name: "node",
        modules: &[
            "container",
            "events",
            "image",
            "network",
            "inventory",
            "logs",
            "init",
            "pool",
            "supervisor",
            "http",
            "settings",
        ],
        crates: &["cluster", "engine", "fence_init"],
        never: &[],
    },
];

/// Modules of the daemon that every other may use, since they know none.
const FOR_ALL: &[Module] = &[
    Module {
        name: "chain",
        modules: &[],
        crates: &[],
        never: IO,
    },
    FAULT,
];

/// Places at which a test kills the daemon.
const FAULT: Module = Module {
    name: "fault",
    modules: &[],
    crates: &[],
    never: HTTP,
};

/// Faces of the daemon that may also be clients of the config tree.
const FACES_WITH_CONFIG: &[&str] = &["fence/src/http/actions", "fence/src/http/console"];

#[test]
fn members_depend_only_on_what_the_table_allows() {
    let known: BTreeSet<String> = CRATES.iter().map(|(member, _)| (*member).to_owned()).collect();
    let actual: BTreeSet<String> = members().into_iter().collect();
    assert_eq!(actual, known, "the workspace's members and the table");
    let names: BTreeSet<&str> = CRATES.iter().map(|(member, _)| name_of(member)).collect();
    let mut breaches = Vec::new();
    for (member, may) in CRATES {
        let used = dependencies(member)
            .into_iter()
            .filter(|used| names.contains(used.as_str()));
        breaches.extend(
            used.filter(|used| !may.contains(&used.as_str()))
                .map(|used| format!("{member} depends on {used}")),
        );
    }
    report("a member depends on another that it must not know", breaches);
}

#[test]
fn wrapped_libraries_are_named_only_behind_their_boundary() {
    let mut breaches = Vec::new();
    for (library, places) in BEHIND_A_BOUNDARY {
        let owner = |member: &str| places.iter().any(|place| Path::new(place).starts_with(member));
        let strangers = members()
            .into_iter()
            .filter(|member| dependencies(member).iter().any(|name| name == library));
        breaches.extend(
            strangers
                .filter(|member| !owner(member))
                .map(|member| format!("{member} depends on {library}")),
        );
        for path in sources() {
            let allowed = places.iter().any(|place| is_below(&path, place));
            // Tests included: a fake or a test that needs the library belongs behind the boundary too.
            let named = names(&source::blank(&read(&workspace().join(&path))), &path)
                .iter()
                .any(|named| named[0] == *library);
            if named && !allowed {
                breaches.push(format!("{} names {library}", path.display()));
            }
        }
    }
    report("a library is named outside its boundary", breaches);
}

#[test]
fn modules_of_the_daemon_use_only_what_the_table_allows() {
    let mut breaches = Vec::new();
    for path in sources() {
        let Some(module) = fence_module(&path) else { continue };
        match FENCE.iter().chain(FOR_ALL).find(|row| row.name == module) {
            None => breaches.push(format!("{}: the module {module} is not in the table", path.display())),
            Some(row) => breaches.extend(
                names(&code(&path), &path)
                    .iter()
                    .filter_map(|named| breach(row, named, &path))
                    .map(|what| format!("{} uses {what}", path.display())),
            ),
        }
    }
    report("a module of the daemon uses what it must not know", breaches);
}

#[test]
fn plain_types_know_only_plain_types_of_the_protocol() {
    let beyond = sources()
        .into_iter()
        .filter(|path| fence_module(path).as_deref() == Some("container"))
        .flat_map(|path| {
            let named = names(&code(&path), &path).into_iter();
            let others = named.filter(|named| named[0] == "fence_init" && named[1] != "protocol");
            others
                .map(|named| format!("{} uses {}", path.display(), named.join("::")))
                .collect::<Vec<_>>()
        });
    report(
        "fence::container uses more of fence-init than its protocol",
        beyond.collect(),
    );
}

/// What of a path the row forbids.
fn breach(row: &Module, named: &[String], path: &Path) -> Option<String> {
    let shown = || Some(named.join("::"));
    let first = named[0].as_str();
    if first == "crate" {
        let module = named[1].as_str();
        let is_module = FENCE.iter().any(|row| row.name == module);
        let allowed = module == row.name || row.modules.contains(&module);
        return if is_module && !allowed { shown() } else { None };
    }
    if ["cluster", "engine", "fence_init"].contains(&first) {
        let face = first == "cluster" && FACES_WITH_CONFIG.iter().any(|face| is_below(path, face));
        return if row.crates.contains(&first) || face {
            None
        } else {
            shown()
        };
    }
    let two = format!("{first}::{}", named[1]);
    let forbidden = row.never.iter().any(|never| *never == first || *never == two);
    if forbidden { shown() } else { None }
}

fn names(blanked: &str, path: &Path) -> Vec<Vec<String>> {
    source::named_paths(blanked, &module_of(path))
}

/// The top-level module of the daemon that the file belongs to; none for `lib.rs`, `main.rs` and other members.
fn fence_module(path: &Path) -> Option<String> {
    path.starts_with("fence/src")
        .then(|| module_of(path).into_iter().next())
        .flatten()
}

/// `fence/src/http/garden/mod.rs` is the module `http::garden`.
fn module_of(path: &Path) -> Vec<String> {
    let parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let from = parts
        .iter()
        .position(|part| part == "src" || part == "tests")
        .map_or(0, |at| at + 1);
    let mut module = parts[from..].to_vec();
    if module
        .last()
        .is_some_and(|last| last == "mod" || (module.len() == 1 && (last == "lib" || last == "main")))
    {
        module.pop();
    }
    module
}

/// Whether the file is the place itself (`place.rs`) or below it (`place/…`).
fn is_below(path: &Path, place: &str) -> bool {
    path.starts_with(place) || path.with_extension("") == Path::new(place)
}

fn name_of(member: &str) -> &str {
    member.rsplit('/').next().unwrap_or(member)
}

/// The names in all dependency tables of a member.
fn dependencies(member: &str) -> Vec<String> {
    let manifest = read(&workspace().join(member).join("Cargo.toml"));
    let mut in_table = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(table) = line.trim().strip_prefix('[') {
            in_table = table.trim_end_matches(']').ends_with("dependencies");
        } else if let Some((key, _)) = line.split_once('=').filter(|_| in_table) {
            found.push(key.trim().split('.').next().unwrap_or_default().to_owned());
        }
    }
    found
}
