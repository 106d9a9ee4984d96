//! What the verbs share: the core that the registry is on, and the administrator's account at it.

use cluster::identity::{Credential, Key};
use registry_bootstrap::core::Core;

use super::problem;
use crate::agent::core::wire::{AskAccount, Own};
use crate::agent::joining::client::{Answer, Client};
use crate::commands::Context;
use crate::commands::config::open_store;
use crate::commands::node::shared as nodes;
use crate::error::{Error, Result};

/// The core, where this machine is it, with an administrator's rights.
pub async fn core(context: &Context) -> Result<Core> {
    let (node, store) = open_store(context).await?;
    Core::open(&context.paths, node, store).map_err(problem::registry)
}

/// The administrator's account at the cluster's registry, as the core gives it to who has the credential.
pub async fn account(context: &Context) -> Result<Own> {
    let (_, membership) = nodes::of(context)?;
    let path = context.paths.credential_file();
    if !path.exists() {
        return Err(Error::refused("it needs an administrator's credential")
            .hint("on the core: kato admin create NAME; then here: --credential FILE or /etc/kato/credential.yml"));
    }
    let unusable = |error| Error::failed(format!("could not use the credential {}", path.display())).because(error);
    let credential = Credential::load(&path).map_err(unusable)?;
    let key = Key::from_pem(&credential.key).map_err(unusable)?;
    let client = Client::open(&context.paths, &membership)?;
    let client = client.showing(&credential.ca, &credential.certificate, &key)?;
    match client.account(&AskAccount::Administrator(credential.name)).await? {
        Answer::Done(given) => given.own.ok_or_else(|| {
            Error::refused("this cluster has no image registry").hint("on the core: kato registry setup")
        }),
        Answer::Waiting => Err(Error::unreachable("the core gave no answer that is known")),
        Answer::Refused(reason) => Err(Error::refused(format!("the core gives out no account: {reason}"))),
    }
}
