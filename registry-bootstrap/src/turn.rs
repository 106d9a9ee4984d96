//! One run at a time works on a core's registry: a lock on a file, which ends with its holder.

use std::fs::File;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::settings::Places;
use crate::{Error, Result};

/// How long another run is waited for.
const TURN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The turn of one who works on the registry; it ends with its holder, however that ends.
pub(crate) struct Turn(#[allow(dead_code, reason = "it is held")] File);

impl Turn {
    pub(crate) async fn take(places: &Places) -> Result<Turn> {
        let path = places.lock();
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(Error::file("open", &path))?;
        let until = Instant::now() + TURN;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Turn(file)),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => sleep(POLL).await,
                Err(std::fs::TryLockError::WouldBlock) => {
                    let what = format!("another has worked on the registry for {} s", TURN.as_secs());
                    return Err(Error::Unreachable {
                        what,
                        hint: "kato registry status".to_owned(),
                        source: None,
                    });
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
            }
        }
    }
}
