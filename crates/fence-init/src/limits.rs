//! Resource limits: those a process asks for, and init's own number of open files.

use fence_init::protocol::{Failure, Resource as Name, Rlimit};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::failure::system;

/// How many open files init wants for itself: a few for every process it may hold.
const OWN_FILES: rlim_t = 16_384;

/// The number of open files a container's processes begin with, soft and hard.
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    soft: rlim_t,
    hard: rlim_t,
}

impl OpenFiles {
    /// Raises init's own soft limit as far as it may and keeps what it was.
    pub fn raise() -> nix::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft < OWN_FILES && soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, OWN_FILES.min(hard), hard)?;
        }
        Ok(Self { soft, hard })
    }

    /// Gives a new process the limit that init found.
    pub fn restore(self) -> Result<(), Failure> {
        setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)
            .map_err(|errno| system("restore the limit of open files", errno))
    }
}

/// Sets the limits of the calling process, soft and hard alike.
pub fn apply(limits: &[Rlimit]) -> Result<(), Failure> {
    for limit in limits {
        setrlimit(resource(limit.resource), limit.value, limit.value).map_err(|errno| {
            system(
                &format!(
                    "set limit {} to {}",
                    format!("{:?}", limit.resource).to_lowercase(),
                    limit.value
                ),
                errno,
            )
        })?;
    }
    Ok(())
}

fn resource(name: Name) -> Resource {
    match name {
        Name::As => Resource::RLIMIT_AS,
        Name::Core => Resource::RLIMIT_CORE,
        Name::Cpu => Resource::RLIMIT_CPU,
        Name::Data => Resource::RLIMIT_DATA,
        Name::Fsize => Resource::RLIMIT_FSIZE,
        Name::Locks => Resource::RLIMIT_LOCKS,
        Name::Memlock => Resource::RLIMIT_MEMLOCK,
        Name::Msgqueue => Resource::RLIMIT_MSGQUEUE,
        Name::Nice => Resource::RLIMIT_NICE,
        Name::Nofile => Resource::RLIMIT_NOFILE,
        Name::Nproc => Resource::RLIMIT_NPROC,
        Name::Rss => Resource::RLIMIT_RSS,
        Name::Rtprio => Resource::RLIMIT_RTPRIO,
        Name::Sigpending => Resource::RLIMIT_SIGPENDING,
        Name::Stack => Resource::RLIMIT_STACK,
    }
}
