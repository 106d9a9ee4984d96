//! Finds the file to execute, as the user and in the directory the process has by then, so that what that user may
//! not execute is not found.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

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
            errno => not_found(path, &reason(errno)),
        });
    }
    search
        .split(|byte| *byte == b':')
        .map(|dir| PathBuf::from(std::ffi::OsStr::from_bytes(if dir.is_empty() { b"." } else { dir })))
        .find_map(|dir| executable(&dir.join(path)).ok())
        .ok_or_else(|| not_found(path, "executable file not found in $PATH"))
}

/// Why the kernel did not execute a file that was found.
pub fn refused(path: &str, errno: Errno) -> Failure {
    match errno {
        Errno::ENOENT => not_found(path, "no such file or directory: the interpreter it names is missing"),
        Errno::EACCES | Errno::ENOEXEC | Errno::ENOTDIR | Errno::ELOOP | Errno::EISDIR => {
            not_found(path, &reason(errno))
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
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        assert_eq!(find("/bin/sh", b"").unwrap().as_bytes(), b"/bin/sh");
        let said = |path: &str| find(path, b"").unwrap_err().message;
        assert_eq!(
            said("/no/such"),
            "exec \"/no/such\": stat /no/such: no such file or directory"
        );
        assert_eq!(said("/etc"), "exec \"/etc\": is a directory");
        let plain = tempfile::NamedTempFile::new().unwrap();
        let plain = plain.path().to_str().unwrap();
        assert_eq!(said(plain), format!("exec {plain:?}: permission denied"));
    }
}
