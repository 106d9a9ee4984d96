//! Kato's client of this node's fence, over fence's unix socket.
//!
//! One method per route, each with a bound on how long it may take: fence never makes kato hang. Types of the wire
//! are in [`wire`] and [`spec`], an attached process in [`stream`]. Nothing is kept between calls and nothing is
//! tried again here; the state belongs to fence.

mod error;
mod files;
#[cfg(test)]
mod fixture_tests;
pub mod follow;
#[cfg(test)]
mod hostile_tests;
pub mod spec;
pub mod stream;
mod transport;
pub mod wire;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use cluster::nodes::Paths;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{Error, RefusalKind, Result};
pub use files::Archive;
use follow::Lines;
use spec::{CreateRequest, ProcessSpec};
use stream::{FromFence, Incoming, Outgoing, Started};
use transport::Call;
use wire::{Container, Metrics, Status, TopProcess, Version};

/// For what fence answers from memory.
const QUICK: Duration = Duration::from_secs(15);
/// For what makes fence act on Docker once or twice.
const CHANGE: Duration = Duration::from_secs(150);
/// For a stop: processes are given their time to end, which is a setting of the cluster and at most 600 s.
const STOP: Duration = Duration::from_secs(600 + CHANGE.as_secs());

/// A client of one fence.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    /// What this client calls its input, so that no process gets a part of it twice: not the same as any other's.
    source: u64,
}

/// A process that runs, and the stream to it.
pub struct Attached {
    /// What fence said first.
    pub started: Started,
    /// Where its output and its end come in.
    pub incoming: Incoming,
    /// Where its input and signals go out.
    pub outgoing: Outgoing,
}

impl Client {
    /// The client of the fence whose socket is at its place below these paths.
    pub fn new(paths: &Paths) -> Self {
        Client {
            socket: paths.garden_socket(),
            // The keys of each are random.
            source: RandomState::new().build_hasher().finish(),
        }
    }

    /// What is asked for so that neither output nor input is lost or repeated where a connection breaks.
    fn both_ways(&self) -> String {
        format!("output_acks=true&stdin_source={}", self.source)
    }

    /// What fence says of itself.
    pub async fn status(&self) -> Result<Status> {
        self.get("/fence/v1/status".into(), "tell its status").await
    }

    /// Fence's version and those of what it uses.
    pub async fn version(&self) -> Result<Version> {
        self.get("/fence/v1/version".into(), "tell its version").await
    }

