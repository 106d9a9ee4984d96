//! A process on a terminal: kato's own is raw while it lasts, and as before in every end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;

use super::fence::{Fence, error, json as answer, process, process_that};
use crate::harness::Machine;

const ON_TERMINAL: &str = r#"{"process_id":"p1","stream_id":"1","tty":true}"#;

/// A terminal of 100 columns and 30 rows.
struct Terminal {
    keys: File,
    screen: OwnedFd,
}

impl Terminal {
    fn new() -> Terminal {
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).expect("a terminal");
        Terminal {
            keys: pair.master.into(),
            screen: pair.slave,
        }
    }

    fn kato(&self, machine: &Machine, args: &[&str]) -> Child {
        let stdio = || Stdio::from(self.screen.try_clone().expect("the terminal is open"));
        let mut command = machine.command(args);
        command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .env("TERM", "vt100");
        command.spawn().expect("kato starts")
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.screen).expect("the terminal is open");
        !modes
            .local_flags
            .intersects(LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::ICANON)
    }

    /// Read the screen up to these words.
    fn read_until(&mut self, words: &str) -> String {
        let mut screen = String::new();
        while !screen.contains(words) {
            let mut byte = [0];
            self.keys.read_exact(&mut byte).expect("the terminal is open");
            screen.push(char::from(byte[0]));
        }
        screen
    }
}

#[test]
fn a_process_gets_a_terminal_of_the_same_size_and_every_key() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let fence = Fence::start(
        &machine,
        vec![process_that(ON_TERMINAL, |stream| {
            assert_eq!(stream.expect(19), br#"{"columns":100,"rows":30}"#);
            stream.send(1, b"$ ");
            // Ctrl-C is a key like any other.
            assert_eq!(stream.expect(16), b"\x03");
            stream.exit(4);
        })],
    );
    let mut child = terminal.kato(&machine, &["container", "run", "-t", "web", "sh"]);
    terminal.read_until("$ ");
    assert!(terminal.is_raw());
    terminal.keys.write_all(b"\x03").expect("the terminal is open");
    assert_eq!(child.wait().expect("kato ends").code(), Some(4));
    assert!(!terminal.is_raw());
    let asked = &fence.asked()[0].1;
    assert_eq!(asked["tty"], json!({"window_size": {"columns": 100, "rows": 30}}));
    assert_eq!(asked["env"], json!(["TERM=vt100"]));
}

#[test]
fn the_keys_that_detach_leave_the_process_and_restore_the_terminal() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let fence = Fence::start(
        &machine,
        vec![process_that(ON_TERMINAL, |stream| {
            stream.expect(19);
            stream.send(1, b"$ ");
            assert_eq!(stream.expect(16), b"ls");
            assert_eq!(stream.next(), None);
        })],
    );
    let mut child = terminal.kato(&machine, &["container", "attach", "web"]);
    terminal.read_until("$ ");
    terminal.keys.write_all(b"ls\x10\x11").expect("the terminal is open");
    assert_eq!(child.wait().expect("kato ends").code(), Some(0));
    assert!(!terminal.is_raw());
    terminal.read_until("kato container attach web p1");
    fence.asked();
}

#[test]
fn a_failure_restores_the_terminal() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let script = process_that(ON_TERMINAL, |stream| {
        stream.expect(19);
        stream.send(5, br#"{"error":"the container is gone"}"#);
    });
    let _fence = Fence::start(&machine, vec![script]);
    let mut child = terminal.kato(&machine, &["container", "run", "-t", "web", "sh"]);
    terminal.read_until("the container is gone");
    assert_eq!(child.wait().expect("kato ends").code(), Some(1));
    assert!(!terminal.is_raw());
}

#[test]
fn a_shell_is_the_apps_user_where_there_is_one_else_root() {
    let machine = Machine::new();
    let no_user = error(
        400,
        "InvalidError",
        "unable to find user stackato: no matching entries",
        "",
    );
    let fence = Fence::start(&machine, vec![no_user, process(|stream| stream.exit(0))]);
    assert_eq!(machine.kato(["container", "shell", "web"]).code(), 0);
    let asked = fence.asked();
    assert_eq!(
        (&asked[0].1["user"], asked[1].1.get("user")),
        (&json!("stackato"), None)
    );
    assert_eq!(
        (&asked[1].1["path"], &asked[1].1["args"]),
        (&json!("/bin/sh"), &json!(["-l"]))
    );
}

#[test]
fn destroy_all_asks_at_a_terminal() {
    let machine = Machine::new();
    let mut terminal = Terminal::new();
    let fence = Fence::start(&machine, vec![answer(200, json!([{"handle": "web"}]))]);
    let mut child = terminal.kato(&machine, &["container", "destroy", "--all"]);
    terminal.read_until("[y/N]");
    terminal.keys.write_all(b"n\n").expect("the terminal is open");
    assert_eq!(child.wait().expect("kato ends").code(), Some(3));
    assert_eq!(fence.asked().len(), 1);
}
