//! Which changes are made, which are refused, and what the layer is afterwards.

use serde_json::json;

use super::*;
use crate::config::{Name, Scope};

/// Layers that hold these leaves of the cluster.
fn layers(value: Value) -> Layers {
    let tree = Tree::flatten(&KeyPath::root(), &value).unwrap();
    Layers::default().with(&Scope::Cluster, tree)
}

fn target(address: &str) -> Target {
    Target {
        scope: Scope::Cluster,
        address: KeyPath::parse(address).unwrap(),
        own: false,
    }
}

fn edit(before: Value, address: &str, edit: Edit, force: bool) -> Result<Value> {
    let edited = apply(&layers(before), Schema::standard(), &target(address), edit, force)?;
    Ok(edited.tree.nest(&KeyPath::root()).unwrap_or(json!({})))
}

fn set(before: Value, address: &str, value: Value) -> Result<Value> {
    edit(before, address, Edit::Set(value), false)
}

#[test]
fn a_value_goes_where_its_key_says_and_an_alias_is_the_key() {
    let after = set(
        json!({"fence": {"max_containers": 3}}),
        "fence/docker/images",
        json!(["a", "b"]),
    )
    .unwrap();
    assert_eq!(
        after,
        json!({"fence": {"docker": {"image": ["a", "b"]}, "max_containers": 3}})
    );
    let both = json!({"docker": {"image": "a", "images": "b"}});
    assert!(matches!(set(json!({}), "fence", both), Err(Error::Unfit { .. })));
}

#[test]
fn the_schema_refuses_even_with_force() {
    for (address, value) in [
        ("fence/docker/image", json!("Not An Image")),
        ("fence/docker/image", json!({"a": "b"})),
        ("fence/docker/image", json!({})),
        ("fence/docker/image/below", json!("x")),
        ("fence/max_containers", json!("7")),
        ("fence/max_containers", json!(0)),
        ("fence/docker", json!("x")),
        ("fence", json!({"docker": {"image": "a", "privileged": "no"}})),
    ] {
        let result = edit(json!({}), address, Edit::Set(value.clone()), true);
        assert!(
            matches!(result, Err(Error::Refused { .. })),
            "{address} {value}: {result:?}"
        );
    }
}

#[test]
fn a_union_type_takes_both_without_force() {
    let one = json!({"fence": {"docker": {"image": "a"}}});
    let two = json!({"fence": {"docker": {"image": ["a", "b"]}}});
    assert_eq!(set(one.clone(), "fence/docker/image", json!(["a", "b"])).unwrap(), two);
    assert_eq!(set(two, "fence/docker/image", json!("a")).unwrap(), one);
}

#[test]
fn another_type_than_the_present_one_needs_force() {
    let before = json!({"x": {"text": "a", "map": {"a": 1, "b": {"c": 2}}, "list": [1]}});
    for (address, value) in [
        ("x/text", json!(1)),
        ("x/text", json!({"a": 1})),
        ("x/text/below", json!(1)),
        ("x/map", json!("a")),
        ("x/map", json!({"a": "text"})),
        ("x/map", json!({"b": 1})),
        ("x/list", json!({"a": 1})),
        ("x", json!({"map": {"a": true}})),
    ] {
        let refused = set(before.clone(), address, value.clone());
        assert!(
            matches!(refused, Err(Error::TypeChange { .. } | Error::Shadowed { .. })),
            "{address}: {refused:?}"
        );
        let forced = edit(before.clone(), address, Edit::Set(value), true);
        assert!(forced.is_ok(), "{address}: {forced:?}");
    }
    assert!(set(before.clone(), "x/text", json!("b")).is_ok());
    assert!(set(before.clone(), "x/map", json!({"a": 2.5})).is_ok());
    assert!(set(before, "x/map/b/d", json!("new")).is_ok());
}

#[test]
fn setting_a_map_replaces_it_as_a_whole() {
    let before = json!({"x": {"a": 1, "b": {"c": 2}}, "y": {"z": 1}});
    assert_eq!(
        set(before, "x", json!({"a": 5})).unwrap(),
        json!({"x": {"a": 5}, "y": {"z": 1}})
    );
}

#[test]
fn an_empty_map_is_kept_below_a_component_and_empties_a_component() {
    let before = json!({"x": {"a": {"b": 1}}});
    assert_eq!(set(before.clone(), "x/a", json!({})).unwrap(), json!({"x": {"a": {}}}));
    assert_eq!(set(json!({"x": {"a": {}}}), "x/a/b", json!(1)).unwrap(), before);
    assert_eq!(set(before, "x", json!({})).unwrap(), json!({}));
    assert_eq!(
        set(json!({"fence": {"max_containers": 3}}), "fence", json!({"docker": {}})).unwrap(),
        json!({})
    );
}

#[test]
fn a_component_and_what_is_not_known_is_told_apart() {
    assert!(matches!(set(json!({}), "fence", json!(1)), Err(Error::Refused { .. })));
    assert!(matches!(set(json!({}), "other", json!(1)), Err(Error::Refused { .. })));
    let of = |address: &str| {
        let edit = Edit::Set(json!("x"));
        apply(&layers(json!({})), Schema::standard(), &target(address), edit, false)
            .unwrap()
            .unknown
    };
    let near = |near: &str| Some(KeyPath::parse(near).unwrap());
    assert_eq!(
        of("fence/docker/imag"),
        [(target("fence/docker/imag").address, near("fence/docker/image"))]
    );
    assert_eq!(of("quite/another"), [(target("quite").address, None)]);
}

