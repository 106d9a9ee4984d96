//! Runs the built `kato` with a root of its own and shows what came out of it in one text for a snapshot.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A machine of a test: a directory that serves as its root.
pub struct Machine {
    root: TempDir,
    program: PathBuf,
}

impl Machine {
    /// A machine on which nothing was set up.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        Machine {
            root,
            program: env!("CARGO_BIN_EXE_kato").into(),
        }
    }

    /// A machine that has this shell script as its `fence`, beside a `kato` of its own, and a Docker that answers.
    pub fn with_fence(script: &str) -> Self {
        let mut machine = Machine::new();
        let bin = machine.root().join("bin");
        fs::create_dir(&bin).expect("a directory");
        // A copy, since kato looks for fence beside where it really is.
        fs::copy(&machine.program, bin.join("kato")).expect("a copy of kato");
        fs::write(bin.join("fence"), format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(bin.join("fence"), fs::Permissions::from_mode(0o755)).expect("an executable script");
        machine.program = bin.join("kato");
        machine.answer_at("docker.sock", r#"{"LiveRestoreEnabled": true}"#);
        machine
    }

    /// Whoever asks at this socket below the root is answered so, for as long as the test runs.
    pub fn answer_at(&self, socket: &str, json: &'static str) {
        let socket = self.root().join(socket);
        fs::create_dir_all(socket.parent().expect("a directory")).expect("a directory");
        let listener = UnixListener::bind(socket).expect("a socket");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut asked = BufReader::new(&stream).lines().map_while(Result::ok);
                // The head ends with an empty line.
                asked.find(String::is_empty);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    json.len()
                );
                // Who asked may be gone again.
                let _ = (&stream).write_all(format!("{head}{json}").as_bytes());
            }
        });
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
        let mut command = Command::new(&self.program);
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
