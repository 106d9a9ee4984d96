//! Fence goes and comes back: no process, exit or byte of output is lost by it.

use fence_init::protocol::*;

use crate::container::*;
use crate::peer::*;

/// Where a reader stands: what it has passed on, and nothing beyond.
struct Reader {
    text: Vec<u8>,
}

impl Reader {
    /// Reads a few pieces, acknowledges some of it and makes sure that init knows, then forgets the rest.
    fn read_some(&mut self, fence: &mut Peer, attachment: u32, pieces: usize) -> bool {
        let mut at = self.text.len();
        fence.ack(attachment, Stream::Stdout, at as u64);
        let mut fresh = Vec::new();
        let mut ended = false;
        for _ in 0..pieces {
            match fence.piece(attachment, Stream::Stdout) {
                Some(data) => fresh.extend(data),
                None => {
                    ended = true;
                    break;
                }
            }
            at = self.text.len() + fresh.len();
            fence.ack(attachment, Stream::Stdout, at as u64);
        }
        self.text.extend(fresh);
        fence.list();
        ended
    }
}

#[test]
fn numbered_lines_arrive_once_each_over_many_broken_connections() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(SpawnSpec {
        buffer: 4 << 20,
        ..program("seq", "seq", &["1", "400000"])
    });
    let mut reader = Reader { text: Vec::new() };
    let mut attachment = process.attachment;
    let mut pieces = 0;
    while !reader.read_some(&mut fence, attachment, pieces) {
        drop(fence);
        fence = container.accept();
        assert_eq!(fence.hello[0].id, "seq");
        let (again, from, _) = fence.attach("seq");
        assert_eq!(from[0], reader.text.len() as u64);
        attachment = again.attachment;
        pieces = (pieces * 2 + 1) % 37;
    }
    let whole: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(String::from_utf8(reader.text).unwrap(), whole);
}

#[test]
fn what_happens_while_fence_is_away_is_told_when_it_is_back() {
    let (mut container, mut fence) = Container::start();
    nix::unistd::mkfifo(&container.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let go = container.path("go");
    let script = format!(
        "echo before; read go < {}; echo after; echo error >&2; exit 5",
        go.display()
    );
    let ends = fence.spawn(sh("ends", &script));
    let stays = fence.spawn(program("stays", "sleep", &["1000"]));
    container.stop_listening();
    drop(fence);
    std::fs::write(&go, "go\n").unwrap();
    eventually("the process has ended without fence", || {
        container.children().len() == 1
    });
    container.listen();
    let mut fence = container.accept();
    let entry = |started: &Started, exit| ProcessEntry {
        id: started.id.clone(),
        process: started.number,
        pid: started.pid,
        tty: false,
        exit,
        log: 0,
    };
    assert_eq!(fence.hello, [entry(&ends, Some(Exit::Code(5))), entry(&stays, None)]);
    let (ended, from, exit) = fence.attach("ends");
    assert_eq!((from, exit), ([0, 0], Some(Exit::Code(5))));
    assert_eq!(fence.text(&ended, Stream::Stdout), "before\nafter\n");
    assert_eq!(fence.text(&ended, Stream::Stderr), "error\n");
    fence.send(&ToInit::Collect { id: "ends".into() });
    assert_eq!(fence.list(), (vec![entry(&stays, None)], 1));
}

#[test]
fn a_process_that_writes_on_while_fence_is_away_marks_what_is_lost() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(SpawnSpec {
        buffer: 1000,
        ..sh("flood", "echo first; read go; seq 1 100000")
    });
    fence.ack(process.attachment, Stream::Stdout, 0);
    assert_eq!(fence.piece(process.attachment, Stream::Stdout).unwrap(), b"first\n");
    fence.ack(process.attachment, Stream::Stdout, 6);
    fence.input(process.number, b"go\n");
    fence.list();
    drop(fence);
    let mut fence = container.accept();
    let mut exit = None;
    eventually("it ended", || {
        exit = fence.list().0[0].exit;
        exit.is_some()
    });
    let (again, from, _) = fence.attach("flood");
    assert_eq!(from[0], 6);
    fence.ack(again.attachment, Stream::Stdout, 6);
    let whole: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    let (lost_from, lost_upto) = fence.find(|incoming| match incoming {
        Incoming::Message(FromInit::Dropped { from, upto, .. }) => Some((*from, *upto)),
        _ => None,
    });
    assert_eq!((lost_from, lost_upto), (6, 6 + whole.len() as u64 - 1000));
    let rest = fence.read_from(again.attachment, Stream::Stdout, 6);
    assert_eq!(rest, whole.as_bytes()[whole.len() - 1000..]);
}

