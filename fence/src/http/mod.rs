//! The faces of fence: what clients reach over a socket.
//!
//! ```text
//!  listeners ──▶ server ──▶ connection ─┬─ ordinary request ──▶ hyper, axum router ──▶ handler
//!  (bind)        (limits,   (one head)  └─ hijacked request ──▶ the raw socket ──────▶ handler
//!                 drain)
//! ```
//!
//! Two faces share one socket: [`garden`], so that existing Garden clients work unchanged, and [`own`], below
//! `/fence/v1/`, for what Garden has no words for. A handler reads the request, calls the supervisor, and renders the
//! answer; every rule about containers is the supervisor's, and no state is kept here.

mod bind;
mod body;
mod connection;
mod files;
mod garden;
mod head;
mod hijack;
mod json;
mod output;
mod own;
mod relay;
mod segments;
mod server;
#[cfg(test)]
mod tests;

pub use bind::{BindError, Listeners};
pub use server::{Faces, Options, serve};

use std::sync::Arc;

use crate::container::{Handle, ProcessId};
use crate::supervisor::{self, Hold, Supervisor};

/// Everything this socket answers.
pub fn faces(supervisor: Supervisor) -> Faces {
    let router = garden::router(supervisor.clone()).merge(own::router(supervisor.clone()));
    let hijack =
        move |head: &head::RequestHead| garden::hijack(&supervisor, head).or_else(|| own::hijack(&supervisor, head));
    Faces {
        router,
        hijack: Arc::new(hijack),
    }
}

/// The container that a request names, held for as long as the request lasts. What is no handle names no container.
fn container(supervisor: &Supervisor, name: &str) -> supervisor::Result<(Handle, Hold)> {
    let Ok(handle) = name.parse::<Handle>() else {
        return Err(supervisor::Error::ContainerNotFound {
            handle: name.to_owned(),
        });
    };
    let hold = supervisor.hold(&handle)?;
    Ok((handle, hold))
}

/// The process that a request names. What is no process id names no process.
fn process_id(handle: &Handle, name: &str) -> supervisor::Result<ProcessId> {
    let unknown = |_| supervisor::Error::ProcessNotFound {
        handle: handle.clone(),
        process: name.to_owned(),
    };
    name.parse().map_err(unknown)
}
