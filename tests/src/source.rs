//! Reads Rust sources as far as the rules of the workspace need it: which paths a file names, which modules it declares.
//!
//! Not a parser: comments and literals are blanked, then paths are found by their form. What stands behind the first
//! `#[cfg(test)] mod` of a file counts as its tests.

mod paths;
mod text;

pub use paths::{declared_modules, named_paths};
pub use text::{blank, lines_before_tests, without_tests};

use std::fs;
use std::path::{Path, PathBuf};

/// All files below the folder with that extension, sorted; nothing of `target` and of folders whose name begins with a dot.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(folder, extension, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}
