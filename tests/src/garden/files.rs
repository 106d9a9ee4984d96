//! Files in and out: tar streams, chunked both ways, as the Go client sends and takes them.

use std::io::{self, BufReader, Read, Write};

use super::calls::{Client, check_version, escape, path, refusal};
use super::error::{Error, Result};
use super::http::{self, Request, Response, Socket};

/// How much the Go client sends in one chunk.
const CHUNK: usize = 32 * 1024;

impl Client {
    /// Unpack an archive in the container.
    pub fn stream_in(&self, handle: &str, user: &str, destination: &str, archive: &[u8]) -> Result<()> {
        let mut upload = self.begin_stream_in(handle, user, destination)?;
        for piece in archive.chunks(CHUNK) {
            upload.send(piece);
        }
        upload.finish()
    }

    /// As [`Client::stream_in`], piece by piece.
    pub fn begin_stream_in(&self, handle: &str, user: &str, destination: &str) -> Result<Upload> {
        let below = format!("/files?destination={}&user={}", escape(destination), escape(user));
        let request = ordinary("PUT", &path(handle, &below))
            .header("Content-Type", "application/x-tar")
            .header("Transfer-Encoding", "chunked");
        let socket = http::send(self.address(), &request).map_err(lost)?;
        Ok(Upload { socket, failed: None })
    }

    /// An archive of what is in the container.
    pub fn stream_out(&self, handle: &str, user: &str, source: &str) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        self.begin_stream_out(handle, user, source)?
            .read_to_end(&mut archive)
            .map_err(lost)?;
        Ok(archive)
    }

    /// As [`Client::stream_out`], to be read piece by piece.
    pub fn begin_stream_out(&self, handle: &str, user: &str, source: &str) -> Result<Download> {
        let below = format!("/files?source={}&user={}", escape(source), escape(user));
        let (head, mut reader) = http::open(self.address(), &ordinary("GET", &path(handle, &below))).map_err(lost)?;
        check_version(&head)?;
        if !head.is_success() {
            let body = http::read_body(&head, &mut reader).map_err(lost)?;
            return Err(refusal(&Response { head, body }));
        }
        if !head.has_token("Transfer-Encoding", "chunked") || head.header("Content-Encoding").is_some() {
            return Err(Error::Protocol("an archive that is not in plain chunks".into()));
        }
        Ok(Download { reader, left: Some(0) })
    }
}

/// An archive on its way in. Dropped, the client has left.
pub struct Upload {
    socket: Socket,
    failed: Option<io::Error>,
}

impl Upload {
    /// Send the next piece. A server that hung up is heard of at the end.
    pub fn send(&mut self, piece: &[u8]) {
        if self.failed.is_none() {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            self.failed = self.socket.write_all(&chunk).err();
        }
    }

    /// That was all: what the server says.
    pub fn finish(mut self) -> Result<()> {
        let ended = self.socket.write_all(b"0\r\n\r\n").err();
        let failed = self.failed.or(ended);
        let mut reader = BufReader::new(self.socket);
        let head = http::read_head(&mut reader).map_err(|error| lost(failed.unwrap_or(error)))?;
        check_version(&head)?;
        let body = http::read_body(&head, &mut reader).map_err(lost)?;
        match (head.is_success(), body.as_slice()) {
            (true, b"{}\n") => Ok(()),
            (true, other) => Err(Error::Protocol(format!("files in answered {other:?}"))),
            (false, _) => Err(refusal(&Response { head, body })),
        }
    }
}

/// An archive on its way out. An end without the last chunk is an error, as in the Go client.
pub struct Download {
    reader: BufReader<Socket>,
    /// Of the present chunk; `None` behind the last one.
    left: Option<u64>,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) {
            self.left = http::next_chunk(&mut self.reader)?;
        }
        let Some(left) = self.left else { return Ok(0) };
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - count as u64;
        if left == 0 {
            http::end_chunk(&mut self.reader)?;
        }
        self.left = Some(left);
        Ok(count)
    }
}

fn ordinary(method: &str, target: &str) -> Request {
    Request::new(method, target)
        .header("User-Agent", "Go-http-client/1.1")
        .header("Accept-Encoding", "gzip")
        .header("Connection", "close")
}

fn lost(source: io::Error) -> Error {
    Error::Connection {
        attempt: "stream files",
        source,
    }
}
