//! A client of bytes: writes requests as text, reads heads, lines and whatever comes until the end.

use std::collections::HashMap;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::DEADLINE;

pub struct Client {
    stream: BufReader<UnixStream>,
}

/// A response head.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    /// By name in lower case.
    pub fields: HashMap<String, String>,
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("nothing came")
}

impl Client {
    pub async fn connect(socket: &Path) -> Client {
        Client {
            stream: BufReader::new(UnixStream::connect(socket).await.unwrap()),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Send a request whose body has a known length.
    pub async fn request(&mut self, method: &str, path: &str, fields: &[&str], body: &str) {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: api\r\n{fields}Content-Length: {length}\r\n\r\n");
        self.send(head + body).await;
    }

    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.stream.read_line(&mut line)).await.unwrap();
        line
    }

    /// A line of JSON.
    pub async fn object(&mut self) -> serde_json::Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    pub async fn head(&mut self) -> Head {
        let first = self.line().await;
        let status = first
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("no status in {first:?}"))
            .parse()
            .unwrap();
        let mut fields = HashMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                assert_eq!(line, "\r\n");
                return Head { status, fields };
            };
            fields.insert(name.to_lowercase(), value.to_owned());
        }
    }

    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        soon(self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon(self.stream.read_to_string(&mut rest)).await.unwrap();
        rest
    }
}
