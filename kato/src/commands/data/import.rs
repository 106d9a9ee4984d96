//! `kato data import`: make the configuration what a document says.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster::config::{Author, Config, Error as Tree, Imported, Included, MAX_CHANGES, Name, TreeDocument};
use cluster::files;
use cluster::nodes::Nodes;
use cluster::realms::Realms;
use cluster::store::{Error as StoreError, Store};

use super::document::{Document, MAX_SIZE};
use super::open;
use super::passphrase::PassphraseArgs;
use crate::commands::config::{change, problem, words};
use crate::commands::node::problem as nodes;
use crate::commands::{Context, image};
use crate::error::{Error, Exit, Kind, Result};

/// How long reading a document may take.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// What lets pass what is too much at once.
const IN_PARTS: &str = "take it in with --in-parts, in several steps";

/// Make the configuration what a document says
///
/// The whole document is checked before anything is changed, and all is changed in one step, of at most 110 keys. With
/// --in-parts there is no such limit, and programs may see the configuration half changed for a moment. What is set and not
/// in the document is taken away; secrets that it leaves out stay. Realms that are missing are made, none is deleted. The
/// containers that it describes are not made.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato data import --dry-run backup.yml         What would be changed
  kato data import backup.yml                   Where nothing that is set would be lost
  kato data import --force backup.yml           Whatever is set
  kato data import --in-parts backup.yml        However much it is
  kato data import - < backup.yml")]
