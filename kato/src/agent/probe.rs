//! How the agent learns whether a process is ready: it asks the process itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cluster::files;
use cluster::nodes::Paths;
use cluster::store::Store;
use tokio::net::TcpStream;

use super::core::reconciler::ENDPOINTS;
use super::joining::etcd::{Settings, own_store};
use crate::docker_api;
use crate::error::chain;
use crate::fence_api;

/// How much a file may have that holds a process id.
const MAX_PID_FILE: u64 = 64;

/// Why a node with the role config has no etcd.
const NO_MEMBER: &str = "the core has not made it a member yet";

/// What a process answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why it is not ready, or "" where it is.
    pub problem: String,
    /// The process id of who answered, where it says so.
    pub pid: Option<u32>,
}

/// Asks a process whether it is ready.
#[async_trait]
pub trait Probe: Send + Sync {
    /// The answer; who asks bounds the time.
    async fn ask(&self) -> Answer;

    /// Why the process cannot be started yet, whatever it would say; `None` where it can. Quick.
    fn missing(&self) -> Option<&'static str> {
        None
    }
}

/// Fence is ready when it says so on its socket.
pub struct FenceProbe(pub fence_api::Client);

#[async_trait]
impl Probe for FenceProbe {
    async fn ask(&self) -> Answer {
        match self.0.status().await {
            Ok(status) => {
                let problem = match (status.ready, status.engine.problem) {
                    (true, _) => String::new(),
                    (false, problem) if problem.is_empty() => "it is not ready yet".to_owned(),
                    (false, problem) => format!("it is not ready yet: {problem}"),
                };
                Answer {
                    problem,
                    pid: Some(status.pid).filter(|pid| *pid != 0),
                }
            }
            Err(error) => Answer {
                problem: chain(&error),
                pid: None,
            },
        }
    }
}

/// Docker is ready when it answers a ping.
pub struct DockerProbe {
    /// The engine.
    pub engine: docker_api::Engine,
    /// Where dockerd writes its process id, if the agent started it.
    pub pid_file: Option<PathBuf>,
}

impl DockerProbe {
    /// How long one ping may take.
    pub const BOUND: Duration = Duration::from_secs(2);
}

#[async_trait]
impl Probe for DockerProbe {
    async fn ask(&self) -> Answer {
        match self.engine.ping().await {
            Ok(()) => {
                let pid = self
                    .pid_file
                    .as_ref()
                    .and_then(|path| files::read_limited(path, MAX_PID_FILE).ok());
                Answer {
                    problem: String::new(),
                    pid: pid.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok()),
                }
            }
            // Whoever listens may hang; its pid file is no proof that it is the one.
            Err(error) => Answer {
                problem: chain(&error),
                pid: None,
            },
        }
    }
}

/// etcd is ready when it gives an answer that a majority of the members agrees on, and its gateway is open.
pub struct ConfigProbe {
    paths: Paths,
}

impl ConfigProbe {
    /// Of this node's etcd.
    pub fn new(paths: &Paths) -> Self {
        ConfigProbe { paths: paths.clone() }
    }

    /// Why nobody else can ask this member, where that is so.
    async fn closed_gateway(&self) -> Option<String> {
        let at = Settings::load(&self.paths).ok()?.address()?;
        let here: IpAddr = match at {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let opened = TcpStream::connect((here, at.port())).await;
        opened.err().map(|error| format!("its gateway is not open: {error}"))
    }
}

#[async_trait]
impl Probe for ConfigProbe {
    async fn ask(&self) -> Answer {
        let problem = match (self.missing(), own_store(&self.paths).get(ENDPOINTS).await) {
            (Some(missing), _) => Some(missing.to_owned()),
            (None, Ok(_)) => self.closed_gateway().await,
            (None, Err(error)) => Some(chain(&error)),
        };
        Answer {
            problem: problem.unwrap_or_default(),
            pid: None,
        }
    }

    fn missing(&self) -> Option<&'static str> {
        let is_member = Settings::file(&self.paths).exists();
        (!is_member).then_some(NO_MEMBER)
    }
}