#[test]
fn input_that_a_source_sends_again_is_passed_on_once() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(sh("reader", "cat"));
    fence.input_from(process.number, 9, 0, b"one ");
    fence.input_from(process.number, 9, 4, b"two ");
    fence.list();
    drop(fence);
    let mut fence = container.accept();
    let ask = ToInit::InputSource {
        seq: 77,
        process: process.number,
        source: 9,
    };
    fence.send(&ask);
    let upto = fence.find(|incoming| match incoming {
        Incoming::Message(FromInit::InputSource { seq: 77, upto }) => Some(*upto),
        _ => None,
    });
    assert_eq!(upto, 8);
    fence.input_from(process.number, 9, 4, b"two three");
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    let (again, ..) = fence.attach("reader");
    assert_eq!(fence.text(&again, Stream::Stdout), "one two three");
}

#[test]
fn input_on_its_way_is_kept_and_counting_begins_again() {
    let (container, mut fence) = Container::start();
    nix::unistd::mkfifo(&container.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let go = container.path("go");
    let process = fence.spawn(sh("late", &format!("read go < {}; wc -c", go.display())));
    for _ in 0..4 {
        fence.input(process.number, &vec![b'a'; MAX_DATA]);
    }
    fence.list();
    drop(fence);
    let mut fence = container.accept();
    for _ in 0..4 {
        fence.input(process.number, &vec![b'b'; MAX_DATA]);
    }
    std::fs::write(&go, "go\n").unwrap();
    fence.find(|incoming| match incoming {
        Incoming::Message(FromInit::InputAck { upto, .. }) => (*upto == STDIN_WINDOW).then_some(()),
        _ => None,
    });
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    let (again, ..) = fence.attach("late");
    assert_eq!(
        fence.text(&again, Stream::Stdout).trim(),
        (2 * STDIN_WINDOW).to_string()
    );
}

#[test]
fn a_start_that_was_never_answered_is_undone() {
    let (container, mut fence) = Container::start();
    // Long in coming: its program is looked for in very many places first.
    let spec = Box::new(SpawnSpec {
        env: vec![format!("PATH={}", ":a".repeat(400_000))],
        ..program("orphan", "sleep", &["1000"])
    });
    fence.send(&ToInit::Spawn {
        seq: 1000,
        attachment: 1000,
        spec,
    });
    eventually("it was forked", || container.children().len() == 1);
    assert_eq!(fence.list().0, []);
    assert!(!fence.came(|incoming| matches!(
        incoming,
        Incoming::Message(FromInit::Spawned { .. } | FromInit::Failed { .. })
    )));
    drop(fence);
    let mut fence = container.accept();
    assert_eq!(fence.hello, []);
    // Its name is free at once.
    let again = fence.spawn(program("orphan", "sleep", &["1000"]));
    eventually("it is gone", || container.children().len() == 1);
    let entry = ProcessEntry {
        id: "orphan".into(),
        process: again.number,
        pid: again.pid,
        tty: false,
        exit: None,
        log: 0,
    };
    assert_eq!(fence.list(), (vec![entry], 1));
}
