//! `kato container create`: a container of the configured image or of another one, started or not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use jiff::SignedDuration;

use super::values;
use crate::commands::Context;
use crate::error::{Error, Exit, Result};
use crate::fence_api::Client;
use crate::fence_api::spec::{
    BindMount, ContainerSpec, CpuLimits, CreateRequest, ImageRef, Limits, MemoryLimits, NetIn, PidLimits,
};
use crate::ui::{Format, FormatArgs};

/// Create a container and print its handle
///
/// Nothing runs in it until it is started or a process is run in it. Limits that are not given are the cluster's.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container create --start
  kato container create --handle web -m 256M -p 8080 --start
  kato container create -e MODE=test --mount /srv/data:/data:rw -- /bin/server --port 8080
  kato container create --image exampleco/newimg:1.0.0
  kato container create --image /srv/rootfs.tar")]
pub struct CreateArgs {
    /// Run the image's command in it
    #[arg(long)]
    start: bool,
    /// Its name [default: one that nobody has]
    #[arg(long, value_name = "HANDLE")]
    handle: Option<String>,
    /// What it is made from: an image's name, docker:///NAME#TAG, a tar file, a directory [default: the configured image]
    #[arg(long, value_name = "IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    image: Option<String>,
    /// An environment entry of all its processes; KEY alone takes the value it has here
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::env)]
    env: Vec<String>,
    /// A file of environment entries, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The memory it may use, such as 128M
    #[arg(short, long, value_name = "SIZE", value_parser = values::size)]
    memory: Option<u64>,
    /// How many processes and threads it may have
    #[arg(long, value_name = "NUMBER")]
    pids: Option<u64>,
    /// Its share of the processors, against 1024 of an ordinary container
    #[arg(long, value_name = "NUMBER")]
    cpu_shares: Option<u64>,
    /// A port of the container that a port of the node leads to; fence picks the node's port unless it is given
    #[arg(short, long, value_name = "[NODE:]PORT", value_parser = values::port)]
    port: Vec<NetIn>,
    /// A directory or file of the node that it sees, only to read unless :rw is added
    #[arg(long, visible_alias = "volume", value_name = "SRC:DST[:ro|rw]", value_parser = values::mount)]
    mount: Vec<BindMount>,
    /// Destroy it when no client has used it for so long
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    grace_time: Option<SignedDuration>,
    /// A note to keep with it
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    property: Vec<(String, String)>,
    /// Give it all rights on the node, where the configuration allows that
    #[arg(long)]
    privileged: bool,
    /// How long to wait for it; its image may have to be pulled first
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = values::duration)]
    timeout: SignedDuration,
    #[command(flatten)]
    format: FormatArgs,
    /// What to run in it instead of the image's command; starts it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Create it.
pub async fn run(context: &Context, client: &Client, args: CreateArgs) -> Result<Exit> {
    let format = args.format.format();
    let bound = args.timeout.unsigned_abs();
    let request = request(context, args)?;
    let container = {
        let _progress = context.ui.progress("creating the container");
        client.create(&request, bound).await?
    };
    match format {
        Format::Text => context.ui.line(&container.handle)?,
        _ => context.ui.document(format, &container)?,
    }
    Ok(Exit::Done)
}

fn request(context: &Context, args: CreateArgs) -> Result<CreateRequest> {
    let mut env = Vec::new();
    for file in &args.env_file {
        env.extend(values::env_file(file)?);
    }
    // After those of files, so that they win.
    env.extend(args.env);
    let image = args.image.as_deref().map(values::image).transpose()?;
    if let (Some(values::Image::Path(path)), Some(given)) = (&image, &args.image)
        && !given.contains('/')
    {
        // It could have been meant as an image's name.
        context.ui.say(&format!("Using {path} as the image"));
    }
    let mut bind_mounts = args.mount;
    for mount in &mut bind_mounts {
        mount.src_path = values::path(&mount.src_path, "to mount")?;
    }
    let spec = ContainerSpec {
        handle: args.handle.unwrap_or_default(),
        grace_time: args.grace_time.map(nanoseconds).transpose()?.unwrap_or_default(),
        image: ImageRef {
            uri: image.map(values::Image::uri).unwrap_or_default(),
        },
        bind_mounts,
        properties: args.property.into_iter().collect::<BTreeMap<_, _>>(),
        env,
        privileged: args.privileged,
        limits: Limits {
            cpu_limits: CpuLimits {
                limit_in_shares: args.cpu_shares.unwrap_or_default(),
            },
            memory_limits: MemoryLimits {
                limit_in_bytes: args.memory.unwrap_or_default(),
            },
            pid_limits: PidLimits {
                max: args.pids.unwrap_or_default(),
            },
        },
        netin: args.port,
    };
    Ok(CreateRequest {
        spec,
        start: args.start || !args.command.is_empty(),
        command: args.command,
    })
}

fn nanoseconds(time: SignedDuration) -> Result<i64> {
    i64::try_from(time.as_nanos()).map_err(|_| Error::usage("a grace time has to be shorter than 292 years"))
}
