//! Images at the registry: manifests, configurations and names, each checked against its digest.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::pages::Page;
use super::{Answer, Remote, question};
use crate::manifest::{self, Config, DOCKER_IMAGE, DOCKER_INDEX, Descriptor, Held, OCI_IMAGE, OCI_INDEX};
use crate::{Error, Result};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The largest configuration of an image.
const MAX_CONFIG: u64 = 4 << 20;

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Page for Tags {
    fn names(self) -> Vec<String> {
        self.tags.unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Repositories {
    #[serde(default)]
    repositories: Vec<String>,
}

impl Page for Repositories {
    fn names(self) -> Vec<String> {
        self.repositories
    }
}

impl Remote {
    /// The manifest that `reference`, a tag or a digest, names in a repository.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Result<Held> {
        let what = self.what(repository, reference);
        if is_by_digest(reference) {
            manifest::check_digest(&what, reference)?;
        }
        let mut asked = question(Method::GET, &format!("/v2/{repository}/manifests/{reference}"));
        for kind in [DOCKER_IMAGE, DOCKER_INDEX, OCI_IMAGE, OCI_INDEX] {
            asked.headers.append(ACCEPT, HeaderValue::from_static(kind));
        }
        let answer = self.ask(asked, &pulls(repository)).await?;
        let answer = self.found(&what, answer)?;
        let said = answer.headers.get(DIGEST).and_then(|value| value.to_str().ok());
        for expected in said.into_iter().chain(is_by_digest(reference).then_some(reference)) {
            manifest::check(&format!("the manifest of {what}"), expected, &answer.body)?;
        }
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Held::read(&what, kind.unwrap_or_default(), answer.body.to_vec())
    }

    /// Put a manifest there, by a tag or its digest.
    pub async fn put_manifest(&self, repository: &str, reference: &str, held: &Held) -> Result<()> {
        let mut asked = question(Method::PUT, &format!("/v2/{repository}/manifests/{reference}"));
        let kind = HeaderValue::from_str(&held.media_type);
        let kind = kind.map_err(|error| Error::failed("publish a manifest", error))?;
        asked.headers.insert(CONTENT_TYPE, kind);
        asked.body = Bytes::from(held.bytes.clone());
        let answer = self.ask(asked, &pushes(repository)).await?;
        match answer.status {
            StatusCode::CREATED => Ok(()),
            other => Err(self.refused(
                &format!("put {}", self.what(repository, reference)),
                other,
                &answer.body,
            )),
        }
    }

    /// What an image's configuration says of its platform.
    pub async fn config(&self, repository: &str, config: &Descriptor) -> Result<Config> {
        let what = self.what(repository, &config.digest);
        if config.size > MAX_CONFIG {
            let reason = format!("it has {} bytes, more than {MAX_CONFIG}", config.size);
            return Err(Error::failed(format!("read the configuration {what}"), reason));
        }
        let asked = question(Method::GET, &format!("/v2/{repository}/blobs/{}", config.digest));
        let answer = self.ask(asked, &pulls(repository)).await?;
        let answer = self.found(&what, answer)?;
        manifest::check(&format!("the configuration {what}"), &config.digest, &answer.body)?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::failed(format!("read the configuration {what}"), error))
    }

    /// Have content of one repository in another as well.
    pub async fn mount(&self, repository: &str, digest: &str, from: &str) -> Result<()> {
        if repository == from {
            return Ok(());
        }
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        let scope = format!("{} {}", pushes(repository), pulls(from));
        let answer = self.ask(question(Method::POST, &path), &scope).await?;
        match answer.status {
            StatusCode::CREATED => Ok(()),
            other => Err(self.refused(&format!("take {digest} over from {from}"), other, &answer.body)),
        }
    }

    /// The tags of a repository.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let path = format!("/v2/{repository}/tags/list");
        let what = format!("the tags of {repository}");
        let tags = self.listed::<Tags>(&path, &pulls(repository), &what).await?;
        // One whose last manifest was deleted is a name without anything.
        let mut tags = tags.unwrap_or_default();
        tags.sort_unstable();
        Ok(tags)
    }

    /// All repositories. It takes an administrator's account.
    pub async fn repositories(&self) -> Result<Vec<String>> {
        let (what, scope) = ("the registry's images", "registry:catalog:*");
        let all = self.listed::<Repositories>("/v2/_catalog", scope, what).await?;
        all.ok_or_else(|| Error::failed(format!("list {what}"), "it has no list of them"))
    }

    fn what(&self, repository: &str, reference: &str) -> String {
        let between = if is_by_digest(reference) { '@' } else { ':' };
        format!("{}/{repository}{between}{reference}", self.location())
    }

    fn found(&self, what: &str, answer: Answer) -> Result<Answer> {
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(Error::NotFound {
                what: what.to_owned(),
                hint: "kato image list".to_owned(),
            }),
            other => Err(self.refused(&format!("read {what}"), other, &answer.body)),
        }
    }

    pub(super) fn refused(&self, asked: &str, status: StatusCode, body: &Bytes) -> Error {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::refused(
                format!(
                    "the registry {} does not let this account do that: {asked}",
                    self.location()
                ),
                "it takes an administrator's credential: kato admin create NAME",
            ),
            other => self.odd(asked, other, body),
        }
    }
}

/// Whether something is named by its digest, of whatever kind, and not by a tag.
fn is_by_digest(reference: &str) -> bool {
    reference.contains(':')
}

pub(super) fn pulls(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

pub(super) fn pushes(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}
