//! Running a program to its end, with a deadline, and everything it said.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No program of a story takes longer than this.
const LIMIT: Duration = Duration::from_secs(120);

/// What a program said and ended with.
#[derive(Clone, Debug)]
pub struct Captured {
    pub command: String,
    /// The exit code, or 128 + the signal.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Captured {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Panic unless the program ended with that code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Captured {
        let Captured {
            command, code: actual, ..
        } = &self;
        assert_eq!(
            *actual,
            code,
            "exit code of `{command}`\nstdout:\n{}\nstderr:\n{}",
            self.out(),
            self.err()
        );
        self
    }

    /// Panic unless the program ended with that code and complained of this.
    #[track_caller]
    pub fn refused(self, code: i32, why: &str) {
        let said = self.expect_code(code);
        assert!(said.err().contains(why), "{}", said.err());
    }

    /// Standard output of a program that ended with 0.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect_code(0).out()
    }
}

/// Run to the end without input.
#[track_caller]
pub fn run(command: &mut Command) -> Captured {
    run_with_input(command, b"")
}

/// Run to the end with this input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Captured {
    let shown = shown(command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("could not run `{shown}`: {error}"));
    let stdin = child.stdin.take();
    let input = input.to_vec();
    // A program need not read its input to the end.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let code = wait(&mut child, LIMIT);
    let collect = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    let captured = Captured {
        command: shown,
        code: code.unwrap_or(-1),
        stdout: collect(stdout),
        stderr: collect(stderr),
    };
    assert!(
        code.is_some(),
        "`{}` did not end within {LIMIT:?}\n{}{}",
        captured.command,
        captured.out(),
        captured.err()
    );
    captured
}

/// Wait for the end; a child that takes longer is killed, and the answer is none.
pub fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    let deadline = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        }
        if Instant::now() > deadline {
            // It may have ended in this moment.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut stream) = stream {
            // What came before an error is worth showing.
            let _ = stream.read_to_end(&mut all);
        }
        all
    })
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
