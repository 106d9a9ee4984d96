//! The init binaries on this node, kept by content so that an upgrade never overwrites one that a container runs.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fence_init::protocol::BIN_NAME;
use sha2::{Digest, Sha256};

use super::{Error, Result};

/// The largest file that can be an init, in bytes.
const MAX_BINARY: u64 = 64 * 1024 * 1024;

/// The init that new containers get: a directory of its own, mounted read-only into them.
#[derive(Clone, Debug)]
pub struct InitBinary {
    directory: PathBuf,
    hash: String,
}

impl InitBinary {
    /// Take the binary at `source` into `store`, unless its content is there already.
    pub fn store(source: &Path, store: &Path) -> Result<InitBinary> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| Error::Binary { path, source }
        };
        let mut content = Vec::new();
        let file = std::fs::File::open(source).map_err(failed(source))?;
        file.take(MAX_BINARY)
            .read_to_end(&mut content)
            .map_err(failed(source))?;
        let hash: String = Sha256::digest(&content)
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let directory = store.join(&hash);
        let target = directory.join(BIN_NAME);
        if std::fs::read(&target).is_ok_and(|there| there == content) {
            return Ok(InitBinary { directory, hash });
        }
        std::fs::create_dir_all(&directory).map_err(failed(&directory))?;
        let fresh = directory.join(format!(".{BIN_NAME}.{}", std::process::id()));
        std::fs::write(&fresh, &content).map_err(failed(&fresh))?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o555)).map_err(failed(&fresh))?;
        std::fs::rename(&fresh, &target).map_err(failed(&target))?;
        Ok(InitBinary { directory, hash })
    }

    /// The directory to mount at [`fence_init::protocol::BIN_DIR`].
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The first half of the content's SHA-256.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_gets_another_place_and_the_old_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("init");
        std::fs::write(&source, "one").unwrap();
        let one = InitBinary::store(&source, &dir.path().join("store")).unwrap();
        assert_eq!(
            InitBinary::store(&source, &dir.path().join("store")).unwrap().hash(),
            one.hash()
        );
        std::fs::write(&source, "two").unwrap();
        let two = InitBinary::store(&source, &dir.path().join("store")).unwrap();
        assert_ne!(one.hash(), two.hash());
        assert_eq!(std::fs::read_to_string(one.directory().join(BIN_NAME)).unwrap(), "one");
    }
}
