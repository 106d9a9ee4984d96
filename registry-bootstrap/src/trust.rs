//! What a node's Docker needs to use registries: whom to believe at the cluster's, and accounts at it and at others.
//!
//! Docker reads both files at each use, so that nothing is restarted. The file of accounts is root's own and may have more in
//! it; that stays as it is.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster::files;
use cluster::nodes::Paths;
use engine::RegistryAuth;
use serde_json::{Map, Value, json};

use crate::accounts::Holder;
use crate::{Error, Result};

/// The largest file of accounts that is read, and how many links may lead to it.
const MAX_FILE: u64 = 1 << 20;
const MAX_LINKS: usize = 8;

/// Under what Docker keeps the account at the registry that is meant where none is named.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Have Docker believe the registry at `location` by this CA (PEM). Whether that is news.
pub fn believe(paths: &Paths, location: &str, ca: &str) -> Result<bool> {
    let directory = paths.docker_trust().join(location);
    let file = directory.join("ca.crt");
    if files::read_limited(&file, MAX_FILE).is_ok_and(|known| known == ca.as_bytes()) {
        return Ok(false);
    }
    make(&directory, 0o755)?;
    files::write_atomic(&file, ca.as_bytes(), 0o644).map_err(Error::file("write", &file))?;
    Ok(true)
}

/// Have Docker believe the registry at `location` no more.
pub fn forget(paths: &Paths, location: &str) -> Result<()> {
    let directory = paths.docker_trust().join(location);
    match std::fs::remove_file(directory.join("ca.crt")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("remove what is believed in", &directory)(error));
        }
        _ => {}
    }
    // What else an administrator put there stays.
    let _ = std::fs::remove_dir(&directory);
    Ok(())
}

/// For whom an account is written.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// For the node, whose account at the cluster's `own` registry gives way to one of an administrator there, but for the
    /// one that the cluster `refused`.
    Node {
        own: &'a str,
        refused: Option<&'a RegistryAuth>,
    },
    /// For an administrator, who goes before all.
    Administrator,
}

/// Have root's Docker log in with these accounts, by registry; one of `gone` is logged out. Whether that is news.
pub fn log_in(paths: &Paths, who: For<'_>, accounts: &BTreeMap<String, RegistryAuth>, gone: &[String]) -> Result<bool> {
    // The agent and kato may be at it at once.
    let _turn = turn(paths)?;
    let path = behind_links(&paths.docker_accounts())?;
    let mut whole = read(&path)?;
    let before = whole.clone();
    let auths = whole.entry("auths").or_insert_with(|| json!({}));
    let Value::Object(auths) = auths else {
        return Err(Error::refused(
            format!("{} has accounts in a form that is not known", path.display()),
            "move it away",
        ));
    };
    for registry in gone {
        auths.remove(key(registry));
    }
    for (registry, account) in accounts {
        if !gone.contains(registry) && gives_way(who, registry, account_in(&path, registry).as_ref()) {
            continue;
        }
        let words = BASE64_STANDARD.encode(format!("{}:{}", account.username, account.password));
        auths.insert(key(registry).to_owned(), json!({ "auth": words }));
    }
    if whole == before || (before.is_empty() && accounts.is_empty()) {
        return Ok(false);
    }
    let text = serde_json::to_vec_pretty(&whole).map_err(|error| Error::failed("write Docker's accounts", error))?;
    if let Some(directory) = path.parent() {
        make(directory, 0o700)?;
    }
    files::write_atomic(&path, &text, 0o600).map_err(Error::file("write", &path))?;
    Ok(true)
}

/// The account that root's Docker has at this registry, where it has one that can be read.
pub fn account(paths: &Paths, registry: &str) -> Option<RegistryAuth> {
    account_in(&paths.docker_accounts(), registry)
}

/// As whom root's Docker has an account at this registry that is none of this cluster's.
pub fn foreign(paths: &Paths, registry: &str) -> Option<String> {
    let present = account(paths, registry)?;
    Holder::of(&present.username).is_none().then_some(present.username)
}

/// What root's Docker asks for its account at this registry in place of looking into its file, as that file says.
pub fn credential_store(paths: &Paths, registry: &str) -> Option<String> {
    let whole = read(&paths.docker_accounts()).ok()?;
    let of_registry = whole.get("credHelpers").and_then(|all| all.get(key(registry)));
    let (name, value) = match of_registry {
        Some(helper) => ("credHelpers", helper),
        None => ("credsStore", whole.get("credsStore")?),
    };
    let helper = value.as_str().filter(|helper| !helper.is_empty())?;
    Some(format!("{name}: {helper}"))
}

/// Whether this account is one of the cluster's administrators.
pub fn is_administrators(account: &RegistryAuth) -> bool {
    matches!(Holder::of(&account.username), Some(Holder::Administrator(_)))
}

fn gives_way(who: For<'_>, registry: &str, present: Option<&RegistryAuth>) -> bool {
    match (who, present) {
        (For::Node { own, refused }, Some(present)) => {
            registry == own && is_administrators(present) && refused != Some(present)
        }
        _ => false,
    }
}

fn account_in(path: &Path, registry: &str) -> Option<RegistryAuth> {
    match key(registry) {
        DOCKER_HUB => engine::account(path, "any"),
        other => engine::account(path, &format!("{other}/any")),
    }
}

/// Under what Docker keeps the account at this registry.
fn key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// Where the file is that this path leads to: a link is written through, and stays.
fn behind_links(path: &Path) -> Result<PathBuf> {
    let mut at = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match std::fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("/")).join(target),
            // It is no link, or nothing yet; what else is wrong with it is told where it is read.
            Err(_) => return Ok(at),
        }
    }
    Err(Error::refused(
        format!("{} leads through more than {MAX_LINKS} links", path.display()),
        "move it away",
    ))
}

/// The turn of one who changes the accounts.
fn turn(paths: &Paths) -> Result<File> {
    let path = paths.kato_lib().join("docker-accounts.lock");
    make(&paths.kato_lib(), 0o755)?;
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(Error::file("open", &path))?;
    // Nobody holds it for longer than a file takes to be written.
    file.lock().map_err(Error::file("lock", &path))?;
    Ok(file)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let bytes = match files::read_limited(path, MAX_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        read => read.map_err(Error::file("read", path))?,
    };
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    // Nothing of what is written there goes into a message.
    serde_json::from_slice(&bytes).map_err(|_| {
        let reason = format!("{} is no JSON map, and is left as it is", path.display());
        Error::refused(reason, "move it away")
    })
}

fn make(directory: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(directory);
    made.map_err(Error::file("make", directory))
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
