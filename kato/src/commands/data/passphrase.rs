//! A passphrase: typed on the terminal, or the first line of a file; never an argument or a variable, which others see.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use cluster::files;
use console::Term;
use orion::kdf::Password;

use crate::error::{Error, Result};

/// The shortest and the longest in bytes.
const SHORTEST: usize = 8;
const LONGEST: u64 = 1024;

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
    let terminal = Term::stderr();
    if !terminal.is_term() {
        let message = "the secrets need a passphrase, and there is no terminal to ask for it";
        return Err(Error::refused(message).hint("--passphrase-file FILE"));
    }
    let failed = |error| Error::failed("could not ask for the passphrase").because(error);
    terminal.write_str(question).map_err(failed)?;
    terminal.read_secure_line().map_err(failed)
}