#[test]
fn keys_that_depend_on_each_other_are_checked_together() {
    let ports = |first: u64, count: u64| json!({"fence": {"ports": {"first": first, "count": count}}});
    assert!(matches!(
        set(ports(60_000, 100), "fence/ports/first", json!(65_500)),
        Err(Error::Unfit { .. })
    ));
    assert!(set(ports(60_000, 100), "fence/ports", json!({"first": 65_500, "count": 10})).is_ok());
    // Taking one away brings its default back, which has to fit as well.
    assert!(matches!(
        edit(ports(64_000, 100), "fence/ports/count", Edit::Del, false),
        Err(Error::Unfit { .. })
    ));
}

#[test]
fn a_value_that_is_too_large_is_refused() {
    assert!(set(json!({}), "x/y", json!("v".repeat(MAX_VALUE))).is_ok());
    let large = json!("v".repeat(MAX_VALUE + 1));
    assert!(matches!(set(json!({}), "x/y", large), Err(Error::TooMuch { .. })));
    let many: serde_json::Map<_, _> = (0..=MAX_KEYS).map(|n| (n.to_string(), json!(1))).collect();
    assert!(matches!(
        set(json!({}), "x/y", Value::Object(many)),
        Err(Error::TooMuch { .. })
    ));
    assert!(matches!(set(json!({}), "x/y", json!(null)), Err(Error::Value { .. })));
    assert!(matches!(
        set(json!({}), "x/y", json!({"a b": 1})),
        Err(Error::Value { .. })
    ));
}

#[test]
fn pushing_adds_to_the_end_and_makes_a_list_where_none_is() {
    let push = |before, address, value| edit(before, address, Edit::Push(value), false);
    assert_eq!(
        push(json!({"x": {"l": [1]}}), "x/l", json!(2)).unwrap(),
        json!({"x": {"l": [1, 2]}})
    );
    assert_eq!(
        push(json!({}), "x/l", json!({"a": 1})).unwrap(),
        json!({"x": {"l": [{"a": 1}]}})
    );
    let base = Schema::standard()
        .defaults()
        .nest(&KeyPath::parse("fence/docker/image").unwrap())
        .unwrap();
    assert_eq!(
        push(json!({}), "fence/docker/images", json!("b")).unwrap(),
        json!({"fence": {"docker": {"image": [base, "b"]}}})
    );
    assert!(matches!(
        push(json!({"x": {"l": "a"}}), "x/l", json!(2)),
        Err(Error::NotAList { .. })
    ));
    assert!(matches!(
        push(json!({}), "fence/max_containers", json!(2)),
        Err(Error::NotAList { .. })
    ));
    assert!(matches!(
        push(json!({}), "fence/docker/image", json!("B A D")),
        Err(Error::Refused { .. })
    ));
    assert!(matches!(
        push(json!({}), "fence", json!("x")),
        Err(Error::NeedsKey { .. })
    ));
}

#[test]
fn popping_takes_the_entry_of_that_value_out() {
    let pop = |before, address, values| edit(before, address, Edit::Pop(values), false);
    let before = json!({"x": {"l": ["a", 25, "a"]}});
    assert_eq!(
        pop(before.clone(), "x/l", vec![json!("25"), json!(25)]).unwrap(),
        json!({"x": {"l": ["a", "a"]}})
    );
    assert_eq!(
        pop(before.clone(), "x/l", vec![json!("a")]).unwrap(),
        json!({"x": {"l": [25, "a"]}})
    );
    assert!(matches!(
        pop(before.clone(), "x/l", vec![json!("b")]),
        Err(Error::NoSuchEntry { .. })
    ));
    assert!(matches!(
        pop(before, "x/m", vec![json!("b")]),
        Err(Error::NotFound { .. })
    ));
    let one = json!({"fence": {"docker": {"image": ["a"]}}});
    assert!(matches!(
        pop(one, "fence/docker/image", vec![json!("a")]),
        Err(Error::Refused { .. })
    ));
}

#[test]
fn taking_away_takes_all_below_and_says_when_there_is_nothing() {
    let before = json!({"fence": {"docker": {"image": "a", "privileged": true}, "max_containers": 3}});
    let after = edit(before.clone(), "fence/docker", Edit::Del, false).unwrap();
    assert_eq!(after, json!({"fence": {"max_containers": 3}}));
    let near = |address: &str| match edit(before.clone(), address, Edit::Del, false) {
        Err(Error::NotFound { near, .. }) => near.map(|near| near.as_str().to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(near("fence/stop_timeout"), None);
    assert_eq!(near("fence/max_container"), Some("fence/max_containers".to_owned()));
}

#[test]
fn a_nodes_layer_is_changed_without_touching_the_clusters() {
    let node = Scope::Node(Name::new("one").unwrap());
    let before = layers(json!({"fence": {"max_containers": 3}}));
    let target = Target {
        scope: node,
        address: KeyPath::parse("fence/max_containers").unwrap(),
        own: true,
    };
    let edited = apply(&before, Schema::standard(), &target, Edit::Set(json!(4)), false).unwrap();
    assert_eq!(
        edited.tree.nest(&KeyPath::root()),
        Some(json!({"fence": {"max_containers": 4}}))
    );
}

#[test]
fn a_secret_hides_in_no_list() {
    for value in [json!([{"password": "x"}]), json!([[{"a": {"db_token": "x"}}]])] {
        let refused = set(json!({}), "other/list", value).unwrap_err().to_string();
        assert!(refused.contains("looks like a secret"), "{refused}");
    }
    assert!(set(json!({}), "other/list", json!([{"name": "x"}])).is_ok());
    assert!(set(json!({}), "other/db_token", json!(["x", {"password": "y"}])).is_ok());
    assert!(set(json!({}), "other/map", json!({"password": "x"})).is_ok());
}
