//! `kato data import`: make the configuration what a document says.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cluster::config::{Config, Imported, Included, TreeDocument};
use cluster::files;

use super::document::{Document, MAX_SIZE};
use crate::commands::Context;
use crate::commands::config::{change, open, problem, words};
use crate::error::{Error, Exit, Result};

/// How long reading a document may take.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Make the configuration what a document says
///
/// The whole document is checked before anything is changed, and all is changed in one step. What is set and not in
/// the document is taken away; secrets that it leaves out stay. The containers that it describes are not made.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato data import --dry-run backup.yml         What would be changed
  kato data import backup.yml                   Where nothing that is set would be lost
  kato data import --force backup.yml           Whatever is set
  kato data import - < backup.yml")]
pub struct ImportArgs {
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace and remove values that are set
    #[arg(long)]
    force: bool,
    /// A document that kato data export wrote; - is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Take it in.
pub async fn run(context: &Context, args: &ImportArgs) -> Result<Exit> {
    let config = open(context).await?;
    let document = Document::read_within(text(&args.file)?, READ_WITHIN).await?;
    let planned = config.would_import(&document.tree).await.map_err(problem::tree)?;
    warn(context, &config, &document.tree, &planned);
    words::differences(&context.ui, &planned.differences)?;
    if planned.differences.is_empty() {
        context
            .ui
            .say("Nothing to do: the configuration is as the document says");
    } else if args.dry_run {
        context.ui.say("This would be changed; nothing was");
    } else {
        import(context, &config, args, &document.tree).await?;
    }
    if document.containers() > 0 {
        context.ui.say(&format!(
            "Containers described: {}; that is information alone, none is made",
            document.containers()
        ));
    }
    Ok(Exit::Done)
}

async fn import(context: &Context, config: &Config, args: &ImportArgs, document: &TreeDocument) -> Result<()> {
    let author = change::author_of(format!("kato data import {}", args.file.display()));
    let imported = config.import(document, args.force, &author).await;
    let imported = imported.map_err(|error| {
        let is_for_force = matches!(error, cluster::config::Error::Overwrites { .. });
        let error = problem::tree(error);
        if is_for_force {
            error.hint("do so with --force; --dry-run shows what would be changed")
        } else {
            error
        }
    })?;
    context
        .ui
        .say(&format!("The configuration is at revision {} now", imported.revision));
    change::say_which_need_a_restart(context, config, &imported.differences);
    Ok(())
}

/// Say what can be meant otherwise.
fn warn(context: &Context, config: &Config, document: &TreeDocument, planned: &Imported) {
    change::warn_of_unknown(context, &planned.unknown);
    for node in document.nodes.keys().filter(|node| *node != config.node()) {
        context
            .ui
            .warn(&format!("There is no node {node}; the only one is {}", config.node()));
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
