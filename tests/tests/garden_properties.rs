//! Garden: what clients write on their containers.

use std::collections::BTreeMap;

use tests::garden::ContainerSpec;
use tests::harness::Node;

type Story = anyhow::Result<()>;

#[test]
fn properties_are_set_read_and_removed() -> Story {
    let node = Node::fence_only();
    let properties = BTreeMap::from([("owner".to_owned(), "ann".to_owned())]);
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        properties,
        ..ContainerSpec::default()
    })?;
    let garden = &web.garden;
    assert_eq!(garden.property("web", "owner")?, "ann");
    garden.set_property("web", "owner", "bob")?;
    garden.set_property("web", "note", "first line\nsecond \"line\" ☂")?;
    assert_eq!(garden.property("web", "owner")?, "bob");
    assert_eq!(garden.property("web", "note")?, "first line\nsecond \"line\" ☂");
    assert_eq!(garden.list(&[("owner", "bob")])?, ["web"]);
    garden.remove_property("web", "owner")?;
    garden.remove_property("web", "owner")?;
    let all = garden.properties("web")?;
    assert!(!all.contains_key("owner") && all.contains_key("note"), "{all:?}");
    Ok(())
}

#[test]
fn a_missing_property_is_an_untyped_error_in_gardens_words() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let error = web.garden.property("web", "colour").unwrap_err();
    assert_eq!(error.to_string(), "property does not exist: colour");
    assert_eq!((error.status(), error.kind()), (Some(500), Some("")));
    Ok(())
}

#[test]
fn properties_of_a_container_that_is_not_there_are_a_typed_error() {
    let garden_of = Node::fence_only();
    let garden = garden_of.garden();
    for error in [
        garden.properties("nobody").unwrap_err(),
        garden.property("nobody", "a").unwrap_err(),
        garden.set_property("nobody", "a", "b").unwrap_err(),
        garden.remove_property("nobody", "a").unwrap_err(),
    ] {
        assert_eq!(error.kind(), Some("ContainerNotFoundError"), "{error}");
    }
}
