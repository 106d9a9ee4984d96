//! What happens in an engine, in our words, and how a stream of it ends.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};

use crate::{ContainerId, Result};

/// A stream of engine events; it ends with an error when the engine goes away, and is then opened again.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event>> + Send>>;
/// Something happened in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// Nanoseconds since 1970, by the engine's clock.
    pub time_ns: i64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created(ContainerId),
    Started(ContainerId),
    Died {
        id: ContainerId,
        exit_code: i64,
    },
    OutOfMemory(ContainerId),
    Removed(ContainerId),
    /// An image was pulled, tagged, imported, loaded or removed; the name or id as the engine gave it.
    ImageChanged(String),
}

/// The events up to and with the first error; their source is dropped with it.
pub(crate) fn until_error(events: impl Stream<Item = Result<Event>> + Send + 'static) -> Events {
    let source: Events = Box::pin(events);
    Box::pin(stream::unfold(Some(source), |source| async move {
        let mut source = source?;
        let event = source.next().await?;
        let rest = event.is_ok().then_some(source);
        Some((event, rest))
    }))
}
