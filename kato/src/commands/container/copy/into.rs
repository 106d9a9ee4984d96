//! Into a container: an archive of files of this machine, or one that comes on standard input.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};
use files::{Source, Writer};
use futures_util::{Stream, stream};
use nix::errno::Errno;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::{Failure, LeftOut, PIECES, Side};
use crate::error::Error;
use crate::fence_api::Client;

/// How much goes at once, in bytes.
const PIECE: usize = 64 * 1024;

/// A piece of an archive, or why there will be none.
type Piece = io::Result<Bytes>;

pub async fn copy(
    client: &Client,
    handle: &str,
    user: &str,
    destination: &str,
    from: &Side<'_>,
    moved: &'static AtomicU64,
) -> Result<LeftOut, Failure> {
    let Side::Path(path) = from else {
        let sent = client
            .files_in(handle, user, destination, standard_input(), moved)
            .await;
        return sent.map(|()| LeftOut::default()).map_err(Failure::Fence);
    };
    let source = Source::at(Path::new(path)).map_err(|errno| Failure::Here(unreadable(path, errno)))?;
    let (pieces, archive) = mpsc::channel(PIECES);
    let packing = tokio::task::spawn_blocking(move || pack(source, pieces));
    let sent = client
        .files_in(handle, user, destination, received(archive), moved)
        .await;
    // Without a reader it ends, and what fence says of that comes first.
    let packed = packing.await;
    sent.map_err(Failure::Fence)?;
    let failed = |error: io::Error| Failure::Here(Error::failed(format!("could not pack {path}")).because(error));
    packed.map_err(io::Error::other).map_err(failed)?.map_err(failed)
}

fn pack(source: Source, pieces: mpsc::Sender<Piece>) -> io::Result<LeftOut> {
    let mut left_out = LeftOut::default();
    let packed = (|| {
        let mut writer = Writer::new(BufWriter::with_capacity(PIECE, Pieces(pieces.clone())));
        files::pack(source, &mut writer, false, |line| left_out.add(line))?;
        writer.finish().map(drop)
    })();
    if let Err(error) = &packed {
        // So that half an archive is not taken for one.
        let _ = pieces.blocking_send(Err(io::Error::new(error.kind(), error.to_string())));
    }
    packed.map(|()| left_out)
}

/// Where a packing thread writes.
struct Pieces(mpsc::Sender<Piece>);

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(data)));
        sent.map(|()| data.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn received(archive: mpsc::Receiver<Piece>) -> impl Stream<Item = Piece> + Send + 'static {
    stream::unfold(archive, |mut archive| async { Some((archive.recv().await?, archive)) })
}

fn standard_input() -> impl Stream<Item = Piece> + Send + 'static {
    stream::unfold(Some(tokio::io::stdin()), |input| async {
        let mut input = input?;
        let mut piece = BytesMut::with_capacity(PIECE);
        match input.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), Some(input))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

fn unreadable(path: &str, errno: Errno) -> Error {
    let message = format!("cannot read {path}");
    match errno {
        Errno::ENOENT => Error::not_found(message).because(io::Error::from(errno)),
        _ => Error::failed(message).because(io::Error::from(errno)),
    }
}
