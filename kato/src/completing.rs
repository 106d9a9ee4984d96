//! Completion on the command line: a shell asks kato itself what can follow, by [`VARIABLE`], and names come from the cluster.
//!
//! Who presses a key waits for it: what is not there within [`WITHIN`] is left out, and nothing is ever complained of.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::engine::ValueCompleter;
use clap_complete::env::CompleteEnv;
use clap_complete::{ArgValueCompleter, CompletionCandidate, PathCompleter};
use cluster::nodes::{Access, NodeFile, Nodes, Paths, open_tree};
use cluster::pairing::Pairing;
use cluster::realms::Realms;
use cluster::store::Store;
use tokio::time::timeout;

use crate::cli::Cli;

/// By this variable the script of `kato completion` tells that it asks, and for which shell.
pub const VARIABLE: &str = "KATO_COMPLETE";
/// How long the cluster may take to say its names.
const WITHIN: Duration = Duration::from_secs(1);
/// How many digits of a fingerprint are offered: enough to tell those who wait apart.
const DIGITS: usize = 16;

/// Answer the shell, where it is that which asks.
pub fn answered(args: &[OsString]) -> bool {
    let answer = CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(args.iter().cloned(), None);
    // A shell that is not known gets nothing.
    answer.unwrap_or(true)
}

/// The names of nodes.
pub fn nodes() -> ArgValueCompleter {
    names(async |store: Arc<dyn Store>| {
        let all = Nodes::new(store).list().await.unwrap_or_default();
        all.into_iter().map(|record| record.name.to_string()).collect()
    })
}

/// The names of realms.
pub fn realms() -> ArgValueCompleter {
    names(async |store: Arc<dyn Store>| {
        let all = Realms::new(store).list().await.unwrap_or_default();
        all.into_iter().map(|realm| realm.name.to_string()).collect()
    })
}

/// The fingerprints of nodes that wait to be paired, and files with a key.
pub fn waiting() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut all = asked(current, async |store: Arc<dyn Store>| {
            let all = Pairing::new(store).pending().await.unwrap_or_default();
            let short = |text: &str| text.chars().take(DIGITS).collect::<String>();
            let offer = |name: String, key: String| CompletionCandidate::new(key).help(Some(name.into()));
            let all = all.into_iter();
            all.map(|node| offer(node.name.to_string(), short(node.fingerprint.as_str())))
                .collect()
        });
        all.extend(PathCompleter::file().complete(current));
        all
    })
}

fn names<F>(read: impl Fn(Arc<dyn Store>) -> F + Send + Sync + 'static) -> ArgValueCompleter
where
    F: Future<Output = Vec<String>>,
{
    ArgValueCompleter::new(move |current: &OsStr| {
        asked(current, async |store: Arc<dyn Store>| {
            read(store).await.into_iter().map(CompletionCandidate::new).collect()
        })
    })
}

/// What the cluster says in time and begins as what is typed.
fn asked<F>(current: &OsStr, read: impl Fn(Arc<dyn Store>) -> F) -> Vec<CompletionCandidate>
where
    F: Future<Output = Vec<CompletionCandidate>>,
{
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let words: Vec<OsString> = env::args_os().collect();
    let given =
        |option: &str, variable: &str| value(&words, option).or_else(|| env::var_os(variable).map(PathBuf::from));
    let root = given("--root", "KATO_ROOT");
    let paths = Paths::from_root(root.as_deref()).with_credential(given("--credential", "KATO_CREDENTIAL"));
    let all = runtime.block_on(async { timeout(WITHIN, async { Some(read(open(&paths).await?).await) }).await });
    // What still waits for an answer must not keep the shell.
    runtime.shutdown_background();
    let typed = current.to_string_lossy();
    let mut all = all.ok().flatten().unwrap_or_default();
    all.retain(|candidate| candidate.get_value().to_string_lossy().starts_with(typed.as_ref()));
    all
}

async fn open(paths: &Paths) -> Option<Arc<dyn Store>> {
    let node = NodeFile::load(paths).ok()?;
    open_tree(paths, &node, Access::Administrator).await.ok()
}

/// The value of an option among the words of the command line that is completed.
fn value(words: &[OsString], option: &str) -> Option<PathBuf> {
    let typed = words.iter().skip_while(|word| *word != "--").skip(1);
    let mut typed = typed.map(Path::new);
    while let Some(word) = typed.next() {
        if word == Path::new(option) {
            return typed.next().map(Path::to_path_buf);
        }
        let after = word
            .to_str()
            .and_then(|word| word.strip_prefix(option)?.strip_prefix('='));
        if let Some(value) = after {
            return Some(value.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_the_line_that_is_completed() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let root = |line| value(&words(line), "--root");
        assert_eq!(root("/usr/bin/kato -- kato --root /a node remove "), Some("/a".into()));
        assert_eq!(root("/usr/bin/kato -- kato --root=/b node"), Some("/b".into()));
        for line in [
            "/usr/bin/kato --root /a -- kato node",
            "kato",
            "kato -- kato --rooted=/c --root",
        ] {
            assert_eq!(root(line), None, "{line}");
        }
    }
}
