//! `kato container copy`: files between this machine and a container, or tar archives on kato's own streams.
//!
//! What comes out of a container is not trusted: it stays below its directory, belongs to who copies, and nothing in it
//! means anything to the kernel.

mod into;
mod out;

use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use clap_complete::engine::ValueCompleter;
use clap_complete::{ArgValueCompleter, PathCompleter};

use super::problem;
use crate::commands::Context;
use crate::error::{Error, Exit, Kind, Result};
use crate::fence_api::Client;

/// How many pieces of an archive wait between its two ends.
const PIECES: usize = 16;
/// How often the progress is told.
const TOLD: Duration = Duration::from_millis(200);
/// The most files that are named where they were not copied.
const MAX_NAMED: usize = 20;

/// Copy files into or out of a container
///
/// One side is HANDLE:PATH, the other a path of this machine or `-` for a tar archive on kato's own input or output.
/// The destination is always a directory, made where it is missing; the source comes into it under its own name, and
/// with a `/` behind it only what is in it does. A path in a container that is not absolute is below the user's home.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container copy app web:/srv            /srv/app in the container
  kato container copy app/ web:/srv           what is in app, in /srv
  kato container copy -u stackato app web:    below the home of stackato, and its own
  kato container copy web:/var/log .          ./log on this machine
  kato container copy web:/srv - | tar t
  tar c app | kato container copy - web:/srv")]
pub struct CopyArgs {
    /// As whom to write or read in the container [default: root]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    user: String,
    /// From where
    #[arg(value_name = "SRC", add = places())]
    source: String,
    /// To which directory
    #[arg(value_name = "DST", add = places())]
    destination: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Container { handle: &'a str, path: &'a str },
    Path(&'a str),
    Stream,
}

/// Copy them.
pub async fn run(context: &Context, client: &Client, args: &CopyArgs) -> Result<Exit> {
    // It lives as long as the command, which makes one copy.
    let moved: &'static AtomicU64 = Box::leak(Box::default());
    let copying = async {
        match (side(&args.source), side(&args.destination)) {
            (Side::Container { handle, path }, to @ (Side::Path(_) | Side::Stream)) => {
                let copied = out::copy(client, handle, &args.user, path, &to, moved).await;
                (handle, copied)
            }
            (from @ (Side::Path(_) | Side::Stream), Side::Container { handle, path }) => {
                let copied = into::copy(client, handle, &args.user, path, &from, moved).await;
                (handle, copied)
            }
            _ => ("", Err(Failure::Here(neither()))),
        }
    };
    let (handle, copied) = {
        let progress = context.ui.progress("copying");
        let telling = async {
            loop {
                tokio::time::sleep(TOLD).await;
                progress.update(&format!("copying: {}", size(moved.load(Ordering::Relaxed))));
            }
        };
        tokio::select! {
            copied = copying => copied,
            () = telling => return Ok(Exit::Done),
        }
    };
    match copied {
        Ok(left_out) => finish(context, &left_out),
        Err(Failure::Here(error)) => Err(error),
        Err(Failure::Fence(error)) => Err(problem::explain(client, handle, error).await),
    }
}

/// Where a copy failed.
enum Failure {
    Here(Error),
    Fence(crate::fence_api::Error),
}

/// Files that were left out on this machine, each with the reason.
#[derive(Debug, Default)]
struct LeftOut {
    count: usize,
    named: Vec<String>,
}

impl LeftOut {
    fn add(&mut self, line: String) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(line);
        }
    }
}

fn finish(context: &Context, left_out: &LeftOut) -> Result<Exit> {
    if left_out.count == 0 {
        return Ok(Exit::Done);
    }
    for line in &left_out.named {
        context.ui.warn(line);
    }
    let message = format!("{} of the files were not copied as they are", left_out.count);
    Err(Error::new(Kind::Partly, message))
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// `HANDLE:PATH`; what has a `/` before its colon, or none, is a path of this machine.
fn side(text: &str) -> Side<'_> {
    match text.split_once(':') {
        Some((handle, path)) if !handle.is_empty() && !handle.contains('/') => Side::Container { handle, path },
        _ if text == "-" => Side::Stream,
        _ => Side::Path(text),
    }
}

fn neither() -> Error {
    Error::usage("one of SRC and DST, and not both, is a place in a container: HANDLE:PATH")
        .hint("kato container copy --help; a path of this machine with a colon in it begins with ./")
}

fn places() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| PathCompleter::any().stdio().complete(current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_apart_by_their_colon() {
        let container = |handle, path| Side::Container { handle, path };
        assert_eq!(side("web:/srv"), container("web", "/srv"));
        assert_eq!(side("web:a:b"), container("web", "a:b"));
        assert_eq!(side("web:"), container("web", ""));
        assert_eq!(side("-"), Side::Stream);
        for path in ["web", "./web:1", "/a:b", ":a", ""] {
            assert_eq!(side(path), Side::Path(path));
        }
    }
}
