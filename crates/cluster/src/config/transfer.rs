//! The tree as a document that another cluster can take in: all layers, with secrets or without.
//!
//! A document is checked as a whole, value for value by today's schema, before anything is changed, and taken in by one
//! transaction; or, where it was asked for, part by part. It replaces the tree; only secrets that it leaves out stay as
//! they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::commit::OfLayer;
use super::edit::{self, Edit, MAX_KEYS};
use super::history::Author;
use super::key::{self, Component, KeyPath, Name};
use super::layers::Layers;
use super::past::{Difference, differences};
use super::target::{Scope, Target};
use super::tree::Tree;
use super::{Config, Error, Result, Secrets, commit};
use crate::store::{Outcome, Revision};

/// The most keys of one document, in all its layers.
pub const MAX_DOCUMENT_KEYS: usize = 4 * MAX_KEYS;
/// How deep lists and maps of one value may be nested.
const MAX_NESTING: usize = 32;

/// All layers of a tree, nested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeDocument {
    /// Of the configuration when it was written.
    pub revision: Revision,
    /// Whether secrets are among the values.
    pub secrets: Included,
    /// The values for all nodes, by component.
    pub cluster: Map<String, Value>,
    /// Those of realms.
    #[serde(default)]
    pub realms: BTreeMap<Name, Map<String, Value>>,
    /// Those of nodes.
    #[serde(default)]
    pub nodes: BTreeMap<Name, Map<String, Value>>,
}

/// Whether something is in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Included {
    /// All of it is.
    Included,
    /// None of it is.
    LeftOut,
}

/// What was written down of a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// All layers.
    pub document: TreeDocument,
    /// How many secrets are left out.
    pub secrets: usize,
    /// The secrets, and nothing else; see [`TreeDocument::with_secrets`].
    pub secret: TreeDocument,
    /// What the store holds that cannot be read, and is left out.
    pub unreadable: Vec<String>,
}

/// What taking a document in did, or would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Of the configuration afterwards.
    pub revision: Revision,
    /// What is changed; nothing where all is as in the document.
    pub differences: Vec<Difference>,
    /// Keys, or whole components, that the schema does not know, and the nearest that it does.
    pub unknown: Vec<(KeyPath, Option<KeyPath>)>,
}

type Unknown = Vec<(KeyPath, Option<KeyPath>)>;

impl TreeDocument {
    /// How many keys there are in all layers.
    pub fn keys(&self) -> Result<usize> {
        Ok(self.trees()?.values().map(Tree::len).sum())
    }

    /// The same with secrets that were exported apart from it.
    pub fn with_secrets(&self, secret: &TreeDocument) -> Result<TreeDocument> {
        let mut trees = self.trees()?;
        for (scope, tree) in secret.trees()? {
            trees.entry(scope).or_default().overlay(&tree);
        }
        Ok(TreeDocument::of(self.revision, Included::Included, trees))
    }

    /// What of the layers passes, by its address.
    fn new(layers: &Layers, secrets: Included, passes: impl Fn(&KeyPath) -> bool) -> Self {
        let trees = layers.scopes().map(|scope| {
            let own = layers.own(scope);
            let kept = own.iter().filter(|(path, _)| passes(path));
            (
                scope.clone(),
                kept.map(|(path, value)| (path.clone(), value.clone())).collect(),
            )
        });
        TreeDocument::of(layers.revision, secrets, trees.collect())
    }

    fn of(revision: Revision, secrets: Included, trees: BTreeMap<Scope, Tree>) -> Self {
        let mut document = TreeDocument {
            revision,
            secrets,
            cluster: Map::new(),
            realms: BTreeMap::new(),
            nodes: BTreeMap::new(),
        };
        for (scope, tree) in trees {
            let Some(Value::Object(nested)) = tree.nest(&KeyPath::root()) else {
                continue;
            };
            match scope {
                Scope::Cluster => document.cluster = nested,
                Scope::Realm(realm) => drop(document.realms.insert(realm, nested)),
                Scope::Node(node) => drop(document.nodes.insert(node, nested)),
            }
        }
        document
    }

