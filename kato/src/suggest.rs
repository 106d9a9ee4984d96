//! What was probably meant by a command that does not exist, for clap's message. Nothing is run for it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error};
use clap::{Command, CommandFactory};

use crate::cli::Cli;

/// How alike two names must be, from 0 to 1, to be offered.
const NEAR: f64 = 0.6;
/// What the same is called elsewhere.
const ELSEWHERE: [(&str, &str); 9] = [
    ("rm", "destroy"),
    ("delete", "destroy"),
    ("exec", "run"),
    ("ps", "list"),
    ("ls", "list"),
    ("tail", "logs"),
    ("inspect", "info"),
    ("kill", "stop"),
    ("unset", "del"),
];

/// Add the nearest command to clap's error, where it names a command that does not exist and clap knows no near one.
pub fn complete(error: &mut Error, args: &[OsString]) {
    if error.get(ContextKind::SuggestedSubcommand).is_some() {
        return;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let given = given.clone();
    if let Some(near) = nearest(&family(args, &given), &given) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near]));
    }
}

/// The command below which `given` was looked for.
fn family(args: &[OsString], given: &str) -> Command {
    let mut family = Cli::command();
    for arg in args.iter().skip(1).take_while(|arg| *arg != given) {
        if let Some(found) = family.find_subcommand(arg) {
            family = found.clone();
        }
    }
    family
}

fn nearest(family: &Command, given: &str) -> Option<String> {
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == given).map(|(_, ours)| *ours);
    if let Some(ours) = elsewhere.filter(|ours| family.find_subcommand(ours).is_some()) {
        return Some(ours.to_owned());
    }
    let names = family.get_subcommands().map(Command::get_name);
    names
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(alike, _)| *alike >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn said(words: &str) -> String {
        let args: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let mut error = Cli::try_parse_from(&args).unwrap_err();
        complete(&mut error, &args);
        error.to_string()
    }

    #[test]
    fn the_nearest_command_is_named_and_what_it_is_called_elsewhere() {
        for (words, meant) in [
            ("kato container rm web", "destroy"),
            ("kato container exec web", "run"),
            ("kato container ps", "list"),
            ("kato container tail web", "logs"),
            ("kato config gte fence", "get"),
            ("kato stauts", "status"),
        ] {
            let said = said(words);
            assert!(said.contains(&format!("'{meant}'")), "{said}");
        }
        assert!(!said("kato container paint").contains("tip:"));
    }
}
