//! `kato node attach`: make this machine a node of a cluster.

use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use cluster::config::Name;
use cluster::files;
use cluster::identity::{Address, Fingerprint, JoinToken, Key, Pki};
use cluster::nodes::{DockerSettings, Kind, Membership, NodeFile, Paths, Role};
use tokio::time::{Instant, sleep};

use super::setup::{self, chosen_name, engine};
use super::{problem, shared};
use crate::agent::joining::client::fetch_ca;
use crate::agent::joining::{Place, token_file};
use crate::agent::wire::Action;
use crate::agent::{client, core::authority};
use crate::commands::Context;
use crate::commands::config::problem::key;
use crate::error::{Error, Exit, Result};
use crate::ui::Progress;

/// Where a token may be instead of in a file.
const TOKEN_VARIABLE: &str = "KATO_JOIN_TOKEN";
/// How often the agent is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// The longest token that is read, in bytes.
const MAX_TOKEN: u64 = 4096;

/// Make this machine a node of a cluster
///
/// It makes the node's key and asks the core, until an administrator pairs it there with kato node pair, or at once with a
/// token. The core is believed by its CA's fingerprint, which kato node setup core has printed there. On a micro cloud the
/// containers go on and the tree is put aside.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node attach -e dea --ca-fingerprint 9b2c… core.example.com
  kato node attach -e dea --token-file token          With a token of kato node token create
  ssh core kato node token create | kato node attach -e dea --token-file -")]
pub struct AttachArgs {
    /// What the node does, with commas between: dea, config
    #[arg(short = 'e', long, value_name = "ROLES", value_delimiter = ',')]
    roles: Vec<String>,
    /// The SHA-256 of the cluster's CA
    #[arg(long, value_name = "HEX")]
    ca_fingerprint: Option<Fingerprint>,
    /// A file with a token, or - for the standard input; or else the variable KATO_JOIN_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The node's name; the host name if it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The socket of the Docker engine
    #[arg(long, value_name = "SOCKET")]
    docker: Option<PathBuf>,
    /// Do not start the agent; the node asks when one runs
    #[arg(short = 's', long, conflicts_with_all = ["no_wait", "timeout"])]
    no_start: bool,
    /// Do not wait until the node is paired
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after so many seconds; the node goes on asking
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
    /// The core: its host, and its port where that is not 8443
    #[arg(value_name = "CORE")]
    core: Option<Address>,
}

/// Attach.
pub async fn run(context: &Context, args: &AttachArgs) -> Result<Exit> {
    let token = token(args)?;
    let core = args
        .core
        .clone()
        .or_else(|| token.as_ref().map(|token| token.core.clone()));
    let core = core.ok_or_else(|| Error::usage("the core is not named, neither by CORE nor in a token"))?;
    let paths = &context.paths;
    let before = match NodeFile::load(paths) {
        Ok(node) => Some(node),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    let (ca, fingerprint) = fetch_ca(&core).await?;
    believe(args, token.as_ref(), before.as_ref(), &core, &fingerprint)?;
    let membership = Membership {
        core: core.to_string(),
        ca: fingerprint.to_string(),
    };
    let node = new(context, args, before.as_ref(), membership).await?;
    setup::make_places(paths)?;
    let pki = Pki::new(paths.pki());
    shared::make_pki(&pki)?;
    let key = Key::load_or_make(&pki.node_key()).map_err(problem::identity)?;
    authority::write(&pki.ca(), &ca).map_err(problem::identity)?;
    match token {
        Some(token) => files::write_atomic(&token_file(paths), token.secret.reveal().as_bytes(), 0o600)
            .map_err(|error| Error::failed("could not keep the token for the agent").because(error))?,
        // One of before may be another cluster's secret.
        None => remove_token(paths)?,
    }
    let is_new = before.as_ref() != Some(&node);
    node.save(paths)?;
    shared::put_tree_aside(paths)?;
    if args.no_start {
        return asks_later(context, &node, &key.fingerprint());
    }
    if is_new || !client::is_there(paths).await? {
        shared::restart(paths, &node, Duration::from_secs(120)).await?;
    }
    wait(context, args, &key.fingerprint()).await
}

/// Say what comes next where no agent was to be started.
fn asks_later(context: &Context, node: &NodeFile, fingerprint: &Fingerprint) -> Result<Exit> {
    context.ui.line(&format!(
        "Node {} asks to be let in when its agent runs. Its fingerprint is\n  {fingerprint}\n\nNext: kato start\nOn the core: kato node pair {fingerprint}",
        node.name
    ))?;
    Ok(Exit::Done)
}

/// Forget a token that was not used.
pub fn remove_token(paths: &Paths) -> Result<()> {
    match std::fs::remove_file(token_file(paths)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed("could not remove the token of before").because(error))
        }
        _ => Ok(()),
    }
}

/// The core is the one that is meant, or nothing is done.
fn believe(
    args: &AttachArgs,
    token: Option<&JoinToken>,
    before: Option<&NodeFile>,
    core: &Address,
    is: &Fingerprint,
) -> Result<()> {
    let of_before = before.and_then(|node| node.cluster.as_ref()?.ca.parse().ok());
    let known = args
        .ca_fingerprint
        .clone()
        .or_else(|| token.map(|token| token.ca.clone()))
        .or(of_before);
    match known {
        Some(known) if known == *is => return Ok(()),
        Some(known) => {
            let message =
                format!("what answers at {core} is not the core that is meant: its CA is {is} and not {known}");
            return Err(Error::refused(message));
        }
        None => {}
    }
    if !std::io::stdin().is_terminal() {
        let message = format!(
            "the core at {core} shows a CA with the fingerprint {is}, and nothing says that it is the right one"
        );
        return Err(Error::refused(message).hint("compare it with what the core printed, then: --ca-fingerprint HEX"));
    }
    crate::ui::Ui::new(false).say(&format!(
        "The core at {core} shows a CA with the fingerprint\n  {is}\nIs it the one that kato node setup core printed there? Type yes or no:"
    ));
    let mut answer = String::new();
    let read = std::io::stdin().lock().take(16).read_line(&mut answer);
    read.map_err(|error| Error::failed("could not read the answer").because(error))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Error::refused("the core is not believed; nothing was changed")),
    }
}

