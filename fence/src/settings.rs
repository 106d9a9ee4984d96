//! What this node must know before it can read the config tree: where things are, and who it is.
//!
//! Everything else is in the tree and comes from there, typed and live.

use std::path::PathBuf;

use clap::Parser;
use cluster::nodes::{NodeFile, Paths};

/// The daemon that creates, supervises and destroys the app containers of this node.
///
/// It is started by `kato agent`; see kato(1). What it does is configured with `kato config set fence …`.
#[derive(Clone, Debug, Parser)]
#[command(name = "fence", version, about, long_about, after_help = EXAMPLES)]
pub struct Arguments {
    /// Keep everything of this node below DIR, instead of in /etc, /var/lib and /run
    #[arg(long, value_name = "DIR", env = "KATO_ROOT")]
    pub root: Option<PathBuf>,
    /// The first process of new containers; a static program [default: fence-init beside this program]
    #[arg(long, value_name = "FILE", env = "FENCE_INIT")]
    pub init: Option<PathBuf>,
    /// What to log, e.g. info or fence=debug
    #[arg(long, value_name = "FILTER", env = "FENCE_LOG", default_value = "info")]
    pub log: String,
}

const EXAMPLES: &str = "Examples:
  kato process restart fence        restart it; containers and their processes stay
  fence --root /tmp/node --log debug   run a node of its own in the foreground";

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub paths: Paths,
    pub node: NodeFile,
    pub init: PathBuf,
}

/// Why the settings could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not read what this node is; set it up with: kato node setup micro")]
    Node(#[source] cluster::nodes::Error),
    #[error("could not find this program's own directory")]
    OwnPath(#[source] std::io::Error),
    #[error("the first process of containers is not at {path}; name it with --init")]
    NoInit { path: PathBuf },
}

impl Settings {
    /// Read the node's file and find the init binary.
    pub fn read(arguments: &Arguments) -> Result<Settings, Error> {
        let paths = Paths::from_root(arguments.root.as_deref());
        let node = NodeFile::load(&paths).map_err(Error::Node)?;
        let init = match &arguments.init {
            Some(path) => path.clone(),
            None => std::env::current_exe()
                .map_err(Error::OwnPath)?
                .with_file_name("fence-init"),
        };
        if !init.is_file() {
            return Err(Error::NoInit { path: init });
        }
        Ok(Settings { paths, node, init })
    }
}
