//! An image by name: the node's engine first, else its registry.

use engine::{Engine, Image, Progress, RegistryAuth};
use tokio::sync::mpsc;

use super::{Error, Result};

/// Look the name up in the engine alone; `None` = it is not there.
pub async fn find(engine: &dyn Engine, name: &str) -> Result<Option<Image>> {
    match engine.image(name).await {
        Ok(image) => Ok(Some(image)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(source) => Err(Error::Look {
            name: name.to_owned(),
            source,
        }),
    }
}

/// Look the name up in the engine, and fetch it where it is not there. `progress` gets what the pull says.
pub async fn find_or_pull(
    engine: &dyn Engine,
    name: &str,
    auth: Option<&RegistryAuth>,
    progress: mpsc::Sender<Progress>,
) -> Result<Image> {
    if let Some(image) = find(engine, name).await? {
        return Ok(image);
    }
    engine.pull(name, auth, progress).await.map_err(|source| Error::Pull {
        name: name.to_owned(),
        source,
    })
}
