//! The tree's errors as the administrator sees them: which exit code, and which command to try next.

use cluster::config::schema::Found;
use cluster::config::{Error as Tree, KeyPath, LOCAL, Schema, Scope, Target, key as keys};
use cluster::store::Error as Store;

use crate::error::{Error, Kind};

/// How to become an administrator on a node that has only its own rights.
const CREDENTIAL: &str =
    "on the core: kato admin create NAME; then here: --credential FILE or /etc/kato/credential.yml";

/// A name or path that is none.
pub fn key(error: keys::Error) -> Error {
    Error::usage(error.to_string())
}

/// The tree refused, or could not be read.
pub fn tree(error: Tree) -> Error {
    if let Tree::Store { source, .. } | Tree::Nothing { source } = &error {
        return match of_store(source, error.to_string()) {
            (failed, true) => failed.because(error),
            (failed, false) => failed,
        };
    }
    let hint = hint(&error);
    Error::new(kind(&error), error.to_string()).because(error).hint(hint)
}

/// The store could not be opened.
pub fn store(error: Store) -> Error {
    store_at(error, "could not open the configuration".to_owned())
}

/// The store failed at what `message` says.
pub fn store_at(error: Store, message: String) -> Error {
    match of_store(&error, message) {
        (failed, true) => failed.because(error),
        (failed, false) => failed,
    }
}

fn kind(error: &Tree) -> Kind {
    match error {
        Tree::Key(_) | Tree::NeedsKey { .. } => Kind::Usage,
        Tree::Value { .. }
        | Tree::Parse { .. }
        | Tree::Refused { .. }
        | Tree::Unfit { .. }
        | Tree::TypeChange { .. }
        | Tree::Shadowed { .. }
        | Tree::NotAList { .. }
        | Tree::Forgotten { .. }
        | Tree::InTheWay { .. }
        | Tree::Overwrites { .. }
        | Tree::TooMuch { .. } => Kind::Refused,
        Tree::NotFound { .. } | Tree::NoSuchEntry { .. } | Tree::NoRevision { .. } => Kind::NotFound,
        Tree::Contended { .. }
        | Tree::NewerFormat { .. }
        | Tree::Corrupt { .. }
        | Tree::Decode { .. }
        | Tree::Nothing { .. }
        | Tree::Store { .. } => Kind::Failed,
    }
}

fn hint(error: &Tree) -> String {
    match error {
        Tree::TypeChange { .. } => {
            "give the value's type with -j or -y, or let the key's type change with --force".to_owned()
        }
        Tree::Shadowed { .. } => "replace it with --force".to_owned(),
        Tree::Refused { target, .. } | Tree::Unfit { target, .. } => match without_component(target, &target.address) {
            Some(whole) => format!("the component comes first: kato config set {LOCAL} {whole} VALUE"),
            None => schema(target),
        },
        Tree::NotFound {
            target,
            near: Some(near),
        } => get(&Target {
            address: near.clone(),
            ..target.clone()
        }),
        Tree::NotAList { target, .. } | Tree::NoSuchEntry { target } => get(target),
        Tree::NotFound { target, .. } if is_known(target) => get(target),
        Tree::NotFound { target, near: None } => {
            let above = match target.address.split_first() {
                Some((component, path)) if !path.is_root() => KeyPath::parse(component).ok(),
                _ => None,
            };
            get(&Target {
                address: above.unwrap_or_default(),
                ..target.clone()
            })
        }
        Tree::InTheWay { target, present } => get(&Target {
            address: present.clone(),
            ..target.clone()
        }),
        Tree::NoRevision { .. } | Tree::Forgotten { .. } => "kato config history".to_owned(),
        Tree::Contended { .. } => "try again".to_owned(),
        Tree::NewerFormat { .. } => "update this node".to_owned(),
        _ => String::new(),
    }
}

/// How the store's failure ends the command, and whether its own words say more.
fn of_store(error: &Store, message: String) -> (Error, bool) {
    if let Store::NotGranted { .. } = error {
        let message = format!("{message}: it needs an administrator's credential");
        return (Error::refused(message).hint(CREDENTIAL), false);
    }
    let hint = match error {
        Store::Missing { .. } => "kato node setup micro".to_owned(),
        Store::Denied { .. } => "run the command as root".to_owned(),
        Store::NewerFormat { .. } => "update this node".to_owned(),
        Store::Corrupt { place, .. } => damaged(place),
        _ => String::new(),
    };
    // Nothing but its size can be wrong with what the tree asks for and the store refuses.
    let failed = Error::new(Kind::from(error), message).hint(hint);
    (failed, true)
}

/// What to do about a damaged store. Nothing is written to it, so whatever can be saved of it still can.
pub fn damaged(place: &str) -> String {
    format!(
        "put a good copy of {place} back, or move it and its -wal and -shm away, \
         then: kato node setup micro; kato data import FILE"
    )
}

/// The known key that is meant where one was given for a node alone and without its component.
pub fn without_component(target: &Target, address: &KeyPath) -> Option<KeyPath> {
    let schema = Schema::standard();
    let with = |component: &str| KeyPath::parse(&format!("{component}/{address}")).ok();
    let mut whole = schema.components().filter_map(|component| with(component.name));
    whole.find(|whole| target.own && matches!(schema.find(whole), Found::Key(_)))
}

fn is_known(target: &Target) -> bool {
    !matches!(Schema::standard().find(&target.address), Found::Unknown { .. })
}

/// The command that explains a target, where something is known of it.
fn schema(target: &Target) -> String {
    if !is_known(target) {
        return String::new();
    }
    format!("kato config schema {}", words(&target.address))
}

/// The command that shows a target.
fn get(target: &Target) -> String {
    if target.own {
        return format!("kato config get {LOCAL} {}", target.address);
    }
    let scope = match &target.scope {
        Scope::Cluster => String::new(),
        Scope::Realm(realm) => format!("--realm {realm} "),
        Scope::Node(node) => format!("--node {node} "),
    };
    format!("kato config get {scope}{}", words(&target.address))
        .trim_end()
        .to_owned()
}

/// An address as component and key.
fn words(address: &KeyPath) -> String {
    match address.split_first() {
        None => String::new(),
        Some((component, path)) if path.is_root() => component.to_owned(),
        Some((component, path)) => format!("{component} {path}"),
    }
}
