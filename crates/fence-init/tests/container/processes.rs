//! Start, end, signals: what happens to processes.

use fence_init::frame;
use fence_init::protocol::FailureKind::{ExecutableNotFound, NotExecutable};
use fence_init::protocol::*;
use nix::sys::signal::Signal;

use crate::container::*;
use crate::peer::*;

#[test]
fn a_process_starts_writes_and_ends_with_its_code() {
    let (_container, mut fence) = Container::start();
    assert!(fence.hello.is_empty());
    let process = fence.spawn(sh("one", "echo out; echo err >&2; exit 7"));
    assert_eq!(fence.exit(&process), Exit::Code(7));
    assert_eq!(fence.text(&process, Stream::Stdout), "out\n");
    assert_eq!(fence.text(&process, Stream::Stderr), "err\n");
    let entry = ProcessEntry {
        id: "one".into(),
        process: process.number,
        pid: process.pid,
        tty: false,
        exit: Some(Exit::Code(7)),
        log: 0,
    };
    assert_eq!(fence.list(), (vec![entry], 0));
}

#[test]
fn a_killed_process_ends_with_its_signal() {
    let (_container, mut fence) = Container::start();
    for signal in [9, 15, 40] {
        let process = fence.spawn(sh("victim", &format!("kill -{signal} $$; sleep 1000")));
        assert_eq!(fence.exit(&process), Exit::Signal(signal));
        fence.send(&ToInit::Collect { id: "victim".into() });
    }
}

#[test]
fn what_cannot_be_executed_is_told_and_leaves_nothing() {
    let (container, mut fence) = Container::start();
    let plain = container.path("etc/passwd");
    let script = container.path("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let cases = [
        ("absent", ExecutableNotFound, "executable file not found in $PATH"),
        ("/absent", ExecutableNotFound, "stat /absent: no such file or directory"),
        ("/etc", NotExecutable, "is a directory"),
        (plain.to_str().unwrap(), NotExecutable, "permission denied"),
        (
            script.to_str().unwrap(),
            ExecutableNotFound,
            "interpreter it names is missing",
        ),
    ];
    for (path, kind, said) in cases {
        let refused = fence.try_spawn(program("same", path, &[])).unwrap_err();
        assert_eq!(refused.kind, kind, "{refused:?}");
        assert!(refused.message.contains(said), "{refused:?}");
    }
    let refused = fence
        .try_spawn(SpawnSpec {
            dir: "/etc/passwd".into(),
            ..sh("same", "")
        })
        .unwrap_err();
    assert_eq!(refused.message, "change to directory /etc/passwd: not a directory");
    assert_eq!(fence.list().0, []);
    eventually("failed children are gone", || {
        fence.list().1 == 0 && container.children().is_empty()
    });
}

#[test]
fn ids_are_unique_until_collected() {
    let (_container, mut fence) = Container::start();
    let first = fence.spawn(program("same", "true", &[]));
    let refused = fence.try_spawn(program("same", "true", &[])).unwrap_err();
    assert_eq!(refused.kind, FailureKind::ProcessExists);
    assert!(refused.message.contains("already in use"), "{refused:?}");
    fence.exit(&first);
    fence.send(&ToInit::Collect { id: "same".into() });
    let second = fence.spawn(program("same", "sleep", &["1000"]));
    assert_ne!(first.number, second.number);
    // One that runs is not forgotten.
    fence.send(&ToInit::Collect { id: "same".into() });
    assert_eq!(fence.list().0.len(), 1);
}

#[test]
fn who_is_not_there_cannot_be_reached() {
    let (_container, mut fence) = Container::start();
    let mut refused = vec![fence.signal("ghost", Signal::SIGTERM).unwrap_err()];
    let id = || "ghost".to_owned();
    refused.push(
        fence
            .ask(|seq| ToInit::Attach {
                seq,
                attachment: 9,
                id: id(),
                log: false,
            })
            .unwrap_err(),
    );
    refused.push(
        fence
            .ask(|seq| ToInit::Resize {
                seq,
                id: id(),
                columns: 1,
                rows: 1,
            })
            .unwrap_err(),
    );
    let ended = fence.spawn(program("ghost", "true", &[]));
    fence.exit(&ended);
    refused.push(fence.signal("ghost", Signal::SIGTERM).unwrap_err());
    for failure in refused {
        assert_eq!(failure.kind, FailureKind::ProcessNotFound);
        assert_eq!(failure.message, "unknown process: ghost");
    }
    fence.send(&ToInit::Collect { id: "never".into() });
    fence.send(&ToInit::Detach { attachment: 77 });
    fence.send(&ToInit::CloseInput { process: 77 });
    fence.ack(77, Stream::Stdout, 77);
    fence.input(77, b"x");
    fence.list();
}

