//! What a change makes of a layer: checked against the schema, the present types and the other keys. Pure.

use serde_json::Value;

use super::key::KeyPath;
use super::layers::Layers;
use super::schema::kind::type_name;
use super::schema::{self, Found, Kind, Schema};
use super::target::{Scope, Target};
use super::tree::{Change, Tree};
use super::{Error, Result};

/// The largest value of one key in bytes: text as it is, everything else as JSON.
pub const MAX_VALUE: usize = 64 * 1024;
/// The most keys of one layer.
pub const MAX_KEYS: usize = 4096;

/// What a component or a group takes.
const A_MAP: &str = "a map of keys";

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Put a value in place of what is there.
    Set(Value),
    /// Take the key and all below away.
    Del,
    /// Add to the end of a list.
    Push(Value),
    /// Take the first of these values that is in the list out of it.
    Pop(Vec<Value>),
}

/// What a change makes of its layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// The layer afterwards.
    pub tree: Tree,
    /// Keys, or whole components, that the schema does not know, and the nearest that it does.
    pub unknown: Vec<(KeyPath, Option<KeyPath>)>,
}

/// Make a change. With `force` a key can get another type than it has; what the schema refuses stays refused.
pub fn apply(layers: &Layers, schema: &Schema, target: &Target, edit: Edit, force: bool) -> Result<Edited> {
    let target = target.at(&schema.canonical(&target.address));
    let editor = Editor {
        layers,
        schema,
        effective: layers.effective(schema, &target.scope),
        target,
        force,
    };
    let edited = match edit {
        Edit::Set(value) => editor.set(&value),
        Edit::Del => editor.del(),
        Edit::Push(value) => editor.push(value),
        Edit::Pop(values) => editor.pop(&values),
    }?;
    editor.check_whole(&edited.tree)?;
    Ok(edited)
}

/// Check what a layer would be with these changes, whatever the types of present values are.
pub(super) fn check(layers: &Layers, schema: &Schema, scope: &Scope, after: &Tree, changes: &[Change]) -> Result<()> {
    let target = Target {
        scope: scope.clone(),
        address: KeyPath::root(),
        own: false,
    };
    let editor = Editor {
        layers,
        schema,
        effective: layers.effective(schema, scope),
        target,
        force: true,
    };
    for change in changes {
        if let Some(leaf) = &change.new
            && !editor.check_leaf(&change.path, leaf, &mut Vec::new())?
        {
            return Err(Error::Refused {
                target: editor.target.at(&change.path),
                reason: no_map(leaf),
                accepts: A_MAP.to_owned(),
            });
        }
    }
    editor.check_whole(after)
}

struct Editor<'a> {
    layers: &'a Layers,
    schema: &'a Schema,
    /// What is effective where the change is made, before it is.
    effective: Tree,
    target: Target,
    force: bool,
}

