//! `kato image save` and `kato image load`: images from the registry into a file, and back.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use registry_bootstrap::archive::{self, File};

use super::{pull, shared};
use crate::commands::Context;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Write images of the cluster's registry to a file, with all their architectures
///
/// An OCI layout in a tar file that `docker load` takes as well (of an index the image for this machine). Content is checked
/// against its digest on the way; where that fails, the exit code says so, and there is no new FILE; what went to the standard
/// output is of no use.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image save exampleco/newimg:1.0.0 > newimg.tar
  kato image save dockercat crossbarfx:latest -o images.tar")]
pub struct SaveArgs {
    /// The images
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// The file; the standard output if it is not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Bring the images in a file to the cluster's registry
///
/// What `kato image save` or `docker save` wrote, or an OCI layout in a tar file. They keep their names, at this cluster's registry;
/// content is checked against its digest before anything gets a name.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image load newimg.tar
  kato image load newimg.tar --all-nodes")]
pub struct LoadArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Have all nodes pull them as well
    #[arg(long)]
    all_nodes: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Write them.
pub async fn save(context: &Context, args: &SaveArgs) -> Result<Exit> {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Error::usage("a terminal is no place for images").hint("kato image save NAME > FILE"));
    }
    let remote = shared::remote(context).await?;
    let names = args.names.iter().map(|name| shared::full(name, remote.location()));
    let names = names.collect::<Result<Vec<_>>>()?;
    let progress = context.ui.progress("looking for the images");
    let tell = |step: &str| progress.update(step);
    let Some(path) = &args.output else {
        let saved = archive::save(&remote, &names, tokio::io::stdout(), tell).await;
        return saved.map(|()| Exit::Done).map_err(problem::registry);
    };
    let whole = Whole::begin(path)?;
    let file = tokio::fs::File::create(whole.place()).await;
    let file = file.map_err(|error| could_not_write(path, error))?;
    tokio::select! {
        saved = archive::save(&remote, &names, file, tell) => saved.map_err(problem::registry)?,
        Ok(()) = tokio::signal::ctrl_c() => return Err(Error::failed("it was broken off")),
    }
    whole.end().map(|()| Exit::Done)
}

fn could_not_write(path: &Path, error: io::Error) -> Error {
    Error::failed(format!("could not write {}", path.display())).because(error)
}

/// A file that is there when it is whole, and else what was there before: it is written beside its place. What is no file,
/// such as a pipe or a device, is written where it is.
struct Whole {
    /// Where it is to be.
    file: PathBuf,
    /// Where it is until then.
    beside: Option<PathBuf>,
}

impl Whole {
    fn begin(path: &Path) -> Result<Self> {
        // Where it is a link, what that leads to is written.
        let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&file).is_ok_and(|there| !there.is_file()) {
            return Ok(Whole { file, beside: None });
        }
        let name = file.file_name();
        let mut name = name
            .ok_or_else(|| Error::usage(format!("{} is no name of a file", path.display())))?
            .to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        Ok(Whole {
            beside: Some(file.with_file_name(name)),
            file,
        })
    }

    fn place(&self) -> &Path {
        self.beside.as_deref().unwrap_or(&self.file)
    }

    /// It is whole.
    fn end(mut self) -> Result<()> {
        let Some(beside) = &self.beside else {
            return Ok(());
        };
        let kept = fs::File::open(beside).and_then(|file| file.sync_all());
        let moved = kept.and_then(|()| fs::rename(beside, &self.file));
        moved.map_err(|error| could_not_write(&self.file, error))?;
        self.beside = None;
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // It may not have been begun.
            let _ = fs::remove_file(beside);
        }
    }
}

/// Bring them there.
pub async fn load(context: &Context, args: &LoadArgs) -> Result<Exit> {
    if !args.file.is_file() {
        return Err(Error::not_found(format!("there is no file {}", args.file.display())));
    }
    let remote = shared::remote(context).await?;
    let progress = context.ui.progress("reading the file");
    let file = File::open(&args.file).await.map_err(problem::registry)?;
    let loaded = archive::load(&remote, &file, |step| progress.update(step)).await;
    let loaded = loaded.map_err(problem::registry)?;
    drop(progress);
    match args.format.format() {
        Format::Text => {
            for one in &loaded {
                context.ui.line(&format!("{} {}", one.name, one.digest))?;
            }
        }
        format => context.ui.document(format, &loaded)?,
    }
    if !args.all_nodes {
        return Ok(Exit::Done);
    }
    let names: Vec<String> = loaded.iter().map(|one| one.name.to_string()).collect();
    pull::on_all(context, &names).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_when_it_is_whole_and_else_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images.tar");
        let broken = Whole::begin(&path).unwrap();
        fs::write(broken.place(), "half").unwrap();
        drop(broken);
        assert!(files(directory.path()).is_empty());
        let whole = Whole::begin(&path).unwrap();
        fs::write(whole.place(), "whole").unwrap();
        whole.end().unwrap();
        drop(Whole::begin(&path).unwrap());
        assert_eq!(files(directory.path()), ["images.tar"]);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_link_stays_one_and_what_is_no_file_is_written_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("images.tar"), directory.path().join("link"));
        fs::write(&file, "before").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let whole = Whole::begin(&link).unwrap();
        fs::write(whole.place(), "after").unwrap();
        whole.end().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"after");
        let device = Whole::begin(Path::new("/dev/null")).unwrap();
        assert_eq!(device.place(), Path::new("/dev/null"));
        device.end().unwrap();
        assert!(Path::new("/dev/null").exists());
    }
}
