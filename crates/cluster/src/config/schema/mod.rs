//! Which keys are known: type, default, check, help, when a change applies, and what is secret.
//!
//! A file per component; [`Schema::standard`] is all of them. Nothing here reads or writes a tree's home. Keys that
//! are not listed are allowed: they belong to parts this program does not know.

use serde_json::Value;

use super::key::KeyPath;
use super::tree::Tree;

pub mod cluster;
pub mod docs;
pub mod fence;
pub mod image;
pub mod kind;
mod near;
pub mod registry;

pub use kind::Kind;
pub(crate) use near::nearest;

/// What is shown in place of a secret value.
pub const REDACTED: &str = "[redacted]";

/// Names that mark an unknown key as secret.
const SECRET_NAMES: [&str; 7] = [
    "password",
    "passwd",
    "secret",
    "token",
    "private_key",
    "signing_key",
    "credentials",
];

/// A known key.
#[derive(Debug)]
pub struct Key {
    /// Below the component, e.g. `docker/image`.
    pub path: &'static str,
    /// Other paths of the same leaf.
    pub aliases: &'static [&'static str],
    /// Which values it takes.
    pub kind: Kind,
    /// The value where none is set.
    pub default: fn() -> Value,
    /// One line for people.
    pub help: &'static str,
    /// When a change is in force.
    pub applies: Applies,
    /// Kept apart, and shown only when asked for.
    pub secret: bool,
}

/// When a change is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// At once.
    Live,
    /// When the process of the component starts the next time.
    Restart,
}

impl Applies {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Applies::Live => "live",
            Applies::Restart => "needs restart",
        }
    }
}

/// The known keys of one component.
#[derive(Debug)]
pub struct ComponentSchema {
    /// The component.
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Its keys, in the order they are explained.
    pub keys: &'static [Key],
    /// What must hold between its keys; given all of them, each good by itself.
    pub check: fn(&Tree) -> Result<(), String>,
}

/// All known keys.
#[derive(Debug)]
pub struct Schema {
    components: &'static [&'static ComponentSchema],
}

/// What the schema says of an address.
#[derive(Debug)]
pub enum Found<'a> {
    /// A known key.
    Key(&'a Key),
    /// A known component, or what is above known keys: only a map can be there.
    Group,
    /// Not known; the nearest known address, where one is near.
    Unknown { near: Option<KeyPath> },
}

/// The schema of this release.
static STANDARD: Schema = Schema {
    components: &COMPONENTS,
};

static COMPONENTS: [&ComponentSchema; 2] = [&cluster::SCHEMA, &fence::SCHEMA];

impl Schema {
    /// The schema that knows nothing.
    pub const NONE: Schema = Schema { components: &[] };

    /// The schema of this release.
    pub fn standard() -> &'static Schema {
        &STANDARD
    }

    /// All known components.
    pub fn components(&self) -> impl Iterator<Item = &'static ComponentSchema> {
        self.components.iter().copied()
    }

    /// One component.
    pub fn component(&self, name: &str) -> Option<&'static ComponentSchema> {
        self.components().find(|component| component.name == name)
    }

    /// What is known of an address, aliases included.
    pub fn find(&self, address: &KeyPath) -> Found<'static> {
        let Some((component, path)) = address.split_first() else {
            return Found::Group;
        };
        let Some(schema) = self.component(component) else {
            let names = self.components().map(|component| component.name);
            return Found::Unknown {
                near: nearest(component, names).and_then(|name| KeyPath::parse(name).ok()),
            };
        };
        if path.is_root() {
            return Found::Group;
        }
        if let Some(key) = schema.keys.iter().find(|key| key.is_at(path.as_str())) {
            return Found::Key(key);
        }
        let prefix = format!("{path}/");
        if schema.keys.iter().any(|key| key.path.starts_with(&prefix)) {
            return Found::Group;
        }
        let near = nearest(path.as_str(), schema.keys.iter().flat_map(Key::names_and_groups));
        Found::Unknown {
            near: near.and_then(|near| KeyPath::parse(&format!("{component}/{near}")).ok()),
        }
    }

    /// The address under which a value is kept: an alias's own key, else the address as it is.
    pub fn canonical(&self, address: &KeyPath) -> KeyPath {
        match (self.find(address), address.split_first()) {
            (Found::Key(key), Some((component, _))) => {
                KeyPath::parse(&format!("{component}/{}", key.path)).unwrap_or_else(|_| address.clone())
            }
            _ => address.clone(),
        }
    }

    /// Whether the leaf at this address is kept apart and redacted. Of keys that are not known the names decide: what
    /// is below a secret is one, too.
    pub fn is_secret(&self, address: &KeyPath) -> bool {
        match self.find(address) {
            Found::Key(key) => key.secret,
            Found::Group => false,
            Found::Unknown { .. } => address.segments().any(is_secret_name),
        }
    }

    /// Every known leaf with its default.
    pub fn defaults(&self) -> Tree {
        let leaves = |component: &'static ComponentSchema| {
            component
                .keys
                .iter()
                .filter_map(|key| Some((component.address(key)?, (key.default)())))
        };
        self.components().flat_map(leaves).collect()
    }
}

