//! What holds for every file, and for the documents that name them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tests::harness::workspace;
use tests::source;

use crate::{members, read, report, sources};

/// The most lines before a file's own tests.
const MOST_LINES: usize = 500;
/// Documents whose paths have to be there.
const DOCUMENTS: &[&str] = &["docs/architecture.md", "README.md", "CONTRIBUTING.md"];

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources()
        .into_iter()
        .filter(|path| !read(&workspace().join(path)).starts_with("//!"));
    report(
        "a file does not open with `//!`",
        silent.map(|path| path.display().to_string()).collect(),
    );
}

#[test]
fn no_file_is_a_giant() {
    let code = sources().into_iter().filter(|path| !is_tests_of_another(path));
    let sizes = code.map(|path| (source::lines_before_tests(&read(&workspace().join(&path))), path));
    let giants = sizes.filter(|(lines, _)| *lines > MOST_LINES);
    report(
        "a file has more than 500 lines",
        giants
            .map(|(lines, path)| format!("{}: {lines}", path.display()))
            .collect(),
    );
}

/// Whether the file is nothing but the tests of the module it stands beside.
fn is_tests_of_another(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem == "tests" || stem.ends_with("_tests")
}

#[test]
fn no_test_is_switched_off() {
    let attribute = |line: &str| {
        let line = line.replace(' ', "");
        line.contains("#[ignore") || line.contains(",ignore)]")
    };
    let mut breaches = Vec::new();
    for path in sources() {
        let blanked = source::blank(&read(&workspace().join(&path)));
        let lines = blanked.lines().enumerate().filter(|(_, line)| attribute(line));
        breaches.extend(lines.map(|(at, _)| format!("{}:{}", path.display(), at + 1)));
    }
    report("a test is switched off", breaches);
}

#[test]
fn no_file_is_forgotten() {
    let root = workspace();
    let mut reached = BTreeSet::new();
    for member in members() {
        let folder = root.join(&member);
        let targets = targets(&folder);
        assert!(!targets.is_empty(), "{member} has nothing to compile");
        for target in targets {
            reach(&target, true, &mut reached);
        }
    }
    let forgotten = sources().into_iter().filter(|path| !reached.contains(&root.join(path)));
    report(
        "a file belongs to no module and is never compiled",
        forgotten.map(|path| path.display().to_string()).collect(),
    );
}

#[test]
fn documents_name_only_paths_that_are_there() {
    let root = workspace();
    let mut breaches = Vec::new();
    for document in DOCUMENTS {
        let text = read(&root.join(document));
        let folder = root.join(document).parent().map(Path::to_path_buf).unwrap_or_default();
        let missing = paths_in(&text)
            .into_iter()
            .filter(|path| !root.join(path).exists() && !folder.join(path).exists());
        breaches.extend(missing.map(|path| format!("{document}: {path}")));
    }
    report("a document names a path that is not there", breaches);
}

#[test]
fn the_architecture_names_every_member() {
    let text = read(&workspace().join("docs/architecture.md"));
    let unnamed = members()
        .into_iter()
        .filter(|member| !text.contains(&format!("`{member}")));
    report("docs/architecture.md does not name a member", unnamed.collect());
}

/// What cargo compiles of a member.
fn targets(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["src/lib.rs", "src/main.rs", "build.rs"]
        .iter()
        .map(|file| folder.join(file))
        .collect();
    for place in ["src/bin", "tests", "benches", "examples"] {
        for entry in std::fs::read_dir(folder.join(place)).into_iter().flatten().flatten() {
            let path = entry.path();
            found.push(if path.is_dir() { path.join("main.rs") } else { path });
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs") && path.exists());
    found
}

/// Follow `mod name;` from a file. The modules of a crate's root and of a `mod.rs` lie beside it, others in a folder of its name.
fn reach(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.to_path_buf()) {
        return;
    }
    let beside = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let is_mod = file.file_name().is_some_and(|name| name == "mod.rs");
    let folder = if is_root || is_mod {
        beside.clone()
    } else {
        file.with_extension("")
    };
    let text = read(file);
    let named = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#[path = \"")?.split('"').next());
    named.for_each(|name| reach(&beside.join(name), false, reached));
    for name in source::declared_modules(&source::blank(&text)) {
        let candidates = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
        if let Some(found) = candidates.iter().find(|path| path.exists()) {
            reach(found, false, reached);
        }
    }
}

/// Repository paths in a document: in backticks or as the target of a link, below a folder or file of the root or of `docs`.
fn paths_in(text: &str) -> Vec<String> {
    let quoted = text
        .split("```")
        .step_by(2)
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .map(str::to_owned);
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|link| link.split('#').next().unwrap_or_default().to_owned());
    let quoted = quoted.filter(|word| is_repository_path(word));
    let links = links.filter(|link| !link.is_empty() && !link.contains(':'));
    quoted.chain(links).collect()
}

fn is_repository_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let first = word.split('/').next().unwrap_or_default();
    // `fence/base` and the like are names of images.
    let below_root =
        word.contains('/') && workspace().join(first).is_dir() && !first.is_empty() && word != "fence/base";
    let source_file = word.ends_with(".rs") && word.contains('/');
    plain && (below_root || source_file)
}
