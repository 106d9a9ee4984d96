//! Images in a file, for clusters that reach no other registry: written from the registry with all their architectures, and
//! brought back from there.
//!
//! [`save()`] writes an OCI layout that is a docker-archive as well, so that `docker load` takes it; [`load`] reads both, also
//! what `docker save` wrote. Content is checked against its digest on both ways.

mod docker;
mod file;
mod layout;
mod save;

use engine::ImageName;
use serde::Serialize;

pub use self::file::File;
pub use self::save::save;
use crate::remote::Remote;
use crate::{Error, Result, names};

/// An image that came out of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loaded {
    pub name: String,
    pub digest: String,
}

/// Bring all images of the file to the registry; `tell` hears how far that is.
pub async fn load(remote: &Remote, file: &File, mut tell: impl FnMut(&str)) -> Result<Vec<Loaded>> {
    match file.has(layout::INDEX) {
        true => layout::load(remote, file, &mut tell).await,
        false => docker::load(remote, file, &mut tell).await,
    }
}

/// What an image of a file is called at this registry: as it was there, without the registry that it came from.
fn name_here(remote: &Remote, name: &str) -> Result<ImageName> {
    let parsed = names::parse(name)?;
    let tag = parsed.tag().unwrap_or("latest");
    names::parse(&format!("{}/{}:{tag}", remote.location(), names::repository(&parsed)))
}

/// A file that is not what it should be.
fn odd(file: &File, reason: impl ToString) -> Error {
    Error::failed(format!("read the images in {}", file.path().display()), reason)
}
