//! What the tree promises: nesting and flattening are each other's inverse, no leaf is ever above another.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn path(text: &str) -> KeyPath {
    KeyPath::parse(text).unwrap()
}

fn tree(value: Value) -> Tree {
    Tree::flatten(&KeyPath::root(), &value).unwrap()
}

#[test]
fn a_value_is_flattened_to_its_leaves() {
    let tree = Tree::flatten(
        &path("fence"),
        &json!({"docker": {"image": ["a", "b"], "deep": {}}, "n": 1}),
    )
    .unwrap();
    let leaves: Vec<_> = tree
        .iter()
        .map(|(path, value)| (path.as_str(), value.clone()))
        .collect();
    assert_eq!(
        leaves,
        [
            ("fence/docker/deep", json!({})),
            ("fence/docker/image", json!(["a", "b"])),
            ("fence/n", json!(1))
        ]
    );
}

#[test]
fn null_and_names_with_slashes_are_refused() {
    assert_eq!(
        Tree::flatten(&path("a"), &json!({"b": null})),
        Err(Error::Null { at: path("a/b") })
    );
    assert!(matches!(
        Tree::flatten(&path("a"), &json!({"b/c": 1})),
        Err(Error::Key(_))
    ));
}

#[test]
fn nesting_below_a_path_leaves_the_path_out() {
    let tree = tree(json!({"fence": {"docker": {"image": "x"}}, "fenced": 1}));
    assert_eq!(tree.nest(&path("fence")), Some(json!({"docker": {"image": "x"}})));
    assert_eq!(tree.nest(&path("fence/docker/image")), Some(json!("x")));
    assert_eq!(tree.nest(&path("fenc")), None);
}

#[test]
fn putting_replaces_what_is_at_above_and_below() {
    let mut tree = tree(json!({"a": {"b": 1, "c": 2}, "d": 3}));
    tree.put(path("a"), json!("flat"));
    assert_eq!(tree.nest(&KeyPath::root()), Some(json!({"a": "flat", "d": 3})));
    tree.put(path("a/b/c"), json!(1));
    assert_eq!(tree.nest(&KeyPath::root()), Some(json!({"a": {"b": {"c": 1}}, "d": 3})));
}

#[test]
fn the_higher_layer_wins_leaf_by_leaf() {
    let mut base = tree(json!({"fence": {"a": 1, "b": {"c": 2}}, "cluster": {"x": 1}}));
    base.overlay(&tree(json!({"fence": {"b": {"d": 3}, "a": 9}})));
    assert_eq!(
        base.nest(&KeyPath::root()),
        Some(json!({"cluster": {"x": 1}, "fence": {"a": 9, "b": {"c": 2, "d": 3}}}))
    );
}

#[test]
fn a_diff_names_each_leaf_once() {
    let old = tree(json!({"a": 1, "b": 2, "c": 3}));
    let new = tree(json!({"a": 1, "b": 4, "d": 5}));
    let changes = old.diff(&new);
    let named: Vec<_> = changes
        .iter()
        .map(|change| (change.path.as_str(), &change.old, &change.new))
        .collect();
    assert_eq!(
        named,
        [
            ("b", &Some(json!(2)), &Some(json!(4))),
            ("c", &Some(json!(3)), &None),
            ("d", &None, &Some(json!(5)))
        ]
    );
}

/// Any value that the tree keeps: no null, and names that a path may have.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map("[a-c.]{1,2}", inner, 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
    })
}

/// The root of a tree is always an object.
fn objects() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-c.]{1,2}", values(), 1..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

fn assert_sound(tree: &Tree) -> Result<(), TestCaseError> {
    for (path, _) in tree.iter() {
        prop_assert!(tree.leaf_above(path).is_none(), "{} is below another leaf", path);
    }
    Ok(())
}

proptest! {
    #[test]
    fn nesting_undoes_flattening(value in objects()) {
        let tree = Tree::flatten(&KeyPath::root(), &value).unwrap();
        prop_assert_eq!(tree.nest(&KeyPath::root()), Some(value));
        assert_sound(&tree)?;
    }

    #[test]
    fn flattening_below_a_path_and_nesting_there_is_the_same(value in values()) {
        let at = path("some/where");
        prop_assert_eq!(Tree::flatten(&at, &value).unwrap().nest(&at), Some(value));
    }

    #[test]
    fn an_overlay_is_sound_and_shows_the_whole_upper_layer(base in objects(), over in objects()) {
        let (mut all, over) = (tree(base), tree(over));
        all.overlay(&over);
        assert_sound(&all)?;
        for (path, value) in over.iter() {
            prop_assert_eq!(all.leaf(path), Some(value));
        }
    }

    #[test]
    fn applying_a_diff_gives_the_new_tree(old in objects(), new in objects()) {
        let (mut old, new) = (tree(old), tree(new));
        let changes = old.diff(&new);
        for change in changes.iter().filter(|change| change.new.is_none()) {
            old.remove(&change.path);
        }
        for change in changes {
            if let Some(value) = change.new {
                old.put(change.path, value);
            }
        }
        prop_assert_eq!(old, new);
    }

    #[test]
    fn what_was_removed_is_gone_and_nothing_else(value in objects(), at in "[a-c.]{1,2}(/[a-c.]{1,2}){0,2}") {
        let (before, at) = (tree(value), path(&at));
        let mut after = before.clone();
        prop_assert_eq!(after.remove(&at), before.nest(&at).is_some());
        prop_assert_eq!(after.nest(&at), None);
        for (path, leaf) in before.iter().filter(|(path, _)| !path.is_within(&at)) {
            prop_assert_eq!(after.leaf(path), Some(leaf));
        }
    }
}
