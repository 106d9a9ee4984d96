//! Images that Docker builds by a recipe, with its classic builder.

use std::sync::{Arc, OnceLock};

use bollard::body_try_stream;
use bollard::query_parameters::BuildImageOptions;
use futures_util::TryStreamExt;
use tokio::sync::mpsc;

use super::images::{archive, on, refused};
use super::transfer::Activity;
use super::{Docker, convert};
use crate::{BuildSpec, Error, Image, ImageName, Result, TarStream};

impl Docker {
    pub(super) async fn build_image(
        &self,
        spec: &BuildSpec,
        context: TarStream,
        said: mpsc::Sender<String>,
    ) -> Result<Image> {
        let call = on("build", &spec.name);
        let wanted: ImageName = spec.name.parse().map_err(|bad| refused(&call, &bad))?;
        if wanted.tag().is_none() {
            return Err(refused(&call, &"an image cannot be made under a digest"));
        }
        let (activity, unreadable) = (Activity::new(), Arc::new(OnceLock::new()));
        let body = body_try_stream(archive(context, activity.clone(), unreadable.clone()));
        let endpoint = self.endpoint();
        let answers = self
            .client
            .build_image(options(spec, &wanted), None, Some(body))
            .map_err(|error| convert::error(&call, &endpoint, error));
        let mut made = None;
        let done = self
            .transfer(&call, &activity, Box::pin(answers), |step| {
                if let Some(id) = step.aux.and_then(|aux| aux.id) {
                    made = Some(id);
                }
                for line in step.stream.iter().flat_map(|text| text.lines()) {
                    // Best effort: one who reads too slowly misses lines.
                    let _ = said.try_send(line.to_owned());
                }
            })
            .await;
        if let Some(reason) = unreadable.get() {
            let reason = format!("its context cannot be read: {reason}");
            return Err(Error::Failed {
                attempt: call.attempt,
                reason,
            });
        }
        done?;
        match made {
            Some(id) => self.inspect_image(&id).await,
            None => Err(Error::Failed {
                attempt: call.attempt,
                reason: "the answer names no image".to_owned(),
            }),
        }
    }
}

fn options(spec: &BuildSpec, name: &ImageName) -> BuildImageOptions {
    BuildImageOptions {
        dockerfile: spec.dockerfile.clone(),
        t: Some(name.to_string()),
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
