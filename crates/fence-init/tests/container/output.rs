//! What processes write reaches who reads it: whole where somebody reads, bounded where nobody does.

use fence_init::protocol::*;

use crate::container::*;
use crate::peer::*;

/// How a drop was told.
fn dropped(fence: &mut Peer, wanted: u32) -> (u64, u64) {
    fence.find(|incoming| match incoming {
        Incoming::Message(FromInit::Dropped {
            attachment, from, upto, ..
        }) if *attachment == wanted => Some((*from, *upto)),
        _ => None,
    })
}

#[test]
fn a_long_output_arrives_whole() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(program("seq", "seq", &["1", "2000000"]));
    let text = fence.text(&process, Stream::Stdout);
    let mut numbers = 1..=2_000_000;
    assert!(text.lines().all(|line| line.parse() == Ok(numbers.next().unwrap())));
    assert_eq!(numbers.next(), None);
    assert_eq!(fence.exit(&process), Exit::Code(0));
}

#[test]
fn nothing_is_sent_to_who_never_asks() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(sh("quiet", "echo hello; echo hello >&2"));
    fence.exit(&process);
    fence.list();
    // All that came besides the two answers was the exit.
    assert_eq!(fence.text(&process, Stream::Stderr), "hello\n");
    assert_eq!(fence.text(&process, Stream::Stdout), "hello\n");
}

#[test]
fn a_process_nobody_reads_runs_on_and_keeps_its_newest_output() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(SpawnSpec {
        buffer: 1000,
        ..program("flood", "seq", &["1", "100000"])
    });
    assert_eq!(fence.exit(&process), Exit::Code(0));
    fence.ack(process.attachment, Stream::Stdout, 0);
    let (from, upto) = dropped(&mut fence, process.attachment);
    assert_eq!(from, 0);
    let rest = fence.read_from(process.attachment, Stream::Stdout, 0);
    let whole: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(rest.len(), 1000);
    assert_eq!(rest, whole.as_bytes()[upto as usize..]);
}

#[test]
fn a_slow_reader_makes_the_process_wait() {
    let (container, mut fence) = Container::start();
    let flag = container.path("finished");
    let script = format!("read go; seq 1 500000; echo > {}", flag.display());
    let process = fence.spawn(SpawnSpec {
        buffer: 100_000,
        ..sh("waiting", &script)
    });
    fence.ack(process.attachment, Stream::Stdout, 0);
    fence.input(process.number, b"go\n");
    // Nothing is acknowledged: what fits is under way or kept, and that is not all of it, however long one waits.
    for _ in 0..10 {
        fence.run("", "true");
    }
    assert!(!flag.exists());
    let seen = fence.read_from(process.attachment, Stream::Stdout, 0);
    let whole: String = (1..=500_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(String::from_utf8(seen).unwrap(), whole);
    assert!(flag.exists());
}

#[test]
fn every_attachment_has_its_own_copy_from_where_it_came() {
    let (_container, mut fence) = Container::start();
    let first = fence.spawn(program("cat", "cat", &[]));
    fence.ack(first.attachment, Stream::Stdout, 0);
    fence.input(first.number, b"one\n");
    assert_eq!(fence.piece(first.attachment, Stream::Stdout).unwrap(), b"one\n");
    let (second, from, exit) = fence.attach("cat");
    assert_eq!((from, exit), ([4, 0], None));
    fence.input(first.number, b"two\n");
    fence.send(&ToInit::CloseInput { process: first.number });
    assert_eq!(fence.read_from(second.attachment, Stream::Stdout, 4), b"two\n");
    assert_eq!(fence.piece(first.attachment, Stream::Stdout).unwrap(), b"two\n");
    assert_eq!(fence.piece(first.attachment, Stream::Stdout), None);
}

#[test]
fn an_attachment_that_reads_nothing_does_not_stop_the_one_that_does() {
    let (_container, mut fence) = Container::start();
    let reader = fence.spawn(SpawnSpec {
        buffer: 5000,
        ..sh("seq", "read go; seq 1 300000")
    });
    let (idle, from, _) = fence.attach("seq");
    fence.ack(reader.attachment, Stream::Stdout, 0);
    fence.input(reader.number, b"go\n");
    let text = fence.text(&reader, Stream::Stdout);
    assert_eq!(text.lines().count(), 300_000);
    fence.ack(idle.attachment, Stream::Stdout, from[0]);
    let (_, upto) = dropped(&mut fence, idle.attachment);
    let rest = fence.read_from(idle.attachment, Stream::Stdout, upto);
    assert_eq!(rest, text.as_bytes()[upto as usize..]);
}

#[test]
fn a_detached_process_goes_on() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(program("cat", "cat", &[]));
    fence.send(&ToInit::Detach {
        attachment: process.attachment,
    });
    fence.input(process.number, b"kept\n");
    fence.send(&ToInit::CloseInput {
        process: process.number,
    });
    assert_eq!(fence.exit(&process), Exit::Code(0));
    let (again, from, exit) = fence.attach("cat");
    assert_eq!((from, exit), ([0, 0], Some(Exit::Code(0))));
    assert_eq!(fence.text(&again, Stream::Stdout), "kept\n");
}

