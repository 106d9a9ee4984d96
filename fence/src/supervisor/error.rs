//! What can go wrong with a container, in terms a face can map to its own codes.

use crate::container::{Handle, ProcessId, ProcessSpecError, SpecError};

/// The result of a supervisor call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the supervisor did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unknown handle: {handle}")]
    ContainerNotFound { handle: String },
    #[error("unknown process: {process}")]
    ProcessNotFound { handle: Handle, process: String },
    #[error("property does not exist: {key}")]
    PropertyNotFound { handle: Handle, key: String },
    /// Garden's own words, which clients compare.
    #[error("Handle '{handle}' already in use")]
    HandleInUse { handle: Handle },
    #[error("process id {process} already in use")]
    ProcessExists { handle: Handle, process: ProcessId },
    #[error("container already being destroyed")]
    BeingDestroyed { handle: Handle },
    /// The container is in a state in which this cannot be done.
    #[error("could not {attempt} in {handle}: the container is {state}")]
    WrongState {
        handle: Handle,
        attempt: &'static str,
        state: &'static str,
    },
    /// Nothing that is frozen answers, so nobody is made to wait for it.
    #[error("could not {attempt} in {handle}: the container is paused")]
    Paused { handle: Handle, attempt: &'static str },
    #[error("{message}")]
    ExecutableNotFound { handle: Handle, message: String },
    /// The program is there and cannot be executed.
    #[error("{message}")]
    NotExecutable { handle: Handle, message: String },
    /// The container refused the process: no such user, a directory that cannot be made, a limit it cannot have.
    #[error("{message}")]
    ProcessRefused { handle: Handle, message: String },
    /// Files could not be copied, or not all of them. Garden's own words come first.
    #[error("error {what}: {message}")]
    Copy {
        handle: Handle,
        what: &'static str,
        message: String,
    },
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    ProcessSpec(#[from] ProcessSpecError),
    /// This node's configuration forbids it.
    #[error("{what} is not allowed on this node")]
    NotAllowed { what: String, hint: &'static str },
    /// The node is being taken out of service.
    #[error("this node is being retired: nothing new is started on it")]
    Retiring,
    /// The node has no more of it.
    #[error("this node has no more {what}")]
    Exhausted { what: String },
    #[error("host port {port} is in use")]
    PortInUse { port: u16 },
    /// There is no image to make a container of.
    #[error("the image {name} cannot be used: {reason}")]
    ImageMissing {
        name: String,
        reason: String,
        temporary: bool,
    },
    #[error("could not measure {handle}")]
    Measure {
        handle: Handle,
        #[source]
        source: crate::cgroup::Error,
    },
    #[error("could not {attempt} {what}")]
    Engine {
        attempt: &'static str,
        what: String,
        #[source]
        source: engine::Error,
    },
    #[error("could not record {what} in the inventory")]
    Inventory {
        what: String,
        #[source]
        source: crate::inventory::Error,
    },
    #[error("could not {attempt}")]
    Network {
        attempt: &'static str,
        #[source]
        source: crate::network::Error,
    },
    #[error("could not {attempt} {path}")]
    Files {
        attempt: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The container's first process does not answer. Temporary.
    #[error("the first process of {handle} does not answer: {reason}")]
    InitUnreachable { handle: Handle, reason: String },
    /// The daemon is starting or stopping. Temporary.
    #[error("fence is {0}; try again in a moment")]
    NotReady(&'static str),
}

impl Error {
    /// Whether the same call may succeed later without anything being changed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Engine { source, .. } if source.is_temporary() => true,
            Error::ImageMissing { temporary, .. } => *temporary,
            Error::InitUnreachable { .. } | Error::NotReady(_) => true,
            _ => self.is_full(),
        }
    }

    /// Whether a disk has no room for it: fence's own or the engine's.
    pub fn is_full(&self) -> bool {
        match self {
            Error::Inventory { source, .. } => source.is_full(),
            Error::Files { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            Error::Engine { source, .. } => source.is_full(),
            _ => false,
        }
    }

    /// The whole chain in one line, each cause once.
    pub fn chain(&self) -> String {
        crate::chain::chain(self)
    }
}
