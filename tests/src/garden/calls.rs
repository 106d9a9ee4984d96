//! The ordinary calls: JSON in, JSON out, one connection each.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::{Error, ErrorBody, Result};
use super::http::{self, Address, Body, Head, Request, Response};
use super::types::{Capacity, ContainerInfo, ContainerSpec, PortMapping};

/// A client of one Garden server. It has no state; clones are the same client.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
}

impl Client {
    /// A client of the server that listens there.
    pub fn new(address: Address) -> Client {
        Client { address }
    }

    /// Where the server listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the server answers.
    pub fn ping(&self) -> Result<()> {
        self.nothing("GET", "/ping", None)
    }

    /// What the server can hold.
    pub fn capacity(&self) -> Result<Capacity> {
        self.get("/capacity")
    }

    /// The handles of all containers that have these properties.
    pub fn list(&self, filter: &[(&str, &str)]) -> Result<Vec<String>> {
        let pairs: Vec<String> = filter
            .iter()
            .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
            .collect();
        let target = if pairs.is_empty() {
            "/containers".into()
        } else {
            format!("/containers?{}", pairs.join("&"))
        };
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            handles: Option<Vec<String>>,
        }
        Ok(self.get::<Answer>(&target)?.handles.unwrap_or_default())
    }

    /// Whether the container is there, found out as the Go client does: by listing all.
    pub fn lookup(&self, handle: &str) -> Result<bool> {
        Ok(self.list(&[])?.iter().any(|listed| listed == handle))
    }

    /// Make a container; the answer is its handle.
    pub fn create(&self, spec: &ContainerSpec) -> Result<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            handle: String,
        }
        Ok(decode::<Answer>(self.call("POST", "/containers", Some(&to_value(spec)?))?)?.handle)
    }

    /// What the server says of the container.
    pub fn info(&self, handle: &str) -> Result<ContainerInfo> {
        self.get(&path(handle, "/info"))
    }

    /// Destroy the container.
    pub fn destroy(&self, handle: &str) -> Result<()> {
        self.nothing("DELETE", &path(handle, ""), None)
    }

    /// End the container's processes, at once or politely.
    pub fn stop(&self, handle: &str, kill: bool) -> Result<()> {
        self.nothing("PUT", &path(handle, "/stop"), Some(&json!({ "kill": kill })))
    }

    /// All properties.
    pub fn properties(&self, handle: &str) -> Result<BTreeMap<String, String>> {
        self.get(&path(handle, "/properties"))
    }

    /// One property.
    pub fn property(&self, handle: &str, key: &str) -> Result<String> {
        #[derive(serde::Deserialize)]
        struct Answer {
            value: String,
        }
        Ok(self
            .get::<Answer>(&path(handle, &format!("/properties/{}", escape(key))))?
            .value)
    }

    /// Set one property.
    pub fn set_property(&self, handle: &str, key: &str, value: &str) -> Result<()> {
        self.nothing(
            "PUT",
            &path(handle, &format!("/properties/{}", escape(key))),
            Some(&json!({ "value": value })),
        )
    }

    /// Remove one property.
    pub fn remove_property(&self, handle: &str, key: &str) -> Result<()> {
        self.nothing("DELETE", &path(handle, &format!("/properties/{}", escape(key))), None)
    }

    /// How long the container lives without a client.
    pub fn set_grace_time(&self, handle: &str, time: Duration) -> Result<()> {
        self.nothing(
            "PUT",
            &path(handle, "/grace_time"),
            Some(&json!(time.as_nanos() as u64)),
        )
    }

    /// Map a port; 0 = the server chooses.
    pub fn net_in(&self, handle: &str, host_port: u32, container_port: u32) -> Result<PortMapping> {
        let mut request = json!({ "handle": handle });
        for (key, port) in [("host_port", host_port), ("container_port", container_port)] {
            if port != 0 {
                request[key] = json!(port);
            }
        }
        decode(self.call("POST", &path(handle, "/net/in"), Some(&request))?)
    }

    /// An ordinary call; the answer is the JSON value of a 2xx answer.
    pub fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = Request::new(method, target);
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(Body::Sized(line(body)));
        }
        let response = self.exchange(request)?;
        if !response.head.is_success() {
            return Err(refusal(&response));
        }
        check_success(&response)
    }

    /// A request of any form, with the headers that the Go client sends on ordinary calls.
    pub fn exchange(&self, request: Request) -> Result<Response> {
        let request = request
            .header("User-Agent", "Go-http-client/1.1")
            .header("Accept-Encoding", "gzip")
            .header("Connection", "close");
        http::exchange(&self.address, &request).map_err(|source| Error::Connection {
            attempt: "call the server",
            source,
        })
    }

    fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T> {
        decode(self.call("GET", target, None)?)
    }

    /// A call whose result is `{}`.
    fn nothing(&self, method: &str, target: &str, body: Option<&Value>) -> Result<()> {
        match self.call(method, target, body)? {
            Value::Object(members) if members.is_empty() => Ok(()),
            other => Err(Error::Protocol(format!(
                "{method} {target} answered {other} instead of {{}}"
            ))),
        }
    }
}

/// The JSON that the Go client would send.
pub(super) fn to_value<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::Protocol(format!("the request is not JSON: {error}")))
}

/// A JSON value and the newline that Go's encoder puts after it.
pub(super) fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// The path of something below a container.
pub(super) fn path(handle: &str, below: &str) -> String {
    format!("/containers/{}{below}", escape(handle))
}

/// Query-style escaping, which the Go client uses in paths too: a space is a `+`.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte as char),
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// What an answer that is not 2xx says.
pub(super) fn refusal(response: &Response) -> Error {
    let status = response.head.status;
    match serde_json::from_slice::<ErrorBody>(&response.body) {
        Ok(body) => Error::Garden {
            status,
            body: Box::new(body),
        },
        Err(_) => Error::BadResponse {
            status,
            body: String::from_utf8_lossy(&response.body).into_owned(),
        },
    }
}

/// The JSON value of a 2xx answer, which has to be one.
fn check_success(response: &Response) -> Result<Value> {
    check_version(&response.head)?;
    if response.head.header("Content-Encoding").is_some() {
        return Err(Error::Protocol("an answer that is encoded".into()));
    }
    if response.body.last() != Some(&b'\n') {
        return Err(Error::Protocol(
            "the body of a 2xx answer does not end in a newline".into(),
        ));
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| Error::Protocol(format!("the body of a 2xx answer is not a JSON value: {error}")))
}

/// Garden is HTTP/1.1.
pub(super) fn check_version(head: &Head) -> Result<()> {
    if head.version == "HTTP/1.1" {
        return Ok(());
    }
    Err(Error::Protocol(format!("the answer is {}, not HTTP/1.1", head.version)))
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value.clone())
        .map_err(|error| Error::Protocol(format!("{value} is not the answer expected: {error}")))
}
