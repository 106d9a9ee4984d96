//! The config store of a core whose set-up broke off. etcd that was killed in its first moments never answers again with what
//! it has written by then, and nobody has used it yet: it begins with nothing. It may also
//! run on, where the set-up was killed before etcd could ask to be ended with it.
//!
//! A mark beside etcd's settings says that the store is not finished. Without it the store is never taken away: this
//! machine may be a core that lost its node.yml.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::files;
use cluster::nodes::Paths;
use tokio::time::timeout;

use crate::agent::joining::etcd::Settings;
use crate::agent::process_control::own::OwnProcesses;
use crate::agent::process_control::{self, Ask, ProcessControl};
use crate::error::{Error, Result};

/// How long the etcd of a set-up that was killed may take to end, when it is told and when it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

fn mark_file(paths: &Paths) -> PathBuf {
    paths.etcd().join("unfinished")
}

/// From here on the store is not finished.
pub fn mark(paths: &Paths) -> io::Result<()> {
    files::write_atomic(&mark_file(paths), b"", 0o600)
}

/// Where the store was not finished, take away what there is of it.
pub async fn begin_anew(paths: &Paths, settings: &Settings) -> Result<()> {
    if !mark_file(paths).exists() {
        return Ok(());
    }
    for pid in running(&Settings::file(paths)) {
        let ended = end(pid).await;
        ended.map_err(|error| Error::failed("could not end the etcd of a set-up that broke off").because(error))?;
    }
    match fs::remove_dir_all(settings.data_dir()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed("could not remove what a set-up that broke off has left of etcd").because(error))
        }
        _ => Ok(()),
    }
}

/// The processes that were started as etcd with these settings.
fn running(settings: &Path) -> Vec<u32> {
    let mut argument = b"--config-file=".to_vec();
    argument.extend_from_slice(settings.as_os_str().as_encoded_bytes());
    let is_etcd = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).nth(1) == Some(argument.as_slice())
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_etcd).collect()
}

async fn end(pid: u32) -> process_control::Result<()> {
    let control = OwnProcesses::default();
    let Some(process) = control.identify(pid).await? else {
        return Ok(());
    };
    for ask in [Ask::End, Ask::Die] {
        control.ask(&process, ask).await?;
        if let Ok(ended) = timeout(ENDS_WITHIN, control.ended(&process)).await {
            return ended.map(drop);
        }
    }
    Ok(())
}

/// It is finished.
pub fn finish(paths: &Paths) -> Result<()> {
    match fs::remove_file(mark_file(paths)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed("could not note that the config store is whole").because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use cluster::nodes::Paths;
    use uuid::Uuid;

    use super::*;
    use crate::agent::joining::etcd::Beginning;

    #[tokio::test]
    async fn only_a_store_that_was_not_finished_is_taken_away() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        let beginning = Beginning {
            initial_cluster: None,
            token: "x".to_owned(),
        };
        let settings = Settings::new(
            &paths,
            Uuid::nil(),
            [127, 0, 0, 1].into(),
            "1,2".parse().unwrap(),
            beginning,
        );
        fs::create_dir_all(settings.data_dir()).unwrap();
        begin_anew(&paths, &settings).await.unwrap();
        assert!(settings.data_dir().exists());
        mark(&paths).unwrap();
        for _ in 0..2 {
            begin_anew(&paths, &settings).await.unwrap();
            assert!(!settings.data_dir().exists());
        }
        fs::create_dir_all(settings.data_dir()).unwrap();
        finish(&paths).unwrap();
        finish(&paths).unwrap();
        begin_anew(&paths, &settings).await.unwrap();
        assert!(settings.data_dir().exists());
    }
}
