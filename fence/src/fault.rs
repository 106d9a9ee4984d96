//! Named places at which a test kills or halts this process, to prove that the next fence finds its way from there.
//!
//! With the cargo feature `faults` the environment arms one of them: `FENCE_FAULT=create/engine-created:3` kills the
//! process the third time it comes by there, `…:3:hang` halts that thread for ever. Without the feature, which is what
//! is shipped, [`point`] is empty and this file holds nothing else. See `docs/faults.md`.

/// Every point and what has just happened there. A name is the operation and the step, which an `-ing` has ahead of it
/// and anything else behind it. The tests read the list from here.
#[cfg(any(test, feature = "faults"))]
#[rustfmt::skip]
const POINTS: &[(&str, &str)] = &[
    ("adopt/records-read", "the records were read, nothing of them is taken over"),
    ("adopt/taken-over", "one more container was taken over"),
    ("adopt/rules-applied", "all were taken over and their ports lead to them again"),
    ("boot/engine-started", "the engine has started a container's first process, for a create or a start"),
    ("boot/engine-inspected", "its pid and address are known"),
    ("boot/recorded", "they are recorded"),
    ("comeback/noted", "a container that ended with the machine is noted to come back"),
    ("comeback/first-process-runs", "its first process runs again, main does not"),
    ("comeback/main-spawned", "main runs again, the record says that it is to come back"),
    ("compare/engine-listed", "the engine has said what it has, nothing was done about it"),
    ("compare/done", "everything was compared"),
    ("create/reserved", "the handle is reserved"),
    ("create/ports-taken", "the ports are bound"),
    ("create/directory-made", "the socket is in its directory"),
    ("create/recorded", "the record is written, the engine not asked"),
    ("create/engine-created", "the engine has made the container"),
    ("create/rules-applied", "the ports lead to it"),
    ("create/init-connected", "its first process is connected"),
    ("create/active", "the record says that it is active, the client does not know"),
    ("destroy/marked", "the record says that it is being destroyed"),
    ("destroy/rules-removed", "no port leads to it any more"),
    ("destroy/ports-freed", "its ports are anybody's"),
    ("destroy/engine-removing", "the engine is about to be asked"),
    ("destroy/engine-removed", "the engine has removed it"),
    ("destroy/link-closed", "its socket is closed"),
    ("destroy/directory-removed", "its directory is gone"),
    ("destroy/record-forgotten", "its record is gone"),
    ("destroy/handle-freed", "its handle is anybody's, the client does not know"),
    ("image/looking", "other images are wanted than those resolved last"),
    ("image/pulling", "a wanted image is not here and about to be fetched"),
    ("image/found", "an image is about to be taken into use"),
    ("image/written", "which one is written beside its place"),
    ("image/remembered", "which one is written in its place"),
    ("image/in-use", "new containers are made of it"),
    ("inventory/writing", "a record is about to be written"),
    ("inventory/written", "a record is on the disk"),
    ("inventory/removing", "a record is about to be removed"),
    ("inventory/removed", "a record is gone from the disk"),
    ("pea/recorded", "a process with an image of its own is recorded, the engine not asked"),
    ("pea/engine-created", "the engine has made its container"),
    ("pea/started", "the first process of that runs"),
    ("pea/spawned", "the process runs, the record does not say so"),
    ("pea/acknowledged", "the record says so, the client does not know"),
    ("pea/removed", "its container is gone, the record does not say so"),
    ("ports/taken", "a further port is bound"),
    ("ports/recorded", "it is recorded"),
    ("ports/rules-applied", "it leads to its container, the client does not know"),
    ("rules/table-applied", "the ports are in the kernel's table"),
    ("rules/guard-applied", "the loopback addresses are guarded"),
    ("rules/docker-passes", "Docker lets the connections pass"),
    ("rules/cleared", "the table is gone"),
    ("run/spawning", "a process is about to be started"),
    ("run/spawned", "it runs, the client does not know"),
    ("start/first-process-runs", "the container's first process runs"),
    ("start/main-recorded", "the record says that main is to run"),
    ("start/main-collected", "the end of an earlier main process is forgotten"),
    ("start/main-spawned", "main runs"),
    ("start/undone", "main could not be started and the record says so"),
    ("start/active", "the record says that the container is active, the client does not know"),
    ("stop/asked", "the processes were asked to end"),
    ("stop/killed", "they were killed"),
    ("stop/ended", "they are gone, the record does not say so"),
    ("stop/recorded", "the record says that the container is stopped, the client does not know"),
];

