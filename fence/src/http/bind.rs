//! Where fence listens: one unix socket, and a TCP port of the loopback interface when one is configured.
//!
//! It makes the listeners and takes the socket file away again; it accepts nothing. Whoever may connect is root on
//! this node in effect, hence the file's mode and the refusal of every address that another machine could reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// The group whose members may use containers, where there is one of that name.
const GROUP: &str = "fence";
const SOCKET_MODE: u32 = 0o660;
/// The socket under way: it gets its final name once its mode and group are set.
const UNFINISHED: &str = ".new";

/// Why fence cannot listen as asked.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("could not make the directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is there and is not a socket; move it away")]
    NotASocket { path: PathBuf },
    #[error("another process answers at {path}")]
    InUse { path: PathBuf },
    #[error("could not listen at {path}")]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("garden/listen is {given:?}, which is not an address of the form HOST:PORT, such as 127.0.0.1:7777")]
    Address { given: String },
    #[error(
        "garden/listen is {given:?}, which other machines could reach: whoever reaches the Garden API is root on this \
         node, so only an address of the loopback interface is allowed, such as 127.0.0.1:7777"
    )]
    NotLoopback { given: String },
    #[error("could not listen on {address}")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// What the server accepts from. The socket's file goes away with it.
#[derive(Debug)]
pub struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<TcpListener>,
    file: SocketFile,
}

impl Listeners {
    /// Listen at `socket`, and at `listen` (`HOST:PORT` of the loopback interface) unless it is empty.
    pub async fn bind(socket: &Path, listen: &str) -> Result<Listeners, BindError> {
        let address = if listen.is_empty() {
            None
        } else {
            Some(loopback(listen)?)
        };
        let tcp = match address {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| BindError::Tcp { address, source })?,
            ),
            None => None,
        };
        let (unix, file) = bind_socket(socket).await?;
        Ok(Listeners { unix, tcp, file })
    }

    /// The address of the TCP listener, where there is one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.file.path
    }
}

/// The address that the setting means.
fn loopback(given: &str) -> Result<SocketAddr, BindError> {
    let address = match given.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => given.parse().ok(),
    };
    match address {
        None => Err(BindError::Address {
            given: given.to_owned(),
        }),
        Some(address) if !address.ip().to_canonical().is_loopback() => Err(BindError::NotLoopback {
            given: given.to_owned(),
        }),
        Some(address) => Ok(address),
    }
}

/// The file of a socket that this process made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    /// Take the file away, unless a later process has put its own there.
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The socket is made under another name and renamed when it is ready: at no time can anybody else connect to it,
/// and a stale file of that name is replaced in the same step.
async fn bind_socket(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |source| BindError::Socket {
        path: path.to_owned(),
        source,
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(|source| BindError::Directory {
        path: directory.to_owned(),
        source,
    })?;
    refuse_if_served(path).await?;
    let unfinished = directory.join(UNFINISHED);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished).map_err(failed)?;
    let inode = open_to_group(&unfinished)
        .and_then(|inode| std::fs::rename(&unfinished, path).map(|()| inode))
        .map_err(failed)?;
    Ok((
        listener,
        SocketFile {
            path: path.to_owned(),
            inode,
        },
    ))
}

/// A socket file that nobody answers at is what a killed fence leaves behind; anything else is not ours to replace.
async fn refuse_if_served(path: &Path) -> Result<(), BindError> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(BindError::Socket {
                path: path.to_owned(),
                source,
            });
        }
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(BindError::Socket {
            path: path.to_owned(),
            source,
        }),
        Ok(_) => Err(BindError::InUse { path: path.to_owned() }),
    }
}

/// Let root and the group connect. Returns the file's inode.
fn open_to_group(socket: &Path) -> io::Result<u64> {
    if let Ok(Some(group)) = Group::from_name(GROUP)
        && let Err(error) = std::os::unix::fs::chown(socket, None, Some(group.gid.as_raw()))
    {
        tracing::warn!("could not give {} to the group {GROUP}: {error}", socket.display());
    }
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(std::fs::symlink_metadata(socket)?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_taken() {
        for fine in [
            "127.0.0.1:7777",
            "127.8.0.1:0",
            "[::1]:80",
            "localhost:7777",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(loopback(fine).is_ok(), "{fine}");
        }
        for reachable in ["0.0.0.0:7777", "[::]:7777", "192.168.1.1:80", "8.8.8.8:53"] {
            assert!(
                matches!(loopback(reachable), Err(BindError::NotLoopback { .. })),
                "{reachable}"
            );
        }
        for nonsense in [
            "7777",
            "localhost",
            "localhost:",
            "127.0.0.1",
            "example.com:80",
            "localhost:70000",
        ] {
            assert!(
                matches!(loopback(nonsense), Err(BindError::Address { .. })),
                "{nonsense}"
            );
        }
    }

    #[tokio::test]
    async fn the_socket_is_for_root_and_the_group_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/fence/garden.sock");
        let listeners = Listeners::bind(&path, "").await.unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, SOCKET_MODE);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        UnixStream::connect(&path).await.unwrap();
        drop(listeners);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("garden.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = Listeners::bind(&path, "").await.unwrap();
        assert!(matches!(Listeners::bind(&path, "").await, Err(BindError::InUse { .. })));
        UnixStream::connect(&path).await.unwrap();
        drop(first);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("garden.sock");
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(
            Listeners::bind(&path, "").await,
            Err(BindError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn a_later_process_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("garden.sock");
        let first = Listeners::bind(&path, "127.0.0.1:0").await.unwrap();
        assert!(first.tcp_address().is_some_and(|address| address.port() != 0));
        std::fs::remove_file(&path).unwrap();
        let _second = Listeners::bind(&path, "").await.unwrap();
        drop(first);
        assert!(path.exists());
    }
}
