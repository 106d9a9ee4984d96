//! Docker's events, from the moment they are asked for, as a stream that ends with an error.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bollard::query_parameters::EventsOptions;
use futures_util::{StreamExt, stream};

use super::{Call, Docker, convert};
use crate::event::until_error;
use crate::{Engine, Error, Events, Labels, Result};

const ACTIONS: [&str; 11] = [
    "create", "start", "die", "oom", "destroy", "pull", "tag", "untag", "import", "load", "delete",
];

impl Docker {
    pub(super) async fn follow_events(&self, labels: &Labels) -> Result<Events> {
        let call = Call::new("follow", "the engine's events".to_owned());
        // Docker begins to collect only after it answered; asking for all since now leaves no gap in between.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        // The stream below is opened when it is first read; this tells now whether the engine answers.
        self.version().await?;
        let options = EventsOptions {
            since: Some(format!("{}.{:09}", now.as_secs(), now.subsec_nanos())),
            until: None,
            filters: Some(filters()),
        };
        let (labels, endpoint) = (labels.clone(), self.endpoint());
        let ended = Error::Unavailable {
            attempt: call.attempt.clone(),
            endpoint: endpoint.clone(),
            reason: "the stream of events ended".to_owned(),
        };
        let events = self.client.events(Some(options)).filter_map(move |event| {
            let event = match event {
                Ok(message) => convert::event(message, &labels).map(Ok),
                Err(error) => Some(Err(convert::error(&call, &endpoint, error))),
            };
            std::future::ready(event)
        });
        Ok(until_error(events.chain(stream::once(std::future::ready(Err(ended))))))
    }
}

/// Docker would apply a label filter to images as well, so labels are looked at here.
fn filters() -> HashMap<String, Vec<String>> {
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    HashMap::from([
        ("type".to_owned(), list(&["container", "image"])),
        ("event".to_owned(), list(&ACTIONS)),
    ])
}