fn token(args: &AttachArgs) -> Result<Option<JoinToken>> {
    let text = match &args.token_file {
        Some(file) => {
            let failed =
                |error: std::io::Error| Error::failed(format!("could not read {}", file.display())).because(error);
            let source: Box<dyn Read> = match file.as_os_str() == "-" {
                true => Box::new(std::io::stdin().lock()),
                false => Box::new(std::fs::File::open(file).map_err(failed)?),
            };
            let mut text = String::new();
            source.take(MAX_TOKEN).read_to_string(&mut text).map_err(failed)?;
            text
        }
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => text,
            Err(_) => return Ok(None),
        },
    };
    text.parse()
        .map(Some)
        .map_err(|error: ::cluster::identity::Error| Error::usage(error.to_string()))
}

/// The node as it will be.
async fn new(
    context: &Context,
    args: &AttachArgs,
    before: Option<&NodeFile>,
    membership: Membership,
) -> Result<NodeFile> {
    let mut asked = roles(&args.roles)?;
    asked.push(Role::Base);
    if asked.contains(&Role::Core) {
        return Err(Error::refused("a cluster has one core").hint("kato node setup core HOST makes a cluster"));
    }
    let mut node = match before {
        None => {
            let mut node = NodeFile::micro(&chosen_name(args.name.as_deref())?, DockerSettings::default());
            node.roles = asked;
            node
        }
        Some(before) => present(args, before, &membership, asked)?,
    };
    node.roles.sort_unstable();
    node.roles.dedup();
    let had = before.is_some_and(|before| before.roles.contains(&Role::Dea));
    if node.roles.contains(&Role::Dea) && !had {
        node.docker = engine(context, args.docker.as_deref()).await?;
        setup::configure_engine(context, &node)?;
    }
    node.kind = Kind::Cluster;
    node.cluster = Some(membership);
    Ok(node)
}

/// A node that was one before.
fn present(args: &AttachArgs, before: &NodeFile, membership: &Membership, asked: Vec<Role>) -> Result<NodeFile> {
    let mut node = before.clone();
    match &before.cluster {
        Some(known) if known.ca != membership.ca => {
            let message = format!("this machine is a node of the cluster whose core is {}", known.core);
            return Err(Error::refused(message).hint("kato node detach"));
        }
        Some(_) if before.roles.contains(&Role::Core) => {
            return Err(Error::refused("this machine is the core of this cluster"));
        }
        _ => {}
    }
    if let Some(name) = &args.name {
        node.name = Name::new(name).map_err(key)?;
    }
    if !args.roles.is_empty() {
        node.roles = asked;
    }
    Ok(node)
}

/// The roles that are named.
pub fn roles(names: &[String]) -> Result<Vec<Role>> {
    let all = || Role::ALL.map(Role::name).join(", ");
    let parse = |name: &String| {
        let parsed = name.trim().parse::<Role>();
        parsed.map_err(|error| Error::usage(error.to_string()).hint(format!("roles: {}", all())))
    };
    names.iter().map(parse).collect()
}

/// Wait until the node is in.
async fn wait(context: &Context, args: &AttachArgs, fingerprint: &Fingerprint) -> Result<Exit> {
    let paths = &context.paths;
    let deadline = args
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut said = false;
    let mut progress: Option<Progress> = None;
    loop {
        let standing = client::ask(paths, Action::List).await?.standing;
        let place = standing.as_ref().map(|standing| standing.place);
        match place {
            Some(Place::Member) => {
                let node = NodeFile::load(paths)?;
                shared::heard_of(paths, &node).await;
                drop(progress);
                context
                    .ui
                    .line(&format!("Node {} is in the cluster.\n\nNext: kato status", node.name))?;
                return Ok(Exit::Done);
            }
            Some(Place::Refused) => {
                let problem = standing.map(|standing| standing.problem).unwrap_or_default();
                return Err(Error::refused(format!("the core refuses this node: {problem}"))
                    .hint(format!("on the core: kato node pair {fingerprint}")));
            }
            Some(Place::Unpaired) if !said => {
                context.ui.say(&format!(
                    "This node is unpaired. Its fingerprint is\n  {fingerprint}\nOn the core: kato node pair {fingerprint}"
                ));
                said = true;
            }
            _ => {}
        }
        if args.no_wait && place.is_some() {
            let node = NodeFile::load(paths)?;
            context
                .ui
                .line(&format!("Node {} asks to be let in, and goes on asking.", node.name))?;
            return Ok(Exit::Done);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = match standing.filter(|standing| standing.place == Place::Unreachable) {
                Some(standing) => format!("the node is not in the cluster yet: {}", standing.problem),
                None => "the node is not paired yet; it goes on asking".to_owned(),
            };
            return Err(Error::unreachable(message).hint(format!("on the core: kato node pair {fingerprint}")));
        }
        progress.get_or_insert_with(|| context.ui.progress("waiting to be paired"));
        sleep(LOOK).await;
    }
}
