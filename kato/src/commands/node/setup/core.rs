//! `kato node setup core`: make this machine the core of a cluster. A micro cloud's tree comes along, its containers go on.
//!
//! ```text
//!  keys, CA ─▶ etcd, alone ─▶ tree copied, own record, administrator ─▶ node.yml: cluster ─▶ agent, fence anew
//! ```
//!
//! Until node.yml is written the node is what it was; from then on it is the core. Broken off at any point, the command is
//! run again and goes on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster::config::schema::cluster::DEFAULT_LIFETIME;
use cluster::config::{Config, KeyPath, Name, Target};
use cluster::identity::{Address, Pki};
use cluster::nodes::{DockerSettings, Kind, Membership, NodeFile, Nodes, Paths, Record, Role};
use cluster::store::Store;
use cluster::store::etcd::EndpointsFile;
use cluster::store::sqlite::SqliteStore;
use tokio::net::lookup_host;

use super::store::{Temporary, copy};
use super::{chosen_name, engine, finish, make_places, unfinished};
use crate::addresses;
use crate::agent::core::authority::Authority;
use crate::agent::core::desk::cluster_token;
use crate::agent::joining::etcd::{Beginning, Ports, Settings};
use crate::agent::table;
use crate::commands::admin::credential;
use crate::commands::config::{change, problem as config_problem};
use crate::commands::node::{problem, shared};
use crate::commands::{Context, cloud};
use crate::error::{Error, Exit, Result};

/// Make this machine the core of a cluster
///
/// The core has the cluster's CA and the first member of the config store (etcd), and lets nodes in at HOST:8443. On a
/// micro cloud its tree comes along and its containers go on; the old tree is kept beside. The first administrator's
/// credential is written to /etc/kato/credential.yml. Run again after it broke off, it goes on.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node setup core core.example.com
  kato node setup core 10.0.0.1 --admin alice")]
pub struct CoreArgs {
    /// The host name or address at which other nodes reach this one
    #[arg(value_name = "HOST")]
    endpoint: String,
    /// The node's name; the host name if it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The first administrator's name
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin: String,
    /// The port at which other nodes ask to be let in
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The config store's ports, towards clients and between members
    #[arg(long, value_name = "CLIENT,PEER", hide = true)]
    store_ports: Option<Ports>,
    /// The socket of the Docker engine, for a core that has the role dea as well
    #[arg(long, value_name = "SOCKET")]
    docker: Option<PathBuf>,
    /// Also run containers on this node
    #[arg(long)]
    dea: bool,
    /// Do not start the agent and the roles
    #[arg(short = 's', long)]
    pub no_start: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: u32,
}

/// Make it.
pub async fn run(context: &Context, args: &CoreArgs) -> Result<Exit> {
    let address: Address = args
        .endpoint
        .parse()
        .map_err(|error: cluster::identity::Error| Error::usage(error.to_string()))?;
    let address = args.port.map_or_else(|| address.clone(), |port| address.at(port));
    let admin = Name::new(&args.admin).map_err(config_problem::key)?;
    if table::installed("etcd").is_none() {
        return Err(Error::refused("etcd is not installed on this machine").hint("apt-get install etcd-server"));
    }
    let paths = &context.paths;
    let before = present(context, args, &address).await?;
    if before.kind == Kind::Micro {
        super::foreign::refuse_credential(paths)?;
    }
    make_places(paths)?;
    let pki = Pki::new(paths.pki());
    shared::make_pki(&pki)?;
    let authority = Authority::load_or_make(&pki).map_err(problem::identity)?;
    let own = own_address(&address).await;
    let addresses = addresses::led_by(own);
    let lifetime = Duration::from_secs(DEFAULT_LIFETIME);
    authority
        .renew(before.id, &addresses, lifetime)
        .map_err(problem::identity)?;
    let settings = settings(paths, &before, &addresses, args, &authority)?;
    let mut node = before.clone();
    node.kind = Kind::Cluster;
    node.roles.extend([Role::Base, Role::Core]);
    node.roles.sort_unstable();
    node.roles.dedup();
    node.cluster = Some(Membership {
        core: address.to_string(),
        ca: authority.ca.fingerprint().to_string(),
    });
    if before.kind == Kind::Micro {
        let _progress = context.ui.progress("filling the config store");
        unfinished::begin_anew(paths, &settings).await?;
        fill(context, &node, &address, &addresses, &settings, &authority, &admin).await?;
        unfinished::finish(paths)?;
        // From here on this node is the core.
        node.save(paths)?;
    }
    shared::put_tree_aside(paths)?;
    finish::finish(context, args, &node).await
}

/// The node as it was: a new one, a micro cloud, or the core that this command has made before.
async fn present(context: &Context, args: &CoreArgs, address: &Address) -> Result<NodeFile> {
    let node = match NodeFile::load(&context.paths) {
        Err(error) if error.is_missing() => {
            let docker = match args.dea {
                true => engine(context, args.docker.as_deref()).await?,
                false => DockerSettings::default(),
            };
            let mut node = NodeFile::micro(&chosen_name(args.name.as_deref())?, docker);
            node.roles.retain(|role| *role != Role::Dea || args.dea);
            return Ok(with_known_id(&context.paths, node));
        }
        loaded => loaded?,
    };
    if let Some(name) = &args.name
        && name != node.name.as_str()
    {
        let message = format!(
            "this machine is a node already, with the name {} and not {name}",
            node.name
        );
        return Err(Error::refused(message).hint("kato node rename"));
    }
    match &node.cluster {
        None => Ok(node),
        Some(membership) if !node.roles.contains(&Role::Core) => {
            let message = format!(
                "this machine is a node of the cluster whose core is {}",
                membership.core
            );
            Err(Error::refused(message).hint("kato node detach"))
        }
        Some(membership) if membership.core != address.to_string() => {
            let message = format!("this machine is the core at {} already", membership.core);
            Err(Error::refused(message).hint(format!("kato node reattach {address}")))
        }
        Some(_) => Ok(node),
    }
}

