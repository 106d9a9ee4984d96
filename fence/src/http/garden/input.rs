//! What a client says on the main connection of a process: a stream of JSON objects, each one an input, a signal, or
//! a new size of the terminal.
//!
//! Unlike Garden's own server this goes on reading after the end of the input, and while the process does not read
//! what it was sent, so that signals still arrive.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;
use tokio_util::codec::{Decoder, FramedRead};

use super::{convert, wire};
use crate::http::body::MAX_BODY;
use crate::http::hijack::{Reader, gone};
use crate::http::json;
use crate::http::relay::{self, Feed};
use crate::supervisor::{ProcessControl, Result};

/// The signals that Garden's protocol has, by its numbers.
const SIGNALS: [i32; 2] = [nix::libc::SIGTERM, nix::libc::SIGKILL];

/// Do what the client says until it closes the connection.
pub async fn follow(reader: &mut Reader, control: ProcessControl) {
    let (feed, mut waiting) = relay::line(None);
    let passing = async { while waiting.pass_on(&control).await.is_some() {} };
    tokio::join!(listen(reader, &control, feed), passing);
}

async fn listen(reader: &mut Reader, control: &ProcessControl, feed: Feed) {
    let mut objects = FramedRead::new(reader, Objects::default());
    while let Some(object) = objects.next().await {
        let message = match object.and_then(|value| json::from_value(value).map_err(io::Error::other)) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!("a client's input makes no sense, the rest of it is not looked at: {error}");
                return gone(objects.into_inner()).await;
            }
        };
        if let Err(error) = act(message, control, &feed).await {
            tracing::debug!("could not pass on what a client said: {}", error.chain());
        }
    }
}

/// Which member is present decides.
async fn act(message: wire::FromClient, control: &ProcessControl, feed: &Feed) -> Result<()> {
    match message {
        wire::FromClient { tty: Some(tty), .. } => return control.resize(convert::window_size(&tty)).await,
        wire::FromClient {
            source: Some(0),
            data: Some(data),
            ..
        } => feed.data(Bytes::from(data)).await,
        wire::FromClient {
            source: Some(0),
            data: None,
            ..
        } => feed.end(),
        wire::FromClient {
            source: None,
            signal: Some(number),
            ..
        } => {
            if let Some(signal) = usize::try_from(number).ok().and_then(|number| SIGNALS.get(number)) {
                return control.signal(*signal).await;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Cuts a stream of bytes into JSON values.
#[derive(Default)]
pub(super) struct Objects {
    /// How far the buffer was looked at without finding the end of an object.
    seen: usize,
}

impl Decoder for Objects {
    type Item = Value;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Value>> {
        // Most of what arrives is the middle of a long object: not worth parsing from its beginning each time.
        if buffer[self.seen..].contains(&b'}') {
            let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<Value>();
            match values.next() {
                Some(Ok(value)) => {
                    let length = values.byte_offset();
                    buffer.advance(length);
                    self.seen = 0;
                    return Ok(Some(value));
                }
                Some(Err(error)) if !error.is_eof() => return Err(error.into()),
                _ => {}
            }
        }
        self.seen = buffer.len();
        if buffer.len() > MAX_BODY {
            Err(io::Error::other("an object is too long"))
        } else {
            Ok(None)
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Value>> {
        let value = self.decode(buffer)?;
        if value.is_none() {
            buffer.clear();
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn objects(stream: &[u8]) -> Vec<io::Result<Value>> {
        // A pipe this narrow cuts every object into pieces.
        let (mut client, server) = tokio::io::duplex(3);
        let stream = stream.to_vec();
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut client, &stream).await });
        FramedRead::new(server, Objects::default()).collect().await
    }

    fn message(text: &str) -> wire::FromClient {
        json::from_value(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn objects_are_found_wherever_they_are_cut() {
        let found = objects(b"{\"source\":0,\"data\":\"}{\\n\"}\n {\"signal\":1}{\"source\":0}\n").await;
        let found: Vec<Value> = found.into_iter().map(|object| object.unwrap()).collect();
        let expected = [
            serde_json::json!({"source": 0, "data": "}{\n"}),
            serde_json::json!({"signal": 1}),
            serde_json::json!({"source": 0}),
        ];
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn an_unfinished_object_is_nothing() {
        assert!(objects(b"{\"source\":0").await.is_empty());
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        assert!(objects(b"nonsense}").await[0].is_err());
        let mut endless = Objects::default();
        let mut buffer = BytesMut::from(&vec![b'{'; MAX_BODY + 1][..]);
        assert!(endless.decode(&mut buffer).is_err());
    }

    #[test]
    fn the_end_of_input_is_no_data_and_not_empty_data() {
        assert_eq!(message(r#"{"process_id":"p","source":0}"#).data, None);
        assert_eq!(message(r#"{"source":0,"data":null}"#).data, None);
        assert_eq!(message(r#"{"Source":0,"Data":""}"#).data.as_deref(), Some(""));
    }
}
