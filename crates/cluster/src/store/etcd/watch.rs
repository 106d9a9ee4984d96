//! Feeding one watch: etcd's answers as the changes of one revision each, until the first error.
//!
//! etcd says "compacted" and "not allowed" in an answer that ends the watch and not as an error, sends many revisions at
//! once to who is behind, and cuts large answers anywhere. A connection that died is noticed by the questions whether it
//! lives that go over it ([`super::connection`]), a member that lost the others because it says so.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{Connector, Open};
use super::failure::{Failure, Refusal, classify};
use super::range::{MAX_ANSWER, bounds, number, revision};
use super::{call, text};
use crate::store::{Changes, Error, Event, Result, Revision, Watch};

const ATTEMPT: &str = "watch";
/// How long opening may take once there is a connection.
const OPENING: Duration = Duration::from_secs(4);

/// Open a watch of the changes after `after`.
pub async fn watch(connector: &Arc<Connector>, prefix: &str, after: Revision) -> Result<Watch> {
    check_after(connector, prefix, after).await?;
    let unopened = |failure: Failure| failure.into_error(ATTEMPT, &connector.place());
    let opening = async {
        let open = connector.open().await.map_err(unopened)?;
        let stream = start(&open, prefix, after).await.map_err(|failure| {
            connector.give_up(&open);
            unopened(failure)
        })?;
        Ok((open, stream))
    };
    let (open, stream) = timeout(call::PATIENCE, opening)
        .await
        .unwrap_or_else(|_| Err(unopened(slow())))?;
    let (sender, watch) = Watch::channel();
    let feeder = Feeder {
        connector: connector.clone(),
        open,
        gathered: Gathered::new(after),
        sender,
    };
    tokio::spawn(feeder.run(stream));
    Ok(watch)
}

/// Whether the changes after `after` can be had: etcd would wait for a revision to come instead of saying so.
async fn check_after(connector: &Connector, prefix: &str, after: Revision) -> Result<()> {
    // The empty store has revision 1.
    let failed = match revision(connector, prefix, after.max(1)).await {
        Ok(_) => return Ok(()),
        Err(failed) => failed,
    };
    match failed.refusal {
        // At least the next one; etcd does not say here how far it went.
        Some(Refusal::Compacted) => Err(Error::Compacted {
            after,
            through: after + 1,
        }),
        Some(Refusal::Ahead) => Err(Error::Ahead {
            after,
            present: revision(connector, prefix, 0).await?,
        }),
        _ => Err(failed.error),
    }
}

/// The stream, with etcd's word that the watch is there.
async fn start(open: &Open, prefix: &str, after: Revision) -> std::result::Result<WatchStream, Failure> {
    let (from, to) = bounds(prefix);
    let options = WatchOptions::new()
        .with_range(to)
        .with_start_revision(number(after).saturating_add(1))
        .with_fragment();
    let mut client = open.client.watch_client().max_decoding_message_size(MAX_ANSWER);
    let opening = async {
        let mut stream = client.watch(from, Some(options)).await.map_err(classify)?;
        let first = stream.message().await.map_err(classify)?;
        let first = first.ok_or_else(ended)?;
        match refused(&first) {
            None => Ok(stream),
            Some(failure) => Err(failure),
        }
    };
    timeout(OPENING, opening).await.unwrap_or_else(|_| Err(slow()))
}

fn slow() -> Failure {
    Failure::Open {
        reason: "no answer in time".to_owned(),
    }
}

fn ended() -> Failure {
    Failure::Open {
        reason: "the member ended the watch".to_owned(),
    }
}

/// Why etcd ends the watch with this answer, if it does, compaction apart.
fn refused(response: &WatchResponse) -> Option<Failure> {
    if !response.canceled() || response.compact_revision() > 0 {
        return None;
    }
    let status = tonic::Status::unknown(response.cancel_reason());
    Some(classify(etcd_client::Error::GRpcStatus(status)))
}

struct Feeder {
    connector: Arc<Connector>,
    /// Held for as long as the watch is.
    open: Open,
    gathered: Gathered,
    sender: mpsc::Sender<Result<Changes>>,
}

impl Feeder {
    /// Until the reader of the watch is gone or it cannot go on.
    async fn run(mut self, mut stream: WatchStream) {
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = self.sender.closed() => return,
            };
            let changes = match message {
                Ok(Some(response)) => self.take(&response),
                Ok(None) => Err(self.failed(ended())),
                Err(error) => Err(self.failed(classify(error))),
            };
            match changes {
                Ok(all) => {
                    for changes in all {
                        if self.sender.send(Ok(changes)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    // The reader may be gone as well; then nobody wants to know.
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    fn take(&mut self, response: &WatchResponse) -> Result<Vec<Changes>> {
        if let Some(failure) = refused(response) {
            return Err(self.failed(failure));
        }
        if response.canceled() {
            return Err(Error::Compacted {
                after: self.gathered.through,
                through: response.compact_revision().unsigned_abs(),
            });
        }
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let key = text(kv.key().to_vec(), &self.connector.place())?;
            let change = match event.event_type() {
                EventType::Put => Event::Put {
                    key,
                    value: kv.value().to_vec(),
                },
                EventType::Delete => Event::Delete { key },
            };
            self.gathered.add(kv.mod_revision().unsigned_abs(), change);
        }
        Ok(self.gathered.take(response.0.fragment))
    }

    fn failed(&self, failure: Failure) -> Error {
        self.connector.give_up(&self.open);
        failure.into_error(ATTEMPT, &self.connector.place())
    }
}

/// Changes that have arrived, by revision, until a revision is whole.
struct Gathered {
    whole: Vec<Changes>,
    last: Option<Changes>,
    /// The last revision passed on.
    through: Revision,
}

impl Gathered {
    fn new(after: Revision) -> Self {
        Gathered {
            whole: Vec::new(),
            last: None,
            through: after,
        }
    }

    fn add(&mut self, revision: Revision, event: Event) {
        match &mut self.last {
            Some(changes) if changes.revision == revision => changes.events.push(event),
            last => {
                let events = vec![event];
                self.whole.extend(last.replace(Changes { revision, events }));
            }
        }
    }

    /// What is whole by now. An answer ends with the end of a revision, unless a fragment follows.
    fn take(&mut self, a_fragment_follows: bool) -> Vec<Changes> {
        if !a_fragment_follows {
            self.whole.extend(self.last.take());
        }
        let whole = mem::take(&mut self.whole);
        if let Some(last) = whole.last() {
            self.through = last.revision;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_passed_on_once_it_is_whole() {
        let gone = |key: &str| Event::Delete { key: key.to_owned() };
        let mut gathered = Gathered::new(1);
        gathered.add(2, gone("a"));
        gathered.add(3, gone("b"));
        let first = gathered.take(true);
        assert_eq!((first.len(), first[0].revision, gathered.through), (1, 2, 2));
        gathered.add(3, gone("c"));
        gathered.add(4, gone("d"));
        let rest = gathered.take(false);
        assert_eq!(rest[0].events, [gone("b"), gone("c")]);
        assert_eq!((rest.len(), rest[1].revision, gathered.through), (2, 4, 4));
        assert!(gathered.take(false).is_empty());
    }
}