pub struct ImportArgs {
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace and remove values that are set; take images that are not for the architecture of all their nodes
    #[arg(long)]
    force: bool,
    /// Take in part by part what is too much for one step; where that was cut off, the same again does the rest
    #[arg(long)]
    in_parts: bool,
    /// Leave the secrets as they are, whatever the document has
    #[arg(long, conflicts_with = "passphrase_file")]
    without_secrets: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// A document that kato data export wrote; - is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Take it in.
pub async fn run(context: &Context, args: &ImportArgs) -> Result<Exit> {
    if args.passphrase.is_stdin() && args.file.as_os_str() == "-" {
        return Err(Error::usage(
            "the document and the passphrase cannot both come from the standard input",
        ));
    }
    let (config, store) = open(context).await?;
    let document = Document::read_within(text(&args.file)?, READ_WITHIN).await?;
    let tree = with_secrets(args, &document)?;
    let realms = Realms::new(Arc::clone(&store));
    let missing = missing_realms(&realms, &document.realms).await?;
    let planned = if args.in_parts {
        config.would_import_in_parts(&tree).await
    } else {
        config.would_import(&tree).await
    };
    let planned = planned.map_err(refused)?;
    warn(context, &config, &store, &tree, &planned).await;
    for realm in &missing {
        context.ui.line(&format!("+ realm {realm}"))?;
    }
    words::differences(&context.ui, &planned.differences)?;
    if planned.differences.is_empty() && missing.is_empty() {
        context
            .ui
            .say("Nothing to do: the configuration is as the document says");
    } else if args.dry_run {
        context.ui.say("This would be changed; nothing was");
    } else {
        if !args.force {
            image::check::before_they_are_configured(context, &planned.differences).await?;
        }
        import(context, &config, args, &tree, planned.differences.len()).await?;
        make_realms(&realms, &missing).await?;
    }
    if document.containers() > 0 {
        context.ui.say(&format!(
            "Containers described: {}; that is information alone, none is made",
            document.containers()
        ));
    }
    Ok(Exit::Done)
}

/// The configuration in the document, with its secrets where it has any and they are wanted.
fn with_secrets(args: &ImportArgs, document: &Document) -> Result<TreeDocument> {
    let Some(sealed) = document.sealed.as_ref().filter(|_| !args.without_secrets) else {
        return Ok(document.tree.clone());
    };
    sealed.check()?;
    let passphrase = args.passphrase.recall().map_err(|error| match error.kind() {
        Kind::Refused => error.hint("--passphrase-file FILE, or --without-secrets"),
        _ => error,
    })?;
    document.tree.with_secrets(&sealed.open(&passphrase)?).map_err(refused)
}

async fn missing_realms(realms: &Realms, named: &[Name]) -> Result<Vec<Name>> {
    let there = realms.list().await.map_err(nodes::registry)?;
    let is_missing = |name: &&Name| !there.iter().any(|realm| realm.name == **name);
    Ok(named.iter().filter(is_missing).cloned().collect())
}

async fn make_realms(realms: &Realms, missing: &[Name]) -> Result<()> {
    let who = change::author_of(String::new()).who;
    for name in missing {
        realms.create(name, &who, &who).await.map_err(nodes::registry)?;
    }
    Ok(())
}

/// Make all of so many differences go.
async fn import(
    context: &Context,
    config: &Config,
    args: &ImportArgs,
    document: &TreeDocument,
    differences: usize,
) -> Result<()> {
    let author = change::author_of(format!("kato data import {}", args.file.display()));
    let imported = if args.in_parts {
        in_parts(config, args, document, &author, differences).await?
    } else {
        let imported = config.import(document, args.force, &author).await;
        imported.map_err(refused)?
    };
    context
        .ui
        .say(&format!("The configuration is at revision {} now", imported.revision));
    change::say_which_need_a_restart(context, config, &imported.differences);
    Ok(())
}

/// Each part takes one difference at least; more parts than that are needed only where others make new ones.
async fn in_parts(
    config: &Config,
    args: &ImportArgs,
    document: &TreeDocument,
    author: &Author,
    differences: usize,
) -> Result<Imported> {
    let part = || config.import_part(document, args.force, author);
    let mut done = part().await.map_err(refused)?;
    for _ in 0..differences {
        let next = part().await.map_err(|error| stopped(&done).because(error))?;
        if next.differences.is_empty() {
            return Ok(done);
        }
        done.revision = next.revision;
        done.differences.extend(next.differences);
    }
    Err(stopped(&done))
}

fn stopped(done: &Imported) -> Error {
    let message = format!("the configuration is changed in part, at revision {}", done.revision);
    Error::new(Kind::Partly, message).hint("the same command again does the rest")
}

/// An error before anything was changed, with the option that lets it pass.
fn refused(error: Tree) -> Error {
    let hint = match &error {
        Tree::Overwrites { .. } => Some("do so with --force; --dry-run shows what would be changed"),
        Tree::TooMuch { limit, .. } if *limit == MAX_CHANGES => Some(IN_PARTS),
        Tree::Store {
            source: StoreError::Refused { .. },
            ..
        } => Some(IN_PARTS),
        _ => None,
    };
    let error = problem::tree(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Say what can be meant otherwise.
async fn warn(context: &Context, config: &Config, store: &Arc<dyn Store>, document: &TreeDocument, planned: &Imported) {
    change::warn_of_unknown(context, &planned.unknown);
    // Where the nodes cannot be read, nothing can be said of them.
    let known = Nodes::new(Arc::clone(store)).list().await.unwrap_or_default();
    let is_there = |name: &Name| name == config.node() || known.iter().any(|node| node.name == *name);
    for node in document.nodes.keys().filter(|node| !is_there(node)) {
        context.ui.warn(&format!("There is no node {node} yet"));
    }
    if document.secrets == Included::LeftOut {
        context
            .ui
            .detail("The document has no secrets; those that are set stay");
    }
}

/// The document's text.
fn text(file: &Path) -> Result<String> {
    let read = if file.as_os_str() == "-" {
        let mut content = Vec::new();
        let read = io::stdin().lock().take(MAX_SIZE + 1).read_to_end(&mut content);
        read.map(|_| content)
    } else {
        files::read_limited(file, MAX_SIZE)
    };
    let too_large = || Error::refused(format!("a document has at most {MAX_SIZE} bytes"));
    let content = read.map_err(|error| {
        let message = format!("could not read {}", file.display());
        match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(message).because(error),
            io::ErrorKind::FileTooLarge => too_large(),
            _ => Error::failed(message).because(error),
        }
    })?;
    if content.len() as u64 > MAX_SIZE {
        return Err(too_large());
    }
    String::from_utf8(content).map_err(|error| Error::refused("the document is not text").because(error.utf8_error()))
}
