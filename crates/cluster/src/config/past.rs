//! What the tree was, and back to it: both follow from the present tree and the records of all changes since.
//!
//! Secret values are never in the records. That one was changed is known, what it was is not; so it counts as
//! different, and going back leaves it as it is. The same holds for values that were secret when they were changed.
//!
//! A state is known from the oldest remembered change on; before it only where nothing is forgotten yet.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value;

use super::commit::OfLayer;
use super::history::{self, Author, Record, Unreadable};
use super::key::KeyPath;
use super::layers::Layers;
use super::schema::{REDACTED, Schema};
use super::target::{Part, Scope, Target};
use super::tree::{Change, Tree};
use super::{Config, Error, Result, commit, edit};
use crate::store::{Outcome, Revision};

/// A leaf that is not the same in two states of the tree. Secret values are redacted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// In this layer.
    pub scope: Scope,
    /// Where, with both values.
    #[serde(flatten)]
    pub change: Change,
}

/// Two states of the tree compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The state that is old.
    pub from: Revision,
    /// The state that is new.
    pub to: Revision,
    /// What differs, by layer and key.
    pub differences: Vec<Difference>,
    /// Changes in between that cannot be read, newest first: what they changed is not told above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// What going back did.
#[derive(Clone, Debug, PartialEq)]
pub struct RolledBack {
    /// Of the configuration afterwards.
    pub revision: Revision,
    /// What was changed; nothing where all was as it had been.
    pub differences: Vec<Difference>,
    /// Secrets that were changed since, and stay as they are.
    pub secrets: Vec<Target>,
}

/// What happened to each leaf between two states.
#[derive(Debug, Default)]
struct Span {
    leaves: BTreeMap<(Scope, KeyPath), Between>,
    /// The records of which nothing else is known.
    unreadable: Vec<(Unreadable, Error)>,
}

/// A leaf at the beginning and at the end.
#[derive(Debug)]
struct Between {
    old: Option<Value>,
    new: Option<Value>,
    is_hidden: bool,
}

impl Config {
    /// What differs between the states at two revisions; without `to` it is the present one.
    pub async fn diff(&self, from: Revision, to: Option<Revision>) -> Result<Diff> {
        let layers = self.layers().await?;
        let to = to.unwrap_or(layers.revision);
        let mut span = self.span(&layers, from.min(to), from.max(to)).await?;
        let unreadable = span.unreadable.drain(..).map(|(unreadable, _)| unreadable).collect();
        let mut differences: Vec<Difference> = span.differences().collect();
        if from > to {
            for difference in &mut differences {
                let change = &mut difference.change;
                std::mem::swap(&mut change.old, &mut change.new);
            }
        }
        Ok(Diff {
            from,
            to,
            differences,
            unreadable,
        })
    }

    /// Make this part of the tree what it was at revision `to`.
    pub async fn rollback(&self, to: Revision, part: &Part, author: &Author) -> Result<RolledBack> {
        for tried in 0..commit::TRIES {
            let (layers, back) = self.plan(to, part).await?;
            let changes = back.changes;
            if changes.is_empty() {
                return Ok(self.rolled_back(layers.revision, &changes, back.secrets));
            }
            if let Outcome::Done(revision) = self.commit(&layers, &changes, author).await? {
                return Ok(self.rolled_back(revision, &changes, back.secrets));
            }
            commit::pause(tried).await;
        }
        Err(Error::Contended { tries: commit::TRIES })
    }

    /// What [`Config::rollback`] would do; nothing is changed.
    pub async fn would_roll_back(&self, to: Revision, part: &Part) -> Result<RolledBack> {
        let (layers, back) = self.plan(to, part).await?;
        Ok(self.rolled_back(layers.revision, &back.changes, back.secrets))
    }

    fn rolled_back(&self, revision: Revision, changes: &[OfLayer], secrets: Vec<Target>) -> RolledBack {
        RolledBack {
            revision,
            differences: differences(changes, self.schema),
            secrets,
        }
    }

    /// The changes that lead back, checked.
    async fn plan(&self, to: Revision, part: &Part) -> Result<(Layers, Back)> {
        let layers = self.layers().await?;
        let part = Part {
            address: self.schema.canonical(&part.address),
            ..part.clone()
        };
        let mut span = self.span(&layers, to, layers.revision).await?;
        if !span.unreadable.is_empty() {
            // What is to be undone is not known.
            return Err(span.unreadable.swap_remove(0).1);
        }
        span.leaves.retain(|(scope, path), _| part.holds(scope, path));
        let back = Back::new(&layers, &span)?;
        commit::check_count(&back.changes)?;
        let mut after = layers.clone();
        for (scope, changes) in &back.changes {
            let tree = patched(&layers.own(scope), changes);
            edit::check(&after, self.schema, scope, &tree, changes)?;
            after = after.with(scope, tree);
        }
        Ok((layers, back))
    }

