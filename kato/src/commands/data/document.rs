//! The document of `kato data`: a head, the config tree, secrets under a passphrase, and what the node had at the time. Written and read as YAML.
//!
//! The inventory is a description for people: nothing is ever made from it, so it is not looked into when it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::config::{Name, TreeDocument};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::sealed::Sealed;
use crate::error::{Error, Result};
use crate::fence_api::wire::{Container, ContainerLimits, PortMapping};

/// The largest document in bytes.
pub const MAX_SIZE: u64 = 16 * 1024 * 1024;
/// What such a document calls itself.
const FORMAT: &str = "kato-data";
/// The newest version of the format that this program knows.
const VERSION: u64 = 1;

/// The whole document.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    format: String,
    version: u64,
    /// When it was written.
    pub exported_at: Timestamp,
    /// The version of the kato that wrote it.
    pub kato: String,
    /// The node on which it was written.
    pub node: Name,
    /// The names of the realms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub realms: Vec<Name>,
    /// The configuration.
    pub tree: TreeDocument,
    /// Its secrets, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// What the node had, where fence could tell.
    pub inventory: Option<Value>,
}

/// What a node had.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// Its containers.
    pub containers: Vec<Described>,
}

/// A container, without what can be secret, such as its environment.
#[derive(Debug, Serialize)]
pub struct Described {
    handle: String,
    image: String,
    image_id: String,
    state: String,
    created: Option<Timestamp>,
    ports: Vec<PortMapping>,
    limits: ContainerLimits,
    grace_time_s: f64,
    properties: BTreeMap<String, String>,
}

impl Document {
    /// The document of this moment.
    pub fn new(node: Name, tree: TreeDocument, inventory: Option<Inventory>) -> Result<Self> {
        let inventory = inventory.map(serde_json::to_value).transpose();
        Ok(Document {
            format: FORMAT.to_owned(),
            version: VERSION,
            exported_at: Timestamp::now(),
            kato: env!("CARGO_PKG_VERSION").to_owned(),
            node,
            realms: Vec::new(),
            tree,
            sealed: None,
            inventory: inventory.map_err(|error| unprintable().because(error))?,
        })
    }

    /// The document as text, which was read again to be sure that it can be.
    pub fn write(&self) -> Result<String> {
        let text = yaml_serde::to_string(self).map_err(|error| unprintable().because(error))?;
        if text.len() as u64 > MAX_SIZE {
            return Err(Error::refused(format!(
                "the document would be larger than {MAX_SIZE} bytes"
            )));
        }
        let read = Document::read(&text).map_err(|error| unprintable().because(error))?;
        read.tree.keys().map_err(|error| unprintable().because(error))?;
        if read != *self {
            return Err(unprintable());
        }
        Ok(text)
    }

    /// Read a document.
    pub fn read(text: &str) -> Result<Self> {
        let refused = || Error::refused("this is no document of kato data export");
        // By way of YAML's own values: they refuse a key that is there twice.
        let yaml: yaml_serde::Value = yaml_serde::from_str(text).map_err(|error| refused().because(error))?;
        let value = serde_json::to_value(yaml).map_err(|error| refused().because(error))?;
        match (value["format"].as_str(), value["version"].as_u64()) {
            (Some(FORMAT), Some(VERSION)) => {}
            (Some(FORMAT), Some(version)) if version > VERSION => {
                let message =
                    format!("the document has version {version}, and this kato knows versions up to {VERSION}");
                return Err(Error::refused(message).hint("update this node"));
            }
            (Some(FORMAT), _) => return Err(Error::refused("the document has no version that is known")),
            _ => return Err(refused()),
        }
        serde_json::from_value(value).map_err(|error| refused().because(error))
    }

    /// Read a document of unknown origin: YAML can be such that reading it takes for ever.
    pub async fn read_within(text: String, bound: Duration) -> Result<Self> {
        let (answer, answered) = oneshot::channel();
        // A thread that nobody waits for: the program can end while it still reads.
        std::thread::spawn(move || {
            // Nobody may be waiting any more.
            let _ = answer.send(Document::read(&text));
        });
        match tokio::time::timeout(bound, answered).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(Error::failed("the document could not be read")),
            Err(_) => {
                let message = format!("the document is not read within {} s", bound.as_secs());
                Err(Error::refused(message))
            }
        }
    }

    /// How many containers it describes.
    pub fn containers(&self) -> usize {
        let containers = self.inventory.as_ref().map(|inventory| &inventory["containers"]);
        containers.and_then(Value::as_array).map_or(0, Vec::len)
    }
}

