//! Any text as a config value, and any file as a node's own: taken within the limits, or refused with a reason.

use cluster::config::input::{Format, read};
use cluster::config::{Component, KeyPath, Schema, Target, Tree};
use cluster::nodes::{NodeFile, Paths};
use proptest::prelude::*;

const KEYS: [&str; 6] = [
    "docker/image",
    "docker/privileged",
    "docker/timeout",
    "max_containers",
    "garden/listen",
    "unheard/of",
];

fn values() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/values"))
}

fn node_files() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/node-files"))
}

/// What is read from `text` for every key in every format; a tree of it has the same leaves when it is nested again.
fn value(text: &str) {
    for key in KEYS {
        let path = KeyPath::parse(key).expect("a key");
        let target = Target::key(&Component::new("fence").expect("a component"), &path).expect("a key of it");
        for format in [Format::Assumed, Format::Json, Format::Yaml] {
            let Ok(found) = read(Schema::standard(), &target, text, format) else {
                continue;
            };
            if let Ok(tree) = Tree::flatten(&target.address, &found.value) {
                let nested = tree.nest(&target.address).expect("what was flattened");
                assert_eq!(Tree::flatten(&target.address, &nested).expect("what was nested"), tree);
            }
        }
    }
}

/// A file that is taken is one that is written and read as the same.
fn node_file(content: &[u8]) {
    let root = tempfile::tempdir().expect("a folder");
    let paths = Paths::from_root(Some(root.path()));
    std::fs::create_dir_all(paths.etc()).expect("a folder");
    std::fs::write(paths.node_file(), content).expect("a file");
    match NodeFile::load(&paths) {
        Ok(taken) => {
            taken.save(&paths).expect("what was read is written");
            assert_eq!(NodeFile::load(&paths).expect("what was written is read"), taken);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(
                std::fs::read(paths.node_file()).expect("the file is still there"),
                content
            );
        }
    }
}

#[test]
fn the_corpus_is_taken_or_refused() {
    for text in values() {
        value(&String::from_utf8_lossy(&text));
    }
    for content in node_files() {
        node_file(&content);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn spoilt_values_are_taken_or_refused(text in hostile::spoilt_text(values())) {
        value(&text);
    }

    #[test]
    fn any_json_is_taken_or_refused(json in hostile::json(&KEYS)) {
        value(&json.to_string());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn spoilt_node_files_are_taken_or_refused(content in hostile::spoilt(node_files())) {
        node_file(&content);
    }
}