impl ComponentSchema {
    /// The whole address of one of its keys. Always there: a test holds all keys to it.
    pub fn address(&self, key: &Key) -> Option<KeyPath> {
        KeyPath::parse(&format!("{}/{}", self.name, key.path)).ok()
    }
}

impl Key {
    fn is_at(&self, path: &str) -> bool {
        self.names().any(|name| name == path)
    }

    /// Its names, and the paths above it.
    fn names_and_groups(&self) -> impl Iterator<Item = &'static str> {
        let above = self.path.match_indices('/').map(|(at, _)| &self.path[..at]);
        self.names().chain(above)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.path).chain(self.aliases.iter().copied())
    }
}

/// The first name inside a value that is a secret's.
pub(super) fn secret_within(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.iter().find_map(secret_within),
        Value::Object(map) => map.iter().find_map(|(name, inner)| match is_secret_name(name) {
            true => Some(name.as_str()),
            false => secret_within(inner),
        }),
        _ => None,
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES
        .iter()
        .any(|secret| name == *secret || name.ends_with(&format!("_{secret}")))
}

/// The check of a component whose keys do not depend on each other.
fn independent(_: &Tree) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> KeyPath {
        KeyPath::parse(text).unwrap()
    }

    #[test]
    fn every_default_passes_its_own_check() {
        let defaults = Schema::standard().defaults();
        for component in Schema::standard().components() {
            for key in component.keys {
                assert_eq!(
                    key.kind.check(&(key.default)()),
                    Ok(()),
                    "{} {}",
                    component.name,
                    key.path
                );
            }
            assert_eq!((component.check)(&defaults), Ok(()));
        }
        assert_eq!(
            defaults.len(),
            Schema::standard().components().map(|c| c.keys.len()).sum::<usize>()
        );
    }

    #[test]
    fn help_is_one_line_without_a_full_stop() {
        for key in Schema::standard().components().flat_map(|component| component.keys) {
            assert!(
                !key.help.is_empty() && !key.help.contains('\n') && !key.help.ends_with('.'),
                "{}",
                key.path
            );
        }
    }

    #[test]
    fn an_alias_is_the_same_leaf() {
        let schema = Schema::standard();
        assert_eq!(
            schema.canonical(&address("fence/docker/images")),
            address("fence/docker/image")
        );
        assert!(matches!(schema.find(&address("fence/docker/images")), Found::Key(key) if key.path == "docker/image"));
    }

    #[test]
    fn what_is_above_known_keys_is_a_group() {
        for text in ["/", "fence", "fence/docker"] {
            assert!(
                matches!(Schema::standard().find(&address(text)), Found::Group),
                "{text}"
            );
        }
    }

    #[test]
    fn the_nearest_name_of_an_unknown_key_is_given() {
        for (text, expected) in [
            ("fence/docker/imag", Some("fence/docker/image")),
            ("fence/max_container", Some("fence/max_containers")),
            ("fence/dokcer", Some("fence/docker")),
            ("fenc", Some("fence")),
            ("fence/quite/another", None),
            ("router", None),
        ] {
            let Found::Unknown { near } = Schema::standard().find(&address(text)) else {
                panic!("{text} is known")
            };
            assert_eq!(near, expected.map(address), "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_secret_by_their_name() {
        for text in [
            "fence/registry/password",
            "logyard/api_token",
            "a/b/SECRET",
            "a/secret/x",
            "a/db_password/deep/x",
            "token/x",
        ] {
            assert!(Schema::standard().is_secret(&address(text)), "{text}");
        }
        for text in ["fence/docker/image", "fence", "a/tokens_per_second", "a/secrets/x"] {
            assert!(!Schema::standard().is_secret(&address(text)), "{text}");
        }
    }
}
