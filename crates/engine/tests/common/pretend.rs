//! A pretend dockerd that answers as the test says: for answers that no real one gives on demand.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Gives the whole answer to a request, head included; nothing = the connection is closed.
pub type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

pub struct Pretend {
    folder: TempDir,
    /// The first line of every request, oldest first.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// The API version it tells.
    pub api: Arc<Mutex<String>>,
    serving: JoinHandle<()>,
}

impl Pretend {
    pub fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Pretend {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let (requests, api) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(Mutex::new("1.41".to_owned())),
        );
        let (answer, seen, told): (Answer, _, _) = (Arc::new(answer), requests.clone(), api.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), seen.clone(), told.clone()));
            }
        });
        Pretend {
            folder,
            requests,
            api,
            serving,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }
}

impl Drop for Pretend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: UnixStream, answer: Answer, seen: Arc<Mutex<Vec<String>>>, api: Arc<Mutex<String>>) {
    while let Some(line) = request_line(&mut stream).await {
        let reply = if line.contains("/_ping") {
            let api = api.lock().unwrap().clone();
            format!("HTTP/1.1 200 OK\r\nApi-Version: {api}\r\nContent-Length: 2\r\n\r\nOK").into_bytes()
        } else {
            seen.lock().unwrap().push(line.clone());
            answer(&line)
        };
        if reply.is_empty() || stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// The first line of the next request; requests without a body alone are understood.
async fn request_line(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()?.lines().next().map(str::to_owned)
}

/// A good answer.
pub fn json(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