    /// All that happened after `from` and not after `to`.
    async fn span(&self, layers: &Layers, from: Revision, to: Revision) -> Result<Span> {
        let last = from.max(to);
        if last > layers.revision {
            return Err(Error::NoRevision {
                revision: last,
                latest: layers.revision,
            });
        }
        let mut span = Span::default();
        let (mut is_known, mut oldest) = (layers.last_change == 0, layers.revision);
        history::walk(self.store.as_ref(), Some(layers.last_change), self.schema, |record| {
            let record = match record {
                Ok(record) => record,
                Err(unreadable) => {
                    // It was made at this revision or before.
                    if unreadable.0.revision <= from {
                        is_known = true;
                        return ControlFlow::Break(());
                    }
                    is_known = unreadable.0.number == 1;
                    span.unreadable.push(unreadable);
                    return ControlFlow::Continue(());
                }
            };
            oldest = record.revision;
            is_known = record.revision <= from || record.number == 1;
            if record.revision <= from {
                return ControlFlow::Break(());
            }
            if record.revision <= to {
                span.add(record, self.schema);
            } else {
                // Those that came before this one, going back, were later still.
                span.unreadable.clear();
            }
            ControlFlow::Continue(())
        })
        .await?;
        if !is_known && from < layers.revision {
            return Err(Error::Forgotten { revision: from, oldest });
        }
        Ok(span)
    }
}

impl Span {
    /// Take a record in that is older than those before.
    fn add(&mut self, record: Record, schema: &Schema) {
        for change in record.changes {
            let is_redacted = |value: &Option<Value>| value.as_ref().is_some_and(|value| value == REDACTED);
            let is_hidden = schema.is_secret(&change.path) || is_redacted(&change.old) || is_redacted(&change.new);
            let between = self
                .leaves
                .entry((record.scope.clone(), change.path))
                .or_insert_with(|| Between {
                    old: None,
                    new: change.new,
                    is_hidden: false,
                });
            between.old = change.old;
            between.is_hidden |= is_hidden;
        }
    }

    fn differences(self) -> impl Iterator<Item = Difference> {
        self.leaves.into_iter().filter_map(|((scope, path), between)| {
            between.is_different().then(|| {
                let shown = |value: Option<Value>| match value {
                    Some(_) if between.is_hidden => Some(Value::from(REDACTED)),
                    other => other,
                };
                let change = Change {
                    path,
                    old: shown(between.old),
                    new: shown(between.new),
                };
                Difference { scope, change }
            })
        })
    }
}

impl Between {
    /// What cannot be seen counts as different, unless there was nothing before and is nothing now.
    fn is_different(&self) -> bool {
        if self.is_hidden {
            self.old.is_some() || self.new.is_some()
        } else {
            self.old != self.new
        }
    }
}

/// The way back.
struct Back {
    /// By layer; none is empty.
    changes: Vec<OfLayer>,
    /// What stays as it is.
    secrets: Vec<Target>,
}

impl Back {
    fn new(layers: &Layers, span: &Span) -> Result<Self> {
        let mut wanted: BTreeMap<&Scope, Vec<(&KeyPath, &Between)>> = BTreeMap::new();
        let mut secrets = Vec::new();
        for ((scope, path), between) in &span.leaves {
            if !between.is_hidden {
                wanted.entry(scope).or_default().push((path, between));
            } else if between.is_different() {
                secrets.push(target(scope, path));
            }
        }
        let mut changes = Vec::new();
        for (scope, wanted) in wanted {
            let (before, mut after) = (layers.own(scope), layers.own(scope));
            for (path, _) in &wanted {
                after.remove_leaf(path);
            }
            for (path, between) in &wanted {
                if let Some(old) = &between.old {
                    after.put((*path).clone(), old.clone());
                }
            }
            let of_layer = before.diff(&after);
            let covered = |change: &&Change| !wanted.iter().any(|(path, _)| **path == change.path);
            if let Some(lost) = of_layer.iter().find(covered) {
                return Err(in_the_way(scope, lost, &wanted));
            }
            if !of_layer.is_empty() {
                changes.push((scope.clone(), of_layer));
            }
        }
        Ok(Back { changes, secrets })
    }
}

/// What is not to be changed would be, since it is above or below what is put back.
fn in_the_way(scope: &Scope, lost: &Change, wanted: &[(&KeyPath, &Between)]) -> Error {
    let puts = wanted.iter().filter(|(_, between)| between.old.is_some());
    let cause = puts
        .map(|(path, _)| *path)
        .find(|path| path.is_within(&lost.path) || lost.path.is_within(path));
    Error::InTheWay {
        target: target(scope, cause.unwrap_or(&lost.path)),
        present: lost.path.clone(),
    }
}

fn target(scope: &Scope, path: &KeyPath) -> Target {
    Target {
        scope: scope.clone(),
        address: path.clone(),
        own: false,
    }
}

/// A tree with these changes made.
fn patched(tree: &Tree, changes: &[Change]) -> Tree {
    let mut patched = tree.clone();
    for change in changes {
        patched.remove_leaf(&change.path);
    }
    for change in changes {
        if let Some(new) = &change.new {
            patched.put(change.path.clone(), new.clone());
        }
    }
    patched
}

/// Changes as they may be shown.
pub(super) fn differences(changes: &[OfLayer], schema: &Schema) -> Vec<Difference> {
    let of_layer = |(scope, changes): &OfLayer| {
        let shown = changes.iter().map(|change| Difference {
            scope: scope.clone(),
            change: history::redacted(change, schema),
        });
        shown.collect::<Vec<_>>()
    };
    changes.iter().flat_map(of_layer).collect()
}

#[cfg(test)]
#[path = "past_tests.rs"]
mod tests;