/// A set-up that broke off has given this node an id, which is its name in the config store.
fn with_known_id(paths: &Paths, node: NodeFile) -> NodeFile {
    let known = Settings::load(paths).ok().and_then(|settings| settings.member());
    NodeFile {
        id: known.unwrap_or(node.id),
        ..node
    }
}

/// The address of this machine that the core's name leads to, where it does.
pub async fn own_address(address: &Address) -> Option<IpAddr> {
    if let Ok(address) = address.host().parse() {
        return Some(address);
    }
    let own = addresses::of_this_machine().unwrap_or_default();
    let found = lookup_host((address.host(), address.port())).await.ok()?;
    found.map(|found| found.ip()).find(|found| own.contains(found))
}

fn settings(
    paths: &Paths,
    node: &NodeFile,
    addresses: &[IpAddr],
    args: &CoreArgs,
    authority: &Authority,
) -> Result<Settings> {
    let failed = |error: std::io::Error| Error::failed("could not write etcd's settings").because(error);
    match Settings::load(paths) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        loaded => return loaded.map_err(|error| Error::failed("could not read etcd's settings").because(error)),
    }
    let Some(first) = addresses.first() else {
        return Err(Error::failed(
            "this machine has no address at which others could reach it",
        ));
    };
    super::make_place(&paths.etcd(), 0o700).map_err(failed)?;
    let beginning = Beginning {
        initial_cluster: None,
        token: cluster_token(&authority.ca),
    };
    let ports = args.store_ports.unwrap_or_else(Ports::chosen);
    unfinished::mark(paths).map_err(failed)?;
    let settings = Settings::new(paths, node.id, *first, ports, beginning);
    settings.save(paths).map_err(failed)?;
    Ok(settings)
}

/// Everything that the config store has to have before anyone uses it.
async fn fill(
    context: &Context,
    node: &NodeFile,
    address: &Address,
    addresses: &[IpAddr],
    settings: &Settings,
    authority: &Authority,
    admin: &Name,
) -> Result<()> {
    let paths = &context.paths;
    let etcd = Temporary::start(paths).await?;
    let store: Arc<dyn Store> = Arc::new(etcd.store.clone());
    if paths.tree_db().exists() {
        let tree = SqliteStore::open(&paths.tree_db())
            .await
            .map_err(config_problem::store)?;
        let keys = copy(&tree, &store).await?;
        context.ui.detail(&format!("{keys} keys are in the config store"));
    }
    own_record(&store, node, addresses, &Pki::new(paths.pki())).await?;
    set_endpoint(&store, node, address).await?;
    let endpoints = vec![settings.endpoint().to_owned()];
    let file = EndpointsFile {
        endpoints: endpoints.clone(),
    };
    file.write(&paths.endpoints_file())
        .map_err(|error| Error::failed("could not write where the config store answers").because(error))?;
    credential::first(paths, &store, &authority.ca, admin, endpoints).await?;
    etcd.stop().await
}

async fn own_record(store: &Arc<dyn Store>, node: &NodeFile, addresses: &[IpAddr], pki: &Pki) -> Result<()> {
    let key = cluster::identity::Key::load(&pki.node_key()).map_err(problem::identity)?;
    let complete = |record: &mut Record| {
        record.fingerprint = key.fingerprint().to_string();
        record.addresses = addresses.to_vec();
        record.roles.clone_from(&node.roles);
        Ok(())
    };
    let nodes = Nodes::new(Arc::clone(store));
    if nodes.get(node.id).await.map_err(problem::registry)?.is_some() {
        return nodes
            .change(node.id, complete)
            .await
            .map(drop)
            .map_err(problem::registry);
    }
    let mut record = Record::of_node(node, &cloud::by());
    // It cannot fail: it only sets.
    complete(&mut record).map_err(problem::registry)?;
    nodes.add(&record).await.map_err(problem::registry)
}

async fn set_endpoint(store: &Arc<dyn Store>, node: &NodeFile, address: &Address) -> Result<()> {
    // An IPv6 address is no host name; clients then need one set by hand.
    if address.host().contains(':') {
        return Ok(());
    }
    let (component, path) = (Name::new("cluster"), KeyPath::parse("endpoint"));
    let (component, path) = (
        component.map_err(config_problem::key)?,
        path.map_err(config_problem::key)?,
    );
    let target = Target::key(&component, &path).map_err(config_problem::key)?;
    let author = change::author_of(format!("kato node setup core {}", address.host()));
    let config = Config::new(Arc::clone(store), node.name.clone());
    let set = config.set(&target, address.host().into(), false, &author).await;
    set.map(drop).map_err(config_problem::tree)
}