#[test]
fn a_stream_that_is_closed_early_ends_early() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(sh("half", "echo bye; exec >&-; exec sleep 1000"));
    assert_eq!(fence.text(&process, Stream::Stdout), "bye\n");
    assert_eq!(fence.list().1, 1);
}

/// Waits for the end of a stream and gives what was told as lost before, without reading any of its output.
fn end_of(fence: &mut Peer, wanted: u32, of: Stream) -> Vec<(u64, u64)> {
    let mut lost = Vec::new();
    loop {
        let told = fence.find(|incoming| match incoming {
            Incoming::Message(FromInit::Dropped {
                attachment,
                stream,
                from,
                upto,
            }) if (*attachment, *stream) == (wanted, of) => Some(Some((*from, *upto))),
            Incoming::Message(FromInit::StreamEnd { attachment, stream }) if (*attachment, *stream) == (wanted, of) => {
                Some(None)
            }
            _ => None,
        });
        match told {
            Some(range) => lost.push(range),
            None => return lost,
        }
    }
}

#[test]
fn collecting_a_process_ends_the_streams_of_who_still_reads() {
    let (_container, mut fence) = Container::start();
    let reader = fence.spawn(SpawnSpec {
        buffer: 4 << 20,
        ..sh("read", "read go; head -c 1000000 /dev/zero; echo error >&2")
    });
    let (idle, from, _) = fence.attach("read");
    assert_eq!(from, [0, 0]);
    fence.ack(reader.attachment, Stream::Stdout, 0);
    fence.input(reader.number, b"go\n");
    assert_eq!(fence.exit(&reader), Exit::Code(0));
    let mut seen = 0;
    while seen < WINDOW {
        seen += fence.piece(reader.attachment, Stream::Stdout).unwrap().len() as u64;
    }
    fence.send(&ToInit::Collect { id: reader.id.clone() });
    // An opening that comes too late is no reason to wait for ever either.
    fence.ack(idle.attachment, Stream::Stdout, 0);
    let ends = [
        (&reader, Stream::Stdout, vec![(WINDOW, 1_000_000)]),
        (&reader, Stream::Stderr, vec![(0, 6)]),
        (&idle, Stream::Stdout, vec![(0, 1_000_000)]),
        (&idle, Stream::Stderr, vec![(0, 6)]),
    ];
    for (of, stream, lost) in ends {
        assert_eq!(end_of(&mut fence, of.attachment, stream), lost, "{of:?} {stream:?}");
    }
    assert_eq!(fence.list(), (vec![], 0));
}

#[test]
fn a_stream_that_was_read_to_its_end_ends_once() {
    let (_container, mut fence) = Container::start();
    let process = fence.spawn(sh("one", "echo out"));
    assert_eq!(fence.text(&process, Stream::Stdout), "out\n");
    fence.exit(&process);
    fence.send(&ToInit::Collect { id: process.id.clone() });
    fence.list();
    let ended = |wanted: Stream| move |incoming: &Incoming| matches!(incoming, Incoming::Message(FromInit::StreamEnd { stream, .. }) if *stream == wanted);
    assert!(!fence.came(ended(Stream::Stdout)));
    assert!(fence.came(ended(Stream::Stderr)));
}
