//! Finds the file to execute, as the user and in the directory the process has by then, so that what that user may
//! not execute is passed over. What is not there and what cannot be executed are told apart, as a shell does.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fence_init::protocol::{Failure, FailureKind};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use crate::failure::{cut, failure, reason};

/// How much of a path a message shows, in bytes, so that the reason behind it is not cut.
const SHOWN: usize = 200;

/// The file for `path`: itself if it names a directory too, else the first match in `search` (`:` between entries).
pub fn find(path: &str, search: &[u8]) -> Result<CString, Failure> {
    if path.contains('/') {
        return executable(Path::new(path)).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => not_found(path, &format!("stat {}: {}", cut(path, SHOWN), reason(errno))),
            errno => not_executable(path, &reason(errno)),
        });
    }
    let mut places = search
        .split(|byte| *byte == b':')
        .map(|dir| Path::new(OsStr::from_bytes(if dir.is_empty() { b"." } else { dir })).join(path));
    let found = places.clone().find_map(|file| executable(&file).ok());
    found.ok_or_else(|| match places.find(|file| file.is_file()) {
        Some(file) => not_executable(&file.to_string_lossy(), &reason(Errno::EACCES)),
        None => not_found(path, "executable file not found in $PATH"),
    })
}

/// Why the kernel did not execute a file that was found.
pub fn refused(path: &str, errno: Errno) -> Failure {
    match errno {
        Errno::ENOENT => not_found(path, "no such file or directory: the interpreter it names is missing"),
        Errno::EACCES | Errno::ENOEXEC | Errno::ENOTDIR | Errno::ELOOP | Errno::EISDIR => {
            not_executable(path, &reason(errno))
        }
        errno => failure(FailureKind::System, format!("{}: {}", exec(path), reason(errno))),
    }
}

fn executable(file: &Path) -> Result<CString, Errno> {
    let name = CString::new(file.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let meta = std::fs::metadata(file).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    if meta.is_dir() {
        return Err(Errno::EISDIR);
    }
    eaccess(file, AccessFlags::X_OK)?;
    Ok(name)
}

fn not_found(path: &str, why: &str) -> Failure {
    failure(FailureKind::ExecutableNotFound, format!("{}: {why}", exec(path)))
}

fn not_executable(path: &str, why: &str) -> Failure {
    failure(FailureKind::NotExecutable, format!("{}: {why}", exec(path)))
}

fn exec(path: &str) -> String {
    format!("exec {:?}", cut(path, SHOWN))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_are_searched_and_only_executable_files_count() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        std::fs::create_dir_all(first.join("folder")).unwrap();
        std::fs::create_dir(&second).unwrap();
        std::fs::write(first.join("plain"), "").unwrap();
        for file in [second.join("plain"), second.join("folder")] {
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let search = format!("/nowhere:{}:{}", first.display(), second.display());
        for name in ["plain", "folder"] {
            let found = find(name, search.as_bytes()).unwrap();
            assert_eq!(found.as_bytes(), second.join(name).as_os_str().as_bytes());
        }
        let missing = find("absent", search.as_bytes()).unwrap_err();
        assert_eq!(missing.kind, FailureKind::ExecutableNotFound);
        assert_eq!(missing.message, "exec \"absent\": executable file not found in $PATH");
        let first = first.display().to_string();
        let plain = find("plain", first.as_bytes()).unwrap_err();
        assert_eq!(plain.kind, FailureKind::NotExecutable);
        assert_eq!(plain.message, format!("exec \"{first}/plain\": permission denied"));
        let folder = find("folder", first.as_bytes()).unwrap_err();
        assert_eq!(folder.kind, FailureKind::ExecutableNotFound);
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        assert_eq!(find("/bin/sh", b"").unwrap().as_bytes(), b"/bin/sh");
        let missing = find("/no/such", b"").unwrap_err();
        assert_eq!(missing.kind, FailureKind::ExecutableNotFound);
        assert_eq!(
            missing.message,
            "exec \"/no/such\": stat /no/such: no such file or directory"
        );
        let said = |path: &str| {
            let refused = find(path, b"").unwrap_err();
            assert_eq!(refused.kind, FailureKind::NotExecutable, "{path}");
            refused.message
        };
        assert_eq!(said("/etc"), "exec \"/etc\": is a directory");
        let plain = tempfile::NamedTempFile::new().unwrap();
        let plain = plain.path().to_str().unwrap();
        assert_eq!(said(plain), format!("exec {plain:?}: permission denied"));
    }
}
