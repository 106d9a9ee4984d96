//! The end of a container.

use fence_init::protocol::*;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::container::*;
use crate::peer::*;

#[test]
fn a_stop_from_outside_lets_processes_finish_and_tells_fence() {
    let (mut container, mut fence) = Container::start();
    let script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let process = fence.spawn(sh("polite", script));
    fence.ack(process.attachment, Stream::Stdout, 0);
    assert_eq!(fence.piece(process.attachment, Stream::Stdout).unwrap(), b"ready\n");
    kill(Pid::from_raw(container.pid), Signal::SIGTERM).unwrap();
    assert_eq!(fence.exit(&process), Exit::Code(4));
    assert_eq!(fence.read_from(process.attachment, Stream::Stdout, 6), b"bye\n");
    fence.expect_closed();
    assert!(container.wait().success());
}

#[test]
fn a_stop_without_processes_is_the_end() {
    let (mut container, fence) = Container::start();
    drop(fence);
    kill(Pid::from_raw(container.pid), Signal::SIGINT).unwrap();
    assert!(container.wait().success());
}

#[test]
fn who_does_not_stop_is_killed() {
    let (mut container, mut fence) = Container::start();
    let stubborn = fence.spawn(sh("stubborn", "trap '' TERM; echo ready; while :; do sleep 1; done"));
    fence.ack(stubborn.attachment, Stream::Stdout, 0);
    fence.piece(stubborn.attachment, Stream::Stdout);
    kill(Pid::from_raw(container.pid), Signal::SIGTERM).unwrap();
    eventually("nothing more is started", || {
        fence
            .try_spawn(program("late", "true", &[]))
            .is_err_and(|refused| refused.message.contains("stopping"))
    });
    assert_eq!(fence.exit(&stubborn), Exit::Signal(libc::SIGKILL));
    drop(fence);
    assert!(container.wait().success());
}

#[test]
fn nothing_inside_can_end_init() {
    let (container, mut fence) = Container::start();
    let signals =
        "for s in HUP INT QUIT ILL ABRT USR1 SEGV USR2 PIPE ALRM TERM KILL STOP; do kill -$s 1; done; echo sent";
    assert_eq!(fence.run("", signals), "sent\n");
    assert_eq!(fence.list().1, 0);
    fence.spawn(program("still", "true", &[]));
    assert_eq!(container.proc("comm"), "fence-init\n");
}

#[test]
fn it_refuses_to_be_anything_but_the_first_process() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fence-init"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("first process of a container")
    );
}
