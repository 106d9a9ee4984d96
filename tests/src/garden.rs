//! A Garden client that behaves as the Go one does, mistakes and all, and is strict where that one would fail.
//!
//! Ordinary calls use one connection each with `Connection: close`; Run, Attach and the side streams take the connection
//! over after the response head and ignore what that said of the body. A client holds no state: every call connects anew.
//! It panics never; what the server may not do is an [`Error::Protocol`].

mod calls;
mod error;
mod files;
mod hijack;
mod http;
mod output;
mod process;
mod types;

pub use calls::Client;
pub use error::{Error, ErrorBody, Result};
pub use files::{Download, Upload};
pub use hijack::{MainConnection, SideConnection};
pub use http::{Address, Body, Head, Request, Response};
pub use output::Output;
pub use process::{Outputs, Process, Signal};
pub use types::*;
