//! `kato data export`: write the configuration down.

use std::io;
use std::path::{Path, PathBuf, absolute};

use clap::Args;
use cluster::config::{MAX_CHANGES, Secrets};
use cluster::files;
use cluster::realms::Realms;

use super::document::{Document, Inventory};
use super::open;
use super::passphrase::PassphraseArgs;
use super::sealed::Sealed;
use crate::commands::Context;
use crate::commands::config::problem;
use crate::commands::node::problem as nodes;
use crate::error::{Error, Exit, Result, chain};
use crate::fence_api::Client;

/// Only its owner may read and write it.
const MODE: u32 = 0o600;

/// Write the configuration as a document
///
/// All layers of the configuration, the names of the realms, and for people to read the containers of this node. It is what
/// kato data import takes in elsewhere. Secrets are left out, or encrypted under a passphrase where they are asked for.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato data export backup.yml                   Into a file that only you can read
  kato data export --with-secrets backup.yml    Asks for a passphrase
  kato data export --passphrase-file pass backup.yml
  kato data export | ssh other kato data import -")]
pub struct ExportArgs {
    /// Write secrets, too, under a passphrase
    #[arg(long)]
    with_secrets: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
    /// Where to; - or nothing is the standard output
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
}

/// Write it.
pub async fn run(context: &Context, args: &ExportArgs) -> Result<Exit> {
    let to_file = args.file.as_os_str() != "-";
    if to_file {
        check(&args.file, args.force)?;
    }
    let (config, store) = open(context).await?;
    let exported = config.export(Secrets::Redacted).await.map_err(problem::tree)?;
    for key in &exported.unreadable {
        context
            .ui
            .warn(&format!("{key} in the store cannot be read and is left out"));
    }
    let realms = Realms::new(store).list().await;
    let realms = realms.map_err(nodes::registry)?;
    let (revision, keys) = (exported.document.revision, exported.document.keys());
    let wants_secrets = args.with_secrets || args.passphrase.is_given();
    let sealed = match exported.secrets {
        0 => None,
        count if wants_secrets => Some(Sealed::seal(&exported.secret, count, &args.passphrase.choose()?)?),
        _ => None,
    };
    let left_out = exported.secrets - sealed.as_ref().map_or(0, |sealed| sealed.count);
    let mut document = Document::new(config.node().clone(), exported.document, inventory(context).await)?;
    document.realms = realms.into_iter().map(|realm| realm.name).collect();
    document.sealed = sealed;
    let text = document.write()?;
    if to_file {
        save(&args.file, args.force, &text)?;
        context
            .ui
            .say(&format!("Revision {revision} is in {}", args.file.display()));
    } else {
        context.ui.bytes(text.as_bytes())?;
    }
    if left_out > 0 {
        context.ui.say(&format!(
            "Secrets left out: {left_out}; --with-secrets writes them, too, under a passphrase"
        ));
    }
    let keys = keys.map_err(problem::tree)?;
    if keys > MAX_CHANGES {
        context.ui.warn(&format!(
            "The document has {keys} keys; kato data import takes more than {MAX_CHANGES} only with --in-parts"
        ));
    }
    Ok(Exit::Done)
}

/// What fence tells of the node's containers.
async fn inventory(context: &Context) -> Option<Inventory> {
    match Client::new(&context.paths).containers().await {
        Ok(containers) => Some(Inventory {
            containers: containers.into_iter().map(Into::into).collect(),
        }),
        Err(error) => {
            let error = Error::from(error);
            context
                .ui
                .warn(&format!("The containers are not described: {}", chain(&error)));
            None
        }
    }
}

/// Refuse early what could not be written, or should not.
fn check(file: &Path, force: bool) -> Result<()> {
    match file.symlink_metadata() {
        Ok(found) if !found.is_file() => Err(Error::refused(format!("{} is not a file", file.display()))),
        Ok(_) if !force => Err(there_is_one(file)),
        _ => Ok(()),
    }
}

fn save(file: &Path, force: bool, text: &str) -> Result<()> {
    let write = if force { files::write_atomic } else { files::write_new };
    let written = absolute(file).and_then(|path| write(&path, text.as_bytes(), MODE));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => there_is_one(file),
        _ => Error::failed(format!("could not write {}", file.display())).because(error),
    })
}

fn there_is_one(file: &Path) -> Error {
    Error::refused(format!("{} is there already", file.display())).hint("replace it with --force")
}
