//! The body of a hijacked request, read by hand: after it the socket is the client's stream, so not a byte more may
//! be taken. Hyper reads the bodies of all other requests.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::head::RequestHead;

/// The longest body of a request that is JSON, in bytes.
pub const MAX_BODY: usize = 4 * 1024 * 1024;
/// How long a client may take to send one.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest line between the chunks of a chunked body, and the most lines of its trailer.
const MAX_LINE: u64 = 4096;
const MAX_TRAILER: usize = 32;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request's body is longer than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the request's body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    TooSlow,
    #[error("the length of the request's body makes no sense")]
    Length,
    #[error("the request's body is not chunked as announced")]
    Chunks,
    #[error("could not read the request's body: {0}")]
    Read(io::Error),
}

/// How the end of a body is told.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// Read the whole body. `writer` is for the go-ahead that some clients wait for before they send it.
pub async fn read<R, W>(head: &RequestHead, reader: &mut R, writer: &mut W) -> Result<Bytes, BodyError>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let framing = framing(head)?;
    if framing == Framing::Length(0) {
        return Ok(Bytes::new());
    }
    let reading = async {
        if head.names(EXPECT, "100-continue") {
            writer
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .map_err(BodyError::Read)?;
            writer.flush().await.map_err(BodyError::Read)?;
        }
        match framing {
            Framing::Length(length) => read_exactly(reader, length).await,
            Framing::Chunked => read_chunks(reader).await,
        }
    };
    tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

fn framing(head: &RequestHead) -> Result<Framing, BodyError> {
    let lengths = head.headers.get_all(CONTENT_LENGTH);
    if head.headers.contains_key(TRANSFER_ENCODING) {
        // With both, two readers could disagree on where the body ends.
        let chunked = head.names(TRANSFER_ENCODING, "chunked") && lengths.iter().next().is_none();
        return if chunked {
            Ok(Framing::Chunked)
        } else {
            Err(BodyError::Length)
        };
    }
    let mut found = None;
    for value in lengths {
        let digits = value
            .to_str()
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
        let length: u64 = digits.and_then(|text| text.parse().ok()).ok_or(BodyError::Length)?;
        if found.is_some_and(|other| other != length) {
            return Err(BodyError::Length);
        }
        found = Some(length);
    }
    match found.unwrap_or(0) {
        length if length > MAX_BODY as u64 => Err(BodyError::TooLarge),
        length => Ok(Framing::Length(length as usize)),
    }
}

async fn read_exactly(reader: &mut (impl AsyncBufRead + Unpin), length: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    append(reader, &mut body, length).await?;
    Ok(body.freeze())
}

/// Append exactly `length` bytes; memory is taken as they arrive, not as they are announced.
async fn append(reader: &mut (impl AsyncBufRead + Unpin), body: &mut BytesMut, length: usize) -> Result<(), BodyError> {
    let mut part = reader.take(length as u64);
    let until = body.len() + length;
    while body.len() < until {
        if part.read_buf(body).await.map_err(BodyError::Read)? == 0 {
            return Err(BodyError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(())
}

async fn read_chunks(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    loop {
        let line = read_line(reader).await?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(BodyError::Chunks);
        };
        if size > (MAX_BODY - body.len()) as u64 {
            return Err(BodyError::TooLarge);
        }
        if size == 0 {
            skip_trailer(reader).await?;
            return Ok(body.freeze());
        }
        append(reader, &mut body, size as usize).await?;
        if !read_line(reader).await?.trim_ascii().is_empty() {
            return Err(BodyError::Chunks);
        }
    }
}

async fn skip_trailer(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<(), BodyError> {
    for _ in 0..MAX_TRAILER {
        if read_line(reader).await?.trim_ascii().is_empty() {
            return Ok(());
        }
    }
    Err(BodyError::TooLarge)
}

/// A line with its end.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, BodyError> {
    let mut line = Vec::new();
    reader
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .await
        .map_err(BodyError::Read)?;
    if line.ends_with(b"\n") {
        Ok(line)
    } else {
        Err(BodyError::Chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use tokio::io::BufReader;

    fn head(fields: &[(&'static str, &str)]) -> RequestHead {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        RequestHead {
            method: http::Method::POST,
            uri: "/".parse().unwrap(),
            headers,
        }
    }

    /// The body, what was left in the stream, and what was said to the client.
    async fn read_from(fields: &[(&'static str, &str)], stream: &[u8]) -> Result<(String, String, String), BodyError> {
        let mut reader = BufReader::with_capacity(7, stream);
        let mut said = Vec::new();
        let body = read(&head(fields), &mut reader, &mut said).await?;
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        Ok((
            String::from_utf8(body.to_vec()).unwrap(),
            rest,
            String::from_utf8(said).unwrap(),
        ))
    }

    #[tokio::test]
    async fn a_body_of_known_length_leaves_the_rest() {
        let (body, rest, said) = read_from(&[("content-length", "11")], b"hello there{more}")
            .await
            .unwrap();
        assert_eq!(
            (body.as_str(), rest.as_str(), said.as_str()),
            ("hello there", "{more}", "")
        );
    }

    #[tokio::test]
    async fn chunks_are_joined() {
        let stream = b"5\r\nhello\r\n1;ext=1\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n{more}";
        let (body, rest, _) = read_from(&[("transfer-encoding", "chunked")], stream).await.unwrap();
        assert_eq!((body.as_str(), rest.as_str()), ("hello 0123456789", "{more}"));
    }

    #[tokio::test]
    async fn a_waiting_client_is_told_to_go_on() {
        let fields = [("content-length", "2"), ("expect", "100-Continue")];
        let (body, _, said) = read_from(&fields, b"{}").await.unwrap();
        assert_eq!((body.as_str(), said.as_str()), ("{}", "HTTP/1.1 100 Continue\r\n\r\n"));
    }

    #[tokio::test]
    async fn no_length_is_no_body() {
        assert_eq!(read_from(&[], b"{more}").await.unwrap().0, "");
    }

    #[tokio::test]
    async fn lengths_that_make_no_sense_are_refused() {
        for fields in [
            &[("content-length", "-1")][..],
            &[("content-length", "")],
            &[("content-length", "+1")],
            &[("content-length", "1"), ("content-length", "2")],
            &[("content-length", "2"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip")],
        ] {
            assert!(
                matches!(read_from(fields, b"{}").await, Err(BodyError::Length)),
                "{fields:?}"
            );
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded_before_they_are_read() {
        let long = (MAX_BODY + 1).to_string();
        assert!(matches!(
            read_from(&[("content-length", &long)], b"").await,
            Err(BodyError::TooLarge)
        ));
        let chunked = [("transfer-encoding", "chunked")];
        assert!(matches!(
            read_from(&chunked, b"ffffffff\r\n").await,
            Err(BodyError::TooLarge)
        ));
        let endless = "x".repeat(MAX_LINE as usize + 1);
        assert!(matches!(
            read_from(&chunked, endless.as_bytes()).await,
            Err(BodyError::Chunks)
        ));
        assert!(matches!(
            read_from(&chunked, b"2\r\nabc\r\n").await,
            Err(BodyError::Chunks)
        ));
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_an_error() {
        assert!(matches!(
            read_from(&[("content-length", "3")], b"ab").await,
            Err(BodyError::Read(_))
        ));
        assert!(
            read_from(&[("transfer-encoding", "chunked")], b"5\r\nab")
                .await
                .is_err()
        );
    }
}
