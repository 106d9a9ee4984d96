//! Processes: what a client asks for.

use super::Result;
use super::container::{bind_mount, image_source, limits};
use crate::container::{PeaSpec, ProcessSpec, Resource, WindowSize};
use crate::http::garden::{Error, wire};

/// The process a client asks for.
pub fn process_spec(spec: wire::ProcessSpec) -> Result<ProcessSpec> {
    let pea = pea(spec.image, spec.bind_mounts, spec.limits)?;
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
        pea,
        log: false,
    })
}

/// What makes it a process with an image of its own. `limits` without an image say nothing.
fn pea(
    image: wire::ImageRef,
    mounts: Vec<wire::BindMount>,
    own: Option<wire::ProcessLimits>,
) -> Result<Option<PeaSpec>> {
    if image.uri.is_empty() {
        return match mounts.is_empty() {
            true => Ok(None),
            false => Err(Error::plain(
                "a process can have bind mounts only with an image of its own",
            )),
        };
    }
    let own = own.map(|own| {
        limits(&wire::Limits {
            cpu_limits: own.cpu_limits,
            memory_limits: own.memory_limits,
            ..wire::Limits::default()
        })
    });
    Ok(Some(PeaSpec {
        image: image_source(image)?,
        mounts: mounts.into_iter().map(bind_mount).collect::<Result<_>>()?,
        limits: own,
    }))
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
    use crate::container::{ImageSource, Limits};
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
    fn an_image_of_its_own_brings_mounts_and_limits() {
        let pea = |body: &str| run(body).unwrap().pea;
        assert_eq!(pea(r#"{"path":"a","image":{}}"#), None);
        let plain = pea(r#"{"path":"a","image":{"uri":"/x"}}"#).unwrap();
        assert_eq!(plain.image, ImageSource::Path("/x".into()));
        assert_eq!(plain.limits, None);
        let lifted = r#"{"path":"a","image":{"uri":"/x"},"limits":{"cpu_limits":{},"memory_limits":{}}}"#;
        assert_eq!(pea(lifted).unwrap().limits, Some(Limits::default()));
        let limited = r#"{"path":"a","image":{"uri":"docker:///a#1"},"limits":{"memory_limits":{"limit_in_bytes":9000000}},
            "bind_mounts":[{"src_path":"/s","dst_path":"/d","mode":1}]}"#;
        let limited = pea(limited).unwrap();
        assert_eq!(limited.limits.unwrap().memory_bytes, Some(9_000_000));
        assert_eq!(limited.mounts[0].target, "/d");
        assert!(run(r#"{"path":"a","image":{"uri":"/x"},"bind_mounts":[{"origin":1}]}"#).is_err());
    }

    #[test]
    fn what_belongs_to_a_process_with_an_image_of_its_own_is_refused_without_one() {
        assert!(run(r#"{"path":"a","bind_mounts":[{}]}"#).is_err());
        assert!(run(r#"{"path":"a","id":"x/y"}"#).is_err());
        assert!(run(r#"{"path":"a","limits":{"cpu_limits":{},"memory_limits":{}}}"#).is_ok());
    }
}
