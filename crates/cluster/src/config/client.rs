//! The tree as programs use it: effective values, and changes that are checked and recorded in one transaction.
//!
//! How a change is written is in `commit`, how one is undone in `past`. The state is the store's; a [`Config`] holds
//! none.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::edit::{self, Edit, Edited};
use super::history::{self, Author, History, Query};
use super::key::{KeyPath, Name};
use super::layers::{self, Layers};
use super::live::Live;
use super::schema::{REDACTED, Schema};
use super::target::{Scope, Target};
use super::tree::Tree;
use super::{Error, Result, commit};
use crate::store::{Outcome, Page, Revision, Store};

/// The tree in a store, seen from one node.
#[derive(Clone)]
pub struct Config {
    pub(super) store: Arc<dyn Store>,
    node: Name,
    pub(super) schema: &'static Schema,
    /// Whether secret values may be read from the store.
    with_secrets: bool,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// What is effective at the target now for those it was changed for, secrets redacted.
    pub value: Option<Value>,
    /// Of the configuration afterwards.
    pub revision: Revision,
    /// Keys, or whole components, that the schema does not know, and the nearest that it does.
    pub unknown: Vec<(KeyPath, Option<KeyPath>)>,
    /// On this node another value, its own or its realm's, goes before the changed one.
    pub hidden_here: bool,
}

/// Whether secret values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// `[redacted]` in their place.
    Redacted,
    /// As they are.
    Revealed,
}

impl Config {
    /// The tree in `store`, as the node `node` sees it.
    pub fn new(store: Arc<dyn Store>, node: Name) -> Self {
        Config {
            store,
            node,
            schema: Schema::standard(),
            with_secrets: true,
        }
    }

    /// As [`Config::new`], with no more than a node may read: secret values are not asked for, and are as if they were not
    /// set.
    pub fn for_node(store: Arc<dyn Store>, node: Name) -> Self {
        Config {
            with_secrets: false,
            ..Config::new(store, node)
        }
    }

    /// The node from which the tree is seen.
    pub fn node(&self) -> &Name {
        &self.node
    }

    /// What is known of keys.
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// All layers, with secrets where they may be read. Their revision is that of what is not secret, which is read first: a change
    /// that comes while secrets are read makes one that rests on these layers come too late.
    pub async fn layers(&self) -> Result<Layers> {
        let places: &[&str] = match self.with_secrets {
            true => &[layers::CONFIG, layers::SECRET],
            false => &[layers::CONFIG],
        };
        let mut entries = Vec::new();
        for prefix in places {
            let range = self.store.range(prefix, Page::ALL).await;
            entries.extend(
                range
                    .map_err(|source| Error::Store {
                        attempt: "read",
                        source,
                    })?
                    .entries,
            );
        }
        Layers::read(
            entries
                .iter()
                .map(|entry| (entry.key.as_str(), entry.value.as_slice(), entry.revision)),
        )
    }

    /// What is effective at `target` for this node, or for the realm or node that `target` names; its layer's own
    /// values alone if it asks for those. Secrets are redacted.
    pub async fn get(&self, target: &Target) -> Result<Option<Value>> {
        self.get_with(target, Secrets::Redacted).await
    }

    /// As [`Config::get`]; with [`Secrets::Revealed`] secrets are shown.
    pub async fn get_with(&self, target: &Target, secrets: Secrets) -> Result<Option<Value>> {
        Ok(self
            .tree(target, secrets)
            .await?
            .nest(&self.schema.canonical(&target.address)))
    }

    /// The layers to look at. Who may not read secrets sees the rest; to see secrets it takes the right to.
    async fn layers_to_show(&self, secrets: Secrets) -> Result<Layers> {
        match self.layers().await {
            Err(Error::Store {
                source: crate::store::Error::NotGranted { .. },
                ..
            }) if self.with_secrets && secrets == Secrets::Redacted => {
                Config::for_node(Arc::clone(&self.store), self.node.clone())
                    .layers()
                    .await
            }
            layers => layers,
        }
    }

    /// The tree in which [`Config::get`] looks.
    pub async fn tree(&self, target: &Target, secrets: Secrets) -> Result<Tree> {
        let layers = self.layers_to_show(secrets).await?;
        let tree = match (&target.scope, target.own) {
            (scope, true) => layers.own(scope),
            (Scope::Cluster, false) => layers.effective(self.schema, &Scope::Node(self.node.clone())),
            (scope, false) => layers.effective(self.schema, scope),
        };
        Ok(self.shown(tree, secrets))
    }

    /// What is effective for this node, defaults included; secrets are redacted.
    pub async fn effective(&self) -> Result<Tree> {
        let here = Scope::Node(self.node.clone());
        Ok(self.shown(
            self.layers_to_show(Secrets::Redacted)
                .await?
                .effective(self.schema, &here),
            Secrets::Redacted,
        ))
    }

    /// Nothing is at `target`: the error that says so, with the nearest name.
    pub async fn not_found(&self, target: &Target) -> Error {
        match self.tree(target, Secrets::Redacted).await {
            Ok(tree) => edit::not_found(self.schema, &tree, target),
            Err(error) => error,
        }
    }

