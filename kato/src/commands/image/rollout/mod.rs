//! The family `kato image rollout`: an image configured for all nodes, tried first, and put back if it does no good.

mod begin;
mod plan;
mod status;

use clap::{Args, Subcommand};
pub use plan::check_realm;

use super::super::Context;
use crate::error::{Error, Exit, Kind, Result};

/// Roll an image out: have all nodes use it, or none
///
/// Every node pulls it. Then a container of it is tried on one node; it has to pass its check. That node and then the others, a
/// wave at a time, get it as their own value and have to take it up. At last it is configured for all in one change, and the
/// nodes' own values are taken away. Whatever fails before has everything put back. App containers go on as they are; new ones
/// are made of the new image. Nodes that are dead meanwhile find the new value when they are back.
///
/// The cluster carries it on when this command ends, and whatever dies. It takes an administrator's credential. The exit code is
/// 0 where all nodes use the image, 6 where some were away, 1 where everything was put back.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  kato image rollout exampleco/newimg:1.0.0
  kato image rollout exampleco/newimg:1.0.0 --dry-run
  kato image rollout exampleco/newimg:1.0.0 --check 'wget -q -O- localhost:8080' --ready-within 120
  kato image rollout status
  kato image rollout abort"
)]
pub struct RolloutArgs {
    #[command(subcommand)]
    command: Option<RolloutCommand>,
    #[command(flatten)]
    begin: begin::BeginArgs,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    Status(status::StatusArgs),
    Abort(status::AbortArgs),
}

/// The verb that was meant where an image's name looks like one: it has neither a registry nor a tag, and a letter or two are
/// wrong.
fn mistyped(name: &str) -> Option<String> {
    /// How many letters may be wrong, missing, too many or in each other's place.
    const WRONG: usize = 2;
    let verbs = RolloutCommand::augment_subcommands(clap::Command::new("rollout"));
    let verbs = verbs.get_subcommands().map(|verb| verb.get_name().to_owned());
    let near = verbs.map(|verb| (strsim::damerau_levenshtein(name, &verb), verb));
    near.filter(|(wrong, _)| *wrong <= WRONG).min().map(|(_, verb)| verb)
}

/// The error where there is no image of this name: it may have been meant for a verb.
fn no_image(error: Error, name: &str) -> Error {
    match mistyped(name).filter(|_| error.kind() == Kind::NotFound) {
        Some(verb) => Error::usage(format!("{name} is no image, nor what can be done with a rollout"))
            .hint(format!("kato image rollout {verb}")),
        None => error,
    }
}

/// Roll out, or see to a rollout.
pub async fn run(context: &Context, args: RolloutArgs) -> Result<Exit> {
    match (args.command, args.begin.name.clone()) {
        (Some(RolloutCommand::Status(args)), _) => status::run(context, &args).await,
        (Some(RolloutCommand::Abort(args)), _) => status::abort(context, &args).await,
        (None, Some(name)) => begin::run(context, &args.begin, &name).await,
        (None, None) => Err(Error::usage("an image is to be named").hint("kato image rollout --help")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_verb_is_known_and_an_image_is_none() {
        for (typed, meant) in [
            ("statsu", "status"),
            ("stats", "status"),
            ("abrot", "abort"),
            ("Abort", "abort"),
        ] {
            assert_eq!(mistyped(typed).as_deref(), Some(meant), "{typed}");
        }
        let absent = || Error::not_found("core:5000/statsu does not exist");
        assert_eq!(no_image(absent(), "statsu").kind(), Kind::Usage);
        assert_eq!(no_image(absent(), "statsu:1").kind(), Kind::NotFound);
        assert_eq!(no_image(Error::unreachable("x"), "statsu").kind(), Kind::Unreachable);
        for image in [
            "newimg",
            "hello",
            "statsu:1",
            "core:5000/statsu",
            "exampleco/status",
            "state-of-it",
        ] {
            assert_eq!(mistyped(image), None, "{image}");
        }
    }
}
