//! A peer that is broken or hostile costs the connection, never a process or init itself.

use std::io::Write;

use fence_init::frame;
use fence_init::protocol::*;

use crate::container::*;
use crate::peer::*;

/// Init's resident memory in KiB.
fn resident(container: &Container) -> u64 {
    let status = container.proc("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_no_peer_may_send_ends_the_connection_and_nothing_else() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(program("bystander", "sleep", &["1000"]));
    let json = |text: &str| {
        let length = u32::try_from(text.len() + 1).unwrap().to_be_bytes();
        [&length[..], &[0], text.as_bytes()].concat()
    };
    let input = frame::encode_input(process.number, &vec![0; MAX_DATA]).unwrap();
    let bad: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 1, 9],
        vec![0, 0, 0, 2, 2, 0],
        frame::encode_output(1, Stream::Stdout, b"x").unwrap(),
        json("not json"),
        json("{}"),
        json("{\"type\":\"unheard_of\"}"),
        json("{\"type\":\"list\",\"seq\":-1}"),
        json(&"[".repeat(100_000)),
        [&input[..]; 40].concat(),
    ];
    for bytes in bad {
        // Init may close before it has read all of it.
        let _ = fence.stream.write_all(&bytes);
        fence.expect_closed();
        fence = container.accept();
        assert_eq!((fence.hello[0].pid, fence.hello[0].exit), (process.pid, None));
    }
    let (again, ..) = fence.attach("bystander");
    fence.ack(again.attachment, Stream::Stdout, 1 << 40);
    fence.expect_closed();
    assert_eq!(container.accept().hello[0].pid, process.pid);
}

#[test]
fn half_a_frame_holds_nothing_up() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(sh("busy", "echo working; exit 3"));
    fence.send_raw(&[0, 0, 1, 0, 0, b'{']);
    assert_eq!(fence.exit(&process), Exit::Code(3));
    drop(fence);
    assert_eq!(container.accept().hello[0].exit, Some(Exit::Code(3)));
}

#[test]
fn senseless_requests_are_refused() {
    let (_container, mut fence) = Container::start();
    let long = "x".repeat(129);
    for id in ["", long.as_str(), "a\nb", "nul\0"] {
        assert_eq!(
            fence.try_spawn(program(id, "true", &[])).unwrap_err().kind,
            FailureKind::Invalid,
            "{id:?}"
        );
    }
    let good = || program("x", "true", &[]);
    let zero = || vec!["a\0b".to_owned()];
    let refused = [
        SpawnSpec {
            path: String::new(),
            ..good()
        },
        SpawnSpec { args: zero(), ..good() },
        SpawnSpec { env: zero(), ..good() },
        SpawnSpec {
            user: "\0".into(),
            ..good()
        },
        SpawnSpec {
            dir: "\0".into(),
            ..good()
        },
    ];
    for spec in refused {
        assert_eq!(fence.try_spawn(spec).unwrap_err().kind, FailureKind::Invalid);
    }
    for buffer in [MAX_BUFFER + 1, usize::MAX] {
        let greedy = SpawnSpec { buffer, ..good() };
        assert_eq!(fence.try_spawn(greedy).unwrap_err().kind, FailureKind::Limit);
    }
    let many = SpawnSpec {
        args: vec!["x".repeat(900_000)],
        ..good()
    };
    assert_eq!(fence.try_spawn(many).unwrap_err().kind, FailureKind::System);
    for signal in [0, -9, 65, i32::MAX] {
        let refused = fence.ask(|seq| ToInit::SignalAll { seq, signal }).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Invalid);
    }
    let long_name = "y".repeat(500_000);
    let refused = fence
        .ask(|seq| ToInit::Attach {
            seq,
            attachment: 1,
            id: long_name,
            log: false,
        })
        .unwrap_err();
    assert_eq!(refused.kind, FailureKind::ProcessNotFound);
    assert_eq!(fence.list().0, []);
}

