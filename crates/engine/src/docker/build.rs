//! Images that Docker builds by a recipe, with its classic builder.

use std::sync::{Arc, OnceLock};

use bollard::body_try_stream;
use bollard::query_parameters::BuildImageOptions;
use futures_util::TryStreamExt;
use tokio::sync::mpsc;

use super::images::{archive, made, named, on};
use super::transfer::Activity;
use super::{Docker, convert};
use crate::{BuildSpec, Image, Result, TarStream};

impl Docker {
    pub(super) async fn build_image(
        &self,
        spec: &BuildSpec,
        context: TarStream,
        said: mpsc::Sender<String>,
    ) -> Result<Image> {
        let call = on("build", &spec.name);
        let wanted = match spec.name.as_str() {
            "" => None,
            name => Some(named(&call, name)?.to_string()),
        };
        let (activity, unreadable) = (Activity::new(), Arc::new(OnceLock::new()));
        let body = body_try_stream(archive(context, activity.clone(), unreadable.clone()));
        let endpoint = self.endpoint();
        let answers = self
            .client
            .build_image(options(spec, wanted), None, Some(body))
            .map_err(|error| convert::error(&call, &endpoint, error));
        let mut id = None;
        let done = self
            .transfer(&call, &activity, Box::pin(answers), |step| {
                id = step.aux.and_then(|aux| aux.id).or(id.take());
                for line in step.stream.iter().flat_map(|text| text.lines()) {
                    // Best effort: one who reads too slowly misses lines.
                    let _ = said.try_send(line.to_owned());
                }
            })
            .await;
        let id = made(call, done, "context", &unreadable, id)?;
        self.inspect_image(&id).await
    }
}

fn options(spec: &BuildSpec, name: Option<String>) -> BuildImageOptions {
    BuildImageOptions {
        dockerfile: spec.dockerfile.clone(),
        t: name,
        nocache: spec.anew,
        // Nothing of a build that failed is left.
        rm: true,
        forcerm: true,
        buildargs: (!spec.args.is_empty()).then(|| spec.args.iter().cloned().collect()),
        platform: spec.platform.clone(),
        target: spec.target.clone(),
        ..Default::default()
    }
}