    /// The layers, as far as can be checked without a schema.
    fn trees(&self) -> Result<BTreeMap<Scope, Tree>> {
        let mut trees = BTreeMap::new();
        let mut keys = 0;
        for (scope, components) in self.layers() {
            for name in components.keys() {
                check_component(name)?;
            }
            let root = whole(&scope);
            let value = Value::Object(components.clone());
            let tree = Tree::flatten(&root.address, &value).map_err(|source| Error::Value {
                target: root.clone(),
                source,
            })?;
            for (path, value) in tree.iter() {
                check_nesting(value, MAX_NESTING).ok_or_else(|| Error::Refused {
                    target: root.at(path),
                    reason: "it is nested too deeply".to_owned(),
                    accepts: format!("lists and maps of at most {MAX_NESTING} levels"),
                })?;
            }
            keys += tree.len();
            if keys > MAX_DOCUMENT_KEYS {
                return Err(Error::TooMuch {
                    limit: MAX_DOCUMENT_KEYS,
                    what: "keys in one document",
                });
            }
            trees.insert(scope, tree);
        }
        Ok(trees)
    }

    fn layers(&self) -> impl Iterator<Item = (Scope, &Map<String, Value>)> {
        let realms = self
            .realms
            .iter()
            .map(|(realm, map)| (Scope::Realm(realm.clone()), map));
        let nodes = self.nodes.iter().map(|(node, map)| (Scope::Node(node.clone()), map));
        [(Scope::Cluster, &self.cluster)].into_iter().chain(realms).chain(nodes)
    }
}

impl Config {
    /// All layers as a document, without secrets unless they are to be revealed.
    pub async fn export(&self, secrets: Secrets) -> Result<Exported> {
        let layers = self.layers().await?;
        let is_secret = |path: &KeyPath| self.schema.is_secret(path);
        let secret = TreeDocument::new(&layers, Included::Included, is_secret);
        let document = match secrets {
            Secrets::Redacted => TreeDocument::new(&layers, Included::LeftOut, |path| !is_secret(path)),
            Secrets::Revealed => TreeDocument::new(&layers, Included::Included, |_| true),
        };
        Ok(Exported {
            secrets: match secrets {
                Secrets::Redacted => secret.keys()?,
                Secrets::Revealed => 0,
            },
            document,
            secret,
            unreadable: layers.unreadable.into_iter().map(|(key, _)| key).collect(),
        })
    }

    /// Make the tree what the document says. Without `overwrite` nothing that is set is changed or taken away.
    pub async fn import(&self, document: &TreeDocument, overwrite: bool, author: &Author) -> Result<Imported> {
        self.take_in(document, overwrite, author, |changes| changes).await
    }

    /// The same for as much of it as one transaction holds. Called again and again it comes to the end, where nothing
    /// differs any more.
    pub async fn import_part(&self, document: &TreeDocument, overwrite: bool, author: &Author) -> Result<Imported> {
        let first = |changes| commit::first_part(changes, self.schema);
        self.take_in(document, overwrite, author, first).await
    }

    async fn take_in(
        &self,
        document: &TreeDocument,
        overwrite: bool,
        author: &Author,
        part: impl Fn(Vec<OfLayer>) -> Vec<OfLayer>,
    ) -> Result<Imported> {
        for tried in 0..commit::TRIES {
            let layers = self.layers().await?;
            let (changes, unknown) = self.wanted(&layers, document)?;
            if changes.is_empty() {
                return Ok(self.imported(layers.revision, &changes, unknown));
            }
            let all = changes.iter().flat_map(|(_, changes)| changes);
            let lost = all.filter(|change| change.old.is_some()).count();
            if lost > 0 && !overwrite {
                return Err(Error::Overwrites { count: lost });
            }
            let changes = part(changes);
            if let Outcome::Done(revision) = self.commit(&layers, &changes, author).await? {
                return Ok(self.imported(revision, &changes, unknown));
            }
            commit::pause(tried).await;
        }
        Err(Error::Contended { tries: commit::TRIES })
    }

