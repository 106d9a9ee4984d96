//! Processes: what a client asks for.

use super::Result;
use crate::container::{ProcessSpec, Resource, WindowSize};
use crate::http::garden::{Error, wire};

/// The process a client asks for.
pub fn process_spec(spec: wire::ProcessSpec) -> Result<ProcessSpec> {
    if !spec.image.uri.is_empty() {
        return Err(Error::unsupported("running a process in an image of its own"));
    }
    if !spec.bind_mounts.is_empty() {
        return Err(Error::plain(
            "a process can have bind mounts only with an image of its own",
        ));
    }
    let id = match spec.id.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error| Error::plain(format!("{error}")))?),
    };
    Ok(ProcessSpec {
        id,
        path: spec.path,
        args: spec.args,
        env: spec.env,
        dir: spec.dir,
        user: spec.user,
        rlimits: resource_limits(&spec.rlimits),
        tty: spec.tty.as_ref().map(window_size),
    })
}

/// The terminal's size; what is missing or 0 is the default's.
pub fn window_size(tty: &wire::Tty) -> WindowSize {
    let default = WindowSize::default();
    let wire::WindowSize { columns, rows } = tty.window_size.clone().unwrap_or_default();
    let or = |value, default| if value == 0 { default } else { value };
    WindowSize {
        columns: or(columns, default.columns),
        rows: or(rows, default.rows),
    }
}

fn resource_limits(limits: &wire::ResourceLimits) -> Vec<(Resource, u64)> {
    let named = [
        (Resource::As, limits.address_space),
        (Resource::Core, limits.core),
        (Resource::Cpu, limits.cpu),
        (Resource::Data, limits.data),
        (Resource::Fsize, limits.fsize),
        (Resource::Locks, limits.locks),
        (Resource::Memlock, limits.memlock),
        (Resource::Msgqueue, limits.msgqueue),
        (Resource::Nice, limits.nice),
        (Resource::Nofile, limits.nofile),
        (Resource::Nproc, limits.nproc),
        (Resource::Rss, limits.rss),
        (Resource::Rtprio, limits.rtprio),
        (Resource::Sigpending, limits.sigpending),
        (Resource::Stack, limits.stack),
    ];
    named
        .into_iter()
        .filter_map(|(resource, value)| value.map(|value| (resource, value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    fn run(body: &str) -> Result<ProcessSpec> {
        process_spec(json::decode(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_process_is_understood() {
        let spec = run(
            r#"{"id":"p","path":"ls","args":["-l"],"env":["A=1"],"dir":"/tmp","user":"alice",
            "rlimits":{"nofile":1024,"core":0},"tty":{},"image":{}}"#,
        )
        .unwrap();
        assert_eq!(spec.rlimits, [(Resource::Core, 0), (Resource::Nofile, 1024)]);
        assert_eq!(spec.tty, Some(WindowSize { columns: 80, rows: 24 }));
        assert_eq!(
            (spec.path.as_str(), spec.user.as_str(), spec.dir.as_str()),
            ("ls", "alice", "/tmp")
        );
        let sized = run(r#"{"path":"a","tty":{"window_size":{"columns":120,"rows":0}}}"#).unwrap();
        assert_eq!(sized.tty, Some(WindowSize { columns: 120, rows: 24 }));
        assert_eq!(run(r#"{"path":"a","tty":null}"#).unwrap().tty, None);
    }

    #[test]
    fn what_belongs_to_a_process_with_an_image_of_its_own_is_refused_without_one() {
        let pea = run(r#"{"path":"a","image":{"uri":"/x"}}"#).unwrap_err();
        assert!(pea.body.message.ends_with("is not supported by this version of fence"));
        assert!(run(r#"{"path":"a","bind_mounts":[{}]}"#).is_err());
        assert!(run(r#"{"path":"a","id":"x/y"}"#).is_err());
        assert!(run(r#"{"path":"a","limits":{"cpu_limits":{},"memory_limits":{}}}"#).is_ok());
    }
}
