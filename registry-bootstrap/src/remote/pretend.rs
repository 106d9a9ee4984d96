//! A registry and its door for tests: TLS of a CA of their own, and answers that a function gives to each question.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cluster::identity::{Ca, Key, Request, Subject, tls};
use engine::RegistryAuth;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Remote;

/// An answer: its status, its headers, its body.
pub(super) struct Said(pub u16, pub Vec<(&'static str, String)>, pub Vec<u8>);

/// Said as JSON.
pub(super) fn json(value: serde_json::Value) -> Said {
    Said(200, Vec::new(), value.to_string().into_bytes())
}

/// The registry, which ends with the test; `answers` is told where it is and the head of each question.
pub(super) async fn registry(answers: impl Fn(SocketAddr, &str) -> Said + Send + Sync + 'static) -> Remote {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_make(folder.path()).unwrap();
    let key = Key::load_or_make(&folder.path().join("tls.key")).unwrap();
    let subject = Subject::Registry {
        host: "127.0.0.1".to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
    };
    let request = Request::from_pem(&key.request().unwrap()).unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let certificate = ca.sign(&request, &subject, hour).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls::server(&certificate, &key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // One who hangs up has heard enough.
            let _ = answer(stream, &acceptor, |head| answers(at, head)).await;
        }
    });
    let account = RegistryAuth {
        username: "u".to_owned(),
        password: "p".to_owned(),
    };
    Remote::new(&at.to_string(), ca.pem(), Some(account)).unwrap()
}

async fn answer(stream: TcpStream, acceptor: &TlsAcceptor, answers: impl Fn(&str) -> Said) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let Said(status, headers, body) = answers(&String::from_utf8_lossy(&head));
    let mut text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{text}connection: close\r\n\r\n").as_bytes())
        .await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}