#[test]
fn a_signal_reaches_the_whole_group() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(sh("group", "sleep 1000 & echo ready; wait"));
    fence.ack(process.attachment, Stream::Stdout, 0);
    assert_eq!(fence.piece(process.attachment, Stream::Stdout).unwrap(), b"ready\n");
    assert_eq!(fence.list().1, 2);
    fence.signal("group", Signal::SIGTERM).unwrap();
    assert_eq!(fence.exit(&process), Exit::Signal(15));
    eventually("the group is gone", || fence.list().1 == 0);
}

#[test]
fn all_processes_are_signalled_but_init() {
    let (_container, mut fence) = Container::start();
    let processes: Vec<_> = ["a", "b", "c"]
        .map(|id| fence.spawn(sh(id, "setsid sleep 1000 & exec sleep 1000")))
        .into();
    eventually("all run", || fence.list().1 == 6);
    fence.ask(|seq| ToInit::SignalAll { seq, signal: 9 }).unwrap();
    for process in &processes {
        assert_eq!(fence.exit(process), Exit::Signal(9));
    }
    eventually("all are gone", || fence.list().1 == 0);
    fence.ask(|seq| ToInit::SignalAll { seq, signal: 9 }).unwrap();
}

#[test]
fn orphans_are_reaped() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(sh(
        "parent",
        "for i in 1 2 3 4 5; do (true & sleep 0.01 &) ; done; exit 0",
    ));
    fence.exit(&process);
    eventually("no child of init is left, alive or dead", || {
        container.children().is_empty()
    });
    assert_eq!(fence.list().1, 0);
}

#[test]
fn where_nothing_lives_every_exit_was_told_before() {
    let (_container, mut fence) = Container::start();
    for round in 0..20 {
        let process = fence.spawn(program(&format!("victim{round}"), "sleep", &["1000"]));
        // Taken in at once, so that the process dies while they are answered.
        let first = 1000 * (round + 1);
        let kill = ToInit::SignalAll { seq: first, signal: 9 };
        let lists = (1..200).map(|more| ToInit::List { seq: first + more });
        let burst: Vec<u8> = std::iter::once(kill)
            .chain(lists)
            .flat_map(|message| frame::encode_control(&message).unwrap())
            .collect();
        fence.send_raw(&burst);
        fence.answer(first).unwrap();
        for seq in first + 1..first + 200 {
            if let FromInit::Listed { others: 0, .. } = fence.answer(seq).unwrap() {
                let told = fence.came(
                    |incoming| matches!(incoming, Incoming::Message(FromInit::Exited { id, .. }) if *id == process.id),
                );
                assert!(told, "list {} of round {round}", seq - first);
            }
        }
        assert_eq!(fence.exit(&process), Exit::Signal(9));
        fence.send(&ToInit::Collect { id: process.id });
    }
    eventually("nothing lives", || fence.list().1 == 0);
}

#[test]
fn what_a_process_left_behind_may_go_on_writing() {
    let (container, mut fence) = Container::start();
    let flag = container.path("finished");
    let script = format!(
        "(read go < {0}; head -c 2000000 /dev/zero && head -c 2000000 /dev/zero >&2 && echo > {1}) & exit 0",
        container.path("go").display(),
        flag.display()
    );
    nix::unistd::mkfifo(&container.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let process = fence.spawn(sh("daemon", &script));
    assert_eq!(fence.exit(&process), Exit::Code(0));
    assert_eq!(fence.text(&process, Stream::Stdout), "");
    fence.send(&ToInit::Collect { id: "daemon".into() });
    assert_eq!(fence.list().0, []);
    std::fs::write(container.path("go"), "go\n").unwrap();
    eventually("all was written", || flag.exists());
}

#[test]
fn input_arrives_whole_and_ends() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(program("cat", "sha256sum", &[]));
    let mut sent = 0u64;
    let mut acked = 0;
    let block = [b'x'; 50_000];
    for _ in 0..100 {
        while sent + block.len() as u64 > acked + STDIN_WINDOW {
            acked = fence.find(|incoming| match incoming {
                Incoming::Message(FromInit::InputAck { process: 1, upto }) => Some(*upto),
                _ => None,
            });
        }
        fence.input(process.number, &block);
        sent += block.len() as u64;
    }
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    let expected = fence.run("", "head -c 5000000 /dev/zero | tr '\\0' x | sha256sum");
    assert_eq!(fence.text(&process, Stream::Stdout), expected);
}

#[test]
fn input_nobody_reads_is_swallowed() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(sh("deaf", "exec <&-; echo closed; exec sleep 1000"));
    fence.ack(process.attachment, Stream::Stdout, 0);
    fence.piece(process.attachment, Stream::Stdout);
    let block = vec![0; MAX_DATA];
    for round in 1..20 {
        fence.input(process.number, &block);
        let total = round * MAX_DATA as u64;
        fence.find(|incoming| match incoming {
            Incoming::Message(FromInit::InputAck { upto, .. }) => (*upto == total).then_some(()),
            _ => None,
        });
    }
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    assert_eq!(fence.list().1, 1);
}
