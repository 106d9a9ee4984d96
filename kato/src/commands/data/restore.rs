//! `kato data restore`: the core's config store made anew of a snapshot, while it does not run.
//!
//! The new data is made beside the old and then takes its place in one step, so that whatever breaks off leaves the one
//! or the other. The old data is kept. What the snapshot does not know, such as a node that was put out since, is
//! as it was then.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use cluster::nodes::Paths;
use cluster::process::Process;
use cluster::store::etcd::EndpointsFile;
use cluster::store::etcd::admin::check_snapshot;
use jiff::Timestamp;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tokio::process::Command;
use tokio::time::timeout;

use super::snapshot::on_core;
use crate::agent::joining::etcd::Settings;
use crate::agent::wire::Action;
use crate::agent::{client, table};
use crate::commands::Context;
use crate::error::{Error, Exit, Result};

/// How long etcd's program may take to make the new data.
const RESTORE: Duration = Duration::from_secs(600);
/// How long the store may take to come up.
const START: Duration = Duration::from_secs(60);
/// The most of what etcd's program says that is shown.
const MAX_WORDS: usize = 2000;

/// Make the cluster's config store anew of a snapshot
///
/// Only on the core, while its process config does not run, and no other node has one. The old data is put aside and kept. Nodes
/// and administrators that were put out since the snapshot was taken are in again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato process stop config && kato data restore /var/backups/fence.snapshot")]
pub struct RestoreArgs {
    /// The other members of the config store are stopped for good, although they could not be taken out
    #[arg(long)]
    others_are_stopped: bool,
    /// A snapshot that kato data snapshot took
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Restore it.
pub async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit> {
    let paths = &context.paths;
    on_core(context)?;
    let settings =
        Settings::load(paths).map_err(|error| Error::failed("could not read etcd's settings").because(error))?;
    check(&args.file)?;
    check_alone(paths, &settings, args.others_are_stopped)?;
    let data = settings.data_dir();
    // Held until the new data is in its place: etcd takes the same lock.
    let stopped = hold(data)?;
    let progress = context.ui.progress("restoring the config store");
    let new = data.with_extension("new");
    make(&settings, &args.file, &new).await?;
    let aside = swap(data, &new).map_err(|error| failed("put the new data in its place", data, error))?;
    let endpoints = vec![settings.endpoint().to_owned()];
    let written = EndpointsFile { endpoints }.write(&paths.endpoints_file());
    written.map_err(|error| failed("write", &paths.endpoints_file(), error))?;
    drop(progress);
    context
        .ui
        .say(&format!("The config store is as {} says", args.file.display()));
    if let Some(aside) = aside {
        context
            .ui
            .say(&format!("The data that it had is in {}", aside.display()));
    }
    drop(stopped);
    start(context).await
}

/// Refuse what is no snapshot before anything is touched.
fn check(file: &Path) -> Result<()> {
    check_snapshot(file).map_err(|error| {
        let message = format!("could not use {} as a snapshot", file.display());
        match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(message).because(error),
            io::ErrorKind::PermissionDenied => Error::failed(message).because(error),
            _ => Error::refused(message).because(error),
        }
    })
}

/// Another member would go on with what it has, as another cluster.
fn check_alone(paths: &Paths, settings: &Settings, others_are_stopped: bool) -> Result<()> {
    let known = match EndpointsFile::read(&paths.endpoints_file()) {
        Ok(known) => known.endpoints,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed("read", &paths.endpoints_file(), error)),
    };
    let others: Vec<String> = known.into_iter().filter(|url| url != settings.endpoint()).collect();
    if others.is_empty() || others_are_stopped {
        return Ok(());
    }
    let message = format!("the config store has other members: {}", others.join(", "));
    Err(Error::refused(message)
        .hint("kato role remove config on each of them while the store runs")
        .detail(vec![
            "where it cannot run any more: kato process stop config on each of them, then here with --others-are-stopped"
                .to_owned(),
        ]))
}

/// The lock of a database that nobody uses; `None` where there is none.
fn hold(data: &Path) -> Result<Option<File>> {
    let database = data.join("member/snap/db");
    let file = match File::open(&database) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", &database, error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::refused("the config store of this node runs").hint("kato process stop config"))
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &database, error)),
    }
}

/// Have etcd's own program make the data, which checks the snapshot once more.
async fn make(settings: &Settings, file: &Path, new: &Path) -> Result<()> {
    match fs::remove_dir_all(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", new, error)),
        _ => {}
    }
    let Some(program) = table::installed("etcdctl") else {
        return Err(Error::refused("etcdctl is not installed on this machine").hint("apt-get install etcd-client"));
    };
    let started = Command::new(program)
        .args(["snapshot", "restore"])
        .arg(file)
        .arg(format!("--data-dir={}", new.display()))
        .args(settings.restore_options())
        .env_clear()
        .env("ETCDCTL_API", "3")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let asked = timeout(RESTORE, started).await;
    let asked = asked.map_err(|_| Error::unreachable(format!("etcdctl did not end within {} s", RESTORE.as_secs())))?;
    let output = asked.map_err(|error| Error::failed("could not run etcdctl").because(error))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr)
        .chars()
        .take(MAX_WORDS)
        .collect::<String>();
    let message = format!("etcdctl could not restore the snapshot: {}", output.status);
    Err(Error::failed(message).detail(words.lines().map(str::to_owned).collect()))
}

/// Put the new data in the place of the old in one step. Where the old is now.
fn swap(data: &Path, new: &Path) -> io::Result<Option<PathBuf>> {
    let aside = data.with_extension(format!("before-{}", Timestamp::now().as_second()));
    if !data.exists() {
        return fs::rename(new, data).map(|()| None);
    }
    // Before the exchange, so that no later try takes the old data for new data that was left half made.
    fs::rename(new, &aside)?;
    renameat2(AT_FDCWD, &aside, AT_FDCWD, data, RenameFlags::RENAME_EXCHANGE)?;
    let parent = data.parent().unwrap_or(Path::new("/"));
    File::open(parent)?.sync_all()?;
    Ok(Some(aside))
}

/// Have the agent start it, where one runs.
async fn start(context: &Context) -> Result<Exit> {
    if !client::is_there(&context.paths).await? {
        context.ui.say("Next: kato start");
        return Ok(Exit::Done);
    }
    let _progress = context.ui.progress("starting the config store");
    let within_ms = u64::try_from(START.as_millis()).unwrap_or(u64::MAX);
    let processes = vec![Process::Config];
    client::ask(&context.paths, Action::Start { processes, within_ms }).await?;
    Ok(Exit::Done)
}

fn failed(attempt: &str, path: &Path, error: io::Error) -> Error {
    Error::failed(format!("could not {attempt} {}", path.display())).because(error)
}