    /// Put a value in place of what is at `target`, all leaves below included. `force` lets a key change its type.
    pub async fn set(&self, target: &Target, value: Value, force: bool, author: &Author) -> Result<Changed> {
        self.change(target, Edit::Set(value), force, author).await
    }

    /// The same with several values of one layer, in one change: all of them are there afterwards, or none.
    pub async fn set_all(&self, values: &[(Target, Value)], author: &Author) -> Result<()> {
        let Some((Target { scope, .. }, _)) = values.first() else {
            return Ok(());
        };
        for tried in 0..commit::TRIES {
            let layers = self.layers().await?;
            let mut after = layers.clone();
            for (target, value) in values {
                let edited = edit::apply(&after, self.schema, target, Edit::Set(value.clone()), false)?;
                after = after.with(scope, edited.tree);
            }
            let changes = layers.own(scope).diff(&after.own(scope));
            if changes.is_empty() {
                return Ok(());
            }
            if let Outcome::Done(_) = self.commit(&layers, &[(scope.clone(), changes)], author).await? {
                return Ok(());
            }
            commit::pause(tried).await;
        }
        Err(Error::Contended { tries: commit::TRIES })
    }

    /// Put a value in place of what is at `target`, if the layer itself has `present` there until then. `None` where it has not:
    /// nothing was changed, and it is to be looked at again.
    pub async fn replace(
        &self,
        target: &Target,
        present: Option<&Value>,
        value: Value,
        author: &Author,
    ) -> Result<Option<Changed>> {
        let layers = self.layers().await?;
        let own = layers.own(&target.scope);
        if own.nest(&self.schema.canonical(&target.address)).as_ref() != present {
            return Ok(None);
        }
        let edited = edit::apply(&layers, self.schema, target, Edit::Set(value), false)?;
        let changes = own.diff(&edited.tree);
        if changes.is_empty() {
            return Ok(Some(self.changed(target, &layers, edited, layers.revision)));
        }
        let changes = [(target.scope.clone(), changes)];
        Ok(match self.commit(&layers, &changes, author).await? {
            Outcome::Done(revision) => Some(self.changed(target, &layers, edited, revision)),
            Outcome::Stale => None,
        })
    }

    /// Take what is at `target` and below it away.
    pub async fn del(&self, target: &Target, author: &Author) -> Result<Changed> {
        self.change(target, Edit::Del, false, author).await
    }

    /// Add a value to the end of the list at `target`.
    pub async fn push(&self, target: &Target, value: Value, author: &Author) -> Result<Changed> {
        self.change(target, Edit::Push(value), false, author).await
    }

    /// Take the first of these values that is in the list at `target` out of it.
    pub async fn pop(&self, target: &Target, values: Vec<Value>, author: &Author) -> Result<Changed> {
        self.change(target, Edit::Pop(values), false, author).await
    }

    /// The changes that are asked for, newest first.
    pub async fn history(&self, query: &Query) -> Result<History> {
        history::find(self.store.as_ref(), query, self.schema).await
    }

    /// This node's settings from now on, kept in the file `cache` for the time when the store is gone.
    pub async fn watch(&self, cache: &Path) -> Result<Live> {
        Live::start(self.store.clone(), self.node.clone(), self.schema, cache.to_owned()).await
    }

    async fn change(&self, target: &Target, edit: Edit, force: bool, author: &Author) -> Result<Changed> {
        for tried in 0..commit::TRIES {
            let layers = self.layers().await?;
            let edited = edit::apply(&layers, self.schema, target, edit.clone(), force)?;
            let changes = layers.own(&target.scope).diff(&edited.tree);
            if changes.is_empty() {
                return Ok(self.changed(target, &layers, edited, layers.revision));
            }
            let changes = [(target.scope.clone(), changes)];
            if let Outcome::Done(revision) = self.commit(&layers, &changes, author).await? {
                return Ok(self.changed(target, &layers, edited, revision));
            }
            commit::pause(tried).await;
        }
        Err(Error::Contended { tries: commit::TRIES })
    }

    fn changed(&self, target: &Target, before: &Layers, edited: Edited, revision: Revision) -> Changed {
        let at = self.schema.canonical(&target.address);
        let after = before.with(&target.scope, edited.tree);
        let set = after.effective(self.schema, &target.scope);
        let here = after.effective(self.schema, &Scope::Node(self.node.clone()));
        let concerns_here = match &target.scope {
            Scope::Cluster => true,
            Scope::Realm(realm) => after.realm_of(&self.node) == Some(realm),
            Scope::Node(_) => false,
        };
        let hidden_here = concerns_here && here.nest(&at) != set.nest(&at);
        let shown = if target.own { after.own(&target.scope) } else { set };
        Changed {
            value: self.shown(shown, Secrets::Redacted).nest(&at),
            revision,
            unknown: edited.unknown,
            hidden_here,
        }
    }

    fn shown(&self, tree: Tree, secrets: Secrets) -> Tree {
        let redact = |(path, value): (&KeyPath, &Value)| {
            let redacted = secrets == Secrets::Redacted && self.schema.is_secret(path);
            (
                path.clone(),
                if redacted { Value::from(REDACTED) } else { value.clone() },
            )
        };
        tree.iter().map(redact).collect()
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
