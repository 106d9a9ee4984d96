//! The three questions kato asks the container engine itself: whether it answers, which it is, how it is set.
//!
//! Everything else about containers goes through fence. The engine is only looked at here, never changed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The largest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens on the socket, or it may not be opened.
    #[error("no Docker engine answers at {}", socket.display())]
    Unreachable { socket: PathBuf, source: io::Error },
    /// It took the call and said nothing.
    #[error("the Docker engine at {} gave no answer within {} s", socket.display(), bound.as_secs_f32())]
    TimedOut { socket: PathBuf, bound: Duration },
    /// It answered what makes no sense.
    #[error("the Docker engine at {} did not answer as one does: {problem}", socket.display())]
    Answer { socket: PathBuf, problem: String },
}

/// Which engine it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineVersion {
    /// Its version.
    pub version: String,
    /// The version of its API.
    pub api_version: String,
    /// Its operating system.
    pub os: String,
    /// Its architecture.
    pub arch: String,
}

/// How it is set, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineInfo {
    /// Whether containers go on while the engine is stopped.
    #[serde(default)]
    pub live_restore_enabled: bool,
}

/// A Docker engine behind a unix socket.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
    bound: Duration,
}

impl Engine {
    /// The engine at this socket; each call takes at most `bound`.
    pub fn new(socket: &Path, bound: Duration) -> Self {
        Engine {
            socket: socket.to_path_buf(),
            bound,
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.get("/_ping").await.map(drop)
    }

    /// Which it is.
    pub async fn version(&self) -> Result<EngineVersion, Error> {
        self.parse(&self.get("/version").await?)
    }

    /// How it is set.
    pub async fn info(&self) -> Result<EngineInfo, Error> {
        self.parse(&self.get("/info").await?)
    }

    fn parse<'a, T: Deserialize<'a>>(&self, body: &'a [u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| self.odd(error.to_string()))
    }

    fn odd(&self, problem: String) -> Error {
        Error::Answer {
            socket: self.socket.clone(),
            problem,
        }
    }

    async fn get(&self, path: &str) -> Result<Bytes, Error> {
        let timed_out = Error::TimedOut {
            socket: self.socket.clone(),
            bound: self.bound,
        };
        timeout(self.bound, self.exchange(path)).await.unwrap_or(Err(timed_out))
    }

    async fn exchange(&self, path: &str) -> Result<Bytes, Error> {
        let unreachable = |source| Error::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let odd = |error: hyper::Error| self.odd(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(odd)?;
        // It ends with the connection; what goes wrong on it reaches the sender as well.
        tokio::spawn(connection);
        let request = Request::get(path).header(HOST, "docker").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| self.odd(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(odd)?;
        if response.status() != StatusCode::OK {
            return Err(self.odd(format!("HTTP status {}", response.status())));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| self.odd(error.to_string()))?.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// A socket that gives every caller this answer, or none at all.
    fn served(answer: Option<&'static str>) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Some(answer) = answer {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
                open.push(stream);
            }
        });
        (directory, socket)
    }

    #[tokio::test]
    async fn an_answer_is_read_and_odd_ones_are_errors() {
        let body = "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"LiveRestoreEnabled\": true}";
        let (_directory, socket) = served(Some(body));
        let engine = Engine::new(&socket, Duration::from_secs(10));
        assert!(engine.info().await.unwrap().live_restore_enabled);
        assert!(matches!(engine.version().await, Err(Error::Answer { .. })));
        let (_directory, socket) = served(Some("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"));
        let error = Engine::new(&socket, Duration::from_secs(10)).ping().await.unwrap_err();
        assert!(error.to_string().contains("500"), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_hangs_or_is_gone_is_told_in_time() {
        let (directory, socket) = served(None);
        let hung = Engine::new(&socket, Duration::from_millis(50)).ping().await;
        assert!(matches!(hung, Err(Error::TimedOut { .. })), "{hung:?}");
        let gone = Engine::new(&directory.path().join("none"), Duration::from_secs(10))
            .ping()
            .await;
        assert!(matches!(gone, Err(Error::Unreachable { .. })), "{gone:?}");
    }
}