/// The process has come to this point.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

#[cfg(feature = "faults")]
pub(crate) use armed::point;

#[cfg(any(test, feature = "faults"))]
#[cfg_attr(not(feature = "faults"), allow(dead_code))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::POINTS;

    /// What the environment asks for.
    struct Armed {
        name: &'static str,
        /// The last time that nothing happens, and how often the point was passed.
        hit: usize,
        hangs: bool,
        passed: AtomicUsize,
    }

    /// The process has come to this point: it goes on, or never does.
    pub(crate) fn point(name: &'static str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let Some(armed) = ARMED.get_or_init(armed) else { return };
        if armed.name != name || armed.passed.fetch_add(1, Ordering::SeqCst) + 1 != armed.hit {
            return;
        }
        // Not by way of the log, which may be filtered: this line is the proof that the point was hit.
        eprintln!("fault: {name}");
        if !armed.hangs {
            // A process may always signal itself.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
        loop {
            std::thread::park();
        }
    }

    /// A wrong order ends the process: a test that arms nothing would prove nothing.
    fn armed() -> Option<Armed> {
        let order = std::env::var("FENCE_FAULT").ok().filter(|order| !order.is_empty())?;
        let parsed = parse(&order);
        if parsed.is_none() {
            eprintln!("fence: FENCE_FAULT={order} is not POINT[:HIT[:hang]] of a known point");
            std::process::abort();
        }
        parsed
    }

    fn parse(order: &str) -> Option<Armed> {
        let mut parts = order.split(':');
        let wanted = parts.next()?;
        let (name, _) = POINTS.iter().find(|(name, _)| *name == wanted)?;
        let hit = parts
            .next()
            .map_or(Some(1), |hit| hit.parse().ok().filter(|hit| *hit > 0))?;
        let hangs = match parts.next() {
            None | Some("kill") => false,
            Some("hang") => true,
            Some(_) => return None,
        };
        let passed = AtomicUsize::new(0);
        parts.next().is_none().then_some(Armed {
            name,
            hit,
            hangs,
            passed,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn orders_are_understood_or_refused() {
            let plain = parse("create/recorded").unwrap();
            assert_eq!((plain.name, plain.hit, plain.hangs), ("create/recorded", 1, false));
            let later = parse("create/recorded:3:hang").unwrap();
            assert_eq!((later.hit, later.hangs), (3, true));
            for wrong in [
                "",
                "nowhere",
                "create/recorded:0",
                "create/recorded:1:x",
                "create/recorded:1:hang:",
            ] {
                assert!(parse(wrong).is_none(), "{wrong:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::POINTS;

    /// The names that the sources pass by, without this file.
    fn in_code(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                in_code(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("fault.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let calls = text.split("fault::point(\"").skip(1);
                found.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn the_points_in_the_code_are_the_points_of_the_list() {
        let mut found = Vec::new();
        in_code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: BTreeSet<&str> = POINTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
        assert_eq!(listed.len(), POINTS.len(), "a point is listed twice");
        assert_eq!(found.len(), POINTS.len(), "a name stands for two places");
    }

    #[test]
    fn names_follow_one_scheme() {
        let plain = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        for (name, what) in POINTS {
            let (operation, step) = name.split_once('/').unwrap();
            assert!(plain(operation) && plain(step) && !what.is_empty(), "{name}");
        }
    }
}
