//! Runs the built `kato` with a root of its own and shows what came out of it in one text for a snapshot.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A machine of a test: a directory that serves as its root.
pub struct Machine {
    root: TempDir,
}

impl Machine {
    /// A machine on which nothing was set up.
    pub fn new() -> Self {
        Machine {
            root: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The directory that serves as its root.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Run `kato` with these arguments and nothing on its standard input.
    pub fn kato<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        self.kato_reading(b"", args)
    }

    /// Run `kato` with these arguments and this on its standard input.
    pub fn kato_reading<A: AsRef<OsStr>>(&self, stdin: &[u8], args: impl IntoIterator<Item = A>) -> Ran {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kato starts");
        // A command that does not read its standard input may be gone by now.
        let _ = child.stdin.take().expect("stdin is piped").write_all(stdin);
        let output = child.wait_with_output().expect("kato ends");
        Ran {
            output,
            root: self.root().display().to_string(),
        }
    }

    /// The command, for a test that runs it in its own way.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kato"));
        command
            .args(args)
            .env("KATO_ROOT", self.root())
            .env_remove("NO_COLOR")
            .env("COLUMNS", "100");
        command
    }
}

/// What came out of one run.
pub struct Ran {
    output: Output,
    root: String,
}

impl Ran {
    /// The exit code.
    pub fn code(&self) -> i32 {
        self.output.status.code().expect("kato was not ended by a signal")
    }

    /// What it wrote to stdout.
    pub fn stdout(&self) -> String {
        self.shown(&self.output.stdout)
    }

    /// What it wrote to stderr.
    pub fn stderr(&self) -> String {
        self.shown(&self.output.stderr)
    }

    /// Its stdout as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error} in:\n{self}"))
    }

    fn shown(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(&self.root, "<root>")
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "exit: {}", self.code())?;
        for (name, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if !text.is_empty() {
                write!(formatter, "---- {name}\n{text}")?;
            }
        }
        Ok(())
    }
}
