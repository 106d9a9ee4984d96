//! What the verbs that change the tree share: the value that was typed, who changes, and what is said afterwards.

use std::io::{IsTerminal, Read};

use clap::Args;
use cluster::config::input::{self, Format, MAX_INPUT};
use cluster::config::schema::{Applies, Key};
use cluster::config::{Author, Changed, Config, Difference, KeyPath, LOCAL, Target};

use super::{problem, show};
use crate::commands::Context;
use crate::error::{Error, Result};

/// How the value is to be read.
#[derive(Args, Debug)]
pub struct TypeArgs {
    /// The value is JSON
    #[arg(short = 'j', long, conflicts_with = "yaml")]
    json: bool,
    /// The value is YAML
    #[arg(short = 'y', long)]
    yaml: bool,
}

impl TypeArgs {
    pub fn format(&self) -> Format {
        match (self.json, self.yaml) {
            (true, _) => Format::Json,
            (_, true) => Format::Yaml,
            _ => Format::Assumed,
        }
    }
}

/// The value's text: the argument, else all of the standard input without its last line end.
pub fn text(context: &Context, argument: Option<&String>) -> Result<String> {
    if let Some(text) = argument {
        return Ok(text.clone());
    }
    if std::io::stdin().is_terminal() {
        context
            .ui
            .say("Reading the value from the standard input; end it with Ctrl-D");
    }
    let limit = MAX_INPUT as u64 + 1;
    let mut text = String::new();
    let read = std::io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|error| Error::failed("could not read the value from the standard input").because(error))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Say that a type was guessed.
pub fn warn_of_type(context: &Context, read: &input::Read) {
    if let Some(assumed) = read.assumed {
        context.ui.warn(&format!("Assumed type {assumed}"));
    }
}

/// Who changes the tree with which command of the family.
pub fn author(words: impl std::fmt::Display) -> Author {
    author_of(format!("kato config {words}"))
}

/// Who changes the tree with this command.
pub fn author_of(command: String) -> Author {
    let user = nix::unistd::geteuid();
    let name = match nix::unistd::User::from_uid(user) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("user {user}"),
    };
    let who = match std::env::var("SUDO_USER") {
        Ok(behind) if behind != name => format!("{behind} ({name})"),
        _ => name,
    };
    Author { who, command }
}

/// Say what the administrator should know of a change, and print the value as `get` does.
pub fn report(context: &Context, config: &Config, target: &Target, changed: &Changed) -> Result<()> {
    for (address, near) in &changed.unknown {
        let near = match problem::without_component(target, address) {
            Some(whole) => Some(format!("; did you mean {LOCAL} {whole}?")),
            None => near.as_ref().map(|near| format!("; did you mean {}?", words(near))),
        };
        warn_of(context, address, near);
    }
    if changed.hidden_here {
        context.ui.warn(&format!(
            "On this node another value goes before it, see: kato config get {LOCAL} {}",
            target.address
        ));
    }
    if let Some(value) = &changed.value {
        show::plain(&context.ui, value)?;
    }
    say_if_restart_is_needed(context, config, target);
    Ok(())
}

/// Say which keys, or whole components, are not known.
pub fn warn_of_unknown(context: &Context, unknown: &[(KeyPath, Option<KeyPath>)]) {
    for (address, near) in unknown {
        let near = near.as_ref().map(|near| format!("; did you mean {}?", words(near)));
        warn_of(context, address, near);
    }
}

fn warn_of(context: &Context, address: &KeyPath, near: Option<String>) {
    let what = if address.segments().count() == 1 {
        "component"
    } else {
        "key"
    };
    context.ui.warn(&format!(
        "{} is not a known {what}{}",
        words(address),
        near.unwrap_or_default()
    ));
}

/// Say it where all keys that were changed are read at the start of their process only.
pub fn say_if_restart_is_needed(context: &Context, config: &Config, target: &Target) {
    let at = config.schema().canonical(&target.address);
    for component in config.schema().components() {
        let changed = |key: &&Key| component.address(key).is_some_and(|address| address.is_within(&at));
        let mut changed = component.keys.iter().filter(changed).peekable();
        // Of a group with keys of both kinds it is not known which of them changed.
        if changed.peek().is_some() && changed.all(|key| key.applies == Applies::Restart) {
            context
                .ui
                .say(&format!("It applies after: kato process restart {}", component.name));
        }
    }
}

/// Say it where keys that were changed are read at the start of their process only.
pub fn say_which_need_a_restart(context: &Context, config: &Config, differences: &[Difference]) {
    for component in config.schema().components() {
        let is_changed = |key: &Key| {
            let address = component.address(key);
            differences
                .iter()
                .any(|difference| Some(&difference.change.path) == address.as_ref())
        };
        let mut late = component.keys.iter().filter(|key| key.applies == Applies::Restart);
        if late.any(is_changed) {
            context.ui.say(&format!(
                "Some of it applies after: kato process restart {}",
                component.name
            ));
        }
    }
}

fn words(address: &KeyPath) -> String {
    match address.split_first() {
        Some((component, path)) if !path.is_root() => format!("{component} {path}"),
        _ => address.to_string(),
    }
}
