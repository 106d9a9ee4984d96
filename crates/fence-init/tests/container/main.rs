//! fence-init as fence meets it: the real program as first process of its own pid and mount namespace, driven over its
//! socket. Needs root and `unshare` from util-linux, no Docker.

// All of it is test code, the helpers that clippy does not recognise as such too.
#![allow(clippy::unwrap_used)]

mod container;
mod hostile;
mod identity;
mod output;
mod peer;
mod processes;
mod reconnect;
mod static_binary;
mod stop;
mod terminal;