    /// What [`Config::import`] would do, overwriting; nothing is changed.
    pub async fn would_import(&self, document: &TreeDocument) -> Result<Imported> {
        let (would, changes) = self.compare(document).await?;
        commit::check_count(&changes)?;
        Ok(would)
    }

    /// What [`Config::import_part`] would do in all its parts.
    pub async fn would_import_in_parts(&self, document: &TreeDocument) -> Result<Imported> {
        Ok(self.compare(document).await?.0)
    }

    async fn compare(&self, document: &TreeDocument) -> Result<(Imported, Vec<OfLayer>)> {
        let layers = self.layers().await?;
        let (changes, unknown) = self.wanted(&layers, document)?;
        Ok((self.imported(layers.revision, &changes, unknown), changes))
    }

    fn imported(&self, revision: Revision, changes: &[OfLayer], unknown: Unknown) -> Imported {
        Imported {
            revision,
            differences: differences(changes, self.schema),
            unknown,
        }
    }

    /// The changes that make the layers what the document says, checked.
    fn wanted(&self, layers: &Layers, document: &TreeDocument) -> Result<(Vec<OfLayer>, Unknown)> {
        let trees = document.trees()?;
        let scopes: BTreeSet<&Scope> = layers.scopes().chain(trees.keys()).collect();
        let (mut after, mut changes, mut unknown) = (layers.clone(), Vec::new(), Vec::new());
        for scope in scopes {
            let given = trees.get(scope).and_then(|tree| tree.nest(&KeyPath::root()));
            let given = Edit::Set(given.unwrap_or_else(|| Value::Object(Map::new())));
            let edited = edit::apply(&after, self.schema, &whole(scope), given, true)?;
            let (own, mut tree) = (layers.own(scope), edited.tree);
            if document.secrets == Included::LeftOut {
                self.keep_secrets(scope, &own, &mut tree)?;
            }
            for news in edited.unknown {
                if !unknown.contains(&news) {
                    unknown.push(news);
                }
            }
            let of_layer = own.diff(&tree);
            if !of_layer.is_empty() {
                changes.push((scope.clone(), of_layer));
            }
            after = after.with(scope, tree);
        }
        Ok((changes, unknown))
    }

    /// Secrets that are not in a document that leaves them out.
    fn keep_secrets(&self, scope: &Scope, own: &Tree, tree: &mut Tree) -> Result<()> {
        for (path, secret) in own.iter().filter(|(path, _)| self.schema.is_secret(path)) {
            let in_its_place = tree.within(path).next().map(|(path, _)| path);
            if let Some(other) = in_its_place
                .filter(|other| *other != path)
                .or(tree.leaf_above(path).map(|(p, _)| p))
            {
                return Err(Error::InTheWay {
                    target: whole(scope).at(other),
                    present: path.clone(),
                });
            }
            if tree.leaf(path).is_none() {
                tree.put(path.clone(), secret.clone());
            }
        }
        Ok(())
    }
}

/// All of a layer.
fn whole(scope: &Scope) -> Target {
    Target {
        scope: scope.clone(),
        address: KeyPath::root(),
        own: false,
    }
}

fn check_component(name: &str) -> std::result::Result<(), key::Error> {
    Component::new(name).map(|_| ())
}

/// Nothing where lists and maps go deeper than so many levels.
fn check_nesting(value: &Value, levels: usize) -> Option<()> {
    let below: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => return Some(()),
    };
    let levels = levels.checked_sub(1)?;
    below.into_iter().try_for_each(|value| check_nesting(value, levels))
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
