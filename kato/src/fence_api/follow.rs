//! An answer of fence that goes on: lines for as long as there are any, read one by one.
//!
//! What a line means, and whether to ask again where the answer was cut off, is for the caller.

use std::path::Path;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::{Error, Result};
use super::transport::{self, Call};

/// The longest line that is read, in bytes; fence sends none that is nearly so long.
const MAX_LINE: usize = 1024 * 1024;

/// The lines of an answer.
pub struct Lines {
    action: &'static str,
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// Make a call whose answer goes on.
    pub async fn of(socket: &Path, call: Call) -> Result<Lines> {
        let action = call.action;
        let body = transport::open(socket, call).await?;
        let read = BytesMut::new();
        Ok(Lines { action, body, read })
    }

    /// The next line, without its end; `None` where the answer ends.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.read.len() > MAX_LINE {
                return Err(Error::Answer {
                    action: self.action,
                    problem: format!("a line of more than {MAX_LINE} bytes"),
                });
            }
            match self.body.frame().await {
                // Part of a line is of no use.
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(transport::broken(self.action, error)),
            }
        }
    }
}
