//! The accounts of root's Docker client at registries, as that client keeps them on disk. It only reads.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::{ImageName, RegistryAuth};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 20;
/// Where Docker keeps the account of who names no registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The account in `file` for the registry of the image `name`. None where there is none, or none that can be read: what is
/// then asked without an account is told by the registry.
pub fn account(file: &Path, name: &str) -> Option<RegistryAuth> {
    let name: ImageName = name.parse().ok()?;
    let mut text = Vec::new();
    File::open(file).ok()?.take(MAX_FILE).read_to_end(&mut text).ok()?;
    let whole: Value = serde_json::from_slice(&text).ok()?;
    let words = whole.get("auths")?.get(name.registry().unwrap_or(DOCKER_HUB))?;
    let words = BASE64_STANDARD.decode(words.get("auth")?.as_str()?).ok()?;
    let words = String::from_utf8(words).ok()?;
    let (username, password) = words.split_once(':')?;
    Some(RegistryAuth {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_its_registrys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let text = r#"{"auths": {"core:5000": {"auth": "dTpwOnE="}, "https://index.docker.io/v1/": {"auth": "aDpw"}, "odd": {"auth": "!"}}}"#;
        std::fs::write(&file, text).unwrap();
        let name = |name: &str| account(&file, name).map(|account| (account.username, account.password));
        assert_eq!(name("core:5000/team/app:1"), Some(("u".to_owned(), "p:q".to_owned())));
        assert_eq!(name("busybox"), Some(("h".to_owned(), "p".to_owned())));
        for nobody in ["core:5001/app", "odd:1/app", "not a name"] {
            assert_eq!(name(nobody), None, "{nobody}");
        }
        assert_eq!(account(&folder.path().join("none"), "core:5000/app"), None);
    }
}