impl From<Container> for Described {
    fn from(container: Container) -> Self {
        Described {
            handle: container.handle,
            image: container.image,
            image_id: container.image_id,
            state: container.state,
            created: container.created,
            ports: container.ports,
            limits: container.limits,
            grace_time_s: container.grace_time_s,
            properties: container.properties,
        }
    }
}

/// Something is in the tree that the format cannot carry.
fn unprintable() -> Error {
    Error::failed("the configuration cannot be written as a document that can be read again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "\
format: kato-data
version: 1
exported_at: 2026-11-21T15:36:41Z
kato: 0.1.0
node: one
tree:
  revision: 4
  secrets: left-out
  cluster:
    fence:
      max_containers: 7
inventory: null
";

    fn refused(text: &str) -> String {
        Document::read(text).expect_err("refused").report()
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let document = Document::read(EMPTY).unwrap();
        assert_eq!((document.tree.revision, document.containers()), (4, 0));
        assert_eq!(Document::read(&document.write().unwrap()).unwrap(), document);
    }

    #[test]
    fn a_container_is_described_without_its_environment() {
        let container = Container {
            handle: "web".into(),
            env: vec!["SECRET=hunter2".into()],
            properties: [("app".into(), "web".into())].into(),
            ..Container::default()
        };
        let inventory = Inventory {
            containers: vec![container.into()],
        };
        let tree = Document::read(EMPTY).unwrap().tree;
        let document = Document::new(Name::new("one").unwrap(), tree, Some(inventory)).unwrap();
        let text = document.write().unwrap();
        assert!(text.contains("handle: web") && !text.contains("hunter2"), "{text}");
        assert_eq!(Document::read(&text).unwrap().containers(), 1);
    }

    #[test]
    fn what_is_no_document_is_told_apart() {
        let no_document = "kato: this is no document of kato data export";
        for text in ["", "a", "[]", "format: other\nversion: 1\n", "{", "a: 1\n---\nb: 2\n"] {
            assert!(refused(text).starts_with(no_document), "{text:?}: {}", refused(text));
        }
        let newer = EMPTY.replace("version: 1", "version: 2").replace("kato:", "katze:");
        assert!(refused(&newer).contains("has version 2, and this kato knows versions up to 1"));
        assert!(refused(&EMPTY.replace("version: 1", "version: x")).contains("no version that is known"));
        for (from, to, expected) in [
            ("inventory: null", "inventory: null\nmore: 1", "unknown field `more`"),
            ("inventory: null", "node: two", "duplicate"),
            ("revision: 4", "revision: -4", "invalid value"),
            ("node: one", "node: a/b", "cannot be a name"),
        ] {
            let text = EMPTY.replace(from, to);
            assert!(refused(&text).contains(expected), "{}", refused(&text));
        }
    }

    #[test]
    fn neither_depth_nor_repetition_costs_more_than_a_message() {
        let nested = |levels: usize| format!("{EMPTY}x: {}{}", "[".repeat(levels), "]".repeat(levels));
        let deep = nested(2_000);
        assert!(refused(&deep).contains("recursion limit"), "{}", refused(&deep));
        let mut bomb = format!("{EMPTY}a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            bomb.push_str(&format!("a{n}: &a{n} [{}]\n", [before.as_str(); 9].join(", ")));
        }
        assert!(refused(&bomb).contains("repetition limit"), "{}", refused(&bomb));
    }

    #[tokio::test]
    async fn reading_ends_in_time_whatever_is_read() {
        let slow = format!("{EMPTY}x: {}", "[".repeat(1_000_000));
        let refused = Document::read_within(slow, Duration::from_millis(50)).await;
        assert!(refused.is_err_and(|error| error.report().contains("is not read within")));
        let read = Document::read_within(EMPTY.to_owned(), Duration::from_secs(30)).await;
        assert_eq!(read.unwrap().tree.revision, 4);
    }
}
