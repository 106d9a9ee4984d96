//! HTTP/1.1 by hand, as much of it as the Go client uses: one request on a fresh connection, the head, the body.
//!
//! Knows nothing of Garden. Every read is bounded in size and, by the socket's time limit, in time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The Go client's limit for making a connection.
const DIAL_LIMIT: Duration = Duration::from_secs(2);
/// A test that waits longer than this for a byte has failed; the Go client would wait for ever.
pub const READ_LIMIT: Duration = Duration::from_secs(120);
const MAX_HEAD: u64 = 64 * 1024;
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Where a Garden server listens.
#[derive(Clone, Debug)]
pub enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    /// Connect within the Go client's limit.
    pub fn connect(address: &Address) -> io::Result<Socket> {
        let socket = match address {
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            Address::Tcp(address) => Socket::Tcp(TcpStream::connect_timeout(address, DIAL_LIMIT)?),
        };
        match &socket {
            Socket::Unix(s) => s.set_read_timeout(Some(READ_LIMIT))?,
            Socket::Tcp(s) => s.set_read_timeout(Some(READ_LIMIT))?,
        }
        Ok(socket)
    }

    /// A second handle on the same connection.
    pub fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Unix(s) => Socket::Unix(s.try_clone()?),
            Socket::Tcp(s) => Socket::Tcp(s.try_clone()?),
        })
    }

    /// Hang up in both directions, also under a thread that reads.
    pub fn hang_up(&self) {
        // One that is closed already is as wanted.
        let _ = match self {
            Socket::Unix(s) => s.shutdown(Shutdown::Both),
            Socket::Tcp(s) => s.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(s) => s.read(buf),
            Socket::Tcp(s) => s.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(s) => s.write(buf),
            Socket::Tcp(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub enum Body {
    #[default]
    None,
    /// With a `Content-Length`.
    Sized(Vec<u8>),
    /// With `Transfer-Encoding: chunked`, in chunks of that many bytes.
    Chunked(Vec<u8>, usize),
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Path and query, encoded already.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.into(),
            target: target.into(),
            ..Request::default()
        }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with this body.
    pub fn body(mut self, body: Body) -> Request {
        self.body = body;
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: api\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match &self.body {
            Body::None => bytes.extend_from_slice(b"\r\n"),
            Body::Sized(body) => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
            Body::Chunked(body, size) => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(*size) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated header of that name has the token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values
            .flat_map(|(_, value)| value.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// What the answer says of its body's length.
    pub fn content_length(&self) -> Option<u64> {
        self.header("Content-Length").and_then(|value| value.parse().ok())
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

/// Send the request on a fresh connection and read the head of the answer; the connection stands behind it.
pub fn open(address: &Address, request: &Request) -> io::Result<(Head, BufReader<Socket>)> {
    let mut socket = Socket::connect(address)?;
    // A server may answer and hang up before it has read a request that it refuses: what counts is the answer.
    let sent = socket.write_all(&request.to_bytes());
    let mut reader = BufReader::new(socket);
    match read_head(&mut reader) {
        Ok(head) => Ok((head, reader)),
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

/// Send the head of a request on a fresh connection; the caller sends the body that it announces.
pub fn send(address: &Address, request: &Request) -> io::Result<Socket> {
    let mut socket = Socket::connect(address)?;
    socket.write_all(&request.to_bytes())?;
    Ok(socket)
}

/// Send the request on a fresh connection and read the whole answer.
pub fn exchange(address: &Address, request: &Request) -> io::Result<Response> {
    let (head, mut reader) = open(address, request)?;
    let body = read_body(&head, &mut reader)?;
    Ok(Response { head, body })
}

/// Read what comes after the head, as long as the head says.
pub fn read_body(head: &Head, reader: &mut BufReader<Socket>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.status == 204 {
        return Ok(body);
    }
    if head.has_token("Transfer-Encoding", "chunked") {
        return read_chunks(reader);
    }
    match head.content_length() {
        Some(length) if length > MAX_BODY => return Err(invalid(format!("an answer of {length} bytes"))),
        Some(length) => {
            body.resize(usize::try_from(length).map_err(|e| invalid(e.to_string()))?, 0);
            reader.read_exact(&mut body)?;
        }
        None => {
            reader.take(MAX_BODY).read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_chunks(reader: &mut BufReader<Socket>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(size) = next_chunk(reader)? else {
            return Ok(body);
        };
        if body.len() as u64 + size > MAX_BODY {
            return Err(invalid("an answer without end".into()));
        }
        reader.take(size).read_to_end(&mut body)?;
        end_chunk(reader)?;
    }
}

/// The size of the chunk that comes next; `None` = there are no more, and nothing behind them is left to read.
pub fn next_chunk(reader: &mut BufReader<Socket>) -> io::Result<Option<u64>> {
    let line = read_line(reader)?;
    let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
        .map_err(|_| invalid(format!("chunk size {line:?}")))?;
    if size == 0 {
        while !read_line(reader)?.is_empty() {}
        return Ok(None);
    }
    Ok(Some(size))
}

/// What stands behind a chunk.
pub fn end_chunk(reader: &mut BufReader<Socket>) -> io::Result<()> {
    let end = read_line(reader)?;
    match end.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!("a chunk that ends in {end:?}"))),
    }
}

/// The head of an answer.
pub fn read_head(reader: &mut BufReader<Socket>) -> io::Result<Head> {
    let status_line = read_line(reader)?;
    let mut words = status_line.splitn(3, ' ');
    let version = words.next().unwrap_or_default().to_owned();
    let status = words.next().and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| invalid(format!("status line {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(Head {
                version,
                status,
                headers,
            });
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid(format!("header line {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
        if headers.len() > 100 {
            return Err(invalid("a head without end".into()));
        }
    }
}

fn read_line(reader: &mut BufReader<Socket>) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(MAX_HEAD).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up")),
        Some(b'\n') => {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            String::from_utf8(line).map_err(|_| invalid("a head that is not text".into()))
        }
        Some(_) => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server hung up within a line",
        )),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
