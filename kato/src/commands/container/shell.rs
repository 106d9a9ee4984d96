//! `kato container shell`: a login shell in a container, on the administrator's terminal.

use clap::Args;

use super::run::{terminal, with_terminal};
use super::session::{Session, Source};
use super::values;
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::spec::ProcessSpec;
use crate::fence_api::{self, Attached, Client, RefusalKind};

/// The user that apps run as, in images that are made for apps.
const APP_USER: &str = "stackato";
/// What Garden's interface says of a user that is not in the container's passwd file.
const NO_USER: &str = "unable to find user";

/// Open a shell in a container
///
/// It is the app's user, where the container has one, else root.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container shell web
  kato container shell -u root web")]
pub struct ShellArgs {
    /// The user, as NAME, NAME:GROUP or UID:GID
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// An environment entry; KEY alone takes the value it has here
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::env)]
    env: Vec<String>,
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
}

/// Open it.
pub async fn run(context: &Context, client: Client, args: ShellArgs) -> Result<Exit> {
    let spec = ProcessSpec {
        path: "/bin/sh".into(),
        args: vec!["-l".into()],
        env: with_terminal(args.env),
        tty: Some(terminal()),
        ..ProcessSpec::default()
    };
    let begin = client.clone();
    // Ctrl-P is history in a shell; whoever wants to leave, leaves the shell.
    let source = Source::Stdin { detach_keys: false };
    let session = Session {
        context,
        client,
        handle: &args.handle,
        source,
    };
    session.hold(open(&begin, &args.handle, spec, args.user)).await
}

async fn open(client: &Client, handle: &str, spec: ProcessSpec, user: Option<String>) -> fence_api::Result<Attached> {
    if let Some(user) = user {
        return client.run(handle, &ProcessSpec { user, ..spec }).await;
    }
    let as_app = ProcessSpec {
        user: APP_USER.into(),
        ..spec.clone()
    };
    match client.run(handle, &as_app).await {
        Err(error) if is_no_user(&error) => client.run(handle, &spec).await,
        opened => opened,
    }
}

fn is_no_user(error: &fence_api::Error) -> bool {
    let sorted = matches!(error.refusal(), Some(RefusalKind::Other | RefusalKind::Invalid));
    sorted && error.to_string().contains(NO_USER)
}
