//! A passphrase: typed on the terminal, or the first line of a file; never an argument or a variable, which others see.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use cluster::files;
use orion::kdf::Password;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

use crate::error::{Error, Result};

/// The shortest and the longest in bytes.
const SHORTEST: usize = 8;
const LONGEST: u64 = 1024;
/// Whoever started this sits there.
const TERMINAL: &str = "/dev/tty";
const CONTROL_C: u8 = 3;

/// Where it comes from.
#[derive(Args, Debug)]
pub struct PassphraseArgs {
    /// Take the passphrase from the first line of this file; - is the standard input
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// A passphrase. It is overwritten in memory when dropped, and never printed.
#[derive(Debug)]
pub struct Passphrase(Password);

impl Passphrase {
    /// This one.
    pub fn new(text: &[u8]) -> Result<Self> {
        if text.len() < SHORTEST || text.len() as u64 > LONGEST {
            return Err(Error::refused(format!(
                "a passphrase has {SHORTEST} to {LONGEST} bytes"
            )));
        }
        let password = Password::from_slice(text);
        Ok(Passphrase(password.map_err(|error| {
            Error::refused("the passphrase cannot be used").because(error)
        })?))
    }

    /// For whoever derives a key of it.
    pub fn secret(&self) -> &Password {
        &self.0
    }
}

impl PassphraseArgs {
    /// Whether a file was named.
    pub fn is_given(&self) -> bool {
        self.passphrase_file.is_some()
    }

    /// Whether it is to come from the standard input.
    pub fn is_stdin(&self) -> bool {
        self.passphrase_file.as_deref() == Some(Path::new("-"))
    }

    /// A new one, typed twice.
    pub fn choose(&self) -> Result<Passphrase> {
        match &self.passphrase_file {
            Some(file) => read(file),
            None => {
                let first = ask("New passphrase for the secrets: ")?;
                let passphrase = Passphrase::new(first.as_bytes())?;
                match ask("The same again: ")? == first {
                    true => Ok(passphrase),
                    false => Err(Error::refused("the two passphrases are not the same")),
                }
            }
        }
    }

    /// The one of something that there is.
    pub fn recall(&self) -> Result<Passphrase> {
        match &self.passphrase_file {
            Some(file) => read(file),
            None => Passphrase::new(ask("Passphrase of the secrets: ")?.as_bytes()),
        }
    }
}

fn read(file: &Path) -> Result<Passphrase> {
    let limit = LONGEST + 2;
    let content = if file.as_os_str() == "-" {
        let mut content = Vec::new();
        let read = io::stdin().lock().take(limit).read_to_end(&mut content);
        read.map(|_| content)
    } else {
        files::read_limited(file, limit)
    };
    let content = content.map_err(|error| {
        let message = format!("could not read the passphrase from {}", file.display());
        match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(message).because(error),
            io::ErrorKind::FileTooLarge => Error::refused(message).because(error),
            _ => Error::failed(message).because(error),
        }
    })?;
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Passphrase::new(line.strip_suffix(b"\r").unwrap_or(line))
}

/// What is typed and not shown.
fn ask(question: &str) -> Result<String> {
    let failed = |error: io::Error| Error::failed("could not ask for the passphrase").because(error);
    let terminal = File::options().read(true).write(true).open(TERMINAL);
    let mut terminal = match terminal {
        Ok(terminal) if io::stderr().is_terminal() => terminal,
        _ => {
            let message = "the secrets need a passphrase, and there is no terminal to ask for it";
            return Err(Error::refused(message).hint("--passphrase-file FILE"));
        }
    };
    let before = tcgetattr(&terminal).map_err(|errno| failed(errno.into()))?;
    let mut quiet = before.clone();
    // Control-C ends the line instead of the program, which has to leave the terminal as it was.
    quiet.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
    quiet.special_codes[SpecialCodeIndex::VEOL] = CONTROL_C;
    // Before the question, so that nothing of the answer is shown or lost.
    tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(|errno| failed(errno.into()))?;
    let typed = terminal
        .write_all(question.as_bytes())
        .and_then(|()| line(&terminal))
        .and_then(|line| terminal.write_all(b"\n").map(|()| line));
    tcsetattr(&terminal, OptionalActions::Flush, &before).map_err(|errno| failed(errno.into()))?;
    let typed = typed.map_err(failed)?;
    match typed.contains(char::from(CONTROL_C)) {
        true => Err(Error::failed("interrupted; nothing was done")),
        false => Ok(typed),
    }
}

fn line(terminal: &File) -> io::Result<String> {
    // A terminal gives a line at a time.
    let mut typed = vec![0; 4096];
    let mut terminal = terminal;
    let count = terminal.read(&mut typed)?;
    typed.truncate(count);
    let line = String::from_utf8(typed).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(line.trim_end_matches('\n').to_owned())
}
