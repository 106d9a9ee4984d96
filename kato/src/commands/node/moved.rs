//! The core at a new address: what names the old one is made anew. Broken off at any point, it is run again and goes on.
//!
//! ```text
//!  certificates ─▶ etcd's members ─▶ own record, endpoint ─▶ etcd.yml, endpoints.json ─▶ node.yml ─▶ etcd, agent, fence anew
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::{Config, KeyPath, Name, Target};
use cluster::identity::{Address, Pki};
use cluster::nodes::{Membership, NodeFile, Nodes};
use cluster::process::Process;
use cluster::store::Store;
use cluster::store::etcd::EndpointsFile;
use cluster::store::etcd::admin::Admin;

use super::setup::core::own_address;
use super::{problem, shared};
use crate::addresses;
use crate::agent::client;
use crate::agent::core::authority::Authority;
use crate::agent::core::{desk, members};
use crate::agent::joining::etcd::{Settings, own_store};
use crate::agent::wire::Action;
use crate::commands::Context;
use crate::commands::config::{change, problem as config_problem};
use crate::error::{Error, Exit, Result};

/// Be the core at `address` from now on.
pub async fn run(
    context: &Context,
    mut node: NodeFile,
    membership: &Membership,
    address: &Address,
    within: Duration,
) -> Result<Exit> {
    let paths = &context.paths;
    let addresses = addresses::led_by(own_address(address).await);
    let settings =
        Settings::load(paths).map_err(|error| Error::failed("could not read etcd's settings").because(error))?;
    let after = addresses.first().and_then(|first| settings.at(*first));
    let after = after.ok_or_else(|| Error::refused("this machine has no address at which others could reach it"))?;
    let etcd = own_store(paths);
    let store: Arc<dyn Store> = Arc::new(etcd.clone());
    let lifetime = desk::lifetime(&store, &node.name).await;
    let authority = Authority::load(&Pki::new(paths.pki())).map_err(problem::identity)?;
    authority.moved(&addresses, lifetime).map_err(problem::identity)?;
    let endpoints = tell_members(&etcd.admin(), &node, &after).await?;
    tell_tree(&store, &node, address, &addresses).await?;
    let failed = |error| Error::failed("could not write where the config store answers").because(error);
    after.save(paths).map_err(failed)?;
    let file = EndpointsFile { endpoints };
    file.write(&paths.endpoints_file()).map_err(failed)?;
    node.cluster = Some(Membership {
        core: address.to_string(),
        ca: membership.ca.clone(),
    });
    node.save(paths)?;
    restart(context, &node, within).await?;
    context.ui.line(&format!(
        "Node {} is the core at {address} now.\n\nNext, on nodes that do not find it there: kato node reattach {address}",
        node.name
    ))?;
    Ok(Exit::Done)
}

/// Tell the members where this one is; where all of them answer then.
async fn tell_members(admin: &Admin, node: &NodeFile, after: &Settings) -> Result<Vec<String>> {
    let failed = |error| {
        let error = problem::store(error, "could not tell the config store its new address".to_owned());
        error.hint("kato start config")
    };
    let (own, others): (Vec<_>, Vec<_>) = admin
        .members()
        .await
        .map_err(failed)?
        .into_iter()
        .partition(|member| member.name == node.id.to_string());
    let own = own
        .first()
        .ok_or_else(|| Error::failed("this machine is no member of its own config store"))?;
    let peer_urls = [after.peer_url().to_owned()];
    if own.peer_urls != peer_urls {
        admin.move_member(own.id, &peer_urls).await.map_err(failed)?;
    }
    let mut endpoints = members::endpoints(&others);
    endpoints.insert(0, after.endpoint().to_owned());
    Ok(endpoints)
}

/// What the tree says of where the core is.
async fn tell_tree(store: &Arc<dyn Store>, node: &NodeFile, address: &Address, addresses: &[IpAddr]) -> Result<()> {
    let nodes = Nodes::new(Arc::clone(store));
    let moved = nodes.change(node.id, |record| {
        record.addresses = addresses.to_vec();
        Ok(())
    });
    moved.await.map_err(problem::registry)?;
    // An IPv6 address is no host name; clients then need one set by hand.
    if address.host().contains(':') {
        return Ok(());
    }
    let component = Name::new("cluster").map_err(config_problem::key)?;
    let path = KeyPath::parse("endpoint").map_err(config_problem::key)?;
    let target = Target::key(&component, &path).map_err(config_problem::key)?;
    let author = change::author_of(format!("kato node reattach {}", address.host()));
    let config = Config::new(Arc::clone(store), node.name.clone());
    let set = config.set(&target, address.host().into(), false, &author).await;
    set.map(drop).map_err(config_problem::tree)
}

/// Have etcd and the agent that know the new address.
async fn restart(context: &Context, node: &NodeFile, within: Duration) -> Result<()> {
    let progress = context.ui.progress("restarting the config store");
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let processes = vec![Process::Config];
    let action = Action::Restart {
        processes: processes.clone(),
        within_ms,
    };
    client::ask(&context.paths, action).await?;
    progress.update("restarting the agent");
    shared::restart(&context.paths, node, within).await?;
    // The gateway before it is the new agent's.
    client::ask(&context.paths, Action::Start { processes, within_ms }).await?;
    Ok(())
}
