//! Bytes at the gateway's port that no client sends: they are refused, or cost their sender the connection, and nobody else
//! anything.

use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::guarded::{Guarded, prefix};
use super::*;
use crate::identity::CONFIG_NAME;
use crate::store::conformance::bounded;
use crate::store::etcd::gateway::{Right, Rights};
use crate::store::etcd::{Credentials, Pem};

type Sender = SendRequest<Full<bytes::Bytes>>;

fn text(pem: &Pem) -> &str {
    match pem {
        Pem::Text(text) => text,
        Pem::File(_) => unreachable!(),
    }
}

/// A client that says whatever it is told, with a certificate that is good.
async fn connect(guarded: &Guarded, credentials: &Credentials) -> Sender {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(text(&credentials.ca).as_bytes()).unwrap())
        .unwrap();
    let chain = vec![CertificateDer::from_pem_slice(text(&credentials.certificate).as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(text(&credentials.key).as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(guarded.address).await.unwrap();
    let name = ServerName::try_from(CONFIG_NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// gRPC's status of the answer.
async fn status(sender: &mut Sender, method: &str, path: &str, body: &[u8]) -> String {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://etcd{path}"))
        .body(Full::from(body.to_vec()))
        .unwrap();
    let response = bounded(sender.send_request(request)).await.unwrap();
    let said = |headers: &http::HeaderMap| {
        headers
            .get("grpc-status")
            .map(|status| status.to_str().unwrap().to_owned())
    };
    let in_head = said(response.headers());
    let trailers = bounded(response.into_body().collect())
        .await
        .unwrap()
        .trailers()
        .and_then(said);
    in_head.or(trailers).unwrap_or_default()
}

#[tokio::test]
async fn questions_that_are_none_are_refused_and_the_next_one_is_answered() {
    let guarded = Guarded::start().await;
    let (mut guest, credentials) = guarded.stranger("hostile", Duration::from_secs(600));
    guest.rights = Rights::Granted(vec![prefix("open/", Right::Read)]);
    guarded.let_in(&guest);
    let mut sender = connect(&guarded, &credentials).await;
    let range = "/etcdserverpb.KV/Range";
    let good = b"\0\0\0\0\x08\x0a\x06open/a";
    assert_eq!(status(&mut sender, "POST", range, good).await, "0");
    for (method, path, body, expected) in [
        ("POST", range, &b""[..], "3"),
        ("POST", range, b"\0\0\0\0\x09\x0a\x06open/a", "3"),
        ("POST", range, b"\x01\0\0\0\x08\x0a\x06open/a", "3"),
        ("POST", range, b"\0\xff\xff\xff\xff", "3"),
        ("POST", range, b"\0\0\0\0\x02\xff\xff", "3"),
        ("POST", range, &[&good[..], &good[..]].concat(), "3"),
        // An order to sort by what does not exist, of which etcd 3.4 dies.
        ("POST", range, b"\0\0\0\0\x0a\x0a\x06open/a\x30\x05", "3"),
        ("POST", "/etcdserverpb.Watch/Watch", b"\0\0\0\0\0", "7"),
        ("POST", "/etcdserverpb.Watch/Watch", b"\0\0\0\0\x09", "3"),
        ("POST", "/", good, "7"),
        ("POST", "/metrics", b"", "7"),
        ("GET", range, b"", "3"),
        ("PUT", range, good, "3"),
    ] {
        assert_eq!(
            status(&mut sender, method, path, body).await,
            expected,
            "{method} {path} {body:?}"
        );
    }
    // Larger than anything that etcd takes.
    let large = vec![0; 3 * 1024 * 1024];
    assert_eq!(status(&mut sender, "POST", range, &large).await, "3");
    assert_eq!(status(&mut sender, "POST", range, good).await, "0");
}

#[tokio::test]
async fn questions_given_up_by_the_thousand_disturb_nobody_else() {
    let guarded = Guarded::start().await;
    let all = guarded.administrator();
    let after = put(&all, "open/a", &"1".repeat(500)).await;
    for n in 0..100 {
        put(&all, &format!("open/b{n}"), &"x".repeat(5000)).await;
    }
    let (_, quiet) = guarded.guest("quiet", vec![prefix("open/a", Right::Read)]);
    let mut watch = quiet.watch("open/a", after).await.unwrap();
    let (mut guest, credentials) = guarded.stranger("restless", Duration::from_secs(600));
    guest.rights = Rights::Granted(vec![prefix("open/", Right::Read)]);
    guarded.let_in(&guest);
    let page = b"\0\0\0\0\x11\x0a\x05open/\x12\x05open0\x18\x64";
    for _ in 0..40 {
        let sender = connect(&guarded, &credentials).await;
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let mut sender = sender.clone();
            asked.spawn(async move {
                let request = Request::post("https://etcd/etcdserverpb.KV/Range");
                let request = request.body(Full::from(page.to_vec())).unwrap();
                let _ = sender.send_request(request).await;
            });
        }
        // Some are under way, some are answered and not read.
        sleep(Duration::from_millis(5)).await;
        asked.shutdown().await;
    }
    put(&all, "open/a", "2").await;
    let changes = bounded(watch.next()).await.expect("the watch went on");
    assert_eq!(values(&changes.events), ["2"]);
}

#[tokio::test]
async fn garbage_in_place_of_a_handshake_ends_the_connection_alone() {
    let guarded = Guarded::start().await;
    let store = guarded.administrator();
    put(&store, "a", "1").await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16; 4096],
        b"\x16\x03\x01",
    ] {
        let mut stream = TcpStream::connect(guarded.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end as any.
        let _ = bounded(stream.read_to_end(&mut answer)).await;
        assert!(answer.len() < 64, "{answer:?}");
    }
    assert_eq!(number(&store, "a").await.0, 1);
}
