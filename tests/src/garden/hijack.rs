//! The calls that take the connection over: heads checked as strictly as Go's old `httputil.ClientConn` does, then raw bytes.

use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::calls::{Client, check_version, escape, line, path, refusal, to_value};
use super::error::{Error, Result};
use super::http::{self, Body, Head, Request, Response, Socket};

/// The connection of a Run or an Attach: JSON objects both ways.
#[derive(Debug)]
pub struct MainConnection {
    pub head: Head,
    objects: Objects,
    writer: Socket,
}

/// The connection of a side stream: raw output, then its end.
#[derive(Debug)]
pub struct SideConnection {
    pub head: Head,
    reader: BufReader<Socket>,
}

impl Client {
    /// Start a process and take over its main connection; no side stream is opened.
    pub fn open_run(&self, handle: &str, spec: &impl Serialize) -> Result<MainConnection> {
        let request = Request::new("POST", &path(handle, "/processes")).body(Body::Sized(line(&to_value(spec)?)));
        self.open_main(request.header("Content-Type", "application/json"))
    }

    /// Attach to a process and take over the main connection; no side stream is opened.
    pub fn open_attach(&self, handle: &str, process: &str) -> Result<MainConnection> {
        self.open_main(Request::new(
            "GET",
            &path(handle, &format!("/processes/{}", escape(process))),
        ))
    }

    /// Open a side stream: `stdout` or `stderr`.
    pub fn open_side(&self, handle: &str, process: &str, stream_id: &str, stream: &str) -> Result<SideConnection> {
        let below = format!("/processes/{}/attaches/{}/{stream}", escape(process), escape(stream_id));
        let request = Request::new("GET", &path(handle, &below)).header("Content-Type", "application/json");
        let (head, reader) = self.take_over(request)?;
        Ok(SideConnection { head, reader })
    }

    fn open_main(&self, request: Request) -> Result<MainConnection> {
        let (head, reader) = self.take_over(request)?;
        let writer = reader.get_ref().try_clone().map_err(|source| Error::Connection {
            attempt: "share the connection",
            source,
        })?;
        Ok(MainConnection {
            head,
            objects: Objects { reader },
            writer,
        })
    }

    fn take_over(&self, request: Request) -> Result<(Head, BufReader<Socket>)> {
        let lost = |source| Error::Connection {
            attempt: "take the connection over",
            source,
        };
        let request = request.header("User-Agent", "Go-http-client/1.1");
        let (head, mut reader) = http::open(self.address(), &request).map_err(lost)?;
        check_head(&head)?;
        if head.is_success() {
            return Ok((head, reader));
        }
        let body = http::read_body(&head, &mut reader).map_err(lost)?;
        Err(refusal(&Response { head, body }))
    }
}

/// What makes the Go client lose the connection, or the error, is refused here.
fn check_head(head: &Head) -> Result<()> {
    check_version(head)?;
    let lost = |why: &str| {
        Err(Error::Protocol(format!(
            "persistent connection closed: status {} {why}",
            head.status
        )))
    };
    if head.has_token("Connection", "close") {
        return lost("with Connection: close");
    }
    let chunked = head.has_token("Transfer-Encoding", "chunked");
    let sized = head.content_length().is_some();
    if !head.is_success() {
        return if sized {
            Ok(())
        } else {
            lost("without a Content-Length")
        };
    }
    if chunked || sized || head.status == 204 {
        return Ok(());
    }
    lost("with neither Transfer-Encoding: chunked nor Content-Length")
}

impl MainConnection {
    /// Split into what reads the server's objects and what writes the client's.
    pub(super) fn split(self) -> (Objects, Socket) {
        (self.objects, self.writer)
    }

    /// The server's next object; `None` = it hung up.
    pub fn next_object(&mut self) -> Result<Option<Value>> {
        self.objects.next_object()
    }

    /// Send one object.
    pub fn send(&mut self, object: &Value) -> Result<()> {
        self.writer
            .write_all(&line(object))
            .map_err(|source| Error::Connection {
                attempt: "write to the process",
                source,
            })
    }

    /// Send bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|source| Error::Connection {
            attempt: "write to the process",
            source,
        })
    }

    /// Hang up.
    pub fn hang_up(&self) {
        self.writer.hang_up();
    }
}

/// The JSON objects that come on a main connection.
#[derive(Debug)]
pub(super) struct Objects {
    reader: BufReader<Socket>,
}

impl Objects {
    /// The next object; `None` = the server hung up.
    pub fn next_object(&mut self) -> Result<Option<Value>> {
        match serde_json::Deserializer::from_reader(&mut self.reader)
            .into_iter::<Value>()
            .next()
        {
            None => Ok(None),
            Some(Ok(value)) if value.is_object() => Ok(Some(value)),
            Some(Ok(value)) => Err(Error::Protocol(format!(
                "{value} on the main connection is not an object"
            ))),
            Some(Err(error)) if error.is_io() => Err(Error::Connection {
                attempt: "read from the process",
                source: error.into(),
            }),
            Some(Err(error)) => Err(Error::Protocol(format!("the main connection carries no JSON: {error}"))),
        }
    }

    /// End a wait for the next object after this time; for a process that takes its time there is no limit.
    pub fn without_limit(&self) -> io::Result<()> {
        set_limit(self.reader.get_ref(), None)
    }
}

impl SideConnection {
    /// All output until the server hangs up.
    pub fn read_to_end(mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.reader.read_to_end(&mut all)?;
        Ok(all)
    }

    /// The reading half alone, without a limit of time.
    pub(super) fn into_reader(self) -> io::Result<BufReader<Socket>> {
        set_limit(self.reader.get_ref(), None)?;
        Ok(self.reader)
    }
}

fn set_limit(socket: &Socket, limit: Option<Duration>) -> io::Result<()> {
    match socket {
        Socket::Unix(s) => s.set_read_timeout(limit),
        Socket::Tcp(s) => s.set_read_timeout(limit),
    }
}