    /// All containers of this node.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        self.get("/fence/v1/containers".into(), "list the containers").await
    }

    /// One container.
    pub async fn container(&self, handle: &str) -> Result<Container> {
        self.get(container_path(handle, ""), "describe the container").await
    }

    /// What a container uses at this moment.
    pub async fn metrics(&self, handle: &str) -> Result<Metrics> {
        self.get(container_path(handle, "/metrics"), "measure the container")
            .await
    }

    /// Makes a container, waiting at most `bound` for it: an image may have to be pulled first.
    pub async fn create(&self, request: &CreateRequest, bound: Duration) -> Result<Container> {
        self.post("/fence/v1/containers".into(), request, "create the container", bound)
            .await
    }

    /// Starts a container's main process, with this command instead of the image's unless it is empty.
    pub async fn start(&self, handle: &str, command: &[String]) -> Result<Container> {
        let body = serde_json::json!({ "command": command });
        self.post(container_path(handle, "/start"), &body, "start the container", CHANGE)
            .await
    }

    /// Stops a container's processes; `kill` gives them no time.
    pub async fn stop(&self, handle: &str, kill: bool) -> Result<Container> {
        let body = serde_json::json!({ "kill": kill });
        self.post(container_path(handle, "/stop"), &body, "stop the container", STOP)
            .await
    }

    /// Freezes a container's processes.
    pub async fn pause(&self, handle: &str) -> Result<Container> {
        let path = container_path(handle, "/pause");
        self.post(path, &serde_json::json!({}), "pause the container", CHANGE)
            .await
    }

    /// Has a frozen container go on.
    pub async fn resume(&self, handle: &str) -> Result<Container> {
        let path = container_path(handle, "/resume");
        self.post(path, &serde_json::json!({}), "resume the container", CHANGE)
            .await
    }

    /// What runs in a container.
    pub async fn top(&self, handle: &str) -> Result<Vec<TopProcess>> {
        self.get(container_path(handle, "/top"), "list the processes").await
    }

    /// What happened to containers, as server-sent events.
    pub async fn events(&self, query: &[(&str, String)]) -> Result<Lines> {
        self.lines(format!("/fence/v1/events?{}", encoded(query)), "tell what happened")
            .await
    }

    /// What was kept of a container's output, a line of JSON an entry.
    pub async fn logs(&self, handle: &str, query: &[(&str, String)]) -> Result<Lines> {
        let path = container_path(handle, &format!("/logs?{}", encoded(query)));
        self.lines(path, "show the logs").await
    }

    async fn lines(&self, path: String, action: &'static str) -> Result<Lines> {
        let call = Call {
            method: Method::GET,
            path,
            body: None,
            action,
            bound: QUICK,
        };
        Lines::of(&self.socket, call).await
    }

    /// Destroys a container.
    pub async fn destroy(&self, handle: &str) -> Result<()> {
        let action = "destroy the container";
        let path = container_path(handle, "");
        let call = Call {
            method: Method::DELETE,
            path,
            body: None,
            action,
            bound: CHANGE,
        };
        transport::exchange(&self.socket, call).await.map(drop)
    }

    /// Starts a process in a container and attaches to it. What is not acknowledged of its output is for whoever
    /// attaches next.
    pub async fn run(&self, handle: &str, spec: &ProcessSpec) -> Result<Attached> {
        self.start_process(
            container_path(handle, &format!("/processes?{}{}", self.both_ways(), logged(spec))),
            spec,
        )
        .await
    }

    /// Runs a process and reads nothing of it: all its output is for whoever attaches to it later.
    pub async fn run_detached(&self, handle: &str, spec: &ProcessSpec) -> Result<Attached> {
        let path = container_path(handle, &format!("/processes?detached=true{}", logged(spec)));
        self.start_process(path, spec).await
    }

    async fn start_process(&self, path: String, spec: &ProcessSpec) -> Result<Attached> {
        let action = "run the process";
        let body = Some(encode(spec, action)?);
        self.stream(Call {
            method: Method::POST,
            path,
            body,
            action,
            bound: CHANGE,
        })
        .await
    }

    /// Attaches to a process of a container. Output that nobody has acknowledged comes first.
    pub async fn attach(&self, handle: &str, process: &str) -> Result<Attached> {
        let path = container_path(
            handle,
            &format!("/processes/{}/attach?{}", segment(process), self.both_ways()),
        );
        let action = "attach to the process";
        self.stream(Call {
            method: Method::GET,
            path,
            body: None,
            action,
            bound: QUICK,
        })
        .await
    }

    async fn stream(&self, call: Call) -> Result<Attached> {
        let (action, bound) = (call.action, call.bound);
        let (mut incoming, outgoing) = stream::halves(transport::upgrade(&self.socket, call).await?);
        let answer = |problem: String| Error::Answer { action, problem };
        match tokio::time::timeout(bound, incoming.next()).await {
            Err(_) => Err(Error::TimedOut { action, bound }),
            Ok(Err(error)) => Err(answer(error.to_string())),
            Ok(Ok(Some(FromFence::Started(started)))) => Ok(Attached {
                started,
                incoming,
                outgoing,
            }),
            Ok(Ok(Some(FromFence::Failed(failed)))) if failed.again => Err(Error::Broken {
                action,
                source: std::io::Error::other(failed.error),
            }),
            Ok(Ok(Some(FromFence::Failed(failed)))) => Err(answer(failed.error)),
            Ok(Ok(Some(_))) => Err(answer("the stream does not begin with the process".into())),
            Ok(Ok(None)) => Err(Error::Broken {
                action,
                source: std::io::ErrorKind::UnexpectedEof.into(),
            }),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: String, action: &'static str) -> Result<T> {
        let call = Call {
            method: Method::GET,
            path,
            body: None,
            action,
            bound: QUICK,
        };
        decode(&transport::exchange(&self.socket, call).await?, action)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: String,
        body: &impl Serialize,
        action: &'static str,
        bound: Duration,
    ) -> Result<T> {
        let body = Some(encode(body, action)?);
        let call = Call {
            method: Method::POST,
            path,
            body,
            action,
            bound,
        };
        decode(&transport::exchange(&self.socket, call).await?, action)
    }
}

fn encode(body: &impl Serialize, action: &'static str) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(|error| Error::Answer {
        action,
        problem: error.to_string(),
    })
}

fn decode<T: DeserializeOwned>(body: &[u8], action: &'static str) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::Answer {
        action,
        problem: error.to_string(),
    })
}

fn container_path(handle: &str, rest: &str) -> String {
    format!("/fence/v1/containers/{}{rest}", segment(handle))
}

/// What the query says of a process whose output is to be kept.
fn logged(spec: &ProcessSpec) -> &'static str {
    if spec.log { "&log=true" } else { "" }
}

/// A query of these names and values.
fn encoded(query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", segment(value)))
        .collect();
    pairs.join("&")
}

/// One segment of a path, with all but the plainest characters as %XX.
fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_segment_whatever_is_in_it() {
        assert_eq!(
            container_path("web-1.a_b", "/stop"),
            "/fence/v1/containers/web-1.a_b/stop"
        );
        assert_eq!(
            container_path("a/b c+d%é", ""),
            "/fence/v1/containers/a%2Fb%20c%2Bd%25%C3%A9"
        );
    }
}
