//! `kato data snapshot`: all of a cluster's config store in one file, taken on the core while the store runs.

use std::io;
use std::path::{PathBuf, absolute};

use clap::Args;
use cluster::nodes::{NodeFile, Role};
use cluster::store::etcd::admin::check_snapshot;

use crate::agent::core::root_store;
use crate::commands::Context;
use crate::commands::node::problem;
use crate::error::{Error, Exit, Result};

/// Save the cluster's config store in a file
///
/// The file has everything: the configuration with its secrets as they are, nodes, realms, administrators and the history. It is
/// readable for its owner alone; kato data restore takes it. Only on the core.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato data snapshot /var/backups/fence.snapshot")]
pub struct SnapshotArgs {
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    /// Where to
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Save it.
pub async fn run(context: &Context, args: &SnapshotArgs) -> Result<Exit> {
    on_core(context)?;
    let shown = args.file.display();
    let failed = |error: io::Error| Error::failed(format!("could not write {shown}")).because(error);
    match args.file.symlink_metadata() {
        Ok(found) if !found.is_file() => return Err(Error::refused(format!("{shown} is not a file"))),
        Ok(_) if !args.force => {
            return Err(Error::refused(format!("{shown} is there already")).hint("replace it with --force"));
        }
        _ => {}
    }
    let path = absolute(&args.file).map_err(failed)?;
    let progress = context.ui.progress("saving the config store");
    let admin = root_store(&context.paths).admin();
    let saved = admin.snapshot(&path).await;
    let size = saved.map_err(|error| problem::store(error, "could not save the config store".to_owned()))?;
    check_snapshot(&path).map_err(failed)?;
    drop(progress);
    context.ui.say(&format!(
        "The config store is in {shown} ({size} bytes), with its secrets as they are"
    ));
    Ok(Exit::Done)
}

/// This node, if it is the core.
pub fn on_core(context: &Context) -> Result<NodeFile> {
    let node = NodeFile::load(&context.paths)?;
    match &node.cluster {
        Some(_) if node.roles.contains(&Role::Core) => Ok(node),
        Some(membership) => {
            let message = format!("this node is not the core of its cluster, which is {}", membership.core);
            Err(Error::refused(message).hint("give the command there"))
        }
        None => {
            Err(Error::refused("this node is a micro cloud: its config store is one file").hint("kato data export"))
        }
    }
}
