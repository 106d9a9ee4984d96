//! An answer of fence that goes on, over restarts of fence: asked for again where it was cut off, from where it was.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::problem;
use crate::commands::Context;
use crate::error::{Error, Result};
use crate::fence_api::follow::Lines;
use crate::fence_api::{self, Client};

/// How soon a fence that went away is asked again, and for how long.
const AGAIN: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that is read line by line.
pub trait Follow {
    /// Ask for what follows the last line taken.
    async fn ask(&self, client: &Client) -> fence_api::Result<Lines>;
    /// Take one line. False after the last one.
    fn take(&mut self, context: &Context, line: &str) -> Result<bool>;
}

/// Take line after line until there are no more.
pub async fn to_the_end(
    context: &Context,
    client: &Client,
    handle: &str,
    follows: bool,
    mut what: impl Follow,
) -> Result<()> {
    let mut heard = Instant::now();
    let mut begun = false;
    loop {
        let cut_off = match what.ask(client).await {
            Ok(mut lines) => {
                begun = true;
                loop {
                    match lines.next().await {
                        Ok(Some(line)) => {
                            if !what.take(context, &line)? {
                                return Ok(());
                            }
                        }
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                }
            }
            Err(error) => {
                let is_away = error.refusal().is_none() && begun && follows;
                if !is_away || heard.elapsed() > PATIENCE {
                    return Err(problem::explain(client, handle, error).await);
                }
                sleep(AGAIN).await;
                continue;
            }
        };
        if !follows {
            let error = Error::unreachable("fence went away in the middle of its answer").hint("kato status");
            return Err(match cut_off {
                Some(cause) => error.because(cause),
                None => error,
            });
        }
        heard = Instant::now();
        sleep(AGAIN).await;
    }
}
