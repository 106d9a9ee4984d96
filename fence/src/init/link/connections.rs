//! Who is let in at a container's socket, and what lasts as long as a connection: the newest one of the container's first
//! process is the session in force.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fence_init::protocol::ProcessEntry;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{CONNECTED, Link, LinkEvent};
use crate::init::listener;
use crate::init::session::{Driver, Session};

impl Link {
    pub(super) async fn accept(&self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let link = self.clone();
                    tokio::spawn(async move { link.greet(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection from a container");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Let the peer in if it is the container's first process, and serve it until the connection ends.
    async fn greet(&self, stream: UnixStream) {
        // Whoever floods the socket waits for its own earlier tries.
        let Ok(greeting) = self.inner.greetings.try_acquire() else {
            return;
        };
        let pid = listener::peer_pid(&stream);
        let mut expected = self.inner.expected.subscribe();
        let is_init = async { matches!(expected.wait_for(Option::is_some).await, Ok(known) if *known == pid) };
        if !tokio::time::timeout(CONNECTED, is_init).await.unwrap_or(false) {
            // Once: processes of the container can try this as often as they like.
            if !self.inner.refusal_told.swap(true, Ordering::AcqRel) {
                tracing::warn!(
                    ?pid,
                    "refused a connection to a container's socket: not its first process"
                );
            }
            return;
        }
        let opened = Session::open(stream).await;
        drop(greeting);
        match opened {
            Ok((session, processes, driver)) => self.serve(session, processes, driver).await,
            Err(error) => tracing::warn!(%error, ?pid, "a container's first process was refused"),
        }
    }

    async fn serve(&self, session: Session, processes: Vec<ProcessEntry>, driver: Driver) {
        let serving = CancellationToken::new();
        let before = std::mem::replace(&mut *self.serving(), serving.clone());
        before.cancel();
        self.take_over(&processes);
        self.end_internal(&session, &processes);
        self.inner.session.send_replace(Some(session.clone()));
        let _ = self.inner.events.send(LinkEvent::Connected);
        let link = self.clone();
        let stop = self.inner.stop.clone();
        let mut strangers = 0;
        tokio::select! {
            reason = driver.run(|notice| link.notice(notice, &mut strangers)) => tracing::debug!(reason, "a container's first process is disconnected"),
            () = serving.cancelled() => {}
            () = stop.cancelled() => {}
        }
        session.close();
        self.inner.session.send_if_modified(|current| {
            let own = current.as_ref().is_some_and(|current| current.is(&session));
            if own {
                *current = None;
            }
            own
        });
    }
}