impl Editor<'_> {
    fn set(&self, value: &Value) -> Result<Edited> {
        let at = &self.target.address;
        let given = Tree::flatten(at, value).map_err(|source| Error::Value {
            target: self.target.clone(),
            source,
        })?;
        let mut edited = Edited {
            tree: self.layers.own(&self.target.scope),
            unknown: Vec::new(),
        };
        edited.tree.remove(at);
        let mut put = Tree::new();
        for (path, leaf) in given.iter() {
            let path = self.schema.canonical(path);
            if put.leaf(&path).is_some() {
                let reason = "it is given under two names".to_owned();
                return Err(Error::Unfit {
                    target: self.target.at(&path),
                    reason,
                });
            }
            if self.check_leaf(&path, leaf, &mut edited.unknown)? {
                put.put(path, leaf.clone());
            }
        }
        edited.tree.overlay(&put);
        Ok(edited)
    }

    /// Check one leaf; whether it is one to keep.
    fn check_leaf(&self, path: &KeyPath, leaf: &Value, unknown: &mut Vec<(KeyPath, Option<KeyPath>)>) -> Result<bool> {
        let target = || self.target.at(path);
        let size = leaf.as_str().map_or_else(|| leaf.to_string().len(), str::len);
        if size > MAX_VALUE {
            return Err(Error::TooMuch {
                limit: MAX_VALUE,
                what: "bytes in the value of one key",
            });
        }
        let refused = |reason: String, accepts: String| {
            Err(Error::Refused {
                target: target(),
                reason,
                accepts,
            })
        };
        match self.schema.find(path) {
            Found::Key(key) => match key.kind.check(leaf) {
                Ok(()) => return Ok(true),
                Err(reason) => return refused(reason, key.kind.accepts()),
            },
            // An empty map at a group is a group without keys.
            Found::Group if leaf.is_object() => return Ok(false),
            Found::Group => {
                return refused(no_map(leaf), A_MAP.to_owned());
            }
            Found::Unknown { near } => self.note_unknown(path, near, unknown),
        }
        if is_component(path) {
            // A component that is not known either: only its keys can have values.
            return if leaf.is_object() {
                Ok(false)
            } else {
                refused(no_map(leaf), A_MAP.to_owned())
            };
        }
        if !self.schema.is_secret(path)
            && let Some(name) = schema::secret_within(leaf)
        {
            // A list is one leaf, and only whole leaves are kept apart and redacted.
            let reason = format!("{name} looks like a secret, which is not taken inside a list");
            return refused(reason, format!("a key of its own for it, such as {path}_{name}"));
        }
        self.check_above(path)?;
        self.check_type(path, leaf)?;
        Ok(true)
    }

    /// Remember what is not known: of a component that is not known the component once, else the key.
    fn note_unknown(&self, path: &KeyPath, near: Option<KeyPath>, unknown: &mut Vec<(KeyPath, Option<KeyPath>)>) {
        let component = path
            .split_first()
            .and_then(|(component, _)| KeyPath::parse(component).ok());
        let what = match component {
            Some(component) if self.schema.component(component.as_str()).is_none() => component,
            _ => path.clone(),
        };
        if !unknown.iter().any(|(known, _)| *known == what) {
            unknown.push((what, near));
        }
    }

    /// A known key is a leaf, and a leaf that is set holds no others.
    fn check_above(&self, path: &KeyPath) -> Result<()> {
        let mut above = KeyPath::root();
        for segment in path.segments() {
            above = above.child(segment)?;
            if let (true, Found::Key(key)) = (above != *path, self.schema.find(&above)) {
                let reason = "a value of type struct is not taken here".to_owned();
                return Err(Error::Refused {
                    target: self.target.at(&above),
                    reason,
                    accepts: key.kind.accepts(),
                });
            }
        }
        match self.effective.leaf_above(path) {
            Some((above, leaf)) if !self.force && !leaf.is_object() => Err(Error::Shadowed {
                target: self.target.at(path),
                above: above.clone(),
                present: type_name(leaf),
            }),
            _ => Ok(()),
        }
    }

    fn check_type(&self, path: &KeyPath, leaf: &Value) -> Result<()> {
        match self.effective.nest(path) {
            Some(present) if !self.force && shape(&present) != shape(leaf) => Err(Error::TypeChange {
                target: self.target.at(path),
                present: shape(&present),
                given: shape(leaf),
            }),
            _ => Ok(()),
        }
    }

    fn del(&self) -> Result<Edited> {
        let mut tree = self.layers.own(&self.target.scope);
        if !tree.remove(&self.target.address) {
            return Err(not_found(self.schema, &tree, &self.target));
        }
        Ok(Edited {
            tree,
            unknown: Vec::new(),
        })
    }

    fn push(&self, value: Value) -> Result<Edited> {
        let mut list = self.list()?.unwrap_or_default();
        list.push(value);
        self.set(&Value::Array(list))
    }

    fn pop(&self, values: &[Value]) -> Result<Edited> {
        let Some(mut list) = self.list()? else {
            return Err(not_found(self.schema, &self.effective, &self.target));
        };
        let place = values
            .iter()
            .find_map(|value| list.iter().position(|entry| entry == value));
        list.remove(place.ok_or_else(|| Error::NoSuchEntry {
            target: self.target.clone(),
        })?);
        self.set(&Value::Array(list))
    }

    /// The list that is effective; one image name is a list of one.
    fn list(&self) -> Result<Option<Vec<Value>>> {
        let at = &self.target.address;
        if is_component(at) || at.is_root() {
            return Err(Error::NeedsKey {
                target: self.target.clone(),
            });
        }
        let takes_one = matches!(self.schema.find(at), Found::Key(key) if matches!(key.kind, Kind::Images));
        match self.effective.nest(at) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(one @ Value::String(_)) if takes_one => Ok(Some(vec![one])),
            Some(other) => Err(Error::NotAList {
                target: self.target.clone(),
                present: shape(&other),
            }),
        }
    }

    /// Check what must hold between the keys, and the size of the layer.
    fn check_whole(&self, tree: &Tree) -> Result<()> {
        if tree.len() > MAX_KEYS {
            return Err(Error::TooMuch {
                limit: MAX_KEYS,
                what: "keys in one layer",
            });
        }
        let after = self
            .layers
            .with(&self.target.scope, tree.clone())
            .effective(self.schema, &self.target.scope);
        for component in self.schema.components() {
            let concerned = self
                .target
                .address
                .split_first()
                .is_none_or(|(name, _)| name == component.name);
            if let (true, Err(reason)) = (concerned, (component.check)(&after)) {
                let target = match KeyPath::parse(component.name) {
                    Ok(component) if self.target.address.is_root() => self.target.at(&component),
                    _ => self.target.clone(),
                };
                return Err(Error::Unfit { target, reason });
            }
        }
        Ok(())
    }
}

/// Nothing is at the target: say so, with the nearest name of what is set or known.
pub fn not_found(schema: &Schema, tree: &Tree, target: &Target) -> Error {
    let near = match schema.find(&target.address) {
        Found::Unknown { near: Some(near) } => Some(near),
        Found::Key(_) | Found::Group => None,
        Found::Unknown { near: None } => {
            let set = tree.iter().map(|(path, _)| path.as_str());
            schema::nearest(target.address.as_str(), set).and_then(|near| KeyPath::parse(near).ok())
        }
    };
    Error::NotFound {
        target: target.clone(),
        near,
    }
}

fn is_component(path: &KeyPath) -> bool {
    path.split_first().is_some_and(|(_, rest)| rest.is_root())
}

fn no_map(leaf: &Value) -> String {
    format!("a value of type {} is not taken here", type_name(leaf))
}

/// The type of a value where only its own kind may follow it.
fn shape(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "list",
        Value::Object(_) => "map",
        Value::Number(_) => "number",
        other => type_name(other),
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
