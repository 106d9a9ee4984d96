//! Images of Docker: looked up, fetched, made, named, removed.

use std::io;
use std::sync::{Arc, OnceLock};

use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::query_parameters::{
    CreateImageOptions, ListImagesOptions, PushImageOptions, RemoveImageOptions, TagImageOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use super::transfer::Activity;
use super::{Call, Docker, convert};
use crate::name::lookup_key;
use crate::{Error, Image, ImageName, Progress, RegistryAuth, Result, TarStream};

/// How many images are asked about at once.
const PARALLEL: usize = 8;
/// Bytes read of an archive at once.
const CHUNK: usize = 64 << 10;

impl Docker {
    pub(super) async fn inspect_image(&self, name: &str) -> Result<Image> {
        let call = on("inspect", name);
        let key = lookup_key(name).map_err(|bad| refused(&call, &bad))?;
        convert::image(&call, self.call(&call, self.client.inspect_image(&key)).await?)
    }

    pub(super) async fn list_images(&self) -> Result<Vec<Image>> {
        let call = Call::new("list", "images".to_owned());
        let found = self
            .call(&call, self.client.list_images(None::<ListImagesOptions>))
            .await?;
        // The list leaves out platform and date, so each image is asked about; one may be gone by then.
        let asked = found.into_iter().map(|summary| async move {
            match self.inspect_image(&summary.id).await {
                Err(error) if error.is_not_found() => Ok(None),
                found => found.map(Some),
            }
        });
        stream::iter(asked)
            .buffered(PARALLEL)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await
    }

    pub(super) async fn pull_image(
        &self,
        name: &str,
        auth: Option<&RegistryAuth>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Image> {
        let call = on("pull", name);
        let wanted: ImageName = name.parse().map_err(|bad| refused(&call, &bad))?;
        let options = CreateImageOptions {
            from_image: Some(wanted.repository().to_owned()),
            tag: wanted.digest().or(wanted.tag()).map(str::to_owned),
            ..Default::default()
        };
        let credentials = auth.map(|auth| credentials(auth, &wanted));
        let endpoint = self.endpoint();
        let answers = self
            .client
            .create_image(Some(options), None, credentials)
            .map_err(|error| convert::pull_error(&call, &endpoint, &wanted, error));
        self.transfer(&call, &Activity::new(), answers, |step| {
            // Best effort: one who reads too slowly misses steps, and one who left does not matter.
            let _ = progress.try_send(convert::progress(step));
        })
        .await?;
        self.inspect_image(&wanted.to_string()).await
    }

    pub(super) async fn import_image(&self, name: &str, tar: TarStream) -> Result<Image> {
        let call = on("import", name);
        let wanted = named(&call, name)?;
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(wanted.repository().to_owned()),
            tag: wanted.tag().map(str::to_owned),
            ..Default::default()
        };
        let (activity, unreadable) = (Activity::new(), Arc::new(OnceLock::new()));
        let body = body_try_stream(archive(tar, activity.clone(), unreadable.clone()));
        let endpoint = self.endpoint();
        let answers = self
            .client
            .create_image(Some(options), Some(body), None)
            .map_err(|error| convert::error(&call, &endpoint, error));
        // The last line of the answer is the new image's id.
        let mut id = None;
        let done = self
            .transfer(&call, &activity, answers, |step| id = step.status.or(id.take()))
            .await;
        let id = made(call, done, "archive", &unreadable, id)?;
        self.inspect_image(&id).await
    }

    pub(super) async fn push_image(
        &self,
        name: &str,
        auth: Option<&RegistryAuth>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<()> {
        let call = on("push", name);
        let wanted: ImageName = name.parse().map_err(|bad| refused(&call, &bad))?;
        let Some(tag) = wanted.tag() else {
            return Err(refused(&call, &"an image is pushed by a tag"));
        };
        let options = PushImageOptions {
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let credentials = auth.map(|auth| credentials(auth, &wanted));
        let endpoint = self.endpoint();
        // What is not here is told in words that a registry could have said.
        self.inspect_image(&wanted.to_string()).await?;
        let answers = self
            .client
            .push_image(wanted.repository(), Some(options), credentials)
            .map_err(|error| convert::pull_error(&call, &endpoint, &wanted, error));
        self.transfer(&call, &Activity::new(), Box::pin(answers), |step| {
            let _ = progress.try_send(convert::pushed(step));
        })
        .await
    }

    pub(super) async fn tag_image(&self, image: &str, name: &str) -> Result<()> {
        let call = Call {
            attempt: format!("tag image {image} as {name}"),
            what: format!("image {image}"),
        };
        let key = lookup_key(image).map_err(|bad| refused(&call, &bad))?;
        let name: ImageName = name.parse().map_err(|bad| refused(&call, &bad))?;
        let Some(tag) = name.tag() else {
            return Err(refused(&call, &"an image cannot be given a digest"));
        };
        let options = TagImageOptions {
            repo: Some(name.repository().to_owned()),
            tag: Some(tag.to_owned()),
        };
        self.call(&call, self.client.tag_image(&key, Some(options))).await
    }

    pub(super) async fn untag_image(&self, name: &str) -> Result<()> {
        let call = on("remove", name);
        let key = lookup_key(name).map_err(|bad| refused(&call, &bad))?;
        match self
            .call(&call, self.client.remove_image(&key, None::<RemoveImageOptions>, None))
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            done => done.map(drop),
        }
    }
}

pub(super) fn on(verb: &str, name: &str) -> Call {
    Call::new(verb, format!("image {name}"))
}

pub(super) fn refused(call: &Call, reason: &impl ToString) -> Error {
    Error::Refused {
        attempt: call.attempt.clone(),
        reason: reason.to_string(),
    }
}

/// The name that an image is to be made under.
pub(super) fn named(call: &Call, name: &str) -> Result<ImageName> {
    let wanted: ImageName = name.parse().map_err(|bad| refused(call, &bad))?;
    match wanted.tag() {
        Some(_) => Ok(wanted),
        None => Err(refused(call, &"an image cannot be made under a digest")),
    }
}

/// The id of the image that was made of what was sent; that this could not be read goes before all that the engine says of it.
pub(super) fn made(
    call: Call,
    done: Result<()>,
    sent: &str,
    unreadable: &OnceLock<String>,
    id: Option<String>,
) -> Result<String> {
    let failed = |reason| Error::Failed {
        attempt: call.attempt,
        reason,
    };
    if let Some(reason) = unreadable.get() {
        return Err(failed(format!("its {sent} cannot be read: {reason}")));
    }
    done?;
    id.ok_or_else(|| failed("the answer names no image".to_owned()))
}

fn credentials(auth: &RegistryAuth, name: &ImageName) -> DockerCredentials {
    DockerCredentials {
        username: Some(auth.username.clone()),
        password: Some(auth.password.clone()),
        serveraddress: name.registry().map(str::to_owned),
        ..Default::default()
    }
}

/// The archive on its way to the engine. Why it could not be read is kept, as the engine sees a broken line alone.
pub(super) fn archive(
    tar: TarStream,
    activity: Activity,
    unreadable: Arc<OnceLock<String>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    ReaderStream::with_capacity(tar, CHUNK).inspect(move |chunk| match chunk {
        Ok(_) => activity.touch(),
        Err(error) => drop(unreadable.set(error.to_string())),
    })
}
