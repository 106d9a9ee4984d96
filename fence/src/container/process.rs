//! A process to run in a container, as a client asks for it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Limits;
use super::spec::{BindMount, ImageSource, MAX_PATH, check_env, check_mounts};

/// The most arguments of one process, and the most bytes they may have together.
pub const MAX_ARGS: usize = 4_096;
pub const MAX_ARG_BYTES: usize = 512 * 1024;
/// The longest name of a process, in bytes.
pub const MAX_ID: usize = 128;
/// The longest `user:group`, in bytes.
pub const MAX_USER: usize = 512;
/// How the names begin of processes that fence itself runs in a container.
const INTERNAL: &str = ".fence-";

/// A process's name within its container: 1 to 128 printable ASCII characters without space, `/` and `?`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessId(String);

impl ProcessId {
    /// The process that runs the image's command.
    pub fn main() -> ProcessId {
        ProcessId("main".into())
    }

    /// A name nobody used before.
    pub fn fresh() -> ProcessId {
        ProcessId(uuid::Uuid::now_v7().to_string())
    }

    /// As [`fresh`](ProcessId::fresh), for a process of fence's own, which no client learns of.
    pub fn internal() -> ProcessId {
        ProcessId(format!("{INTERNAL}{}", uuid::Uuid::now_v7()))
    }

    /// Whether the process is fence's own.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with(INTERNAL)
    }

    /// The id as clients write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProcessId {
    type Err = ProcessSpecError;

    fn from_str(text: &str) -> Result<Self, ProcessSpecError> {
        let usable =
            (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && !b"/?".contains(&b));
        if usable && text != "." && text != ".." {
            return Ok(ProcessId(text.to_owned()));
        }
        let shown: String = text.chars().take(64).collect();
        Err(ProcessSpecError(format!(
            "the process id {shown:?} is not 1 to 128 printable ASCII characters without space, '/' and '?'"
        )))
    }
}

impl TryFrom<String> for ProcessId {
    type Error = ProcessSpecError;

    fn try_from(text: String) -> Result<Self, ProcessSpecError> {
        text.parse()
    }
}

impl From<ProcessId> for String {
    fn from(id: ProcessId) -> String {
        id.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A process to start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessSpec {
    /// `None` = fence makes one up.
    pub id: Option<ProcessId>,
    pub path: String,
    pub args: Vec<String>,
    /// After the image's and the container's; a later duplicate wins.
    pub env: Vec<String>,
    /// Empty = the user's home.
    pub dir: String,
    /// `name`, `name:group`, `uid:gid`; empty = root.
    pub user: String,
    pub rlimits: ResourceLimits,
    /// `Some` = on a terminal of this size.
    pub tty: Option<WindowSize>,
    /// `Some` = in an image of its own.
    pub pea: Option<PeaSpec>,
    /// Its output is kept in the container's log.
    pub log: bool,
}

/// What a process has of its own beside its container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeaSpec {
    pub image: ImageSource,
    pub mounts: Vec<BindMount>,
    /// `None` = those of its container, which it shares; what is not limited in limits of its own is unlimited.
    pub limits: Option<Limits>,
}

impl PeaSpec {
    fn check(&self) -> Result<(), String> {
        self.image.check()?;
        check_mounts(&self.mounts)?;
        self.limits.as_ref().and_then(Limits::problem).map_or(Ok(()), Err)
    }
}

/// Limits by name, soft and hard alike; the names are Garden's (`nofile`, `nproc`, …).
pub type ResourceLimits = Vec<(super::Resource, u64)>;

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// Garden's size for a terminal whose client names none.
impl Default for WindowSize {
    fn default() -> WindowSize {
        WindowSize { columns: 80, rows: 24 }
    }
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    Running,
    Exited,
}

/// The status a shell would show: the code, or 128 + the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

/// A process that can never be started as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process cannot be run as asked: {0}")]
pub struct ProcessSpecError(pub String);

impl ProcessSpec {
    /// Check everything that can be checked without asking the container.
    pub fn check(&self) -> Result<(), ProcessSpecError> {
        if self.path.is_empty() {
            return Err(ProcessSpecError("it names no program".into()));
        }
        if self.id.as_ref().is_some_and(ProcessId::is_internal) {
            let message = format!("process ids that begin with {INTERNAL:?} are fence's own");
            return Err(ProcessSpecError(message));
        }
        check_args(&self.args).map_err(ProcessSpecError)?;
        if [&self.path, &self.dir, &self.user]
            .iter()
            .any(|text| text.contains('\0'))
        {
            return Err(ProcessSpecError(
                "it has a zero byte in its path, directory or user".into(),
            ));
        }
        if self.path.len() > MAX_PATH || self.dir.len() > MAX_PATH || self.user.len() > MAX_USER {
            return Err(ProcessSpecError("its path, directory or user is too long".into()));
        }
        if let Some(pea) = &self.pea {
            if self.id == Some(ProcessId::main()) {
                return Err(ProcessSpecError("main is the container's own command".into()));
            }
            pea.check().map_err(ProcessSpecError)?;
        }
        check_env(&self.env).map_err(ProcessSpecError)
    }
}

/// Whether a process can be given these arguments.
pub(super) fn check_args(args: &[String]) -> Result<(), String> {
    let bytes: usize = args.iter().map(|argument| argument.len() + 1).sum();
    if args.len() > MAX_ARGS || bytes > MAX_ARG_BYTES {
        return Err(format!(
            "it has more than {MAX_ARGS} arguments or {MAX_ARG_BYTES} bytes of them"
        ));
    }
    if args.iter().any(|argument| argument.contains('\0')) {
        return Err("it has a zero byte in its arguments".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_what_needs_no_container() {
        let fine = ProcessSpec {
            path: "ls".into(),
            ..ProcessSpec::default()
        };
        assert_eq!(fine.check(), Ok(()));
        assert!(ProcessSpec::default().check().is_err());
        assert!(
            ProcessSpec {
                args: vec!["a\0b".into()],
                ..fine.clone()
            }
            .check()
            .is_err()
        );
        assert!(
            ProcessSpec {
                args: vec!["x".repeat(MAX_ARG_BYTES)],
                ..fine.clone()
            }
            .check()
            .is_err()
        );
        assert!(
            ProcessSpec {
                env: vec!["=x".into()],
                ..fine
            }
            .check()
            .is_err()
        );
    }

    #[test]
    fn ids_fit_a_path_segment() {
        assert!("a/b".parse::<ProcessId>().is_err());
        assert!("".parse::<ProcessId>().is_err());
        assert_eq!("main".parse::<ProcessId>().unwrap(), ProcessId::main());
    }
}
