//! The socket a container's init connects to, and the check that it is init who does.

use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use fence_init::protocol::SOCKET_NAME;
use tokio::net::{UnixListener, UnixStream};

use super::{Error, Result};

/// Listen in the directory that is mounted into the container, which is made if it is missing.
///
/// The path may be longer than a socket address can be, so the directory is opened and named by descriptor.
pub(super) fn listen(directory: &Path) -> Result<UnixListener> {
    let failed = |source| Error::Listen {
        path: directory.join(SOCKET_NAME).display().to_string(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW)
        .open(directory)
        .map_err(failed)?;
    match std::fs::remove_file(directory.join(SOCKET_NAME)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let address = format!("/proc/self/fd/{}/{SOCKET_NAME}", opened.as_raw_fd());
    let listener = UnixListener::bind(&address).map_err(failed)?;
    // Only root may connect; user namespaces will need more, and the peer's pid is checked in any case.
    std::fs::set_permissions(directory.join(SOCKET_NAME), std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// The pid of who connected, in this process's own numbering.
pub(super) fn peer_pid(stream: &UnixStream) -> Option<i32> {
    stream.peer_cred().ok()?.pid()
}