#[test]
fn attachments_are_bounded_and_each_number_is_used_once() {
    let (container, mut fence) = Container::start();
    let process = fence.spawn(program("popular", "cat", &[]));
    let mut refused = 0;
    for _ in 0..5000 {
        let attachment = fence.new_attachment();
        match fence.ask(|seq| ToInit::Attach {
            seq,
            attachment,
            id: "popular".into(),
            log: false,
        }) {
            Ok(_) => assert_eq!(refused, 0),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Limit);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 5001 - 4096);
    let taken = fence.ask(|seq| ToInit::Attach {
        seq,
        attachment: process.attachment,
        id: "popular".into(),
        log: false,
    });
    assert_eq!(taken.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(
        fence.try_spawn(program("more", "true", &[])).unwrap_err().kind,
        FailureKind::Limit
    );
    drop(fence);
    let mut fence = container.accept();
    fence.attach("popular");
    fence.spawn(program("more", "true", &[]));
}

#[test]
fn a_flood_of_starts_is_answered_one_by_one_and_ended_ones_are_bounded() {
    let (container, mut fence) = Container::start();
    let total = 1200u32;
    for number in 1..=total {
        let path = if number % 10 == 0 { "/absent" } else { "/bin/true" };
        let spec = Box::new(program(&format!("p{number}"), path, &[]));
        fence.send(&ToInit::Spawn {
            seq: u64::from(number),
            attachment: number,
            spec,
        });
        if number % 100 == 0 {
            for seq in number - 99..=number {
                assert_eq!(fence.answer(u64::from(seq)).is_ok(), seq % 10 != 0, "{seq}");
            }
        }
    }
    eventually("all have ended", || {
        container.children().is_empty() && fence.list().1 == 0
    });
    let listed = fence.list().0;
    assert_eq!(listed.len(), 1024);
    assert!(listed.iter().all(|entry| entry.exit == Some(Exit::Code(0))));
}

#[test]
fn a_peer_that_asks_and_never_reads_costs_little_memory() {
    let (container, mut fence) = Container::start();
    fence.spawn(program("bystander", "sleep", &["1000"]));
    let flood: Vec<u8> = (0..20_000)
        .flat_map(|seq| frame::encode_control(&ToInit::List { seq }).unwrap())
        .collect();
    fence.stream.set_nonblocking(true).unwrap();
    let mut stuck = 0;
    // Until init takes in no more: its answers have nowhere to go.
    while stuck < 1000 {
        if fence.stream.write(&flood).is_ok_and(|count| count > 0) {
            stuck = 0;
        } else {
            stuck += 1;
            std::thread::yield_now();
        }
    }
    assert!(resident(&container) < 32 * 1024, "{} KiB", resident(&container));
    drop(fence);
    assert_eq!(container.accept().hello.len(), 1);
}

#[test]
fn output_of_many_processes_is_shared_out_fairly() {
    let (_container, mut fence) = Container::start();
    let processes: Vec<_> = (0..20)
        .map(|n| fence.spawn(program(&format!("yes{n}"), "yes", &["abcdefg"])))
        .collect();
    let at = |wanted| {
        processes
            .iter()
            .position(|process| process.attachment == wanted)
            .unwrap()
    };
    let (mut positions, mut offsets) = (vec![0u64; processes.len()], vec![0u64; processes.len()]);
    for process in &processes {
        fence.ack(process.attachment, Stream::Stdout, 0);
    }
    while positions.iter().any(|position| *position < 3_000_000) {
        let (attachment, more) = match fence.next() {
            Incoming::Output { attachment, data, .. } => (attachment, data.len() as u64),
            // Until all were started, nobody read the first ones.
            Incoming::Message(FromInit::Dropped {
                attachment, from, upto, ..
            }) => {
                offsets[at(attachment)] += upto - from;
                continue;
            }
            Incoming::Message(_) => continue,
        };
        positions[at(attachment)] += more;
        offsets[at(attachment)] += more;
        fence.ack(attachment, Stream::Stdout, offsets[at(attachment)]);
    }
    let (least, most) = (positions.iter().min().unwrap(), positions.iter().max().unwrap());
    assert!(most / least < 10, "{positions:?}");
    fence.ask(|seq| ToInit::SignalAll { seq, signal: 9 }).unwrap();
}
