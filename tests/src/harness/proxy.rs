//! A socket in front of Docker's that can be made to hang or to be gone: the machine's own Docker is left in peace.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

const DOCKER: &str = "/var/run/docker.sock";
/// How long a byte of a dripping answer takes.
const DRIP: Duration = Duration::from_millis(200);
/// What no engine says, in the form in which it would.
const NONSENSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n[[{\"Id\": 7}, \"a\"";

/// What the engine seems to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers.
    Works,
    /// It takes connections and says nothing more, on any of them.
    Hangs,
    /// Nobody listens, and what was open is closed.
    IsGone,
    /// Its answers look like answers and make no sense.
    TalksNonsense,
    /// Its answers come a few bytes a second.
    Drips,
}

/// The socket; gone when dropped.
pub struct DockerProxy {
    folder: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    behaviour: Behaviour,
    open: Vec<UnixStream>,
}

impl DockerProxy {
    /// A proxy that works.
    pub fn start() -> DockerProxy {
        let folder = TempDir::with_prefix("docker-").unwrap_or_else(|error| panic!("could not make a folder: {error}"));
        let state = State {
            behaviour: Behaviour::Works,
            open: Vec::new(),
        };
        let shared = Shared {
            socket: folder.path().join("docker.sock"),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        let proxy = DockerProxy {
            folder,
            shared: Arc::new(shared),
        };
        proxy.listen();
        proxy
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.shared.socket
    }

    /// From now on it does this.
    pub fn set(&self, behaviour: Behaviour) {
        let before = {
            let mut state = self.shared.lock();
            if behaviour == Behaviour::IsGone {
                for stream in state.open.drain(..) {
                    // The other side may have closed it.
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            std::mem::replace(&mut state.behaviour, behaviour)
        };
        self.shared.changed.notify_all();
        if behaviour == Behaviour::IsGone {
            // What listens there now ends with its next connection.
            let _ = fs::remove_file(&self.shared.socket);
        } else if before == Behaviour::IsGone {
            self.listen();
        }
    }

    fn listen(&self) {
        let listener = UnixListener::bind(&self.shared.socket);
        let listener = listener.unwrap_or_else(|error| panic!("could not listen in {:?}: {error}", self.folder.path()));
        let shared = self.shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
    }
}

impl Drop for DockerProxy {
    fn drop(&mut self) {
        self.set(Behaviour::IsGone);
    }
}

impl Shared {
    /// Pass one connection on, in both directions, as long as the engine works.
    fn serve(self: Arc<Self>, client: UnixStream) {
        let Ok(docker) = UnixStream::connect(DOCKER) else {
            return;
        };
        let pairs = [
            (client.try_clone(), docker.try_clone(), false),
            (docker.try_clone(), client.try_clone(), true),
        ];
        self.lock().open.extend([client, docker]);
        for (from, to, answers) in pairs {
            let (Ok(from), Ok(to)) = (from, to) else { return };
            let shared = self.clone();
            thread::spawn(move || shared.copy(from, to, answers));
        }
    }

    fn copy(&self, mut from: UnixStream, mut to: UnixStream, answers: bool) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut state = self.lock();
            while state.behaviour == Behaviour::Hangs {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let behaviour = if answers { state.behaviour } else { Behaviour::Works };
            drop(state);
            let passed = match behaviour {
                Behaviour::TalksNonsense => to.write_all(NONSENSE).and(Err(ErrorKind::InvalidData.into())),
                Behaviour::Drips => self.drip(&buffer[..count], &mut to),
                Behaviour::Works | Behaviour::Hangs | Behaviour::IsGone => to.write_all(&buffer[..count]),
            };
            if passed.is_err() {
                break;
            }
        }
        // The end in this direction; the other one ends by itself.
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Byte by byte, until the engine does something else.
    fn drip(&self, bytes: &[u8], to: &mut UnixStream) -> std::io::Result<()> {
        for (at, byte) in bytes.iter().enumerate() {
            let state = self.lock();
            let still = |state: &mut State| state.behaviour == Behaviour::Drips;
            let waited = self.changed.wait_timeout_while(state, DRIP, still);
            let state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            if state.behaviour != Behaviour::Drips {
                return to.write_all(&bytes[at..]);
            }
            drop(state);
            to.write_all(&[*byte])?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
